"""What Odoo 19.0 has otherwise than 18.0, as its documentation and source say: no rows of a 19 were captured.

Only what the generated company and the capture touch. Differences:
- hr.expense.sheet is gone: hr.expense has its own approval (`manager_id`, `approval_state`, `approval_date`,
  `former_sheet_id` of a report before the upgrade), its state is draft, submitted, approved, posted, in_payment, paid,
  refused, is tracked, and follows the receipt (`account_move_id`, on the entry `expense_ids`);
- res.users.groups_id is group_ids, implied ones apart in all_group_ids; a group has user_ids and a privilege_id for
  users and category_id; server actions have group_ids;
- accounts are archived (`active`), not deprecated; res.company.check_account_audit_trail is restrictive_audit_trail;
- sale.order.line has product_uom_id and tax_ids for product_uom and tax_id;
- purchase.order has no state `done` but `locked`; purchase.order.line has product_uom_id and tax_ids for product_uom
  and taxes_id; stock.move has no name;
- uom.category is gone: a unit's family is its tree (`parent_path`), `factor` is the inverse of before; products have
  no purchase unit.
"""

from __future__ import annotations

from typing import Any

Definitions = dict[str, dict[str, dict[str, Any]]]
"""model -> field -> what `fields_get` says of it."""

GONE_MODELS = frozenset({"hr.expense.sheet", "uom.category"})
_GONE_FIELDS = {
    "account.account": ("deprecated",),
    "ir.actions.server": ("groups_id",),
    "res.company": ("check_account_audit_trail",),
    "res.groups": ("category_id", "users"),
    "account.move": ("expense_sheet_id",),
    "hr.expense": ("sheet_id", "accounting_date"),
    "product.product": ("uom_po_id",),
    "product.template": ("uom_po_id",),
    "purchase.order.line": ("product_packaging_id", "product_packaging_qty"),
    "res.users": ("groups_id",),
    "stock.move": ("name",),
    "uom.uom": ("category_id",),
}
_RENAMED_FIELDS = {
    "purchase.order.line": {"product_uom": "product_uom_id", "taxes_id": "tax_ids"},
    "sale.order.line": {"product_uom": "product_uom_id", "tax_id": "tax_ids"},
}
EXPENSE_STATES = [
    ["draft", "Draft"],
    ["submitted", "Submitted"],
    ["approved", "Approved"],
    ["posted", "Posted"],
    ["in_payment", "In Payment"],
    ["paid", "Paid"],
    ["refused", "Refused"],
]
EXPENSE_APPROVALS = [["submitted", "Submitted"], ["approved", "Approved"], ["refused", "Refused"]]


def _field(kind: str, title: str, relation: str | None = None, **more: Any) -> dict[str, Any]:
    told = {"readonly": True, "required": False, "store": True, "string": title, "type": kind, **more}
    return told | ({"relation": relation} if relation else {})


_NEW_FIELDS: Definitions = {
    "account.move": {"expense_ids": _field("one2many", "Expense", "hr.expense")},
    "hr.expense": {
        "account_move_id": _field("many2one", "Journal Entry", "account.move"),
        "approval_date": _field("datetime", "Approval Date"),
        "approval_state": _field("selection", "Approval State", selection=EXPENSE_APPROVALS),
        "department_id": _field("many2one", "Department", "hr.department"),
        "former_sheet_id": _field("integer", "Former Report"),
        "manager_id": _field("many2one", "Manager", "res.users"),
        "state": _field("selection", "Status", selection=EXPENSE_STATES),
        "untaxed_amount": _field("monetary", "Total Untaxed Amount"),
    },
    "purchase.order": {"locked": _field("boolean", "Locked")},
    "account.account": {"active": _field("boolean", "Active")},
    "ir.actions.server": {"group_ids": _field("many2many", "Allowed Groups", "res.groups")},
    "res.company": {"restrictive_audit_trail": _field("boolean", "Restrictive Audit Trail")},
    "res.groups": {
        "privilege_id": _field("many2one", "Privilege", "res.groups.privilege"),
        "user_ids": _field("many2many", "Users", "res.users"),
    },
    "res.users": {
        "all_group_ids": _field("many2many", "Groups and implied groups", "res.groups"),
        "group_ids": _field("many2many", "Groups", "res.groups"),
    },
    "uom.uom": {
        "parent_path": _field("char", "Parent Path"),
        "relative_factor": _field("float", "Contains"),
        "relative_uom_id": _field("many2one", "Reference Unit", "uom.uom"),
    },
}
# The former report's tracked fields whose counterpart the expense itself has now.
_MOVED_TRACKING = {"state": "state", "user_id": "manager_id"}


def definitions(of_18: Definitions) -> Definitions:
    """The models of 19.0, made from those of 18.0 (which stay as they are)."""
    made: Definitions = {}
    for model, fields in of_18.items():
        if model in GONE_MODELS:
            continue
        renamed = _RENAMED_FIELDS.get(model, {})
        kept = {
            renamed.get(name, name): told for name, told in fields.items() if name not in _GONE_FIELDS.get(model, ())
        }
        made[model] = kept | _NEW_FIELDS.get(model, {})
    orders = made["purchase.order"]
    states = [pair for pair in orders["state"]["selection"] if pair[0] != "done"]
    orders["state"] = orders["state"] | {"selection": states}
    return made


def field_rows(of_18: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tracked rows of ir.model.fields in 19.0, made from those of 18.0."""
    expense = next(row["model_id"] for row in of_18 if row["model"] == "hr.expense")
    rows = []
    for row in of_18:
        model, name = row["model"], row["name"]
        if model not in GONE_MODELS:
            rows.append(row | {"name": _RENAMED_FIELDS.get(model, {}).get(name, name)})
        elif model == "hr.expense.sheet" and name in _MOVED_TRACKING:
            rows.append(row | {"model": "hr.expense", "model_id": expense, "name": _MOVED_TRACKING[name]})
    return rows


def version_info() -> dict[str, Any]:
    """What `common.version` says."""
    return {
        "server_version": "19.0",
        "server_version_info": [19, 0, 0, "final", 0, ""],
        "server_serie": "19.0",
        "protocol_version": 1,
    }
