"""Odoo's rows as finwatch's records: one file an entity, each data (what to read) and small pure functions.

Owns: which models and fields are read per version, and how a row becomes the body of a record.
Does not own: reading (reader), the event header (events), the tracking log (tracking).
"""

from producers.odoo.mapping import (
    bank_accounts,
    bank_lines,
    currency_rates,
    expense_reports,
    moves,
    payments,
    products,
    purchase_orders,
    receipts,
    units,
    vendors,
)
from producers.odoo.mapping.spec import Child, Document, Joined, Mapping, Source

# Order of the snapshot: what others refer to comes first.
MAPPINGS: tuple[Mapping, ...] = (
    currency_rates.MAPPING,
    units.MAPPING,
    products.MAPPING,
    vendors.MAPPING,
    bank_accounts.MAPPING,
    purchase_orders.MAPPING,
    receipts.MAPPING,
    moves.MAPPING,
    payments.MAPPING,
    expense_reports.MAPPING,
    expense_reports.MAPPING_19,
    bank_lines.MAPPING,
)
BY_MODEL = {mapping.model: mapping for mapping in MAPPINGS}

__all__ = ["BY_MODEL", "MAPPINGS", "Child", "Document", "Joined", "Mapping", "Source"]
