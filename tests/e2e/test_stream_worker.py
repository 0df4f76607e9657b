"""A worker process on the embedded broker: garbage, limits, deadlines without events, outages, restarts, rebuild."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import msgspec
import pytest

from finwatch.local.broker import MockBroker
from finwatch.runtime.config import load_settings
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.history import HistoryRecord, digest
from schemas.codec import Encoder, describe
from schemas.registry import EmbeddedRegistry
from streams import repair
from streams.app import Worker
from streams.checkpoint import split_key
from streams.loader import StateReader
from streams.rows import unpack_row
from tests.parts.counting import EVERY, PERIOD, Count, CountingStage, transition
from tests.parts.environment import free_port

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = 2
DLQ = "finance.dlq.v1"
STATE = "finwatch.counting.state"
_encode = Encoder(EmbeddedRegistry()).encode


def good(number: int, document: str = "log:bill:1", at: int = 0, label: str = "x", timeline: str = "log") -> bytes:
    return _encode(transition(number, document, at, label, timeline), "finwatch.Transition")


def eventually(what: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)  # between two looks


class Bed:
    """A broker with the topics of the counting stage."""

    def __init__(self, broker: MockBroker) -> None:
        self.bootstrap = broker.bootstrap
        for topic in ("in", "out", DLQ, STATE):
            broker.create_topic(topic, PARTITIONS)
        self._producer = ck.Producer(
            {"bootstrap.servers": self.bootstrap, "message.max.bytes": 4_000_000, "log_level": 0}
        )

    def produce(self, values: Sequence[bytes], partition: int = 0) -> None:
        for value in values:
            self._producer.produce("in", value, b"key", partition)
        assert self._producer.flush(20) == 0

    def read(self, topic: str) -> list[bytes]:
        reader = StateReader({"bootstrap.servers": self.bootstrap}, topic)
        return [value for _, _, value, _ in reader.read(range(PARTITIONS)) if value is not None]

    def described(self, topic: str) -> list[dict[str, Any]]:
        return [describe(value, EmbeddedRegistry()) for value in self.read(topic)]

    def counted(self) -> int:
        """Events that are in a checkpoint that counts."""
        states = StateReader({"bootstrap.servers": self.bootstrap}, STATE).load({p: ["in"] for p in range(PARTITIONS)})
        rows = [state.rows["total"] for state in states.values() if "total" in state.rows]
        return sum(msgspec.msgpack.decode(unpack_row(row)[2], type=Count).events for row in rows)


@pytest.fixture
def bed() -> Iterator[Bed]:
    with MockBroker() as broker:
        yield Bed(broker)


class Process:
    """One worker process; what it logged is read when it has ended."""

    def __init__(self, bootstrap: str, folder: Path, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "worker.log"
        env = {**os.environ, "FINWATCH_KAFKA_BOOTSTRAP": bootstrap, "FINWATCH_STREAM_CHECKPOINT_SECONDS": "0.2"}
        env |= {f"FINWATCH_{name.upper()}": value for name, value in settings.items()}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.parts.counting", "counting", "out", "in"],
                env=env,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def term(self) -> float:
        """SIGTERM; return the seconds it took to end, cleanly."""
        asked = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0, self.log.read_text()
        return time.monotonic() - asked


@pytest.fixture
def run(bed: Bed, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(bootstrap: str = "", **settings: str) -> Process:
        started.append(Process(bootstrap or bed.bootstrap, tmp_path / str(len(started)), **settings))
        return started[-1]

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait()


def test_garbage_is_buried_and_everything_good_is_processed(bed: Bed, run: Callable[..., Process]) -> None:
    worker = run(stream_dead_letters_percent="100")
    record = good(1)
    garbage = {
        b"\x01" + record[1:]: "not_confluent_format",
        b"\0\xff": "not_confluent_format",
        record[: len(record) // 2]: "malformed_avro",
        record + b"\0": "malformed_avro",
        b"\0\x7f\xff\xff\xff" + record[5:]: "unknown_schema",
        b"\0" * 2_000_000: "too_large",
        b"\0\0\0\0\0\0": "unknown_schema",
        good(2, label="bad"): "invalid_event",
    }
    for value in garbage:
        bed.produce([good(3), value, good(4, document="log:bill:\0\u202ex")])
    eventually(lambda: bed.counted() == 2 * len(garbage))
    letters = sorted(bed.described(DLQ), key=lambda letter: int(letter["offset"]))
    assert [letter["reason"] for letter in letters] == list(garbage.values())
    assert [letter["offset"] for letter in letters] == [3 * n + 1 for n in range(len(garbage))]
    assert [letter["value_size"] for letter in letters] == [len(value) for value in garbage]
    assert worker.process.poll() is None


def test_too_much_garbage_stops_the_worker_which_says_why(bed: Bed, run: Callable[..., Process]) -> None:
    worker = run(stream_dead_letters_max="20")
    bed.produce([good(1), *[b"garbage"] * 50])
    assert worker.process.wait(30) == ExitCode.DEAD_LETTERS
    last = worker.lines()[-1]
    assert "20 allowed" in last["reason"]
    assert last["exit_code"] == ExitCode.DEAD_LETTERS
    assert "Traceback" not in worker.log.read_text()


def test_a_deadline_passes_within_two_seconds_with_no_event(bed: Bed, run: Callable[..., Process]) -> None:
    """Invariant I5. The last event is long over when its timer comes due."""
    run()
    bed.produce([good(0, "live:bill:1", 0, timeline="wall")])
    eventually(lambda: bed.counted() == 1)
    due = time.time_ns() // 1000 + 2_000_000
    bed.produce([good(1, "live:bill:1", due - PERIOD, "due", "wall")])
    eventually(lambda: any(out["status"] == "fired" for out in bed.described("out")))
    reader = StateReader({"bootstrap.servers": bed.bootstrap}, "out")
    [written] = [written for _, _, _, written in reader.read(range(PARTITIONS))]
    assert 0 < written / 1000 - due / 1_000_000 < 2.0


def test_a_restart_loses_and_doubles_nothing(bed: Bed, run: Callable[..., Process]) -> None:
    first = run()
    bed.produce([good(n) for n in range(10 * EVERY + 3)])
    eventually(lambda: bed.counted() == 10 * EVERY + 3)
    assert first.term() < 5.0
    bed.produce([good(n) for n in range(EVERY)])
    run()
    eventually(lambda: bed.counted() == 11 * EVERY + 3)
    assert sorted(out["version"] for out in bed.described("out")) == [EVERY * n for n in range(1, 12)]


def test_former_branches_are_deleted_some_time_after_a_takeover(bed: Bed, run: Callable[..., Process]) -> None:
    def branches() -> set[bytes]:
        """Branches that still have a record which is not deleted."""
        newest: dict[bytes, bytes | None] = {}
        for _, key, value, _ in StateReader({"bootstrap.servers": bed.bootstrap}, STATE).read([0]):
            newest[key] = value
        return {split_key(key)[2] for key, value in newest.items() if value is not None}

    bed.produce([good(n, f"log:bill:{n}") for n in range(50)])
    first = run(stream_tombstone_seconds="600")
    eventually(lambda: bed.counted() == 50)
    first.term()
    [former] = branches()
    run(stream_tombstone_seconds="1")
    eventually(lambda: branches() and former not in branches())
    assert len(branches()) == 1
    assert bed.counted() == 50
    bed.produce([good(50)])
    eventually(lambda: bed.counted() == 51)


def test_lost_offsets_stop_the_worker_until_somebody_accepts_it(bed: Bed, run: Callable[..., Process]) -> None:
    """The embedded broker drops what is older than 5 MB: enough of it, and the log begins behind the position."""
    bed.produce([good(n) for n in range(5)])
    first = run()
    eventually(lambda: bed.counted() == 5)
    first.term()
    big = good(6, label="x" * 500_000)
    bed.produce([big] * 15)
    second = run()
    assert second.process.wait(30) == ExitCode.SOFTWARE
    reason = second.lines()[-1]["reason"]
    assert reason.startswith("offset lost: the state of in:0 stands at 5, its log begins at ")
    assert "python -m streams.repair counting --apply" in reason

    settings = load_settings(kafka={"bootstrap": bed.bootstrap})
    [jump] = repair.plan("counting", ["in"], PARTITIONS, settings)
    assert (jump.topic, jump.partition, jump.position) == ("in", 0, 5)
    repair.apply("counting", [jump], settings)
    assert repair.plan("counting", ["in"], PARTITIONS, settings) == []
    run()
    eventually(lambda: bed.counted() == 5 + 20 - jump.start)


def test_an_absent_broker_is_one_line_and_patience(run: Callable[..., Process]) -> None:
    worker = run(bootstrap=f"127.0.0.1:{free_port()}")
    eventually(lambda: any(line["event"] == "waiting" for line in worker.lines()))
    assert worker.process.poll() is None
    assert worker.term() < 8.0  # one question to the broker may be under way
    text = worker.log.read_text()
    assert "no Kafka broker answers" in text
    assert "Traceback" not in text
    assert text.count("waiting") == 1


def test_missing_topics_are_named_with_the_command(run: Callable[..., Process]) -> None:
    with MockBroker() as empty:
        empty.create_topic("in", 1)
        worker = run(bootstrap=empty.bootstrap)
        eventually(lambda: any("finwatch topics apply" in line.get("reason", "") for line in worker.lines()))
        worker.term()


def test_health_and_metrics_on_loopback(bed: Bed, run: Callable[..., Process]) -> None:
    worker = run()
    bed.produce([good(1)])
    eventually(lambda: bed.counted() == 1)
    address = next(line["address"] for line in worker.lines() if line["event"] == "metrics and health")
    assert address.startswith("127.0.0.1:")

    def page(path: str) -> str:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    health = json.loads(page("/health"))
    assert health["healthy"]
    assert health["counting"]["partitions"] == PARTITIONS
    eventually(lambda: 'finwatch_stream_applied_total{stage="counting",topic="in"} 1.0' in page("/metrics"))
    # The lag is measured at intervals of its own.
    for metric in ("checkpoint_seconds", "checkpoint_age", "state_rows", "lag_records", "load_seconds", "rebalances"):
        eventually(lambda wanted=f"finwatch_stream_{metric}": wanted in page("/metrics"))  # type: ignore[misc]


class Memory:
    """A history in memory: what the store would have kept."""

    def __init__(self, before: list[bytes], now: list[bytes], outputs: set[bytes]) -> None:
        self._before, self._now, self._outputs = before, now, outputs

    def records(self, topic: str, partition: int) -> Iterator[list[HistoryRecord]]:
        yield from self._batches(self._before, partition)

    def current(self, topic: str, partition: int) -> Iterator[list[HistoryRecord]]:
        yield from self._batches(self._now, partition)

    def emitted(self, topics: Sequence[str]) -> set[bytes]:
        return self._outputs

    @staticmethod
    def _batches(values: list[bytes], partition: int) -> Iterator[list[HistoryRecord]]:
        if partition == 0:
            for start in range(0, len(values), 7):
                yield [HistoryRecord(b"key", value, 0, start + n) for n, value in enumerate(values[start : start + 7])]


def test_state_is_rebuilt_from_the_store_on_the_embedded_broker(bed: Bed, tmp_path: Path) -> None:
    """An earlier life of 50 events, 15 of this life in the store, 30 in the broker: no output twice, none missing."""
    values = [good(n) for n in range(50 + 30)]
    bed.produce(values[50:])
    stage = CountingStage("counting", ("in",), "out")
    settings = load_settings(kafka={"bootstrap": bed.bootstrap}, embedded=tmp_path)

    async def life(history: Memory, total: int) -> None:
        worker = Worker([stage], settings, outputs=("out", DLQ), history=history)
        worker.app.finalize()
        await worker.app.start()
        parts = worker.shells[0].partitions
        deadline = time.monotonic() + 20
        while parts.get(("in", 0)) is None or parts["in", 0].saved < 30:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        row = parts["in", 0].get("total", Count)
        assert row is not None
        assert row.events == total
        await worker.app.stop()

    asyncio.run(life(Memory(values[:50], values[50:65], set()), 80))
    versions = [out["version"] for out in bed.described("out")]
    assert versions == [EVERY * n for n in range(1, 5)]

    stored = {digest("out", b"log:bill:1", value) for value in bed.read("out")}
    asyncio.run(life(Memory(values[:50], values[50:], stored), 80))
    assert len(bed.read("out")) == 4
    assert bed.read(STATE) == []


def test_the_embedded_broker_needs_a_history(bed: Bed, tmp_path: Path) -> None:
    from finwatch.runtime.config import ConfigError

    settings = load_settings(kafka={"bootstrap": bed.bootstrap}, embedded=tmp_path)
    with pytest.raises(ConfigError, match="--embedded"):
        Worker([CountingStage("counting", ("in",), "out")], settings)


def test_fausts_own_command_runs_the_worker(tmp_path: Path) -> None:
    from finwatch.runtime.topics import TOPICS

    with MockBroker() as broker:
        for spec in TOPICS:
            broker.create_topic(spec.name, 1)
        env = {**os.environ, "FINWATCH_KAFKA_BOOTSTRAP": broker.bootstrap, "FINWATCH_STREAM_STAGES": "documents"}
        log = tmp_path / "faust.log"
        with log.open("wb") as out:
            worker = subprocess.Popen(
                [str(Path(sys.executable).with_name("faust")), "-A", "streams.app", "worker", "-l", "info"],
                env=env,
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            eventually(lambda: "partitions taken" in log.read_text(), 40)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(15) == 0, log.read_text()
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
    assert "Traceback" not in log.read_text()
