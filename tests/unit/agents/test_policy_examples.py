"""The worked examples of policies: each is sound, and decides on documents what its first lines promise."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import finwatch
from finwatch.domain.policy import PolicySet
from finwatch.runtime.policies import load_policy
from finwatch.runtime.topics import CLOCK, EXCEPTION, FINDING, STEP
from streams.agents.registry import documents_stage
from streams.agents.replay import Replay
from tests.unit.agents.test_orders import billed, found, ordered, the_bill, the_order
from tests.unit.agents.world import at, bill, day, expense, latest, moved, order

EXAMPLES = Path(finwatch.__file__).parent / "policies" / "examples"


def stage(example: str, entity: str) -> Replay:
    policies = PolicySet([load_policy(EXAMPLES / f"{example}.yaml")])
    return Replay(documents_stage(policies), f"finance.{entity}.v1")


def clocks(replay: Replay) -> dict[str, Any]:
    return {clock.policy: clock for clock in latest(replay.outputs(CLOCK), "clock_id").values()}


def fired(replay: Replay) -> set[tuple[str, str | None, str]]:
    return {(f.rule, f.level, f.owner) for f in latest(replay.outputs(FINDING), "finding_id").values()}


def test_every_example_is_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == {"distribution", "services", "group"}


def test_distribution_stops_at_a_bill_that_comes_before_its_goods() -> None:
    policies = PolicySet([load_policy(EXAMPLES / "distribution.yaml")])
    monday = "2026-07-20 08:00"  # the Tuesday is Belgium's national day
    events = [
        the_order(ordered(10), when=monday),
        the_bill(billed(10), when=monday, invoice_date=day("2026-07-20")),
        bill("99", "2026-07-21 23:00", created_at=at("2026-07-21 23:00")),  # time goes on
    ]
    assert found(events, policies) == [], "a bill may be a business day ahead of its goods"
    events.append(bill("98", "2026-07-22 08:00", created_at=at("2026-07-22 08:00")))
    [finding] = found(events, policies)
    assert (finding.rule, finding.owner) == ("billed_before_receipt", "procurement")
    assert finding.opened_at == at("2026-07-22 08:00")


def test_services_pays_people_back_in_time() -> None:
    replay = stage("services", "expense_report")
    replay.feed(
        [
            expense("1", "2026-05-13 08:00"),
            moved("expense_report", "1", "2026-05-13 09:00", "submitted", "draft", "submit"),
        ]
    )
    # Wednesday 11:00 in Madrid; Friday is the city's own holiday, and so the two days end on Monday.
    assert clocks(replay)["expense_approval"].due_at == at("2026-05-18 09:00")
    replay.heartbeat("odoo", at("2026-06-05 12:00"), "log")
    owners = [owner for rule, level, owner in fired(replay) if rule == "expense_approval" and level != "warning_75"]
    assert sorted(owners) == ["manager", "manager", "managing_director", "practice_manager"]


def test_group_companies_differ_where_they_say_so() -> None:
    replay = stage("group", "purchase_order")
    wait = {"state": "to approve", "amount_total": Decimal(100)}
    replay.feed([order(company, "2026-05-12 08:00", company_id=company, **wait) for company in ("1", "2")])
    due = {clock.company_id: clock.due_at for clock in latest(replay.outputs(CLOCK), "clock_id").values()}
    assert due["1"] == at("2026-05-15 08:00"), "two days in Brussels, over Ascension Day"
    assert due["2"] == at("2026-05-12 12:00"), "four hours in Madrid"
    bills = stage("group", "bill")
    some = {"origin": None, "amount_total": Decimal(500), "reference": "R"}
    bills.feed([bill(company, "2026-05-12 08:00", company_id=company, **some) for company in ("1", "2", "3")])
    missing = {e.company_id for e in latest(bills.outputs(EXCEPTION), "exception_id").values()}
    assert missing == {"2"}, "only there is 500 above the limit"
    timed = {c.company_id for c in latest(bills.outputs(CLOCK), "clock_id").values() if c.policy == "bill_validation"}
    assert timed == {"1", "2"}, "company 3 has taken the clock out"


@pytest.mark.parametrize("example", ["distribution", "services", "group"])
def test_an_example_can_be_published_and_read_back(example: str) -> None:
    from finwatch.domain.policy import parse_content

    policy = load_policy(EXAMPLES / f"{example}.yaml")
    again = parse_content(policy.content)
    assert (again.label, again.document) == (policy.label, policy.document)


def step(replay: Replay) -> Any:
    (found,) = latest(replay.outputs(STEP), "step_id").values()
    return found


def test_group_says_who_is_asked_who_stands_in_and_who_decided() -> None:
    replay = stage("group", "purchase_order")
    replay.feed([order("1", "2026-07-02 08:00", state="to approve", amount_total=Decimal(80_000))])  # a Thursday
    first = step(replay)
    assert (first.person, first.asked_first, first.role, first.route) == ("13", "13", "managing_director", "matrix")
    assert (first.amount_band, len(first.ages_at)) == (">50000", 4)
    replay.heartbeat("odoo", at("2026-07-06 06:00"), "log")  # the leave begins, and nothing else happens
    away = step(replay)
    assert (away.person, away.asked_first, away.route) == ("12", "13", "delegation")
    replay.heartbeat("odoo", at("2026-07-07 12:00"), "log")  # three business days
    last = step(replay)
    assert (last.person, last.role, last.route) == ("14", "finance_director", "fallback")
    assert last.started_at == first.started_at
    replay.feed([moved("purchase_order", "1", "2026-07-08 08:00", "approved", "to approve", "purchase", actor="12")])
    done = step(replay)
    assert (done.asked_first, done.person, done.decided_by, done.decision) == ("13", "14", "12", "approved")
    assert done.ages_at == []


def test_group_asks_another_when_the_amount_changes_and_keeps_the_age() -> None:
    replay = stage("group", "purchase_order")
    replay.feed([order("1", "2026-06-02 08:00", state="to approve", amount_total=Decimal(900))])
    replay.feed([order("1", "2026-06-03 08:00", state="to approve", amount_total=Decimal(9000))])
    moved_on = step(replay)
    assert (moved_on.person, moved_on.asked_first, moved_on.role) == ("12", "11", "head_of_procurement")
    assert moved_on.started_at == at("2026-06-02 08:00")
    assert moved_on.amount_band == "5000-50000"
