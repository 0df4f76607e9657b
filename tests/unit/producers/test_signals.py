"""Requests to a producer: their form, and the way over the broker."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from finwatch.local.broker import MockBroker
from finwatch.runtime.publisher import KafkaPublisher
from finwatch.runtime.topics import SIGNALS
from producers.signals import (
    MOST_IDS,
    SignalReader,
    SnapshotRequest,
    check_domain,
    decode_signal,
    partition_of,
    request_recapture,
    request_snapshot,
)

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


@pytest.fixture
def client() -> Iterator[dict[str, str]]:
    with MockBroker() as broker:
        broker.create_topics(3, [SIGNALS])
        yield {"bootstrap.servers": broker.bootstrap}


A, B, C = ["a", "=", 1], ["b", ">", 1], ["c", "in", [1]]


@pytest.mark.parametrize("domain", [[], [A], ["|", A, B], ["!", A], ["&", A, "|", B, C], ["|", A, B, C]])
def test_domains(domain: list[object]) -> None:
    check_domain(domain)


@pytest.mark.parametrize("domain", [["|", A], ["!"], [["a", "="]], ["a = 1"], [[1, "=", 1]], [A, "&"]])
def test_what_is_no_domain_is_refused(domain: list[object]) -> None:
    with pytest.raises(ValueError, match="domain"):
        check_domain(domain)


def test_requests_reach_the_reader_of_their_source(client: dict[str, str]) -> None:
    publisher = KafkaPublisher(client)
    request_snapshot(publisher, 3, "erp", "account.move", [], NOW)  # before anybody reads from now on
    reader = SignalReader(client, "erp", None)
    asked = request_snapshot(publisher, 3, "erp", "account.move", [["state", "=", "posted"]], NOW)
    again = request_recapture(publisher, 3, "erp", "res.partner", [*range(1, MOST_IDS + 2), 5], NOW)
    publisher.publish(SIGNALS, "erp", b"nonsense", partition=partition_of("erp", 3))
    publisher.publish(SIGNALS, "erp", None, partition=partition_of("erp", 3))
    publisher.flush()
    found: list[SnapshotRequest] = []
    refused: list[str] = []
    for _ in range(100):
        requests, problems = reader.read(0.1)
        found, refused = found + requests, refused + problems
        if len(found) == 3 and len(refused) == 2:
            break
    assert [one.id for one in found] == [asked, *again]
    assert found[0].domain == [["state", "=", "posted"]] and found[0].ids is None
    assert [len(one.ids or ()) for one in found[1:]] == [MOST_IDS, 1]
    assert len(refused) == 2
    # The next life goes on behind what was read; or, told an older position, reads it again.
    assert reader.position == 6
    reader.close()
    behind = SignalReader(client, "erp", 4)
    for _ in range(100):
        if behind.read(0.1)[1]:
            break
    assert behind.position >= 5
    behind.close()


def test_what_is_no_request_is_refused() -> None:
    with pytest.raises(ValueError, match="signal"):
        decode_signal(b'{"id":"1","source":"erp","model":"m","requested_at":"2026-11-22T08:00:00"}')
    with pytest.raises(ValueError, match="signal"):
        decode_signal(b'{"id":"1","source":"erp","model":"m","requested_at":"2026-11-22T08:00:00Z","ids":[-1]}')
    with pytest.raises(ValueError, match="naive"):
        SnapshotRequest("1", "erp", "m", NOW.replace(tzinfo=None))
