"""The sink between a broker and the engine: what is on the topics is in the views, whatever was on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from finwatch.local.broker import MockBroker
from finwatch.runtime.config import Settings, load_settings
from finwatch.runtime.store import connect
from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.rows import Insert
from sinks.clickhouse.sink import GROUP, Sink, SinkStopped
from sinks.clickhouse.table_store import TableStore
from tests.parts.records import bill, finding, heartbeat, kpi, step, transition

pytestmark = pytest.mark.slow  # eight stores are made

BILLS, EXPENSES, KPIS = "finance.bill.v1", "finance.expense_report.v1", "finance.kpi.v1"
PARTITIONS = 2


@dataclass
class Stack:
    broker: MockBroker
    settings: Settings
    client: Any

    def send(self, topic: str, *values: bytes | None, partition: int = 0, key: bytes = b"k") -> None:
        producer = Producer({"bootstrap.servers": self.broker.bootstrap})
        for value in values:
            producer.produce(topic, value, key, partition)
        assert producer.flush(10) == 0

    def rows(self, sql: str) -> Any:
        return self.client.query(sql).result_rows

    def one(self, sql: str) -> Any:
        return self.rows(sql)[0][0]

    def run(self, until: Callable[[], bool], **changes: Any) -> Sink:
        """Run a sink in a thread until the condition holds, then stop it; its failure fails the test."""
        stop = threading.Event()
        sink = Sink(self.settings.model_copy(update=changes), stop)
        failures: list[BaseException] = []

        def body() -> None:
            try:
                sink.run()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        try:
            wait(lambda: bool(failures) or until())
        finally:
            stop.set()
            thread.join(20)
        assert not thread.is_alive()
        if failures:
            raise failures[0]
        return sink


def wait(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.02)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with MockBroker() as broker:
        broker.create_topics(PARTITIONS)
        settings = load_settings(
            kafka={"bootstrap": broker.bootstrap},
            clickhouse={"path": tmp_path / "store"},
            sink={"linger_seconds": 0.05},
            incarnation="life-1",
        )
        client = connect(settings.clickhouse, database=False)
        migrate(client, "finwatch")
        client.database = "finwatch"
        client.command("USE finwatch")
        yield Stack(broker, settings, client)
        client.close()


def test_views_answer_what_was_sent(stack: Stack) -> None:
    stack.send(BILLS, *(bill(n, n % 5) for n in range(50)), heartbeat(60))
    stack.send(BILLS, *(bill(n, 10 + n % 5) for n in range(50)), b"garbage", partition=1)
    stack.send(EXPENSES, *(transition(n, n) for n in range(20)))
    stack.send("finance.step.v1", step("s", 1), step("s", 2, decision="approved"), step("gone", 1, retracted=True))
    stack.send("finance.finding.v1", finding("f", 1), finding("f", 2, status="resolved"))
    stack.send(KPIS, kpi("clocks_open", 0, 5, 2.0), kpi("clocks_open", 1, 5, 3.0), kpi("clocks_open", 0, 4, 9.0))
    sink = stack.run(lambda: stack.one("SELECT count() FROM raw_log") == 130)

    assert stack.one("SELECT count() FROM events") == 120
    assert stack.rows("SELECT entity, count(), sum(amount_total) FROM documents GROUP BY entity ORDER BY entity") == [
        ("bill", 10, 2 * sum((Decimal("100.10") + n for n in range(45, 50)), Decimal(0))),
        ("expense_report", 20, None),
    ]
    assert stack.rows("SELECT step_id, version, decision FROM steps") == [("s", 2, "approved")]
    assert stack.rows("SELECT status FROM findings") == [("resolved",)]
    assert stack.one("SELECT count() FROM finding_versions") == 2
    assert stack.rows("SELECT kpi, label['source'], value, parts FROM kpis") == [("clocks_open", "odoo", 5.0, 2)]
    assert stack.rows("SELECT topic, partition, offset, reason FROM dead_letters") == [
        (BILLS, 1, 50, "not_confluent_format")
    ]
    ((events, capture, heartbeat_at),) = stack.rows(
        "SELECT events, capture_seconds, heartbeat_at FROM captures WHERE entity = 'bill'"
    )
    assert (events, capture, heartbeat_at.minute) == (100, 2.0, 1)
    assert sink.health().healthy


def test_a_restart_goes_on_after_the_last_stored_record(stack: Stack) -> None:
    stack.send(BILLS, *(bill(n, n) for n in range(10)))
    stack.run(lambda: stack.one("SELECT count() FROM raw_log") == 10)
    stack.send(BILLS, *(bill(n, n) for n in range(10, 15)))
    stack.run(lambda: stack.one("SELECT count() FROM raw_log") == 15)
    assert stack.rows("SELECT count(), uniqExact(offset), max(offset) FROM raw_log") == [(15, 15, 14)]


class Killed(BaseException):
    """Ends a sink as kill -9 does: nobody cleans up."""


def test_a_batch_that_was_cut_off_behind_its_raw_log_is_derived_again(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded broker is gone with its process: what was not derived can come from the raw log alone."""
    stack.send(BILLS, *(bill(n, n) for n in range(10)), b"garbage")
    stack.send("finance.finding.v1", finding("f", 1), finding("f", 2, status="resolved"))
    stack.send(KPIS, kpi("clocks_open", 0, 5, 2.0))
    insert, order = TableStore.insert, list[str]()

    def cut(self: TableStore, what: Insert) -> None:
        if what.table == "finding_log":
            raise Killed
        order.append(what.table)
        insert(self, what)

    monkeypatch.setattr(TableStore, "insert", cut)
    with pytest.raises(Killed):
        stack.run(lambda: False)
    monkeypatch.undo()
    assert order == ["incarnations", "raw_log", "event_log", "document_states"]
    assert stack.rows("SELECT count() FROM finding_versions") == [(0,)]
    # The next life of the broker has nothing of it.
    with MockBroker() as broker:
        broker.create_topics(PARTITIONS)
        settings = stack.settings.model_copy(
            update={"kafka": stack.settings.kafka.model_copy(update={"bootstrap": broker.bootstrap})}
        )
        later = Stack(broker, settings, stack.client)
        later.run(lambda: later.one("SELECT count() FROM kpi_parts") == 1, incarnation="life-2")
    assert stack.rows("SELECT finding_id, version, status FROM findings") == [("f", 2, "resolved")]
    assert stack.rows("SELECT count(), uniqExact(event_id) FROM events") == [(10, 10)]
    assert stack.rows("SELECT offset, reason FROM dead_letters") == [(10, "not_confluent_format")]
    assert stack.rows("SELECT DISTINCT incarnation, seq FROM kpi_parts") == [("life-1", 1)]
    assert stack.one("SELECT count() FROM raw_log") == 14


