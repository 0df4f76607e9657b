"""Captured rows of real servers, and a generated company, through the simulated Odoo, odoorpc and the codec."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from finwatch.runtime.clock import ManualClock, SystemClock
from finwatch.runtime.topics import ENTITY_TOPICS, WATCHED_ENTITIES
from finwatch.sim import Company, SimulatedOdoo, captured
from finwatch.sim.labels import LabelKind
from finwatch.sim.store import Database
from producers.odoo import Capture, CaptureSettings
from producers.odoo.records import RecordEncoder
from producers.odoo.transport import OdooRpcTransport
from schemas.codec import describe
from schemas.registry import EmbeddedRegistry

# Each of their rows is a document, whatever it holds; models without rows are left out.
KEPT = (
    "account.account",
    "account.journal",
    "account.partial.reconcile",
    "base.automation",
    "crm.lead",
    "ir.actions.server",
    "ir.cron",
    "product.product",
    "project.project",
    "project.task",
    "res.company",
    "res.users",
    "sale.order",
    "uom.uom",
)
ACCOUNT = "svc_cdc"  # the least-privilege service account, login and password


class Topics:
    """Publisher that keeps what it is given, decoded."""

    def __init__(self, registry: EmbeddedRegistry) -> None:
        self._registry = registry
        self.records: list[tuple[str, str, dict[str, Any]]] = []
        self.raw: list[bytes] = []

    def publish(self, topic: str, key: str, value: bytes | None, partition: int | None = None) -> None:
        assert topic in ENTITY_TOPICS
        assert value is not None
        self.raw.append(value)
        self.records.append((topic, key, describe(value, self._registry)))

    def flush(self) -> None:
        """Nothing waits."""

    def of(self, schema: str) -> list[dict[str, Any]]:
        return [record for _, _, record in self.records if record["$schema"] == f"finwatch.{schema}"]

    def latest(self) -> dict[str, dict[str, Any]]:
        """Last state by document."""
        return {
            key: record
            for _, key, record in self.records
            if record["$schema"] not in ("finwatch.Transition", "finwatch.Heartbeat")
        }

    def transitions(self, entity: str, activity: str) -> list[dict[str, Any]]:
        return [one for one in self.of("Transition") if one["entity"] == entity and one["activity"] == activity]


def capture(url: str, clock: ManualClock | SystemClock, **given: Any) -> tuple[Capture, Topics]:
    registry = EmbeddedRegistry()
    topics = Topics(registry)
    options: dict[str, Any] = {"source": "erp", "database": "sim", "account_key": b"k" * 32, "partitions": 2}
    subject = Capture(
        OdooRpcTransport(url, "sim", ACCOUNT, ACCOUNT),
        topics,
        clock,
        CaptureSettings(**(options | given)),
        encode=RecordEncoder(registry),
    )
    return subject, topics


@pytest.fixture(scope="module", params=["odoo17", "odoo18"])
def real(request: pytest.FixtureRequest, data_dir: Path) -> Iterator[tuple[Database, Topics]]:
    """A captured server's database, and what a snapshot and a poll of it published."""
    database = captured(request.param, data_dir)
    with SimulatedOdoo(database) as odoo:
        subject, topics = capture(odoo.url, SystemClock(), page_size=50)
        subject.snapshot()
        subject.poll()
        assert set(subject.stopped_models.values()) <= {"unknown_model"}
        assert "account.move" not in subject.stopped_models
        again = len(topics.of("Transition")) + len(topics.latest())
        assert subject.poll() == 0
        assert again == len(topics.of("Transition")) + len(topics.latest())
    return (yield (database, topics))


def rows(database: Database, model: str) -> dict[int, dict[str, Any]]:
    return database.tables[model].rows


def test_documents_equal_rows(real: tuple[Database, Topics]) -> None:
    database, topics = real
    found = Counter(record["source_model"] for record in topics.latest().values())
    expected = {
        model: len(rows(database, model))
        for model in (
            "res.partner",
            "res.partner.bank",
            "purchase.order",
            "account.payment",
            "hr.expense.sheet",
            "account.bank.statement.line",
            "res.groups",  # the simulated Odoo's own: those of its accounts
            *KEPT,
        )
    }
    expected["account.analytic.line"] = sum(
        bool(row["project_id"]) for row in rows(database, "account.analytic.line").values()
    )
    expected["account.move"] = sum(not row["statement_line_id"] for row in rows(database, "account.move").values())
    types = rows(database, "stock.picking.type")
    expected["stock.picking"] = sum(
        types[row["picking_type_id"]]["code"] in ("incoming", "outgoing")
        for row in rows(database, "stock.picking").values()
    )
    assert found == expected


