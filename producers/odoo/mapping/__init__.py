"""Odoo's rows as finwatch's records: one file an entity, each data (what to read) and small pure functions.

Owns: which models and fields are read per version, and how a row becomes the body of a record.
Does not own: reading (reader), the event header (events), the tracking log (tracking).
"""

from producers.odoo.mapping import (
    account_reconciliations,
    approval_requests,
    attachment_documents,
    automation_rules,
    bank_accounts,
    bank_lines,
    companies,
    currency_rates,
    expense_reports,
    groups,
    journals,
    leads,
    ledger_accounts,
    lock_exceptions,
    moves,
    payments,
    pickings,
    planning_slots,
    products,
    projects,
    purchase_orders,
    queue_jobs,
    sale_orders,
    scheduled_actions,
    server_actions,
    tasks,
    tickets,
    tier_reviews,
    timesheets,
    units,
    users,
    vendors,
)
from producers.odoo.mapping.registry import Mappings
from producers.odoo.mapping.spec import Child, Document, Joined, Mapping, Source

# Order of the snapshot: what others refer to comes first.
MAPPINGS: tuple[Mapping, ...] = (
    companies.MAPPING,
    currency_rates.MAPPING,
    units.MAPPING,
    products.MAPPING,
    journals.MAPPING,
    ledger_accounts.MAPPING,
    groups.MAPPING,
    users.MAPPING,
    vendors.MAPPING,
    bank_accounts.MAPPING,
    lock_exceptions.MAPPING,
    leads.MAPPING,
    sale_orders.MAPPING,
    purchase_orders.MAPPING,
    pickings.MAPPING,
    moves.MAPPING,
    payments.MAPPING,
    account_reconciliations.MAPPING,
    expense_reports.MAPPING,
    expense_reports.MAPPING_19,
    bank_lines.MAPPING,
    projects.MAPPING,
    tasks.MAPPING,
    timesheets.MAPPING,
    planning_slots.MAPPING,
    tickets.MAPPING,
    approval_requests.MAPPING,
    tier_reviews.MAPPING,
    attachment_documents.MAPPING,
    scheduled_actions.MAPPING,
    automation_rules.MAPPING,
    server_actions.MAPPING,
    queue_jobs.MAPPING,
)
SHIPPED = Mappings(MAPPINGS)
"""What is captured where no configuration says otherwise."""
BY_MODEL = SHIPPED.by_model

__all__ = ["BY_MODEL", "MAPPINGS", "SHIPPED", "Child", "Document", "Joined", "Mapping", "Mappings", "Source"]
