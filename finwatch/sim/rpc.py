"""The services behind `/jsonrpc`: common, db and object, as Odoo 17 and 18 answer them. A `Call` is of any dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from finwatch.sim import access
from finwatch.sim.actions import METHODS
from finwatch.sim.domain import compile_domain, search
from finwatch.sim.errors import (
    OdooError,
    access_denied,
    access_error,
    database_missing,
    invalid_field,
    missing_record,
    unknown_model,
    user_error,
    value_error,
)
from finwatch.sim.faults import Faults
from finwatch.sim.fields import LANGUAGES, Field, Model, selection_labels
from finwatch.sim.rules import INVERSES
from finwatch.sim.store import Database, Transaction
from finwatch.sim.users import User
from finwatch.sim.wire import read_rows, to_storage

Context = Mapping[str, Any]


class Service:
    """Answers calls on one database. Raises OdooError for everything that Odoo reports as an error."""

    def __init__(self, db: Database, faults: Faults) -> None:
        self.db = db
        self.faults = faults

    def call(self, params: Any) -> Any:
        """One call: `{"service", "method", "args"}` -> its result."""
        if not isinstance(params, dict) or "service" not in params or "method" not in params:
            raise OdooError("builtins.KeyError", "'service'")
        service, method, arguments = params["service"], params["method"], list(params.get("args") or [])
        if service == "common":
            return self._common(method, arguments)
        if service == "db":
            return self._db(method)
        if service == "object":
            return self._object(method, arguments)
        raise OdooError("builtins.KeyError", f"'{service}'")

    def _common(self, method: str, arguments: list[Any]) -> Any:
        if method == "version":
            return self.db.catalogue.version_info
        if method in ("login", "authenticate"):
            database, login, secret = arguments[:3]
            self._check_database(database)
            user = self.db.user(login)
            return user.uid if user and not self.faults.refuse_logins and user.accepts(secret) else False
        raise OdooError("builtins.NameError", f"Method not found: {method}")

    def _db(self, method: str) -> Any:
        if method == "list":
            return [self.db.name]
        if method == "server_version":
            return self.db.catalogue.version_info["server_version"]
        if method == "db_exist":
            return True
        raise access_denied()  # everything else needs the master password, which nobody has

    def _object(self, method: str, arguments: list[Any]) -> Any:
        if method not in ("execute", "execute_kw"):
            raise OdooError("builtins.NameError", f"Method not available {method}")
        if len(arguments) < 5:
            raise OdooError("builtins.TypeError", f"{method}() missing required positional arguments")
        database, uid, secret, model, name = arguments[:5]
        self._check_database(database)
        user = self.db.users.get(uid)
        if user is None or self.faults.refuse_logins or not user.accepts(secret):
            raise access_denied()
        keywords: dict[str, Any] = {}
        positional = arguments[5:]
        if method == "execute_kw":
            keywords = dict(arguments[6]) if len(arguments) > 6 and arguments[6] else {}
            positional = list(arguments[5]) if len(arguments) > 5 and arguments[5] else []
        context = keywords.pop("context", None) or {}
        return Call(self.db, user, model, context).run(name, positional, keywords)

    def _check_database(self, name: Any) -> None:
        if name != self.db.name:
            raise database_missing(str(name))


class Call:
    """One method call of one user on one model."""

    def __init__(self, db: Database, user: User, model: Any, context: Context) -> None:
        self.db = db
        self.user = user
        self.context = context
        if not isinstance(model, str) or model not in db.tables:
            raise unknown_model(str(model))
        self.model = model
        self.definition: Model = db.tables[model].model

    def action(self, method: str) -> Callable[..., Any]:
        """The method, to be called with its arguments (first the ids, when it is of records). Raises OdooError."""
        if method.startswith("_"):
            raise access_error(f"Private methods (such as {method}) cannot be called remotely.")
        known: dict[str, Callable[..., Any]] = {
            "search": self.search,
            "search_read": self.search_read,
            "search_count": self.search_count,
            "read": self.read,
            "fields_get": self.fields_get,
            "name_search": self.name_search,
            "check_access_rights": self.check_access_rights,
            "has_access": self.has_access,
            "create": self.create,
            "write": self.write,
            "unlink": self.unlink,
        }
        if self.model == "res.users":
            known["context_get"] = self.context_get
        if method in known:
            return known[method]
        if (self.model, method) in METHODS:
            return lambda ids=(), *_: self._business(method, ids)
        if self.db.major == 17:
            raise OdooError(
                "builtins.AttributeError", f"The method '{method}' does not exist on the model '{self.model}'"
            )
        raise OdooError("builtins.AttributeError", f"The method '{self.model}.{method}' does not exist")

    def run(self, method: str, positional: list[Any], keywords: dict[str, Any]) -> Any:
        """Call `method`. Raises OdooError."""
        action = self.action(method)
        try:
            return action(*positional, **keywords)
        except TypeError as error:
            if method in str(error) and "argument" in str(error):
                raise OdooError("builtins.TypeError", str(error)) from None
            raise

    # Reading

    def search(
        self, domain: Any = (), offset: int = 0, limit: int | None = None, order: str | None = None
    ) -> list[int]:
        """`search`: ids."""
        self._may("read")
        _check_window(limit, offset)
        with self.db.lock:
            narrowed = self._narrowed(domain)
            return search(
                self.db, self.model, narrowed, order=order or None, offset=offset or 0, limit=limit or None,
                active_test=self._active_test,
            )  # fmt: skip

    def search_read(
        self,
        domain: Any = None,
        fields: list[str] | None = None,
        offset: int = 0,
        limit: int | None = None,
        order: str | None = None,
        load: str | None = "_classic_read",
    ) -> list[dict[str, Any]]:
        """`search_read`: one snapshot for search and read."""
        with self.db.lock:
            ids = self.search(domain or [], offset, limit, order)
            return self.read(ids, fields, load)

    def search_count(self, domain: Any = (), limit: int | None = None) -> int:
        """`search_count`."""
        self._may("read")
        _check_window(limit, 0)
        with self.db.lock:
            condition = compile_domain(self.db, self.model, self._narrowed(domain), active_test=self._active_test)
            count = sum(1 for row in self.db.tables[self.model].rows.values() if condition.matches(row))
        return min(count, limit) if limit else count

    def read(
        self, ids: int | list[int], fields: list[str] | None = None, load: str | None = "_classic_read"
    ) -> list[dict[str, Any]]:
        """`read`: deleted records are simply not in the answer."""
        self._may("read")
        if not fields and self.model == "account.move" and self.db.major == 18:
            # seen on a running server: reading every field of account.move in 18 fails in the server's own JSON encoder
            raise OdooError("builtins.TypeError", "keys must be str, int, float, bool or None, not frozendict")
        with self.db.lock:
            wanted = [ids] if isinstance(ids, int) else list(ids)
            self._check_rules(wanted)
            rows = read_rows(self.db, self.user, self.model, wanted, fields)
        if load != "_classic_read":
            for row in rows:
                for name, value in row.items():
                    if self.definition.fields[name].type == "many2one" and value:
                        row[name] = value[0]
        return rows

    def fields_get(
        self, allfields: list[str] | None = None, attributes: list[str] | None = None
    ) -> dict[str, dict[str, Any]]:
        """`fields_get`, with selection labels in the context's language."""
        self._may("read")
        result = {}
        for name, field in self.definition.fields.items():
            if allfields and name not in allfields:
                continue
            if field.settings_only and not self.user.settings:
                continue
            shown = self._attributes(field)
            if "searchable" in (attributes or ()):  # what was captured of real servers does not say it
                shown = shown | {"searchable": field.stored or bool(field.related) or name == "display_name"}
            result[name] = {key: shown[key] for key in attributes if key in shown} if attributes else shown
        return result

    def name_search(
        self, name: str = "", args: Any = None, operator: str = "ilike", limit: int = 100
    ) -> list[list[Any]]:
        """`name_search`: [id, name] pairs."""
        self._may("read")
        with self.db.lock:
            domain = [*(args or []), ("display_name", operator, name)] if name else list(args or [])
            ids = search(self.db, self.model, domain, limit=limit or None, active_test=self._active_test)
            return [[i, self.db.display_name(self.model, i)] for i in ids]

    def check_access_rights(self, operation: str, raise_exception: bool = True) -> bool:
        """`check_access_rights`."""
        allowed = self._allowed(operation)
        if not allowed and raise_exception:
            self._may(operation)
        return allowed

    def has_access(self, _ids: Any, operation: str) -> bool:
        """`has_access` (18 and later)."""
        return self._allowed(operation)

    def context_get(self) -> dict[str, Any]:
        """`res.users.context_get`."""
        return {"lang": self.user.lang, "tz": self.user.tz, "uid": self.user.uid}

    # Writing

    def create(self, vals_list: Any) -> int | list[int]:
        """`create`: one dict gives an id, a list gives ids."""
        self._may("create")
        many = isinstance(vals_list, list)
        with self._transaction() as tx:
            ids = [_create(tx, self.definition, values) for values in (vals_list if many else [vals_list])]
        if self.model == "res.users":
            self._accounts(ids)
        return ids if many else ids[0]

    def write(self, ids: int | list[int], vals: dict[str, Any]) -> bool:
        """`write`."""
        self._may("write")
        with self._transaction() as tx:
            for record_id in [ids] if isinstance(ids, int) else ids:
                _write(tx, self.definition, record_id, vals)
        if self.model == "res.users":
            self._accounts([ids] if isinstance(ids, int) else ids)
        return True

    def unlink(self, ids: int | list[int]) -> bool:
        """`unlink`; posted entries are refused."""
        self._may("unlink")
        with self._transaction() as tx:
            for record_id in [ids] if isinstance(ids, int) else ids:
                if self.model == "account.move" and tx.row(self.model, record_id).get("state") == "posted":
                    raise user_error(
                        "You can't delete a posted journal item. Don’t play games with your accounting records; "
                        "reset the journal entry to draft before deleting it."
                    )
                self._audit_trail(tx, record_id)
                tx.unlink(self.model, record_id)
        return True

    def _audit_trail(self, tx: Transaction, record_id: int) -> None:
        """With the company's audit trail on (18), an entry that was posted once stays."""
        if self.model != "account.move" or not self.db.has("res.company", "check_account_audit_trail"):
            return
        row = tx.row(self.model, record_id)
        company = tx.get("res.company", row.get("company_id") or 0) or {}
        if row.get("posted_before") and company.get("check_account_audit_trail"):
            raise user_error("You cannot remove parts of the audit trail.")

    def _business(self, method: str, ids: int | Sequence[int]) -> bool:
        self._may("write")
        with self._transaction() as tx:
            for record_id in [ids] if isinstance(ids, int) else ids:
                METHODS[(self.model, method)](tx, record_id)
        return True

    # Shared

    @property
    def _active_test(self) -> bool:
        return bool(self.context.get("active_test", True))

    def _transaction(self) -> Transaction:
        return self.db.begin(
            uid=self.user.uid,
            lang=self.context.get("lang"),
            tracking=not self.context.get("tracking_disable", False),
        )

    def _allowed(self, operation: str) -> bool:
        if self.user.by_groups:
            return access.allowed(self.db, self.user.uid, self.model, operation)
        return self.user.may_read(self.model) if operation == "read" else self.user.writable

    def _narrowed(self, domain: Any) -> Any:
        """The domain within what the record rules let this user see."""
        if not self.user.by_groups:
            return domain
        return [*access.visible(self.db, self.user.uid, self.model), *(domain or [])]

    def _check_rules(self, ids: Sequence[int]) -> None:
        """Refuse records that a rule hides."""
        if not self.user.by_groups or not (rules := access.visible(self.db, self.user.uid, self.model)):
            return
        seen = compile_domain(self.db, self.model, rules, active_test=False)
        rows = self.db.tables[self.model].rows
        if any(record_id in rows and not seen.matches(rows[record_id]) for record_id in ids):
            raise access_error(
                "Uh-oh! Looks like you have stumbled upon some top-secret records.\n\n"
                f"Sorry, {self.user.login} doesn't have 'read' access to:\n- {self.definition.title} ({self.model})"
            )

    def _accounts(self, ids: Sequence[int]) -> None:
        """Users written over RPC can log in; their password is kept with the account, never in the row."""
        with self.db.lock:
            for uid in ids:
                row = self.db.tables["res.users"].rows[uid]
                given = row.pop("password", None)
                known = self.db.users.get(uid)
                secret = str(given) if given else known.password if known is not None else ""
                if known is None or known.by_groups:
                    self.db.users[uid] = User(uid, row["login"], secret, by_groups=True)
                elif given:
                    self.db.users[uid] = replace(known, password=secret)

    def _may(self, operation: str) -> None:
        if not self._allowed(operation):
            verb = {"read": "access", "write": "modify", "create": "create", "unlink": "delete"}.get(
                operation, operation
            )
            raise access_error(
                f"You are not allowed to {verb} '{self.definition.title}' ({self.model}) records.\n\n"
                "Contact your administrator to request access if necessary."
            )

    def _attributes(self, field: Field) -> dict[str, Any]:
        lang = self.context.get("lang")
        if field.type != "selection" or lang not in LANGUAGES or lang == "en_US":
            return field.attributes
        labels = selection_labels(self.definition, field.name, lang)
        return field.attributes | {"selection": [[key, labels.get(key, key)] for key, _ in field.selection]}


