"""Every rule's worked example, played through the stages: docs/rules.md tells them, this proves them."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from finwatch.domain.records import ExceptionRecord, Finding
from finwatch.domain.rulebook import Entry, entries, measured
from finwatch.domain.rules import Rule
from finwatch.runtime.policies import packaged_policy
from finwatch.runtime.rules_page import PATH, render
from finwatch.runtime.topics import EXCEPTION, STEP
from streams.agents.replay import Replay
from tests.unit.agents import test_duplicates, test_duties, test_orders
from tests.unit.agents.world import at, bill, day, documents, expense, findings, latest, moved, order, payment, reviewed

# Matching and duties have theirs with their tests: documents that meet are told in the same words there.
APART = frozenset({"matching", "duties", "duplicates"})
WHOLE_BOOK = {f"{entry.rule.detector}/{entry.rule.id}": entry for entry in entries(packaged_policy("default"))}
BOOK = {name: entry for name, entry in WHOLE_BOOK.items() if entry.rule.detector not in APART}
Example = Callable[[], Replay]
EXAMPLES: dict[str, Example] = {}
MONDAY, TUESDAY = "2026-03-02", "2026-03-03"


def example(name: str) -> Callable[[Example], Example]:
    """Register the example of a rule."""

    def keep(made: Example) -> Example:
        EXAMPLES[name] = made
        return made

    return keep


def played(entity: str, *events: Any, until: str = "") -> Replay:
    """A documents stage after these events, its time moved to ``until``."""
    replay = documents(entity)
    replay.feed(events)
    if until:
        replay.heartbeat("odoo", at(until), "log")
    return replay


@example("approvals/stuck_order_approval")
def _() -> Replay:
    asked = moved("purchase_order", "1", f"{MONDAY} 09:00", "submitted", "draft", "to approve")
    return played("purchase_order", order("1", f"{MONDAY} 09:00"), asked, until="2026-03-09 09:00")


@example("approvals/stuck_bill_validation")
def _() -> Replay:
    return played("bill", bill("1", f"{MONDAY} 09:00"), until="2026-03-12 09:00")


@example("approvals/stuck_expense_approval")
def _() -> Replay:
    asked = moved("expense_report", "1", f"{MONDAY} 09:00", "submitted", "draft", "submit")
    return played("expense_report", expense("1", f"{MONDAY} 09:00"), asked, until="2026-03-09 09:00")


@example("approvals/stuck_tier_review")
def _() -> Replay:
    asked = reviewed("bill", "1", f"{MONDAY} 09:00", "submitted", "tier_review:1")
    posted = moved("bill", "1", f"{MONDAY} 08:00", "posted", "draft", "posted")
    return played("bill", bill("1", f"{MONDAY} 08:00"), posted, asked, until="2026-03-12 09:00")


@example("approvals/stuck_approval_request")
def _() -> Replay:
    asked = reviewed("purchase_order", "1", f"{MONDAY} 09:00", "submitted", "approval_request:1")
    return played("purchase_order", order("1", f"{MONDAY} 08:00"), asked, until="2026-03-12 09:00")


@example("approvals/payment_release")
def _() -> Replay:
    made = at(f"{MONDAY} 09:00")
    entered = payment("1", made, created_by="5", created_at=made)
    released = payment("1", f"{TUESDAY} 09:00", state="in_process", created_by="5", created_at=made)
    told = moved("payment", "1", f"{TUESDAY} 09:00", "posted", "draft", "in_process")
    return played("payment", entered, told, released)


@example("sla/order_approval")
def _() -> Replay:
    asked = moved("purchase_order", "1", f"{MONDAY} 09:00", "submitted", "draft", "to approve")
    return played("purchase_order", order("1", f"{MONDAY} 09:00"), asked, until="2026-03-05 09:00")


@example("sla/bill_validation")
def _() -> Replay:
    return played("bill", bill("1", f"{MONDAY} 09:00"), until="2026-03-06 09:00")


@example("sla/expense_approval")
def _() -> Replay:
    asked = moved("expense_report", "1", f"{MONDAY} 09:00", "submitted", "draft", "submit")
    return played("expense_report", expense("1", f"{MONDAY} 09:00"), asked, until="2026-03-05 09:00")


def _posted_bill(**fields: Any) -> list[Any]:
    posted = {"state": "posted", "due_date": day("2026-03-10"), **fields}
    return [
        bill("1", f"{MONDAY} 09:00", due_date=day("2026-03-10")),
        moved("bill", "1", f"{MONDAY} 10:00", "posted", "draft", "posted"),
        bill("1", f"{MONDAY} 10:00", **posted),
    ]


@example("sla/vendor_payment")
@example("exceptions/overdue")
def _() -> Replay:
    return played("bill", *_posted_bill(), until="2026-03-11 12:00")


@example("sla/expense_payment")
def _() -> Replay:
    asked = moved("expense_report", "1", f"{MONDAY} 09:00", "submitted", "draft", "submit")
    agreed = moved("expense_report", "1", f"{MONDAY} 10:00", "approved", "submit", "approve", decision="approved")
    return played("expense_report", expense("1", f"{MONDAY} 09:00"), asked, agreed, until="2026-03-11 09:00")


@example("sla/customer_payment")
def _() -> Replay:
    first = bill("1", f"{MONDAY} 09:00", move_type="out_invoice", due_date=day("2026-03-10"))
    fields = {name: getattr(first, name) for name in first.__struct_fields__}
    from finwatch.domain.events import Invoice

    names = set(Invoice.__struct_fields__)
    made = Invoice(
        **{
            **{name: value for name, value in fields.items() if name in names},
            "entity": "invoice",
            "document_key": "odoo:invoice:1",
        }
    )
    posted = msgspec.structs.replace(
        made, event_id="b" * 32, state="posted", occurred_at=at(f"{MONDAY} 10:00"), observed_at=at(f"{MONDAY} 10:00")
    )
    moves = moved("invoice", "1", f"{MONDAY} 10:00", "posted", "draft", "posted")
    return played("invoice", made, moves, posted, until="2026-03-11 12:00")


@example("exceptions/rejected_step")
def _() -> Replay:
    asked = moved("expense_report", "1", f"{MONDAY} 09:00", "submitted", "draft", "submit")
    refused = moved("expense_report", "1", f"{MONDAY} 10:00", "rejected", "submit", "cancel", decision="rejected")
    return played("expense_report", expense("1", f"{MONDAY} 09:00"), asked, refused)


@example("exceptions/missing_order")
def _() -> Replay:
    return played("bill", bill("1", f"{MONDAY} 09:00", origin=None, amount_total=Decimal(2000)))


@example("exceptions/missing_reference")
def _() -> Replay:
    return played("bill", *_posted_bill(reference=""))


@example("exceptions/blocked_payment")
def _() -> Replay:
    return played("bill", *_posted_bill(payment_state="blocked"))


@example("exceptions/reset_to_draft")
def _() -> Replay:
    back = moved("bill", "1", f"{TUESDAY} 09:00", "reset", "posted", "draft")
    return played("bill", *_posted_bill(), back)


@example("exceptions/deleted_after_posting")
def _() -> Replay:
    back = moved("bill", "1", f"{TUESDAY} 09:00", "reset", "posted", "draft")
    return played("bill", *_posted_bill(), back, bill("1", f"{TUESDAY} 09:05", op="d", state=None))


@example("exceptions/cancelled_after_posting")
def _() -> Replay:
    back = moved("bill", "1", f"{TUESDAY} 09:00", "reset", "posted", "draft")
    ended = moved("bill", "1", f"{TUESDAY} 09:05", "cancelled", "draft", "cancel")
    return played("bill", *_posted_bill(), back, ended)


@example("exceptions/approval_by_creator")
def _() -> Replay:
    asked = moved("purchase_order", "1", f"{MONDAY} 09:00", "submitted", "draft", "to approve", actor="5")
    own = moved(
        "purchase_order", "1", f"{MONDAY} 10:00", "approved", "to approve", "purchase", actor="5", decision="approved"
    )
    return played("purchase_order", order("1", f"{MONDAY} 08:00"), asked, own)


@pytest.mark.parametrize("name", BOOK)
def test_a_rule_finds_its_example(name: str) -> None:
    entry: Entry = BOOK[name]
    replay = EXAMPLES[name]()
    detector, rule = entry.rule.detector, entry.rule.id
    if detector == "exceptions":
        said = [one for one in latest(replay.outputs(EXCEPTION), "exception_id").values() if one.type == rule]
        assert len(said) == 1
        (record,) = said
        assert isinstance(record, ExceptionRecord)
        assert record.reasons == [entry.rule.finding]
        status, owner = record.status, record.owner_role
    else:
        found = [
            one
            for one in findings(replay)
            if (one.detector, one.rule) == (detector, rule) and one.level in (None, "stuck", "breach")
        ]
        assert len(found) == 1
        finding: Finding = found[0]
        assert (finding.title, finding.reasons) == (entry.rule.title, [entry.rule.finding])
        status, owner, record = finding.status, finding.owner, finding  # type: ignore[assignment]
    assert status == "open"
    assert (owner, record.next_action, record.severity) == (entry.owner, entry.next_action, entry.severity)


@pytest.mark.parametrize("rule", measured(packaged_policy("default")), ids=lambda rule: rule.id)
def test_an_approval_without_a_limit_is_measured_as_its_example_says(rule: Rule) -> None:
    replay = EXAMPLES[f"{rule.detector}/{rule.id}"]()
    [step] = latest(replay.outputs(STEP), "step_id").values()
    assert (step.step, step.decision, step.decided_by) == (rule.id, "approved", "8")
    assert (step.started_at, step.decided_at) == (at(f"{MONDAY} 09:00"), at(f"{TUESDAY} 09:00"))
    assert step.business_seconds == 8 * 3600, "one business day, Monday to Tuesday"
    assert step.role is not None and f"a step of {step.role}," in rule.example
    assert findings(replay) == []


@pytest.mark.parametrize("name", sorted(WHOLE_BOOK.keys() - BOOK.keys()))
def test_a_rule_on_documents_that_meet_finds_its_example(name: str) -> None:
    entry = WHOLE_BOOK[name]
    place: Any = {"matching": test_orders, "duties": test_duties, "duplicates": test_duplicates}[entry.rule.detector]
    played_there, found_there = place.EXAMPLES, place.found
    [finding] = [one for one in found_there(played_there[entry.rule.id][0]) if one.rule == entry.rule.id]
    template = re.escape(entry.rule.finding)
    words = re.sub(r"\\{\w+\\}", ".+", template)
    assert any(re.match(words, reason) for reason in finding.reasons), (finding.reasons, words)
    assert (finding.title, finding.owner) == (entry.rule.title, entry.owner)
    assert finding.next_action == entry.next_action
    assert finding.severity in (entry.severity, "critical")


def test_the_page_is_current() -> None:
    assert PATH.read_text() == render(), "run: make generate"
