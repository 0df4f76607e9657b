"""What 19 has otherwise: expenses by themselves, receipts that name them; and what 17 knows of a payment's bills."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from producers.odoo.accounts import AccountHasher
from producers.odoo.mapping import BY_MODEL, MAPPINGS
from producers.odoo.mapping.expense_reports import STATES_19
from producers.odoo.mapping.spec import Document, Source
from producers.odoo.tracking import Tracked, transition_body

EXPENSE = {
    "id": 41,
    "name": "Train to Ghent",
    "state": "approved",
    "employee_id": [9, "An Employee"],
    "manager_id": [5, "A Manager"],
    "department_id": False,
    "company_currency_id": [1, "EUR"],
    "product_id": [3, "Travel"],
    "quantity": 1.0,
    "total_amount": 88.4,
    "date": "2026-11-02",
    "approval_date": "2026-11-04 00:00:00",
    "vendor_id": [77, "Rail"],
    "company_id": [1, "A Company"],
    "create_uid": [9, "An Employee"],
    "create_date": "2026-11-02 08:00:00",
    "write_uid": [5, "A Manager"],
    "write_date": "2026-11-04 09:12:00",
}


def source(version: int) -> Source:
    return Source("erp", "fin", version, AccountHasher(b"k" * 32))


def mapped(model: str, version: int, row: dict[str, Any]) -> Document:
    document = BY_MODEL[model].map(row, {}, source(version))
    assert document is not None
    return document


def test_each_version_has_one_model_of_expense_reports() -> None:
    models = {
        version: [one.model for one in MAPPINGS if "expense_report" in one.entities and one.serves(version)]
        for version in (16, 17, 18, 19, 20)
    }
    sheets, expenses = ["hr.expense.sheet"], ["hr.expense"]
    assert models == {16: sheets, 17: sheets, 18: sheets, 19: expenses, 20: expenses}


def test_an_expense_is_a_report_of_one_line_in_the_reports_words() -> None:
    document = mapped("hr.expense", 19, EXPENSE)
    body = document.body
    assert (document.entity, document.company_id) == ("expense_report", "1")
    assert (body["state"], body["payment_state"], body["responsible"]) == ("approve", "not_paid", "5")
    assert (body["currency"], body["amount_total"]) == ("EUR", Decimal("88.4"))
    assert body["approved_at"] == datetime(2026, 11, 4, tzinfo=UTC)
    assert body["lines"] == [
        {
            "line_id": "41",
            "product_id": "3",
            "label": "Train to Ghent",
            "quantity": Decimal("1.0"),
            "total": Decimal("88.4"),
            "date": date(2026, 11, 2),
            "vendor_id": "77",
            "vendor_name": "Rail",
        }
    ]


@pytest.mark.parametrize(
    ("state", "told", "payment"),
    [
        ("draft", "draft", "not_paid"),
        ("submitted", "submit", "not_paid"),
        ("posted", "post", "not_paid"),
        ("in_payment", "post", "in_payment"),
        ("paid", "done", "paid"),
        ("refused", "cancel", "not_paid"),
        ("of_a_later_version", "of_a_later_version", "not_paid"),
        (False, None, "not_paid"),
    ],
)
def test_states(state: Any, told: str | None, payment: str) -> None:
    body = mapped("hr.expense", 19, EXPENSE | {"state": state}).body
    assert (body["state"], body["payment_state"]) == (told, payment)


def test_every_state_of_an_expense_has_the_reports_word() -> None:
    simulated = {"draft", "submitted", "approved", "posted", "in_payment", "paid", "refused"}
    assert simulated - {"draft"} == STATES_19.keys()
    assert set(STATES_19.values()) == {"submit", "approve", "post", "done", "cancel"}


def test_a_tracked_state_is_told_in_the_reports_words() -> None:
    change = Tracked(
        1, "1", "hr.expense", 41, "state", "Approved", "submitted", "approved", False, datetime.now(UTC), "5"
    )
    body = transition_body(change, "expense_report", "5")
    assert (body["old_value"], body["new_value"], body["decision"]) == ("submit", "approve", "approved")
    assert body["label"] == "Approved"


def test_a_receipt_names_the_first_of_its_expenses() -> None:
    row = {"id": 7, "move_type": "in_receipt", "state": "posted", "expense_ids": [43, 41]}
    assert mapped("account.move", 19, row).body["expense_report_key"] == "erp:expense_report:41"
    assert mapped("account.move", 19, row | {"expense_ids": []}).body["expense_report_key"] is None
    older = {"id": 7, "move_type": "in_invoice", "state": "posted", "expense_sheet_id": [12, "Trip"]}
    assert mapped("account.move", 18, older).body["expense_report_key"] == "erp:expense_report:12"


def test_the_documents_a_payment_pays_in_each_version() -> None:
    paid = {"id": 3, "partner_type": "supplier", "move_id": [30, "PBNK1"]}
    in_17 = paid | {"reconciled_bill_ids": [9, 8], "reconciled_invoice_ids": [4]}
    keys = mapped("account.payment", 17, in_17).body["bill_keys"]
    assert keys == ["erp:bill:8", "erp:bill:9", "erp:invoice:4"]
    assert mapped("account.payment", 17, paid).body["bill_keys"] == []
    for version in (18, 19):
        keys = mapped("account.payment", version, paid | {"invoice_ids": [9]}).body["bill_keys"]
        assert keys == ["erp:bill:9"]
    assert "reconciled_bill_ids" not in BY_MODEL["account.payment"].fields.of(18)
