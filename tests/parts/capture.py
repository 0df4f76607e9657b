"""`finwatch capture` as a process against a simulated Odoo and a real broker, and what its topics say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import confluent_kafka as ck

from finwatch.runtime.topics import ENTITY_TOPICS
from finwatch.sim import SimulatedOdoo
from finwatch.sim.store import Database
from schemas.codec import describe
from schemas.registry import EmbeddedRegistry
from tests.parts.pipeline import Command, Commands, eventually, new_topics

KEY = "k" * 32
ODOO = {
    "FINWATCH_ODOO_DATABASE": "sim",
    "FINWATCH_ODOO_USER": "svc_cdc",
    "FINWATCH_ODOO_PASSWORD": "svc_cdc",
    "FINWATCH_ODOO_ACCOUNT_KEY": KEY,
    "FINWATCH_ODOO_SOURCE": "erp",
}


class Topic(NamedTuple):
    """An event as readers of committed records see it, and when it was written (epoch seconds)."""

    content: Mapping[str, Any]
    written: float


class Captured:
    """Reads the entity topics on, as a sink does: committed records only, in order."""

    def __init__(self, bootstrap: str, partitions: int) -> None:
        self._registry = EmbeddedRegistry()
        self._consumer = ck.Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "captured",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 10,
                "log_level": 0,
            }
        )
        self._where = [(topic, number) for topic in ENTITY_TOPICS for number in range(partitions)]
        self._consumer.assign([ck.TopicPartition(topic, number, 0) for topic, number in self._where])
        self.events: list[Topic] = []
        self._at: dict[tuple[str, int], int] = {}

    def read(self, seconds: float = 0.2) -> None:
        """Take what comes within some time."""
        for message in self._consumer.consume(5000, seconds):
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None and partition is not None and offset is not None
            error = message.error()
            if error is not None:
                assert error.code() == ck.KafkaError._PARTITION_EOF, error.str()
                self._at[topic, partition] = offset
                continue
            self._at[topic, partition] = offset + 1
            content = describe(message.value() or b"", self._registry)
            if content["$schema"] != "finwatch.Heartbeat":
                assert message.key() == str(content["document_key"]).encode()
                self.events.append(Topic(content, message.timestamp()[1] / 1000))

    def to_the_end(self) -> None:
        """Read all that is committed now; needs that no transaction is open."""
        ends = {
            where: self._consumer.get_watermark_offsets(ck.TopicPartition(*where), timeout=30)[1]
            for where in self._where
        }

        def there() -> bool:
            self.read()
            return all(self._at.get(where, 0) >= end for where, end in ends.items())

        eventually(there, why=lambda: f"{sum(self._at.get(w, 0) < e for w, e in ends.items())} partitions are not read")

    def repeats(self) -> dict[str, int]:
        """Event ids that were published more than once."""
        return {
            key: count for key, count in Counter(str(e.content["event_id"]) for e in self.events).items() if count > 1
        }

    def states(self) -> dict[str, Mapping[str, Any]]:
        """Last state of each document, deletions included."""
        return {
            str(event.content["document_key"]): event.content
            for event in self.events
            if event.content["$schema"] != "finwatch.Transition"
        }

    def differences(self, truth: Mapping[str, Mapping[str, Any]], ignored: frozenset[str]) -> set[str]:
        """Documents whose last published state is not the source's, and deletions that were not published."""
        states = self.states()
        wrong = {key for key, body in truth.items() if key not in states or not _same(states[key], body, ignored)}
        return wrong | {key for key in states.keys() - truth.keys() if states[key]["op"] != "d"}

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


def _same(told: Mapping[str, Any], body: Mapping[str, Any], ignored: frozenset[str]) -> bool:
    return told["op"] != "d" and all(_equal(told[name], value) for name, value in body.items() if name not in ignored)


def _equal(told: Any, value: Any) -> bool:
    if isinstance(value, Decimal):
        return told is not None and Decimal(str(told)) == value
    if isinstance(value, list | tuple):
        return len(told) == len(value) and all(_equal(a, b) for a, b in zip(told, value, strict=True))
    if isinstance(value, Mapping):
        return all(_equal(told[name], one) for name, one in value.items())
    if isinstance(value, datetime) and isinstance(told, str):
        return datetime.fromisoformat(told) == value
    return bool(told == value or str(told) == str(value))


class Capturing:
    """A simulated Odoo, topics made anew, and the commands that capture the one into the other."""

    def __init__(self, folder: Path, bootstrap: str, database: Database, partitions: int, **settings: str) -> None:
        self.database = database
        self._odoo = SimulatedOdoo(database).start()
        environment = new_topics(bootstrap, partitions) | ODOO | {"FINWATCH_ODOO_URL": self._odoo.url}
        self.commands = Commands(
            folder, environment | {f"FINWATCH_{name.upper()}": value for name, value in settings.items()}
        )
        self.captured = Captured(bootstrap, partitions)

    def start(self, *arguments: str) -> Command:
        """A producer, from where it has said that it is connected."""
        command = self.commands.start("capture", *arguments)
        eventually(
            lambda: not command.running or any(line["event"] == "connected" for line in command.lines()),
            why=command.said,
        )
        return command

    def __enter__(self) -> Capturing:
        return self

    def __exit__(self, *_: object) -> None:
        self.commands.__exit__(None, None, None)
        self.captured.close()
        self._odoo.stop()


def lines_of(command: Command, event: str) -> Iterator[dict[str, Any]]:
    """Log lines of a kind."""
    return (line for line in command.lines() if line["event"] == event)
