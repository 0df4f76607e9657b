"""A run of the reconciliation: both sides read in step, compared, told as figures and findings, repaired when asked."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from finwatch.domain.reconciled_log import LogComparison, LogGroup, LogKey, log_findings
from finwatch.domain.reconciliation import (
    KINDS,
    Awaited,
    Comparison,
    Difference,
    Group,
    Item,
    Key,
    Reference,
    Scope,
    findings,
    never_awaited,
    totals,
)
from finwatch.domain.records import Finding
from finwatch.runtime.clock import Clock, to_micros
from finwatch.runtime.metrics import Metrics
from producers.odoo.compared import SourceSide
from producers.odoo.mapping import Mapping as ModelMapping
from producers.signals import Held, SnapshotRequest, recaptures
from sinks.clickhouse.compared import StoreSide

KEYS = 1000
"""Records of the log asked for at once."""
CHUNK = 10_000
"""Documents compared at once: few queries of the store, and memory that does not grow with the tables."""


@dataclass(frozen=True)
class Model:
    """What came out of one model. `seen_until`: how far the store has seen the source; None: it was never told."""

    mapping: ModelMapping
    seen_until: datetime | None
    groups: Mapping[Key, Group]

    def differences(self) -> list[Difference]:
        """Each listed difference once; one whose company or period changed stands in two groups."""
        return list({one.reference: one for group in self.groups.values() for one in group.differences}.values())


@dataclass
class Outcome:
    """What a run found. `at`: the source's time when it began. `unreadable`: models left out, and why."""

    source: str
    at: datetime
    scope: Scope
    models: list[Model] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    malformed: int = 0
    seconds: float = 0.0
    log: dict[LogKey, LogGroup] = field(default_factory=dict)
    """The tracking log's groups."""
    log_compared: bool = False

    @property
    def groups(self) -> dict[Key, Group]:
        """All groups, in their order."""
        return dict(sorted((key, group) for model in self.models for key, group in model.groups.items()))

    @property
    def drift(self) -> int:
        """How many documents the sides do not agree on."""
        return sum(totals(self.groups.values()).values())

    @property
    def untold(self) -> int:
        """How many changes of the tracking log the store lacks."""
        return sum(group.missing for group in self.log.values())

    @property
    def differs(self) -> bool:
        """Whether there is anything to repair."""
        return bool(self.drift or self.untold)

    def untold_of(self, model: str) -> set[int]:
        """Records of a model of which a logged change is missing."""
        return {one for key, group in self.log.items() if key.model == model for one in group.records}


