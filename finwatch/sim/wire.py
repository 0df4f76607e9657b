"""Stored values to what the wire shows, and back.

many2one is `[id, name]` or false; empty is false for every type except booleans, numbers and x2many; datetimes are
cut (not rounded) to whole seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from finwatch.sim.domain import timestamp_literal
from finwatch.sim.errors import access_error, invalid_field, value_error
from finwatch.sim.fields import Field, Model
from finwatch.sim.rules import INVERSES
from finwatch.sim.store import Database, Row
from finwatch.sim.users import User

Reader = Callable[[Row], Any]


def read_rows(
    db: Database, user: User, model: str, ids: Iterable[int], names: Iterable[str] | None
) -> list[dict[str, Any]]:
    """Records as `read` answers them: missing ones are left out. The caller holds `db.lock`.

    Raises ValueError's OdooError for an unknown field and AccessError's for one restricted to Settings.
    """
    table = db.table(model)
    definition = table.model
    wanted = list(dict.fromkeys(names)) if names else []
    if wanted:
        for name in wanted:
            if name not in definition.fields:
                raise invalid_field(model, name)
        refused = [n for n in wanted if definition.fields[n].settings_only and not user.settings]
        if refused:
            raise access_error(
                f'You do not have enough rights to access the fields "{",".join(refused)}" on {definition.title} '
                f"({model}). Please contact your system administrator.\n\nOperation: read"
            )
    else:
        wanted = [n for n, f in definition.fields.items() if user.settings or not f.settings_only]
    readers = [(name, reader(db, definition, definition.fields[name])) for name in wanted if name != "id"]
    result = []
    rows = table.rows
    for record_id in ids:
        row = rows.get(record_id)
        if row is not None:
            record: dict[str, Any] = {"id": record_id}
            for name, read in readers:
                record[name] = read(row)
            result.append(record)
    return result


def reader(db: Database, model: Model, field: Field) -> Reader:
    """A function from a stored row to the field's value on the wire."""
    name = field.name
    if name == "display_name":
        return lambda row: db.display_name(model.name, row["id"])
    if field.related:
        return _related(db, model, field)
    if (model.name, name) in (
        ("account.payment", "reconciled_bill_ids"),
        ("account.payment", "reconciled_invoice_ids"),
    ):
        prefix = "in_" if name == "reconciled_bill_ids" else "out_"
        return lambda row: _reconciled(db, row, prefix)
    if field.to_many:
        if (model.name, name) in INVERSES:
            return lambda row: list(row[name]) if name in row else db.children(model.name, row["id"], name)
        return lambda row: list(row.get(name) or ())
    return _plain(db, model, field)


def _plain(db: Database, model: Model, field: Field) -> Reader:
    name = field.name
    if field.type == "many2one":
        relation = field.relation or ""
        cache: dict[int, list[Any]] = {}
        own_names = db.names_by_field

        def many2one(row: Row) -> Any:
            value = row.get(name)
            if not value:
                return False
            shown = cache.get(value)
            if shown is None:
                given = own_names.get((model.name, name, value))
                shown = cache[value] = [value, given if given is not None else db.display_name(relation, value)]
            return shown

        return many2one
    if field.type == "datetime":
        return lambda row: (row.get(name) or "")[:19] or False
    if field.type == "boolean":
        return lambda row: bool(row.get(name))
    if field.type == "integer":
        return lambda row: row.get(name) or 0
    if field.type in ("float", "monetary"):
        return lambda row: float(row.get(name) or 0.0)

    def other(row: Row) -> Any:
        value = row.get(name)
        return False if value is None else value

    if field.type == "html":
        return lambda row: row.get(name) or ""
    return other


def _related(db: Database, model: Model, field: Field) -> Reader:
    steps: list[tuple[str, str]] = []
    current = model.name
    for name in field.related[:-1]:
        step = db.table(current).model.fields[name]
        steps.append((current, name))
        current = step.relation or ""
    last = db.table(current).model
    final = reader(db, last, last.fields[field.related[-1]])
    empty: Any = False

    def read(row: Row) -> Any:
        here: Row | None = row
        for owner, name in steps:
            if here is None:
                return empty
            value = here.get(name)
            definition = db.table(owner).model.fields[name]
            if definition.to_many:
                ids = value if value is not None else db.children(owner, here["id"], name)
                value = next(iter(ids), None)
            here = db.table(definition.relation or "").rows.get(value) if value else None
        return final(here) if here is not None else empty

    return read


def _reconciled(db: Database, row: Row, prefix: str) -> list[int]:
    """Bills or invoices that a payment's entry is reconciled with."""
    lines = db.tables["account.move.line"].rows
    moves = db.tables["account.move"].rows
    partials = db.tables["account.partial.reconcile"].rows
    found: set[int] = set()
    if row.get("move_id"):
        for line in db.children("account.move", row["move_id"], "line_ids"):
            for side, other in (("matched_debit_ids", "debit_move_id"), ("matched_credit_ids", "credit_move_id")):
                for partial in db.children("account.move.line", line, side):
                    counterpart = lines.get(partials[partial][other])
                    if counterpart and str(moves[counterpart["move_id"]].get("move_type")).startswith(prefix):
                        found.add(counterpart["move_id"])
    return sorted(found)


def to_storage(model: Model, name: str, value: Any) -> Any:
    """A value as a caller writes it, in storage form. Raises ValueError's OdooError for what Odoo refuses."""
    field = model.fields.get(name)
    if field is None:
        raise invalid_field(model.name, name)
    if field.type == "boolean":
        return bool(value)
    if value is None or value is False:
        return 0 if field.type == "integer" else 0.0 if field.type in ("float", "monetary") else None
    if field.type == "many2one":
        return int(value[0]) if isinstance(value, (list, tuple)) else int(value)
    if field.type in ("integer", "many2one_reference"):
        return int(value)
    if field.type in ("float", "monetary"):
        return float(value)
    if field.type == "datetime":
        return timestamp_literal(model.name, name, "=", value)
    if field.type == "date":
        return timestamp_literal(model.name, name, "=", value)[:10]
    if field.type == "selection":
        if field.selection and value not in {key for key, _ in field.selection}:
            raise value_error(f"Wrong value for {model.name}.{name}: {value!r}")
        return value
    if field.to_many:
        return value
    return str(value)
