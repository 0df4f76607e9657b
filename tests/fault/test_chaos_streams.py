"""Workers under random SIGKILL, SIGSTOP, SIGTERM and a broker kill: state and outputs equal to an undisturbed run.

Invariants I1, I2, I3 and I8 of the streams, checked on what stands in Kafka, never on the workers' own counters. The
undisturbed run is the same processing code over the same records in this process, without Kafka and checkpoints.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import confluent_kafka as ck
import pytest

from finwatch.runtime.topics import state_topic
from schemas.codec import Decoder, Encoder
from schemas.registry import EmbeddedRegistry
from streams.app import RECORDS
from streams.loader import StateReader
from streams.partition import Counts, Partition, Processor
from streams.rows import RowStore, unpack_row
from tests.parts.counting import CountingStage, transition
from tests.parts.kafka import Kafka

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = 8
DOCUMENTS = 800
CATCH_UP_SECONDS = 15.0
TERM_SECONDS = 5.0
Kept = dict[str, tuple[int | None, bytes]]
"""Row key -> (due, body)."""


def event(number: int) -> tuple[int, str, int, str]:
    """Partition, document, time and label of event `number`; a function, so that the reference can make it again."""
    document = number % DOCUMENTS
    label = "due" if number % 11 == 0 else "bad" if number % 5003 == 17 else "x"
    return document % PARTITIONS, f"log{document % 2}:bill:{document}", number * 20_000, label


def topic_of(number: int, topics: list[str]) -> str:
    """The two input topics share each state partition."""
    return topics[(number % DOCUMENTS) // PARTITIONS % 2]


class Load(threading.Thread):
    """Produces events at a steady rate until told to stop."""

    def __init__(self, bootstrap: str, topics: list[str], rate: int) -> None:
        super().__init__(daemon=True)
        self._producer = ck.Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 10, "log_level": 0}
        )
        self._encode = Encoder(EmbeddedRegistry()).encode
        self._topics = topics
        self._rate = rate
        self.end = threading.Event()
        self.values: list[bytes] = []
        self.failed: list[str] = []

    def run(self) -> None:
        def delivered(error: ck.KafkaError | None, _message: ck.Message) -> None:
            if error is not None:
                self.failed.append(str(error))

        while not self.end.wait(0.1):
            for _ in range(self._rate // 10):
                number = len(self.values)
                partition, document, at, label = event(number)
                value = self._encode(transition(number, document, at, label), "finwatch.Transition")
                self._producer.produce(
                    topic_of(number, self._topics), value, document.encode(), partition, on_delivery=delivered
                )
                self.values.append(value)
            self._producer.poll(0)
        self._producer.flush(60)


def undisturbed(
    stage: CountingStage, values: list[bytes]
) -> tuple[dict[tuple[str, int], Kept], dict[tuple[str, int], int], set[tuple[bytes, bytes]]]:
    """Rows, positions and outputs of a run in which nothing happened."""
    decoder, encoder = Decoder(EmbeddedRegistry()), Encoder(EmbeddedRegistry())
    processor = Processor(stage)
    outputs: set[tuple[bytes, bytes]] = set()
    runs: dict[tuple[str, int], list[bytes]] = {}
    for number, value in enumerate(values):
        runs.setdefault((topic_of(number, list(stage.topics)), event(number)[0]), []).append(value)
    rows: dict[tuple[str, int], Kept] = {}
    for tp, run in runs.items():
        part = Partition(
            stage,
            tp,
            1,
            RowStore(1_000_000),
            0,
            lambda record: encoder.encode(record, RECORDS[type(record)]),
            lambda topic, value, key: outputs.add((key, value)) if topic == stage.output else None,
            Counts(),
        )
        events = decoder.decode(run, processor.projections)
        processor.apply(part, events, range(len(run)), lambda index: (b"", run[index], 0))  # noqa: B023 - used at once
        rows[tp] = {key: unpack_row(value)[1:] for key, value in part.rows.take_changes(1)}
    return rows, {tp: len(run) for tp, run in runs.items()}, outputs


def stored(bootstrap: str, stage: CountingStage) -> tuple[dict[tuple[str, int], Kept], dict[tuple[str, int], int]]:
    """Rows and positions as the state topic has them."""
    reader = StateReader({"bootstrap.servers": bootstrap}, state_topic(stage.name))
    found = reader.load(dict.fromkeys(range(PARTITIONS), stage.topics))
    return (
        {tp: {key: unpack_row(value)[1:] for key, value in state.rows.items()} for tp, state in found.items()},
        {tp: state.next or 0 for tp, state in found.items()},
    )


def read_all(bootstrap: str, topic: str) -> list[tuple[bytes, bytes]]:
    reader = StateReader({"bootstrap.servers": bootstrap}, topic)
    return [(key, value) for _, key, value, _ in reader.read(range(PARTITIONS)) if value is not None]


class Workers:
    """Three worker processes under one name each."""

    def __init__(self, command: list[str], env: dict[str, str], folder: Path) -> None:
        self._command, self._env, self._folder = command, env, folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.died: list[str] = []

    def start(self, name: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                self._command, env=self._env, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def look(self) -> None:
        for name, process in self.running.items():
            if process.poll() is not None:
                self.died.append(f"{name} ended by itself with {process.returncode}: {self.tail(name)}")
                self.start(name)

    def tail(self, name: str) -> str:
        return "\n".join((self._folder / f"{name}.log").read_text(errors="replace").splitlines()[-8:])

    def end(self) -> None:
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
            process.wait()


def chaos(kafka: Kafka, folder: Path, seconds: float, seed: int, rate: int) -> None:
    rnd = random.Random(seed)
    name = kafka.unique("counting")
    topics = [kafka.topic("in", partitions=PARTITIONS) for _ in range(2)]
    output = kafka.topic("out", partitions=PARTITIONS)
    kafka.topic(
        state_topic(name),
        partitions=PARTITIONS,
        exact=True,
        config={"cleanup.policy": "compact", "min.compaction.lag.ms": "3600000"},
    )
    if "finance.dlq.v1" not in kafka.admin().list_topics(timeout=10).topics:
        kafka.topic("finance.dlq.v1", partitions=PARTITIONS, exact=True)
    env = {
        **os.environ,
        "FINWATCH_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "FINWATCH_STREAM_CHECKPOINT_SECONDS": "0.5",
        "FINWATCH_STREAM_SESSION_TIMEOUT_MS": "6000",
        "FINWATCH_STREAM_TOMBSTONE_SECONDS": "20",  # longer than any stop below, so that adoption is part of the run
        "FINWATCH_STREAM_DEAD_LETTERS_MAX": "100000",
    }
    workers = Workers([sys.executable, "-m", "tests.parts.counting", name, output, *topics], env, folder)
    stage = CountingStage(name, tuple(topics), output)
    load = Load(kafka.bootstrap, topics, rate)
    done = {"kill": 0, "stop": 0, "term": 0, "broker": 0}
    slow_terms: list[str] = []
    try:
        for worker in "ABC":
            workers.start(worker)
        load.start()
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            time.sleep(rnd.uniform(1.5, 5))  # the pause is the fault plan, not a wait for a condition
            workers.look()
            worker = rnd.choice("ABC")
            process = workers.running[worker]
            what = rnd.choices(["kill", "stop", "term"], [5, 3, 2])[0]
            if not done["broker"] and time.monotonic() - started > seconds * 0.4:
                what = "broker"
            done[what] += 1
            if what == "kill":
                process.kill()
                process.wait()
                workers.start(worker)
            elif what == "stop":
                os.kill(process.pid, signal.SIGSTOP)
                time.sleep(rnd.uniform(3, 12))  # most of them longer than the session: a zombie
                os.kill(process.pid, signal.SIGCONT)
            elif what == "term":
                process.send_signal(signal.SIGTERM)
                asked = time.monotonic()
                try:
                    code = process.wait(30)
                except subprocess.TimeoutExpired:
                    slow_terms.append(f"{worker} hung: {workers.tail(worker)}")
                    process.kill()
                    code = process.wait()
                took = time.monotonic() - asked
                if code != 0 or took > TERM_SECONDS:
                    slow_terms.append(f"{worker}: code {code} after {took:.1f} s")
                workers.start(worker)
            else:
                kafka.restart()
        last_fault = time.monotonic()
        load.end.set()
        load.join(90)
        assert not load.failed, load.failed[:3]

        rows, positions, outputs = undisturbed(stage, load.values)
        deadline = last_fault + CATCH_UP_SECONDS
        while stored(kafka.bootstrap, stage)[1] != positions and time.monotonic() < deadline + 30:
            workers.look()
            time.sleep(0.3)  # between two looks at the state topic
        caught_up = time.monotonic() - last_fault
        found_rows, found_positions = stored(kafka.bootstrap, stage)
        seen = read_all(kafka.bootstrap, output)
        summary = (
            f"{seconds:.0f} s, seed {seed}: {len(load.values)} events, {done}, caught up {caught_up:.1f} s after the "
            f"last fault, {len(outputs)} outputs expected, {len(set(seen) & outputs)} seen, "
            f"{len(outputs - set(seen))} missing, {len(set(seen) - outputs)} extra, {len(seen) - len(set(seen))} "
            f"repeats, died {len(workers.died)}"
        )
        print(summary)
        assert found_positions == positions, summary
        assert found_rows == rows, summary
        assert set(seen) == outputs, summary
        assert not workers.died, workers.died
        assert not slow_terms, slow_terms
        assert caught_up < CATCH_UP_SECONDS, summary
    finally:
        load.end.set()
        workers.end()
        if load.is_alive():
            load.join(90)


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_short_storm_changes_nothing(kafka: Kafka, tmp_path: Path) -> None:
    chaos(kafka, tmp_path, seconds=30, seed=int(os.environ.get("FINWATCH_CHAOS_SEED", "1")), rate=1500)


@pytest.mark.broker
@pytest.mark.full
@pytest.mark.timeout(420)
def test_a_long_storm_changes_nothing(kafka: Kafka, tmp_path: Path) -> None:
    chaos(kafka, tmp_path, seconds=120, seed=int(os.environ.get("FINWATCH_CHAOS_SEED", "2")), rate=1500)
