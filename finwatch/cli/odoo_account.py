"""The least-privilege account that finwatch reads Odoo with: what is there, what is wanted, the steps between (pure),
and a client that takes the steps.

Steps only ever narrow or complete: they make a group, read rights and read-all rules for it, and one user in it. No
other group, user or right is touched.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from finwatch.runtime.config import OdooSettings
from producers.odoo.errors import OdooError
from producers.odoo.transport import OdooRpcTransport

GROUP = "Finwatch reader"
USER_NAME = "Finwatch"
FLAGS = ("perm_read", "perm_write", "perm_create", "perm_unlink")
READ_ONLY: Mapping[str, bool] = {"perm_read": True, "perm_write": False, "perm_create": False, "perm_unlink": False}
EVERYTHING = "[(1, '=', 1)]"
_MANY = 10_000


class _TheGroup:
    """Stands for the group's id in values, until it is known."""


THE_GROUP = _TheGroup()

What = Literal["create", "change", "keep", "skip"]


@dataclass(frozen=True)
class There:
    """What the server has of it. Ids by technical name; rows as Odoo answers them."""

    version: int
    internal_group: int
    models: Mapping[str, int]
    companies: tuple[int, ...]
    group: int | None = None
    implied: tuple[int, ...] = ()
    access: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)  # by model id
    rules: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    user: Mapping[str, Any] | None = None

    @property
    def groups_field(self) -> str:
        """Field of the user's groups: renamed in 19."""
        return "group_ids" if self.version >= 19 else "groups_id"


@dataclass(frozen=True)
class Step:
    """One thing to do, or found done. `values` for `model`; `record_id` of what is changed. `about`: in words."""

    what: What
    about: str
    model: str = ""
    record_id: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    right: str = ""


def plan(there: There, wanted: Sequence[str], login: str) -> Iterator[Step]:
    """Steps from what is there to what is wanted, in their order. `THE_GROUP` stands for the group's id."""
    # 1. The group, which makes its users internal ones: others cannot log in over RPC and read.
    if there.group is None:
        values: dict[str, Any] = {"name": GROUP, "implied_ids": [(6, 0, [there.internal_group])]}
        yield Step("create", f"group {GROUP}", "res.groups", values=values)
    elif set(there.implied) != {there.internal_group}:
        values = {"implied_ids": [(6, 0, [there.internal_group])]}
        yield Step(
            "change", f"group {GROUP}: implies internal users and nothing else", "res.groups", there.group, values
        )
    else:
        yield Step("keep", f"group {GROUP}")
    # 2. For each model the right to read, and a rule by which it reads every record.
    for name in wanted:
        model = there.models.get(name)
        if model is None:
            yield Step("skip", f"{name} is not installed", right=name)
            continue
        yield from _right(there, name, model)
    # 3. The account, in this group, with every company: records of others are absent without a word.
    yield from _user(there, login)


def _right(there: There, name: str, model: int) -> Iterator[Step]:
    access = there.access.get(model)
    if access is None:
        values = {"name": f"finwatch reads {name}", "model_id": model, "group_id": THE_GROUP, **READ_ONLY}
        yield Step("create", f"right to read {name}", "ir.model.access", values=values, right=name)
    elif wrong := {flag: READ_ONLY[flag] for flag in FLAGS if bool(access.get(flag)) != READ_ONLY[flag]}:
        yield Step("change", f"right on {name}: read, nothing else", "ir.model.access", access["id"], wrong, name)
    else:
        yield Step("keep", f"right to read {name}", right=name)
    rule = there.rules.get(model)
    if rule is None:
        values = {
            "name": f"finwatch reads every {name}",
            "model_id": model,
            "groups": [(6, 0, [THE_GROUP])],
            "domain_force": EVERYTHING,
            **READ_ONLY,
        }
        yield Step("create", f"rule: every record of {name}", "ir.rule", values=values, right=name)
    elif rule.get("domain_force") != EVERYTHING or not rule.get("perm_read"):
        values = {"domain_force": EVERYTHING, "perm_read": True}
        yield Step("change", f"rule: every record of {name}", "ir.rule", rule["id"], values, name)
    else:
        yield Step("keep", f"rule: every record of {name}", right=name)


