import ctypes
import ctypes.util
import threading
from collections.abc import Iterator
from pathlib import Path

import confluent_kafka
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from finwatch.local import broker as broker_module
from finwatch.local.broker import BrokerUnavailable, MockBroker, bind, library_candidates
from finwatch.runtime.topics import TOPICS


@pytest.fixture
def broker() -> Iterator[MockBroker]:
    with MockBroker() as running:
        yield running


def test_topics_of_the_one_list_exist_with_their_partitions(broker: MockBroker) -> None:
    broker.create_topics(3)
    metadata = AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=10)
    assert {name: len(topic.partitions) for name, topic in metadata.topics.items()} == {spec.name: 3 for spec in TOPICS}


def test_listens_on_loopback_only(broker: MockBroker) -> None:
    assert broker.bootstrap.startswith("127.0.0.1:")


def test_a_topic_made_twice_is_refused(broker: MockBroker) -> None:
    broker.create_topic("twice", 1)
    with pytest.raises(ValueError, match="'twice'"):
        broker.create_topic("twice", 1)


def test_records_come_back_in_order_through_a_group(broker: MockBroker) -> None:
    broker.create_topic("t", 1)
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for number in range(100):
        producer.produce("t", key=b"k", value=str(number).encode())
    assert producer.flush(10) == 0
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["t"])
    got: list[int] = []
    while len(got) < 100:
        message = consumer.poll(10)
        assert message is not None and message.error() is None
        got.append(int(message.value() or b""))
    consumer.close()
    assert got == list(range(100))


def test_a_broker_that_was_down_takes_the_record_later(broker: MockBroker) -> None:
    broker.create_topic("t", 1)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "reconnect.backoff.max.ms": 200})
    delivered = threading.Event()
    broker.set_down()
    producer.produce("t", value=b"x", on_delivery=lambda error, _message: None if error else delivered.set())
    assert producer.flush(1.0) == 1 and not delivered.is_set()
    broker.set_up()
    assert producer.flush(20) == 0 and delivered.is_set()


def test_pushed_errors_reach_the_client(broker: MockBroker) -> None:
    broker.create_topic("t", 1)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "retries": 0})
    broker.push_errors(0, [KafkaError.MSG_SIZE_TOO_LARGE])
    errors: list[KafkaError | None] = []

    def note(error: KafkaError | None, _message: Message) -> None:
        errors.append(error)

    producer.produce("t", value=b"x", on_delivery=note)
    producer.flush(10)
    assert errors[0] is not None and errors[0].code() == KafkaError.MSG_SIZE_TOO_LARGE
    producer.produce("t", value=b"x", on_delivery=note)
    producer.flush(10)
    assert errors[1] is None


def test_closed_twice_and_then_unusable() -> None:
    broker = MockBroker()
    address = broker.bootstrap
    broker.close()
    broker.close()
    with pytest.raises(RuntimeError, match="closed"):
        broker.create_topic("t", 1)
    with pytest.raises(KafkaException):
        AdminClient({"bootstrap.servers": address, "log_level": 2}).list_topics(timeout=0.5)


def test_unknown_broker_number_is_refused(broker: MockBroker) -> None:
    with pytest.raises(ValueError, match="broker 7"):
        broker.set_down(7)


def test_a_library_without_the_symbols_is_named() -> None:
    without = Path(ctypes.util.find_library("c") or "libc.so.6")
    with pytest.raises(BrokerUnavailable, match="does not export rd_kafka"):
        bind(without)


def test_a_file_that_is_no_library_is_named(tmp_path: Path) -> None:
    (tmp_path / "librdkafka.so").write_text("not a library")
    with pytest.raises(BrokerUnavailable, match=r"librdkafka\.so cannot be loaded"):
        bind(tmp_path / "librdkafka.so")


def test_candidates_of_linux_and_macos_wheels(tmp_path: Path) -> None:
    package = tmp_path / "confluent_kafka"
    linux = tmp_path / "confluent_kafka.libs" / "librdkafka-0cb94173.so.1"
    macos = package / ".dylibs" / "librdkafka.1.dylib"
    for path in (linux, macos):
        path.parent.mkdir(parents=True)
        path.touch()
    assert library_candidates(package) == [linux, macos]


def test_no_library_at_all_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confluent_kafka, "__file__", str(tmp_path / "confluent_kafka" / "__init__.py"))
    broker_module.load_library.cache_clear()
    try:
        with pytest.raises(BrokerUnavailable, match="FINWATCH_KAFKA_BOOTSTRAP"):
            MockBroker()
    finally:
        broker_module.load_library.cache_clear()
