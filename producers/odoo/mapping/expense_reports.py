"""Expense reports: up to 18 hr.expense.sheet with its hr.expense rows, from 19 on each hr.expense by itself.

19 dropped the report: an expense is submitted, approved, posted and paid alone. It becomes a report of one line, and
its states are told in the words of the report's, so that what reads them knows one set of words.
"""

from typing import Any

from producers.odoo.mapping.flat import flat
from producers.odoo.mapping.spec import STAMPS, Child, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, day, moment, number, ref, ref_name, text

LINE = Child(
    model="hr.expense",
    parent="sheet_id",
    fields=Fields(
        ("sheet_id", "product_id", "name", "quantity", "total_amount", "date", "write_date"), {18: ("vendor_id",)}
    ),
)


@flat
def line(row: Row) -> dict[str, Any]:
    """An expense of a report, in the company's currency as the report's total is."""
    return {
        "line_id": str(row["id"]),
        "product_id": ref(row, "product_id"),
        "label": text(row, "name"),
        "quantity": number(row, "quantity"),
        "total": number(row, "total_amount"),
        "date": day(row, "date"),
        "vendor_id": ref(row, "vendor_id"),  # from 18 on
        "vendor_name": ref_name(row, "vendor_id"),
    }


@flat
def document(row: Row, lines: Lines, _source: Source) -> Document:
    """An expense report. `responsible` is who is asked; who approved stands in the tracking log only."""
    body = {
        "name": text(row, "name"),
        "state": text(row, "state"),
        "payment_state": text(row, "payment_state"),
        "employee_id": ref(row, "employee_id"),
        "responsible": ref(row, "user_id"),
        "department_id": ref(row, "department_id"),
        "currency": ref_name(row, "currency_id"),
        "amount_total": number(row, "total_amount"),
        "accounting_date": day(row, "accounting_date"),
        "approved_at": moment(row, "approval_date"),
        **stamps(row),
        "lines": [line(one) for one in lines.get(LINE.model, ())],
    }
    return Document("expense_report", ref(row, "company_id"), body)


STATES_19 = {
    "submitted": "submit",
    "approved": "approve",
    "posted": "post",
    "in_payment": "post",  # of a report, the payment state tells that
    "paid": "done",
    "refused": "cancel",
}
"""The report's word for a state of an expense in 19; `draft` is the same."""
_PAYMENT_STATES_19 = {"in_payment": "in_payment", "paid": "paid"}


@flat
def expense(row: Row, _lines: Lines, _source: Source) -> Document:
    """An expense of 19. `responsible` is who is asked, and once it is approved who approved."""
    state = text(row, "state")
    body = {
        "name": text(row, "name"),
        "state": STATES_19.get(state or "", state),
        "payment_state": _PAYMENT_STATES_19.get(state or "", "not_paid"),
        "employee_id": ref(row, "employee_id"),
        "responsible": ref(row, "manager_id"),
        "department_id": ref(row, "department_id"),
        "currency": ref_name(row, "company_currency_id"),  # that of total_amount; currency_id is the receipt's
        "amount_total": number(row, "total_amount"),
        "accounting_date": None,  # its entry has one
        "approved_at": moment(row, "approval_date"),
        **stamps(row),
        "lines": [line(row)],
    }
    return Document("expense_report", ref(row, "company_id"), body)


MAPPING = Mapping(
    model="hr.expense.sheet",
    until=18,
    entities=("expense_report",),
    fields=Fields(
        (
            "name",
            "state",
            "payment_state",
            "employee_id",
            "user_id",
            "department_id",
            "currency_id",
            "total_amount",
            "accounting_date",
            "approval_date",
            "company_id",
            *STAMPS,
        )
    ),
    children=(LINE,),
    map=document,
)

MAPPING_19 = Mapping(
    model="hr.expense",
    since=19,
    entities=("expense_report",),
    fields=Fields(
        (
            "name",
            "state",
            "employee_id",
            "manager_id",
            "department_id",
            "company_currency_id",
            "product_id",
            "quantity",
            "total_amount",
            "date",
            "vendor_id",
            "approval_date",
            "company_id",
            *STAMPS,
        )
    ),
    map=expense,
)
