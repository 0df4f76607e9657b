"""account.journal."""

from producers.odoo.mapping.spec import REFERENCE_POLLS, STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, flag, integer, ref, ref_name, text


def document(row: Row, _lines: Lines, _source: Source) -> Document:
    """A journal."""
    body = {
        "name": text(row, "name"),
        "code": text(row, "code"),
        "kind": text(row, "type"),
        "currency": ref_name(row, "currency_id"),
        "account_id": ref(row, "default_account_id"),
        "suspense_account_id": ref(row, "suspense_account_id"),
        "bank_account_id": ref(row, "bank_account_id"),
        "hashed": flag(row, "restrict_mode_hash_table"),
        "sequence": integer(row, "sequence"),
        "active": flag(row, "active"),
        **stamps(row),
    }
    return Document("journal", ref(row, "company_id"), body)


MAPPING = Mapping(
    model="account.journal",
    entities=("journal",),
    fields=Fields(
        (
            "name",
            "code",
            "type",
            "currency_id",
            "default_account_id",
            "suspense_account_id",
            "bank_account_id",
            "restrict_mode_hash_table",
            "sequence",
            "active",
            "company_id",
            *STAMPS,
        )
    ),
    context={"active_test": False},
    poll_every=REFERENCE_POLLS,
    map=document,
)
