"""One input partition of a stage at work: the stage's view of it, and how records are applied to it.

No Kafka and no event loop here: the same code runs live records, replays the store's log and is timed by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec import Struct

from finwatch.runtime.history import digest
from finwatch.runtime.topics import DEAD_LETTER, KPI, TOPICS
from schemas.decode import Bad, Skipped
from streams.bodies import UnknownDictionary
from streams.checkpoint import Branch
from streams.deadletters import dead_letter
from streams.rows import RowStore
from streams.stage import InvalidEvent, Stage, UnknownPolicy
from streams.timeline import WALL

HEARTBEAT = "finwatch.Heartbeat"
POLICY_CHANGE = "finwatch.PolicyChange"
"""Concerns every live source: it moves the time of them all, where other events move that of their own."""

Encode = Callable[[Struct], bytes]
Send = Callable[[str, bytes, bytes], None]
"""(topic, value, key)"""
Raw = Callable[[int], tuple[bytes | None, bytes | None, int]]
"""Index of a record in its run -> (key, value, time stamp in epoch microseconds)."""

_TIMED: Final = 1
_PLAIN: Final = 2
_HEARTBEAT: Final = 3
_SKIPPED: Final = 4
_BAD: Final = 5
_UNEXPECTED: Final = 6
_CHANGE: Final = 7

_NEVER: Final = -(2**63)

_BELONGS: Final = {spec.name: frozenset(spec.records) for spec in TOPICS if spec.records}
"""Records that a topic of the one list may carry; on any other topic nothing is out of place."""


class Heartbeat(Struct, frozen=True, gc=False):
    """Projection of ``finwatch.Heartbeat``; ``at`` in epoch microseconds, UTC."""

    source: str
    at: int
    timeline: str
    final: bool


class StageFailed(Exception):
    """A stage raised what it must not raise; says where, never what was in the record."""


@dataclass(slots=True)
class Counts:
    """What happened since the metrics were last told; by topic, dead letters by topic and reason."""

    applied: dict[str, int] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)
    filtered: dict[str, int] = field(default_factory=dict)
    dead: dict[tuple[str, str], int] = field(default_factory=dict)
    emitted: dict[str, int] = field(default_factory=dict)
    fired: int = 0
    stale: int = 0


class Partition:
    """One (topic, partition) under one lease: rows, position, branch. It is the stage's ``View``."""

    __slots__ = (
        "_encode",
        "_seen",
        "_send",
        "_stage",
        "adopt_at",
        "adopting",
        "branch",
        "counts",
        "delete",
        "get",
        "is_live",
        "keys_from",
        "kpi_at",
        "kpi_said",
        "kpi_whole_at",
        "lease",
        "newest",
        "next",
        "partition",
        "peek",
        "put",
        "rows",
        "saved",
        "time_of",
        "topic",
    )

    def __init__(
        self,
        stage: Stage,
        tp: tuple[str, int],
        lease: int,
        rows: RowStore,
        next: int,
        encode: Encode,
        send: Send,
        counts: Counts,
        seen: frozenset[bytes] | set[bytes] = frozenset(),
    ) -> None:
        """``seen``: digests of outputs that the store has already; they are not sent again."""
        self.topic, self.partition = tp
        self.lease = lease
        self.rows = rows
        self.next = next
        self.saved = next
        self.branch = Branch(self.topic)
        self.counts = counts
        self.adopt_at: float | None = None
        self.adopting = False
        self.kpi_at = 0.0
        self.kpi_whole_at = 0.0
        self.kpi_said: dict[str, Struct] = {}
        self.newest = 0
        self.get = rows.get
        self.put = rows.put
        self.delete = rows.delete
        self.keys_from = rows.keys_from
        self.peek = rows.peek
        self.is_live = rows.is_live
        self.time_of = rows.time_of
        self._stage = stage
        self._encode = encode
        self._send = send
        self._seen = seen

    @property
    def changed(self) -> bool:
        """Whether there is anything that the last checkpoint does not contain."""
        return self.next != self.saved or self.adopting or bool(self.rows.dirty)

    def emit(self, topic: str, key: str, record: Struct) -> None:
        """Publish an output record (``View.emit``)."""
        value = self._encode(record)
        raw = key.encode()
        if self._seen and topic != KPI and digest(topic, raw, value) in self._seen:
            return
        self._send(topic, value, raw)
        emitted = self.counts.emitted
        emitted[topic] = emitted.get(topic, 0) + 1

    def fire(self, key: str, due: int) -> None:
        """Handle a timer that has come due."""
        self.rows.dirty.add(key)  # whatever the stage does, the spent timer must not come back with the row
        self.counts.fired += 1
        self._stage.advance(self, key, due)

    def follow(self, complete_until: int) -> None:
        """Move the live sources on; see ``Timeline.follow``."""
        self.rows.timeline.follow(complete_until, self.fire)

    def go_live(self, send: Send, counts: Counts) -> None:
        """Send from now on to ``send``, after a replay that collected."""
        self._send = send
        self.counts = counts

    def kpis(self, whole: bool) -> None:
        """Emit the KPI partials that changed since they were last said here (all: ``whole``), end those that are gone.

        An unchanged part stays right under its older position: nobody else says anything about this partition.
        """
        said: dict[str, Struct] = {}
        for kpi in self._stage.kpis(self, dict(self.rows.timeline.now)):
            part = msgspec.structs.replace(kpi, topic=self.topic, partition=self.partition, position=self.next)
            said[f"{part.kpi}|{part.labels}|{self.topic}|{self.partition}"] = part  # type: ignore[attr-defined]
        for key in self.kpi_said.keys() - said.keys():
            gone = msgspec.structs.replace(
                self.kpi_said[key], position=self.next, value=None, numerator=None, denominator=None
            )
            self.emit(KPI, key, gone)
        for key, part in said.items():
            if whole or _figures(part) != _figures(self.kpi_said.get(key)):
                self.emit(KPI, key, part)
        self.kpi_said = said


