"""The inlet while the schema registry is away: it waits, and no record is at fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import confluent_kafka as ck
import pytest
from msgspec import Struct

from finwatch.runtime.clock import ManualClock
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.retry import GaveUp
from schemas.codec import Skipped
from schemas.registry import RegistryUnavailable
from streams.inlet import Inlet, Run, TopicPartition
from tests.parts.environment import free_port


class Away:
    """A decoder whose registry is away for a number of calls."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def decode(self, values: Sequence[bytes | None], projections: Mapping[str, type[Struct]]) -> list[Struct]:
        self.calls -= 1
        if self.calls >= 0:
            raise RegistryUnavailable("no answer")
        return [Skipped("finwatch.Bill") for _ in values]


class Nobody:
    """A host that must not be called."""

    def take(self, partitions: Sequence[TopicPartition], lease: int) -> dict[TopicPartition, int]:
        raise AssertionError

    def release(self, partitions: Sequence[TopicPartition], save: bool) -> None:
        raise AssertionError

    def deliver(self, runs: list[Run]) -> None:
        raise AssertionError


def inlet(decoder: Away) -> Inlet:
    def fatal(why: str, code: ExitCode) -> None:
        raise AssertionError(why)

    return Inlet(
        {"bootstrap.servers": f"127.0.0.1:{free_port()}"},
        "documents",
        ["finance.bill.v1"],
        decoder,
        {},
        Nobody(),
        fatal,
        ManualClock(datetime(2026, 1, 1, tzinfo=UTC)),
        batch=100,
        session_timeout_ms=6000,
    )


def test_an_outage_is_waited_for() -> None:
    assert inlet(Away(5)).decode([b"a", b"b"]) == [Skipped("finwatch.Bill")] * 2


def test_a_stop_ends_the_waiting() -> None:
    waiting = inlet(Away(10**9))
    waiting.stop.set()
    with pytest.raises(GaveUp):
        waiting.decode([b"a"])


class Message:
    """What the inlet looks at of a confluent-kafka message."""

    def __init__(self, offset: int, end: bool = False) -> None:
        self._offset, self._end = offset, end

    def error(self) -> ck.KafkaError | None:
        return ck.KafkaError(ck.KafkaError._PARTITION_EOF) if self._end else None

    def topic(self) -> str:
        return "finance.bill.v1"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return b"x"


def test_the_end_of_a_log_comes_behind_its_records() -> None:
    """Behind the last record may stand the end of a transaction: only the log's end tells that all was read."""
    messages: Any = [Message(4), Message(5), Message(7, end=True)]
    runs = inlet(Away(0))._runs(messages)
    assert [(len(run.messages), len(run.events), run.end) for run in runs] == [(2, 2, 0), (0, 0, 7)]
    alone: Any = [Message(7, end=True)]
    assert [run.end for run in inlet(Away(0))._runs(alone)] == [7]