def test_lines_equal_rows(real: tuple[Database, Topics]) -> None:
    database, topics = real
    lines = [line for record in topics.of("PurchaseOrder") for line in record["lines"]]
    assert len(lines) == sum(not row["display_type"] for row in rows(database, "purchase.order.line").values())
    moves = rows(database, "account.move")
    products = sum(
        row["display_type"] == "product" and moves[row["move_id"]]["move_type"] != "entry"
        for row in rows(database, "account.move.line").values()
    )
    assert products == sum(len(record["lines"]) for name in ("Bill", "Invoice") for record in topics.of(name))


def test_who_approved_and_who_posted_comes_from_the_log(real: tuple[Database, Topics]) -> None:
    """Not from write_uid (the payer's) nor from user_id (who was asked)."""
    database, topics = real
    messages = rows(database, "mail.message")
    fields = rows(database, "ir.model.fields")

    def logged(model: str, new_label: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for value in rows(database, "mail.tracking.value").values():
            message = messages.get(value["mail_message_id"])
            field = fields[value["field_id"]]
            if not message or not message["model"] == model == field["model"] or field["name"] != "state":
                continue
            if value["new_value_char"] == new_label:
                found[str(message["res_id"])].append(str(value["create_uid"]))
        return dict(found)

    def told(entity: str, activity: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for one in topics.transitions(entity, activity):
            found[one["record_id"]].append(one["actor"])
        return dict(found)

    posted = told("bill", "posted") | told("invoice", "posted") | told("entry", "posted")
    assert posted == logged("account.move", "Posted")
    assert told("purchase_order", "approved") == logged("purchase.order", "Purchase Order")
    assert told("expense_report", "approved") == logged("hr.expense.sheet", "Approved")
    assert all(one["decision"] == "approved" for one in topics.transitions("purchase_order", "approved"))
    # The misleading columns do differ, so this test could fail.
    written = {record["record_id"]: record["written_by"] for record in topics.of("Bill")}
    bills = told("bill", "posted")
    assert any(written[record_id] not in actors for record_id, actors in bills.items())


def test_every_document_says_who_created_it_once(real: tuple[Database, Topics]) -> None:
    database, topics = real
    created = Counter(one["document_key"] for one in topics.of("Transition") if one["activity"] == "created")
    # What is only kept says so in its state.
    assert created.keys() == {key for key, one in topics.latest().items() if one["entity"] in WATCHED_ENTITIES}
    assert set(created.values()) == {1}
    payments = rows(database, "account.payment")
    for one in topics.transitions("payment", "created"):
        assert one["actor"] == str(payments[int(one["record_id"])]["create_uid"])


def test_event_ids_are_unique_and_events_of_a_document_in_order(real: tuple[Database, Topics]) -> None:
    _, topics = real
    events = [record for _, _, record in topics.records if "event_id" in record]
    assert len({record["event_id"] for record in events}) == len(events)
    by_key: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in events:
        by_key[record["document_key"]].append(record)
    for history in by_key.values():
        if history[0]["entity"] in WATCHED_ENTITIES:
            assert history[0]["activity"] == "created"
        assert history[-1]["$schema"] != "finwatch.Transition"
        times = [one["occurred_at"] for one in history[1:-1]]
        assert times == sorted(times)


def test_no_account_number_leaves(real: tuple[Database, Topics]) -> None:
    database, topics = real
    numbers = {row["acc_number"] for row in rows(database, "res.partner.bank").values()}
    for value in rows(database, "mail.tracking.value").values():
        if rows(database, "ir.model.fields")[value["field_id"]]["name"] == "acc_number":
            numbers |= {value["old_value_char"], value["new_value_char"]}
    published = b"".join(topics.raw)
    assert len(numbers) > 5
    assert not [number for number in numbers if number and number.encode() in published]


def test_a_second_life_gives_the_same_ids(data_dir: Path) -> None:
    """A snapshot read again, in other pages and without any memory: the same events."""
    ids: list[set[str]] = []
    with SimulatedOdoo(captured("odoo18", data_dir)) as odoo:
        for page_size in (1000, 7):
            subject, topics = capture(odoo.url, SystemClock(), page_size=page_size, models=("account.move",))
            subject.snapshot()
            ids.append({record["event_id"] for _, _, record in topics.records})
    assert ids[0] == ids[1]


def test_without_rights_on_the_log_documents_still_come(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    registry = EmbeddedRegistry()
    topics = Topics(registry)
    database = captured("odoo18", data_dir)
    with SimulatedOdoo(database) as odoo:
        subject = Capture(
            OdooRpcTransport(odoo.url, "sim", "auditor", "auditor"),
            topics,
            SystemClock(),
            CaptureSettings(source="erp", database="sim", account_key=b"k" * 32, partitions=1),
            encode=RecordEncoder(registry),
        )
        subject.snapshot()
        subject.poll()
    assert subject.stopped_models["mail.tracking.value"] == "access_refused"
    assert len(topics.of("PurchaseOrder")) == len(rows(database, "purchase.order"))
    assert {one["activity"] for one in topics.of("Transition")} == {"created"}
    # The password went with every request and stands in no log; neither does any name or amount.
    assert '"auditor"' not in caplog.text and "'auditor'" not in caplog.text


START = datetime(2026, 10, 5, tzinfo=UTC)


def test_a_company_is_followed_through_a_simulated_week() -> None:
    """Snapshot, then polls every simulated hour while people work, late commits and deletions among it."""
    company = Company(seed=11, start=START, weeks=1, scale=0.3)
    company.advance(START)
    clock = ManualClock(START)
    with SimulatedOdoo(company.db) as odoo:
        subject, topics = capture(odoo.url, clock, timeline="log", overlap=timedelta(minutes=20))
        subject.snapshot()
        at = START
        while at < START + timedelta(days=4):
            at += timedelta(hours=1)
            company.advance(at)
            clock.set(at)
            subject.poll(at)
    database, latest = company.db, topics.latest()

    def state(entity: str, record_id: int) -> dict[str, Any]:
        return latest[f"erp:{entity}:{record_id}"]

    # Final states are the source's.
    for record_id, row in rows(database, "purchase.order").items():
        assert state("purchase_order", record_id)["state"] == row["state"]
    entities = {"in_invoice": "bill", "in_refund": "bill", "out_invoice": "invoice", "entry": "entry"}
    for record_id, row in rows(database, "account.move").items():
        if not row.get("statement_line_id"):
            found = state(entities[row["move_type"]], record_id)
            assert (found["state"], found["payment_state"]) == (row["state"], row["payment_state"])
    for record_id, row in rows(database, "stock.picking").items():
        if rows(database, "stock.picking.type")[row["picking_type_id"]]["code"] == "incoming":
            assert state("receipt", record_id)["state"] == row["state"]
    # Every event once, every state change of a purchase order in the log once, whatever the person's language.
    ids = [record["event_id"] for _, _, record in topics.records if "event_id" in record]
    assert len(ids) == len(set(ids))
    fields, messages = rows(database, "ir.model.fields"), rows(database, "mail.message")
    logged = sum(
        fields[value["field_id"]]["name"] == "state"
        and fields[value["field_id"]]["model"] == "purchase.order"
        and messages[value["mail_message_id"]]["model"] == "purchase.order"
        for value in rows(database, "mail.tracking.value").values()
    )
    told = [one for one in topics.of("Transition") if one["entity"] == "purchase_order" and one["field"] == "state"]
    assert len(told) == logged > 10
    assert all(one["new_value"] for one in told)
    assert {"Bon de commande", "Purchase Order"} <= {one["label"] for one in told}
    assert {one["mode"] for one in topics.of("Bill")} >= {"snapshot", "window"}
    assert topics.of("Heartbeat")[-1]["at"] == at.isoformat().replace("+00:00", "Z")
    late = [label for label in company.labels if label.kind is LabelKind.LATE_COMMIT and label.at < at]
    for label in late:
        for record_id in label.ids:
            if record_id in rows(database, label.model):
                assert str(record_id) in {record["record_id"] for record in latest.values()}
