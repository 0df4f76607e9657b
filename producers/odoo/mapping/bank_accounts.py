"""res.partner.bank. The number itself is hashed here and goes no further."""

from producers.odoo.mapping.flat import flat
from producers.odoo.mapping.spec import STAMPS, Document, Fields, Joined, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, flag, integer, ref, ref_name, text


@flat
def document(row: Row, _lines: Lines, source: Source) -> Document:
    """A partner's bank account."""
    number = text(row, "acc_number")
    body = {
        "partner_id": ref(row, "partner_id"),
        "account_hash": source.hasher.hash(number),
        "account_last4": source.hasher.last4(number),
        "bank_id": ref(row, "bank_id"),
        "currency": ref_name(row, "currency_id"),
        "trusted": flag(row, "allow_out_payment"),
        "active": flag(row, "active"),
        **stamps(row),
        "sequence": integer(row, "sequence"),
        "iban_warning": flag(row, "has_iban_warning"),
        "transfer_warning": flag(row, "has_money_transfer_warning"),
        "commercial_partner_id": ref(row, "partner_id.commercial_partner_id"),
        "vat": text(row, "partner_id.vat"),  # a contact has its firm's
        "supplier_rank": _any(row, "partner_id.supplier_rank"),
        "customer_rank": _any(row, "partner_id.customer_rank"),
    }
    return Document("bank_account", ref(row, "company_id"), body)


def _any(row: Row, field: str) -> int | None:
    """A rank as 0 or 1: it grows with each bill, which is no change of the account."""
    rank = integer(row, field)
    return None if rank is None else min(rank, 1)


MAPPING = Mapping(
    model="res.partner.bank",
    entities=("bank_account",),
    fields=Fields(
        (
            "partner_id",
            "acc_number",
            "bank_id",
            "currency_id",
            "allow_out_payment",
            "active",
            "sequence",
            "has_iban_warning",
            "has_money_transfer_warning",
            "company_id",
            *STAMPS,
        )
    ),
    joined=(
        Joined(
            "res.partner",
            "partner_id",
            # With its stamp, by which the sweep finds what changes of the holder alone.
            Fields(("commercial_partner_id", "vat", "customer_rank", "supplier_rank", "write_date")),
        ),
    ),
    context={"active_test": False},  # archived accounts vanish from default reads
    map=document,
)
