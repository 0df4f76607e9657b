"""account.payment. 18 keeps its own columns; 17 keeps state, date, name, label and journal in its account.move."""

from producers.odoo.accounts import mask_ibans
from producers.odoo.mapping.flat import flat
from producers.odoo.mapping.moves import printed_number
from producers.odoo.mapping.spec import STAMPS, Document, Fields, Joined, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, day, number, ref, ref_name, refs, text


def _bill_keys(row: Row, source: Source) -> list[str]:
    """Documents that the payment pays: 18 keeps them, 17 works them out of what its entry is reconciled with.

    In 17 a payment that is not reconciled yet therefore names none.
    """
    if source.version < 18:
        return [source.key("bill", one) for one in refs(row, "reconciled_bill_ids")] + [
            source.key("invoice", one) for one in refs(row, "reconciled_invoice_ids")
        ]
    entity = "bill" if row.get("partner_type") == "supplier" else "invoice"
    return [source.key(entity, one) for one in refs(row, "invoice_ids")]


@flat
def document(row: Row, _lines: Lines, source: Source) -> Document:
    """A payment. Whoever created it paid: the register wizard creates and posts in one transaction, untracked."""
    own = source.version >= 18
    body = {
        "name": printed_number(row, "name" if own else "move_id.name"),
        "state": text(row, "state" if own else "move_id.state"),
        "payment_type": text(row, "payment_type"),
        "partner_type": text(row, "partner_type"),
        "partner_id": ref(row, "partner_id"),
        "currency": ref_name(row, "currency_id"),
        "amount": number(row, "amount"),
        "amount_total_company": number(row, "amount_company_currency_signed"),
        "date": day(row, "date" if own else "move_id.date"),
        "journal_id": ref(row, "journal_id" if own else "move_id.journal_id"),
        "memo": mask_ibans(text(row, "memo" if own else "move_id.ref")),
        "payment_reference": mask_ibans(text(row, "payment_reference")),
        "method": ref_name(row, "payment_method_id"),
        "bank_account_id": ref(row, "partner_bank_id"),
        "entry_id": ref(row, "move_id"),
        "bill_keys": _bill_keys(row, source),
        **stamps(row),
    }
    return Document("payment", ref(row, "company_id" if own else "move_id.company_id"), body)


MAPPING = Mapping(
    model="account.payment",
    entities=("payment",),
    fields=Fields(
        (
            "payment_type",
            "partner_type",
            "partner_id",
            "currency_id",
            "amount",
            "amount_company_currency_signed",
            "payment_reference",
            "payment_method_id",
            "partner_bank_id",
            "move_id",
            *STAMPS,
        ),
        {
            17: ("reconciled_bill_ids", "reconciled_invoice_ids"),
            18: ("name", "state", "date", "journal_id", "memo", "invoice_ids", "company_id"),
        },
    ),
    joined=(
        Joined(
            "account.move",
            "move_id",
            Fields((), {17: ("name", "state", "date", "journal_id", "ref", "company_id", "write_date")}),
        ),
    ),
    map=document,
)