def _user(there: There, login: str) -> Iterator[Step]:
    companies = sorted(there.companies)
    if there.user is None:
        values = {
            "name": USER_NAME,
            "login": login,
            there.groups_field: [(6, 0, [THE_GROUP])],
            "company_ids": [(6, 0, companies)],
            "company_id": companies[0],
        }
        yield Step("create", f"user {login}, in {len(companies)} companies", "res.users", values=values)
        return
    wrong: dict[str, Any] = {}
    groups = set(there.user.get(there.groups_field) or ())
    # Odoo adds implied groups to the user's own.
    if there.group not in groups or groups - {there.group, there.internal_group}:
        wrong[there.groups_field] = [(6, 0, [THE_GROUP])]
    if set(there.user.get("company_ids") or ()) != set(companies):
        wrong["company_ids"] = [(6, 0, companies)]
    if wrong:
        parts = sorted("companies" if name == "company_ids" else "groups" for name in wrong)
        yield Step("change", f"user {login}: {' and '.join(parts)}", "res.users", there.user["id"], wrong)
    else:
        yield Step("keep", f"user {login}")


class Administrator(OdooRpcTransport):
    """Odoo as an administrator sees it, over JSON-RPC (17 to 21). The only part of finwatch that writes to Odoo."""

    @classmethod
    def of(cls, odoo: OdooSettings, user: str, password: str) -> "Administrator":
        """From the settings and an administrator's login. Raises ValueError for an url that is none."""
        ca_file = str(odoo.ssl_ca) if odoo.ssl_ca else None
        return cls(odoo.url, odoo.database, user, password, timeout=odoo.timeout, ca_file=ca_file)

    def there(self, wanted: Sequence[str], login: str) -> There:
        """What the server has. Raises AccessRefused for a login that is no administrator's, and what Odoo raises."""
        version = self.version()
        internal = self._named("base", "group_user")
        models = self.search_read("ir.model", [("model", "in", list(wanted))], ["model"], limit=_MANY)
        companies = self.search("res.company", [], limit=_MANY, context={"active_test": False})
        groups = self.search_read("res.groups", [("name", "=", GROUP)], ["implied_ids"], limit=1)
        group = int(groups[0]["id"]) if groups else None
        found = There(version, internal, {str(one["model"]): int(one["id"]) for one in models}, tuple(companies), group)
        rows = self.search_read(
            "res.users",
            [("login", "=", login)],
            [found.groups_field, "company_ids"],
            limit=1,
            context={"active_test": False},
        )
        access: list[dict[str, Any]] = []
        rules: list[dict[str, Any]] = []
        if group is not None:
            access = self.search_read("ir.model.access", [("group_id", "=", group)], ["model_id", *FLAGS], limit=_MANY)
            rules = self.search_read(
                "ir.rule", [("groups", "in", [group])], ["model_id", "domain_force", "perm_read"], limit=_MANY
            )
        return There(
            version,
            internal,
            found.models,
            found.companies,
            group,
            tuple(groups[0]["implied_ids"]) if groups else (),
            {int(row["model_id"][0]): row for row in access},
            {int(row["model_id"][0]): row for row in rules},
            rows[0] if rows else None,
        )

    def take(self, steps: Sequence[Step], group: int | None, password: str) -> None:
        """Take steps in their order. `password` is given to a user that is created. Raises what Odoo raises."""
        for step in steps:
            if step.what not in ("create", "change"):
                continue
            values = {name: _with_group(value, group) for name, value in step.values.items()}
            if step.what == "change":
                self._call(step.model, "write", [[step.record_id], values], {})
                continue
            if step.model == "res.users":
                values["password"] = password
            made = self._call(step.model, "create", [values], {})
            if step.model == "res.groups":
                group = made if isinstance(made, int) else int(made[0])

    def give_password(self, login: str, password: str) -> None:
        """Give the account another password."""
        ids = self.search("res.users", [("login", "=", login)], limit=1)
        self._call("res.users", "write", [ids, {"password": password}], {})

    def _named(self, module: str, name: str) -> int:
        rows = self.search_read("ir.model.data", [("module", "=", module), ("name", "=", name)], ["res_id"], limit=1)
        if not rows:
            raise OdooError(f"this Odoo has no {module}.{name}")
        return int(rows[0]["res_id"])


def _with_group(value: Any, group: int | None) -> Any:
    if value is THE_GROUP:
        return group
    if isinstance(value, list | tuple):
        return type(value)(_with_group(one, group) for one in value)
    return value
