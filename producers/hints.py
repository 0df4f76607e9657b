"""Hints: a record of a source may have changed. They make a poll come sooner and are never taken as truth.

Written by the webhook ingress to `finwatch.hints` (key source:model:id, value JSON), read by the capture. A lost hint
costs the wait for the next poll, nothing else; so readers begin at the end and keep no position.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from finwatch.runtime.topics import HINTS


class Hint(NamedTuple):
    """Record `id` of `model` in `source` was said at `at` (aware, UTC) to have changed."""

    source: str
    model: str
    id: int
    at: datetime

    def key(self) -> str:
        """Key of its record."""
        return f"{self.source}:{self.model}:{self.id}"


class _Value(msgspec.Struct):
    source: str
    model: str
    id: int
    at: datetime


_decoder = msgspec.json.Decoder(_Value)


def encode_hint(hint: Hint) -> bytes:
    """Value of its record."""
    return msgspec.json.encode(_Value(*hint))


def decode_hint(value: bytes) -> Hint:
    """The hint of a record's value. Raises ValueError."""
    try:
        found = _decoder.decode(value)
    except msgspec.DecodeError:
        raise ValueError("not a hint") from None
    return Hint(found.source, found.model, found.id, found.at)


class HintReader:
    """Hints for one source, from now on. For one thread at a time.

    `config`: librdkafka's, from `settings.kafka.client_config()`. Raises KafkaException when the topic is missing
    or the broker does not answer within ten seconds; afterwards a broker that is away means no hints, never an error.
    """

    def __init__(self, config: Mapping[str, Any], source: str) -> None:
        self._source = source
        self._consumer = Consumer(
            {**config, "group.id": f"finwatch.hints.{source}", "enable.auto.commit": False, "log_level": 0}
        )
        try:
            topic = self._consumer.list_topics(HINTS, timeout=10).topics[HINTS]
            if topic.error is not None:
                raise KafkaException(topic.error)
            # The ends are taken now, as numbers: what is written before the first read is not to be missed.
            places = [TopicPartition(HINTS, number) for number in topic.partitions]
            for place in places:
                place.offset = self._consumer.get_watermark_offsets(place, timeout=10)[1]
            self._consumer.assign(places)
        except KafkaException:
            self._consumer.close()
            raise

    def read(self, seconds: float, most: int = 1000) -> list[Hint]:
        """Wait up to `seconds` for a hint, then take what is there; each record of a model once, newest last."""
        found: dict[str, Hint] = {}
        first = self._consumer.poll(seconds)
        for message in [] if first is None else [first, *self._consumer.consume(most, 0)]:
            value = message.value()
            if message.error() is not None or value is None:
                continue
            try:
                hint = decode_hint(value)
            except ValueError:
                continue  # whoever wrote it, it only ever was a hint
            if hint.source == self._source:
                found.pop(hint.key(), None)
                found[hint.key()] = hint
        return list(found.values())

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
