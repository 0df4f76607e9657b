"""helpdesk.ticket of Enterprise's Helpdesk app. What the customer wrote is not read."""

from producers.odoo.accounts import mask_ibans
from producers.odoo.mapping.spec import STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, flag, moment, ref, ref_name, text


def document(row: Row, _lines: Lines, source: Source) -> Document:
    """A ticket."""
    order = ref(row, "sale_order_id")
    body = {
        "name": mask_ibans(text(row, "name")),
        "code": text(row, "ticket_ref"),
        "team_id": ref(row, "team_id"),
        "stage_id": ref(row, "stage_id"),
        "stage": ref_name(row, "stage_id"),
        "kind": ref_name(row, "ticket_type_id"),
        "priority": text(row, "priority"),
        "responsible": ref(row, "user_id"),
        "partner_id": ref(row, "partner_id"),
        "assigned_at": moment(row, "assign_date"),
        "closed_at": moment(row, "close_date"),
        "deadline_at": moment(row, "sla_deadline"),
        "deadline_missed": flag(row, "sla_fail"),
        "stage_changed_at": moment(row, "date_last_stage_update"),
        "sale_order_key": source.key("sale_order", order) if order else None,
        "active": flag(row, "active"),
        **stamps(row),
    }
    return Document("ticket", ref(row, "company_id"), body)


MAPPING = Mapping(
    model="helpdesk.ticket",
    entities=("ticket",),
    fields=Fields(
        (
            "name",
            "ticket_ref",
            "team_id",
            "stage_id",
            "ticket_type_id",
            "priority",
            "user_id",
            "partner_id",
            "assign_date",
            "close_date",
            "sla_deadline",
            "sla_fail",
            "date_last_stage_update",
            "sale_order_id",  # with the sales app
            "active",
            "company_id",
            *STAMPS,
        )
    ),
    context={"active_test": False},
    map=document,
)
