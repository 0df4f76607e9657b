"""Models and fields of Odoo 17.0 and 18.0, as real servers described them (`fields_get`), and the few this package
adds; those of 19.0 are made from them (`finwatch.sim.version19`).

The definitions are shipped as `data/fields_<version>.json.gz`, written by `finwatch.sim.fielddata` from captured
metadata. Added are fields that real servers have but the capture left out because they are not stored: delegated
fields of payments and bank lines, `picking_type_code`, `purchase_id`, `purchase_order_id`, `body`, `display_name`.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

from finwatch.sim import access_fields, uncaptured, version19

VERSIONS = ("17.0", "18.0", "19.0")


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `related`: the path a delegated field is read through; `attributes`: what `fields_get` says."""

    name: str
    type: str
    attributes: dict[str, Any]
    relation: str | None = None
    selection: tuple[tuple[str, str], ...] = ()
    stored: bool = True
    related: tuple[str, ...] = ()
    settings_only: bool = False

    @property
    def to_many(self) -> bool:
        """True for one2many and many2many."""
        return self.type in ("one2many", "many2many")


@dataclass(frozen=True, slots=True)
class Model:
    """One model: its technical name, its title, its fields and its default order."""

    name: str
    title: str
    fields: dict[str, Field]
    order: str = "id"
    stub: bool = False
    """True when only id and name are known (the model is merely pointed at)."""

    @property
    def table(self) -> str:
        """Name of the table in PostgreSQL."""
        return self.name.replace(".", "_")


@dataclass(frozen=True, slots=True)
class TrackedField:
    """A row of ir.model.fields with tracking set."""

    id: int
    model: str
    name: str
    title: str
    type: str


@dataclass(frozen=True)
class Catalogue:
    """All that one version of Odoo knows of its models."""

    version: str
    version_info: dict[str, Any]
    models: dict[str, Model]
    field_rows: list[dict[str, Any]]
    subtypes: dict[str, int]
    tracked: dict[str, dict[str, TrackedField]] = field(default_factory=dict)

    @property
    def major(self) -> int:
        """17, 18 or 19."""
        return int(self.version.split(".")[0])

    def has(self, model: str, name: str) -> bool:
        """True when the model stores the field in this version."""
        definition = self.models[model].fields.get(name)
        return definition is not None and definition.stored


ORDERS = {
    "account.move": "date desc, name desc, invoice_date desc, id desc",
    "account.move.line": "date desc, move_name desc, id",
    "account.payment": "date desc, name desc",
    "account.bank.statement.line": "internal_index desc",
    "purchase.order": "priority desc, id desc",
    "purchase.order.line": "order_id, sequence, id",
    "stock.picking": "priority desc, scheduled_date asc, id desc",
    "stock.move": "sequence, id",
    "hr.expense.sheet": "accounting_date desc, id desc",
    "hr.expense": "date desc, id desc",
    "res.partner": "complete_name asc, id desc",
    "res.partner.bank": "sequence, id",
    "res.users": "login",
    "res.currency": "active desc, name",
    "mail.message": "id desc",
}

TITLES = {
    "account.bank.statement.line": "Bank Statement Line",
    "account.partial.reconcile": "Partial Reconcile",
    "base.automation": "Automation Rule",
    "ir.cron": "Scheduled Actions",
    "ir.model": "Models",
    "ir.model.fields": "Fields",
    "mail.message": "Message",
    "mail.tracking.value": "Mail Tracking Value",
    "purchase.order.line": "Purchase Order Line",
    "res.currency": "Currency",
    "res.users": "User",
    "stock.move": "Stock Move",
    "account.analytic.line": "Analytic Line",
}

_BANK_LINE = "account.bank.statement.line"

