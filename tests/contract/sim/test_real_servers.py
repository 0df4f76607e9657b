"""The simulated Odoo against what real servers of both versions answered."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import odoorpc
import pytest

from finwatch.sim import Company, Database, SimulatedOdoo, captured
from finwatch.sim.faults import Faults
from finwatch.sim.fielddata import FOLDERS, build
from finwatch.sim.fields import load_catalogue
from finwatch.sim.rpc import Service
from finwatch.sim.wire import read_rows

VERSIONS = {"odoo17": "17.0", "odoo18": "18.0"}


@pytest.fixture(scope="module", params=sorted(VERSIONS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(name: str, data_dir: Path) -> Path:
    return data_dir / name


@pytest.fixture(scope="module")
def db(name: str, data_dir: Path) -> Database:
    return captured(name, data_dir)


@pytest.fixture(scope="module")
def meta(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / "meta.json").read_text("utf-8"))
    return data


@pytest.fixture(scope="module")
def odoo(db: Database) -> Iterator[SimulatedOdoo]:
    with SimulatedOdoo(db) as odoo:
        yield odoo


def captured_rows(folder: Path, model: str) -> list[dict[str, Any]]:
    with gzip.open(folder / f"{model}.json.gz", "rt", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = json.load(file)
    return rows


def test_the_shipped_field_definitions_are_not_stale(folder: Path, name: str) -> None:
    import finwatch.sim

    shipped = Path(finwatch.sim.__file__).parent / "data" / f"fields_{VERSIONS[name]}.json.gz"
    assert FOLDERS[VERSIONS[name]] == name
    assert gzip.decompress(shipped.read_bytes()) == gzip.decompress(build(folder))


def test_every_sample_of_the_wire_is_answered_alike(folder: Path, odoo: SimulatedOdoo) -> None:
    """Same result, or the same error name and text (a port, a record's user and PostgreSQL's excerpt apart)."""
    samples = json.loads((folder / "wire_samples.json").read_text("utf-8"))
    for title, sample in samples.items():
        request = sample["request"]
        database = request["args"][0] if request["args"] else None
        arguments = [_fill(request["method"], position, value) for position, value in enumerate(request["args"])]
        if database != "no_such_db" and arguments:
            arguments[0] = odoo.db.name
        body = {"jsonrpc": "2.0", "id": 1, "params": {**request, "args": arguments}}
        status, _, answer = odoo.answer("/jsonrpc", json.dumps(body).encode())
        assert status == 200
        got, expected = json.loads(answer), sample["response"]
        assert got.keys() == expected.keys(), title
        if "error" in expected:
            assert got["error"].keys() == expected["error"].keys()
            assert got["error"]["data"].keys() == expected["error"]["data"].keys()
            assert (got["error"]["code"], got["error"]["message"]) == (200, "Odoo Server Error")
            assert got["error"]["data"]["name"] == expected["error"]["data"]["name"], title
            assert _loose(got["error"]["data"]["message"]) == _loose(expected["error"]["data"]["message"]), title
        elif title == "login_ok":
            assert got["result"] == expected["result"] == 2
        else:
            assert _shape(got["result"]) == _shape(expected["result"]), title
            if title in ("version", "read_deleted", "login_wrong_password"):
                assert got["result"] == expected["result"]


def _fill(method: str, position: int, value: Any) -> Any:
    if value != "<secret>":
        return value
    return "admin"  # login and password of the administrator, uid 2


def _loose(text: str) -> str:
    text = re.sub(r"port \d+", "port N", text)
    return re.sub(r"LINE 1: \S+", "LINE 1: ...", text).split(" WHERE ")[0]


def _shape(value: Any) -> Any:
    """Types and keys, not values; lists by their first element."""
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shape(value[0])] if value and isinstance(value[0], dict) else [type(item).__name__ for item in value]
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", value):
        return "datetime"
    return type(value).__name__


def test_the_rows_in_the_samples_come_back_value_by_value(folder: Path, db: Database) -> None:
    sample = json.loads((folder / "wire_samples.json").read_text("utf-8"))["search_read_move"]
    rows = captured_rows(folder, "account.move")
    wanted = {row["id"]: row for row in rows}
    args = sample["request"]["args"]
    service = Service(db, Faults())
    got = service.call({"service": "object", "method": "execute_kw", "args": ["sim", 2, "admin", *args[3:]]})
    assert [row["id"] for row in got] == [row["id"] for row in sample["response"]["result"]]
    for row in got:
        assert row == {key: wanted[row["id"]][key] for key in row}


def test_every_captured_row_is_served_as_it_was_captured(folder: Path, db: Database, meta: dict[str, Any]) -> None:
    admin = db.users[2]
    for model, description in meta["models"].items():
        rows = {row["id"]: row for row in captured_rows(folder, model)}
        fields = list(description["fields"])
        assert description["rows"] == len(rows)
        assert len(db.tables[model].rows) >= len(rows)
        got = read_rows(db, admin, model, rows, fields)
        assert len(got) == len(rows)
        for row in got:
            expected = rows[row["id"]]
            assert row == {key: expected.get(key, row[key]) for key in row}, model
            assert expected.keys() <= row.keys()


def test_fields_get_is_the_captured_one(odoo: SimulatedOdoo, meta: dict[str, Any]) -> None:
    service = Service(odoo.db, Faults())
    for model, description in meta["models"].items():
        got = service.call(
            {"service": "object", "method": "execute_kw", "args": ["sim", 2, "admin", model, "fields_get", []]}
        )
        for field, attributes in description["fields"].items():
            assert got[field] == attributes, (model, field)


_TYPES: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "integer": (int,),
    "many2one_reference": (int, bool),
    "float": (float,),
    "monetary": (float,),
    "one2many": (list,),
    "many2many": (list,),
    "many2one": (list, bool),
}


@pytest.mark.parametrize("version", sorted(VERSIONS.values()))
def test_the_generated_company_answers_in_the_captured_types(version: str, data_dir: Path) -> None:
    company = Company(seed=2, weeks=1, scale=0.3, version=version)
    company.advance(company.end)
    description = json.loads((data_dir / FOLDERS[version] / "meta.json").read_text("utf-8"))["models"]
    filled: set[str] = set()
    for model, definition in description.items():
        fields = definition["fields"]
        for row in read_rows(company.db, company.db.users[2], model, company.db.tables[model].ids, list(fields)):
            filled.add(model)
            for name, value in row.items():
                kind = fields[name]["type"]
                if kind in _TYPES:
                    assert isinstance(value, _TYPES[kind]), (model, name, value)
                    if kind == "many2one" and value is not False:
                        assert isinstance(value[0], int) and isinstance(value[1], (str, bool)), (model, name, value)
                elif value is not False:
                    assert isinstance(value, str), (model, name, value)
                    if kind == "datetime":
                        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", value), (model, name)
                    elif kind == "date":
                        assert re.fullmatch(r"\d{4}-\d\d-\d\d", value), (model, name)
                    elif kind == "selection" and fields[name].get("selection"):
                        assert value in dict(fields[name]["selection"]), (model, name, value)
    assert {
        "account.move",
        "account.move.line",
        "account.payment",
        "purchase.order",
        "stock.picking",
        "hr.expense.sheet",
    } <= filled
    assert {
        "mail.message",
        "mail.tracking.value",
        "res.partner.bank",
        "account.bank.statement.line",
        "stock.move",
    } <= filled


def test_odoorpc_talks_to_it_unchanged(odoo: SimulatedOdoo, folder: Path, name: str) -> None:
    client = odoorpc.ODOO(odoo.host, port=odoo.port)
    assert client.version == VERSIONS[name]
    assert client.db.list() == ["sim"]
    with pytest.raises(odoorpc.error.RPCError, match="Wrong login ID or password"):
        client.login("sim", "svc_cdc", "nope")
    client.login("sim", "svc_cdc", "svc_cdc")
    assert client.env.context["lang"] == "en_US"
    moves = client.env["account.move"]
    rows = captured_rows(folder, "account.move")
    assert sorted(moves.search([])) == sorted(row["id"] for row in rows)
    last, seen = 0, []
    while page := moves.search_read([("id", ">", last)], ["name", "partner_id", "write_date"], limit=50, order="id"):
        seen += page
        last = page[-1]["id"]
    by_id = {row["id"]: row for row in rows}
    assert len(seen) == len(rows)
    assert all(row["partner_id"] == by_id[row["id"]]["partner_id"] for row in seen)
    with pytest.raises(odoorpc.error.RPCError, match="doesn't exist") as caught:
        client.execute("approval.request", "search", [])
    assert caught.value.info["data"]["name"] == "odoo.exceptions.UserError"
    states = client.env["purchase.order"].fields_get(["state"])["state"]["selection"]
    assert ["to approve", "To Approve"] in states
    tracked = client.env["mail.tracking.value"].search_read([], ["field_id", "mail_message_id"], limit=5)
    field = client.env["ir.model.fields"].read([tracked[0]["field_id"][0]], ["model", "name"])
    assert field[0]["name"]


def test_reading_every_field_of_a_bill_fails_in_18_only(odoo: SimulatedOdoo, name: str) -> None:
    client = odoorpc.ODOO(odoo.host, port=odoo.port)
    client.login("sim", "admin", "admin")
    bill = client.env["account.move"].search([], limit=1)[0]
    if name == "odoo18":
        with pytest.raises(odoorpc.error.RPCError, match="frozendict"):
            client.execute("account.move", "read", [bill])
    else:
        assert client.execute("account.move", "read", [bill])[0]["id"] == bill


def test_captured_times_keep_microseconds_that_only_filters_see(db: Database) -> None:
    row = next(r for r in db.tables["account.move"].rows.values() if not r["write_date"].endswith(".000000"))
    service = Service(db, Faults())

    def ids(operator: str, literal: str) -> Any:
        domain = [["id", "=", row["id"]], ["write_date", operator, literal]]
        return service.call(
            {"service": "object", "method": "execute", "args": ["sim", 2, "admin", "account.move", "search", domain]}
        )

    shown = read_rows(db, db.users[2], "account.move", [row["id"]], ["write_date"])[0]["write_date"]
    assert ids(">", shown) == [row["id"]]
    assert ids("=", shown) == []
    assert ids("=", row["write_date"]) == [row["id"]]


def test_delegated_fields_of_payments_and_bank_lines(db: Database, name: str) -> None:
    payment = read_rows(
        db, db.users[2], "account.payment", db.tables["account.payment"].ids[:1], ["state", "name", "date"]
    )[0]
    assert payment["state"] == ("paid" if name == "odoo18" else "posted")
    assert payment["name"].startswith("PBNK1/")
    line = read_rows(
        db,
        db.users[2],
        "account.bank.statement.line",
        db.tables["account.bank.statement.line"].ids[-1:],
        ["name", "date", "state"],
    )[0]
    assert line["state"] == "posted"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", line["date"])


def test_only_two_versions_are_spoken() -> None:
    with pytest.raises(ValueError, match="speaks"):
        load_catalogue("16.0")
    with pytest.raises(ValueError, match="odoo17 and odoo18"):
        captured("odoo16", ".")
