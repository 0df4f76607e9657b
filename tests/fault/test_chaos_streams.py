"""Workers under random SIGKILL, SIGSTOP, SIGTERM and a broker kill: state and outputs equal to an undisturbed run.

Invariants I1, I2, I3 and I8 of the streams, checked on what stands in Kafka, never on the workers' own counters. The
undisturbed run is the same processing code over the same records in this process, without Kafka and checkpoints.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import confluent_kafka as ck
import pytest

from finwatch.runtime.config import load_settings
from finwatch.runtime.topics import DEAD_LETTER, RELATION, TOPICS, state_topic
from producers.odoo.records import RecordEncoder
from schemas.codec import Decoder, Encoder
from schemas.registry import EmbeddedRegistry
from streams.app import RECORDS, stages_of
from streams.loader import StateReader
from streams.partition import Counts, Partition, Processor
from streams.rows import RowStore, unpack_row
from streams.shell import OUTPUTS
from streams.stage import Stage
from tests.parts.counting import CountingStage, transition
from tests.parts.finance_events import workload
from tests.parts.kafka import Kafka
from tests.parts.relation_facts import facts

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = 8
DOCUMENTS = 800
CATCH_UP_SECONDS = 15.0
TERM_SECONDS = 5.0
STATE_CONFIG = {"cleanup.policy": "compact", "min.compaction.lag.ms": "3600000"}
Kept = dict[str, tuple[int | None, bytes]]
"""Row key -> (due, body)."""


Event = tuple[str, int, bytes, bytes]
"""Topic, partition, key, value."""


def counted_events(topics: list[str]) -> Iterator[Event]:
    """Events for the counting stage: two input topics that share each state partition, timers, invalid ones."""
    encode = Encoder(EmbeddedRegistry()).encode
    for number in itertools.count():
        document = number % DOCUMENTS
        key = f"log{document % 2}:bill:{document}"
        label = "due" if number % 11 == 0 else "bad" if number % 5003 == 17 else "x"
        value = encode(transition(number, key, number * 20_000, label), "finwatch.Transition")
        yield topics[document // PARTITIONS % 2], document % PARTITIONS, key.encode(), value


def finance_events() -> Iterator[Event]:
    """Encoded events of bills, orders and expense reports."""
    encode = RecordEncoder(EmbeddedRegistry())
    for topic, key, name, columns in workload(10_000_000):
        yield topic, zlib.crc32(key.encode()) % PARTITIONS, key.encode(), encode(name, columns)


def relation_events() -> Iterator[Event]:
    """Encoded facts of orders, vendors, persons and duplicate blocks, as the documents stage tells them."""
    encode = Encoder(EmbeddedRegistry()).encode
    for fact in facts():
        key = fact.relation_key.encode()
        yield RELATION, zlib.crc32(key) % PARTITIONS, key, encode(fact, "finwatch.Relation")


class Load(threading.Thread):
    """Produces events at a steady rate until told to stop."""

    def __init__(self, bootstrap: str, events: Iterator[Event], rate: int) -> None:
        super().__init__(daemon=True)
        self._producer = ck.Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 10, "log_level": 0}
        )
        self._events = events
        self._rate = rate
        self.end = threading.Event()
        self.produced: list[Event] = []
        self.failed: list[str] = []

    def run(self) -> None:
        def delivered(error: ck.KafkaError | None, _message: ck.Message) -> None:
            if error is not None:
                self.failed.append(str(error))

        while not self.end.wait(0.1):
            for event in itertools.islice(self._events, self._rate // 10):
                topic, partition, key, value = event
                self._producer.produce(topic, value, key, partition, on_delivery=delivered)
                self.produced.append(event)
            self._producer.poll(0)
        self._producer.flush(60)


Output = tuple[str, bytes, bytes]
"""Topic, key, value."""


def undisturbed(stage: Stage, produced: list[Event]) -> tuple[dict[tuple[str, int], Kept], set[Output]]:
    """Rows and outputs of a run in which nothing happened."""
    decoder, encoder = Decoder(EmbeddedRegistry()), Encoder(EmbeddedRegistry())
    processor = Processor(stage)
    outputs: set[Output] = set()
    runs: dict[tuple[str, int], list[bytes]] = {}
    for topic, partition, _, value in produced:
        runs.setdefault((topic, partition), []).append(value)
    rows: dict[tuple[str, int], Kept] = {}
    for tp, run in runs.items():
        part = Partition(
            stage,
            tp,
            1,
            RowStore(1_000_000),
            0,
            lambda record: encoder.encode(record, RECORDS[type(record)]),
            lambda topic, value, key: outputs.add((topic, key, value)),
            Counts(),
        )
        events = decoder.decode(run, processor.projections)
        processor.apply(part, events, range(len(run)), lambda index: (b"", run[index], 0))  # noqa: B023 - used at once
        rows[tp] = {key: unpack_row(value)[1:] for key, value in part.rows.take_changes(1)}
    kept = {output for output in outputs if output[0] != DEAD_LETTER}
    return rows, kept


def stored(bootstrap: str, stage: Stage) -> tuple[dict[tuple[str, int], Kept], dict[tuple[str, int], int]]:
    """Rows and positions as the state topic has them."""
    reader = StateReader({"bootstrap.servers": bootstrap}, state_topic(stage.name))
    found = reader.load(dict.fromkeys(range(PARTITIONS), stage.topics))
    return (
        {
            tp: {key: unpack_row(value)[1:] for key, value in state.rows.items()}
            for tp, state in found.items()
            if state.next
        },
        {tp: state.next for tp, state in found.items() if state.next},
    )


def read_all(bootstrap: str, topics: Iterable[str]) -> list[Output]:
    """Every output there is, repeats too."""
    return [
        (topic, key, value)
        for topic in topics
        for _, key, value, _ in StateReader({"bootstrap.servers": bootstrap}, topic).read(range(PARTITIONS))
        if value is not None
    ]


class Workers:
    """Three worker processes under one name each."""

    def __init__(self, command: list[str], env: dict[str, str], folder: Path) -> None:
        self._command, self._env, self._folder = command, env, folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.died: list[str] = []
        self._begins: dict[str, int] = {}

    def start(self, name: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._begins[name] = log.tell()
            self.running[name] = subprocess.Popen(
                self._command, env=self._env, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def look(self) -> None:
        for name, process in self.running.items():
            if process.poll() is not None:
                self.died.append(f"{name} ended by itself with {process.returncode}: {self.tail(name)}")
                self.start(name)

    def has_begun(self, name: str) -> bool:
        """Whether the last process of this name got as far as its signal handlers."""
        return "metrics and health" in (self._folder / f"{name}.log").read_bytes()[self._begins[name] :].decode()

    def tail(self, name: str) -> str:
        return "\n".join((self._folder / f"{name}.log").read_text(errors="replace").splitlines()[-8:])

    def end(self) -> None:
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
            process.wait()


def chaos(
    kafka: Kafka,
    folder: Path,
    stage: Stage,
    outputs_of: Sequence[str],
    command: list[str],
    events: Iterator[Event],
    *,
    seconds: float,
    seed: int,
    rate: int,
) -> None:
    rnd = random.Random(seed)
    env = {
        **os.environ,
        "FINWATCH_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "FINWATCH_STREAM_CHECKPOINT_SECONDS": "0.5",
        "FINWATCH_STREAM_SESSION_TIMEOUT_MS": "6000",
        "FINWATCH_STREAM_TOMBSTONE_SECONDS": "20",  # longer than any stop below, so that adoption is part of the run
        "FINWATCH_STREAM_DEAD_LETTERS_MAX": "100000",
    }
    workers = Workers(command, env, folder)
    load = Load(kafka.bootstrap, events, rate)
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
                unborn = code == -signal.SIGTERM and not workers.has_begun(worker)
                if (code != 0 and not unborn) or took > TERM_SECONDS:
                    slow_terms.append(f"{worker}: code {code} after {took:.1f} s")
                workers.start(worker)
            else:
                kafka.restart()
        last_fault = time.monotonic()
        load.end.set()
        load.join(90)
        assert not load.failed, load.failed[:3]

        positions = Counter((topic, partition) for topic, partition, _, _ in load.produced)
        deadline = last_fault + CATCH_UP_SECONDS
        while stored(kafka.bootstrap, stage)[1] != positions and time.monotonic() < deadline + 30:
            workers.look()
            time.sleep(0.3)  # between two looks at the state topic
        caught_up = time.monotonic() - last_fault
        rows, outputs = undisturbed(stage, load.produced)
        found_rows, found_positions = stored(kafka.bootstrap, stage)
        seen = read_all(kafka.bootstrap, outputs_of)
        summary = (
            f"{seconds:.0f} s, seed {seed}: {len(load.produced)} events, {done}, caught up {caught_up:.1f} s after the "
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


def counting(kafka: Kafka, folder: Path, seconds: float, seed: int) -> None:
    """The storm over the counting stage, whose state anybody can check by adding up."""
    name = kafka.unique("counting")
    topics = [kafka.topic("in", partitions=PARTITIONS) for _ in range(2)]
    output = kafka.topic("out", partitions=PARTITIONS)
    _make(kafka, state_topic(name), STATE_CONFIG)
    _make(kafka, DEAD_LETTER)
    stage = CountingStage(name, tuple(topics), output)
    command = [sys.executable, "-m", "tests.parts.counting", name, output, *topics]
    chaos(kafka, folder, stage, [output], command, counted_events(topics), seconds=seconds, seed=seed, rate=1500)


def _make(kafka: Kafka, topic: str, config: dict[str, str] | None = None) -> None:
    if topic not in kafka.admin().list_topics(timeout=10).topics:
        kafka.topic(topic, partitions=PARTITIONS, exact=True, config=config)


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.timeout(290)
def test_a_short_storm_changes_nothing(kafka: Kafka, tmp_path: Path) -> None:
    counting(kafka, tmp_path, seconds=30, seed=int(os.environ.get("FINWATCH_CHAOS_SEED", "1")))


@pytest.mark.broker
@pytest.mark.full
@pytest.mark.timeout(500)
def test_a_long_storm_changes_nothing(kafka: Kafka, tmp_path: Path) -> None:
    counting(kafka, tmp_path, seconds=120, seed=int(os.environ.get("FINWATCH_CHAOS_SEED", "2")))


@pytest.mark.broker
@pytest.mark.full
@pytest.mark.timeout(500)
@pytest.mark.parametrize("name", ["documents", "relations"])
def test_a_long_storm_changes_no_finding(name: str, tmp_path: Path) -> None:
    """Each stage itself, on a broker of its own because its topics have fixed names."""
    broker = Kafka(tmp_path / "kafka")
    broker.start()
    try:
        for spec in TOPICS:
            _make(broker, spec.name, spec.config())
        [stage] = stages_of([name], load_settings())
        outputs = [topic for topic in OUTPUTS if topic != DEAD_LETTER and topic not in stage.topics]
        command = [
            sys.executable,
            "-c",
            "import sys; from finwatch.runtime.config import load_settings; from streams.app import run; "
            "from finwatch.runtime.logging import configure_logging; configure_logging('info', 'json'); "
            f"sys.exit(run([{name!r}], load_settings()))",
        ]
        chaos(
            broker,
            tmp_path,
            stage,
            outputs,
            command,
            finance_events() if name == "documents" else relation_events(),
            seconds=float(os.environ.get("FINWATCH_CHAOS_SECONDS", "120")),
            seed=int(os.environ.get("FINWATCH_CHAOS_SEED", "3")),
            rate=300,
        )
    finally:
        broker.stop()
