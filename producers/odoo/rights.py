"""What the service account must be able to read, why, and what nobody sees without it. Data, from the mappings.

Facts of rights were observed on running servers: one group with read rights and rules that let it read every record
sees what an administrator sees, and writes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from producers.odoo import tracking
from producers.odoo.mapping import SHIPPED, Mappings


@dataclass(frozen=True)
class Right:
    """A model to be read, and what is not seen without it."""

    model: str
    without: str


_WITHOUT = {
    "account.move": "bills, invoices and journal entries: approvals, clocks, duplicates, everything about them",
    "account.payment": "payments: what was released, when, by whom, to which account",
    "account.bank.statement.line": "bank lines: what does not reconcile",
    "purchase.order": "orders: purchase approvals, bills without an order",
    "stock.picking": "receipts: bills before goods",
    "hr.expense.sheet": "expense reports and their approvals",
    "hr.expense": "the expenses within reports; in 19 and later, expense reports altogether",
    "res.partner": "vendors: duplicates under another name, changes of vendors",
    "res.partner.bank": "bank accounts: a change of account before a payment",
    "ir.cron": "failing and delayed scheduled actions",
    "base.automation": "automation rules that were switched off",
    "ir.actions.server": "changed server actions",
    tracking.VALUE_MODEL: "who approved, posted, reset or paid, and when: no field of a document says so",
    tracking.MESSAGE_MODEL: "which document a logged change belongs to",
    tracking.FIELD_MODEL: "which field a logged change is about",
    "res.lang": "what changes mean that were logged in another language than English",
    "stock.picking.type": "which transfers are receipts; they are guessed from their orders",
    "res.company": "the companies; records of companies that are not the account's own are absent without a word",
    "res.currency": "currencies",
    "res.users": "people",
    "ir.model": "which models are installed; each is tried instead",
    "account.journal": "names of journals",
    "account.account": "names of accounts",
    "account.lock_exception": "who may post into a locked period, and until when",
    "account.partial.reconcile": "what was matched with what, and matches that were undone",
    "account.analytic.line": "timesheets",
    "ir.model.data": "which group is which, whatever it is called",
    "res.groups": "who belongs to which group: duties that must be apart",
    "res.currency.rate": "rates: amounts of several currencies side by side",
    "product.product": "products: what is ordered, received and billed",
    "uom.uom": "units: quantities in another unit than ordered",
    "crm.lead": "leads",
    "sale.order": "sales orders: what was sold and is not billed yet",
    "project.project": "projects",
    "project.task": "tasks",
    "planning.slot": "planned work",
    "helpdesk.ticket": "tickets",
    "approval.request": "requests of the approvals app, and who decided them",
    "tier.review": "tier validations, and who decided them",
    "documents.document": "documents that are kept with records",
    "queue.job": "background jobs that failed or hang",
}

_BESIDE = ("account.journal", "account.account", "res.company", "res.currency", "res.users")
"""What the mappings point at: Odoo refuses the name of a record that cannot be read."""
_DECODING = (tracking.VALUE_MODEL, tracking.MESSAGE_MODEL, tracking.FIELD_MODEL, "res.lang", "ir.model")


def rights(version: int | None = None, mappings: Mappings = SHIPPED) -> tuple[Right, ...]:
    """Every model the capture reads of a version of Odoo (None: of any), each once, documents first."""
    models = dict.fromkeys(_models(version, mappings))
    return tuple(Right(model, _WITHOUT.get(model) or _told(model, mappings)) for model in models)


def _models(version: int | None, of: Mappings) -> Iterator[str]:
    mappings = [mapping for mapping in of if version is None or mapping.serves(version)]
    for mapping in mappings:
        yield mapping.model
    for mapping in mappings:
        yield from (child.model for child in mapping.children)
        yield from (joined.model for joined in mapping.joined)
        yield from (joined.model for child in mapping.children for joined in child.joined)
    yield "stock.picking.type"
    yield from _DECODING
    yield from _BESIDE


def _told(model: str, mappings: Mappings) -> str:
    for mapping in mappings:
        if mapping.model == model:
            return f"{', '.join(mapping.entities).replace('_', ' ')} documents"
        if any(child.model == model for child in mapping.children):
            return f"lines of {mapping.model}"
    return "part of other records"


OWN_RECORDS = frozenset(
    {"hr.expense", "hr.expense.sheet", "mail.message", "project.task", "res.users", "res.users.settings"}
)
"""Odoo lets every internal user write own records of these; a service account owns none."""
