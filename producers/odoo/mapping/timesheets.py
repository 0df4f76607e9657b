"""account.analytic.line of employees and of projects: timesheets. Other lines are costs, which their entries tell.

Odoo calls a timesheet what has a project. Time whose project was taken away keeps its employee, and is captured on:
else it would stand in the store on the project that it is no longer of.
"""

from producers.odoo.accounts import mask_ibans
from producers.odoo.mapping.spec import STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, day, flag, number, ref, ref_name, text


def document(row: Row, _lines: Lines, source: Source) -> Document | None:
    """Time spent; None for an analytic line that is neither of an employee nor of a project."""
    if ref(row, "project_id") is None and ref(row, "employee_id") is None:
        return None
    order, invoice = ref(row, "order_id"), ref(row, "timesheet_invoice_id")
    body = {
        "date": day(row, "date"),
        "quantity": number(row, "unit_amount"),
        "unit": ref_name(row, "product_uom_id"),
        "unit_id": ref(row, "product_uom_id"),
        "label": mask_ibans(text(row, "name")),
        "employee_id": ref(row, "employee_id"),
        "person": ref(row, "user_id"),
        "department_id": ref(row, "department_id"),
        "project_id": ref(row, "project_id"),
        "task_id": ref(row, "task_id"),
        "sale_line_id": ref(row, "so_line"),
        "sale_order_key": source.key("sale_order", order) if order else None,
        "billing": text(row, "timesheet_invoice_type"),
        "invoice_key": source.key("invoice", invoice) if invoice else None,
        "currency": ref_name(row, "currency_id"),
        "amount": number(row, "amount"),
        "analytic_account_id": ref(row, "account_id"),
        "validated": flag(row, "validated"),
        **stamps(row),
    }
    return Document("timesheet", ref(row, "company_id"), body)


MAPPING = Mapping(
    model="account.analytic.line",
    entities=("timesheet",),
    domain=("|", ("project_id", "!=", False), ("employee_id", "!=", False)),  # fields of the timesheets app
    fields=Fields(
        (
            "date",
            "unit_amount",
            "product_uom_id",
            "name",
            "employee_id",
            "user_id",
            "department_id",
            "project_id",
            "task_id",
            "so_line",  # with the sales app, as the three that follow
            "order_id",
            "timesheet_invoice_type",
            "timesheet_invoice_id",
            "currency_id",
            "amount",
            "account_id",
            "validated",  # with Enterprise's timesheet grid
            "company_id",
            *STAMPS,
        )
    ),
    map=document,
)