def test_a_new_life_of_the_log_is_read_from_its_start_and_repeats_do_no_harm(stack: Stack) -> None:
    values = [bill(n, n) for n in range(10)]
    stack.send(BILLS, *values)
    stack.run(lambda: stack.one("SELECT count() FROM raw_log") == 10)
    before = stack.rows("SELECT event_id, incarnation, offset FROM events ORDER BY event_id")
    # The same broker under another name: all that tells a recreated topic from the old one.
    stack.run(lambda: stack.one("SELECT count() FROM raw_log") == 20, incarnation="life-2")
    assert stack.rows("SELECT event_id, incarnation, offset FROM events ORDER BY event_id") == before
    assert stack.one("SELECT count() FROM documents") == 10
    assert stack.rows("SELECT incarnation, seq FROM incarnations ORDER BY seq") == [("life-1", 1), ("life-2", 2)]


def test_kpis_of_a_former_life_do_not_count(stack: Stack) -> None:
    stack.send(KPIS, kpi("clocks_open", 0, 900, 7.0), kpi("clocks_open", 1, 900, 7.0))
    stack.run(lambda: stack.one("SELECT count() FROM raw_log") == 2)
    with MockBroker() as other:
        other.create_topics(PARTITIONS)
        second = Stack(other, stack.settings, stack.client)
        second.send(KPIS, kpi("clocks_open", 0, 3, 1.0))
        kafka = stack.settings.kafka.model_copy(update={"bootstrap": other.bootstrap})
        second.run(lambda: stack.one("SELECT count() FROM raw_log") == 3, incarnation="life-2", kafka=kafka)
    assert stack.rows("SELECT value, parts FROM kpis") == [(1.0, 1)]