def _check_window(limit: Any, offset: Any) -> None:
    for value, clause in ((limit, "LIMIT"), (offset, "OFFSET")):
        if isinstance(value, int) and value < 0:
            kind = "Limit" if clause == "LIMIT" else "ResultOffset"
            raise OdooError(f"psycopg2.errors.InvalidRowCountIn{kind}Clause", f"{clause} must not be negative\n")


def _create(tx: Transaction, model: Model, values: Any) -> int:
    if not isinstance(values, dict):
        raise value_error(f"create() of {model.name} wants a dictionary of values")
    plain, commands = _split(model, values)
    record_id = tx.create(model.name, plain)
    for name, entries in commands.items():
        _command(tx, model, record_id, name, entries)
    return record_id


def _write(tx: Transaction, model: Model, record_id: int, values: dict[str, Any]) -> None:
    if tx.get(model.name, record_id) is None:
        raise missing_record(model.name, record_id, tx.uid)
    plain, commands = _split(model, values)
    tx.write(model.name, record_id, plain)
    if commands and not plain:
        tx.touch(model.name, [record_id])
    for name, entries in commands.items():
        _command(tx, model, record_id, name, entries)


def _split(model: Model, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    plain, commands = {}, {}
    for name, value in values.items():
        field = model.fields.get(name)
        if field is None:
            raise invalid_field(model.name, name)
        if name in ("id", "create_date", "create_uid", "write_date", "write_uid") or not field.stored:
            continue  # Odoo ignores them
        if field.to_many:
            commands[name] = value
        else:
            plain[name] = to_storage(model, name, value)
    return plain, commands


def _command(tx: Transaction, model: Model, record_id: int, name: str, entries: Any) -> None:
    """x2many commands: (0,0,vals) create, (1,id,vals) write, (2,id) delete, (3,id) unlink, (4,id) link, (5,) clear,
    (6,0,ids).
    """
    relation = tx.db.table(model.fields[name].relation or "").model
    inverse = INVERSES.get((model.name, name))
    linked = [] if inverse else list(tx.row(model.name, record_id).get(name) or ())
    for given in entries or ():
        entry: Sequence[Any] = (4, given) if isinstance(given, int) else given
        code = entry[0]
        if code == 0:
            values = dict(entry[2])
            if inverse and inverse.field != "res_id":
                values[inverse.field] = record_id
            linked.append(_create(tx, relation, values))
        elif code == 1:
            _write(tx, relation, entry[1], entry[2])
        elif code == 2:
            tx.unlink(relation.name, entry[1])
            linked = [i for i in linked if i != entry[1]]
        elif code == 4 and entry[1] not in linked:
            linked.append(entry[1])
        elif code == 3:
            linked = [i for i in linked if i != entry[1]]
        elif code == 5:
            linked = []
        elif code == 6:
            linked = list(entry[2])
    if not inverse:
        tx.raw(model.name, record_id, {name: linked})
