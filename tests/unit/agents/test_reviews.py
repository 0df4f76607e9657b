"""Reviews: steps of a document beside its own approval."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from finwatch.domain import approvals
from finwatch.domain.approvals import Steps
from finwatch.domain.documents import Fact
from finwatch.domain.policy import PolicyError, parse_policy
from finwatch.domain.policy.compiled import Reaction
from finwatch.domain.records import Step
from finwatch.runtime.topics import (
    CLOCK,
    ENTITY_TOPICS,
    EXCEPTION,
    FINDING,
    KEPT_ENTITIES,
    STEP,
    WATCHED_ENTITIES,
    entity_topic,
)
from streams.agents.registry import documents_stage
from streams.agents.replay import Replay
from tests.unit.agents.test_policy_changes import changed, marker
from tests.unit.agents.world import POLICIES, at, bill, documents, latest, moved, order, reviewed

ONE, TWO = "tier_review:1", "tier_review:2"


def steps(replay: Replay) -> dict[str | None, Step]:
    """The last step of each review; of the document itself under None."""
    found: dict[str | None, Step] = {}
    for step in latest(replay.outputs(STEP), "step_id").values():
        if not step.retracted:
            found[step.review] = step
    return found


def test_reviews_wait_side_by_side_and_move_nothing_else() -> None:
    replay = documents("purchase_order")
    replay.feed([order("1", "2026-03-02 09:00", state="to approve")])
    before = len(replay.outputs(CLOCK))
    replay.feed(
        [
            reviewed("purchase_order", "1", "2026-03-02 10:00", "submitted", ONE, responsible="11"),
            reviewed("purchase_order", "1", "2026-03-02 10:00", "submitted", TWO, responsible="12"),
            reviewed("purchase_order", "1", "2026-03-03 10:00", "approved", TWO, "approved"),
        ]
    )
    found = steps(replay)
    assert found[None].decided_at is None, "the order itself still waits"
    assert (found[ONE].person, found[ONE].decided_at) == ("11", None)
    assert (found[TWO].person, found[TWO].decided_by, found[TWO].decision) == ("12", "8", "approved")
    assert found[TWO].wall_seconds == 86_400
    assert len(replay.outputs(CLOCK)) == before


def test_a_decided_document_waits_for_no_reviewer_and_a_review_in_the_same_breath_counts() -> None:
    replay = documents("purchase_order")
    replay.feed(
        [
            order("1", "2026-03-02 09:00", state="to approve"),
            reviewed("purchase_order", "1", "2026-03-02 10:00", "submitted", ONE, responsible="11"),
            reviewed("purchase_order", "1", "2026-03-02 10:00", "submitted", TWO, responsible="12"),
            moved("purchase_order", "1", "2026-03-03 09:00", "approved", "to approve", "purchase", decision="approved"),
            reviewed("purchase_order", "1", "2026-03-03 09:00", "approved", TWO, "approved", actor="12"),
        ]
    )
    found = steps(replay)
    assert (found[ONE].decision, found[ONE].decided_by) == ("cancelled", None)
    assert (found[TWO].decision, found[TWO].decided_by) == ("approved", "12")
    assert len(latest(replay.outputs(STEP), "step_id")) == 3, "no second step for the same review"


def test_a_review_is_stuck_by_its_own_rule_and_handed_on_by_its_own_fallback() -> None:
    raw = POLICIES.versions[0].policy.document
    approvals = [one for one in _builtins(raw)["approvals"] if one["entity"] != "tier_review"]
    own = {
        "entity": "tier_review",
        "step": "tier_review",
        "opens": [{"activity": "submitted"}],
        "ends": {"approved": [{"activity": "approved"}]},
        "stuck_after": "1 business days",
        "fallback": {"role": "director", "person": "99", "after": "2 business days"},
    }
    policy = parse_policy({**_builtins(raw), "approvals": [*approvals, own]})
    replay = Replay(documents_stage(type(POLICIES)([policy])), "finance.bill.v1")
    replay.feed([bill("1", "2026-03-02 09:00"), reviewed("bill", "1", "2026-03-02 09:00", "submitted", ONE)])
    replay.heartbeat("odoo", at("2026-03-03 12:00"), "log")
    (stuck,) = (f for f in latest(replay.outputs(FINDING), "finding_id").values() if f.rule == "stuck_tier_review")
    assert stuck.due_at == at("2026-03-03 09:00")
    replay.heartbeat("odoo", at("2026-03-04 12:00"), "log")
    step = steps(replay)[ONE]
    assert (step.person, step.role, step.route) == ("99", "director", "fallback")
    assert step.started_at == at("2026-03-02 09:00")


def test_a_review_has_steps_without_a_rule_for_it() -> None:
    raw = _builtins(POLICIES.versions[0].policy.document)
    raw["approvals"] = [one for one in raw["approvals"] if one["entity"] != "tier_review"]
    replay = Replay(documents_stage(type(POLICIES)([parse_policy(raw)])), "finance.bill.v1")
    replay.feed(
        [
            bill("1", "2026-03-02 09:00"),
            reviewed("bill", "1", "2026-03-02 10:00", "submitted", ONE, responsible="11"),
            reviewed("bill", "1", "2026-03-02 10:00", "submitted", TWO, responsible="12"),
            reviewed("bill", "1", "2026-03-02 12:00", "withdrawn", TWO),
        ]
    )
    assert (steps(replay)[ONE].person, steps(replay)[TWO].decision) == ("11", "withdrawn")


def test_a_rejection_stands_until_somebody_asks_anew() -> None:
    replay = documents("purchase_order")
    replay.feed(
        [
            order("1", "2026-03-02 09:00", state="to approve"),
            reviewed("purchase_order", "1", "2026-03-02 10:00", "submitted", ONE),
            reviewed("purchase_order", "1", "2026-03-02 10:00", "submitted", TWO),
            reviewed("purchase_order", "1", "2026-03-02 11:00", "rejected", ONE, "rejected"),
            reviewed("purchase_order", "1", "2026-03-02 12:00", "approved", TWO, "approved"),
        ]
    )

    def rejected() -> list[str]:
        found = latest(replay.outputs(EXCEPTION), "exception_id").values()
        return [one.status for one in found if one.type == "rejected_step"]

    assert rejected() == ["open"]
    replay.feed([reviewed("purchase_order", "1", "2026-03-03 11:00", "submitted", "tier_review:3")])
    assert rejected() == ["resolved"]


def test_the_creators_own_review_is_an_approval_by_the_creator() -> None:
    replay = documents("purchase_order")
    replay.feed(
        [
            order("1", "2026-03-02 09:00", state="to approve"),
            reviewed("purchase_order", "1", "2026-03-02 10:00", "submitted", ONE),
            reviewed("purchase_order", "1", "2026-03-02 11:00", "approved", ONE, "approved", actor="5"),
        ]
    )
    assert "approval_by_creator" in {e.type for e in latest(replay.outputs(EXCEPTION), "exception_id").values()}


def test_a_late_review_leaves_the_numbers_of_the_others() -> None:
    replay = documents("bill")
    replay.feed(
        [
            bill("1", "2026-03-02 09:00"),
            reviewed("bill", "1", "2026-03-03 10:00", "submitted", ONE),
        ]
    )
    known = {step.step_id for step in steps(replay).values()}
    replay.feed([reviewed("bill", "1", "2026-03-02 10:00", "submitted", TWO, observed_at="2026-03-04 10:00")])
    assert known < {step.step_id for step in steps(replay).values()}
    assert not any(step.retracted for step in latest(replay.outputs(STEP), "step_id").values())


def test_another_policy_plans_an_open_review_anew() -> None:
    replay = documents("bill")
    replay.feed([bill("1", "2026-03-02 09:00"), reviewed("bill", "1", "2026-03-02 09:00", "submitted", ONE)])
    raw = _builtins(POLICIES.versions[0].policy.document)["approvals"]
    quick = changed(
        approvals=[{**a, "stuck_after": "1 business days"} if a["entity"] == "tier_review" else a for a in raw]
    )
    replay.feed([marker(quick, "2026-03-04 10:00")])
    replay.heartbeat("odoo", at("2026-03-04 10:01"), "log")
    stuck = [f for f in latest(replay.outputs(FINDING), "finding_id").values() if f.rule == "stuck_tier_review"]
    assert [(f.status, f.opened_at) for f in stuck] == [("open", at("2026-03-04 10:00"))]


def test_a_history_longer_than_the_row_keeps_closes_what_was_open() -> None:
    replay = documents("bill")
    replay.feed([bill("1", "2026-03-02 09:00"), reviewed("bill", "1", "2026-03-02 09:30", "submitted", ONE)])
    began = at("2026-03-02 10:00")
    for number in range(60):
        review, when = f"tier_review:{number + 10}", began + number * 3_600_000_000
        replay.feed([reviewed("bill", "1", when, "submitted", review)])
        replay.feed([reviewed("bill", "1", when + 60_000_000, "approved", review, "approved")])
    replay.feed([reviewed("bill", "1", "2026-03-09 10:00", "approved", ONE, "approved")])
    found = steps(replay)
    assert (found[ONE].started_at, found[ONE].decision) == (at("2026-03-02 09:30"), "approved")
    assert len([step for step in found.values() if step.review]) == 61
    assert all(step.decision == "approved" for step in found.values() if step.review)


def test_a_clock_on_a_review_is_refused() -> None:
    raw = _builtins(POLICIES.versions[0].policy.document)
    raw["clocks"] = [{**raw["clocks"][0], "entity": "tier_review"}]
    with pytest.raises(PolicyError, match="stuck_after"):
        parse_policy(raw)


def _builtins(document: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(document, str_keys=True)
    return found


def test_a_step_whose_number_was_taken_back_goes_on_with_its_findings() -> None:
    """Its finding has the same id when it gets stuck at the same instant: the next version, not the first again."""
    rule = POLICIES.of("odoo").approvals["purchase_order"]
    opening = Reaction(rule, None, True, None, (), None, False)
    calendar = POLICIES.of("odoo").calendar_of("1")
    start = at("2026-03-02 10:00")
    steps = Steps()
    [step] = approvals.apply(steps, Fact(start, True, "submitted", event_id="a"), opening, calendar)
    assert approvals.fire(step, step.due)
    step.fired[0].version, step.fired[0].said, step.fired[0].status = 2, "retracted", "retracted"
    assert approvals.fire(step, step.due), "it was taken back, and is stuck again"
    assert [(one.version, one.status) for one in step.fired] == [(2, "open")]
    step.fired[0].status, step.retracted, step.version, steps.next_ordinal = "retracted", True, 3, 0
    [again] = approvals.apply(steps, Fact(start, True, "submitted", event_id="b"), opening, calendar)
    assert approvals.fire(again, again.due)
    assert (again.ordinal, again.version, [(one.version, one.status) for one in again.fired]) == (0, 3, [(2, "open")])


@pytest.mark.parametrize("entity", ["sale_order", "project"])
def test_a_review_of_what_no_stage_reads_reaches_no_stage(entity: str) -> None:
    """It goes to its document's topic, which the sink stores and no stage takes: no step, and no dead letter either."""
    told = reviewed(entity, "1", "2026-03-02 10:00", "submitted", ONE)
    topic = entity_topic(told.entity)
    assert entity in KEPT_ENTITIES
    assert entity not in WATCHED_ENTITIES
    assert topic in ENTITY_TOPICS, "it is stored"
    assert topic not in documents_stage(POLICIES).topics
