"""Fields of models of which no rows were captured, as Odoo's own code declares them.

Only what the capture reads of them. A model that is not here, nor captured, nor pointed at is not installed.
"""

from __future__ import annotations

from typing import Any

ALL = (17, 18)
# model -> field -> (type, title, relation, versions); all are stored
FIELDS: dict[str, dict[str, tuple[str, str, str | None, tuple[int, ...]]]] = {
    "res.currency.rate": {
        "name": ("date", "Date", None, ALL),
        "rate": ("float", "Technical Rate", None, ALL),
        "currency_id": ("many2one", "Currency", "res.currency", ALL),
        "company_id": ("many2one", "Company", "res.company", ALL),
    },
    "uom.uom": {
        "factor": ("float", "Ratio", None, ALL),
        "rounding": ("float", "Rounding Precision", None, ALL),
        "category_id": ("many2one", "Category", "uom.category", ALL),
        "active": ("boolean", "Active", None, ALL),
    },
    "product.product": {
        "default_code": ("char", "Internal Reference", None, ALL),
        "type": ("selection", "Product Type", None, ALL),
        "detailed_type": ("selection", "Product Type", None, (17,)),
        "is_storable": ("boolean", "Track Inventory", None, (18,)),
        "categ_id": ("many2one", "Product Category", "product.category", ALL),
        "uom_id": ("many2one", "Unit of Measure", "uom.uom", ALL),
        "uom_po_id": ("many2one", "Purchase Unit", "uom.uom", ALL),
        "purchase_method": ("selection", "Control Policy", None, ALL),
        "invoice_policy": ("selection", "Invoicing Policy", None, ALL),
        "active": ("boolean", "Active", None, ALL),
        "company_id": ("many2one", "Company", "res.company", ALL),
    },
}
SELECTIONS: dict[tuple[str, str], list[list[str]]] = {
    ("product.product", "type"): [
        ["consu", "Goods"],
        ["product", "Storable Product"],
        ["service", "Service"],
        ["combo", "Combo"],
    ],
    ("product.product", "detailed_type"): [
        ["consu", "Consumable"],
        ["product", "Storable Product"],
        ["service", "Service"],
    ],
    ("product.product", "purchase_method"): [
        ["purchase", "On ordered quantities"],
        ["receive", "On received quantities"],
    ],
    ("product.product", "invoice_policy"): [["order", "Ordered quantities"], ["delivery", "Delivered quantities"]],
}
TITLES = {
    "res.currency.rate": "Currency Rate",
    "uom.uom": "Product Unit of Measure",
    "product.product": "Product Variant",
}


def attributes(model: str, major: int) -> dict[str, dict[str, Any]]:
    """What `fields_get` says of a model's fields in a version."""
    found = {}
    for name, (kind, title, relation, versions) in FIELDS.get(model, {}).items():
        if major not in versions:
            continue
        told: dict[str, Any] = {"readonly": False, "required": False, "store": True, "string": title, "type": kind}
        if relation:
            told["relation"] = relation
        if kind == "selection":
            told["selection"] = SELECTIONS[model, name]
        found[name] = told
    return found
