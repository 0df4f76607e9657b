"""approval.request of Enterprise's Approvals app, with its approval.approver rows."""

from typing import Any

from producers.odoo.accounts import mask_ibans
from producers.odoo.mapping.spec import STAMPS, Child, Document, Fields, Lines, Mapping, Review, Source, stamps
from producers.odoo.values import Row, flag, integer, moment, number, ref, ref_name, text

APPROVER = Child(
    model="approval.approver",
    parent="request_id",
    fields=Fields(("request_id", "user_id", "status", "required", "sequence", "write_date")),
)


def approver(row: Row) -> dict[str, Any]:
    """A person who is asked, and the answer so far."""
    return {
        "line_id": str(row["id"]),
        "person": ref(row, "user_id"),
        "state": text(row, "status"),
        "required": flag(row, "required"),
        "sequence": integer(row, "sequence"),
    }


def document(row: Row, lines: Lines, _source: Source) -> Document:
    """A request."""
    body = {
        "name": mask_ibans(text(row, "name")),
        "state": text(row, "request_status"),
        "category_id": ref(row, "category_id"),
        "category": ref_name(row, "category_id"),
        "requester": ref(row, "request_owner_id"),
        "reference": mask_ibans(text(row, "reference")),
        "partner_id": ref(row, "partner_id"),
        "amount": number(row, "amount"),
        "quantity": number(row, "quantity"),
        "confirmed_at": moment(row, "date_confirmed"),
        "starts_at": moment(row, "date_start"),
        "ends_at": moment(row, "date_end"),
        **stamps(row),
        "lines": [approver(one) for one in lines.get(APPROVER.model, ())],
    }
    reviews = tuple(review(one, body) for one in lines.get(APPROVER.model, ()))
    return Document("approval_request", ref(row, "company_id"), body, reviews)


def review(row: Row, body: dict[str, Any]) -> Review:
    """An approver's step. Odoo notes no time of an answer: it is the last write of the approver's row.

    So is the time of being asked, where approvers are asked one after the other; else it is the request's submission.
    """
    status, confirmed, written = text(row, "status"), body["confirmed_at"], moment(row, "write_date")
    decision = {"approved": "approved", "refused": "rejected"}.get(status or "")
    waits, person = status == "pending", ref(row, "user_id")
    asked = confirmed or body["created_at"]
    if waits and written is not None and (asked is None or written > asked):
        asked = written
    return Review(
        name=f"approval_request:{row['id']}",
        step="approval_request",
        waits=waits,
        ended=status in ("cancel", "new"),
        decision=decision,
        asked_at=asked,
        asked_by=body["requester"],
        person=person,
        decided_at=written,
        decided_by=person if decision is not None else None,
        label=body["category"],
    )


MAPPING = Mapping(
    model="approval.request",
    entities=("approval_request",),
    fields=Fields(
        (
            "name",
            "request_status",
            "category_id",
            "request_owner_id",
            "reference",
            "partner_id",
            "amount",
            "quantity",
            "date_confirmed",
            "date_start",
            "date_end",
            "company_id",
            *STAMPS,
        )
    ),
    children=(APPROVER,),
    map=document,
)
