"""Approval steps, clocks and exceptions of single documents, case by case."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from finwatch.domain.calendar import DAY, HOUR
from finwatch.domain.events import BillLine, OrderLine
from finwatch.domain.records import Clock, ExceptionRecord, Kpi, Step
from finwatch.runtime.topics import CLOCK, EXCEPTION, STEP
from streams.agents.documents import DocumentState
from streams.agents.replay import Replay
from streams.stage import InvalidEvent
from tests.unit.agents.world import (
    COUNTERS,
    at,
    bill,
    day,
    documents,
    expense,
    findings,
    latest,
    moved,
    order,
    payment,
    relate,
)


def steps(replay: Replay) -> list[Step]:
    return [step for step in latest(replay.outputs(STEP), "step_id").values() if not step.retracted]


def clocks(replay: Replay) -> dict[str, Clock]:
    return {clock.policy: clock for clock in latest(replay.outputs(CLOCK), "clock_id").values()}


def exceptions(replay: Replay) -> dict[str, ExceptionRecord]:
    return {record.type: record for record in latest(replay.outputs(EXCEPTION), "exception_id").values()}


def test_who_decided_comes_from_the_log_not_from_the_document() -> None:
    replay = documents("purchase_order")
    replay.feed(
        [
            order("1", "2026-03-02 09:00"),
            moved("purchase_order", "1", "2026-03-02 10:00", "submitted", "draft", "to approve", actor="5"),
            order("1", "2026-03-02 10:00", state="to approve"),
            moved("purchase_order", "1", "2026-03-03 10:00", "approved", "to approve", "purchase", decision="approved"),
            order("1", "2026-03-03 10:00", state="purchase"),
        ]
    )
    (step,) = steps(replay)
    assert (step.role, step.decided_by, step.decision) == ("purchase_manager", "8", "approved")
    assert step.wall_seconds == 24 * 3600
    assert step.business_seconds == 8 * 3600
    clock = clocks(replay)["order_approval"]
    assert (clock.status, clock.business_seconds) == ("met", 8 * 3600)
    assert not findings(replay)


def test_a_change_seen_on_the_document_gives_way_to_the_log() -> None:
    replay = documents()
    replay.feed([bill("1", "2026-03-02 09:00"), bill("1", "2026-03-02 10:00:01", state="posted")])
    (step,) = steps(replay)
    assert (step.decision, step.decided_by) == ("approved", None)
    # The log's time is the wall clock within the transaction, a little later than the document's.
    replay.feed([moved("bill", "1", "2026-03-02 10:00:03", "posted", "draft", "posted")])
    (step,) = steps(replay)
    assert (step.decision, step.decided_by, step.decided_at) == ("approved", "8", at("2026-03-02 10:00:03"))


def test_the_log_first_and_the_document_later() -> None:
    replay = documents()
    replay.feed(
        [
            bill("1", "2026-03-02 09:00"),
            moved("bill", "1", "2026-03-02 10:00:03", "posted", "draft", "posted"),
            bill("1", "2026-03-02 10:00:01", state="posted"),
            bill("1", "2026-03-02 10:20:00", state="posted", amount_total=Decimal(7)),
        ]
    )
    (step,) = steps(replay)
    assert step.decided_at == at("2026-03-02 10:00:03")
    assert step.decided_by == "8"


def test_a_decision_that_nobody_waited_for_is_a_step_without_length() -> None:
    replay = documents("purchase_order")
    replay.feed(
        [moved("purchase_order", "1", "2026-03-02 10:00", "approved", "draft", "purchase", decision="approved")]
    )
    (step,) = steps(replay)
    assert (step.started_at, step.decided_at) == (at("2026-03-02 10:00"),) * 2
    assert (step.wall_seconds, step.decision) == (None, "approved")


def test_a_new_responsible_keeps_the_age_and_who_was_asked_first() -> None:
    replay = documents()
    replay.feed([bill("1", "2026-03-02 09:00", responsible="21"), bill("1", "2026-03-04 09:00", responsible="22")])
    (step,) = steps(replay)
    assert (step.person, step.asked_first, step.started_at) == ("22", "21", at("2026-03-02 09:00"))


def test_deadlines_fire_with_no_event_and_once() -> None:
    replay = documents("expense_report")
    replay.feed([expense("1", "2026-03-02 09:00")])
    replay.feed([moved("expense_report", "1", "2026-03-02 12:30", "submitted", "draft", "submit")])
    due = at("2026-03-04 11:30")  # two business days: Monday afternoon, Tuesday, Wednesday morning until 12:30
    assert clocks(replay)["expense_approval"].due_at == due
    assert replay.view.rows.timeline.due("d:odoo:expense_report:1") == at("2026-03-03 16:30")  # 75 %
    replay.heartbeat("odoo", due - 1, "log")
    assert [f.level for f in findings(replay) if f.status == "open"] == ["warning_90"]
    replay.heartbeat("odoo", due, "log")
    (open_now,) = [f for f in findings(replay) if f.status == "open"]
    assert (open_now.level, open_now.due_at, open_now.opened_at) == ("breach", due, due)
    said = len(replay.view.outputs)
    replay.heartbeat("odoo", due, "log")
    assert len(replay.view.outputs) == said
    assert clocks(replay)["expense_approval"].status == "breached"
    replay.view.restart()
    replay.heartbeat("odoo", due + DAY, "log")
    assert len(replay.view.outputs) == said


def test_a_late_stop_retracts_what_fired() -> None:
    replay = documents("expense_report")
    replay.feed([moved("expense_report", "1", "2026-03-02 12:30", "submitted", "draft", "submit")])
    replay.heartbeat("odoo", at("2026-03-05 12:00"), "log")
    assert clocks(replay)["expense_approval"].status == "breached"
    late = moved("expense_report", "1", "2026-03-03 12:30", "approved", "submit", "approve", decision="approved")
    replay.feed([late])
    assert {f.level: f.status for f in findings(replay) if f.detector == "sla"} == {
        "warning_75": "retracted",
        "warning_90": "retracted",
        "breach": "retracted",
    }
    clock = clocks(replay)["expense_approval"]
    assert (clock.status, clock.breached_at, clock.stopped_at) == ("met", None, at("2026-03-03 12:30"))
    (step,) = steps(replay)
    assert step.decided_at == at("2026-03-03 12:30")


def test_a_stop_after_the_due_time_fires_and_resolves_however_time_was_told() -> None:
    told, untold = documents("expense_report"), documents("expense_report", lateness=30 * DAY)
    submitted = moved("expense_report", "1", "2026-03-02 12:30", "submitted", "draft", "submit", actor="5")
    approved = moved("expense_report", "1", "2026-03-09 12:30", "approved", "submit", "approve", decision="approved")
    for replay in (told, untold):
        replay.feed([submitted, approved])
    assert {(f.finding_id, f.status, f.opened_at) for f in findings(told)} == {
        (f.finding_id, f.status, f.opened_at) for f in findings(untold)
    }
    assert {f.status for f in findings(told)} == {"resolved"}
    assert {f.level for f in findings(told)} == {"warning_75", "warning_90", "breach", "stuck"}


def test_an_overdue_bill_by_its_due_date_and_a_moved_one() -> None:
    replay = documents()
    known = {"due_date": day("2026-03-10"), "state": "posted", "responsible": "21"}
    replay.feed([bill("1", "2026-03-02 09:00", due_date=day("2026-03-10"), responsible="21")])
    replay.feed(
        [moved("bill", "1", "2026-03-02 12:00", "posted", "draft", "posted"), bill("1", "2026-03-02 12:00", **known)]
    )
    due = at("2026-03-10 23:00")  # midnight in Brussels, winter time
    assert clocks(replay)["vendor_payment"].due_at == due
    replay.heartbeat("odoo", due, "log")
    assert exceptions(replay)["overdue"].status == "open"
    assert exceptions(replay)["overdue"].opened_at == due
    # The due date was wrong: it moves, and what was said of the old one is taken back.
    replay.feed([bill("1", "2026-03-11 09:00", **{**known, "due_date": day("2026-03-20")})])
    assert exceptions(replay)["overdue"].status == "retracted"
    assert {f.status for f in findings(replay) if f.rule == "vendor_payment"} == {"retracted"}
    assert clocks(replay)["vendor_payment"].due_at == at("2026-03-20 23:00")
    replay.feed(
        [
            moved("bill", "1", "2026-03-25 09:00", "paid", "not_paid", "paid", field="payment_state"),
            bill("1", "2026-03-25 09:00", **{**known, "due_date": day("2026-03-20"), "payment_state": "paid"}),
        ]
    )
    assert clocks(replay)["vendor_payment"].status == "breached"
    assert exceptions(replay)["overdue"].status == "resolved"
    assert exceptions(replay)["overdue"].resolved_at == at("2026-03-25 09:00")


def test_content_exceptions_open_and_are_resolved() -> None:
    replay = documents()
    bad = {"reference": None, "origin": None, "amount_total": Decimal(5000), "state": "posted"}
    replay.feed([bill("1", "2026-03-02 09:00", **bad)])
    assert {name: e.status for name, e in exceptions(replay).items()} == {
        "missing_order": "open",
        "missing_reference": "open",
    }
    replay.feed([bill("1", "2026-03-03 09:00", **{**bad, "reference": "R-1"}, lines=[BillLine("4")])])
    assert {name: e.status for name, e in exceptions(replay).items()} == {
        "missing_order": "resolved",
        "missing_reference": "resolved",
    }
    replay.feed([bill("1", "2026-03-04 09:00", **bad)])
    assert {e.version for e in exceptions(replay).values()} == {3}


def test_exceptions_are_overdue_from_their_due_time_until_they_are_resolved() -> None:
    replay = documents()
    bad = {"reference": None, "origin": None, "amount_total": Decimal(5000), "state": "posted"}
    replay.feed([bill("1", "2026-03-02 09:00", **bad)])
    due = {name: one.due_at for name, one in exceptions(replay).items()}
    assert due.keys() == {"missing_order", "missing_reference"} and None not in due.values()

    def overdue(now: int) -> dict[str, float]:
        told = [one for one in replay.stage.kpis(replay.view, {"odoo": now}) if one.kpi == "exceptions_overdue"]
        return {json.loads(one.labels)["type"]: one.value for one in told}

    assert overdue(due["missing_order"] - 1)["missing_order"] == 0
    assert overdue(due["missing_order"])["missing_order"] == 1
    replay.feed([bill("1", "2026-05-03 09:00", **{**bad, "reference": "R-1"})])
    assert overdue(at("2026-05-04 09:00")) == {"missing_order": 1, "missing_reference": 0}


def test_history_exceptions() -> None:
    replay = documents()
    replay.feed(
        [
            bill("1", "2026-03-02 09:00", amount_total=Decimal(900)),
            moved("bill", "1", "2026-03-02 10:00", "posted", "draft", "posted", actor="5"),
            moved("bill", "1", "2026-03-02 11:00", "reset", "posted", "draft"),
            moved("bill", "1", "2026-03-02 12:00", "cancelled", "draft", "cancel"),
        ]
    )
    assert {name: e.status for name, e in exceptions(replay).items()} == {
        "approval_by_creator": "open",
        "reset_to_draft": "open",
        "cancelled_after_posting": "open",
    }
    assert {f.rule for f in findings(replay) if f.detector == "exceptions"} == {
        "approval_by_creator",
        "cancelled_after_posting",
    }


def approval(entity: str, before: str, after: str, actor: str) -> Any:
    return moved(entity, "1", "2026-03-03 09:00", "approved", before, after, actor=actor, decision="approved")


@pytest.mark.parametrize(
    ("amount", "asked", "actor", "counts"),
    [
        (4999, False, "5", False),  # below the double validation: confirming one's own order is the rule
        (5000, False, "5", True),  # a manager's own confirmation passes the approval by
        (5000, False, "8", False),
        (20, True, "5", True),  # an approval was asked for, whatever the amount
        (20, True, "8", False),
    ],
)
def test_whoever_ordered_may_confirm_only_what_needs_no_approval(
    amount: int, asked: bool, actor: str, counts: bool
) -> None:
    replay = documents("purchase_order")
    replay.feed([order("1", "2026-03-02 09:00", amount_total=Decimal(amount))])
    if asked:
        replay.feed([moved("purchase_order", "1", "2026-03-02 10:00", "submitted", "draft", "to approve", actor="5")])
    replay.feed([approval("purchase_order", "to approve" if asked else "draft", "purchase", actor)])
    assert set(exceptions(replay)) == ({"approval_by_creator"} if counts else set())


def test_a_report_approved_by_its_employee_counts_at_any_amount() -> None:
    replay = documents("expense_report")
    replay.feed(
        [
            expense("1", "2026-03-02 09:00", amount_total=Decimal(20)),
            moved("expense_report", "1", "2026-03-02 10:00", "submitted", "draft", "submit", actor="5"),
            approval("expense_report", "submit", "approve", "5"),
        ]
    )
    assert set(exceptions(replay)) == {"approval_by_creator"}


def seen_order(when: str, ordered: int, received: int | None, billed: int, **fields: Any) -> Any:
    line = OrderLine(ordered * 1_000_000, None if received is None else received * 1_000_000, billed * 1_000_000)
    return order("1", when, **{"state": "purchase", "receipt_status": "partial", "lines": [line], **fields})


def test_what_is_billed_and_not_received_counts_after_its_grace_until_it_is_received() -> None:
    replay = documents("purchase_order", policies=COUNTERS)
    replay.feed([seen_order("2026-03-02 09:00", 10, 4, 10)])  # Monday 10:00 in Brussels; two business days of grace
    replay.heartbeat("odoo", at("2026-03-04 08:59"), "log")
    assert not exceptions(replay)
    replay.view.restart()
    replay.heartbeat("odoo", at("2026-03-04 09:00"), "log")
    found = exceptions(replay)["billed_before_receipt"]
    assert (found.status, found.opened_at) == ("open", at("2026-03-04 09:00"))
    replay.feed([seen_order("2026-03-05 09:00", 10, 10, 10, receipt_status="full")])
    found = exceptions(replay)["billed_before_receipt"]
    assert (found.status, found.resolved_at) == ("resolved", at("2026-03-05 09:00"))
    assert [f.status for f in findings(replay) if f.rule == "billed_before_receipt"] == ["resolved"]


def test_what_is_received_within_the_grace_is_nothing() -> None:
    replay = documents("purchase_order", policies=COUNTERS)
    replay.feed([seen_order("2026-03-02 09:00", 10, 4, 10), seen_order("2026-03-04 08:59", 10, 10, 10)])
    replay.heartbeat("odoo", at("2026-03-30 09:00"), "log")
    assert not exceptions(replay)
    # Again, and this time it is told late.
    replay.feed([seen_order("2026-04-01 09:00", 20, 10, 20)])
    replay.heartbeat("odoo", at("2026-04-08 09:00"), "log")
    assert exceptions(replay)["billed_before_receipt"].status == "open"
    replay.feed([seen_order("2026-04-01 10:00", 20, 20, 20, observed_at="2026-04-08 10:00")])
    assert exceptions(replay)["billed_before_receipt"].status == "retracted"


def test_a_grace_that_ended_between_two_events_counts_although_no_time_was_told() -> None:
    told, untold = documents("purchase_order", policies=COUNTERS), documents("purchase_order", 60 * DAY, COUNTERS)
    for replay in (told, untold):
        replay.feed([seen_order("2026-03-02 09:00", 10, 4, 10), seen_order("2026-03-05 09:00", 10, 10, 10)])
        found = exceptions(replay)["billed_before_receipt"]
        assert (found.status, found.opened_at) == ("resolved", at("2026-03-04 09:00"))
        assert found.resolved_at == at("2026-03-05 09:00")


def test_services_and_what_is_billed_beyond_the_order_wait_for_no_receipt() -> None:
    for one, expected in (
        (seen_order("2026-03-02 09:00", 10, None, 10), set()),
        (seen_order("2026-03-02 09:00", 10, None, 11), {"over_billed"}),
        (seen_order("2026-03-02 09:00", 10, 10, 20), {"over_billed"}),
        (seen_order("2026-03-02 09:00", 10, 4, 20), {"over_billed", "billed_before_receipt"}),
        (seen_order("2026-03-02 09:00", 10, 0, 10, receipt_status=None), set()),
        (seen_order("2026-03-02 09:00", 10, 12, 10), {"over_received"}),
    ):
        replay = documents("purchase_order", policies=COUNTERS)
        replay.feed([one])
        replay.heartbeat("odoo", at("2026-03-09 09:00"), "log")
        assert set(exceptions(replay)) == expected


def test_a_reimbursement_is_no_vendors_bill() -> None:
    replay = documents()
    large: dict[str, Any] = {"origin": None, "amount_total": Decimal(2000), "due_date": day("2026-03-02")}
    replay.feed(
        bill(record, "2026-03-02 09:00", reference="Taxi", state="posted", expense_report_key=report, **large)
        for record, report in (("1", "odoo:expense_report:1"), ("2", "odoo:expense_report:2"))
    )
    replay.heartbeat("odoo", at("2026-03-09 09:00"), "log")
    assert not exceptions(replay)
    assert "vendor_payment" not in clocks(replay)
    assert not findings(relate(replay))
    replay.feed([bill("3", "2026-03-09 09:00", reference="Taxi", state="posted", **large)])
    replay.heartbeat("odoo", at("2026-03-09 10:00"), "log")
    assert set(exceptions(replay)) == {"missing_order", "overdue"}


def test_a_rejected_payment() -> None:
    replay = documents("payment")
    replay.feed([payment("1", "2026-03-02 09:00"), payment("1", "2026-03-03 09:00", state="rejected")])
    assert exceptions(replay)["blocked_payment"].status == "open"


def test_a_deleted_bill_leaves_nothing_open() -> None:
    replay = documents()
    replay.feed([bill("1", "2026-03-02 09:00", reference=None, state="draft", origin=None, amount_total=Decimal(5000))])
    replay.feed([bill("1", "2026-03-03 09:00", op="d")])
    assert {step.decision for step in steps(replay)} == {"cancelled"}
    assert {clock.status for clock in clocks(replay).values()} == {"cancelled"}
    assert {e.status for e in exceptions(replay).values()} == {"resolved"}
    assert not [f for f in findings(replay) if f.status == "open"]
    totals = {
        kpi.kpi: kpi.value
        for kpi in replay.stage.kpis(replay.view, {"odoo": at("2026-03-04 09:00")})
        if isinstance(kpi, Kpi)
    }
    assert totals["documents_open"] == 0


def test_a_tracked_change_that_no_rule_looks_at_leaves_no_trace() -> None:
    replay = documents()
    renamed = moved("bill", "1", "2026-03-02 09:00", "changed", "a", "b", field="name")
    replay.feed([renamed, renamed])
    assert not [key for key in replay.view.rows.keys() if not key.startswith(("m:", "p:"))]  # noqa: SIM118


def test_a_creation_told_by_the_source_is_not_told_twice() -> None:
    told = moved(
        "bill", "1", "2026-03-02 09:00", "created", "", "", field=None, old_value=None, new_value=None, actor="5"
    )
    seen = bill("1", "2026-03-02 09:00")
    posted = moved("bill", "1", "2026-03-02 10:00", "posted", "draft", "posted")
    for events in ([told, seen, posted], [seen, told, posted], [seen, posted, told], [posted, told, seen]):
        replay = documents()
        replay.feed(events)
        (step,) = steps(replay)
        assert (step.started_at, step.decided_at) == (at("2026-03-02 09:00"), at("2026-03-02 10:00"))
        assert clocks(replay)["bill_validation"].wall_seconds == 3600


def test_a_repeat_changes_nothing() -> None:
    replay = documents()
    first = bill("1", "2026-03-02 09:00")
    replay.feed([first])
    said = len(replay.view.outputs)
    assert replay.stage.apply(replay.view, first, 1) is False
    assert len(replay.view.outputs) == said


def test_an_event_whose_key_is_not_its_own_is_refused() -> None:
    event = bill("1", "2026-03-02 09:00")
    wrong = type(event)(**{**{f: getattr(event, f) for f in event.__struct_fields__}, "record_id": "2"})
    replay = documents()
    with pytest.raises(InvalidEvent):
        replay.stage.apply(replay.view, wrong, 0)
    assert not list(replay.view.rows.keys())


def test_a_row_stays_flat_and_says_the_same() -> None:
    replay = documents()
    sizes = []
    when = at("2026-03-02 09:00")
    replay.feed([bill("1", when)])
    for i in range(120):
        replay.feed(
            [
                moved("bill", "1", when + (2 * i + 1) * HOUR, "posted", "draft", "posted"),
                moved("bill", "1", when + (2 * i + 2) * HOUR, "reset", "posted", "draft"),
            ]
        )
        row = replay.view.get("d:odoo:bill:1", DocumentState)
        assert row is not None
        sizes.append((len(row.facts), len(row.seen), len(row.machine.steps.steps)))
    assert max(sizes[60:]) <= max(sizes[:60])
    assert sum(step.decision == "approved" for step in steps(replay)) == 120
    assert len({f.finding_id for f in findings(replay)}) == len(findings(replay))
