"""Garbage among good records on every input topic: all that is good is processed, all that is bad is a dead letter.

On a real broker, with `finwatch stream` and `finwatch sink clickhouse` as processes. Each piece of garbage stands
between two good records of the same partition.
"""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import pytest

from finwatch.runtime.exits import ExitCode
from finwatch.runtime.topics import DEAD_LETTER, FINDING, RELATION, STEP, WATCHED_ENTITIES, WATCHED_TOPICS, entity_topic
from tests.parts.kafka import Kafka
from tests.parts.pipeline import (
    Command,
    Commands,
    StoreServer,
    described,
    eventually,
    new_topics,
    records,
    wait_stored,
)
from tests.parts.records import START, bill, encode, heartbeat, transition

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(600)]
INPUTS = (*WATCHED_TOPICS, RELATION)
PARTITIONS = 2
PARTITION = 1
SECRET = "NL91ABNA0417164300 Janssen 1234567.89"
"""Stands in the good and in the bad; must never be seen in a log."""
LIMIT = 900_000
"""Bytes of a value that a dead letter keeps."""


@dataclass(frozen=True)
class Bad:
    """A record that must not be processed, and why the stage that reads it refuses it."""

    value: bytes | None
    reason: str
    sink_reason: str | None
    """The sink's own dead letter, in the store. None: it has none (a tombstone is stored as what it is)."""


def good(topic: str, number: int) -> list[bytes]:
    """Records after which something must be there: a step, a clock, an exception, or a pair of duplicates."""
    if topic == RELATION:
        return [relation(2 * number, number), relation(2 * number + 1, number)]
    entity = topic.split(".")[1]
    plain = {"timeline": "log", "step": None, "role": None, "decision": None, "amount": None, "currency": None}
    if entity in ("bill", "purchase_order", "expense_report"):
        activity = "created" if entity == "bill" else "submitted"
        return [transition(number, number, entity, activity=activity, label=f"\0 {SECRET}", **plain)]
    moves = [("posted", "draft", "posted"), ("reset", "posted", "draft")]
    return [
        transition(
            2 * number + n,
            number,
            entity,
            activity=activity,
            label=SECRET,
            **plain,
            field="state",
            old_value=old,
            new_value=new,
        )
        for n, (activity, old, new) in enumerate(moves)
    ]


def relation(number: int, block: int) -> bytes:
    at = START + timedelta(seconds=number)
    return encode(
        "finwatch.Relation",
        {
            "relation": "duplicate_bill",
            "relation_key": f"duplicate_bill:odoo:v:{block}",
            "version": 1,
            "op": "put",
            "document_key": f"odoo:bill:{number}",
            "source": "odoo",
            "entity": "bill",
            "record_id": str(number),
            "company_id": "1",
            "timeline": "log",
            "occurred_at": at,
            "observed_at": at,
            "event_id": f"{number:032x}",
            "reference": f"{SECRET}/{block}",
            "partner_id": str(block),
            "document_type": "in_invoice",
            "state": "posted",
            "amount": Decimal(100 + block),
            "currency": "EUR",
            "date": date(2026, 3, 1),
            "attributes": json.dumps({"epoch": 1, "created_at": number, "entered_at": number}),
        },
    )