# Fields the capture left out, mostly because they are not stored:
# model, name, type, title, relation, related path, versions
_ADDED: tuple[tuple[str, str, str, str, str | None, tuple[str, ...], tuple[int, ...]], ...] = (
    (_BANK_LINE, "name", "char", "Number", None, ("move_id", "name"), (17, 18)),
    (_BANK_LINE, "ref", "char", "Reference", None, ("move_id", "ref"), (17, 18)),
    (_BANK_LINE, "date", "date", "Date", None, ("move_id", "date"), (17, 18)),
    (_BANK_LINE, "state", "selection", "Status", None, ("move_id", "state"), (17, 18)),
    (_BANK_LINE, "journal_id", "many2one", "Journal", "account.journal", ("move_id", "journal_id"), (17,)),
    (_BANK_LINE, "company_id", "many2one", "Company", "res.company", ("move_id", "company_id"), (17,)),
    ("account.payment", "name", "char", "Number", None, ("move_id", "name"), (17,)),
    ("account.payment", "ref", "char", "Reference", None, ("move_id", "ref"), (17,)),
    ("account.payment", "date", "date", "Date", None, ("move_id", "date"), (17,)),
    ("account.payment", "state", "selection", "Status", None, ("move_id", "state"), (17,)),
    ("account.payment", "journal_id", "many2one", "Journal", "account.journal", ("move_id", "journal_id"), (17,)),
    ("account.payment", "company_id", "many2one", "Company", "res.company", ("move_id", "company_id"), (17,)),
    ("account.payment", "reconciled_bill_ids", "many2many", "Reconciled Bills", "account.move", (), (17, 18)),
    ("account.payment", "reconciled_invoice_ids", "many2many", "Reconciled Invoices", "account.move", (), (17, 18)),
    ("account.move", "company_currency_id", "many2one", "Company Currency", "res.currency",
     ("company_id", "currency_id"), (17, 18)),
    ("hr.expense", "company_currency_id", "many2one", "Report Company Currency", "res.currency",
     ("company_id", "currency_id"), (17, 18)),
    ("stock.picking", "picking_type_code", "selection", "Type of Operation", None,
     ("picking_type_id", "code"), (17, 18)),
    ("stock.picking", "purchase_id", "many2one", "Purchase Orders", "purchase.order",
     ("move_ids", "purchase_line_id", "order_id"), (17, 18)),
    ("account.move.line", "purchase_order_id", "many2one", "Purchase Order", "purchase.order",
     ("purchase_line_id", "order_id"), (17, 18)),
    ("stock.picking.type", "code", "selection", "Type of Operation", None, (), (17, 18)),
    ("mail.message", "body", "html", "Contents", None, (), (17, 18)),
    ("res.users", "partner_id", "many2one", "Related Partner", "res.partner", (), (17, 18)),
    ("res.users", "lang", "char", "Language", None, (), (17, 18)),
    ("res.users", "tz", "char", "Timezone", None, (), (17, 18)),
    ("res.lang", "code", "char", "Locale Code", None, (), (17, 18)),
    ("res.lang", "active", "boolean", "Active", None, (), (17, 18)),
    ("ir.model", "model", "char", "Model", None, (), (17, 18)),
    ("hr.employee", "user_id", "many2one", "User", "res.users", (), (17, 18)),
    ("hr.employee", "parent_id", "many2one", "Manager", "hr.employee", (), (17, 18)),
    ("res.country", "code", "char", "Country Code", None, (), (17, 18)),
)  # fmt: skip
_STORED_ADDITIONS = frozenset(
    {"body", "code", "lang", "tz", "active", "model"}
    | {"partner_id", "user_id", "parent_id"}
)  # fmt: skip
_PICKING_CODES = [["incoming", "Receipt"], ["outgoing", "Delivery"], ["internal", "Internal Transfer"]]
_SETTINGS_ONLY = {("mail.message", "tracking_value_ids")}  # everyone else gets an AccessError
_FRENCH: dict[tuple[str, str], dict[str, str]] = {
    ("purchase.order", "state"): {
        "draft": "Demande de prix",
        "sent": "Demande de prix envoyée",
        "to approve": "À approuver",
        "purchase": "Bon de commande",
        "done": "Bloqué",
        "cancel": "Annulé",
    },
    ("account.move", "state"): {"draft": "Brouillon", "posted": "Comptabilisé", "cancel": "Annulé"},
    ("account.move", "payment_state"): {
        "not_paid": "Non payé",
        "in_payment": "En paiement",
        "paid": "Payé",
        "partial": "Partiellement payé",
        "reversed": "Extourné",
        "blocked": "Bloqué",
        "invoicing_legacy": "Héritage de l'application Facturation",
    },
    ("account.payment", "state"): {
        "draft": "Brouillon",
        "in_process": "En cours",
        "paid": "Payé",
        "canceled": "Annulé",
        "rejected": "Rejeté",
    },
    ("hr.expense.sheet", "state"): {
        "draft": "À soumettre",
        "submit": "Soumis",
        "approve": "Approuvé",
        "post": "Comptabilisé",
        "done": "Payé",
        "cancel": "Refusé",
    },
    ("hr.expense", "state"): {
        "submitted": "Soumis",
        "approved": "Approuvé",
        "posted": "Comptabilisé",
        "in_payment": "En paiement",
        "paid": "Payé",
        "refused": "Refusé",
    },
    ("stock.picking", "state"): {
        "draft": "Brouillon",
        "waiting": "En attente d'une autre opération",
        "confirmed": "En attente",
        "assigned": "Prêt",
        "done": "Fait",
        "cancel": "Annulé",
    },
}
LANGUAGES = {"en_US": "English (US)", "fr_FR": "French / Français"}


def selection_labels(model: Model, name: str, lang: str | None) -> dict[str, str]:
    """Key -> label of a selection field in a language; a language that is not installed reads as en_US."""
    english = dict(model.fields[name].selection)
    if lang != "fr_FR":
        return english
    return english | _FRENCH.get((model.name, name), {})


