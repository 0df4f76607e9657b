"""crm.lead. Names, mails and phones of contacts are not read: no control needs them."""

from producers.odoo.accounts import mask_ibans
from producers.odoo.mapping.spec import STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, day, flag, moment, number, real, ref, ref_name, text


def document(row: Row, _lines: Lines, _source: Source) -> Document:
    """A lead or opportunity."""
    body = {
        "name": mask_ibans(text(row, "name")),
        "kind": text(row, "type"),
        "stage_id": ref(row, "stage_id"),
        "stage": ref_name(row, "stage_id"),
        "partner_id": ref(row, "partner_id"),
        "responsible": ref(row, "user_id"),
        "team_id": ref(row, "team_id"),
        "priority": text(row, "priority"),
        "expected_revenue": number(row, "expected_revenue"),
        "recurring_revenue_monthly": number(row, "recurring_revenue_monthly"),
        "probability": real(row, "probability"),
        "deadline": day(row, "date_deadline"),
        "opened_at": moment(row, "date_open"),
        "converted_at": moment(row, "date_conversion"),
        "closed_at": moment(row, "date_closed"),
        "stage_changed_at": moment(row, "date_last_stage_update"),
        "lost_reason_id": ref(row, "lost_reason_id"),
        "active": flag(row, "active"),
        **stamps(row),
    }
    return Document("lead", ref(row, "company_id"), body)


MAPPING = Mapping(
    model="crm.lead",
    entities=("lead",),
    fields=Fields(
        (
            "name",
            "type",
            "stage_id",
            "partner_id",
            "user_id",
            "team_id",
            "priority",
            "expected_revenue",
            "recurring_revenue_monthly",
            "probability",
            "date_deadline",
            "date_open",
            "date_conversion",
            "date_closed",
            "date_last_stage_update",
            "lost_reason_id",
            "active",
            "company_id",
            *STAMPS,
        )
    ),
    context={"active_test": False},
    map=document,
)
