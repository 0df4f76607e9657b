"""account.partial.reconcile, with its items' entries. Undoing one deletes it, which the sweep notices.

Its account.full.reconcile is an id on it and no entity of its own. When one partial of several is undone the database
clears that id on the others without moving their stamps, so there it may be out of date.
"""

from producers.odoo.mapping.spec import STAMPS, Document, Fields, Joined, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, day, number, ref, ref_name


def document(row: Row, _lines: Lines, _source: Source) -> Document:
    """Two items held against each other."""
    body = {
        "debit_line_id": ref(row, "debit_move_id"),
        "credit_line_id": ref(row, "credit_move_id"),
        "debit_entry_id": ref(row, "debit_move_id.move_id"),
        "credit_entry_id": ref(row, "credit_move_id.move_id"),
        "account_id": ref(row, "debit_move_id.account_id"),
        "amount": number(row, "amount"),
        "debit_amount": number(row, "debit_amount_currency"),
        "debit_currency": ref_name(row, "debit_currency_id"),
        "credit_amount": number(row, "credit_amount_currency"),
        "credit_currency": ref_name(row, "credit_currency_id"),
        "full_id": ref(row, "full_reconcile_id"),
        "exchange_entry_id": ref(row, "exchange_move_id"),
        "date": day(row, "max_date"),
        **stamps(row),
    }
    return Document("account_reconciliation", ref(row, "company_id"), body)


MAPPING = Mapping(
    model="account.partial.reconcile",
    entities=("account_reconciliation",),
    fields=Fields(
        (
            "debit_move_id",
            "credit_move_id",
            "amount",
            "debit_amount_currency",
            "debit_currency_id",
            "credit_amount_currency",
            "credit_currency_id",
            "full_reconcile_id",
            "exchange_move_id",
            "max_date",
            "company_id",
            *STAMPS,
        )
    ),
    # Which entry an item is of never changes: no stamp of theirs is needed.
    joined=(
        Joined("account.move.line", "debit_move_id", Fields(("move_id", "account_id"))),
        Joined("account.move.line", "credit_move_id", Fields(("move_id",))),
    ),
    map=document,
)
