"""Documents of one transaction name where they come from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from producers.odoo import events
from producers.odoo.accounts import AccountHasher
from producers.odoo.correlation import correlation
from producers.odoo.events import Sighting
from producers.odoo.mapping.spec import Document, Source

AT = datetime(2026, 11, 2, 8, tzinfo=UTC)
ORDER, SALE, BILL = "erp:purchase_order:7", "erp:sale_order:3", "erp:bill:4"
CASES: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "an order begins": ("purchase_order", {"origin": "P00001"}, None),
    "a receipt of an order": ("receipt", {"purchase_order_key": ORDER}, ORDER),
    "a receipt of none": ("receipt", {"purchase_order_key": None, "backorder_key": None}, None),
    "a delivery": ("delivery", {"sale_order_key": SALE}, SALE),
    "a bill of an order": ("bill", {"lines": [{"purchase_order_key": None}, {"purchase_order_key": ORDER}]}, ORDER),
    "a bill of an expense report": (
        "bill",
        {"lines": [{"purchase_order_key": None}], "expense_report_key": "erp:expense_report:2"},
        "erp:expense_report:2",
    ),
    "a credit note": ("bill", {"lines": [], "reversed_key": BILL}, BILL),
    "a printed origin is no key": ("bill", {"origin": "P00001", "lines": []}, None),
    "a payment": ("payment", {"bill_keys": [BILL, "erp:bill:5"]}, BILL),
    "a payment of nothing": ("payment", {"bill_keys": []}, None),
    "time": ("timesheet", {"sale_order_key": None, "invoice_key": "erp:invoice:9"}, "erp:invoice:9"),
    "a custom record": ("custom_record", {"parent_key": BILL}, BILL),
    "a vendor": ("vendor", {}, None),
    "what is forgotten": ("bill", {}, None),
}


@pytest.mark.parametrize("what", CASES)
def test_a_document_names_the_one_that_it_comes_from(what: str) -> None:
    entity, body, told = CASES[what]
    assert correlation(entity, body, "its own") == (told or "its own")


def test_all_events_of_a_document_carry_it() -> None:
    source, seen = Source("erp", "db", 18, AccountHasher(b"k" * 32)), Sighting("u", "window", "wall", AT)
    document = Document("receipt", "1", {"purchase_order_key": ORDER, "created_at": AT})
    state = events.state_event(source, "stock.picking", 5, document, b"\x05" * 16, AT, seen)
    created = events.created_event(source, "stock.picking", 5, document, seen)
    gone = events.deleted_event(source, "stock.picking", 5, events.digest("receipt", b""), seen, "1", document.body)
    forgotten = events.deleted_event(source, "stock.picking", 5, events.digest("receipt", b""), seen)
    assert created is not None
    assert [one.content["correlation_id"] for one in (state, created, gone)] == [ORDER] * 3
    assert forgotten.content["correlation_id"] == "erp:receipt:5"
