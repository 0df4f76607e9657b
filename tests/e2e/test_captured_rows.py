"""Rows of real Odoo servers, through the whole path to SQL: simulated Odoo, odoorpc, broker, streams, sink, store.

Every process is the product's own command. What is expected is computed here from the captured rows alone, by Odoo's
rules, never by the product's code.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from finwatch.local.embedded import open_embedded
from finwatch.sim import SimulatedOdoo, captured
from tests.parts.kafka import Kafka
from tests.parts.pipeline import Commands, StoreServer, new_topics, wait_stored

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PARTITIONS = 3
SERVERS = ("odoo17", "odoo18")
"""Also the names of the sources: one store holds both, told apart by the source in each key."""
Ask = Callable[[str], list[tuple[Any, ...]]]
Rows = Callable[[str], list[dict[str, Any]]]


def capture_all(commands: Commands, data_dir: Path) -> None:
    """Capture both servers' rows, one process each, and wait until all of it is stored."""
    for server in SERVERS:
        with SimulatedOdoo(captured(server, data_dir)) as odoo:
            told = commands.run(
                "capture",
                "--once",
                "--json",
                seconds=240,
                odoo_url=odoo.url,
                odoo_database="sim",
                odoo_user="svc_cdc",
                odoo_password="svc_cdc",
                odoo_source=server,
                odoo_account_key="k" * 32,
            )
        assert json.loads(told.out.read_text())["events"] > 500
    wait_stored(commands, seconds=240)


