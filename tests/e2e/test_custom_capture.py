"""Custom fields and models, from a simulated Odoo to SQL on the embedded stack; a field more is a snapshot more.

Every process is the product's own command, the configuration is the one that `finwatch capture example` prints.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from finwatch.local.embedded import open_embedded
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.store import connect
from finwatch.sim import SimulatedOdoo, captured, customise
from finwatch.sim.store import Database
from producers.odoo.accounts import AccountHasher
from producers.odoo.configured import example
from tests.parts.pipeline import Command, Commands, wait_stored

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
AT = datetime(2026, 11, 21, 8, 0, 0, 250000, tzinfo=UTC)
KEY = "k" * 32


class Stack(NamedTuple):
    """A captured database and what the store says of it."""

    database: Database
    ask: Any
    capture: Any
    commands: Commands
    forget: Any


def fill(database: Database) -> dict[str, int]:
    """What an administrator's fields and models hold: ids by what they are."""
    customise(database)
    bill = min(i for i, row in database.tables["account.move"].rows.items() if row["move_type"] == "in_invoice")
    line = min(i for i, row in database.tables["account.move.line"].rows.items() if row["move_id"] == bill)
    with database.begin(AT) as tx:
        center = tx.create("x_cost_center", {"x_name": "North"})
        loan = tx.create(
            "x_loan",
            {"x_name": "Van", "x_company_id": 1, "x_partner_id": 7, "x_bill_id": bill, "x_state": "open"}
            | {"x_due": "2027-03-31", "x_amount": 12000.5, "x_currency_id": 1, "x_rate": 4.25}
            | {"x_signed_at": "2026-11-20 10:00:00.000000", "x_tag_ids": [center], "x_iban": "DE89370400440532013000"},
        )
        tx.create("x_loan_line", {"x_loan_id": loan, "x_due": "2027-01-31", "x_amount": 6000.25, "x_currency_id": 1})
        tx.write("account.move", bill, {"x_studio_cost_center": center, "x_studio_retention": 12.5})
        tx.write("account.move.line", line, {"x_studio_cost_center": center})
    return {"bill": bill, "line": line, "center": center, "loan": loan}


def environment(url: str, folder: Path) -> dict[str, str]:
    """The settings of every process."""
    return {
        "FINWATCH_ODOO_URL": url,
        "FINWATCH_ODOO_DATABASE": "sim",
        "FINWATCH_ODOO_USER": "svc_cdc",
        "FINWATCH_ODOO_PASSWORD": "svc_cdc",
        "FINWATCH_ODOO_ACCOUNT_KEY": KEY,
        "FINWATCH_ODOO_CUSTOM": str(folder / "custom.yaml"),
        "FINWATCH_RECONCILE_ROWS_PER_SECOND": "0",
    }


@pytest.fixture(scope="module")
def stack(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("custom")
    database = captured("odoo18", data_dir)
    ids.update(fill(database))
    (folder / "custom.yaml").write_text(example())
    with (
        open_embedded(folder / "data", partitions=3) as (opened, settings),
        SimulatedOdoo(database) as odoo,
        Commands(folder, opened.env() | environment(odoo.url, folder)) as commands,
    ):

        def capture(**given: str) -> Command:
            told = commands.run("capture", "--once", "--json", seconds=240, **given)
            wait_stored(commands, seconds=240)
            return told

        capture()
        client = connect(settings.clickhouse)

        def forget(key: str) -> None:
            """What the store loses."""
            lost = "ALTER TABLE document_states DELETE WHERE document_key = {k:String} SETTINGS mutations_sync=2"
            client.command(lost, {"k": key})

        def ask(sql: str) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in client.query(sql).result_rows]

        yield Stack(database, ask, capture, commands, forget)
        client.close()


ids: dict[str, int] = {}


def test_custom_fields_of_a_bill_and_of_its_lines_are_rows(stack: Stack) -> None:
    found = stack.ask(
        f"SELECT name, value FROM custom_fields WHERE document_key = 'odoo:bill:{ids['bill']}' AND value IS NOT NULL "
        "ORDER BY name"
    )
    assert dict(found) == {
        "cost_center": str(ids["center"]),
        "cost_center.name": "North",
        f"lines[{ids['line']}].cost_center": str(ids["center"]),
        "retention": "12.5",
        "retention.currency": "USD",
    }
    # Every document of the model has the field, empty or not; one of another model has none.
    assert stack.ask("SELECT count() FROM custom_fields WHERE name = 'approval_note'") == stack.ask(
        "SELECT count() FROM documents WHERE entity IN ('bill', 'invoice', 'entry') AND NOT transitions_only"
    )
    assert stack.ask("SELECT count() FROM custom_fields WHERE entity = 'vendor'") == [(0,)]


def test_a_custom_model_has_a_view(stack: Stack) -> None:
    columns = "document_key, kind, name, company_id, partner_id, state, date, amount, currency, parent_key"
    (row,) = stack.ask(f"SELECT {columns} FROM custom_records")
    key = f"odoo:custom_record:x_loan/{ids['loan']}"
    told = (key, "loan", "Van", "1", "7", "open", date(2027, 3, 31), Decimal("12000.5"), "USD")
    assert row == (*told, f"odoo:bill:{ids['bill']}")
    found = dict(stack.ask(f"SELECT name, value FROM custom_fields WHERE document_key = '{key}'"))
    assert found == {
        "rate": "4.25",
        "signed_at": "2026-11-20T10:00:00+00:00",
        "tags": str(ids["center"]),
        "borrower_account": AccountHasher(KEY.encode()).hash("DE89370400440532013000"),
    }
    ((lines,),) = stack.ask("SELECT lines FROM custom_records")
    (line,) = json.loads(lines)
    assert {one["name"]: one["value"] for one in line["custom"]} == {
        "due": "2027-01-31",
        "amount": "6000.25",
        "amount.currency": "USD",
    }


