"""What other policies would have found: the log, run through the stages once for each, side by side.

Every policy is taken as if it had been in force from the beginning; changes of policy that stand in the log are left
out. Partition after partition is read once and decoded once, so memory is that of the stages' rows. What the documents
stage sends to the relations stage goes there at once: each document's own order is kept, as it is live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from finwatch.domain.events import PolicyChange, RelationFact
from finwatch.domain.policy import PolicySet
from finwatch.domain.records import Finding
from finwatch.runtime.history import HistoryRecord
from finwatch.runtime.topics import FINDING, RELATION
from schemas.codec import Decoder
from streams.agents.registry import documents_stage, relations_stage
from streams.partition import Counts, Partition, Processor
from streams.rows import RowStore

Batches = Callable[[str, int], Iterable[Sequence[HistoryRecord]]]
"""Topic and partition -> its records in the order of the log, in batches."""


class Subject(NamedTuple):
    """What a finding is about, whatever its due time: the same subject under two policies is the same question."""

    detector: str
    rule: str
    level: str | None
    document_keys: tuple[str, ...]


class Rehearsal:
    """One set of policies, and what it finds: the last version of each finding that is not taken back."""

    def __init__(self, policies: PolicySet, lateness: int) -> None:
        self.found: dict[str, Finding] = {}
        self._lateness = lateness
        self.documents = Processor(documents_stage(policies))
        self._relations = Processor(relations_stage(policies))
        self._related = self._part(self._relations, (RELATION, 0))

    def partition(self, tp: tuple[str, int]) -> Partition:
        """An input partition of the documents stage, with rows of its own."""
        return self._part(self.documents, tp)

    def end(self, until: Mapping[str, int]) -> None:
        """Let the relations' time pass to the end."""
        self._pass(self._related, until)

    def _pass(self, part: Partition, until: Mapping[str, int]) -> None:
        for source, at in sorted(until.items()):
            part.rows.timeline.move(source, at, part.fire)

    def _part(self, processor: Processor, tp: tuple[str, int]) -> Partition:
        return Partition(processor.stage, tp, 1, RowStore(self._lateness), 0, _as_it_is, self._sent, Counts())

    def _sent(self, topic: str, record: Any, key: bytes) -> None:
        if topic == FINDING:
            known = self.found.get(record.finding_id)
            if known is None or known.version < record.version:
                self.found[record.finding_id] = record
        elif topic == RELATION:
            fact = msgspec.convert(msgspec.to_builtins(record), RelationFact)
            part = self._related
            self._relations.apply(part, [fact], [part.next], lambda index: (None, None, 0))

    def standing(self, since: int) -> dict[Subject, Finding]:
        """What was found from ``since`` on (event time, epoch microseconds) and not taken back, by subject."""
        return {
            Subject(f.detector, f.rule, f.level, tuple(f.document_keys)): f
            for f in self.found.values()
            if f.status != "retracted" and f.opened_at >= since
        }


def rehearse(
    policies: Sequence[PolicySet],
    partitions: Iterable[tuple[str, int]],
    records: Batches,
    decoder: Decoder,
    lateness: int,
    until: Mapping[str, int],
    progress: Callable[[int], None] = lambda records: None,
) -> list[Rehearsal]:
    """Run the log through the stages under each of ``policies``. ``lateness`` and ``until`` in microseconds.

    ``until``: by source, the time to which its deadlines fire at the end. Raises RegistryUnavailable and what
    ``records`` raises.
    """
    runs = [Rehearsal(one, lateness) for one in policies]
    for tp in partitions:
        parts = [run.partition(tp) for run in runs]
        for batch in records(*tp):
            events = decoder.decode([record.value for record in batch], runs[0].documents.projections)
            kept = [i for i, event in enumerate(events) if not isinstance(event, PolicyChange)]
            chosen, offsets = [events[i] for i in kept], [batch[i].offset for i in kept]
            if chosen:
                for run, part in zip(runs, parts, strict=True):
                    run.documents.apply(part, chosen, offsets, lambda index: (None, None, 0))
            progress(len(batch))
        for run, part in zip(runs, parts, strict=True):
            run._pass(part, until)
    for run in runs:
        run.end(until)
    return runs


def _as_it_is(record: Struct) -> Any:
    """Instead of encoding: nobody reads bytes here."""
    return record
