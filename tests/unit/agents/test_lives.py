"""Two lives of a log that forgets: what the store held when it was killed, and what the relations stage says after."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finwatch.domain.events import RelationFact
from finwatch.domain.records import Finding
from finwatch.runtime.topics import FINDING, RELATION
from streams.agents.registry import relations_stage
from streams.agents.replay import Replay
from tests.unit.agents.test_duties import account, paid_out, renumbered, told, worlds
from tests.unit.agents.world import POLICIES, bill


def said(facts: list[RelationFact]) -> list[tuple[int, Finding]]:
    """The findings on these facts, each with the number of facts that had been read."""
    replay = Replay(relations_stage(POLICIES), RELATION)
    found: list[tuple[int, Finding]] = []
    for number, fact in enumerate(facts, start=1):
        before = len(replay.view.outputs)
        replay.feed([fact])
        new = [one.record for one in replay.view.outputs[before:] if one.topic == FINDING]
        found += [(number, record) for record in new if isinstance(record, Finding)]
    return found


def shown(stored: list[Finding]) -> dict[str, Any]:
    """What a reader of the store sees: of each finding the latest version; of two the one that came later."""
    found: dict[str, Finding] = {}
    for finding in stored:
        before = found.get(finding.finding_id)
        if before is None or finding.version >= before.version:
            found[finding.finding_id] = finding
    return {
        key: (f.status == "resolved", f.severity, f.reasons, f.document_keys, f.evidence, f.amount_at_risk)
        for key, f in found.items()
        if f.status != "retracted"
    }


def lives(first: list[RelationFact], second: list[RelationFact], facts: int, findings: int) -> list[Finding]:
    """What is stored at the end.

    ``first``: facts as the first life read them, of which ``facts`` were stored when it was killed, and the findings on
    the first ``findings`` of them. ``second``: all facts as the next life reads them, those that were stored before.
    """
    assert second[:facts] == first[:facts]
    return [f for number, f in said(first) if number <= findings] + [f for _, f in said(second)]


@st.composite
def two_orders(draw: st.DrawFn) -> tuple[list[RelationFact], list[RelationFact], int]:
    """A world's facts, the same in another order behind a place, and the place; a document's facts keep their order."""
    events = sorted(draw(worlds()), key=lambda event: event.occurred_at)
    facts, _ = told(events)
    place = draw(st.integers(0, len(facts)))
    queues: dict[str, list[RelationFact]] = {}
    for fact in facts[place:]:
        queues.setdefault(fact.document_key, []).append(fact)
    mixed: list[RelationFact] = []
    while queues:
        key = draw(st.sampled_from(sorted(queues)))
        mixed.append(queues[key].pop(0))
        if not queues[key]:
            del queues[key]
    return facts, facts[:place] + mixed, place


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(two_orders(), st.data())
def test_findings_that_are_stored_with_their_facts_hide_nothing(
    orders: tuple[list[RelationFact], list[RelationFact], int], data: st.DataObject
) -> None:
    first, second, facts = orders
    findings = data.draw(st.integers(0, facts))
    assert shown(lives(first, second, facts, findings)) == shown([f for _, f in said(second)])


def test_a_finding_without_its_facts_would_hide_what_is_said_in_the_next_life() -> None:
    """What the order of storing is for: the same kill, with findings stored whose facts are lost."""
    paying = paid_out("40", "2026-03-09 10:00", "5")
    changes = [renumbered("3", f"2026-03-0{day} 10:00") for day in (3, 4, 5)]
    billed = bill("20", "2026-03-02 10:00", state="posted", bank_account_id="3", created_by="11")
    facts, _ = told([account("3", "2026-01-02 10:00"), *changes, billed, paying])
    first = [*of(facts, "payment"), *of(facts, "bank_account"), *of(facts, "bill")]
    second = [*of(facts, "bill"), *of(facts, "bank_account"), *of(facts, "payment")]
    right = shown([finding for _, finding in said(second)])
    # Killed before the bill's fact was read, and nothing of it stored: so are the findings, or else they hide.
    assert shown(lives(first, second, facts=0, findings=0)) == right
    before_the_bill = len(first) - len(of(facts, "bill"))
    assert shown(lives(first, second, facts=0, findings=before_the_bill)) != right


def of(facts: list[RelationFact], entity: str) -> list[RelationFact]:
    return [fact for fact in facts if fact.entity == entity and fact.relation == "vendor"]