class Reconciler:
    """Compares one source with one store. For one thread at a time.

    `overlap`: how long a transaction of the source may take; younger documents are in flight.
    """

    def __init__(
        self,
        source: str,
        source_side: SourceSide,
        store_side: StoreSide,
        clock: Clock,
        *,
        overlap: timedelta,
        stop: threading.Event,
        chunk: int = CHUNK,
    ) -> None:
        self._source = source
        self._source_side = source_side
        self._store_side = store_side
        self._clock = clock
        self._overlap = overlap
        self._stop = stop
        self._chunk = chunk

    def run(
        self,
        mappings: Sequence[ModelMapping],
        at: datetime,
        *,
        entities: AbstractSet[str] | None = None,
        company: str | None = None,
        period: str | None = None,
        awaited: Callable[[str], Awaited] | None = None,
        progress: Callable[[str], None] | None = None,
        log: bool = False,
    ) -> Outcome:
        """Compare models one after another. `at`: the source's time now (aware). `entities`: only these of theirs.
        `awaited`: by model, which documents may still wait for their deletion to be noticed. `log`: compare the
        tracking log of these models too.

        Raises what either side raises; nothing is written.
        """
        began = self._clock.monotonic()
        of_models = {entity for mapping in mappings for entity in mapping.entities}
        wanted = of_models if entities is None else of_models & entities
        outcome = Outcome(self._source, at, Scope({mapping.model for mapping in mappings}, wanted, company, period))
        for mapping in mappings:
            if progress is not None:
                progress(mapping.model)
            # 1. How far the store has seen the source, before the source is read: what is younger is in flight.
            seen_until = self._store_side.seen_until(mapping.entities)
            before = min(at, seen_until or at) - self._overlap
            of_model = awaited(mapping.model) if awaited is not None else never_awaited
            comparison = Comparison(mapping.model, before, of_model, contents=mapping.stamped)
            for after, last, mine in self._chunks(mapping, outcome.scope):
                # 2. The store after the source: what was captured in between is younger, so in flight.
                held = self._store_side.items(mapping.model, mapping.entities, after, last)
                theirs = self._in_scope(held, outcome.scope)
                # 3. A second look, at both, whatever company and period they are of now.
                suspects = comparison.suspects(mine, theirs)
                if suspects:
                    self._look_again(mapping, suspects, mine, theirs)
                comparison.add(mine, theirs)
            groups = {
                key: group
                for key, group in comparison.groups.items()
                if outcome.scope.covers(key.entity, key.company, key.period)
            }
            outcome.models.append(Model(mapping, seen_until, groups))
        if log:
            if progress is not None:
                progress("the tracking log")
            self._compare_log(outcome)
        outcome.malformed = self._source_side.malformed
        outcome.seconds = self._clock.monotonic() - began
        return outcome

    def _compare_log(self, outcome: Outcome) -> None:
        scope, by_model = outcome.scope, {}
        comparisons: dict[str, LogComparison] = {}
        for model in outcome.models:
            before = min(outcome.at, model.seen_until or outcome.at) - self._overlap
            by_model[model.mapping.model] = model.mapping
            comparisons[model.mapping.model] = LogComparison(model.mapping.model, before, scope.period)
        for page in self._source_side.logged(by_model.keys(), scope.period):
            for name, changes in page.items():
                entities = set(by_model[name].entities) & set(scope.entities)
                ids = sorted({one.record_id for one in changes})
                for start in range(0, len(ids), KEYS):
                    chunk = set(ids[start : start + KEYS])
                    documents, told = self._store_side.logged(name, entities, chunk, scope.company)
                    comparisons[name].add([one for one in changes if one.record_id in chunk], documents, told)
        outcome.log_compared = True
        outcome.log = {key: group for one in comparisons.values() for key, group in sorted(one.groups.items())}

    def requests(self, outcome: Outcome, at: datetime) -> list[SnapshotRequest]:
        """What a producer is to capture again: the documents that differ, with what the store holds of them."""
        wanted: list[SnapshotRequest] = []
        for model in outcome.models:
            differences = model.differences()
            missing = [one.reference for one in differences if one.kind == "missing"]
            deleted = self._store_side.deleted(missing) if missing else set()
            # What is gone is named with what the store has of it: the producer may have told its end before.
            held = [
                Held(one.reference.entity, one.reference.record_id, one.event_id, one.reference in deleted)
                for one in differences
                if one.kind == "gone" or one.reference in deleted
            ]
            # The log of a document comes with it.
            ids = {one.reference.record_id for one in differences} | outcome.untold_of(model.mapping.model)
            wanted += recaptures(self._source, model.mapping.model, ids, at, held)
        return wanted

    def settled(self, outcome: Outcome, seconds: float) -> bool:
        """Wait until the store shows what was captured again; False when it did not within `seconds`."""
        deadline = self._clock.monotonic() + seconds
        while True:
            if not any(self._still(model) for model in outcome.models) and not self._still_untold(outcome):
                return True
            if self._clock.monotonic() >= deadline or self._clock.wait(0.25, self._stop):
                return False

    def new_findings(self, outcome: Outcome, known: Mapping[str, Finding]) -> list[Finding]:
        """Findings that the topic does not have yet."""
        at = to_micros(outcome.at)
        found = findings(self._source, outcome.groups, known, outcome.scope, at)
        if outcome.log_compared:
            found += log_findings(self._source, outcome.log, known, outcome.scope, at)
        return found

    def _still(self, model: Model) -> bool:
        references = [one.reference for one in model.differences()]
        if not references:
            return False
        mine: dict[Reference, Item] = {}
        theirs: dict[Reference, Item] = {}
        self._look_again(model.mapping, references, mine, theirs)
        return bool(Comparison(model.mapping.model, None, contents=model.mapping.stamped).suspects(mine, theirs))

    def _still_untold(self, outcome: Outcome) -> bool:
        if not outcome.untold:
            return False
        models = [one for one in outcome.models if outcome.untold_of(one.mapping.model)]
        again = Outcome(outcome.source, outcome.at, outcome.scope, models)
        self._compare_log(again)
        return bool(again.untold)

    def _look_again(
        self,
        mapping: ModelMapping,
        references: Sequence[Reference],
        mine: dict[Reference, Item],
        theirs: dict[Reference, Item],
    ) -> None:
        for start in range(0, len(references), self._chunk):
            wanted = references[start : start + self._chunk]
            for reference in wanted:
                mine.pop(reference, None)
                theirs.pop(reference, None)
            mine.update(self._source_side.by_reference(mapping, wanted))
            theirs.update(self._store_side.by_reference(mapping.model, wanted))

    def _chunks(self, mapping: ModelMapping, scope: Scope) -> Iterator[tuple[int, int | None, dict[Reference, Item]]]:
        after, mine = 0, dict[Reference, Item]()
        for part in self._source_side.parts(mapping, scope.company, scope.period):
            mine |= self._in_scope(part.items, scope)
            if part.last is None or len(mine) >= self._chunk:
                yield after, part.last, mine
                after, mine = part.last or after, {}

    @staticmethod
    def _in_scope(items: Mapping[Reference, Item], scope: Scope) -> dict[Reference, Item]:
        return {
            reference: item
            for reference, item in items.items()
            if scope.covers(reference.entity, item.company, item.period)
        }