def test_the_queries_of_the_documents_answer(stack: Stack) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "custom-capture.md").read_text()
    (text,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    by_center, loans = (stack.ask(one) for one in text.split(";") if one.strip())
    assert [row[:2] for row in by_center if row[0] is not None] == [("North", 1)]
    assert [row[:2] for row in loans] == [("Van", "open")]


def test_a_bill_and_its_order_are_of_one_transaction(stack: Stack) -> None:
    found = stack.ask(
        "SELECT entity, count() FROM correlations "
        "WHERE startsWith(correlation_id, 'odoo:purchase_order:') GROUP BY entity"
    )
    assert {"purchase_order", "receipt", "bill", "payment"} <= {entity for entity, _ in found}


def test_what_is_switched_off_is_not_captured(stack: Stack) -> None:
    assert stack.ask("SELECT count() FROM leads") == [(0,)]
    assert stack.ask("SELECT count() > 0 FROM sale_orders") == [(True,)]


def test_no_account_number_reaches_the_log(stack: Stack) -> None:
    assert stack.ask("SELECT count() FROM raw_log WHERE position(value, '0532013000') > 0") == [(0,)]


def reconcile(stack: Stack, *options: str, code: int = ExitCode.OK) -> dict[str, Any]:
    told = stack.commands.run("reconcile", "--json", "--ids", "--model", "x_loan", *options, code=code)
    answer: dict[str, Any] = json.loads(told.out.read_text())
    return answer


def differences(answer: dict[str, Any]) -> dict[str, tuple[str, list[str]]]:
    return {
        one["document_key"]: (one["kind"], one["columns"]) for group in answer["groups"] for one in group["differences"]
    }


def test_custom_models_and_fields_are_reconciled_as_the_others_are(stack: Stack) -> None:
    database = stack.database
    assert reconcile(stack, "--lines")["equal"]
    with database.begin(AT) as tx:
        lent = {"x_company_id": 1, "x_due": "2027-03-31", "x_currency_id": 1, "x_state": "open", "x_rate": 1.5}
        new = [tx.create("x_loan", lent | {"x_name": f"Car {number}", "x_amount": 100.0}) for number in (1, 2, 3)]
    key = "odoo:custom_record:x_loan/"
    # Nobody captures just now: they are missing, by company and month of their own date, with their sums.
    found = reconcile(stack, code=ExitCode.DRIFT)
    assert differences(found) == {f"{key}{number}": ("missing", []) for number in new}
    [group] = found["groups"]
    told = (group["model"], group["entity"], group["company"], group["period"])
    assert told == ("x_loan", "custom_record", "1", "2027-03")
    assert (group["source"]["count"], group["source"]["sums"]) == (4, {"USD": "12300.500000"})
    assert (group["store"]["count"], group["store"]["sums"]) == (1, {"USD": "12000.500000"})
    assert reconcile(stack, "--repair", "--lines")["equal"]

    # Changed behind the capture's back, in a column and in a custom field; lost by the store; deleted.
    with database.begin() as tx:
        tx.raw("x_loan", new[0], {"x_amount": 150.0, "x_rate": 2.5})
        tx.unlink("x_loan", new[2])
    stack.forget(f"{key}{new[1]}")
    found = reconcile(stack, "--publish", code=ExitCode.DRIFT)
    assert differences(found) == {
        f"{key}{new[0]}": ("changed", ["amount", "custom.rate"]),
        f"{key}{new[1]}": ("missing", []),
        f"{key}{new[2]}": ("gone", []),
    }
    wait_stored(stack.commands)
    asked = "SELECT status, arraySort(document_keys) FROM findings WHERE entity = 'custom_record'"
    assert stack.ask(asked) == [("open", [f"{key}{number}" for number in new])]
    repaired = reconcile(stack, "--repair", "--publish")
    assert repaired["equal"]
    assert repaired["repaired"]["models"] == {"x_loan": {"states": 2, "deletions": 1}}
    wait_stored(stack.commands)
    assert [row[0] for row in stack.ask(asked)] == ["retracted"]
    assert stack.ask(f"SELECT amount, deleted FROM custom_records WHERE document_key = '{key}{new[0]}'") == [
        (Decimal(150), False)
    ]
    assert stack.ask(f"SELECT deleted FROM custom_records WHERE document_key = '{key}{new[2]}'") == [(True,)]


def test_a_custom_field_is_compared_without_its_lines_and_a_renamed_record_is_no_drift(stack: Stack) -> None:
    with stack.database.begin() as tx:
        tx.raw("account.move", ids["bill"], {"x_studio_retention": 99.0})
        tx.raw("x_cost_center", ids["center"], {"x_name": "South"})
    told = stack.commands.run("reconcile", "--json", "--ids", "--model", "bill", code=ExitCode.DRIFT)
    assert differences(json.loads(told.out.read_text())) == {
        f"odoo:bill:{ids['bill']}": ("changed", ["custom.retention"])
    }
