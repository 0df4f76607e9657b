"""The relations stage: facts that were re-keyed by what relates documents; each kind goes to its detector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from finwatch.domain.events import RELATION_PROJECTIONS, PolicyChange, RelationFact
from finwatch.domain.policy import Policy, PolicySet
from finwatch.domain.records import Kpi
from finwatch.runtime.topics import RELATION
from streams.agents import tally, windows
from streams.agents.detector import RelationDetector, Timed
from streams.agents.duplicates import DuplicatePairs
from streams.agents.policies import PolicyBook
from streams.stage import InvalidEvent, View

RETIRED = frozenset({"duplicate_reference"})
"""Kinds of relation that earlier versions sent, and that nobody asks for any more."""


class Judged(Struct, array_like=True):
    """The event time of the latest fact of a group, epoch microseconds."""

    latest: int


class RelationsStage:
    """What only shows when documents are put side by side."""

    name = "relations"
    topics = (RELATION,)
    projections: Mapping[str, type[Struct]] = RELATION_PROJECTIONS

    def __init__(self, policies: PolicySet, detectors: Sequence[RelationDetector]) -> None:
        self._policies = policies
        self._book = PolicyBook(policies)
        self._detectors = {detector.relation: detector for detector in detectors}
        self._timed = {
            kind: detector for detector in detectors if isinstance(detector, Timed) for kind in detector.timed
        }

    def apply(self, view: View, event: Struct, offset: int) -> bool | None:
        """Take one fact, by the policy of its time. Raises InvalidEvent for a relation that no detector knows."""
        if event.__class__ is PolicyChange:
            return self._change_policy(view, event)
        assert isinstance(event, RelationFact)
        detector = self._detectors.get(event.relation)
        if detector is None:
            if event.relation in RETIRED:
                return False
            raise InvalidEvent("invalid_event", "no detector knows this relation")
        policy = self._book.sole(view, event.source)
        if isinstance(detector, DuplicatePairs) and (policy is None or policy.has_companies):
            policy = self._book.at(view, event.source, event.occurred_at).of_company(event.company_id)

            def choose(moment: int, company_id: str | None) -> Policy:
                return self._book.at(view, event.source, moment).of_company(company_id)

            return None if detector.apply(view, event, policy, choose) else False
        if policy is None:
            policy = self._book.at(view, event.source, _latest(view, event))
        return None if detector.apply(view, event, policy.of_company(event.company_id)) else False

    def _change_policy(self, view: View, change: PolicyChange) -> bool | None:
        """Take in a policy that was published: facts from its start on are judged by it."""
        return False if self._book.take(view, change) is None else None

    def advance(self, view: View, key: str, now: int) -> None:
        """A row is due: a policy comes into force, or a detector looks at its row by the policy that is in force.

        What was said stays as it was judged: a group is judged again with its next fact.
        """
        kind, source = key.split(":", 2)[:2]
        if kind == "p":
            self._book.switch(view, source)
            return
        if key.startswith(windows.PREFIX):
            view.delete(key)  # a window is over
            return
        detector = self._timed.get(kind)
        if detector is not None:
            detector.advance(view, key, now, self._book.current(view, source))

    def kpis(self, view: View, now: Mapping[str, int]) -> Iterable[Kpi]:
        """This partition's KPI partials."""
        yield from tally.kpis(view, now, lambda source: self._book.current(view, source))
        for detector in self._detectors.values():
            yield from detector.kpis(view, now, self._policies)


def _latest(view: View, fact: RelationFact) -> int:
    """The time of the latest fact of a group, this one included.

    A group is judged as a whole, by the policy of its latest fact: one that comes late does not bring back a policy
    that was followed by another, and in whatever order the facts come, the same policy has the last word. Kept only
    where there is more than one policy.
    """
    key = f"g:{fact.source}:{fact.relation_key}"
    known = view.get(key, Judged)
    if known is not None and known.latest >= fact.occurred_at:
        return known.latest
    view.put(key, Judged(fact.occurred_at))
    return fact.occurred_at
