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
FIELDS |= {
    "res.groups": {
        "full_name": ("char", "Group Name", None, ALL),
        "category_id": ("many2one", "Application", "ir.module.category", ALL),
        "implied_ids": ("many2many", "Inherits", "res.groups", ALL),
        "users": ("many2many", "Users", "res.users", ALL),
        "share": ("boolean", "Share Group", None, ALL),
    },
    "res.users": {
        "groups_id": ("many2many", "Groups", "res.groups", ALL),
        "company_ids": ("many2many", "Companies", "res.company", ALL),
        "share": ("boolean", "Share User", None, ALL),
    },
    "sale.order.line": {
        "order_id": ("many2one", "Order Reference", "sale.order", ALL),
        "display_type": ("selection", "Display Type", None, ALL),
        "product_id": ("many2one", "Product", "product.product", ALL),
        "product_uom_qty": ("float", "Quantity", None, ALL),
        "product_uom": ("many2one", "Unit of Measure", "uom.uom", ALL),
        "price_unit": ("float", "Unit Price", None, ALL),
        "discount": ("float", "Discount (%)", None, ALL),
        "price_subtotal": ("monetary", "Subtotal", None, ALL),
        "price_tax": ("float", "Total Tax", None, ALL),
        "price_total": ("monetary", "Total", None, ALL),
        "tax_id": ("many2many", "Taxes", "account.tax", ALL),
        "qty_delivered": ("float", "Delivery Quantity", None, ALL),
        "qty_delivered_method": ("selection", "Method to update delivered qty", None, ALL),
        "qty_invoiced": ("float", "Invoiced Quantity", None, ALL),
        "qty_to_invoice": ("float", "Quantity To Invoice", None, ALL),
        "invoice_status": ("selection", "Invoice Status", None, ALL),
        "task_id": ("many2one", "Generated Task", "project.task", ALL),
        "project_id": ("many2one", "Generated Project", "project.project", ALL),
        "sequence": ("integer", "Sequence", None, ALL),
    },
    "ir.actions.server": {
        "state": ("selection", "Type", None, ALL),
        "usage": ("selection", "Usage", None, ALL),
        "model_name": ("char", "Model Name", None, ALL),
        "code": ("text", "Python Code", None, ALL),
        "base_automation_id": ("many2one", "Automation Rule", "base.automation", ALL),
        "groups_id": ("many2many", "Allowed Groups", "res.groups", ALL),
    },
    "base.automation": {
        "model_name": ("char", "Model Name", None, ALL),
        "action_server_ids": ("one2many", "Actions", "ir.actions.server", ALL),
    },
    "account.lock_exception": {
        "lock_date_field": ("selection", "Lock Date Field", None, (18,)),
        "lock_date": ("date", "Changed Lock Date", None, (18,)),
        "company_lock_date": ("date", "Original Lock Date", None, (18,)),
        "user_id": ("many2one", "User", "res.users", (18,)),
        "reason": ("char", "Reason", None, (18,)),
        "end_datetime": ("datetime", "End Date", None, (18,)),
        "active": ("boolean", "Active", None, (18,)),
        "company_id": ("many2one", "Company", "res.company", (18,)),
    },
}
_STATUS = [
    ["upselling", "Upselling Opportunity"],
    ["invoiced", "Fully Invoiced"],
    ["to invoice", "To Invoice"],
    ["no", "Nothing to Invoice"],
]
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
    ("sale.order.line", "display_type"): [["line_section", "Section"], ["line_note", "Note"]],
    ("sale.order.line", "qty_delivered_method"): [
        ["manual", "Manual"],
        ["analytic", "Analytic From Expenses"],
        ["stock_move", "Stock Moves"],
        ["timesheet", "Timesheets"],
        ["milestones", "Milestones"],
    ],
    ("sale.order.line", "invoice_status"): _STATUS,
    ("ir.actions.server", "state"): [
        ["object_write", "Update Record"],
        ["object_create", "Create Record"],
        ["code", "Execute Code"],
        ["webhook", "Send Webhook Notification"],
        ["multi", "Execute Existing Actions"],
    ],
    ("ir.actions.server", "usage"): [
        ["ir_actions_server", "Server Action"],
        ["ir_cron", "Scheduled Action"],
        ["base_automation", "Automation Rule"],
    ],
    ("account.lock_exception", "lock_date_field"): [
        ["fiscalyear_lock_date", "Global Lock Date"],
        ["tax_lock_date", "Tax Return Lock Date"],
        ["sale_lock_date", "Sales Lock Date"],
        ["purchase_lock_date", "Purchase Lock date"],
    ],
    ("product.product", "invoice_policy"): [["order", "Ordered quantities"], ["delivery", "Delivered quantities"]],
}
TITLES = {
    "account.lock_exception": "Account Lock Exception",
    "ir.actions.server": "Server Action",
    "res.groups": "Access Groups",
    "sale.order.line": "Sales Order Line",
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
