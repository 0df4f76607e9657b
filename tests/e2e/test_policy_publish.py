"""`finwatch policy publish` while two workers of a stage run: all partitions switch at one place of their input.

Real broker. What the workers said is compared with a replay of the input in memory, which must switch there too.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import pytest

from finwatch.domain.calendar import instant
from finwatch.domain.events import Event, PolicyChange
from finwatch.domain.records import Clock
from finwatch.runtime.policies import load_policies
from finwatch.runtime.topics import CLOCK, STAGE_INPUTS, WATCHED_TOPICS, entity_topic
from schemas.decode import Bad, Decoder
from schemas.registry import EmbeddedRegistry
from streams.agents.registry import documents_stage
from streams.agents.replay import Replay
from tests.parts.kafka import Kafka
from tests.parts.pipeline import Commands, described, eventually, new_topics, records
from tests.parts.policies import slow_policy
from tests.parts.records import transition

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.timeout(400)]
PARTITIONS = 4
BEFORE, AFTER = 40, 10


def submit(bootstrap: str, numbers: range) -> None:
    """Expense reports are submitted in the live source now."""
    producer = ck.Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "log_level": 0})
    for number in numbers:
        at, key = datetime.now(UTC), f"live:expense_report:{number}"
        value = transition(
            number, number, source="live", document_key=key, correlation_id=key, occurred_at=at, observed_at=at,
            timeline="wall", activity="submitted", step=None, role=None, decision=None,
        )  # fmt: skip
        producer.produce(entity_topic("expense_report"), value, key.encode())
    assert producer.flush(30) == 0


def clocks(bootstrap: str) -> dict[str, dict[str, Any]]:
    """The last version of each document's clock."""
    return {found["document_key"]: found for found in described(bootstrap, CLOCK)}


def replayed(bootstrap: str, first: Path) -> dict[str, Clock]:
    """The same from a replay of the input, partition by partition."""
    stage, found = documents_stage(load_policies([first])), dict[str, Clock]()
    inputs: dict[tuple[str, int], list[ck.Message]] = {}
    for message in records(bootstrap, [entity_topic("expense_report")]):
        inputs.setdefault((message.topic() or "", message.partition() or 0), []).append(message)
    for (topic, _), messages in inputs.items():
        replay = Replay(stage, topic)
        messages.sort(key=lambda message: message.offset() or 0)
        for event in Decoder(EmbeddedRegistry()).decode([m.value() or b"" for m in messages], stage.projections):
            assert not isinstance(event, Bad)
            if isinstance(event, Event | PolicyChange):
                replay.feed([event])
        replay.heartbeat("live", instant(datetime.now(UTC)), "wall")
        found |= {one.document_key: one for one in replay.outputs(CLOCK) if isinstance(one, Clock)}
    return found


def test_two_workers_switch_at_one_place_and_so_does_a_replay(kafka: Kafka, tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(slow_policy("live", 1, 3))
    two.write_text(slow_policy("live", 2, 2))
    with Commands(tmp_path, new_topics(kafka.bootstrap, PARTITIONS)) as commands:
        workers = [commands.start("stream", "documents", policy=str(one)) for _ in range(2)]
        submit(kafka.bootstrap, range(1))
        eventually(lambda: clocks(kafka.bootstrap))
        eventually(
            lambda: all(
                any(line.get("event") == "partitions taken" and line["partitions"] for line in w.lines())
                for w in workers
            )
        )
        submit(kafka.bootstrap, range(1, BEFORE))
        eventually(lambda: len(clocks(kafka.bootstrap)) == BEFORE)
        published = commands.run("policy", "publish", str(two), "--reason", "sooner", "--json", policy=str(one))
        answer = json.loads(published.out.read_text())
        label = answer["label"]
        assert "clocks" in answer["judged_anew"] and "duties" in answer["from_their_next_event"]
        submit(kafka.bootstrap, range(BEFORE, BEFORE + AFTER))
        eventually(
            lambda: (
                len(found := clocks(kafka.bootstrap)) == BEFORE + AFTER
                and {clock["policy_version"] for clock in found.values()} == {label}
            )
        )
        # One record on every partition of every input.
        marked = [
            (message.topic(), message.partition())
            for message in records(kafka.bootstrap, STAGE_INPUTS)
            if b"sooner" in (message.value() or b"")
        ]
        assert sorted(marked) == sorted((topic, number) for topic in STAGE_INPUTS for number in range(PARTITIONS))
        assert set(WATCHED_TOPICS) < {topic for topic, _ in marked}
        # One instant for all that was open, whichever worker and partition; nothing for what came later.
        said = clocks(kafka.bootstrap)
        moments = {said[f"live:expense_report:{number}"]["replanned_at"] for number in range(BEFORE)}
        assert len(moments) == 1 and None not in moments
        assert {said[f"live:expense_report:{n}"]["replanned_at"] for n in range(BEFORE, BEFORE + AFTER)} == {None}
        # A worker that is started with the old file goes by the input, and says nothing new.
        workers[0].kill()
        restarted = commands.start("stream", "documents", policy=str(one))
        submit(kafka.bootstrap, range(BEFORE + AFTER, BEFORE + AFTER + 4))
        eventually(lambda: len(clocks(kafka.bootstrap)) == BEFORE + AFTER + 4)
        assert restarted.process.poll() is None
        said = clocks(kafka.bootstrap)
        assert {clock["policy_version"] for clock in said.values()} == {label}
        again = replayed(kafka.bootstrap, one)
        assert {key: _told(clock) for key, clock in said.items()} == {
            key: (
                one_.version,
                one_.policy_version,
                one_.status,
                one_.due_at,
                one_.replanned_at,
            )
            for key, one_ in again.items()
        }


def _told(clock: dict[str, Any]) -> tuple[Any, ...]:
    due, replanned = (
        None if clock[name] is None else instant(datetime.fromisoformat(clock[name]))
        for name in ("due_at", "replanned_at")
    )
    return clock["version"], clock["policy_version"], clock["status"], due, replanned
