"""Makes events for the stages' tests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from finwatch.domain.calendar import instant
from finwatch.domain.events import (
    Bill,
    Company,
    Entry,
    Event,
    ExpenseReport,
    Payment,
    PurchaseOrder,
    Receipt,
    RelationFact,
    Transition,
    Vendor,
)
from finwatch.domain.identity import deterministic_id
from finwatch.domain.policy import ExceptionSection, Policy, PolicySet
from finwatch.domain.records import Finding, Relation
from finwatch.runtime.policies import load_policies
from finwatch.runtime.topics import FINDING, RELATION
from streams.agents.registry import documents_stage, relations_stage
from streams.agents.replay import Replay

POLICIES = load_policies()


def counting() -> PolicySet:
    """The default policy, and the types that an order's own counters make."""
    document = POLICIES.of("odoo").document
    types = {
        name: ExceptionSection("procurement", "high", "Look at it.", ["purchase_order"], finding=True, grace=grace)
        for name, grace in (
            ("billed_before_receipt", "2 business days"),
            ("over_billed", None),
            ("over_received", None),
        )
    }
    return PolicySet([Policy(msgspec.structs.replace(document, exceptions={**document.exceptions, **types}))])


COUNTERS = counting()


def at(text: str) -> int:
    """An instant from ``2026-03-02 10:00`` UTC."""
    return instant(datetime.fromisoformat(text).replace(tzinfo=UTC))


def day(text: str) -> int:
    """A day number from ``2026-03-02``."""
    return at(text) // 86_400_000_000


def _event(kind: type[Event], entity: str, record: str, when: str | int, fields: dict[str, Any]) -> Any:
    occurred = at(when) if isinstance(when, str) else when
    observed = fields.pop("observed_at", occurred)
    body = dict(fields)
    return kind(
        event_id=body.pop("event_id", deterministic_id(entity, record, occurred, sorted(map(str, body.items())))),
        document_key=f"odoo:{entity}:{record}",
        source="odoo",
        entity=entity,
        record_id=record,
        company_id=body.pop("company_id", "1"),
        op=body.pop("op", "u"),
        timeline=body.pop("timeline", "log"),
        occurred_at=occurred,
        observed_at=at(observed) if isinstance(observed, str) else observed,
        **body,
    )


def bill(record: str, when: str | int, **fields: Any) -> Bill:
    """A bill as it was seen: 100 EUR, with an order, a draft of user 5 created then, unless told otherwise."""
    defaults: dict[str, Any] = {
        "move_type": "in_invoice",
        "state": "draft",
        "payment_state": "not_paid",
        "reference": f"REF-{record}",
        "partner_id": "70",
        "commercial_partner_id": "7",
        "invoice_date": day("2026-03-01"),
        "currency": "EUR",
        "amount_total": Decimal("100.00"),
        "origin": "P0001",
        "created_by": "5",
        "created_at": at("2026-03-02 09:00"),
    }
    found: Bill = _event(Bill, "bill", record, when, {**defaults, **fields})
    return found


def order(record: str, when: str | int, **fields: Any) -> PurchaseOrder:
    """A purchase order of user 5."""
    defaults = {"state": "draft", "created_by": "5", "created_at": at("2026-03-02 09:00")}
    found: PurchaseOrder = _event(PurchaseOrder, "purchase_order", record, when, {**defaults, **fields})
    return found


def expense(record: str, when: str | int, **fields: Any) -> ExpenseReport:
    """An expense report of user 5."""
    defaults = {"state": "draft", "created_by": "5", "created_at": at("2026-03-02 09:00")}
    found: ExpenseReport = _event(ExpenseReport, "expense_report", record, when, {**defaults, **fields})
    return found


def payment(record: str, when: str | int, **fields: Any) -> Payment:
    """An outgoing payment."""
    found: Payment = _event(Payment, "payment", record, when, {"state": "draft", "payment_type": "outbound", **fields})
    return found


def vendor(record: str, when: str | int, **fields: Any) -> Vendor:
    """A vendor's record, made by user 2 in January."""
    body = {
        "commercial_partner_id": record,
        "vat": f"NL{record}",
        "created_by": "2",
        "created_at": at("2026-01-02 09:00"),
    }
    found: Vendor = _event(Vendor, "vendor", record, when, {"company_id": None, **body, **fields})
    return found


def company(when: str | int, locked: str | None) -> Company:
    """Company 1, its books locked up to a day."""
    until = None if locked is None else day(locked)
    found: Company = _event(Company, "company", "1", when, {"fiscalyear_lock_date": until})
    return found


def entry(record: str, when: str | int, **fields: Any) -> Entry:
    """A journal entry of 500 EUR that user 11 made."""
    body = {"move_type": "entry", "amount_total": Decimal(500), "currency": "EUR", "created_by": "11"}
    found: Entry = _event(
        Entry,
        "entry",
        record,
        when,
        {"state": "draft", "created_at": at(when) if isinstance(when, str) else when, **body, **fields},
    )
    return found


def receipt(record: str, when: str | int, **fields: Any) -> Receipt:
    """A goods receipt of user 6."""
    found: Receipt = _event(Receipt, "receipt", record, when, {"state": "assigned", "created_by": "6", **fields})
    return found


def moved(
    entity: str, record: str, when: str | int, activity: str, before: str, after: str, **fields: Any
) -> Transition:
    """A tracked change of the state by user 8."""
    body = {"label": after, "field": "state", "old_value": before, "new_value": after, "actor": "8", **fields}
    found: Transition = _event(Transition, entity, record, when, {**body, "activity": activity})
    return found


def reviewed(
    entity: str, record: str, when: str | int, activity: str, review: str, decision: str | None = None, **fields: Any
) -> Transition:
    """What became of a review: somebody is asked, or user 8 decides."""
    body = {"label": "Tier", "step": review.partition(":")[0], "actor": "8", "review": review, **fields}
    found: Transition = _event(Transition, entity, record, when, {**body, "activity": activity, "decision": decision})
    return found


def documents(entity: str = "bill", lateness: int = 0, policies: PolicySet = POLICIES) -> Replay:
    """A documents stage over one partition."""
    return Replay(documents_stage(policies), f"finance.{entity}.v1", lateness)


def latest(records: Iterable[Struct], key: str) -> dict[str, Any]:
    """The last record of each id; checks that versions grow by one."""
    found: dict[str, Any] = {}
    for record in records:
        identity = getattr(record, key)
        version = record.version  # type: ignore[attr-defined]
        before = found[identity].version if identity in found else 0
        assert version == before + 1, "versions grow by one"
        found[identity] = record
    return found


def findings(replay: Replay) -> list[Finding]:
    """The latest version of each finding."""
    return list(latest(replay.outputs(FINDING), "finding_id").values())


def relate(replay: Replay, facts: Iterable[Relation] | None = None, policies: PolicySet = POLICIES) -> Replay:
    """A relations stage fed with the facts of a documents stage."""
    related = Replay(relations_stage(policies), RELATION)
    given = [r for r in replay.outputs(RELATION) if isinstance(r, Relation)] if facts is None else facts
    related.feed(msgspec.convert(msgspec.to_builtins(fact), RelationFact) for fact in given)
    return related
