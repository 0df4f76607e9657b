import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer
from hypothesis import given
from hypothesis import strategies as st

from finwatch.local.backpressure import (
    LIMIT_BYTES,
    READS,
    RECORD_OVERHEAD,
    Gate,
    Positions,
    Window,
    admitted_callback,
    backlog,
    readers,
)
from finwatch.local.broker import RETENTION_BYTES, MockBroker


def test_readers_of_the_groups_that_run() -> None:
    found = readers(["documents", "sink-clickhouse"])
    assert found["finance.bill.v1"] == ("documents", "sink-clickhouse")
    assert found["finance.relation.v1"] == ("sink-clickhouse",)
    assert "finwatch.documents.state" not in found
    with pytest.raises(KeyError):
        readers(["nobody"])


def test_room_until_the_limit_and_again_after_every_group_committed() -> None:
    window = Window({"t": ("a", "b")}, limit=10 * (100 + RECORD_OVERHEAD))
    for offset in range(10):
        assert window.room("t", 0, 100)
        window.charge("t", 0, 100)
        window.delivered("t", 0, offset, 100, floating=False)
    assert not window.room("t", 0, 100)
    assert window.room("t", 1, 100)
    assert not window.room("t", None, 100), "an unknown partition may be the full one"
    window.committed("a", "t", 0, 10)
    assert not window.room("t", 0, 100), "b has read nothing"
    window.committed("b", "t", 0, 10)
    assert window.room("t", 0, 100)
    assert window.held("t", 0) == 0


def test_no_commit_yet_frees_nothing() -> None:
    window = Window({"t": ("a",)}, limit=200)
    window.charge("t", None, 200)
    window.delivered("t", 0, 0, 200)
    window.committed("a", "t", 0, -1001)
    assert not window.room("t", 0, 1)


def test_one_record_larger_than_the_window_may_go_alone() -> None:
    window = Window({"t": ("a",)}, limit=1000)
    assert window.room("t", None, 5000)
    window.charge("t", None, 5000)
    assert not window.room("t", None, 1)
    window.dropped("t", None, 5000)
    assert window.room("t", None, 5000)


def test_topics_that_nobody_reads_are_not_limited() -> None:
    window = Window({"t": ("a",), "free": ()}, limit=10)
    window.charge("free", None, 1_000_000)
    assert window.room("free", None, 1_000_000) and window.full() == []


def test_a_window_without_size_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        Window({}, 0)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40_000)), max_size=60),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 70)), max_size=40),
)
def test_never_counts_less_than_what_is_unread(
    records: list[tuple[int, int]], commits: list[tuple[str, int, int]]
) -> None:
    window = Window({"t": ("a", "b")})
    logs: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for partition, size in records:
        window.charge("t", None, size)
        window.delivered("t", partition, len(logs[partition]), size)
        logs[partition].append(size + RECORD_OVERHEAD)
    done = {(group, partition): 0 for group in "ab" for partition in logs}
    for group, partition, wished in commits:
        offset = min(wished, len(logs[partition]))
        done[group, partition] = max(done[group, partition], offset)
        window.committed(group, "t", partition, offset)
    for partition, sizes in logs.items():
        slowest = min(done["a", partition], done["b", partition])
        assert window.held("t", partition) >= sum(sizes[slowest:])
        if slowest == len(sizes):
            assert window.held("t", partition) == 0
    assert window.held("t", None) == max(window.held("t", partition) for partition in logs)


@pytest.fixture
def broker() -> Iterator[MockBroker]:
    with MockBroker() as running:
        running.create_topic("t", 4)
        yield running


def test_admit_gives_up_when_stopped(broker: MockBroker) -> None:
    gate = Gate({"bootstrap.servers": broker.bootstrap}, {"t": ("nobody",)}, limit=1000)
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    assert gate.admit("t", None, 900)
    producer.produce("t", value=b"x" * 900, on_delivery=admitted_callback(gate, 900))
    producer.flush(10)
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    assert not gate.admit("t", None, 900, stop=stop, serve=producer.poll)
    assert gate.waits == 1