def garbage(topic: str) -> list[Bad]:
    """One of each kind, made from a good record of the topic, which would do something if it were read."""
    sound = good(topic, 900)[0]
    wrong = bill(901, 901, timeline="log", reference=SECRET)
    if topic == entity_topic("bill"):
        wrong = relation(901, 901)
    plain = "not_confluent_format"
    return [
        Bad(b"\x01" + sound[1:], plain, plain),
        Bad(sound[:-9], "malformed_avro", "malformed_avro"),
        Bad(sound + b"\0", "malformed_avro", "malformed_avro"),
        Bad(b"\0\x7f\xff\xff\xfe" + sound[5:], "unknown_schema", "unknown_schema"),
        Bad(sound + SECRET.encode() * (2_000_000 // len(SECRET)), "too_large", "too_large"),
        Bad(b"\0", plain, plain),
        Bad(b"\0" * 64, "unknown_schema", "unknown_schema"),
        Bad(b"", plain, plain),
        Bad(None, plain, None),
        Bad(SECRET.encode(), plain, plain),
        Bad(wrong, "unexpected_record", "unexpected_record"),
    ]


class Produced:
    """Writes to one partition and remembers where each piece of garbage stands."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = ck.Producer(
            {
                "bootstrap.servers": bootstrap,
                "message.max.bytes": 4_000_000,
                # Else a batch that is sent again (a topic made a moment ago) lands behind those that followed it, and
                # what lands behind the end of a log has no time left in which its deadlines could pass.
                "enable.idempotence": True,
                "linger.ms": 5,
                "log_level": 0,
            }
        )
        self.bad: dict[tuple[str, int], Bad] = {}
        self.good: Counter[str] = Counter()

    def put(self, topic: str, value: bytes | None, bad: Bad | None = None) -> None:
        def delivered(error: ck.KafkaError | None, message: ck.Message) -> None:
            assert error is None, error
            if bad is not None:
                offset = message.offset()
                assert offset is not None
                self.bad[topic, offset] = bad

        key = None if value is None and bad is None else b"k\0ey \xff"
        self._producer.produce(topic, value, key, PARTITION, on_delivery=delivered)
        if bad is None:
            self.good[topic] += 1

    def mixed(self, topic: str) -> int:
        """Good and bad in turn; number of good rounds."""
        pieces = garbage(topic)
        for number, piece in enumerate(pieces):
            for value in good(topic, number):
                self.put(topic, value)
            self.put(topic, piece.value, piece)
        for value in good(topic, len(pieces)):
            self.put(topic, value)
        return len(pieces) + 1

    def flush(self) -> None:
        assert self._producer.flush(60) == 0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    server = StoreServer(tmp_path_factory.mktemp("store"))
    server.start()
    server.migrate()
    yield server
    server.stop()


@pytest.fixture
def commands(kafka: Kafka, store: StoreServer, tmp_path: Path) -> Iterator[Commands]:
    with Commands(tmp_path, new_topics(kafka.bootstrap, PARTITIONS) | store.environment()) as started:
        yield started


def applied(worker: Command) -> Counter[str]:
    """Records that the worker says it applied, by topic."""
    lines = eventually(lambda: [line for line in worker.lines() if line["event"] == "metrics and health"])
    with urllib.request.urlopen(f"http://{lines[0]['address']}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found: Counter[str] = Counter()
    for line in text.splitlines():
        if line.startswith("finwatch_stream_applied_total{"):
            found[line.split('topic="')[1].split('"')[0]] += round(float(line.rsplit(" ", 1)[1]))
    return found


def same_bytes(letter: dict[str, Any], value: bytes | None) -> bool:
    """Whether a dead letter has the untouched bytes, or of a large record their beginning, length and hash."""
    whole = value or b""
    kept = None if letter["value"] is None else base64.b64decode(letter["value"])
    return (
        kept == (None if value is None else value[:LIMIT])
        and letter["truncated"] == (len(whole) > LIMIT)
        and letter["value_size"] == len(whole)
        and letter["value_sha256"] == hashlib.sha256(whole).hexdigest()
    )


def test_everything_good_is_processed_and_everything_bad_is_a_dead_letter(
    kafka: Kafka, store: StoreServer, commands: Commands
) -> None:
    sink = commands.start("sink", "clickhouse")
    worker = commands.start("stream", "documents", "relations", stream_checkpoint_seconds="0.3")
    produced = Produced(kafka.bootstrap)
    rounds = {topic: produced.mixed(topic) for topic in INPUTS}
    for topic in WATCHED_TOPICS:  # the log ends a month later: what has not been decided by then is late
        produced.put(topic, heartbeat(30 * 86_400, timeline="log", final=True))
    produced.flush()
    assert len(produced.bad) == sum(n - 1 for n in rounds.values())
    wait_stored(commands, seconds=240)

    # Everything bad is one dead letter, with its origin, its reason and its bytes.
    letters = described(kafka.bootstrap, DEAD_LETTER)
    assert Counter((letter["topic"], letter["offset"]) for letter in letters) == Counter(list(produced.bad))
    reasons = {(letter["topic"], letter["offset"]): letter["reason"] for letter in letters}
    assert reasons == {origin: piece.reason for origin, piece in produced.bad.items()}
    for letter in letters:
        assert letter["partition"] == PARTITION
        assert letter["stage"] == ("relations" if letter["topic"] == RELATION else "documents")
        assert base64.b64decode(letter["key"]) == b"k\0ey \xff"
        assert same_bytes(letter, produced.bad[letter["topic"], letter["offset"]].value)
        assert SECRET not in letter["detail"]

    # The same in the store, beside what the sink itself refuses, and every record in the raw log.
    ours = store.ask(
        f"SELECT topic, offset, stage, reason FROM dead_letters WHERE partition = {PARTITION} AND stage = 'clickhouse'"
    )
    expected = {
        (*origin, "clickhouse", bad.sink_reason)
        for origin, bad in produced.bad.items()
        if bad.sink_reason and origin[0] != RELATION  # of relations it keeps the bytes and reads nothing
    }
    assert len(ours) == len(expected)
    assert set(ours) == expected
    assert store.ask("SELECT count() FROM dead_letters WHERE stage != 'clickhouse'") == [(len(letters),)]
    kept = store.ask("SELECT topic, offset, hex(SHA256(value)) FROM raw_log WHERE key = 'k\\0ey \\xFF'")
    hashes = {(topic, offset): digest.lower() for topic, offset, digest in kept}
    for origin, piece in produced.bad.items():
        assert hashes[origin] == hashlib.sha256(piece.value or b"").hexdigest()

    # Everything good is processed, in every topic, and nothing else is.
    many = {topic: len(good(topic, 0)) * n for topic, n in rounds.items()}
    assert applied(worker) == Counter(many)
    transitions = store.ask("SELECT entity, countDistinct(document_key), count() FROM events GROUP BY entity")
    assert {(e, rounds[entity_topic(e)], many[entity_topic(e)]) for e in WATCHED_ENTITIES} == set(transitions)
    everyone = set(range(rounds[RELATION]))
    for view, entities in (
        ("steps", ("bill", "purchase_order", "expense_report")),
        ("clocks", ("bill", "expense_report")),
        ("exceptions", ("invoice", "entry", "payment")),
    ):
        for entity in entities:
            there = store.ask(f"SELECT DISTINCT toUInt32(record_id) FROM {view} WHERE entity = '{entity}'")
            assert {number for (number,) in there} == everyone, (view, entity)
    pairs = store.ask("SELECT arraySort(document_keys) FROM findings WHERE detector = 'duplicates'")
    assert {tuple(keys) for (keys,) in pairs} == {
        tuple(sorted((f"odoo:bill:{2 * n}", f"odoo:bill:{2 * n + 1}"))) for n in everyone
    }
    late = store.ask("SELECT DISTINCT toUInt32(record_id) FROM clocks WHERE entity = 'bill' AND status = 'breached'")
    assert {number for (number,) in late} == everyone

    # Both still run, and no value stands in what they wrote.
    for command in (sink, worker):
        assert command.running
        assert command.stop() == ExitCode.OK
        assert "Traceback" not in command.said()
        assert not [word for word in SECRET.split() if word in command.said()]


@pytest.mark.parametrize(("stage", "topic"), [("documents", entity_topic("bill")), ("relations", RELATION)])
def test_past_the_limit_the_worker_stops_and_says_why(kafka: Kafka, commands: Commands, stage: str, topic: str) -> None:
    produced = Produced(kafka.bootstrap)
    for value in good(topic, 0):
        produced.put(topic, value)
    piece = Bad(SECRET.encode(), "not_confluent_format", None)
    for _ in range(50):
        produced.put(topic, piece.value, piece)
    for value in good(topic, 1):
        produced.put(topic, value)
    produced.flush()
    worker = commands.start("stream", stage, stream_dead_letters_max="20")
    assert worker.wait() == ExitCode.DEAD_LETTERS
    last = worker.lines()[-1]
    assert last["exit_code"] == ExitCode.DEAD_LETTERS
    assert "20 allowed" in last["reason"]
    assert "FINWATCH_STREAM_DEAD_LETTERS_MAX" in last["reason"]
    assert "Traceback" not in worker.said()
    assert not [word for word in SECRET.split() if word in worker.said()]
    # Nothing is lost by that: with a higher limit it goes on, and the letters are the same.
    commands.started.clear()
    again = commands.start("stream", stage, stream_dead_letters_max="100")
    wait_stored(commands, groups=(stage,))
    assert again.stop() == ExitCode.OK
    origins = {(letter["topic"], letter["offset"]) for letter in described(kafka.bootstrap, DEAD_LETTER)}
    assert origins == set(produced.bad)
    output = STEP if stage == "documents" else FINDING
    assert len({message.key() for message in records(kafka.bootstrap, [output])}) == 2
