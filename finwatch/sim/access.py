"""Rights as Odoo keeps them, in rows: groups, access rights by model, record rules. For accounts made over RPC.

Reproduced of Odoo's rules: an access right of any of a user's groups (implied ones included) or of no group allows; the
record rules of a user's groups are alternatives, rules without a group hold on top of them (here: the companies of the
user); a model without a rule for any of the groups is not narrowed by groups.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finwatch.sim.store import Database, Row

INTERNAL, SETTINGS, READONLY = 1, 2, 3
_GROUPS = {
    INTERNAL: ("base", "group_user", "Internal User"),
    SETTINGS: ("base", "group_system", "Settings"),
    READONLY: ("account", "group_account_readonly", "Auditor"),
}
_INTERNAL_READS = (
    *("res.company", "res.country", "res.currency", "res.lang", "res.partner", "res.users", "uom.uom"),
    *("product.product", "mail.message", "mail.message.subtype", "hr.expense", "hr.expense.sheet"),
    *("project.project", "project.task", "hr.employee", "hr.department"),
)
_INTERNAL_WRITES = ("hr.expense", "hr.expense.sheet", "mail.message", "project.task")
_OWN = "[('create_uid', '=', user.id)]"
_COMPANY = "['|', ('company_id', '=', False), ('company_id', 'in', company_ids)]"
_EVERYTHING = [(1, "=", 1)]


def seed(db: Database, base: dict[str, Any]) -> None:
    """Put the rows that a new database has: groups with their names in code, what internal users may, company rules."""
    models = {row["model"]: row["id"] for row in db.tables["ir.model"].rows.values() if row.get("model")}
    free = max(db.tables["ir.model"].rows, default=0) + 1000
    for number, name in enumerate(sorted(set(db.tables) - set(models)), start=free):
        models[name] = number
        db.tables["ir.model"].put({"id": number, "name": db.tables[name].model.title, "model": name, **base})
    for number, (module, code, title) in _GROUPS.items():
        db.tables["res.groups"].put({"id": number, "name": title, "implied_ids": [], **base})
        db.tables["ir.model.data"].put(
            {"id": number, "module": module, "name": code, "model": "res.groups", "res_id": number, **base}
        )
    access, rules = db.tables["ir.model.access"], db.tables["ir.rule"]
    flags = ("perm_read", "perm_write", "perm_create", "perm_unlink")
    for name in _INTERNAL_READS:
        if name not in db.tables:
            continue  # gone in this version
        writes = name in _INTERNAL_WRITES
        allowed = dict(zip(flags, (True, writes, writes, False), strict=True))
        access.put(
            {"id": access.next_id(), "name": name, "model_id": models[name], "group_id": INTERNAL, "active": True}
            | allowed
            | base
        )

    def rule(name: str, groups: list[int], domain: str) -> None:
        rules.put(
            {"id": rules.next_id(), "name": name, "model_id": models[name], "groups": groups, "active": True}
            | {"domain_force": domain}
            | dict.fromkeys(flags, True)
            | base
        )

    for name in ("hr.expense", "hr.expense.sheet", "project.task"):
        if name in db.tables:
            rule(name, [INTERNAL], _OWN)
    for name, table in db.tables.items():
        company = table.model.fields.get("company_id")
        # People are seen by any company they share: their own record is never hidden from them.
        if company is not None and company.stored and not table.model.stub and name != "res.users":
            rule(name, [], _COMPANY)


def _groups(db: Database, uid: int) -> set[int]:
    """Groups of a user, implied ones included."""
    row = db.tables["res.users"].rows.get(uid, {})
    open_ones = [*(row.get("groups_id") or ()), *(row.get("group_ids") or ())]
    found: set[int] = set()
    while open_ones:
        group = open_ones.pop()
        if group not in found:
            found.add(group)
            open_ones += db.tables["res.groups"].rows.get(group, {}).get("implied_ids") or ()
    return found


def allowed(db: Database, uid: int, model: str, operation: str) -> bool:
    """Whether any access right lets the user `read`, `write`, `create` or `unlink` records of a model."""
    groups = _groups(db, uid)
    return any(
        row.get(f"perm_{operation}") and row.get("active") is not False and row.get("group_id") in (None, *groups)
        for row in _about(db, "ir.model.access", model)
    )


def visible(db: Database, uid: int, model: str) -> list[Any]:
    """Domain of the records of a model that the user may read; empty for all."""
    groups = _groups(db, uid)
    of_groups, of_all = [], []
    for row in _about(db, "ir.rule", model):
        if not row.get("perm_read") or row.get("active") is False:
            continue
        own = set(row.get("groups") or ())
        if not own:
            of_all.append(_evaluated(db, uid, row))
        elif own & groups:
            of_groups.append(_evaluated(db, uid, row))
    parts = [_joined("&", domain) for domain in of_all]
    if of_groups:
        parts.append([*["|"] * (len(of_groups) - 1), *(term for one in of_groups for term in _joined("&", one))])
    return [term for part in parts for term in part]


def _about(db: Database, kind: str, model: str) -> Iterable[Row]:
    number = next((row["id"] for row in db.tables["ir.model"].rows.values() if row.get("model") == model), None)
    return (row for row in db.tables[kind].rows.values() if row.get("model_id") == number)


def _evaluated(db: Database, uid: int, row: Row) -> list[Any]:
    """The domain of a rule: literals, `user.id` and `company_ids`; everything else is refused by the parser."""
    user = db.tables["res.users"].rows.get(uid, {})
    text = str(row.get("domain_force") or "[]")
    text = text.replace("user.id", str(uid)).replace("company_ids", repr(list(user.get("company_ids") or ())))
    domain: list[Any] = ast.literal_eval(text)
    return domain or _EVERYTHING


def _joined(operator: str, domain: list[Any]) -> list[Any]:
    """The domain as one expression: what stands side by side in it is joined."""
    loose = 0
    for term in reversed(domain):
        if term in ("&", "|"):
            loose -= 1
        elif term != "!":
            loose += 1
    return [operator] * (loose - 1) + domain
