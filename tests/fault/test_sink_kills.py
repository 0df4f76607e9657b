"""Invariants I2 (once) and I6 (positions): kill -9 of the sink at random points, and then the store equals the source.

The source is read back from the broker and folded in Python; the store is asked through the analysts' views, without
FINAL, in counts, sums and an order-free hash.
"""

from __future__ import annotations

import hashlib
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from finwatch.local.broker import MockBroker
from finwatch.runtime.config import ClickHouseSettings
from finwatch.runtime.store import connect
from finwatch.runtime.topics import STORED_TOPICS
from schemas.codec import describe
from schemas.registry import EmbeddedRegistry
from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.sink import GROUP
from tests.parts.records import bill, finding, kpi, step, transition

ROOT = Path(__file__).resolve().parents[2]
CHILD = Path(__file__).with_name("sink_child.py")
PARTITIONS = 4
BURST = 700


def fold(texts: Iterable[str]) -> int:
    """Order-free hash: XOR of the first eight bytes of each text's SHA-256. In SQL: see `hashed`."""
    total = 0
    for text in texts:
        total ^= int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    return total


def hashed(expression: str) -> str:
    return f"groupBitXor(reinterpretAsUInt64(substring(SHA256({expression}), 1, 8)))"


@dataclass
class Truth:
    """What the log says, folded by the rules that the store claims to follow."""

    raw: list[str] = field(default_factory=list)
    events: set[str] = field(default_factory=set)
    documents: dict[str, tuple[Any, str | None]] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    findings: set[tuple[str, int]] = field(default_factory=set)
    parts: dict[tuple[str, int], tuple[int, float]] = field(default_factory=dict)
    dead: list[str] = field(default_factory=list)

    def take(self, topic: str, partition: int, offset: int, value: bytes, registry: EmbeddedRegistry) -> None:
        self.raw.append(f"{topic}/{partition}/{offset}/{hashlib.sha256(value).hexdigest()}")
        if value == b"garbage":
            self.dead.append(f"{topic}/{partition}/{offset}")
            return
        record = describe(value, registry)
        kind = record["$schema"]
        if kind in ("finwatch.Bill", "finwatch.Transition"):
            self.events.add(record["event_id"])
            version = (kind == "finwatch.Bill", record["source_write_date"], record["observed_at"])
            held = self.documents.get(record["document_key"])
            if held is None or version >= held[0]:
                amount = record["amount_total"] if kind == "finwatch.Bill" else record["amount"]
                self.documents[record["document_key"]] = (version, f"{Decimal(amount):.2f}")
        elif kind == "finwatch.Step":
            self.steps[record["step_id"]] = max(record["version"], self.steps.get(record["step_id"], 0))
        elif kind == "finwatch.Finding":
            self.findings.add((record["finding_id"], record["version"]))
        else:
            place = (record["kpi"], record["partition"])
            self.parts[place] = max((record["position"], record["value"]), self.parts.get(place, (-1, 0.0)))


class Source:
    """Bursts of records of every kind, repeats and garbage among them."""

    def __init__(self, broker: MockBroker, seed: int) -> None:
        self._producer = Producer({"bootstrap.servers": broker.bootstrap, "partitioner": "murmur2_random"})
        self._draw = random.Random(seed)
        self._n = 0
        self._sent: list[tuple[str, str, bytes]] = []

    def burst(self, records: int) -> None:
        for _ in range(records):
            topic, key, value = self._record()
            self._producer.produce(topic, value, key)
            self._producer.poll(0)
        assert self._producer.flush(30) == 0

    def _record(self) -> tuple[str, str, bytes]:
        draw, self._n = self._draw, self._n + 1
        n, which = self._n, draw.random()
        record_id = draw.randrange(400)
        if which < 0.05 and self._sent:
            return draw.choice(self._sent)
        if which < 0.06:
            return "finance.bill.v1", str(n), b"garbage"
        if which < 0.45:
            made = ("finance.bill.v1", f"odoo:bill:{record_id}", bill(n, record_id))
        elif which < 0.75:
            key = f"odoo:expense_report:{record_id}"
            made = ("finance.expense_report.v1", key, transition(n, record_id, amount=Decimal(n)))
        elif which < 0.85:
            made = ("finance.step.v1", str(record_id), step(f"s{record_id}", n))
        elif which < 0.95:
            made = ("finance.finding.v1", f"f{record_id}", finding(f"f{record_id}", draw.randrange(1, 9)))
        else:
            part = draw.randrange(4)
            made = ("finance.kpi.v1", f"clocks_open/{part}", kpi("clocks_open", part, n, float(n)))
        self._sent.append(made)
        if len(self._sent) > 500:
            self._sent.pop(draw.randrange(500))
        return made


def read_back(broker: MockBroker) -> Truth:
    truth, registry = Truth(), EmbeddedRegistry()
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "truth", "enable.auto.commit": False})
    places = [TopicPartition(t, p, OFFSET_BEGINNING) for t in STORED_TOPICS for p in range(PARTITIONS)]
    left = 0
    for place in places:
        low, high = consumer.get_watermark_offsets(place, timeout=10)
        assert low <= 0, "the embedded broker dropped records: send less"
        left += max(high, 0)
    consumer.assign(places)
    while left:
        for message in consumer.consume(5000, 1):
            assert message.error() is None
            truth.take(message.topic(), message.partition(), message.offset(), message.value(), registry)
            left -= 1
    consumer.close()
    return truth


