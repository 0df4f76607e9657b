"""project.project."""

from producers.odoo.mapping.spec import REFERENCE_POLLS, STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, day, flag, number, ref, text


def document(row: Row, _lines: Lines, source: Source) -> Document:
    """A project. Its analytic account has another name from 18 on."""
    order = ref(row, "reinvoiced_sale_order_id")
    body = {
        "name": text(row, "name"),
        "partner_id": ref(row, "partner_id"),
        "responsible": ref(row, "user_id"),
        "starts_on": day(row, "date_start"),
        "ends_on": day(row, "date"),
        "status": text(row, "last_update_status"),
        "allocated_hours": number(row, "allocated_hours"),
        "billable": flag(row, "allow_billable"),
        "timesheets": flag(row, "allow_timesheets"),
        "analytic_account_id": ref(row, "account_id" if source.version >= 18 else "analytic_account_id"),
        "sale_line_id": ref(row, "sale_line_id"),
        "sale_order_key": source.key("sale_order", order) if order else None,
        "active": flag(row, "active"),
        **stamps(row),
    }
    return Document("project", ref(row, "company_id"), body)


MAPPING = Mapping(
    model="project.project",
    entities=("project",),
    fields=Fields(
        (
            "name",
            "partner_id",
            "user_id",
            "date_start",
            "date",
            "last_update_status",
            "allocated_hours",  # with the timesheets app, as the one that follows
            "allow_timesheets",
            "allow_billable",  # with the sales app, as the one that follows
            "sale_line_id",
            "active",
            "company_id",
            *STAMPS,
        ),
        {17: ("analytic_account_id",), 18: ("account_id", "reinvoiced_sale_order_id")},
    ),
    context={"active_test": False},
    poll_every=REFERENCE_POLLS,
    map=document,
)
