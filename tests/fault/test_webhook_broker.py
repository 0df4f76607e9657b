"""Webhooks through a broker's restarts: readers of committed records see what was acknowledged, nothing else, and once
(invariants I1 and I2). The embedded broker hides nothing of a transaction that was given up: there only half of it."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from finwatch.local.broker import MockBroker
from producers.webhook.transactions import Lane, Outcome, Record
from tests.parts.kafka import Kafka
from tests.parts.pipeline import new_topics
from tests.parts.webhook import ENVIRONMENT, Ingress, decision, events, ingress, records

BILLS = "finance.bill.v1"
SENDERS = 8
MORE_SECONDS = 90


class Sender(threading.Thread):
    """Sends payload after payload; half of the failed ones are given up, half repeated word for word until taken."""

    def __init__(self, webhook: Ingress, number: int) -> None:
        super().__init__(daemon=True)
        self._webhook, self._number = webhook, number
        self.stopping = threading.Event()
        self.accepted: dict[str, str] = {}
        self.tried: set[str] = set()
        self.statuses: Counter[int] = Counter()

    def run(self) -> None:
        count = 0
        while not self.stopping.is_set():
            count += 1
            number = self._number * 1_000_000 + count
            body = json.dumps(decision(number)).encode()
            headers = self._webhook.headers(body)
            self.tried.add(f"odoo:bill:{number}")
            while True:
                answer = self._webhook.request("/hooks/approvals", body, headers)
                self.statuses[answer.status] += 1
                if answer.status == 202:
                    self.accepted[f"odoo:bill:{number}"] = json.loads(answer.body)["event_id"]
                if answer.status != 503 or count % 2 or self.stopping.is_set():
                    break


def accepted(senders: list[Sender]) -> int:
    return sum(len(sender.accepted) for sender in senders)


def wait_for(senders: list[Sender], more: int) -> None:
    goal, deadline = accepted(senders) + more, time.monotonic() + MORE_SECONDS
    while accepted(senders) < goal:
        assert time.monotonic() < deadline, "nothing is accepted any more"
        assert all(sender.is_alive() for sender in senders)
        time.sleep(0.02)  # between two questions


def refused(senders: list[Sender]) -> int:
    return sum(sender.statuses[503] for sender in senders)


def wait_refused(senders: list[Sender]) -> None:
    before, deadline = refused(senders), time.monotonic() + MORE_SECONDS
    while refused(senders) == before:
        assert time.monotonic() < deadline, "no sender was told that the broker is away"
        time.sleep(0.02)  # between two questions


def check(senders: list[Sender], bootstrap: str, *, exact: bool) -> None:
    for sender in senders:
        sender.stopping.set()
    for sender in senders:
        sender.join(60)
        assert not sender.is_alive()
        assert set(sender.statuses) <= {202, 503}, sender.statuses
    told: dict[str, str] = {}
    tried: set[str] = set()
    for sender in senders:
        told |= sender.accepted
        tried |= sender.tried
    found = Counter((event["document_key"], event["event_id"]) for event in events(bootstrap, BILLS))
    lost = set(told.items()) - set(found)
    assert not lost, "acknowledged and lost"
    if exact:
        # A request that was told 503, and repeated, stands once; one that was told 503 and given up, never.
        assert not set(found) - set(told.items()), "in the topic and not acknowledged"
        assert set(found.values()) == {1}, "twice in the topic"
        assert len(tried) > len(told), "no sender gave up: the test shows nothing"
    else:
        assert {key for key, _ in found} <= tried, "events that nobody sent"
        assert len({key for key, _ in found}) == len(found), "a repeat with another id"


def start(webhook: Ingress) -> list[Sender]:
    senders = [Sender(webhook, number) for number in range(1, SENDERS + 1)]
    for sender in senders:
        sender.start()
    return senders


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
def test_connections_to_the_broker_lost_again_and_again(tmp_path: Path) -> None:
    with MockBroker() as broker:
        broker.create_topics(3)
        with ingress(broker.bootstrap, tmp_path, ack_seconds=1.0) as webhook:
            senders = start(webhook)
            for _ in range(3):
                wait_for(senders, 100)
                broker.set_down()
                wait_refused(senders)
                broker.set_up()
            wait_for(senders, 100)
            check(senders, broker.bootstrap, exact=False)


class Losing:
    """A producer that reports the records of one key as not delivered and does not send them."""

    def __init__(self, producer: Producer, lost: bytes) -> None:
        self._producer, self._lost = producer, lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def produce(self, topic: str, value: bytes, key: bytes, on_delivery: Any = None) -> None:
        """As told; of a lost one only the report, if anybody asked for one."""
        if key != self._lost:
            self._producer.produce(topic, value, key, on_delivery=on_delivery)
        elif on_delivery is not None:
            on_delivery(KafkaError(KafkaError._MSG_TIMED_OUT), _Nowhere())


class _Nowhere:
    """What a report says of a record that stands nowhere."""

    def topic(self) -> None: ...
    def partition(self) -> None: ...
    def offset(self) -> None: ...


def test_nothing_is_committed_where_one_record_was_not_delivered() -> None:
    # The embedded broker shows what was given up: that the first record is to be read proves nothing of the others.
    with MockBroker() as broker:
        broker.create_topics(3)
        lane = Lane({"bootstrap.servers": broker.bootstrap}, "lane", seconds=5.0)
        assert lane.recover()
        lane._producer = Losing(lane._producer, b"3")  # type: ignore[arg-type,assignment]
        assert lane.begin([Record(BILLS, b"%d" % number, b"1") for number in range(6)]) == [True] * 6
        assert lane.end() == Outcome(False, KafkaError(KafkaError._MSG_TIMED_OUT).name())
        assert lane.recover(), "it goes on"
        lane.begin([Record(BILLS, b"next", b"2")])
        assert lane.end() == Outcome(True)
        lane.close()


class Untrue:
    """A producer whose commits are never confirmed, done or not."""

    def __init__(self, producer: Producer, *, done: bool) -> None:
        self._producer, self._done = producer, done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def commit_transaction(self, seconds: float) -> None:
        """As told, then a failure."""
        if self._done:
            self._producer.commit_transaction(seconds)
        raise KafkaException(KafkaError(KafkaError._FAIL))


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.parametrize("done", [True, False])
def test_a_commit_without_an_answer_is_looked_up(kafka: Kafka, done: bool) -> None:
    topic = kafka.topic("unconfirmed", partitions=2)
    lane = Lane({"bootstrap.servers": kafka.bootstrap}, kafka.unique("lane"), seconds=20.0)
    assert lane.recover()
    lane._producer = Untrue(lane._producer, done=done)  # type: ignore[arg-type,assignment]
    assert lane.begin([Record(topic, b"%d" % number, b"1") for number in range(8)]) == [True] * 8
    assert lane.end() == Outcome(done, KafkaError(KafkaError._FAIL).name())
    assert lane.ready, "it goes on"
    lane.begin([Record(topic, b"next", b"2")])
    assert lane.end() == Outcome(True)
    assert sorted(key for key, _ in records(kafka.bootstrap, topic)) == [*("01234567" if done else ""), "next"]
    lane.close()


@pytest.mark.slow
@pytest.mark.broker
def test_broker_killed_and_started_again(kafka: Kafka, tmp_path: Path) -> None:
    # The broker is shared: whoever was here before may have left the product's topics.
    new_topics(kafka.bootstrap, partitions=3)
    with ingress(kafka.bootstrap, tmp_path, ack_seconds=2.0) as webhook:
        senders = start(webhook)
        for _ in range(2):
            wait_for(senders, 50)
            kafka.kill()
            wait_refused(senders)
            kafka.start()
        wait_for(senders, 50)
        kafka.pause()  # connections stay, answers do not come
        wait_refused(senders)
        kafka.resume()
        wait_for(senders, 50)
        check(senders, kafka.bootstrap, exact=True)
