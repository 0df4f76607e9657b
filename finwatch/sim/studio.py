"""What an administrator adds to Odoo without code: fields of its models, and models of one's own, as Studio makes them.

Shown by `fields_get`, read, written and searched as any others; the service account may read them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from finwatch.sim.fields import Field, Model, make_field, stub_fields
from finwatch.sim.store import Database, Table, stamp

# model -> field -> (type, title, relation)
FIELDS: dict[str, dict[str, tuple[str, str, str | None]]] = {
    "account.move": {
        "x_studio_cost_center": ("many2one", "Cost Center", "x_cost_center"),
        "x_studio_approval_note": ("text", "Approval Note", None),
        "x_studio_retention": ("monetary", "Retention", None),
    },
    "account.move.line": {"x_studio_cost_center": ("many2one", "Cost Center", "x_cost_center")},
    "purchase.order": {"x_studio_budget_checked": ("boolean", "Budget Checked", None)},
    "x_cost_center": {"x_name": ("char", "Name", None)},
    "x_loan": {
        "x_name": ("char", "Name", None),
        "x_company_id": ("many2one", "Company", "res.company"),
        "x_partner_id": ("many2one", "Lender", "res.partner"),
        "x_bill_id": ("many2one", "Bill", "account.move"),
        "x_state": ("selection", "State", None),
        "x_due": ("date", "Due", None),
        "x_amount": ("monetary", "Amount", None),
        "x_currency_id": ("many2one", "Currency", "res.currency"),
        "x_rate": ("float", "Rate", None),
        "x_signed_at": ("datetime", "Signed", None),
        "x_tag_ids": ("many2many", "Tags", "x_cost_center"),
        "x_iban": ("char", "Account", None),
    },
    "x_loan_line": {
        "x_loan_id": ("many2one", "Loan", "x_loan"),
        "x_due": ("date", "Due", None),
        "x_amount": ("monetary", "Amount", None),
        "x_currency_id": ("many2one", "Currency", "res.currency"),
    },
}
_TITLES = {"x_cost_center": "Cost Center", "x_loan": "Loan", "x_loan_line": "Loan Line"}
_STATES = [["open", "Open"], ["repaid", "Repaid"]]


def customise(db: Database) -> None:
    """Add these fields and models to a database, for every account that could read the models before."""
    models = dict(db.catalogue.models)
    for name, told in FIELDS.items():
        known = models.get(name) or Model(name, _TITLES[name], stub_fields() | {"display_name": _shown()})
        made = {field: make_field(field, _attributes(*about), name) for field, about in told.items()}
        fields = {field: one for field, one in (known.fields | made).items() if name not in _TITLES or field != "name"}
        models[name] = replace(known, fields=fields)
        if name in db.tables:
            db.tables[name].model = models[name]
        else:
            db.tables[name] = Table(models[name])
    db.catalogue = replace(db.catalogue, models=models)
    now = stamp(datetime(2026, 1, 1, tzinfo=UTC))
    described = db.tables["ir.model"]
    for name, title in _TITLES.items():
        described.put(
            {"id": described.next_id(), "name": title, "model": name, "create_date": now, "write_date": now}
            | {"create_uid": 1, "write_uid": 1}
        )
    for uid, user in db.users.items():
        if user.role == "capture" and user.readable is not None:
            db.users[uid] = replace(user, readable=user.readable | _TITLES.keys())


def _attributes(kind: str, title: str, relation: str | None) -> dict[str, Any]:
    told: dict[str, Any] = {"readonly": False, "required": False, "store": True, "string": title, "type": kind}
    if relation:
        told["relation"] = relation
    if kind == "selection":
        told["selection"] = _STATES
    return told


def _shown() -> Field:
    return make_field("display_name", _attributes("char", "Display Name", None) | {"store": False}, "")
