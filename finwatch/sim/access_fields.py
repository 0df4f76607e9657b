"""Fields of the models that Odoo keeps rights in, and of users: what an administrator writes to set up an account."""

from __future__ import annotations

ALL = (17, 18, 19)
_FLAGS = ("perm_read", "perm_write", "perm_create", "perm_unlink")

ADDED: tuple[tuple[str, str, str, str, str | None, tuple[str, ...], tuple[int, ...]], ...] = (
    ("res.groups", "implied_ids", "many2many", "Inherits", "res.groups", (), ALL),
    ("ir.model.access", "model_id", "many2one", "Model", "ir.model", (), ALL),
    ("ir.model.access", "group_id", "many2one", "Group", "res.groups", (), ALL),
    ("ir.model.access", "active", "boolean", "Active", None, (), ALL),
    *(("ir.model.access", flag, "boolean", flag, None, (), ALL) for flag in _FLAGS),
    ("ir.rule", "model_id", "many2one", "Model", "ir.model", (), ALL),
    ("ir.rule", "groups", "many2many", "Groups", "res.groups", (), ALL),
    ("ir.rule", "domain_force", "text", "Domain", None, (), ALL),
    ("ir.rule", "active", "boolean", "Active", None, (), ALL),
    *(("ir.rule", flag, "boolean", flag, None, (), ALL) for flag in _FLAGS),
    ("ir.model.data", "module", "char", "Module", None, (), ALL),
    ("ir.model.data", "model", "char", "Model Name", None, (), ALL),
    ("ir.model.data", "res_id", "integer", "Record ID", None, (), ALL),
    ("res.users", "login", "char", "Login", None, (), ALL),
    ("res.users", "password", "char", "Password", None, (), ALL),
    ("res.users", "active", "boolean", "Active", None, (), ALL),
    ("res.users", "company_ids", "many2many", "Companies", "res.company", (), ALL),
    ("res.users", "groups_id", "many2many", "Groups", "res.groups", (), (17, 18)),
    ("res.users", "group_ids", "many2many", "Groups", "res.groups", (), (19,)),
)
"""As in finwatch.sim.fields: model, name, type, title, relation, related path, versions."""

STORED = frozenset(entry[1] for entry in ADDED)