def start(broker: MockBroker, path: Path, seed: int, chance: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CHILD), broker.bootstrap, str(path), str(seed), str(chance)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "TZ": "UTC", "TMPDIR": str(path.parent)},
        stdout=subprocess.PIPE,
        text=True,
    )


def ready(child: subprocess.Popen[str], seconds: float) -> bool:
    """True once the sink reads; False when it died before. The wait is bounded."""
    assert child.stdout is not None
    found, _, _ = select.select([child.stdout], [], [], seconds)
    assert found, "the sink does not come up"
    return child.stdout.readline() == "ready\n"


def caught_up(broker: MockBroker, seconds: float) -> None:
    """Wait until what stands in the store, as the sink commits it, is the end of every partition."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": GROUP, "enable.auto.commit": False})
    places = [TopicPartition(t, p) for t in STORED_TOPICS for p in range(PARTITIONS)]
    ends = {(t.topic, t.partition): consumer.get_watermark_offsets(t, timeout=10)[1] for t in places}
    deadline = time.monotonic() + seconds
    while any(max(t.offset, 0) != ends[t.topic, t.partition] for t in consumer.committed(places, timeout=10)):
        assert time.monotonic() < deadline, "the sink did not catch up"
        time.sleep(0.1)
    consumer.close()


def compare(client: Any, truth: Truth) -> None:
    def one(sql: str) -> tuple[Any, ...]:
        return tuple(client.query(sql).result_rows[0])

    line = "concat(topic, '/', toString(partition), '/', toString(offset), '/', lower(hex(SHA256(value))))"
    assert one(f"SELECT count(), {hashed(line)} FROM raw_log") == (len(truth.raw), fold(truth.raw))
    assert one(f"SELECT count(), {hashed('event_id')} FROM events") == (len(truth.events), fold(truth.events))
    amount = "coalesce(amount_total, amount)"
    line = f"concat(document_key, '/', toDecimalString({amount}, 2))"
    assert one(f"SELECT count(), sum({amount}), {hashed(line)} FROM documents") == (
        len(truth.documents),
        sum(Decimal(a) for _, a in truth.documents.values() if a is not None),
        fold(f"{key}/{a}" for key, (_, a) in truth.documents.items()),
    )
    line = "concat(step_id, '/', toString(version))"
    assert one(f"SELECT count(), {hashed(line)} FROM steps") == (
        len(truth.steps),
        fold(f"{key}/{version}" for key, version in truth.steps.items()),
    )
    line = "concat(finding_id, '/', toString(version))"
    assert one(f"SELECT count(), {hashed(line)} FROM finding_versions") == (
        len(truth.findings),
        fold(f"{key}/{version}" for key, version in truth.findings),
    )
    newest = {key: max(v for k, v in truth.findings if k == key) for key, _ in truth.findings}
    assert one(f"SELECT count(), {hashed(line)} FROM findings") == (
        len(newest),
        fold(f"{key}/{version}" for key, version in newest.items()),
    )
    assert one("SELECT value, parts FROM kpis") == (sum(v for _, v in truth.parts.values()), len(truth.parts))
    line = "concat(topic, '/', toString(partition), '/', toString(offset))"
    assert one(f"SELECT count(), {hashed(line)} FROM dead_letters") == (len(truth.dead), fold(truth.dead))


def kill_loop(directory: Path, kills: int, seed: int) -> None:
    path = directory / "store"
    client = connect(ClickHouseSettings(path=path), database=False)
    migrate(client, "finwatch")
    client.close()
    draw, how = random.Random(seed), Counter[str]()
    with MockBroker() as broker:
        broker.create_topics(PARTITIONS)
        source = Source(broker, seed)
        for round_ in range(kills):
            source.burst(BURST)
            child = start(broker, path, seed + round_, draw.choice((0.0, 0.03, 0.15)))
            try:
                if ready(child, 60):
                    try:
                        child.wait(draw.uniform(0.0, 1.5))
                    except subprocess.TimeoutExpired:
                        how["from outside"] += 1
            finally:
                child.kill()
            assert child.wait(30) == -signal.SIGKILL
        how["at an insert"] = kills - how["from outside"]
        source.burst(BURST)
        child = start(broker, path, seed, 0.0)
        try:
            assert ready(child, 60)
            caught_up(broker, 120)
            child.send_signal(signal.SIGTERM)
            assert child.wait(30) == 0
        finally:
            child.kill()
        truth = read_back(broker)
    client = connect(ClickHouseSettings(path=path))
    try:
        compare(client, truth)
        assert client.query("SELECT count() FROM system.detached_parts").result_rows == [(0,)]
    finally:
        client.close()
    print(f"\n{kills} kills ({dict(how)}), {len(truth.raw)} records, {len(truth.events)} events: store equals source")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_kills(tmp_path: Path) -> None:
    kill_loop(tmp_path, 10, seed=1)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_a_hundred_kills(tmp_path: Path) -> None:
    kill_loop(tmp_path, 100, seed=20261122)
