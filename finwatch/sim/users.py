"""People and service accounts of a simulated database, and what they may read and write.

An administrator reads and writes everything; the least-privilege capture account reads the
finance models and the tracking log and writes nothing; a read-only accountant cannot read the tracking log.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FINANCE_MODELS = frozenset(
    {
        "account.account",
        "account.bank.statement.line",
        "account.full.reconcile",
        "account.journal",
        "account.lock_exception",
        "account.move",
        "account.move.line",
        "account.partial.reconcile",
        "account.payment",
        "account.payment.method.line",
        "account.payment.term",
        "account.tax",
        "mail.message",
        "mail.message.subtype",
        "product.product",
        "purchase.order",
        "purchase.order.line",
        "res.company",
        "res.country",
        "res.currency",
        "res.currency.rate",
        "res.lang",
        "res.partner",
        "res.partner.bank",
        "res.users",
        "sale.order",
        "sale.order.line",
        "stock.location",
        "stock.move",
        "stock.picking",
        "stock.picking.type",
        "stock.warehouse",
        "uom.uom",
    }
)
"""What the group account.group_account_readonly (with base.group_user) reads."""

CAPTURE_MODELS = FINANCE_MODELS | {
    "account.analytic.line",
    "base.automation",
    "crm.lead",
    "hr.department",
    "hr.employee",
    "hr.expense",
    "hr.expense.sheet",
    "ir.actions.server",
    "ir.cron",
    "ir.model",
    "ir.model.data",
    "ir.model.fields",
    "mail.tracking.value",
    "project.project",
    "project.task",
    "res.groups",
}
"""What the capture account reads: one group with extra read rights, no write right at all."""


@dataclass(frozen=True, slots=True)
class User:
    """A user: `readable` None reads every model; `lang` is the context language of their web client."""

    uid: int
    login: str
    password: str
    api_key: str = ""
    lang: str = "en_US"
    tz: str = "Europe/Amsterdam"
    readable: frozenset[str] | None = None
    writable: bool = False
    settings: bool = False
    """Member of base.group_system: may read fields restricted to Settings."""
    role: str = field(default="")
    by_groups: bool = False
    """Made over RPC: may what the rows of its groups say (finwatch.sim.access), whatever stands here."""

    def accepts(self, secret: object) -> bool:
        """True for the password and for the API key."""
        return isinstance(secret, str) and secret != "" and secret in (self.password, self.api_key)

    def may_read(self, model: str) -> bool:
        """True when the user may read the model."""
        return self.readable is None or model in self.readable


def administrator(uid: int = 2) -> User:
    """The administrator `admin`/`admin`."""
    return User(uid, "admin", "admin", api_key="0" * 40, writable=True, settings=True, role="administrator")


def capture_account(uid: int) -> User:
    """The least-privilege capture account `svc_cdc`/`svc_cdc`, with an API key."""
    return User(uid, "svc_cdc", "svc_cdc", api_key="c" * 40, readable=CAPTURE_MODELS, role="capture")


def readonly_accountant(uid: int, login: str = "auditor") -> User:
    """A read-only accountant, who cannot read the tracking log."""
    return User(uid, login, login, readable=FINANCE_MODELS, role="auditor")