def make_field(name: str, attributes: dict[str, Any], model: str) -> Field:
    """A field of `model` from what `fields_get` says of it."""
    return Field(
        name=name,
        type=attributes["type"],
        attributes=attributes,
        relation=attributes.get("relation"),
        selection=tuple((str(key), str(label)) for key, label in attributes.get("selection", ())),
        stored=bool(attributes.get("store", True)),
        settings_only=(model, name) in _SETTINGS_ONLY,
    )


def _simple(name: str, kind: str, title: str, relation: str | None = None, store: bool = True) -> Field:
    attributes: dict[str, Any] = {"readonly": True, "required": False, "store": store, "string": title, "type": kind}
    if relation:
        attributes["relation"] = relation
    return Field(name, kind, attributes, relation=relation, stored=store)


def stub_fields() -> dict[str, Field]:
    """The fields that every model has, and a name."""
    return {
        "id": _simple("id", "integer", "ID"),
        "name": _simple("name", "char", "Name"),
        "create_date": _simple("create_date", "datetime", "Created on"),
        "create_uid": _simple("create_uid", "many2one", "Created by", "res.users"),
        "write_date": _simple("write_date", "datetime", "Last Updated on"),
        "write_uid": _simple("write_uid", "many2one", "Last Updated by", "res.users"),
    }


def _added_field(models: dict[str, dict[str, Field]], entry: Any) -> Field:
    _, name, kind, title, relation, path, _ = entry
    attributes: dict[str, Any] = {"readonly": bool(path), "required": False, "string": title, "type": kind}
    attributes["store"] = not path and (name in _STORED_ADDITIONS or name in access_fields.STORED)
    if relation:
        attributes["relation"] = relation
    selection: tuple[tuple[str, str], ...] = ()
    if kind == "selection":
        if name in ("code", "picking_type_code"):
            attributes["selection"] = _PICKING_CODES
        else:  # delegated to the journal entry
            attributes["selection"] = models["account.move"][name].attributes["selection"]
        selection = tuple((key, label) for key, label in attributes["selection"])
    return Field(name, kind, attributes, relation, selection, bool(attributes["store"]), path)


@cache
def load_catalogue(version: str) -> Catalogue:
    """The catalogue of `17.0`, `18.0` or `19.0`. Raises ValueError for any other version."""
    if version not in VERSIONS:
        raise ValueError(f"the simulated Odoo speaks {' and '.join(VERSIONS)}, not {version!r}")
    major = int(version.split(".")[0])
    captured_major = min(major, 18)
    raw = resources.files("finwatch.sim").joinpath(f"data/fields_{captured_major}.0.json.gz").read_bytes()
    data = json.loads(gzip.decompress(raw))
    captured = set(data["models"])
    told: version19.Definitions = data["models"]
    for model in uncaptured.FIELDS:
        if more := uncaptured.attributes(model, captured_major):
            told[model] = told.get(model, {}) | more
    if major >= 19:
        told = version19.definitions(told)
        data["field_rows"] = version19.field_rows(data["field_rows"])
        data["version"] = version19.version_info()
    fields = {
        model: ({} if model in captured else stub_fields())
        | {name: make_field(name, attributes, model) for name, attributes in definitions.items()}
        for model, definitions in told.items()
    }
    relations = {f.relation for definitions in fields.values() for f in definitions.values() if f.relation}
    gone = version19.GONE_MODELS if major >= 19 else frozenset()
    rights = [entry for entry in access_fields.ADDED if major in entry[6]]
    for model in sorted((relations | {entry[0] for entry in (*_ADDED, *rights)}) - gone):
        fields.setdefault(model, stub_fields())
    for entry in (*(entry for entry in _ADDED if captured_major in entry[6]), *rights):
        if entry[0] in fields:
            fields[entry[0]].setdefault(entry[1], _added_field(fields, entry))
    for definitions in fields.values():
        definitions["display_name"] = _simple("display_name", "char", "Display Name", store=False)
    titles = TITLES | uncaptured.TITLES
    for row in data["field_rows"]:
        titles.setdefault(row["model"], row["model_id"][1])
    models = {
        name: Model(name, titles.get(name, name), definitions, ORDERS.get(name, "id"), name not in captured)
        for name, definitions in fields.items()
    }
    if major == 17:  # these are not stored in 17, so they cannot be ordered by
        models["account.payment"] = replace(models["account.payment"], order="id desc")
    tracked: dict[str, dict[str, TrackedField]] = {}
    for row in data["field_rows"]:
        if row["tracking"]:
            tracked.setdefault(row["model"], {})[row["name"]] = TrackedField(
                row["id"], row["model"], row["name"], row["field_description"], row["ttype"]
            )
    return Catalogue(version, data["version"], models, data["field_rows"], data["subtypes"], tracked)
