"""The capture's state in its topic, on the embedded broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from finwatch.local.broker import MockBroker
from finwatch.runtime.publisher import KafkaPublisher
from finwatch.runtime.topics import CAPTURE_STATE
from producers.odoo.state import KafkaState, StateUnavailable


@pytest.fixture
def client() -> Iterator[dict[str, str]]:
    with MockBroker() as broker:
        broker.create_topics(3, [CAPTURE_STATE])
        yield {"bootstrap.servers": broker.bootstrap}


def test_what_was_stored_is_read_back_by_the_next_life(client: dict[str, str]) -> None:
    publisher = KafkaPublisher(client)
    state, other = KafkaState(publisher, client, "erp", 3), KafkaState(publisher, client, "erp2", 3)
    assert state.load() == {}
    state.store({"hashes/m/0": b"\x00\x01", "position/m": b"one"})
    other.store({"position/m": b"of another source"})
    state.store({"position/m": b"two"})
    publisher.publish(CAPTURE_STATE, "erp/hashes/old/0", b"x", partition=state.partition)
    publisher.publish(CAPTURE_STATE, "erp/hashes/old/0", None, partition=state.partition)
    publisher.flush()
    assert KafkaState(publisher, client, "erp", 3).load() == {"hashes/m/0": b"\x00\x01", "position/m": b"two"}
    assert other.load() == {"position/m": b"of another source"}


def test_a_broker_without_the_topic_is_said_so(client: dict[str, str]) -> None:
    with MockBroker() as empty:
        state = KafkaState(
            KafkaPublisher(client),
            {"bootstrap.servers": empty.bootstrap, "allow.auto.create.topics": False},
            "erp",
            3,
            read_seconds=1.0,
        )
        with pytest.raises(StateUnavailable, match=CAPTURE_STATE) as error:
            state.load()
    assert "topics apply" in error.value.what_to_do
