"""project.task."""

from producers.odoo.accounts import mask_ibans
from producers.odoo.mapping.spec import STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, flag, moment, number, ref, ref_name, refs, text


def document(row: Row, _lines: Lines, source: Source) -> Document:
    """A task."""
    order = ref(row, "sale_order_id")
    body = {
        "name": mask_ibans(text(row, "name")),
        "project_id": ref(row, "project_id"),
        "parent_id": ref(row, "parent_id"),
        "stage_id": ref(row, "stage_id"),
        "stage": ref_name(row, "stage_id"),
        "state": text(row, "state"),
        "assignees": refs(row, "user_ids"),
        "partner_id": ref(row, "partner_id"),
        "milestone_id": ref(row, "milestone_id"),
        "priority": text(row, "priority"),
        "deadline_at": moment(row, "date_deadline"),
        "assigned_at": moment(row, "date_assign"),
        "ended_at": moment(row, "date_end"),
        "stage_changed_at": moment(row, "date_last_stage_update"),
        "allocated_hours": number(row, "allocated_hours"),
        "effective_hours": number(row, "effective_hours"),
        "remaining_hours": number(row, "remaining_hours"),
        "sale_line_id": ref(row, "sale_line_id"),
        "sale_order_key": source.key("sale_order", order) if order else None,
        "active": flag(row, "active"),
        **stamps(row),
    }
    return Document("task", ref(row, "company_id"), body)


MAPPING = Mapping(
    model="project.task",
    entities=("task",),
    fields=Fields(
        (
            "name",
            "project_id",
            "parent_id",
            "stage_id",
            "state",
            "user_ids",
            "partner_id",
            "milestone_id",
            "priority",
            "date_deadline",
            "date_assign",
            "date_end",
            "date_last_stage_update",
            "allocated_hours",
            "effective_hours",  # with the timesheets app, as the one that follows
            "remaining_hours",
            "sale_line_id",  # with the sales app, as the one that follows
            "sale_order_id",
            "active",
            "company_id",
            *STAMPS,
        )
    ),
    context={"active_test": False},
    map=document,
)