def test_what_stands_is_committed_for_the_producers_that_wait(stack: Stack) -> None:
    stack.send(BILLS, *(bill(n, n) for n in range(10)))
    consumer = Consumer({"bootstrap.servers": stack.broker.bootstrap, "group.id": GROUP})

    def committed() -> bool:
        return bool(consumer.committed([TopicPartition(BILLS, 0)], timeout=5)[0].offset == 10)

    stack.run(committed)
    assert stack.one("SELECT count() FROM raw_log") == 10
    consumer.close()


def test_records_deleted_before_they_were_stored_stop_the_sink_until_a_person_accepts(stack: Stack) -> None:
    from finwatch.runtime.clock import SystemClock
    from finwatch.runtime.topics import STORED_TOPICS
    from sinks.clickhouse.sink import lost_partitions
    from sinks.clickhouse.table_store import TableStore
    from sinks.log_reader import LogReader

    stack.send(BILLS, bill(0, 0))
    stack.run(lambda: stack.one("SELECT count() FROM raw_log") == 1)
    # The embedded broker keeps 5 MB of a partition.
    padding = "x" * 200_000
    stack.send(BILLS, *(bill(n, n, name=padding) for n in range(1, 60)))
    with pytest.raises(SinkStopped, match="deleted unstored") as stopped:
        stack.run(lambda: False)
    assert "accept-loss" in stopped.value.what_to_do

    store = TableStore(stack.client, "finwatch")
    reader = LogReader(stack.settings.kafka, STORED_TOPICS, "life-1", GROUP)
    lost, lives = lost_partitions(reader, store)
    reader.close()
    ((partition, (position, low)),) = lost.items()
    assert (partition, position) == ((BILLS, 0), 1)
    store.accept_gaps({partition: low}, lives, SystemClock().now())
    stack.run(lambda: stack.one("SELECT max(offset) FROM raw_log") == 59)
    assert stack.one("SELECT count() FROM raw_log") == 1 + 60 - low


def test_a_store_that_holds_more_than_the_broker_stops_the_sink(stack: Stack) -> None:
    stack.send(BILLS, *(bill(n, n) for n in range(10)))
    stack.run(lambda: stack.one("SELECT count() FROM raw_log") == 10)
    with MockBroker() as other:
        other.create_topics(PARTITIONS)
        kafka = stack.settings.kafka.model_copy(update={"bootstrap": other.bootstrap})
        with pytest.raises(SinkStopped, match="the log was cut"):
            stack.run(lambda: False, kafka=kafka)


def test_without_migrations_the_sink_waits_and_then_goes_on(tmp_path: Path) -> None:
    with MockBroker() as broker:
        broker.create_topics(PARTITIONS)
        settings = load_settings(
            kafka={"bootstrap": broker.bootstrap}, clickhouse={"path": tmp_path / "store"}, incarnation="life-1"
        )
        client = connect(settings.clickhouse, database=False)
        stack = Stack(broker, settings, client)
        stack.send(BILLS, bill(1, 1))
        stop = threading.Event()
        sink = Sink(settings, stop)
        thread = threading.Thread(target=sink.run)
        thread.start()
        retries = ("finwatch_sink_retries_total", {"part": "store"})
        try:
            wait(lambda: (sink.metrics.registry.get_sample_value(*retries) or 0) > 0)
            migrate(client, "finwatch")
            wait(lambda: stack.one("SELECT count() FROM finwatch.raw_log") == 1)
        finally:
            stop.set()
            thread.join(20)
            client.close()
        assert not thread.is_alive()
