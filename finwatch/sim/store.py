"""The record store of the simulated Odoo: tables, transactions, and Odoo's habits around write_date and tracking.

Habits reproduced (all seen on running servers):
- write_date and create_date are the START of the transaction, with microseconds; rows appear only at commit, so a
  late commit shows an old write_date, and ids are taken before the commit;
- several writes in one transaction show as one state and one tracking row a field; creation is not tracked;
- a deletion leaves nothing, neither row nor messages nor tracking; a number is then used again;
- `raw` changes (Odoo's own SQL) move no write_date; a write of the same value does.

Storage forms: datetime `YYYY-MM-DD HH:MM:SS.ffffff` (UTC, so that text order is time order), date `YYYY-MM-DD`,
many2one an id, x2many a list of ids, empty None. Nothing here knows the wire.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from finwatch.sim.errors import OdooError, missing_record, unknown_model
from finwatch.sim.fields import Catalogue, Model, TrackedField, load_catalogue, selection_labels
from finwatch.sim.names import display_name
from finwatch.sim.rules import INVERSES, OWNED, Inverse, subtype_of, touched_by
from finwatch.sim.users import User

Row = dict[str, Any]
ParentKey = int | tuple[str, int]


_LISTS: dict[str, list[tuple[str, str, Inverse]]] = {}  # by the model of the children
for (_parent, _list), _inverse in INVERSES.items():
    _LISTS.setdefault(_inverse.model, []).append((_parent, _list, _inverse))


class SerializationFailure(OdooError):
    """Two transactions changed the same row; the one that commits second loses (PostgreSQL, repeatable read)."""

    def __init__(self) -> None:
        super().__init__(
            "psycopg2.errors.SerializationFailure", "could not serialize access due to concurrent update\n"
        )


def stamp(at: datetime) -> str:
    """Storage form of an instant. Raises ValueError for a naive datetime."""
    if at.tzinfo is None:
        raise ValueError("a naive datetime has no place here: give a time zone")
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def instant(text: str) -> datetime:
    """The aware datetime of a storage form."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Table:
    """The committed rows of one model, with the indexes that reads need."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.rows: dict[int, Row] = {}
        self.ids: list[int] = []  # sorted
        self.last_id = 0
        self.links: dict[str, dict[ParentKey, list[int]]] = {
            inverse.field: {} for inverse in INVERSES.values() if inverse.model == model.name
        }
        self.numbers: dict[str, set[int]] = {}  # sequence_prefix -> numbers in use
        self.newest = {"create_date": "", "write_date": ""}  # never too small; a deletion leaves it

    def next_id(self) -> int:
        """Take an id from the sequence: never given back, not even by a rollback."""
        self.last_id += 1
        return self.last_id

    def put(self, row: Row) -> None:
        """Insert or replace a committed row."""
        record_id = row["id"]
        old = self.rows.get(record_id)
        if old is None:
            if not self.ids or record_id > self.ids[-1]:
                self.ids.append(record_id)
            else:
                insort(self.ids, record_id)
            self.last_id = max(self.last_id, record_id)
        self._index(old, row)
        for name in ("create_date", "write_date"):
            value = row.get(name)
            if value and value > self.newest[name]:
                self.newest[name] = value
        self.rows[record_id] = row

    def drop(self, record_id: int) -> None:
        """Remove a committed row, leaving nothing."""
        row = self.rows.pop(record_id)
        self.ids.remove(record_id)
        self._index(row, None)

    def _index(self, old: Row | None, new: Row | None) -> None:
        for field, index in self.links.items():
            before = parent_key(old, field) if old else None
            after = parent_key(new, field) if new else None
            if before == after:
                continue
            if before is not None and old is not None:
                index[before].remove(old["id"])
            if after is not None and new is not None:
                insort(index.setdefault(after, []), new["id"])
        before_number = _number(old)
        after_number = _number(new)
        if before_number != after_number:
            if before_number:
                self.numbers[before_number[0]].discard(before_number[1])
            if after_number:
                self.numbers.setdefault(after_number[0], set()).add(after_number[1])


def parent_key(row: Row, field: str) -> ParentKey | None:
    """What an inverse field points at: an id, or (model, id) for the generic reference of a message."""
    value = row.get(field)
    if not value:
        return None
    if field == "res_id":
        return (row["model"], value) if row.get("model") else None
    return int(value)


def _number(row: Row | None) -> tuple[str, int] | None:
    if row and row.get("sequence_prefix") and row.get("sequence_number"):
        return row["sequence_prefix"], row["sequence_number"]
    return None


class Database:
    """One simulated database.

    `clock` says what the server takes for now (aware); `clock_skew` shifts it, as a server with a wrong clock would.
    All reads and commits happen under `lock`, so a reader sees whole transactions only.
    """

    def __init__(self, name: str, version: str, clock: Callable[[], datetime] | None = None) -> None:
        self.name = name
        self.catalogue: Catalogue = load_catalogue(version)
        self.tables = {model: Table(definition) for model, definition in self.catalogue.models.items()}
        self.names: dict[tuple[str, int], str | bool] = {}
        self.names_by_field: dict[tuple[str, str, int], str | bool] = {}
        self.users: dict[int, User] = {}
        self.lock = threading.RLock()
        self.clock: Callable[[], datetime] = clock or (lambda: datetime.now(UTC))
        self.clock_skew = timedelta()
        self.commits = 0
        self._reserved: set[tuple[str, str, int]] = set()
        self._counters: dict[str, int] = {}

    @property
    def version(self) -> str:
        """`17.0`, `18.0` or `19.0`."""
        return self.catalogue.version

    @property
    def major(self) -> int:
        """17, 18 or 19."""
        return self.catalogue.major

    def now(self) -> datetime:
        """The server's own idea of now."""
        return self.clock() + self.clock_skew

    def table(self, model: str) -> Table:
        """The table of a model; raises the UserError of Odoo when the model is not installed."""
        try:
            return self.tables[model]
        except KeyError:
            raise unknown_model(model) from None

    def has(self, model: str, field: str) -> bool:
        """True when this version stores the field."""
        return self.catalogue.has(model, field)

    def user(self, login: str) -> User | None:
        """The user of a login."""
        return next((user for user in self.users.values() if user.login == login), None)

    def display_name(self, model: str, record_id: int) -> str | bool:
        """The name a many2one shows; False when the record is gone."""
        known = self.names.get((model, record_id))
        if known is not None:
            return known
        table = self.tables.get(model)
        row = table.rows.get(record_id) if table else None
        if row is None:
            return False
        return display_name(self, model, row)

    def children(self, model: str, record_id: int, field: str) -> list[int]:
        """Ids behind a one2many that is kept by its inverse."""
        inverse = INVERSES[(model, field)]
        table = self.tables[inverse.model]
        key: ParentKey = (model, record_id) if inverse.field == "res_id" else record_id
        ids = table.links[inverse.field].get(key, [])
        if inverse.only:
            ids = [i for i in ids if inverse.admits(table.rows[i])]
        return ids[::-1] if inverse.newest_first else list(ids)

    def begin(
        self,
        at: datetime | None = None,
        *,
        uid: int = 1,
        lang: str | None = None,
        tracking: bool = True,
    ) -> Transaction:
        """Open a transaction that starts `at` (default: the server's now).

        `lang` is the acting person's context language (labels in tracking rows are written in it); `tracking` False
        is the context key `tracking_disable`.
        """
        return Transaction(self, (at + self.clock_skew) if at else self.now(), uid, lang, tracking)

    def counter(self, code: str) -> int:
        """Next value of a plain sequence (ir.sequence), which is never given back."""
        self._counters[code] = self._counters.get(code, 0) + 1
        return self._counters[code]

    def reserve_number(self, model: str, prefix: str) -> int:
        """Highest number in use with the prefix, plus one: numbers of deleted records come again."""
        with self.lock:
            highest = max(self.tables[model].numbers.get(prefix, ()), default=0)
            while (model, prefix, highest + 1) in self._reserved:
                highest += 1
            self._reserved.add((model, prefix, highest + 1))
            return highest + 1

    def release_number(self, model: str, prefix: str, number: int) -> None:
        """Forget a reservation of an open transaction."""
        with self.lock:
            self._reserved.discard((model, prefix, number))