class Processor:
    """Applies runs of decoded records to partitions of one stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.projections: Mapping[str, type[Struct]] = {**stage.projections, HEARTBEAT: Heartbeat}
        self._kinds: dict[type, int] = {Heartbeat: _HEARTBEAT, Skipped: _SKIPPED, Bad: _BAD}
        for name, kind in stage.projections.items():
            if name == POLICY_CHANGE:
                self._kinds[kind] = _CHANGE
                continue
            timed = {"source", "observed_at", "timeline"} <= set(kind.__struct_fields__)
            self._kinds[kind] = _TIMED if timed else _PLAIN
        self._kinds_on: dict[str, dict[type, int]] = {}

    def _kinds_of(self, topic: str) -> dict[type, int]:
        """What to do with a record of each class on a topic; made once a topic, so that an event costs nothing more."""
        known = self._kinds_on.get(topic)
        if known is None:
            belongs = _BELONGS.get(topic)
            known = self._kinds_on[topic] = dict(self._kinds)
            for name, kind in self.projections.items():
                if belongs is not None and name not in belongs:
                    known[kind] = _UNEXPECTED
        return known

    def apply(self, part: Partition, events: Sequence[Struct], offsets: Sequence[int], raw: Raw) -> int:
        """Apply records in order and move the position behind the last; return how many were dead letters.

        Raises StageFailed (UnknownPolicy and UnknownDictionary as they are), after which the partition's rows are not
        to be used.
        """
        topic, counts = part.topic, part.counts
        timeline = part.rows.timeline
        stage_apply, observe, fire = self.stage.apply, timeline.observe, part.fire
        now, wall, margin = timeline.now, timeline.wall, timeline.margin
        kinds, belongs = self._kinds_of(topic), _BELONGS.get(topic)
        applied = repeated = filtered = dead = 0
        offset = -1
        try:
            for index, event in enumerate(events):
                offset = offsets[index]
                kind = kinds[event.__class__]
                if kind <= _PLAIN or kind == _CHANGE:
                    if kind == _TIMED:
                        source: str = event.source  # type: ignore[attr-defined]
                        at: int = event.observed_at  # type: ignore[attr-defined]
                        # Most events are of a moment that their source has reached: nothing moves then.
                        line: str = event.timeline  # type: ignore[attr-defined]
                        if at - margin > now.get(source, _NEVER) or (line == WALL and source not in wall):
                            observe(source, at, line, fire)
                    elif kind == _CHANGE:
                        timeline.observe_all(event.published_at, fire)  # type: ignore[attr-defined]
                    try:
                        if stage_apply(part, event, offset) is False:
                            repeated += 1
                        else:
                            applied += 1
                    except InvalidEvent as error:
                        dead += 1
                        self._bury(part, offset, raw(index), "invalid_event", f"{error.reason} {error.detail}".strip())
                elif kind == _HEARTBEAT:
                    assert isinstance(event, Heartbeat)
                    timeline.heartbeat(event.source, event.at, event.timeline, event.final, fire)
                elif kind == _UNEXPECTED or (
                    kind == _SKIPPED and belongs is not None and event.full_name not in belongs  # type: ignore[attr-defined]
                ):
                    dead += 1
                    self._bury(part, offset, raw(index), "unexpected_record", "this kind of record is of another topic")
                elif kind == _SKIPPED:
                    filtered += 1
                else:
                    assert isinstance(event, Bad)
                    dead += 1
                    self._bury(part, offset, raw(index), event.reason, event.detail)
        except (UnknownPolicy, UnknownDictionary):
            raise
        except Exception as error:
            raise StageFailed(
                f"stage {self.stage.name} failed at {topic}:{part.partition} offset {offset} ({type(error).__name__})"
            ) from error
        part.next = offset + 1
        for counted, number in ((counts.applied, applied), (counts.repeated, repeated), (counts.filtered, filtered)):
            if number:
                counted[topic] = counted.get(topic, 0) + number
        return dead

    def _bury(
        self, part: Partition, offset: int, record: tuple[bytes | None, bytes | None, int], reason: str, detail: str
    ) -> None:
        key, value, timestamp = record
        letter = dead_letter(
            self.stage.name, (part.topic, part.partition, offset), key, value, timestamp, reason, detail
        )
        part.emit(DEAD_LETTER, f"{part.topic}:{part.partition}:{offset}", letter)
        dead = part.counts.dead
        dead[part.topic, reason] = dead.get((part.topic, reason), 0) + 1


def _figures(kpi: Any) -> tuple[float | None, float | None, float | None] | None:
    return None if kpi is None else (kpi.value, kpi.numerator, kpi.denominator)
