"""Signals: what somebody asks of a running producer. Today one thing: read these records again, now.

Written to `finwatch.signals` by `finwatch capture snapshot`, by `finwatch reconcile --repair` and by whoever wants a
model or a domain read again; read by the capture of that source, which keeps its position among its state: a signal
that is acknowledged is carried out once a producer runs, also after a crash.

To have records captured again, from any process:

    publisher = KafkaPublisher(settings.kafka.client_config())
    request_recapture(publisher, settings.kafka.partitions, "odoo", "account.move", [17, 18], now)

It returns behind a flush, so what it returns stands in the topic. What was asked for is published whatever was
published before, under the ids it had: a repeat for whoever has it, a repair for whoever lacks it. Of ids that the
source no longer has, the deletion is published: from what the producer remembers of them, else from what is told to be
held of them.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec
from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from finwatch.runtime.publisher import Publisher
from finwatch.runtime.topics import ENTITIES, SIGNALS

MOST_IDS = 1000
"""Ids in one signal; `request_recapture` makes as many signals as it needs."""


class Held(msgspec.Struct, frozen=True, array_like=True):
    """What a store holds of a record: its `entity` there, the `event_id` of its state, whether it is `deleted` there.

    Needed where the producer remembers nothing of a record, or what it says of it would not be taken for later.
    """

    entity: str
    id: int
    event_id: str = ""
    deleted: bool = False

    def __post_init__(self) -> None:
        if self.entity not in ENTITIES:
            raise ValueError("an entity is one of those that are published")


class SnapshotRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Read `model` of `source` again: all of it, what matches `domain`, or exactly `ids`.

    `domain` is Odoo's (a list of terms and operators) on top of what is captured anyway; `requested_at` is aware, UTC.
    """

    id: str
    source: str
    model: str
    requested_at: datetime
    domain: list[Any] = []
    ids: list[int] | None = None
    held: list[Held] = []

    def __post_init__(self) -> None:
        if self.requested_at.tzinfo is None:
            raise ValueError("a naive datetime may not cross a module border")
        if not self.id or not self.source or not self.model:
            raise ValueError("a request needs an id, a source and a model")
        check_domain(self.domain)
        if self.ids is not None and not all(one > 0 for one in self.ids):
            raise ValueError("ids are positive")


_decoder = msgspec.json.Decoder(SnapshotRequest)


def check_domain(domain: Sequence[Any]) -> None:
    """Raises ValueError unless `domain` has the form of an Odoo domain: terms of three, and `&`, `|`, `!` before them.

    The operators must find their terms, or what is added to the domain would become part of it.
    """
    open_terms = 0
    for term in reversed(domain):
        if term in ("&", "|"):
            if open_terms < 2:
                raise ValueError(f"the domain's {term} lacks a term")
            open_terms -= 1
        elif term == "!":
            if open_terms < 1:
                raise ValueError("the domain's ! lacks a term")
        elif (
            isinstance(term, list | tuple) and len(term) == 3 and isinstance(term[0], str) and isinstance(term[1], str)
        ):
            open_terms += 1
        else:
            raise ValueError("a domain is a list of [field, operator, value] and of the operators & | !")


def partition_of(source: str, partitions: int) -> int:
    """Partition of a source's signals: one, so that they have an order."""
    return zlib.crc32(source.encode()) % partitions


def request_snapshot(
    publisher: Publisher, partitions: int, source: str, model: str, domain: Sequence[Any], at: datetime
) -> str:
    """Ask for a snapshot of a model, or of a domain of it, beside the streaming; id of the request.

    `partitions`: of the topic; `at`: now. Raises ValueError for a domain that is none, PublishFailed.
    """
    request = SnapshotRequest(uuid4().hex, source, model, at, list(domain))
    ask(publisher, partitions, [request])
    return request.id


def request_recapture(
    publisher: Publisher,
    partitions: int,
    source: str,
    model: str,
    ids: Iterable[int],
    at: datetime,
    held: Iterable[Held] = (),
) -> list[str]:
    """Ask for records to be read and published again, deletions included; ids of the requests, none for no ids.

    Raises ValueError for ids that are none, PublishFailed.
    """
    requests = recaptures(source, model, ids, at, held)
    ask(publisher, partitions, requests)
    return [request.id for request in requests]


def recaptures(
    source: str, model: str, ids: Iterable[int], at: datetime, held: Iterable[Held] = ()
) -> list[SnapshotRequest]:
    """The requests for given records, as many as it needs. Raises ValueError for ids that are none."""
    wanted, of_id = sorted(set(ids)), dict[int, list[Held]]()
    for one in held:
        of_id.setdefault(one.id, []).append(one)
    chunks = (wanted[start : start + MOST_IDS] for start in range(0, len(wanted), MOST_IDS))
    return [
        SnapshotRequest(
            uuid4().hex, source, model, at, ids=chunk, held=[one for number in chunk for one in of_id.get(number, ())]
        )
        for chunk in chunks
    ]


def ask(publisher: Publisher, partitions: int, requests: Sequence[SnapshotRequest]) -> None:
    """Write requests to the topic; they stand in it when this returns. Raises PublishFailed."""
    for request in requests:
        value = msgspec.json.encode(request)
        publisher.publish(SIGNALS, request.source, value, partition=partition_of(request.source, partitions))
    publisher.flush()


def decode_signal(value: bytes) -> SnapshotRequest:
    """The request of a record's value. Raises ValueError."""
    try:
        return _decoder.decode(value)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a signal: {error}") from None


class SignalReader:
    """Signals for one source, from a position on. For one thread at a time.

    `config`: librdkafka's; `position`: offset of the next signal to read, None to begin with those written from now on.
    Raises KafkaException when the topic is missing or the broker does not answer within ten seconds.
    """

    def __init__(self, config: Mapping[str, Any], source: str, position: int | None) -> None:
        self._source = source
        self._consumer = Consumer(
            {
                **config,
                "group.id": f"finwatch.signals.{source}",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",  # signals are kept for days: an older one is not worth a stop
                "log_level": 0,
            }
        )
        try:
            topic = self._consumer.list_topics(SIGNALS, timeout=10).topics[SIGNALS]
            if topic.error is not None:
                raise KafkaException(topic.error)
            where = TopicPartition(SIGNALS, partition_of(source, len(topic.partitions)), OFFSET_END)
            # The end is taken now, as a number: a signal written before the first read is not to be missed.
            where.offset = self._consumer.get_watermark_offsets(where, timeout=10)[1] if position is None else position
            self.position = where.offset
            """Offset of the signal to read next."""
            self._consumer.assign([where])
        except KafkaException:
            self._consumer.close()
            raise

    def read(self, seconds: float = 0.0, most: int = 100) -> tuple[list[SnapshotRequest], list[str]]:
        """(requests for this source, what is wrong with the records that are none), waiting up to `seconds`.

        `position` moves behind them: store it with what becomes of them.
        """
        found, refused = [], []
        first = self._consumer.poll(seconds)
        for message in [] if first is None else [first, *self._consumer.consume(most, 0)]:
            value, offset = message.value(), message.offset()
            if message.error() is not None or offset is None:
                continue
            self.position = max(self.position, offset + 1)
            try:
                request = decode_signal(value or b"")
            except ValueError as error:
                refused.append(str(error))
                continue
            if request.source == self._source:
                found.append(request)
        return found, refused

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
