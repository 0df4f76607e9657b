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
from finwatch.runtime.store import connect
from finwatch.sim import SimulatedOdoo, captured, customise
from finwatch.sim.store import Database
from producers.odoo.accounts import AccountHasher
from producers.odoo.configured import example
from tests.parts.pipeline import Command, Commands, wait_stored

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
AT = datetime(2026, 11, 22, 8, 0, 0, 250000, tzinfo=UTC)
KEY = "k" * 32


class Stack(NamedTuple):
    """A captured database and what the store says of it."""

    database: Database
    ask: Any
    capture: Any


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


@pytest.fixture(scope="module")
def stack(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("custom")
    database = captured("odoo18", data_dir)
    ids.update(fill(database))
    (folder / "custom.yaml").write_text(example())
    with (
        open_embedded(folder / "data", partitions=3) as (opened, settings),
        Commands(folder, opened.env()) as commands,
        SimulatedOdoo(database) as odoo,
    ):

        def capture(**given: str) -> Command:
            told = commands.run(
                *("capture", "--once", "--json"),
                seconds=240,
                odoo_url=odoo.url,
                odoo_database="sim",
                odoo_user="svc_cdc",
                odoo_password="svc_cdc",
                odoo_account_key=KEY,
                odoo_custom=str(folder / "custom.yaml"),
                **given,
            )
            wait_stored(commands, seconds=240)
            return told

        capture()
        client = connect(settings.clickhouse)
        yield Stack(database, lambda sql: [tuple(row) for row in client.query(sql).result_rows], capture)
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