class Transaction:
    """One transaction of one user: a context manager (commits, or rolls back on an exception), or call `commit`."""

    def __init__(self, db: Database, at: datetime, uid: int, lang: str | None, tracking: bool) -> None:
        self.db = db
        self.at = at
        self.stamp = stamp(at)
        self.uid = uid
        self.lang = lang
        self.tracking = tracking
        self._changed: dict[tuple[str, int], Row | None] = {}
        self._base: dict[tuple[str, int], Row | None] = {}
        self._before: dict[tuple[str, int], Row] = {}  # tracked fields as they were
        self._created_links: dict[tuple[str, str, ParentKey], list[int]] = {}
        self._increments: list[tuple[str, int, str, int]] = []
        self._numbers: list[tuple[str, str, int]] = []
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._open:
            return
        if kind is None:
            self.commit()
        else:
            self.rollback()

    # Reading inside the transaction

    def get(self, model: str, record_id: int) -> Row | None:
        """The row as this transaction sees it; do not change it in place."""
        key = (model, record_id)
        if key in self._changed:
            return self._changed[key]
        return self.db.table(model).rows.get(record_id)

    def row(self, model: str, record_id: int) -> Row:
        """As `get`; raises Odoo's MissingError when the record is gone."""
        found = self.get(model, record_id)
        if found is None:
            raise missing_record(model, record_id, self.uid)
        return found

    def children(self, model: str, record_id: int, field: str) -> list[int]:
        """Ids behind a one2many, with what this transaction created and deleted."""
        inverse = INVERSES[(model, field)]
        with self.db.lock:
            committed = self.db.children(model, record_id, field)
        key: ParentKey = (model, record_id) if inverse.field == "res_id" else record_id
        ids = [i for i in committed if self.get(inverse.model, i) is not None]
        for child in self._created_links.get((inverse.model, inverse.field, key), ()):
            row = self.get(inverse.model, child)
            if row is not None and inverse.admits(row):
                ids.append(child)
        return ids

    def name_of(self, model: str, record_id: int | None) -> str | None:
        """Display name of a record as this transaction sees it, None for none."""
        if not record_id:
            return None
        row = self._changed.get((model, record_id))
        name = display_name(self.db, model, row) if row else self.db.display_name(model, record_id)
        return name if isinstance(name, str) else None

    # Changing

    def create(self, model: str, values: Mapping[str, Any]) -> int:
        """Insert a record. Fields this version lacks are refused (KeyError): callers ask `db.has` first."""
        table = self.db.table(model)
        with self.db.lock:
            record_id = table.next_id()
        row: Row = {"id": record_id}
        if "active" in table.model.fields:
            row["active"] = True
        self._check(table.model, values)
        row.update(values)
        row["create_date"] = row["write_date"] = self.stamp
        row["create_uid"] = row["write_uid"] = self.uid
        self._changed[(model, record_id)] = row
        self._base[(model, record_id)] = None
        for field in table.links:
            key = parent_key(row, field)
            if key is not None:
                self._created_links.setdefault((model, field, key), []).append(record_id)
        return record_id

    def write(self, model: str, ids: int | Iterable[int], values: Mapping[str, Any]) -> None:
        """Change records as the ORM does: write_date moves even when no value changes; `{}` does nothing at all."""
        if not values:
            return
        self._check(self.db.table(model).model, values)
        tracked = self.db.catalogue.tracked.get(model, {}) if self.tracking else {}
        for record_id in [ids] if isinstance(ids, int) else list(ids):
            old = self.row(model, record_id)
            before = {name: old.get(name) for name in values if name in tracked}
            if before and self._is_tracked(model, old):
                kept = self._before.setdefault((model, record_id), {})
                for name, value in before.items():
                    kept.setdefault(name, value)
            self._change(model, record_id, old, values, bump=True)
            for other, other_ids in touched_by(self, model, old, values):
                self.touch(other, other_ids)

    def touch(self, model: str, ids: Iterable[int]) -> None:
        """Move write_date and write_uid only, as a recomputed stored field does."""
        for record_id in ids:
            self._change(model, record_id, self.row(model, record_id), {}, bump=True)

    def raw(self, model: str, record_id: int, values: Mapping[str, Any]) -> None:
        """Change a row by SQL: no write_date, no tracking."""
        self._change(model, record_id, self.row(model, record_id), values, bump=False)

    def increment(self, model: str, record_id: int, field: str, by: int = 1) -> None:
        """Add to a number by SQL at commit (Odoo's supplier_rank): no write_date, no conflict with others."""
        self._increments.append((model, record_id, field, by))

    def unlink(self, model: str, ids: int | Iterable[int]) -> None:
        """Delete records with what they own; nothing remains of them."""
        for record_id in [ids] if isinstance(ids, int) else list(ids):
            self.row(model, record_id)  # raises MissingError
            for field in OWNED.get(model, ()):
                self.unlink(INVERSES[(model, field)].model, self.children(model, record_id, field))
            if (model, "message_ids") in INVERSES:
                self.unlink("mail.message", self.children(model, record_id, "message_ids"))
            key = (model, record_id)
            self._base.setdefault(key, self.db.tables[model].rows.get(record_id))
            self._changed[key] = None
            self._before.pop(key, None)

    def next_number(self, model: str, prefix: str) -> int:
        """The next printed number with the prefix, reserved for this transaction."""
        number = self.db.reserve_number(model, prefix)
        self._numbers.append((model, prefix, number))
        return number

    def post(
        self,
        model: str,
        record_id: int,
        *,
        body: str = "",
        subtype: str = "Note",
        kind: str = "notification",
        at: datetime | None = None,
    ) -> int:
        """Write a message into a record's chatter (moves no write_date of the record) and return its id."""
        user = self.db.tables["res.users"].rows.get(self.uid, {})
        return self.create(
            "mail.message",
            {
                "model": model,
                "res_id": record_id,
                "message_type": kind,
                "subtype_id": self.db.catalogue.subtypes.get(subtype, self.db.catalogue.subtypes["Note"]),
                "author_id": user.get("partner_id"),
                "date": stamp(at) if at else self.stamp,
                "body": body,
                "is_internal": subtype == "Note",
                "email_add_signature": True,
            },
        )  # fmt: skip

    # Ending

    def flush(self, at: datetime | None = None) -> None:
        """Write the tracking rows due so far (`at`: wall clock, for the message's date). Their ids are taken here."""
        pending, self._before = self._before, {}
        for (model, record_id), before in pending.items():
            row = self.get(model, record_id)
            if row is None:
                continue
            tracked = self.db.catalogue.tracked[model]
            changes = [
                (tracked[name], old, row.get(name))
                for name, old in sorted(before.items())
                if (old or None) != (row.get(name) or None)
            ]
            if changes:
                self._track(model, row, changes, at)

    def commit(self, at: datetime | None = None) -> None:
        """Make all of it visible at once. Raises SerializationFailure, and changes nothing, when a row moved
        meanwhile.
        """
        self._require_open()
        self.flush(at)
        with self.db.lock:
            # 1. Conflicts first: after this point nothing can fail, so no reader ever sees half a transaction.
            for (model, record_id), base in self._base.items():
                if self.db.tables[model].rows.get(record_id) is not base:
                    self.rollback()
                    raise SerializationFailure
            # 2. Rows and indexes.
            for (model, record_id), row in self._changed.items():
                self._install(model, record_id, row)
            # 3. SQL increments onto whatever is there now.
            for model, record_id, field, by in self._increments:
                target = self.db.tables[model].rows.get(record_id)
                if target is not None:
                    target[field] = (target.get(field) or 0) + by
            self.db.commits += 1
            self._close()

    def rollback(self) -> None:
        """Forget everything but the ids that were taken."""
        self._require_open()
        self._close()

    def _close(self) -> None:
        for model, prefix, number in self._numbers:
            self.db.release_number(model, prefix, number)
        self._open = False

    def _require_open(self) -> None:
        if not self._open:
            raise RuntimeError("the transaction has ended")

    def _install(self, model: str, record_id: int, row: Row | None) -> None:
        table = self.db.tables[model]
        existing = table.rows.get(record_id)
        if row is None:
            if existing is not None:
                self._relink(model, existing, remove=True)
                table.drop(record_id)
                self.db.names.pop((model, record_id), None)
            return
        if existing is None:
            self._relink(model, row, remove=False)
        self.db.names.pop((model, record_id), None)
        table.put(row)

    def _relink(self, model: str, row: Row, *, remove: bool) -> None:
        """Keep lists that captured rows carry themselves in step with rows that come and go."""
        for parent_model, list_field, inverse in _LISTS.get(model, ()):
            if not inverse.admits(row):
                continue
            key = parent_key(row, inverse.field)
            if key is None or (isinstance(key, tuple) and key[0] != parent_model):
                continue
            parent = self.db.tables[parent_model].rows.get(key[1] if isinstance(key, tuple) else key)
            if parent is None or list_field not in parent:
                continue
            if remove:
                with suppress(ValueError):
                    parent[list_field].remove(row["id"])
            elif inverse.newest_first:
                parent[list_field].insert(0, row["id"])
            else:
                parent[list_field].append(row["id"])

    def _change(self, model: str, record_id: int, old: Row, values: Mapping[str, Any], *, bump: bool) -> None:
        self._require_open()
        key = (model, record_id)
        if key in self._changed:
            row = old  # already this transaction's own copy
        else:
            self._base[key] = old
            row = self._changed[key] = dict(old)
        row.update(values)
        if bump:
            row["write_date"] = self.stamp
            row["write_uid"] = self.uid

    def _check(self, model: Model, values: Mapping[str, Any]) -> None:
        for name in values:
            field = model.fields.get(name)
            if field is None:
                raise KeyError(f"{model.name} has no field {name} in Odoo {self.db.version}")

    def _is_tracked(self, model: str, row: Row) -> bool:
        if self._base.get((model, row["id"]), row) is None:
            return False  # created in this transaction: creation is not tracked
        if model == "account.move.line":  # only lines of an entry that was posted once
            move = self.get("account.move", row["move_id"])
            return bool(move and move.get("posted_before"))
        return True

    def _track(self, model: str, row: Row, changes: list[tuple[TrackedField, Any, Any]], at: datetime | None) -> None:
        record_id = row["id"]
        if model == "account.move.line":  # a journal item has no chatter: the message goes to its entry
            body = f'Journal Item <a href="#" data-oe-model="{model}" data-oe-id="{record_id}">#{record_id}</a> updated'
            targets = [("account.move", row["move_id"], body)]
        elif model == "res.partner.bank":  # and a twin on the partner
            body = f'Bank Account <a href="#" data-oe-model="{model}" data-oe-id="{record_id}">#{record_id}</a> updated'
            targets = [(model, record_id, ""), ("res.partner", row["partner_id"], body)]
        else:
            targets = [(model, record_id, "")]
        subtype = subtype_of(model, row, {field.name: (old, new) for field, old, new in changes})
        for target, target_id, body in targets:
            message = self.post(target, target_id, body=body, subtype=subtype if target == model else "Note", at=at)
            for field, old, new in changes:
                self.create("mail.tracking.value", self._tracking_values(model, row, field, old, new, message))

    def _tracking_values(
        self, model: str, row: Row, field: TrackedField, old: Any, new: Any, message: int
    ) -> dict[str, Any]:
        values: dict[str, Any] = {"field_id": field.id, "mail_message_id": message}
        definition = self.db.catalogue.models[model].fields.get(field.name)
        for side, value in (("old", old), ("new", new)):
            if field.type in ("monetary", "float"):
                values[f"{side}_value_float"] = value or 0.0
            elif field.type in ("boolean", "integer"):
                values[f"{side}_value_integer"] = int(value or 0)
            elif field.type == "datetime":
                values[f"{side}_value_datetime"] = value
            elif field.type == "date":
                values[f"{side}_value_datetime"] = f"{value} 00:00:00.000000" if value else None
            elif field.type == "many2one":
                values[f"{side}_value_integer"] = value or 0
                relation = definition.relation if definition else None
                values[f"{side}_value_char"] = (self.name_of(relation, value) if relation else None) or ""
            elif field.type == "selection":  # labels, in the acting person's language: not keys
                labels = selection_labels(self.db.catalogue.models[model], field.name, self.lang)
                values[f"{side}_value_char"] = labels.get(value, value) if value else ""
            elif field.type == "text":
                values[f"{side}_value_text"] = value
            else:
                values[f"{side}_value_char"] = value
        if field.type == "monetary":
            values["currency_id"] = row.get("currency_id")
        return values


__all__ = ["Database", "Inverse", "Row", "SerializationFailure", "Table", "Transaction", "instant", "stamp"]