@pytest.fixture(scope="module", params=[pytest.param("kafka", marks=pytest.mark.broker), "embedded"])
def ask(request: pytest.FixtureRequest, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """SQL on the store behind a real broker, or behind the embedded stack, once both servers' rows are in it."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "embedded":
        with open_embedded(folder / "data", partitions=PARTITIONS) as (stack, settings):
            with Commands(folder, stack.env()) as commands:
                capture_all(commands, data_dir)
            from finwatch.runtime.store import connect

            client = connect(settings.clickhouse)
            yield lambda sql: [tuple(row) for row in client.query(sql).result_rows]
            client.close()
        return
    kafka: Kafka = request.getfixturevalue("kafka")
    store = StoreServer(folder)
    store.start()
    try:
        environment = new_topics(kafka.bootstrap, PARTITIONS) | store.environment()
        with Commands(folder, environment) as commands:
            commands.run("store", "migrate")
            commands.start("sink", "clickhouse")
            commands.start("stream", "documents", "relations")
            capture_all(commands, data_dir)
            yield store.ask
            for command in commands.started:
                assert command.stop() == 0, command.said()[-2000:]
                assert "Traceback" not in command.said()
    finally:
        store.stop()


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def rows(server: str, data_dir: Path) -> Rows:
    """The captured rows of a model, as the real server sent them."""
    return lambda model: _rows(data_dir / server / f"{model}.json.gz")


@cache
def _rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        found: list[dict[str, Any]] = json.load(file)
    return found


def pointed_at(rows: Rows, folder: Path, relation: str) -> set[int]:
    """Ids that many2one fields of all captured rows hold of a model."""
    models = json.loads((folder / "meta.json").read_text())["models"]
    return {
        row[name][0]
        for model, told in models.items()
        for name, field in told["fields"].items()
        if field["type"] == "many2one" and field.get("relation") == relation
        for row in rows(model)
        if row.get(name)
    }


def test_as_many_documents_in_the_store_as_rows_were_captured(
    ask: Ask, server: str, rows: Rows, data_dir: Path
) -> None:
    moves = rows("account.move")
    expected = {
        # Each model is one entity, but for two. account.move: bills, invoices and entries by its type; a move with a
        # statement line is that bank line's own entry, and is counted there. stock.picking: incoming ones only.
        "bill": sum(row["move_type"].startswith("in_") for row in moves),
        "invoice": sum(row["move_type"].startswith("out_") for row in moves),
        "entry": sum(row["move_type"] == "entry" and not row["statement_line_id"] for row in moves),
        "bank_line": len(rows("account.bank.statement.line")),
        "receipt": sum(row["picking_type_id"][1].endswith(": Receipts") for row in rows("stock.picking")),
        "purchase_order": len(rows("purchase.order")),
        "payment": len(rows("account.payment")),
        "expense_report": len(rows("hr.expense.sheet")),
        "vendor": len(rows("res.partner")),
        "bank_account": len(rows("res.partner.bank")),
        "company": len(rows("res.company")),
        "journal": len(rows("account.journal")),
        "ledger_account": len(rows("account.account")),
        "account_reconciliation": len(rows("account.partial.reconcile")),
        "sale_order": len(rows("sale.order")),
        "delivery": sum(row["picking_type_id"][1].endswith(": Delivery Orders") for row in rows("stock.picking")),
        "project": len(rows("project.project")),
        "task": len(rows("project.task")),
        "timesheet": sum(bool(row["project_id"]) for row in rows("account.analytic.line")),
        "lead": len(rows("crm.lead")),
        "user": len(rows("res.users")),
        "scheduled_action": len(rows("ir.cron")),
        "automation_rule": len(rows("base.automation")),
        # Not captured themselves: as many as captured rows point at.
        "server_action": len(pointed_at(rows, data_dir / server, "ir.actions.server")),
        "product": len(pointed_at(rows, data_dir / server, "product.product")),
        "unit": len(pointed_at(rows, data_dir / server, "uom.uom")),
    }
    assert min(expected.values()) >= 1
    # Groups were not captured: what there is of them are those that the simulated Odoo gives its own accounts.
    found = ask(
        f"SELECT entity, count() FROM documents WHERE source = '{server}' AND entity != 'group' GROUP BY entity"
    )
    assert dict(found) == expected
    assert ask(f"SELECT countIf(transitions_only), countIf(deleted) FROM documents WHERE source = '{server}'") == [
        (0, 0)
    ]
    # The same by identity: no row is missing while another one is there twice.
    bills = {(str(row["id"]),) for row in moves if row["move_type"].startswith("in_")}
    assert set(ask(f"SELECT record_id FROM documents WHERE source = '{server}' AND entity = 'bill'")) == bills


def test_what_is_kept_is_told_by_its_view(ask: Ask, server: str, rows: Rows) -> None:
    found = ask(f"SELECT record_id, failures, active FROM scheduled_actions WHERE source = '{server}'")
    # 17 has no count of failures.
    assert set(found) == {(str(row["id"]), row.get("failure_count"), row["active"]) for row in rows("ir.cron")}
    # 18: the action that was made to fail.
    assert (server == "odoo18") == any(failures for _, failures, _ in found)
    spent: dict[str | None, list[Decimal]] = {}
    for row in rows("account.analytic.line"):
        if row["project_id"]:
            totals = spent.setdefault(str(row["employee_id"][0]) if row["employee_id"] else None, [Decimal(0)] * 2)
            totals[0] += Decimal(str(row["unit_amount"]))
            totals[1] += Decimal(str(row["amount"]))
    found = ask(
        f"SELECT employee_id, sum(quantity), sum(amount) FROM timesheets WHERE source = '{server}' GROUP BY employee_id"
    )
    assert {employee: sums for employee, *sums in found} == spent


def test_both_sides_of_a_reconciliation_are_entries(ask: Ask, server: str, rows: Rows) -> None:
    moves_of = {str(row["id"]): str(row["move_id"][0]) for row in rows("account.move.line")}
    found = ask(
        "SELECT debit_line_id, credit_line_id, debit_entry_id, credit_entry_id, amount > 0 "
        f"FROM account_reconciliations WHERE source = '{server}'"
    )
    assert len(found) == len(rows("account.partial.reconcile")) > 10
    for debit, credit, debit_entry, credit_entry, positive in found:
        assert (debit_entry, credit_entry, positive) == (moves_of[debit], moves_of[credit], 1)


def test_states_and_amounts_are_those_of_the_rows(ask: Ask, server: str, rows: Rows) -> None:
    found = ask(
        "SELECT record_id, state, payment_state, toFloat64(amount_total), currency FROM documents "
        f"WHERE source = '{server}' AND entity IN ('bill', 'invoice') ORDER BY toUInt32(record_id)"
    )
    expected = [
        (str(row["id"]), row["state"], row["payment_state"], row["amount_total"], row["currency_id"][1])
        for row in sorted(rows("account.move"), key=lambda row: row["id"])
        if row["move_type"] != "entry"
    ]
    assert found == expected


def logged(rows: Rows, model: str, label: str) -> Counter[tuple[str, str]]:
    """(record, person) of each change of state to `label` in Odoo's tracking log."""
    messages = {row["id"]: row for row in rows("mail.message")}
    fields = {row["id"]: row for row in rows("ir.model.fields")}
    found: Counter[tuple[str, str]] = Counter()
    for value in rows("mail.tracking.value"):
        message, field = messages.get(value["mail_message_id"][0]), fields.get(value["field_id"][0])
        if message is None or field is None or message["model"] != model or field["model"] != model:
            continue
        if field["name"] == "state" and value["new_value_char"] == label:
            found[str(message["res_id"]), str(value["create_uid"][0])] += 1
    return found


@pytest.mark.parametrize(
    ("model", "label", "entities", "activity"),
    [
        ("purchase.order", "Purchase Order", ("purchase_order",), "approved"),
        ("account.move", "Posted", ("bill", "invoice", "entry"), "posted"),
        ("hr.expense.sheet", "Approved", ("expense_report",), "approved"),
    ],
)
def test_who_decided_comes_from_the_tracking_log(
    ask: Ask, server: str, rows: Rows, model: str, label: str, entities: tuple[str, ...], activity: str
) -> None:
    expected = logged(rows, model, label)
    listed = ", ".join(f"'{entity}'" for entity in entities)
    events = ask(
        f"SELECT record_id, actor FROM events WHERE source = '{server}' AND entity IN ({listed}) "
        f"AND activity = '{activity}'"
    )
    assert Counter(events) == expected
    # The columns that look as if they said it say something else: whoever last wrote the row, for whatever reason.
    written = {(str(row["id"]), str(row["write_uid"][0])) for row in rows(model)}
    assert expected.keys() - written
    if entities[0] == "expense_report":
        return
    # The steps that the detectors made of it name the same people.
    listed = f"'{entities[0]}'"
    steps = ask(
        f"SELECT record_id, decided_by FROM steps WHERE source = '{server}' AND entity = {listed} "
        "AND decision = 'approved' AND decided_by IS NOT NULL"
    )
    own = {str(row["id"]) for row in rows(model) if "move_type" not in row or row["move_type"].startswith("in_")}
    assert Counter(steps) == Counter({pair: n for pair, n in expected.items() if pair[0] in own})


_READ_AS = str.maketrans("oilsb", "01158")


def forms(reference: str) -> set[str]:
    """A reference without case, punctuation and leading zeros, with letters that are read as digits as digits."""
    text = unicodedata.normalize("NFKC", reference).casefold().translate(_READ_AS)
    parts = re.findall(r"[^\W_]+", text)

    def unpadded(part: str) -> str:
        return re.sub(r"\d+", lambda run: str(int(run[0])), part)

    return {unpadded("".join(parts)), "".join(unpadded(part) for part in parts)}


def duplicates(bills: list[dict[str, Any]]) -> dict[frozenset[str], str]:
    """Odoo's rule, and the same with comparable references: rule by pair of record ids.

    Odoo 17 and 18 (account.move, duplicated_ref): same company, commercial partner and type, same reference, same
    year of the bill date or a date missing, neither cancelled; drafts count. On top of it, a bill that was reversed,
    and a credit note with the bill it reverses, are no duplicates.
    """
    live = [
        row
        for row in bills
        if row["ref"] and row["state"] in ("draft", "posted") and row["payment_state"] != "reversed"
    ]
    found = {}
    for one, other in itertools.combinations(live, 2):
        same = all(one[name] == other[name] for name in ("company_id", "commercial_partner_id", "move_type"))
        dates = one["invoice_date"], other["invoice_date"]
        same_year = not all(dates) or dates[0][:4] == dates[1][:4]
        reverses = {
            bool(a["reversed_entry_id"]) and a["reversed_entry_id"][0] == b["id"]
            for a, b in ((one, other), (other, one))
        }
        if same and same_year and reverses == {False}:
            pair = frozenset((str(one["id"]), str(other["id"])))
            if one["ref"].strip() == other["ref"].strip():
                found[pair] = "exact_reference"
            elif forms(one["ref"]) & forms(other["ref"]):
                found[pair] = "normalised_reference"
    return found


def test_bills_with_the_same_vendor_and_reference_come_out_as_duplicates(ask: Ask, server: str, rows: Rows) -> None:
    expected = duplicates([row for row in rows("account.move") if row["move_type"].startswith("in_")])
    assert set(expected.values()) == {"exact_reference", "normalised_reference"}
    found = ask(
        "SELECT document_keys, rule FROM findings WHERE detector = 'duplicates' AND status IN ('open', 'updated') "
        f"AND source = '{server}'"
    )
    prefix = f"{server}:bill:"
    assert all(key.startswith(prefix) for keys, _ in found for key in keys)
    pairs = {frozenset(key.removeprefix(prefix) for key in keys): rule for keys, rule in found}
    assert pairs == expected
    assert len(found) == len(pairs)  # one finding a pair


def test_nothing_of_it_is_a_dead_letter_and_no_account_number_is_stored(ask: Ask, server: str, rows: Rows) -> None:
    assert ask("SELECT stage, topic, reason, detail FROM dead_letters") == []
    numbers = {re.sub(r"\W", "", row["acc_number"]) for row in rows("res.partner.bank")}
    assert len(numbers) > 5
    listed = ", ".join(f"'{number}'" for number in sorted(numbers))
    assert ask(f"SELECT count() FROM raw_log WHERE multiSearchAnyCaseInsensitive(value, [{listed}])") == [(0,)]
