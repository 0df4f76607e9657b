"""tier.review (OCA's tier validation): a record of its own, and a step of the document that it reviews."""

from typing import Any

from producers.odoo.mapping.spec import STAMPS, Document, Fields, Lines, Mapping, Review, Source, stamps
from producers.odoo.values import Row, flag, integer, moment, ref, refs, text


def document(row: Row, _lines: Lines, _source: Source) -> Document:
    """One tier's review. Which document it is of is told by model and id: an account.move may be of three entities."""
    body = {
        "name": text(row, "name"),
        "state": text(row, "status"),
        "model": text(row, "model"),
        "about_id": ref(row, "res_id"),
        "definition_id": ref(row, "definition_id"),
        "kind": text(row, "review_type"),
        "reviewer_id": ref(row, "reviewer_id"),
        "reviewer_group_id": ref(row, "reviewer_group_id"),
        "reviewers": refs(row, "reviewer_ids"),
        "requested_by": ref(row, "requested_by"),
        "decided_by": ref(row, "done_by"),
        "decided_at": moment(row, "reviewed_date"),
        "sequence": integer(row, "sequence"),
        **stamps(row),
    }
    return Document("tier_review", ref(row, "company_id"), body, (review(row, body),))


def review(row: Row, body: dict[str, Any]) -> Review:
    """The step. It waits from its creation; where tiers come one after the other, from the write that made it pending.

    Of a tier that had its turn before anybody looked, nothing says when that began.

    One reviewer is asked in person, of a group anybody: the group is the role.
    """
    status, group, people = body["state"], body["reviewer_group_id"], body["reviewers"]
    waits, model = status == "pending", body["model"]
    asked = body["created_at"]
    if flag(row, "approve_sequence"):
        asked = moment(row, "write_date") if waits else None
    return Review(
        name=f"tier_review:{row['id']}",
        step="tier_review",
        waits=waits,
        decision=status if status in ("approved", "rejected") else None,
        asked_at=asked,
        asked_by=body["requested_by"],
        person=people[0] if len(people) == 1 else body["reviewer_id"],
        role=None if group is None else f"group_{group}",
        decided_at=body["decided_at"] or moment(row, "write_date"),
        decided_by=body["decided_by"],
        label=body["name"],
        about=None if model is None or body["about_id"] is None else (model, int(body["about_id"])),
    )


MAPPING = Mapping(
    model="tier.review",
    entities=("tier_review",),
    fields=Fields(
        (
            "name",
            "status",
            "model",
            "res_id",
            "definition_id",
            "review_type",
            "reviewer_id",
            "reviewer_group_id",
            "reviewer_ids",
            "requested_by",
            "done_by",
            "reviewed_date",
            "sequence",
            "approve_sequence",
            "company_id",
            *STAMPS,
        )
    ),
    map=document,
)
