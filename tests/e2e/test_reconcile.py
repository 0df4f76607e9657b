"""What is lost in the store, changed behind the capture's back or deleted: found, named, repaired, and taken back.

Simulated Odoo with the rows of a real server, the embedded stack, and the product's own commands.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from finwatch.local.embedded import open_embedded
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.store import connect
from finwatch.sim import Database, SimulatedOdoo, captured
from tests.parts.environment import free_port
from tests.parts.pipeline import Commands, eventually, wait_stored

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SOURCE = "odoo18"


@pytest.fixture(scope="module")
def world(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Commands, Client, Database]]:
    """A captured Odoo, whole in the store."""
    folder = tmp_path_factory.mktemp("reconcile")
    db = captured(SOURCE, data_dir)
    with SimulatedOdoo(db) as odoo, open_embedded(folder / "data", partitions=2) as (stack, settings):
        environment = {
            **stack.env(),
            "FINWATCH_ODOO_URL": odoo.url,
            "FINWATCH_ODOO_DATABASE": "sim",
            "FINWATCH_ODOO_USER": "svc_cdc",
            "FINWATCH_ODOO_PASSWORD": "svc_cdc",
            "FINWATCH_ODOO_SOURCE": SOURCE,
            "FINWATCH_ODOO_ACCOUNT_KEY": "k" * 32,
            "FINWATCH_RECONCILE_ROWS_PER_SECOND": "0",
        }
        with Commands(folder, environment) as commands:
            commands.run("capture", "--once")
            wait_stored(commands)
            client = connect(settings.clickhouse)
            yield commands, client, db
            client.close()


def reconcile(commands: Commands, *options: str, code: int = ExitCode.OK) -> dict[str, Any]:
    told = commands.run("reconcile", "--json", "--ids", *options, code=code)
    answer: dict[str, Any] = json.loads(told.out.read_text())
    return answer


def differences(answer: dict[str, Any]) -> dict[str, tuple[str, list[str]]]:
    return {
        one["document_key"]: (one["kind"], one["columns"]) for group in answer["groups"] for one in group["differences"]
    }


def raw(db: Database, model: str, record_id: int, **values: Any) -> None:
    """What plain SQL does to a row: no stamp moves."""
    with db.begin() as tx:
        tx.raw(model, record_id, values)


def test_drift_is_found_drilled_down_repaired_and_its_findings_retracted(
    world: tuple[Commands, Client, Database],
) -> None:
    commands, client, db = world
    # Equal at first, lines included, in every model that was captured.
    answer = reconcile(commands, "--lines")
    assert answer["equal"] and answer["drift"] == 0 and not answer["unreadable"]
    assert sum(group["source"]["count"] for group in answer["groups"]) > 800
    assert all(group["source"] == group["store"] for group in answer["groups"])

    # 1. Rows that the store loses.
    old = "source_write_date < (SELECT max(source_write_date) FROM documents) - INTERVAL 10 MINUTE"
    bills = [
        row[0]
        for row in client.query(
            f"SELECT document_key FROM documents WHERE entity = 'bill' AND state = 'posted' AND {old} "
            "ORDER BY document_key LIMIT 3"
        ).result_rows
    ]
    lost, changed = bills[:2], bills[2]
    client.command(
        f"ALTER TABLE document_states DELETE WHERE document_key IN ('{lost[0]}', '{lost[1]}') SETTINGS mutations_sync=2"
    )
    # 2. A change behind the capture's back; 3. a deletion that no sweep has noticed.
    number = int(changed.rpartition(":")[2])
    amount = db.tables["account.move"].rows[number]["amount_total"]
    raw(db, "account.move", number, amount_total=amount + 1000)
    gone = client.query(f"SELECT document_key FROM documents WHERE entity = 'bank_account' AND {old} LIMIT 1")
    account = str(gone.result_rows[0][0])
    with db.begin() as tx:
        tx.unlink("res.partner.bank", int(account.rpartition(":")[2]))

    expected = {
        lost[0]: ("missing", []),
        lost[1]: ("missing", []),
        changed: ("changed", ["amount_total"]),
        account: ("gone", []),
    }
    found = reconcile(commands, "--publish", code=ExitCode.DRIFT)
    assert differences(found) == expected
    assert found["drift"] == 4
    # Down to one month of one entity: the same, and nothing of the others.
    period = next(group["period"] for group in found["groups"] if group["differences"] and group["entity"] == "bill")
    narrowed = reconcile(commands, "--model", "bill", "--period", period, code=ExitCode.DRIFT)
    assert differences(narrowed).items() <= expected.items()
    assert {(group["entity"], group["period"]) for group in narrowed["groups"]} == {("bill", period)}
    wait_stored(commands)
    opened = client.query(
        "SELECT entity, status, document_keys FROM findings WHERE detector = 'reconciliation' ORDER BY entity"
    ).result_rows
    assert {row[1] for row in opened} == {"open"}
    assert sorted(key for row in opened for key in row[2]) == sorted(expected)

    # Repaired: the store has them again, and the findings are taken back.
    repaired = reconcile(commands, "--repair", "--publish")
    assert repaired["equal"]
    done = repaired["repaired"]
    assert (done["by"], done["shown"]) == ("this command", True)  # nobody captures the source just now
    assert sum(one["states"] for one in done["models"].values()) == 3
    assert sum(one["deletions"] for one in done["models"].values()) == 1
    wait_stored(commands)
    closed = client.query("SELECT status, version FROM findings WHERE detector = 'reconciliation'").result_rows
    assert {tuple(row) for row in closed} == {("retracted", 2)} and len(closed) == len(opened)
    assert client.query(
        f"SELECT toFloat64(amount_total) FROM documents WHERE document_key = '{changed}'"
    ).result_rows == [(pytest.approx(amount + 1000),)]
    assert client.query(f"SELECT deleted FROM documents WHERE document_key = '{account}'").result_rows == [(True,)]
    # What was published again is the same event: the log has each id once.
    assert client.query(
        "SELECT count() FROM (SELECT event_id FROM events GROUP BY event_id HAVING count() > 1)"
    ).result_rows == [(0,)]


def test_a_change_of_a_line_alone_shows_when_lines_are_compared(world: tuple[Commands, Client, Database]) -> None:
    commands, _client, db = world
    line = next(
        row
        for row in db.tables["account.move.line"].rows.values()
        if row["display_type"] == "product"
        and db.tables["account.move"].rows[row["move_id"]]["move_type"] == "in_invoice"
    )
    raw(db, "account.move.line", line["id"], price_unit=line["price_unit"] + 1)
    assert reconcile(commands, "--model", "bill")["equal"]
    key = f"{SOURCE}:bill:{line['move_id']}"
    found = reconcile(commands, "--model", "bill", "--lines", code=ExitCode.DRIFT)
    assert differences(found) == {key: ("changed", ["lines"])}
    assert reconcile(commands, "--model", "bill", "--lines", "--repair")["equal"]


def test_a_record_that_the_store_holds_for_deleted_comes_back(world: tuple[Commands, Client, Database]) -> None:
    commands, client, db = world
    bank = db.tables["res.partner.bank"]
    account = min(bank.rows)
    row = dict(bank.rows[account])
    with db.begin() as tx:
        tx.unlink("res.partner.bank", account)
    assert reconcile(commands, "--model", "bank_account", "--repair")["equal"]
    with db.lock:
        bank.put(row)  # a backup of the source is played back: the same row, with its old stamp
    found = reconcile(commands, "--model", "bank_account", code=ExitCode.DRIFT)
    assert differences(found) == {f"{SOURCE}:bank_account:{account}": ("missing", [])}
    assert reconcile(commands, "--model", "bank_account", "--repair")["equal"]
    rows = client.query(f"SELECT deleted FROM documents WHERE document_key = '{SOURCE}:bank_account:{account}'")
    assert rows.result_rows == [(False,)]


def test_the_running_producer_is_asked(world: tuple[Commands, Client, Database]) -> None:
    commands, client, db = world
    producer = commands.start("capture", odoo_poll_interval="300")
    eventually(lambda: any(line["event"] == "streaming" for line in producer.lines()), why=producer.said)
    wait_stored(commands)
    old = "source_write_date < (SELECT max(source_write_date) FROM documents) - INTERVAL 10 MINUTE"
    [[lost], [gone]] = client.query(
        f"SELECT document_key FROM documents WHERE entity = 'bank_account' AND NOT deleted AND {old} "
        "ORDER BY record_id DESC LIMIT 2"
    ).result_rows
    client.command(f"ALTER TABLE document_states DELETE WHERE document_key = '{lost}' SETTINGS mutations_sync=2")
    with db.begin() as tx:
        tx.unlink("res.partner.bank", int(gone.rpartition(":")[2]))
    repaired = reconcile(commands, "--model", "bank_account", "--repair", "--publish")
    assert repaired["equal"]
    assert repaired["repaired"] == {
        "by": "the running producer",
        "shown": True,
        "models": {"res.partner.bank": {"states": 1, "deletions": 1}},
    }
    assert producer.running and producer.stop() == ExitCode.OK


def test_a_process_of_its_own_tells_drift_as_a_metric_and_as_a_finding(
    world: tuple[Commands, Client, Database],
) -> None:
    commands, client, _db = world
    port = free_port()
    running = commands.start("reconcile", "--every", "1s", "--model", "payment", http_port=str(port))

    def figure(name: str) -> float | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return None
        found = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(name)]
        return float(found[0]) if found else None

    drift = f'finwatch_reconcile_drift{{company="1",entity="payment",kind="missing",source="{SOURCE}"}}'
    equal = f'finwatch_reconcile_runs_total{{outcome="equal",source="{SOURCE}"}}'
    eventually(lambda: (figure(equal) or 0) >= 1, why=running.said)
    assert figure(drift) == 0
    status = "SELECT status FROM findings WHERE detector = 'reconciliation' AND entity = 'payment'"
    assert client.query(status).result_rows == []
    [[key]] = client.query("SELECT document_key FROM documents WHERE entity = 'payment' LIMIT 1").result_rows
    rows = client.query("SELECT * EXCEPT version FROM document_states WHERE document_key = {k:String}", {"k": key})
    client.command(f"ALTER TABLE document_states DELETE WHERE document_key = '{key}' SETTINGS mutations_sync=2")
    eventually(lambda: figure(drift) == 1, why=running.said)
    eventually(lambda: client.query(status).result_rows == [("open",)], why=running.said)
    client.insert("document_states", rows.result_rows, column_names=rows.column_names)
    eventually(lambda: figure(drift) == 0, why=running.said)
    eventually(lambda: client.query(status).result_rows == [("retracted",)], why=running.said)
    assert running.stop() == ExitCode.OK, running.said()


def test_a_wrong_name_or_month_is_refused_with_what_there_is(world: tuple[Commands, Client, Database]) -> None:
    commands, _client, _db = world
    assert "account.move" in commands.run("reconcile", "--model", "invoices", code=ExitCode.USAGE).said()
    assert "2026-10" in commands.run("reconcile", "--period", "2026-13", code=ExitCode.USAGE).said()
    assert "1h" in commands.run("reconcile", "--every", "often", code=ExitCode.USAGE).said()


def test_what_the_tracking_log_says_and_the_store_lacks_is_found_and_comes_back(
    world: tuple[Commands, Client, Database],
) -> None:
    commands, client, _db = world
    answer = reconcile(commands, "--log", "--model", "purchase_order")
    assert answer["equal"] and answer["log_missing"] == 0
    assert sum(group["source"] for group in answer["log"]) > 20
    assert all(group["source"] == group["store"] for group in answer["log"])
    told = "entity = 'purchase_order' AND startsWith(ifNull(transaction_hint, ''), 'message:')"
    [[key, hint]] = client.query(
        f"SELECT document_key, transaction_hint FROM events WHERE {told} ORDER BY document_key LIMIT 1"
    ).result_rows
    lost = f"document_key = '{key}' AND transaction_hint = '{hint}'"
    client.command(f"ALTER TABLE event_log DELETE WHERE {lost} SETTINGS mutations_sync=2")
    found = reconcile(commands, "--log", "--model", "purchase_order", "--publish", code=ExitCode.DRIFT)
    assert found["drift"] == 0 and found["log_missing"] >= 1
    [group] = [one for one in found["log"] if one["missing"]]
    assert group["records"] == [int(key.rpartition(":")[2])]
    # It is a finding, with what to look at, and honest about the log not being what it was made from.
    wait_stored(commands)
    rule = "rule = 'store_lacks_logged_changes'"
    about = client.query(f"SELECT finding_id, status, document_keys, owner FROM findings WHERE {rule}").result_rows
    [(finding, status, keys, owner)] = about
    assert (status, list(keys)) == ("open", [key]) and owner
    told = json.loads(commands.run("explain", finding, "--json").out.read_text())
    assert "reconcile --log" in told["recomputed"]["not_from_the_log"]
    assert told["evidence"] and {one["document_key"] for one in told["evidence"]} == {key}
    # Not asked for: not read, and nothing said of it is taken back.
    assert not reconcile(commands, "--model", "purchase_order", "--publish")["log"]
    assert reconcile(commands, "--log", "--model", "purchase_order", "--repair", "--publish")["equal"]
    wait_stored(commands)
    assert client.query(f"SELECT status, version FROM findings WHERE {rule}").result_rows == [("retracted", 2)]
    assert client.query(f"SELECT count() FROM events WHERE {lost}").result_rows[0][0] == found["log_missing"]