def test_waits_through_a_broker_that_is_down(broker: MockBroker) -> None:
    """Covers the event loop's variant too: it goes on once the group has committed."""
    gate = Gate({"bootstrap.servers": broker.bootstrap, "log_level": 2}, {"t": ("g",)}, limit=1000)
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    gate.charge("t", None, 2000)
    producer.produce("t", key=b"k", value=b"x" * 2000, on_delivery=admitted_callback(gate, 2000))
    producer.flush(10)
    broker.set_down()
    Positions.TIMEOUT, kept = 0.3, Positions.TIMEOUT
    try:
        gate.refresh()
    finally:
        Positions.TIMEOUT = kept
    broker.set_up()

    def read() -> None:
        consumer = _consumer(broker, "g")
        while (message := consumer.poll(5)) is None or message.error():
            pass
        consumer.commit(message=message, asynchronous=False)
        consumer.close()

    reader = threading.Thread(target=read)
    reader.start()
    asyncio.run(asyncio.wait_for(gate.wait_async(serve=producer.poll), 30))
    reader.join()
    assert gate.wait()


def test_backlog_names_the_first_group_that_lags(broker: MockBroker) -> None:
    broker.create_topic("out", 1)
    reads = {"first": ("t",), "second": ("out", "absent")}
    positions = Positions({"bootstrap.servers": broker.bootstrap})
    assert backlog(positions, ["second", "first"], reads) is None
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce("t", value=b"x")
    producer.produce("out", value=b"x")
    producer.flush(10)
    assert backlog(positions, ["second", "first"], reads) == ("first", 1)
    consumer = _consumer(broker, "first")
    while (message := consumer.poll(5)) is None or message.error():
        pass
    consumer.commit(message=message, asynchronous=False)
    consumer.close()
    assert backlog(positions, ["second", "first"], reads) == ("second", 1)
    assert backlog(positions, ["first"], reads) is None


def test_every_group_of_the_product_reads_something() -> None:
    assert all(READS.values()) and LIMIT_BYTES * 2 < RETENTION_BYTES


def _consumer(broker: MockBroker, group: str) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": 10,
        }
    )
    consumer.subscribe(["t"])
    return consumer


@pytest.mark.slow
def test_nothing_is_lost_past_a_slow_consumer(broker: MockBroker) -> None:
    """400,000 records of 300 bytes through partitions that keep 5 MB each, with a group that is slow to commit."""
    total = 400_000
    client = {"bootstrap.servers": broker.bootstrap}
    seen: dict[str, bytearray] = {"fast": bytearray(total), "slow": bytearray(total)}
    failed: list[str] = []

    def read(group: str, pause: float) -> None:
        consumer = _consumer(broker, group)
        marks, count, since, pending = seen[group], 0, time.monotonic(), False
        while count < total and not failed:
            messages = consumer.consume(2000, 0.05)
            for message in messages:
                if message.error():
                    failed.append(str(message.error()))
                    return
                number = int((message.value() or b"")[:9])
                count += not marks[number]
                marks[number] = 1
            pending = pending or bool(messages)
            if pending and time.monotonic() - since >= pause:
                consumer.commit(asynchronous=False)
                since, pending = time.monotonic(), False
        consumer.close()

    threads = [threading.Thread(target=read, args=args) for args in (("fast", 0.02), ("slow", 0.15))]
    for thread in threads:
        thread.start()
    gate = Gate(client, {"t": ("fast", "slow")})
    producer = Producer(
        {
            **client,
            "linger.ms": 5,
            "enable.idempotence": True,
            "queue.buffering.max.messages": 1_000_000,
            "partitioner": "murmur2_random",
        }
    )

    def settled(error: Any, message: Message) -> None:
        if error is not None:
            failed.append(str(error))
        gate.delivered(str(message.topic()), int(message.partition() or 0), int(message.offset() or 0), 309)

    started = time.monotonic()
    for number in range(total):
        assert gate.admit("t", None, 309, serve=producer.poll)
        producer.produce("t", key=b"%09d" % number, value=b"%09d" % number + b"x" * 291, on_delivery=settled)
        if number % 500 == 0:
            producer.poll(0)
    assert producer.flush(30) == 0
    for thread in threads:
        thread.join(60)
    seconds = time.monotonic() - started
    print(f"{total / seconds:,.0f} records/s, {gate.waits} waits")
    assert not failed
    assert seen["fast"].count(1) == total and seen["slow"].count(1) == total
