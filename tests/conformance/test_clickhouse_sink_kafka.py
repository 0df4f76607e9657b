"""The sink on a real broker: what the embedded one cannot show, the lives of topics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import NewTopic

from finwatch.runtime.config import Settings, load_settings
from finwatch.runtime.store import connect
from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.sink import GROUP, Sink
from sinks.log_reader import LogReader
from tests.parts.kafka import Kafka
from tests.parts.records import bill

pytestmark = [pytest.mark.broker, pytest.mark.slow]
TOPIC = "finance.bill.v1"


def wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.05)


def create(kafka: Kafka, partitions: int = 2) -> None:
    """Make the topic; a deletion that is still going on is waited for."""

    admin = kafka.admin()  # it must outlive its futures

    def done() -> bool:
        try:
            admin.create_topics([NewTopic(TOPIC, partitions, 1)])[TOPIC].result(20)
        except KafkaException as error:
            assert error.args[0].name() in ("TOPIC_ALREADY_EXISTS", "_TIMED_OUT")
            return False
        return True

    wait(done)


def delete(kafka: Kafka) -> None:
    admin = kafka.admin()
    admin.delete_topics([TOPIC])[TOPIC].result(20)


def send(kafka: Kafka, numbers: range) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2_random"})
    for n in numbers:
        producer.produce(TOPIC, bill(n, n % 7), f"odoo:bill:{n % 7}")
    assert producer.flush(30) == 0


@pytest.fixture
def settings(kafka: Kafka, tmp_path: Path) -> Iterator[Settings]:
    create(kafka)
    yield load_settings(
        kafka={"bootstrap": kafka.bootstrap}, clickhouse={"path": tmp_path / "store"}, sink={"linger_seconds": 0.05}
    )
    delete(kafka)


@pytest.fixture
def client(settings: Settings) -> Iterator[Any]:
    made = connect(settings.clickhouse, database=False)
    migrate(made, "finwatch")
    yield made
    made.close()


class Running:
    """A sink in a thread, over the one topic."""

    def __init__(self, settings: Settings) -> None:
        self.stop = threading.Event()
        self.sink = Sink(settings, self.stop, reader=lambda: LogReader(settings.kafka, (TOPIC,), "", GROUP))
        self.thread = threading.Thread(target=self.sink.run)

    def __enter__(self) -> Sink:
        self.thread.start()
        return self.sink

    def __exit__(self, *_error: object) -> None:
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


def one(client: Any, sql: str) -> Any:
    return client.query(sql).result_rows[0][0]


RECORDS = "SELECT count() FROM finwatch.raw_log"


def test_a_topic_recreated_while_the_sink_is_away_is_read_from_its_start(
    kafka: Kafka, settings: Settings, client: Any
) -> None:
    send(kafka, range(40))
    with Running(settings):
        wait(lambda: one(client, RECORDS) == 40)
    delete(kafka)
    create(kafka)
    send(kafka, range(30, 100))  # more than before: by offsets alone it would look half consumed
    with Running(settings):
        wait(lambda: one(client, RECORDS) == 110)
    assert one(client, "SELECT count() FROM finwatch.events") == 100
    assert one(client, "SELECT uniqExact(incarnation) FROM finwatch.raw_log") == 2


def test_a_topic_recreated_under_a_running_sink_is_read_from_its_start(
    kafka: Kafka, settings: Settings, client: Any
) -> None:
    send(kafka, range(40))
    with Running(settings):
        wait(lambda: one(client, RECORDS) == 40)
        delete(kafka)
        create(kafka)
        send(kafka, range(40, 140))
        wait(lambda: one(client, RECORDS) == 140)
    assert one(client, "SELECT count() FROM finwatch.events") == 140
    found = client.query(
        "SELECT incarnation, count(), uniqExact(partition, offset) FROM finwatch.raw_log GROUP BY 1 ORDER BY 2"
    ).result_rows
    assert [(count, distinct) for _, count, distinct in found] == [(40, 40), (100, 100)]


def test_partitions_that_are_added_are_read(
    kafka: Kafka, settings: Settings, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from confluent_kafka.admin import NewPartitions

    monkeypatch.setattr("sinks.clickhouse.sink.TOPOLOGY_SECONDS", 0.5)
    send(kafka, range(10))
    with Running(settings):
        wait(lambda: one(client, RECORDS) == 10)
        admin = kafka.admin()
        admin.create_partitions([NewPartitions(TOPIC, 4)])[TOPIC].result(20)
        send(kafka, range(10, 60))
        wait(lambda: one(client, RECORDS) == 60)
        wait(lambda: one(client, "SELECT uniqExact(partition) FROM finwatch.raw_log") > 2)


def test_a_broker_that_is_killed_and_comes_back_costs_nothing(kafka: Kafka, settings: Settings, client: Any) -> None:
    send(kafka, range(20))
    with Running(settings) as sink:
        wait(lambda: one(client, RECORDS) == 20)
        kafka.kill()
        kafka.start()
        send(kafka, range(20, 50))
        wait(lambda: one(client, RECORDS) == 50)
        assert sink.health().healthy
    assert one(client, "SELECT uniqExact(partition, offset) FROM finwatch.raw_log") == 50
