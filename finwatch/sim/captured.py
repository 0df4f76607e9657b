"""Rows captured from real servers, served again: `captured("odoo18", data_dir)`."""

from __future__ import annotations

import gzip
import json
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finwatch.sim import access
from finwatch.sim.fields import LANGUAGES, Model
from finwatch.sim.rules import INVERSES
from finwatch.sim.store import Database, Row, instant, stamp
from finwatch.sim.users import User, administrator, capture_account, readonly_accountant

FOLDERS = {"odoo17": "17.0", "odoo18": "18.0"}
# What a row that is only pointed at needs beside its name to be one that the server could have.
POINTED: dict[str, dict[str, Any]] = {
    "product.product": {"active": True},
    "uom.uom": {"active": True, "factor": 1.0, "rounding": 0.01},
}


def captured(name: str, data_dir: Path | str, *, database: str = "sim") -> Database:
    """A database holding the rows of `odoo17` or `odoo18` under `data_dir`.

    The wire showed whole seconds only. Microseconds are made up from the second itself, so rows of one transaction
    still share them. Every captured user may log in with their login as password; `auditor` is added. The clock
    stands at the last write.

    Raises ValueError for an unknown name and FileNotFoundError when the rows are not there.
    """
    if name not in FOLDERS:
        raise ValueError(f"captured rows are {' and '.join(FOLDERS)}, not {name!r}")
    folder = Path(data_dir) / name
    if not folder.is_dir():
        raise FileNotFoundError(f"no captured rows at {folder}")
    db = Database(database, FOLDERS[name])
    for path in sorted(folder.glob("*.json.gz")):
        model = path.name.removesuffix(".json.gz")
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows: list[dict[str, Any]] = json.load(file)
        table = db.table(model)
        for row in sorted(rows, key=lambda r: r["id"]):
            table.put(_stored(db, table.model, row))
    _point(db)
    add_catalogue_rows(db)
    _users(db)
    last = max(
        (row["write_date"] for t in db.tables.values() for row in t.rows.values() if row.get("write_date")),
        default=None,
    )
    at = instant(last) if last else datetime.now(UTC)
    db.clock = lambda: at
    return db


def _base() -> Row:
    """Stamps of rows that every database starts with."""
    now = stamp(datetime(2026, 1, 1, tzinfo=UTC))
    return {"create_date": now, "write_date": now, "create_uid": 1, "write_uid": 1}


def add_catalogue_rows(db: Database) -> None:
    """Rows that describe the database itself: installed languages, models, tracked fields, message subtypes."""
    base = _base()
    for number, (code, title) in enumerate(LANGUAGES.items(), start=1):
        db.tables["res.lang"].put({"id": number, "name": title, "code": code, "active": True, **base})
    titles = {row["model"]: row["model_id"] for row in db.catalogue.field_rows}
    for number, model in enumerate(sorted(m.name for m in db.catalogue.models.values() if not m.stub), start=5000):
        record_id = titles.get(model, [number])[0]
        title = db.catalogue.models[model].title
        db.tables["ir.model"].put({"id": record_id, "name": title, "model": model, **base})
    fields = db.tables["ir.model.fields"]
    for row in db.catalogue.field_rows:
        if row["id"] not in fields.rows:
            fields.put(_stored(db, fields.model, row))
    for title, record_id in db.catalogue.subtypes.items():
        db.tables["mail.message.subtype"].put({"id": record_id, "name": title, **base})
    access.seed(db, base)


def _stored(db: Database, model: Model, record: dict[str, Any]) -> Row:
    row: Row = {}
    for name, value in record.items():
        field = model.fields[name]
        if field.type == "many2one" and value:
            row[name] = value[0]
            _remember(db, model.name, name, field.relation or "", value[0], value[1])
        elif field.type == "datetime" and value:
            micros = zlib.crc32(value.encode()) % 1_000_000 if name in ("create_date", "write_date") else 0
            row[name] = f"{value}.{micros:06d}"
        elif value is False and field.type != "boolean":
            row[name] = None
        elif field.to_many and (model.name, name) in INVERSES:
            row[name] = list(value)
        else:
            row[name] = value
    # what later writes may need to know
    if model.name == "mail.message":
        row.setdefault("body", "")
    return row


def _remember(db: Database, model: str, name: str, relation: str, record_id: int, shown: Any) -> None:
    key = (relation, record_id)
    if db.names.setdefault(key, shown) != shown:
        db.names_by_field[(model, name, record_id)] = shown


def _point(db: Database) -> None:
    """Give records that are merely pointed at a row of their own, so that paths over them work."""
    base = _base()
    for (model, record_id), shown in db.names.items():
        table = db.tables.get(model)
        if table is None or not table.model.stub or record_id in table.rows:
            continue
        row: Row = {"id": record_id, "name": shown if isinstance(shown, str) else None, **base}
        row |= {name: value for name, value in POINTED.get(model, {}).items() if name in table.model.fields}
        if model == "stock.picking.type":
            text = str(shown).lower()
            row["code"] = "incoming" if "receipt" in text else "outgoing" if "deliver" in text else "internal"
        table.put(row)


def _users(db: Database) -> None:
    for row in db.tables["res.users"].rows.values():
        login = row["login"]
        row.setdefault("lang", "en_US")
        row.setdefault("tz", "Europe/Amsterdam")
        row.setdefault("company_ids", sorted(db.tables["res.company"].rows))
        if login == "admin":
            user = administrator(row["id"])
        elif login == "svc_cdc":
            user = capture_account(row["id"])
        else:
            user = User(row["id"], login, login)
        db.users[user.uid] = user
    authors = {m["create_uid"]: m["author_id"] for m in db.tables["mail.message"].rows.values() if m.get("author_id")}
    for uid, partner in authors.items():
        if uid in db.tables["res.users"].rows:
            db.tables["res.users"].rows[uid].setdefault("partner_id", partner)
    auditor = readonly_accountant(db.tables["res.users"].next_id())
    db.users[auditor.uid] = auditor
