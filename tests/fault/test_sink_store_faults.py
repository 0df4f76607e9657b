"""Invariants I2 (once), I8 (liveness): the store is down, slow, hangs after taking an insert, or its answer is cut."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from confluent_kafka import Producer
from pydantic import SecretStr

from finwatch.local.broker import MockBroker
from finwatch.local.files import read_json
from finwatch.local.front.access import password_file
from finwatch.local.store_process import endpoint_file
from finwatch.runtime.config import ClickHouseSettings, load_settings
from finwatch.runtime.store import connect
from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.sink import Sink
from tests.parts.proxy import Proxy, Toxic
from tests.parts.records import bill

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow
TIMEOUT = 3.0


def wait(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.05)


@dataclass
class Stack:
    broker: MockBroker
    proxy: Proxy
    direct: Any
    sink: Sink
    sent: int = 0

    def send(self, count: int) -> None:
        producer = Producer({"bootstrap.servers": self.broker.bootstrap})
        for n in range(self.sent, self.sent + count):
            producer.produce("finance.bill.v1", bill(n, n % 50), f"odoo:bill:{n % 50}")
        assert producer.flush(10) == 0
        self.sent += count

    def stored(self) -> int:
        return int(self.direct.query("SELECT count() FROM finwatch.raw_log").result_rows[0][0])

    def retries(self, part: str = "store") -> float:
        return self.sink.metrics.registry.get_sample_value("finwatch_sink_retries_total", {"part": part}) or 0.0


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    store = subprocess.Popen(
        [sys.executable, "-m", "finwatch.local.store_process", str(tmp_path)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    stop = threading.Event()
    thread: threading.Thread | None = None
    try:
        wait(lambda: endpoint_file(tmp_path).exists())
        endpoint = read_json(endpoint_file(tmp_path))
        assert endpoint is not None
        url = urlsplit(endpoint["url"])
        proxy = Proxy((str(url.hostname), int(url.port or 0)))
        password = SecretStr(password_file(tmp_path, "default").read_text().strip())
        direct = connect(ClickHouseSettings(url=endpoint["url"], password=password), database=False)
        migrate(direct, "finwatch")
        with MockBroker() as broker:
            broker.create_topics(2)
            settings = load_settings(
                kafka={"bootstrap": broker.bootstrap},
                clickhouse={"url": f"http://127.0.0.1:{proxy.address[1]}", "password": password.get_secret_value()},
                sink={"linger_seconds": 0.05},
                incarnation="life-1",
            )
            sink = Sink(settings, stop, client=lambda: connect(settings.clickhouse, database=False, timeout=TIMEOUT))
            thread = threading.Thread(target=sink.run)
            thread.start()
            yield Stack(broker, proxy, direct, sink)
            proxy.toxic = "none"
            stop.set()
            thread.join(30)
            assert not thread.is_alive()
    finally:
        stop.set()
        if thread is not None:
            thread.join(30)
        store.terminate()
        store.wait(30)


@pytest.mark.parametrize("table", [b"raw_log", b"event_log"])
@pytest.mark.parametrize("toxic", ["cut", "hang"])
def test_an_insert_whose_answer_is_lost_is_there_once(stack: Stack, toxic: Toxic, table: bytes) -> None:
    stack.send(100)
    wait(lambda: stack.stored() == 100)
    stack.proxy.only = b"INSERT+INTO+finwatch." + table
    stack.proxy.toxic = toxic
    stack.send(50)
    wait(lambda: stack.retries() > 0)
    assert stack.proxy.hits > 0
    stack.proxy.toxic = "none"
    stack.send(10)
    wait(lambda: stack.stored() >= 160)
    # The log of records is written first, what follows from it afterwards.
    wait(lambda: stack.direct.query("SELECT count() FROM finwatch.events").result_rows[0][0] >= 160)
    counts = "SELECT count(), uniqExact(partition, offset) FROM finwatch.raw_log"
    assert stack.direct.query(counts).result_rows == [(160, 160)]
    assert stack.direct.query("SELECT count() FROM finwatch.events").result_rows == [(160,)]
    assert stack.direct.query("SELECT count() FROM finwatch.documents").result_rows == [(50,)]


def test_a_store_that_is_down_loses_nothing_and_is_caught_up_with(stack: Stack) -> None:
    stack.send(20)
    wait(lambda: stack.stored() == 20)
    stack.proxy.toxic = "down"
    stack.send(200)
    wait(lambda: stack.retries() > 1)
    assert stack.stored() == 20
    stack.proxy.toxic = "none"
    wait(lambda: stack.stored() == 220, seconds=15)
    wait(lambda: stack.sink.health().healthy)


def test_a_slow_store_is_only_slow(stack: Stack) -> None:
    stack.proxy.only, stack.proxy.toxic = b"INSERT", "slow"
    stack.send(100)
    wait(lambda: stack.stored() == 100)
    assert stack.proxy.hits > 0
    counts = "SELECT count(), uniqExact(partition, offset) FROM finwatch.raw_log"
    assert stack.direct.query(counts).result_rows == [(100, 100)]
