"""account.account. 17 has one company and a stored code; from 18 on accounts are shared and codes are by company."""

from producers.odoo.mapping.spec import REFERENCE_POLLS, STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, flag, ref, ref_name, refs, text


def _active(row: Row) -> bool | None:
    """Up to 18 an account is `deprecated`, from 19 on archived."""
    deprecated = flag(row, "deprecated")
    return flag(row, "active") if deprecated is None else not deprecated


def document(row: Row, _lines: Lines, source: Source) -> Document:
    """A ledger account; of one company only where it is nobody else's."""
    companies = refs(row, "company_ids") if source.version >= 18 else [one for one in [ref(row, "company_id")] if one]
    body = {
        "name": text(row, "name"),
        "code": text(row, "code"),
        "kind": text(row, "account_type"),
        "reconcilable": flag(row, "reconcile"),
        "currency": ref_name(row, "currency_id"),
        "company_ids": companies,
        "active": _active(row),
        **stamps(row),
    }
    return Document("ledger_account", companies[0] if len(companies) == 1 else None, body)


MAPPING = Mapping(
    model="account.account",
    entities=("ledger_account",),
    fields=Fields(
        ("name", "code", "account_type", "reconcile", "currency_id", *STAMPS),
        {17: ("company_id", "deprecated"), 18: ("company_ids", "deprecated"), 19: ("company_ids", "active")},
    ),
    context={"active_test": False},
    poll_every=REFERENCE_POLLS,
    map=document,
)
