"""A deadline of a live source breaches by itself: no event arrives at all, and the finding stands within two seconds.

The policy has targets of a few seconds of wall time. Lateness is measured from the due time in the finding to the
broker's time stamp on the finding's topic, with the lateness that is allowed to live sources by default (one second).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import pytest

from finwatch.local.embedded import open_embedded
from finwatch.runtime.topics import FINDING, entity_topic
from tests.parts.kafka import Kafka
from tests.parts.pipeline import Commands, described, eventually, new_topics, wait_stored
from tests.parts.records import transition

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
PARTITIONS = 2
TARGET = 6.0
DOCUMENTS = 6
APART = 0.7
"""Seconds between two deadlines, so that they do not all meet the same turn of a loop."""
POLICY = f"""
policy: quick
version: "1"
sources: [live]
calendars:
  always: {{time_zone: UTC, business_day: 24 hours, week: {{monday: "00:00-24:00"}}}}
calendar: always
clocks:
  - name: quick
    entity: expense_report
    target: {TARGET:.0f} seconds
    warnings: []
    start: [{{activity: submitted}}]
    stop: [{{activity: approved}}]
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "quick.yaml"
    file.write_text(POLICY)
    return file


@pytest.fixture(params=[pytest.param("kafka", marks=pytest.mark.broker), "embedded"])
def commands(request: pytest.FixtureRequest, tmp_path: Path, policy: Path) -> Iterator[Commands]:
    """The documents stage with that policy, on a real or the embedded broker."""
    if request.param == "embedded":
        with (
            open_embedded(tmp_path / "data", partitions=PARTITIONS, policy=policy) as (stack, _settings),
            Commands(tmp_path, stack.env()) as commands,
        ):
            yield commands
        return
    kafka: Kafka = request.getfixturevalue("kafka")
    with Commands(tmp_path, new_topics(kafka.bootstrap, PARTITIONS)) as commands:
        commands.start("stream", "documents", policy=str(policy))
        yield commands


def submit(bootstrap: str, record: int, at: datetime, **changes: Any) -> None:
    """An expense report is submitted in the live source at `at`."""
    producer = ck.Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "log_level": 0})
    key = f"live:expense_report:{record}"
    value = transition(
        record, record, source="live", document_key=key, correlation_id=key, occurred_at=at, observed_at=at,
        timeline="wall", activity="submitted", step=None, role=None, decision=None, **changes,
    )  # fmt: skip
    producer.produce(entity_topic("expense_report"), value, key.encode())
    assert producer.flush(30) == 0


def breaches(bootstrap: str) -> dict[str, dict[str, Any]]:
    return {found["document_keys"][0]: found for found in described(bootstrap, FINDING) if found["status"] == "open"}


def test_a_clock_breaches_within_two_seconds_of_its_due_time(commands: Commands) -> None:
    bootstrap = commands.environment["FINWATCH_KAFKA_BOOTSTRAP"]
    # The stage runs and has read an event before anything is timed.
    submit(bootstrap, 0, datetime.now(UTC) - timedelta(days=1))
    eventually(lambda: breaches(bootstrap))
    wait_stored(commands, groups=("documents",))
    start = datetime.now(UTC)
    started = {n: start + timedelta(seconds=APART * n) for n in range(1, DOCUMENTS + 1)}
    for number, at in started.items():
        submit(bootstrap, number, at)
    # From here on nothing is produced.
    assert datetime.now(UTC) < min(started.values()) + timedelta(seconds=TARGET - 1)
    found: Callable[[], dict[str, dict[str, Any]]] = lambda: breaches(bootstrap)  # noqa: E731
    eventually(lambda: len(found()) == DOCUMENTS + 1, 60)
    late = {}
    for number, at in started.items():
        breach = found()[f"live:expense_report:{number}"]
        due = datetime.fromisoformat(breach["due_at"])
        assert due == at + timedelta(seconds=TARGET)
        assert breach["level"] == "breach"
        late[number] = breach["$written"] - due.timestamp()
    print(f"seconds from due to finding: {', '.join(f'{s:.2f}' for s in late.values())}")
    assert all(0 < seconds < 2.0 for seconds in late.values()), late
