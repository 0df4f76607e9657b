"""res.company: its lock dates, which 17 and 18 name differently, and what it asks of purchase orders."""

from producers.odoo.mapping.spec import STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, day, flag, integer, number, ref, ref_name, text


def _audit_trail(row: Row) -> bool | None:
    name = "restrictive_audit_trail" if "restrictive_audit_trail" in row else "check_account_audit_trail"
    return flag(row, name)


def document(row: Row, _lines: Lines, _source: Source) -> Document:
    """A company. Who moved a lock date stands in the tracking log."""
    body = {
        "name": text(row, "name"),
        "parent_id": ref(row, "parent_id"),
        "partner_id": ref(row, "partner_id"),
        "country": ref_name(row, "account_fiscal_country_id"),
        "currency": ref_name(row, "currency_id"),
        "currency_id": ref(row, "currency_id"),
        "fiscalyear_lock_date": day(row, "fiscalyear_lock_date"),
        "tax_lock_date": day(row, "tax_lock_date"),
        "sale_lock_date": day(row, "sale_lock_date"),
        "purchase_lock_date": day(row, "purchase_lock_date"),
        "hard_lock_date": day(row, "hard_lock_date"),
        "period_lock_date": day(row, "period_lock_date"),
        "audit_trail": _audit_trail(row),
        "order_approval": text(row, "po_double_validation"),
        "order_approval_amount": number(row, "po_double_validation_amount"),
        "order_lock": text(row, "po_lock"),
        "fiscalyear_last_day": integer(row, "fiscalyear_last_day"),
        "fiscalyear_last_month": text(row, "fiscalyear_last_month"),
        "active": flag(row, "active"),
        **stamps(row),
    }
    return Document("company", str(row["id"]), body)


_LOCKS = ("sale_lock_date", "purchase_lock_date", "hard_lock_date")
MAPPING = Mapping(
    model="res.company",
    entities=("company",),
    fields=Fields(
        (
            "name",
            "parent_id",
            "partner_id",
            "account_fiscal_country_id",
            "currency_id",
            "fiscalyear_lock_date",
            "tax_lock_date",
            "po_double_validation",  # with the purchase app, as the two that follow
            "po_double_validation_amount",
            "po_lock",
            "fiscalyear_last_day",
            "fiscalyear_last_month",
            "active",
            *STAMPS,
        ),
        {
            17: ("period_lock_date",),
            18: (*_LOCKS, "check_account_audit_trail"),
            19: (*_LOCKS, "restrictive_audit_trail"),
        },
    ),
    context={"active_test": False},
    map=document,
)
