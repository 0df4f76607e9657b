"""Bills, orders and expense reports that open, live and close, interleaved: as many as a storm takes."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

START = int(dt.datetime(2026, 3, 2, 8, tzinfo=dt.UTC).timestamp() * 1_000_000)
STEP = 200_000  # microseconds between two events
OPEN_DOCUMENTS = 3000  # documents whose events are interleaved
INPUTS = {entity: f"finance.{entity}.v1" for entity in ("bill", "purchase_order", "expense_report")}


def header(number: int, entity: str, record: int, op: str, mode: str, at: int) -> dict[str, Any]:
    """Columns that every event has."""
    key = f"odoo:{entity}:{record}"
    return {
        "event_id": f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}",
        "document_key": key,
        "source": "odoo",
        "entity": entity,
        "record_id": str(record),
        "company_id": str(record % 3 + 1),
        "op": op,
        "mode": mode,
        "timeline": "log",
        "occurred_at": at,
        "observed_at": at,
        "actor": str(record % 40 + 2),
        "correlation_id": key,
        "source_database": "prod",
        "source_model": {"bill": "account.move", "purchase_order": "purchase.order"}.get(entity, "hr.expense.sheet"),
        "source_write_date": at,
        "snapshot": False,
    }


def bill(record: int, state: str, payment: str) -> dict[str, Any]:
    """Columns of a vendor bill with two lines."""
    rnd = random.Random(record)
    net = Decimal(rnd.randrange(1_000, 900_000)).scaleb(-2)
    tax = (net * Decimal("0.19")).quantize(Decimal("0.01"))
    return {
        "name": f"BILL/2026/{record:06d}",
        "move_type": "in_invoice",
        "state": state,
        "payment_state": payment,
        "reference": f"INV-{record // 2 if record % 400 == 1 else record}",
        "partner_id": str(rnd.randrange(500)),
        "commercial_partner_id": str(rnd.randrange(400)),
        "partner_name": f"Vendor {record % 400} GmbH",
        "invoice_date": 20_500 + record % 60,
        "due_date": 20_530 + record % 60,
        "accounting_date": 20_500 + record % 60,
        "currency": "EUR",
        "amount_untaxed": net,
        "amount_tax": tax,
        "amount_total": net + tax,
        "amount_residual": Decimal(0) if payment == "paid" else net + tax,
        "amount_total_company": -(net + tax),
        "journal_id": "2",
        "origin": f"P{record % 9000:05d}",
        "responsible": str(record % 40 + 2),
        "posted_before": state == "posted",
        "created_by": str(record % 40 + 2),
        "written_by": str(record % 37 + 2),
        "lines": [
            {
                "line_id": f"{record}-{n}",
                "product_id": str(record % 90 + n),
                "label": f"Consulting, part {n}",
                "account_id": "4400",
                "quantity": Decimal(n + 1),
                "price_unit": net,
                "subtotal": net,
                "debit": net,
                "credit": Decimal(0),
            }
            for n in range(2)
        ],
    }


def order(record: int, state: str) -> dict[str, Any]:
    """Columns of a purchase order."""
    amount = Decimal(record * 7919 % 900_000 + 1000).scaleb(-2)
    return {
        "name": f"P{record:05d}",
        "state": state,
        "partner_id": str(record % 400),
        "commercial_partner_id": str(record % 400),
        "partner_name": f"Vendor {record % 400} GmbH",
        "partner_reference": f"Q-{record}",
        "buyer": str(record % 40 + 2),
        "currency": "EUR",
        "amount_untaxed": amount,
        "amount_tax": Decimal(0),
        "amount_total": amount,
        "invoice_status": "to invoice" if state == "purchase" else "no",
        "created_by": str(record % 40 + 2),
        "written_by": str(record % 37 + 2),
        "lines": [],
    }


def report(record: int, state: str) -> dict[str, Any]:
    """Columns of an expense report."""
    return {
        "name": f"Trip {record}",
        "state": state,
        "employee_id": str(record % 300),
        "responsible": str(record % 40 + 2),
        "currency": "EUR",
        "amount_total": Decimal(record * 31 % 90_000 + 100).scaleb(-2),
        "created_by": str(record % 300),
        "written_by": str(record % 37 + 2),
        "lines": [],
    }


def change(activity: str, field: str, old: str, new: str, decision: str | None = None) -> dict[str, Any]:
    """Columns of a tracked change."""
    return {
        "activity": activity,
        "label": f"Status: {old} -> {new}",
        "field": field,
        "old_value": old,
        "new_value": new,
        "decision": decision,
    }


def life(record: int) -> tuple[str, list[tuple[str, str, dict[str, Any]]]]:
    """Entity and events (Avro name, op, columns) of a document, as a capture finds them."""
    move = "finwatch.Transition"
    kind = record % 10
    if kind < 6:
        return "bill", [
            ("finwatch.Bill", "c", bill(record, "draft", "not_paid")),
            ("finwatch.Bill", "u", bill(record, "posted", "not_paid")),
            (move, "u", change("posted", "state", "draft", "posted")),
            ("finwatch.Bill", "u", bill(record, "posted", "paid")),
            (move, "u", change("paid", "payment_state", "not_paid", "paid")),
        ]
    if kind < 8:
        return "purchase_order", [
            ("finwatch.PurchaseOrder", "c", order(record, "draft")),
            (move, "u", change("submitted", "state", "draft", "to approve")),
            ("finwatch.PurchaseOrder", "u", order(record, "to approve")),
            (move, "u", change("approved", "state", "to approve", "purchase", "approved")),
            ("finwatch.PurchaseOrder", "u", order(record, "purchase")),
        ]
    return "expense_report", [
        ("finwatch.ExpenseReport", "c", report(record, "draft")),
        (move, "u", change("submitted", "state", "draft", "submit")),
        ("finwatch.ExpenseReport", "u", report(record, "submit")),
        (move, "u", change("approved", "state", "submit", "approve", "approved")),
        ("finwatch.ExpenseReport", "u", report(record, "approve")),
    ]


def workload(events: int) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Topic, document key, Avro name and columns of each event: documents open, live and close, interleaved."""
    rnd = random.Random(7)
    lives: list[tuple[str, int, list[tuple[str, str, dict[str, Any]]]]] = []
    record = 0
    for number in range(events):
        while len(lives) < OPEN_DOCUMENTS:
            record += 1
            entity, story = life(record)
            lives.append((entity, record, story))
        chosen = rnd.randrange(len(lives))
        entity, of, story = lives[chosen]
        name, op, columns = story.pop(0)
        if not story:
            lives[chosen] = lives[-1]
            lives.pop()
        at = START + number * STEP
        mode = "tracking" if name.endswith("Transition") else "window"
        yield INPUTS[entity], f"odoo:{entity}:{of}", name, {**header(number, entity, of, op, mode, at), **columns}
