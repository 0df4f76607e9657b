"""Source times of one partition and the timers they fire. Pure: it is told the time, it never asks.

Deadlines live in the time of their source, not in the time of this machine. A source is one of two kinds:

- ``wall`` (a live source): follows the wall clock less the allowed lateness, but only as far as it is known that no
  unread record is older (``follow`` is given the moment for which that is known).
- ``log`` (an imported log): moves by its events and heartbeats only.

Either way an event first moves its source to ``observed_at`` less half the lateness, and everything due up to there
fires before it, in the order of due times and then keys. Half: between two events the clock may only go where the next
event would have gone by itself. With records that reach the log within half the lateness of their capture, the clock
less the whole lateness never passes ``observed_at`` less half of it, so a replay fires what the live run fired, in the
same order relative to the events. With the same lateness for both it would not.

All times are epoch microseconds, UTC. A source's time never runs backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush

from msgspec import Struct

Fire = Callable[[str, int], None]

WALL = "wall"
_SAME_DUE_LIMIT = 1000


class SourceTimes(Struct):
    """What a checkpoint keeps of the source times: time by source, and which sources are live."""

    now: dict[str, int] = {}
    wall: list[str] = []


class EndlessTimer(Exception):
    """A stage set the same timer again and again while it was firing."""


class BadKey(Exception):
    """A row with a due time whose key does not name a source."""


def timeline_source(key: str) -> str:
    """Source whose time fires the row ``key``: the text between its first and its second colon.

    >>> timeline_source("d:odoo:bill:17")
    'odoo'

    Raises BadKey when there is none.
    """
    parts = key.split(":", 2)
    if len(parts) < 2 or not parts[1]:
        raise BadKey("the key of a row with a due time must be kind:source:...")
    return parts[1]


class Timeline:
    """Times of the sources of one partition, and the due times of its rows."""

    __slots__ = ("_heaps", "due_of", "lateness", "margin", "now", "wall")

    def __init__(self, lateness: int, times: SourceTimes | None = None) -> None:
        self.lateness = lateness
        self.margin = lateness // 2
        self.now: dict[str, int] = dict(times.now) if times else {}
        self.wall: set[str] = set(times.wall) if times else set()
        self.due_of: dict[str, int] = {}
        self._heaps: dict[str, list[tuple[int, str]]] = {}

    def times(self) -> SourceTimes:
        """Return a copy of the times for a checkpoint, in a fixed order."""
        return SourceTimes(dict(sorted(self.now.items())), sorted(self.wall))

    def restore(self, dues: Iterable[tuple[int, str]]) -> None:
        """Take over the timers of a restored state: (due, key) pairs, in any order."""
        due_of, heaps = self.due_of, self._heaps
        prefix, add = "\0", heaps.setdefault("", []).append  # of the last key: most are of one kind and source
        for entry in dues:
            key = entry[1]
            due_of[key] = entry[0]
            if not key.startswith(prefix):
                source = timeline_source(key)
                prefix = key[: key.index(":") + len(source) + 2]
                prefix = prefix if prefix.endswith(source + ":") else "\0"  # such a key has nothing behind its source
                add = heaps.setdefault(source, []).append
            add(entry)
        del heaps[""]
        for heap in heaps.values():
            heapify(heap)

    def due(self, key: str) -> int | None:
        """Return the due time of a row, None without a timer."""
        return self.due_of.get(key)

    def dues(self) -> Iterator[tuple[str, int]]:
        """Yield all timers as (key, due)."""
        return iter(self.due_of.items())

    def __len__(self) -> int:
        """Return the number of timers set."""
        return len(self.due_of)

    def schedule(self, key: str, due: int | None) -> None:
        """Set, move or clear the one timer of a row. Raises BadKey when the key names no source."""
        if due is None:
            self.due_of.pop(key, None)  # its heap entry is dropped when it comes up
        elif self.due_of.get(key) != due:
            self.due_of[key] = due
            source = timeline_source(key)
            heap = self._heaps.get(source)
            if heap is None:
                heap = self._heaps[source] = []
            heappush(heap, (due, key))
            if len(heap) > 64 and len(heap) > 4 * len(self.due_of):
                self._sweep()

    def observe(self, source: str, observed_at: int, timeline: str, fire: Fire) -> int:
        """Move ``source`` to an event about to be applied; return how many timers fired.

        An event that does not move the time fires nothing. Events seen together carry one ``observed_at``: the whole
        past of a document, read by a snapshot or after an outage. A deadline that its first event sets there waits for
        the rest of it, or each would breach and be retracted at once.
        """
        if timeline == WALL:
            self.wall.add(source)
        to, now = observed_at - self.margin, self.now.get(source)
        if now is not None and to <= now:
            return 0
        return self.move(source, to, fire)

    def heartbeat(self, source: str, at: int, timeline: str, final: bool, fire: Fire) -> int:
        """Move ``source`` by a heartbeat; a final one says nothing older follows, so nothing is taken off."""
        if timeline == WALL:
            self.wall.add(source)
        return self.move(source, at if final else at - self.margin, fire)

    def observe_all(self, observed_at: int, fire: Fire) -> int:
        """Move the live sources to an event that concerns all of them; return how many timers fired."""
        fired = 0
        for source in sorted(self.wall):
            fired += self.observe(source, observed_at, WALL, fire)
        return fired

    def follow(self, complete_until: int, fire: Fire) -> int:
        """Move the live sources: all records captured before ``complete_until`` less the lateness are applied."""
        fired = 0
        for source in sorted(self.wall):
            fired += self.move(source, complete_until - self.lateness, fire)
        return fired

    def move(self, source: str, to: int, fire: Fire) -> int:
        """Move ``source`` to ``to`` unless it is there already, then fire what is due; return how many fired."""
        now = self.now.get(source)
        if now is None or to > now:
            self.now[source] = now = to
        heap = self._heaps.get(source)
        if not heap or heap[0][0] > now:
            return 0
        fired = same = 0
        last: tuple[int, str] | None = None
        due_of = self.due_of
        while heap and heap[0][0] <= now:
            top = heappop(heap)
            due, key = top
            if due_of.get(key) != due:
                continue  # moved or cleared since
            same = same + 1 if top == last else 0
            if same > _SAME_DUE_LIMIT:
                raise EndlessTimer("a stage keeps setting a timer to the time it fires at")
            last = top
            del due_of[key]
            fire(key, due)
            fired += 1
            heap = self._heaps[source]  # a sweep may have replaced it
        return fired

    def _sweep(self) -> None:
        """Rebuild the heaps without the entries of timers that were moved or cleared."""
        self._heaps = {}
        for key, due in self.due_of.items():
            self._heaps.setdefault(timeline_source(key), []).append((due, key))
        for heap in self._heaps.values():
            heapify(heap)