def tell_metrics(metrics: Metrics, outcome: Outcome, now: datetime) -> None:
    """Set the gauges to what a run found, and count the run."""
    source, groups = outcome.source, outcome.groups
    drift, documents = metrics.gauge("reconcile_drift"), metrics.gauge("reconcile_documents")
    in_flight, behind = metrics.gauge("reconcile_in_flight"), metrics.gauge("reconcile_store_behind_seconds")
    for gauge in (drift, documents, in_flight, behind):
        gauge.clear()
    for model in outcome.models:
        for entity in model.mapping.entities:
            documents.labels(source, entity, "source").set(0)
            documents.labels(source, entity, "store").set(0)
            in_flight.labels(source, entity).set(0)
        if model.seen_until is not None:
            behind.labels(source, model.mapping.model).set((outcome.at - model.seen_until).total_seconds())
    for key, group in groups.items():
        documents.labels(source, key.entity, "source").inc(group.source.count)
        documents.labels(source, key.entity, "store").inc(group.store.count)
        in_flight.labels(source, key.entity).inc(group.in_flight)
        for kind in KINDS:
            drift.labels(source, key.entity, key.company, kind).inc(group.counts.get(kind, 0))
    untold = metrics.gauge("reconcile_log_missing")
    untold.clear()
    for log_key, log_group in outcome.log.items():
        untold.labels(source, log_key.entity).inc(log_group.missing)
    metrics.gauge("reconcile_seconds").labels(source).set(outcome.seconds)
    metrics.gauge("reconcile_finished_timestamp_seconds").labels(source).set(now.timestamp())
    metrics.counter("reconcile_runs").labels(source, "drift" if outcome.drift or outcome.untold else "equal").inc()
