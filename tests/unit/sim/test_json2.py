"""JSON-2 of the simulated Odoo over real HTTP: routes, rights, statuses, the database header, kept connections."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from finwatch.sim import Company, SimulatedOdoo
from finwatch.sim.store import Database

SERVICE, ADMIN = "c" * 40, "0" * 40


@pytest.fixture(scope="module")
def company() -> Company:
    company = Company(seed=2, weeks=1, scale=0.3, start=datetime(2026, 11, 2, tzinfo=UTC), version="19.0")
    company.advance(company.start + timedelta(days=3))
    return company


@pytest.fixture
def odoo(company: Company) -> Iterator[SimulatedOdoo]:
    with SimulatedOdoo(company.db) as odoo:
        yield odoo


def ask(
    odoo: SimulatedOdoo, path: str, body: Any = None, key: str = SERVICE, method: str = "POST", **headers: str
) -> tuple[int, str, Any]:
    """(status, content type, decoded JSON or the raw page)."""
    connection = http.client.HTTPConnection(odoo.host, odoo.port, timeout=20)
    sent = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"} | headers
    try:
        connection.request(method, path, body if isinstance(body, bytes) else json.dumps(body).encode(), sent)
        answer = connection.getresponse()
        kind, page = answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()
    return answer.status, kind, json.loads(page) if kind.startswith("application/json") else page


def call(odoo: SimulatedOdoo, model: str, method: str, key: str = SERVICE, **arguments: Any) -> tuple[int, Any]:
    status, _, answer = ask(odoo, f"/json/2/{model}/{method}", arguments, key)
    return status, answer if status == 200 else answer["name"]


def test_reads_and_writes_have_named_arguments_and_plain_results(odoo: SimulatedOdoo) -> None:
    status, ids = call(odoo, "res.partner", "search", domain=[["is_company", "=", True]], limit=3, order="id")
    assert (status, len(ids)) == (200, 3)
    status, rows = call(odoo, "res.partner", "search_read", domain=[["id", "in", ids]], fields=["name"], order="id")
    assert (status, [row["id"] for row in rows]) == (200, ids)
    assert call(odoo, "res.partner", "read", ids=ids, fields=["name"]) == (200, rows)
    assert call(odoo, "res.partner", "search_count", domain=[["id", "in", ids]]) == (200, 3)
    status, fields = call(
        odoo, "hr.expense", "fields_get", allfields=["state"], attributes=["selection"], context={"lang": "fr_FR"}
    )
    assert (status, dict(fields["state"]["selection"])["refused"]) == (200, "Refusé")
    status, made = call(odoo, "res.partner.bank", "create", ADMIN, vals_list=[{"partner_id": 1, "acc_number": "1"}])
    assert status == 200
    assert call(odoo, "res.partner.bank", "write", ADMIN, ids=made, vals={"acc_number": "2"}) == (200, True)
    assert call(odoo, "res.partner.bank", "unlink", ADMIN, ids=made) == (200, True)
    status, draft = call(odoo, "hr.expense", "search", ADMIN, domain=[["state", "=", "submitted"]], limit=1)
    assert call(odoo, "hr.expense", "action_approve", ADMIN, ids=draft) == (200, True)
    status, (row,) = call(odoo, "hr.expense", "read", ids=draft, fields=["state", "manager_id", "approval_date"])
    assert (row["state"], row["manager_id"][0], row["approval_date"][11:]) == ("approved", 2, "00:00:00")


@pytest.mark.parametrize(
    ("model", "method", "arguments", "status", "name"),
    [
        ("approval.request", "search", {"domain": []}, 404, "werkzeug.exceptions.NotFound"),
        ("hr.expense.sheet", "search", {"domain": []}, 404, "werkzeug.exceptions.NotFound"),
        ("res.partner", "frobnicate", {}, 404, "werkzeug.exceptions.NotFound"),
        ("res.partner", "_search", {}, 403, "odoo.exceptions.AccessError"),
        ("crm.stage", "search", {"domain": []}, 403, "odoo.exceptions.AccessError"),
        ("res.partner", "write", {"ids": [1], "vals": {"name": "x"}}, 403, "odoo.exceptions.AccessError"),
        ("res.partner", "search", {}, 422, "werkzeug.exceptions.UnprocessableEntity"),
        ("res.partner", "search", {"domain": [], "nope": 1}, 422, "werkzeug.exceptions.UnprocessableEntity"),
        ("res.partner", "search", {"domain": [], "ids": [1]}, 422, "werkzeug.exceptions.UnprocessableEntity"),
        ("res.partner", "search_read", {"domain": [], "fields": ["nope"]}, 500, "builtins.ValueError"),
        ("res.partner", "search_read", {"domain": [["nope", "=", 1]]}, 500, "builtins.ValueError"),
        ("res.partner", "search", {"domain": [], "limit": -1}, 500, "psycopg2.errors.InvalidRowCountInLimitClause"),
        ("account.move", "search_read", {"domain": [["write_date", ">", "x"]], "fields": ["name"]}, 500, None),
    ],
)
def test_refusals(
    odoo: SimulatedOdoo, model: str, method: str, arguments: dict[str, Any], status: int, name: str | None
) -> None:
    found, _, error = ask(odoo, f"/json/2/{model}/{method}", arguments)
    assert (found, error["name"]) == (status, name or "psycopg2.errors.InvalidDatetimeFormat")
    assert error.keys() == {"name", "message", "arguments", "context", "debug"}


def test_missing_records_are_404_when_written(odoo: SimulatedOdoo) -> None:
    assert call(odoo, "res.partner", "write", ADMIN, ids=[10**9], vals={"name": "x"}) == (
        404,
        "odoo.exceptions.MissingError",
    )
    assert call(odoo, "res.partner", "read", ids=[10**9], fields=["name"]) == (200, [])
    posted = [["state", "=", "posted"]]
    _, (move,) = call(odoo, "account.move", "search", domain=posted, limit=1)
    assert call(odoo, "account.move", "unlink", ADMIN, ids=[move]) == (422, "odoo.exceptions.UserError")


def test_a_key_is_needed_and_a_password_is_none(odoo: SimulatedOdoo) -> None:
    path = "/json/2/res.users/context_get"
    for key in ("svc_cdc", "nope", ""):
        status, kind, error = ask(odoo, path, {}, key)
        assert (status, error["name"]) == (401, "werkzeug.exceptions.Unauthorized")
        assert kind.startswith("application/json")
    odoo.faults.refuse_logins = True
    assert ask(odoo, path, {})[0] == 401
    odoo.faults.refuse_logins = False
    assert ask(odoo, path, {})[2]["uid"] == odoo.db.user("svc_cdc").uid  # type: ignore[union-attr]


def test_the_database_may_be_named_and_an_unknown_one_is_a_page(odoo: SimulatedOdoo) -> None:
    path = "/json/2/res.users/context_get"
    assert ask(odoo, path, {}, **{"X-Odoo-Database": "sim"})[0] == 200
    status, kind, _ = ask(odoo, path, {}, **{"X-Odoo-Database": "other"})
    assert status == 404 and kind.startswith("text/html")


def test_bodies_and_paths_that_are_none(odoo: SimulatedOdoo) -> None:
    assert ask(odoo, "/json/2/res.partner/search", b"{")[0] == 400
    assert ask(odoo, "/json/2/res.partner/search", [1])[0] == 422  # no arguments at all
    assert ask(odoo, "/json/2/res.partner/search", b"{}", **{"Content-Type": "text/plain"})[0] == 415
    for path in ("/json/2", "/json/2/res.partner", "/json/2/res.partner/search/more"):
        status, _, error = ask(odoo, path, {})
        assert (status, error["message"]) == (404, "Did you mean POST /json/2/<model>/<method>?")


def test_the_version_is_told_to_anybody(odoo: SimulatedOdoo) -> None:
    for path in ("/web/version", "/json/version"):
        status, _, told = ask(odoo, path, {}, key="", method="GET")
        assert (status, told["version"], told["version_info"][0]) == (200, "19.0", 19)
    with SimulatedOdoo(Database("sim", "18.0")) as older:
        assert ask(older, "/web/version", {}, method="GET")[0] == 404
        status, kind, _ = ask(older, "/json/2/res.partner/search", {"domain": []})
        assert status == 404 and kind.startswith("text/html")


def login(odoo: SimulatedOdoo) -> dict[str, Any]:
    params = {"service": "common", "method": "login", "args": ["sim", "svc_cdc", "svc_cdc"]}
    status, _, answer = ask(odoo, "/jsonrpc", {"jsonrpc": "2.0", "id": 1, "params": params})
    assert status == 200
    return dict(answer)


def test_json_rpc_is_deprecated_and_may_be_gone(
    odoo: SimulatedOdoo, caplog: pytest.LogCaptureFixture, company: Company
) -> None:
    assert login(odoo)["result"] and login(odoo)["result"]
    assert [record.levelname for record in caplog.records if "deprecated" in record.message] == ["WARNING"]
    with SimulatedOdoo(company.db, deprecated_services=False) as newer:
        error = login(newer)["error"]
        assert (error["code"], error["data"]["name"]) == (404, "werkzeug.exceptions.NotFound")
        version = {"service": "common", "method": "version", "args": []}
        assert ask(newer, "/jsonrpc", {"params": version})[2]["result"]["server_version"] == "19.0"


def test_connections_are_kept_when_asked_for(company: Company) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"bearer {SERVICE}"}
    with SimulatedOdoo(company.db, keep_alive=True) as odoo:
        connection = http.client.HTTPConnection(odoo.host, odoo.port, timeout=20)
        for _ in range(2):
            connection.request("POST", "/json/2/res.users/context_get", b"{}", headers)
            answer = connection.getresponse()
            assert answer.status == 200 and answer.read()
            assert answer.headers["Connection"] is None and connection.sock is not None
    # A connection that was kept ends with the server.
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        connection.request("POST", "/json/2/res.users/context_get", b"{}", headers)
        connection.getresponse()
    connection.close()
