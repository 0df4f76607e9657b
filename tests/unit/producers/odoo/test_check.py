"""What doctor says about an Odoo."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from finwatch.runtime.config import ConfigError, OdooSettings, load_settings
from finwatch.sim import Company, SimulatedOdoo
from producers.odoo.check import check
from producers.odoo.errors import AccessDenied, AccessRefused, Unavailable
from producers.odoo.run import capture_settings
from tests.unit.producers.odoo.fakes import FakeOdoo

GOOD = {"url": "http://erp", "database": "fin", "user": "svc", "password": "p", "account_key": "k" * 32}


def settings(**given: Any) -> OdooSettings:
    return OdooSettings(**(GOOD | given))


def results(odoo: FakeOdoo, **given: Any) -> dict[str, tuple[str, str, str]]:
    return {name: (status, found, todo) for name, status, found, todo in check(settings(**given), odoo)}


def test_each_model_is_said_to_be_readable_refused_or_absent() -> None:
    odoo = FakeOdoo(datetime.now(UTC))
    odoo.fields["purchase.order"] = ("name",)
    odoo.failures["purchase.order"] = AccessRefused("search_read on purchase.order")
    found = results(odoo)
    assert found["res.partner"][0] == "ok"
    assert found["purchase.order"][0] == "failed" and "purchase approvals" in found["purchase.order"][2]
    assert found["stock.picking"][0] == "skipped"
    assert found["login"][0] == found["version"][0] == found["clock"][0] == found["account key"][0] == "ok"


def test_what_is_wrong_comes_with_what_to_do() -> None:
    odoo = FakeOdoo(datetime.now(UTC) - timedelta(minutes=5))
    odoo.major = 16
    found = results(odoo, overlap=60, account_key="tiny-key")
    for name in ("clock", "version", "overlap"):
        assert found[name][0] == "warning" and found[name][2]
    assert found["account key"][0] == "failed"
    assert "tiny-key" not in found["account key"][1]


def test_the_transport_is_told_and_an_old_one_on_a_new_server_is_warned_of() -> None:
    odoo = FakeOdoo(datetime.now(UTC))
    assert results(odoo)["transport"][:2] == ("ok", "memory")
    odoo.major, odoo.api = 19, "JSON-RPC (/jsonrpc)"
    status, found, what_to_do = results(odoo)["transport"]
    assert status == "warning" and "JSON-RPC" in found and "FINWATCH_ODOO_TRANSPORT" in what_to_do


@pytest.mark.parametrize(
    ("version", "access", "api"),
    [
        ("18.0", {"user": "svc_cdc", "password": "svc_cdc"}, "JSON-RPC"),
        ("19.0", {"user": "", "password": "", "api_key": "c" * 40}, "JSON-2"),
    ],
)
def test_an_odoo_of_each_api_passes(version: str, access: dict[str, str], api: str) -> None:
    company = Company(seed=2, weeks=1, scale=0.1, version=version)
    company.advance(company.start)
    company.db.clock = lambda: datetime.now(UTC)
    with SimulatedOdoo(company.db) as odoo:
        given = settings(url=odoo.url, database=company.db.name, **access)
        found = {name: (status, told) for name, status, told, _ in check(given)}
    assert found["transport"][0] == "ok" and found["transport"][1].startswith(api)
    assert found["version"] == ("ok", version.removesuffix(".0"))
    assert {status for status, _ in found.values()} <= {"ok", "skipped"}
    expenses = {name for name, (status, _) in found.items() if name.startswith("hr.expense") and status == "ok"}
    assert expenses == ({"hr.expense"} if version == "19.0" else {"hr.expense", "hr.expense.sheet"})


@pytest.mark.parametrize("failure", [AccessDenied("log in: Odoo does not accept this login"), Unavailable("no answer")])
def test_a_login_that_fails_ends_the_check(failure: Exception) -> None:
    class Closed(FakeOdoo):
        def version(self) -> int:
            raise failure

    found = results(Closed(datetime.now(UTC)))
    assert list(found) == ["account key", "overlap", "login"]
    assert found["login"][0] == "failed" and "FINWATCH_ODOO_" in found["login"][2]


@pytest.mark.parametrize("name", ["url", "database", "user", "password"])
def test_what_is_not_set_is_named(name: str) -> None:
    last = list(check(settings(**{name: ""})))[-1]
    assert last[1] == "failed" and f"FINWATCH_ODOO_{name.upper()}" in last[2]


def test_a_capture_without_a_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="ACCOUNT_KEY"):
        capture_settings(load_settings(odoo=settings(account_key="short")))
    made = capture_settings(load_settings(odoo=settings(overlap=200, page_size=7)))
    assert (made.overlap, made.page_size, made.account_key) == (timedelta(seconds=200), 7, b"k" * 32)
    assert "kkkk" not in repr(made)


def test_what_is_configured_is_looked_for_and_what_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "custom.yaml").write_text(
        "version: 1\nsources:\n  odoo:\n    without: [purchase.order]\n    fields:\n      res.partner:\n"
        "        region: {field: x_region, type: char}\n        tier: {field: x_tier, type: integer}\n"
        "        gone: {field: x_gone, type: char}\n"
        "    models:\n      x_loan: {kind: loan, name: x_name}\n      x_absent: {kind: absent}\n"
    )
    odoo = FakeOdoo(datetime.now(UTC))
    odoo.fields |= {"res.partner": ("name", "x_region", "x_tier"), "x_loan": ("x_name",), "purchase.order": ("name",)}
    odoo.tables["x_loan"] = {}
    found: dict[str, list[tuple[str, str]]] = {}
    for name, status, said, _ in check(settings(custom=tmp_path / "custom.yaml"), odoo):
        found.setdefault(name, []).append((status, said))
    assert [status for status, _ in found["res.partner as configured"]] == ["failed", "failed"]
    told = " ".join(said for _, said in found["res.partner as configured"])
    assert "x_tier is of type char, configured as integer" in told and "no field x_gone" in told
    assert found["x_loan as configured"][0][0] == "ok"
    assert found["x_absent"] == [("failed", "configured, and not there")]
    assert "purchase.order" not in found
    (tmp_path / "custom.yaml").write_text("version: 2")
    assert results(odoo, custom=tmp_path / "custom.yaml")["custom fields and models"][0] == "failed"
