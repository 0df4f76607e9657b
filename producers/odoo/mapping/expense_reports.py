"""hr.expense.sheet with its hr.expense rows (17 and 18; the model is gone in 19)."""

from typing import Any

from producers.odoo.mapping.spec import STAMPS, Child, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, day, moment, number, ref, ref_name, text

LINE = Child(
    model="hr.expense",
    parent="sheet_id",
    fields=Fields(("sheet_id", "product_id", "name", "quantity", "total_amount", "date", "write_date")),
)


def line(row: Row) -> dict[str, Any]:
    """An expense of a report, in the company's currency as the report's total is."""
    return {
        "line_id": str(row["id"]),
        "product_id": ref(row, "product_id"),
        "label": text(row, "name"),
        "quantity": number(row, "quantity"),
        "total": number(row, "total_amount"),
        "date": day(row, "date"),
    }


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


MAPPING = Mapping(
    model="hr.expense.sheet",
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
