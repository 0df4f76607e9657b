"""The real parts do what other tests rely on: same address after a crash, nothing kept is lost, pauses end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from tests.parts.environment import missing
from tests.parts.kafka import Kafka
from tests.parts.process import NotReady, Server
from tests.parts.registry import Registry


@pytest.mark.broker
def test_large_records_survive_a_broker_crash(kafka: Kafka) -> None:
    topic = kafka.topic("large", partitions=1)
    body = os.urandom(4 * 2**20)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "message.max.bytes": 8 * 2**20, "acks": "all"})
    producer.produce(topic, body)
    assert producer.flush(30) == 0

    kafka.restart()

    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": kafka.unique("g"),
            "fetch.message.max.bytes": 8 * 2**20,
            "enable.auto.commit": False,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        message = consumer.poll(30)
        assert message is not None and message.error() is None
        assert message.value() == body
    finally:
        consumer.close()


@pytest.mark.broker
def test_a_paused_broker_does_not_answer_until_it_is_resumed(kafka: Kafka) -> None:
    kafka.pause()
    with pytest.raises(KafkaException):
        kafka.admin().list_topics(timeout=1)
    kafka.resume()
    assert kafka.admin().list_topics(timeout=30).brokers


@pytest.mark.broker
def test_topics_are_not_created_by_mentioning_them(kafka: Kafka) -> None:
    name = kafka.unique("never-made")
    kafka.admin().list_topics(topic=name, timeout=10)
    assert name not in kafka.admin().list_topics(timeout=10).topics


@pytest.mark.registry
def test_registered_schemas_keep_their_ids_over_a_crash(registry: Registry) -> None:
    def register(subject: str, schema: str) -> int:
        answer = httpx2.post(f"{registry.url}/subjects/{subject}/versions", json={"schema": schema})
        assert answer.status_code == 200, answer.text
        return int(answer.json()["id"])

    first = register("parts.A", '{"type":"record","name":"A","fields":[]}')
    second = register("parts.B", '{"type":"record","name":"B","fields":[]}')
    assert first != second

    registry.restart()

    assert "A" in httpx2.get(f"{registry.url}/schemas/ids/{first}").json()["schema"]
    assert "B" in httpx2.get(f"{registry.url}/schemas/ids/{second}").json()["schema"]
    assert register("parts.B", '{"type":"record","name":"B","fields":[]}') == second


def test_a_missing_part_is_a_skip_on_a_laptop_and_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="Go is not here"):
        missing("Go is not here")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="Go is not here"):
        missing("Go is not here")


def test_a_server_that_ends_by_itself_says_why(tmp_path: Path) -> None:
    server = Server("broken", [sys.executable, "-c", "raise SystemExit('no such volume')"], tmp_path, lambda: False)
    with pytest.raises(NotReady, match="no such volume"):
        server.start()


def test_servers_end_with_a_test_run_that_is_killed(tmp_path: Path) -> None:
    started = tmp_path / "pid"
    program = f"""
import pathlib, sys, time
from tests.parts.process import Server
server = Server("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"], pathlib.Path({str(tmp_path)!r}),
                lambda: True)
server.start()
pathlib.Path({str(started)!r}).write_text(f"{{server.pid}}\\n")
time.sleep(600)
"""
    run = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 30
    while not (started.exists() and started.read_text().endswith("\n")):
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.02)
    pid = int(started.read_text())
    run.send_signal(signal.SIGKILL)
    run.wait()
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline, "the server outlived its test run"
        time.sleep(0.02)
