"""account.bank.statement.line; its date and, in 17, its journal and company are kept in its account.move."""

from producers.odoo.accounts import mask_ibans
from producers.odoo.mapping.flat import flat
from producers.odoo.mapping.spec import STAMPS, Document, Fields, Joined, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, day, flag, number, ref, ref_name, text


@flat
def document(row: Row, _lines: Lines, source: Source) -> Document:
    """A bank statement line."""
    account = text(row, "account_number")
    body = {
        "label": mask_ibans(text(row, "payment_ref")),
        "date": day(row, "move_id.date"),
        "currency": ref_name(row, "currency_id"),
        "amount": number(row, "amount"),
        "amount_residual": number(row, "amount_residual"),
        "reconciled": flag(row, "is_reconciled"),
        "partner_id": ref(row, "partner_id"),
        "statement_id": ref(row, "statement_id"),
        "journal_id": ref(row, "move_id.journal_id"),
        "entry_id": ref(row, "move_id"),
        "account_hash": source.hasher.hash(account),
        "account_last4": source.hasher.last4(account),
        **stamps(row),
    }
    return Document("bank_line", ref(row, "move_id.company_id"), body)


MAPPING = Mapping(
    model="account.bank.statement.line",
    entities=("bank_line",),
    fields=Fields(
        (
            "payment_ref",
            "currency_id",
            "amount",
            "amount_residual",
            "is_reconciled",
            "partner_id",
            "statement_id",
            "move_id",
            "account_number",
            *STAMPS,
        )
    ),
    joined=(Joined("account.move", "move_id", Fields(("date", "journal_id", "company_id", "write_date"))),),
    map=document,
)
