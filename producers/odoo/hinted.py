"""Hints: read again, now, what somebody said has changed. Never more than a hint: what is published is what is read.

Odoo sends its webhooks before it commits, so the first reading often finds the record as it was, or not at all, or
still there although it is being deleted. It is then read a few times more with growing waits. A change that comes up
does not end that: it may be an older one that no poll has seen yet, or the record may have been deleted between the
reading of it and that of its lines. A deletion does. After that the hint is forgotten: the next polls' windows reach
back over it, as they would had there been no hint.

During a first snapshot only what lies behind its cursor is read: a page that was read ahead is never published after a
newer reading of the same record. Hints of what lies before it wait until the cursor has passed.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from producers.hints import Hint
from producers.odoo.figures import Figures
from producers.odoo.mapping.spec import Mapping
from producers.odoo.memory import Memory
from producers.odoo.publishing import Publishing
from producers.odoo.reader import Reader
from producers.odoo.stopping import Models
from producers.odoo.streaming import LOG
from producers.odoo.times import Times

WAITS = (0.0, 0.1, 0.2, 0.4, 0.6, 0.6, 0.6, 0.8, 1.5, 3.0, 4.2)
"""Seconds before each reading; with a webhook sent before commit the first is nearly always in vain. What commits
within three seconds of its hint is read within 0.8 s of its commit, what takes longer within some seconds."""
MOST = 10_000
"""Hints waiting at once; what comes beyond is left to the next poll."""
LOOK_AGAIN = 0.2
"""Seconds after which a hint that waits for the snapshot's cursor is looked at again."""


@dataclass
class _Waiting:
    readings: int
    at: float  # monotonic seconds
    changed: bool = False


class Hinted:
    """Hints that wait to be read, by (model, id)."""

    def __init__(
        self,
        reader: Reader,
        memory: Memory,
        publishing: Publishing,
        models: Models,
        times: Times,
        figures: Figures,
    ) -> None:
        self._reader = reader
        self._memory = memory
        self._publishing = publishing
        self._models = models
        self._times = times
        self._figures = figures
        self._waiting: dict[tuple[str, int], _Waiting] = {}

    def take(self, hints: Iterable[Hint]) -> None:
        """Hints that came; one that is waiting already begins anew."""
        now, mappings = self._times.monotonic(), self._reader.mappings
        for hint in hints:
            if hint.model not in mappings and hint.model not in mappings.by_child:
                self._figures.count("capture_hints", "other_model")
            elif len(self._waiting) >= MOST and (hint.model, hint.id) not in self._waiting:
                self._figures.count("capture_hints", "too_many")
            else:
                self._waiting[hint.model, hint.id] = _Waiting(0, now)

    def due_in(self) -> float | None:
        """Seconds until the next reading; None when nothing waits."""
        if not self._waiting:
            return None
        return max(0.0, min(one.at for one in self._waiting.values()) - self._times.monotonic())

    def work(self) -> bool:
        """Read what is due, publish what changed; whether anything was published and is to be settled."""
        now = self._times.monotonic()
        due: dict[str, set[int]] = {}
        for (model, record_id), waiting in self._waiting.items():
            if waiting.at <= now:
                due.setdefault(model, set()).add(record_id)
        published = False
        for model, asked in due.items():
            found: set[int] = set()
            ended: set[int] = set()
            ids = self._behind_cursors(model, asked, now)
            if not ids:
                continue
            for mapping in [one for one in self._models.active() if one.model == model]:
                with self._models.guarded(model):
                    changed, deleted = self._read(mapping, ids)
                    found |= changed | deleted
                    ended |= deleted
            for mapping, child in self._reader.mappings.by_child.get(model, ()):
                if mapping not in self._models.active():
                    continue
                with self._models.guarded(mapping.model):
                    for line_id in sorted(ids):
                        parents = self._reader.parents_of(child, [line_id])
                        if not self._passed(mapping, parents):
                            self._waiting[model, line_id].at = now + LOOK_AGAIN
                            ids.discard(line_id)
                        elif parents and any(self._read(mapping, parents)):
                            found.add(line_id)
            self._count(model, ids, found, ended)
            published = published or bool(found)
        return published

    def _behind_cursors(self, model: str, ids: set[int], now: float) -> set[int]:
        """Those that can be read now; the others wait for the model's snapshot."""
        mappings = [one for one in self._models.active() if one.model == model]
        ready = {one for one in ids if all(self._passed(mapping, [one]) for mapping in mappings)}
        for record_id in ids - ready:
            self._waiting[model, record_id].at = now + LOOK_AGAIN
        return ready

    def _passed(self, mapping: Mapping, ids: Iterable[int]) -> bool:
        """Whether the model's snapshot has read all of these."""
        progress = self._memory.progress(mapping.model)
        if progress is None:
            return False
        return progress.snapshot_done or all(one <= progress.last_id for one in ids)

    def _read(self, mapping: Mapping, ids: set[int]) -> tuple[set[int], set[int]]:
        """Read documents; ids of those that changed, and of those that are deleted."""
        changed: set[int] = set()
        there: set[int] = set()
        for batch in self._reader.by_ids(mapping, ids, with_log=LOG not in self._models.stopped):
            there.update(row["id"] for row in batch.rows)
            changed |= self._publishing.batch(mapping, batch, "webhook")
        # Not there and known: deleted, unless a second search still has it (it may be what is not captured).
        known = {one for one in ids - there if self._memory.hashes[mapping.model].get(one) is not None}
        if known:
            known -= self._reader.existing(mapping.model, known)
        if known:
            self._publishing.gone(mapping.model, sorted(known), "webhook")
        return changed, known

    def _count(self, model: str, ids: set[int], found: set[int], ended: set[int]) -> None:
        now = self._times.monotonic()
        for record_id in ids:
            waiting = self._waiting[model, record_id]
            waiting.readings += 1
            waiting.changed = waiting.changed or record_id in found
            if record_id in ended or waiting.readings == len(WAITS):
                self._figures.count("capture_hints", "changed" if waiting.changed else "unchanged")
                del self._waiting[model, record_id]
            else:
                waiting.at = now + WAITS[waiting.readings]
