"""The Prometheus sink between a broker and a scrape."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from finwatch.local.broker import MockBroker
from finwatch.runtime.config import load_settings
from finwatch.runtime.health import HealthServer
from sinks.prometheus.sink import GROUP, Sink
from tests.parts.records import bill, kpi

KPIS = "finance.kpi.v1"


def wait(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.02)


@pytest.fixture
def broker() -> Iterator[MockBroker]:
    with MockBroker() as made:
        made.create_topics(2)
        yield made


def send(broker: MockBroker, *records: tuple[bytes | None, bytes]) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for value, key in records:
        producer.produce(KPIS, value, key, partition=0)
    assert producer.flush(10) == 0


def get(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def sink(broker: MockBroker) -> Iterator[tuple[Sink, str]]:
    stop = threading.Event()
    settings = load_settings(kafka={"bootstrap": broker.bootstrap}, incarnation="life-1")
    made = Sink(settings, stop)
    server = HealthServer(made.metrics.registry, made.health).start()
    thread = threading.Thread(target=made.run)
    send(
        broker,
        (kpi("documents_open", 0, 5, 2.0), b"a"),
        (kpi("documents_open", 1, 5, 3.0), b"b"),
        (kpi("documents_open", 0, 4, 99.0), b"a"),
        (kpi("no_such_kpi", 0, 4, 99.0), b"x"),
        (bill(1, 1), b"x"),
        (b"garbage", b"x"),
        (None, b"never seen"),
    )
    thread.start()
    try:
        yield made, server.address
    finally:
        stop.set()
        thread.join(20)
        server.stop()
    assert not thread.is_alive()


def value(sink: Sink, name: str, **labels: str) -> Any:
    return sink.metrics.registry.get_sample_value(name, labels)


PLACE = {"source": "odoo", "entity": "", "company": ""}


def test_the_figure_of_the_parts_is_scraped(sink: tuple[Sink, str], broker: MockBroker) -> None:
    made, address = sink
    wait(lambda: value(made, "finwatch_documents_open", **PLACE) == 5.0)
    status, text = get(address, "/metrics")
    assert status == 200
    assert 'finwatch_documents_open{company="",entity="",source="odoo"} 5.0' in text
    assert "no_such_kpi" not in text
    for outcome, count in {"taken": 2, "outdated": 1, "unknown": 1, "unreadable": 2, "withdrawn": 1}.items():
        assert value(made, "finwatch_kpi_records_total", outcome=outcome) == count
    status, text = get(address, "/health")
    assert (status, json.loads(text)["healthy"]) == (200, True)

    send(broker, (None, b"a"))
    wait(lambda: value(made, "finwatch_documents_open", **PLACE) == 3.0)


def test_its_place_is_committed_for_the_producers_that_wait(sink: tuple[Sink, str], broker: MockBroker) -> None:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": GROUP})
    wait(lambda: consumer.committed([TopicPartition(KPIS, 0)], timeout=5)[0].offset == 7)
    consumer.close()


def test_without_a_broker_it_is_not_healthy_and_shows_nothing() -> None:
    stop = threading.Event()
    made = Sink(load_settings(kafka={"bootstrap": "127.0.0.1:1"}, incarnation="life-1"), stop)
    server = HealthServer(made.metrics.registry, made.health).start()
    assert get(server.address, "/health")[0] == 503
    assert "finwatch_documents_open" not in get(server.address, "/metrics")[1]
    server.stop()
