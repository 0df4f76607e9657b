"""Delivery, failure and gating, on the embedded broker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition

from finwatch.local.broker import MockBroker
from finwatch.runtime.publisher import KafkaPublisher, PublishFailed
from finwatch.runtime.topics import CAPTURE_STATE, entity_topic

BILLS = entity_topic("bill")


@pytest.fixture
def broker() -> Iterator[MockBroker]:
    with MockBroker() as started:
        started.create_topics(3, [BILLS, CAPTURE_STATE])
        yield started


def read(broker: MockBroker, topic: str, partition: int) -> list[tuple[bytes, bytes | None]]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "test"})
    try:
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        consumer.assign([TopicPartition(topic, partition, 0)])
        found: list[tuple[bytes, bytes | None]] = []
        while len(found) < end:
            record = consumer.poll(10)
            assert record is not None and record.error() is None
            found.append((record.key() or b"", record.value()))
        return found
    finally:
        consumer.close()


def test_a_key_keeps_its_order_in_one_partition(broker: MockBroker) -> None:
    publisher = KafkaPublisher({"bootstrap.servers": broker.bootstrap})
    for number in range(200):
        publisher.publish(BILLS, f"erp:bill:{number % 5}", b"%d" % number)
    publisher.flush()
    found = [read(broker, BILLS, partition) for partition in range(3)]
    assert sum(map(len, found)) == 200
    for key in {key for part in found for key, _ in part}:
        of_key = [[int(value or b"") for one, value in part if one == key] for part in found]
        (numbers,) = [part for part in of_key if part]
        assert numbers == sorted(numbers) and len(numbers) == 40


def test_a_given_partition_is_kept_and_a_deletion_has_no_value(broker: MockBroker) -> None:
    publisher = KafkaPublisher({"bootstrap.servers": broker.bootstrap})
    for partition in range(3):
        publisher.publish(BILLS, "erp", b"beat", partition=partition)
    publisher.publish(CAPTURE_STATE, "erp/x", None, partition=2)
    publisher.close()
    assert [read(broker, BILLS, partition) for partition in range(3)] == [[(b"erp", b"beat")]] * 3
    assert read(broker, CAPTURE_STATE, 2) == [(b"erp/x", None)]


def test_what_is_not_acknowledged_in_time_fails_for_good(broker: MockBroker) -> None:
    publisher = KafkaPublisher({"bootstrap.servers": broker.bootstrap}, deadline=4.0)
    publisher.publish(BILLS, "erp:bill:1", b"x")
    publisher.flush()
    broker.set_down()
    publisher.publish(BILLS, "erp:bill:1", b"y")
    with pytest.raises(PublishFailed):
        publisher.flush()
    broker.set_up()
    with pytest.raises(PublishFailed):
        publisher.publish(BILLS, "erp:bill:1", b"z")


def test_an_unknown_topic_fails(broker: MockBroker) -> None:
    publisher = KafkaPublisher({"bootstrap.servers": broker.bootstrap, "allow.auto.create.topics": False}, deadline=2.0)
    publisher.publish("no.such.topic", "k", b"v", partition=999)
    with pytest.raises(PublishFailed, match=r"no\.such\.topic"):
        publisher.flush()


class Room:
    """A gate with a fixed number of bytes, given back by delivery."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held, self.most, self.asked = limit, 0, 0, 0

    def admit(
        self,
        topic: str,
        partition: int | None,
        size: int,
        *,
        stop: threading.Event | None = None,
        serve: Callable[[float], object] | None = None,
    ) -> bool:
        self.asked += 1
        while self.held + size > self.limit:
            if stop is not None and stop.is_set():
                return False
            assert serve is not None
            serve(0.01)
        self.held += size
        self.most = max(self.most, self.held)
        return True

    def delivered(self, topic: str, partition: int, offset: int, size: int, *, floating: bool = True) -> None:
        assert floating
        self.held -= size

    def dropped(self, topic: str, partition: int | None, size: int) -> None:
        self.held -= size


def test_gated_topics_wait_for_room_and_others_do_not(broker: MockBroker) -> None:
    gate = Room(100)
    publisher = KafkaPublisher({"bootstrap.servers": broker.bootstrap}, gate=gate, gated=frozenset({BILLS}))
    for number in range(50):
        publisher.publish(BILLS, f"k{number:02}", b"v" * 17)
    publisher.publish(CAPTURE_STATE, "erp/x", b"v" * 1000, partition=0)
    publisher.flush()
    assert (gate.asked, gate.held) == (50, 0)
    assert 20 <= gate.most <= 100


def test_stopping_ends_the_wait_for_room(broker: MockBroker) -> None:
    stop = threading.Event()
    stop.set()
    publisher = KafkaPublisher({"bootstrap.servers": broker.bootstrap}, gate=Room(1), stop=stop)
    with pytest.raises(PublishFailed, match="stopped"):
        publisher.publish(BILLS, "k", b"v")
