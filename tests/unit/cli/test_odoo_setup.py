"""The account that `finwatch odoo setup` makes reads everything and writes nothing; what is missing is named."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from finwatch.cli.app import app
from finwatch.cli.odoo_account import FLAGS, GROUP, Administrator, There, plan
from finwatch.cli.output import Failed
from finwatch.runtime.config import OdooSettings
from finwatch.sim import Database, SimulatedOdoo, captured
from producers.odoo.check import check
from producers.odoo.errors import AccessDenied, AccessRefused
from producers.odoo.rights import rights
from producers.odoo.transport import OdooRpcTransport

ROOT = Path(__file__).resolve().parents[3]
LOGIN, PASSWORD = "finwatch", "a-long-password-of-its-own"
MODELS = [right.model for right in rights()]


@pytest.fixture(scope="module", params=["odoo17", "odoo18"])
def server(request: pytest.FixtureRequest, data_dir: Path) -> Iterator[SimulatedOdoo]:
    with SimulatedOdoo(captured(request.param, data_dir)) as odoo:
        yield odoo


@pytest.fixture
def settings(server: SimulatedOdoo) -> OdooSettings:
    return OdooSettings(url=server.url, database="sim", user=LOGIN, password=PASSWORD, account_key="k" * 32)  # type: ignore[arg-type]


@pytest.fixture
def administrator(settings: OdooSettings) -> Iterator[Administrator]:
    found = Administrator.of(settings, "admin", "admin")
    yield found
    found.close()


@pytest.fixture
def account(settings: OdooSettings, administrator: Administrator) -> Iterator[OdooRpcTransport]:
    """The account, made or mended."""
    there = administrator.there(MODELS, LOGIN)
    administrator.take(list(plan(there, MODELS, LOGIN)), there.group, PASSWORD)
    transport = OdooRpcTransport(settings.url, "sim", LOGIN, PASSWORD)
    yield transport
    transport.close()


def results(settings: OdooSettings, transport: OdooRpcTransport) -> dict[str, tuple[str, str, str]]:
    return {name: (status, found, todo) for name, status, found, todo in check(settings, transport)}


def of_model(db: Database, kind: str, model: str) -> dict[str, Any]:
    """The right or rule of the made group on a model."""
    number = next(row["id"] for row in db.tables["ir.model"].rows.values() if row.get("model") == model)
    return next(
        row
        for row in db.tables[kind].rows.values()
        if row["model_id"] == number and str(row["name"]).startswith("finwatch reads")
    )


def test_it_reads_what_an_administrator_reads_and_writes_nothing(
    server: SimulatedOdoo, account: OdooRpcTransport, administrator: Administrator
) -> None:
    everything = {"active_test": False}
    for model in MODELS:
        if model in server.db.tables:
            mine = account.search_count(model, [], context=everything)
            assert mine == administrator.search_count(model, [], context=everything), model
    move = account.search("account.move", [], limit=1)[0]
    before = server.db.commits
    for method, arguments in (("write", [[move], {"ref": "x"}]), ("unlink", [[move]]), ("create", [{"ref": "x"}])):
        with pytest.raises(AccessRefused):
            account._call("account.move", method, arguments, {})
    assert server.db.commits == before


def test_run_again_it_finds_everything_there_and_gives_no_password_away(
    server: SimulatedOdoo, account: OdooRpcTransport, administrator: Administrator
) -> None:
    steps = list(plan(administrator.there(MODELS, LOGIN), MODELS, LOGIN))
    assert {step.what for step in steps} <= {"keep", "skip"}
    assert account.version()  # the password still works
    uid = next(row["id"] for row in server.db.tables["res.users"].rows.values() if row["login"] == LOGIN)
    assert "password" not in server.db.tables["res.users"].rows[uid]
    with pytest.raises(AccessDenied):
        OdooRpcTransport(server.url, "sim", LOGIN, "wrong").version()


@pytest.mark.parametrize("model", ["mail.tracking.value", "res.partner.bank", "account.move.line"])
def test_a_right_that_is_taken_away_is_named_with_what_is_not_seen(
    server: SimulatedOdoo, settings: OdooSettings, account: OdooRpcTransport, administrator: Administrator, model: str
) -> None:
    told = results(settings, account)
    assert {name for name, (status, _, _) in told.items() if status == "failed"} == set()
    server.db.tables["ir.model.access"].drop(of_model(server.db, "ir.model.access", model)["id"])
    told = results(settings, account)
    assert {name for name, (status, _, _) in told.items() if status == "failed"} == {model}
    without = next(right.without for right in rights() if right.model == model)
    assert without in told[model][2] and "finwatch odoo setup" in told[model][2]
    [step] = [one for one in plan(administrator.there(MODELS, LOGIN), MODELS, LOGIN) if one.what == "create"]
    assert step.right == model


def test_without_its_rule_expenses_of_others_are_absent_without_a_word(
    server: SimulatedOdoo, settings: OdooSettings, account: OdooRpcTransport
) -> None:
    rule = of_model(server.db, "ir.rule", "hr.expense")
    server.db.tables["ir.rule"].drop(rule["id"])
    assert account.search_count("hr.expense", []) == 0
    assert "hidden by a record rule" in results(settings, account)["hr.expense"][1]
    with pytest.raises(AccessRefused):
        account._call("hr.expense", "read", [[min(server.db.tables["hr.expense"].rows)], ["name"]], {})
    server.db.tables["ir.rule"].put(rule)
    assert account.search_count("hr.expense", []) == len(server.db.tables["hr.expense"].rows)


def test_a_right_to_write_is_warned_of_and_taken_away_again(
    server: SimulatedOdoo, settings: OdooSettings, account: OdooRpcTransport, administrator: Administrator
) -> None:
    assert results(settings, account)["writes"][0] == "ok"
    access = server.db.tables["ir.model.access"]
    access.put(of_model(server.db, "ir.model.access", "account.move") | {"perm_write": True})
    status, found, _ = results(settings, account)["writes"]
    assert status == "warning" and "account.move (write)" in found
    there = administrator.there(MODELS, LOGIN)
    [step] = [one for one in plan(there, MODELS, LOGIN) if one.what == "change"]
    administrator.take([step], there.group, PASSWORD)
    row = of_model(server.db, "ir.model.access", "account.move")
    assert [row[flag] for flag in FLAGS] == [True, False, False, False]


def test_a_company_that_is_not_the_accounts_is_warned_of(
    server: SimulatedOdoo, settings: OdooSettings, account: OdooRpcTransport, administrator: Administrator
) -> None:
    companies = sorted(server.db.tables["res.company"].rows)
    if len(companies) < 2:
        companies.append(server.db.tables["res.company"].next_id())
        server.db.tables["res.company"].put(
            dict(server.db.tables["res.company"].rows[companies[0]]) | {"id": companies[-1]}
        )
    users = server.db.tables["res.users"]
    uid = next(row["id"] for row in users.rows.values() if row["login"] == LOGIN)
    users.put(users.rows[uid] | {"company_ids": companies[1:]})
    status, found, _ = results(settings, account)["companies"]
    assert status == "warning" and f"1 of {len(companies)}" in found
    of_first = sum(row["company_id"] == companies[0] for row in server.db.tables["account.move"].rows.values())
    assert (
        of_first and account.search_count("account.move", []) == len(server.db.tables["account.move"].rows) - of_first
    )
    there = administrator.there(MODELS, LOGIN)
    administrator.take(list(plan(there, MODELS, LOGIN)), there.group, PASSWORD)
    assert results(settings, account)["companies"][0] == "ok"


# -- the command


@pytest.fixture
def environment(server: SimulatedOdoo, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "URL": server.url,
        "DATABASE": "sim",
        "USER": "finwatch_two",
        "PASSWORD": PASSWORD,
        "ACCOUNT_KEY": "k" * 32,
        "ADMIN_USER": "admin",
        "ADMIN_PASSWORD": "admin",
    }.items():
        monkeypatch.setenv(f"FINWATCH_ODOO_{name}", value)


def test_a_dry_run_changes_nothing_and_the_real_one_ends_with_every_right_tried(
    server: SimulatedOdoo, environment: None
) -> None:
    before = server.db.commits
    told = CliRunner().invoke(app, ["odoo", "setup", "--dry-run", "--json"])
    assert told.exit_code == 0 and server.db.commits == before
    steps = json.loads(told.stdout)["steps"]
    assert any(step["about"].startswith("user finwatch_two") and step["what"] == "create" for step in steps)
    told = CliRunner().invoke(app, ["odoo", "setup", "--json"])
    assert told.exit_code == 0, told.output
    answer = json.loads(told.stdout)
    assert {one["check"] for one in answer["checks"]} >= {"account.move", "mail.tracking.value", "writes", "companies"}
    assert PASSWORD not in told.output
    again = CliRunner().invoke(app, ["odoo", "setup"])
    assert again.exit_code == 0 and "all there already" in again.output


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PASSWORD", "short", "12 characters"),
        ("USER", "admin", "one login"),
        ("ADMIN_PASSWORD", "", "nobody to ask"),
        ("DATABASE", "", "FINWATCH_ODOO_DATABASE"),
    ],
)
def test_what_cannot_be_set_up_is_said_before_anything_is_done(
    server: SimulatedOdoo, environment: None, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"FINWATCH_ODOO_{name}", value)
    before = server.db.commits
    told = CliRunner().invoke(app, ["odoo", "setup"])
    assert isinstance(told.exception, Failed) and said in str(told.exception)
    assert server.db.commits == before


def test_a_login_that_is_no_administrators_is_refused(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINWATCH_ODOO_ADMIN_USER", "auditor")
    monkeypatch.setenv("FINWATCH_ODOO_ADMIN_PASSWORD", "auditor")
    told = CliRunner().invoke(app, ["odoo", "setup"])
    assert isinstance(told.exception, Failed) and "administrator" in told.exception.what_to_do


def test_odoo_19_is_given_its_own_name_of_the_groups() -> None:
    there = There(19, 1, {}, (1,))
    [*_, user] = plan(there, [], LOGIN)
    assert "group_ids" in user.values and "groups_id" not in user.values
    assert GROUP in next(iter(plan(there, [], LOGIN))).about


def test_the_try_out_odoo_gives_the_same_rights() -> None:
    """deploy/odoo/users.py runs inside Odoo, where finwatch is not installed: its list is its own."""
    tree = ast.parse((ROOT / "deploy" / "odoo" / "users.py").read_text(encoding="utf-8"))
    listed = next(
        {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "MODELS"
    )
    assert set(MODELS) <= listed
