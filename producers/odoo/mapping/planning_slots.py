"""planning.slot of Enterprise's Planning app."""

from producers.odoo.mapping.spec import STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, moment, number, ref, text


def document(row: Row, _lines: Lines, _source: Source) -> Document:
    """A planned shift or assignment."""
    body = {
        "state": text(row, "state"),
        "resource_id": ref(row, "resource_id"),
        "employee_id": ref(row, "employee_id"),
        "role_id": ref(row, "role_id"),
        "project_id": ref(row, "project_id"),
        "sale_line_id": ref(row, "sale_line_id"),
        "starts_at": moment(row, "start_datetime"),
        "ends_at": moment(row, "end_datetime"),
        "allocated_hours": number(row, "allocated_hours"),
        **stamps(row),
    }
    return Document("planning_slot", ref(row, "company_id"), body)


MAPPING = Mapping(
    model="planning.slot",
    entities=("planning_slot",),
    fields=Fields(
        (
            "state",
            "resource_id",
            "employee_id",
            "role_id",
            "project_id",
            "sale_line_id",  # with the sales app
            "start_datetime",
            "end_datetime",
            "allocated_hours",
            "company_id",
            *STAMPS,
        )
    ),
    map=document,
)
