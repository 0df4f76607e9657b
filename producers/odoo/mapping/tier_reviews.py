"""tier.review (OCA's tier validation)."""

from producers.odoo.mapping.spec import STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, integer, moment, ref, refs, text


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
    return Document("tier_review", ref(row, "company_id"), body)


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
            "company_id",
            *STAMPS,
        )
    ),
    map=document,
)
