"""What the capture remembers between lives: a compacted topic, read at start, written behind the events.

Keys are `<source>/<kind>/<model>[/<bucket>]`, all of a source in one partition, so that their order is the order of
writing. A position is written after the hashes it rests on: a crash between them repeats reading, never events.
"""

import zlib
from collections.abc import Mapping
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from finwatch.runtime.clock import Clock, SystemClock
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.publisher import Publisher
from finwatch.runtime.topics import CAPTURE_STATE

READ_SECONDS = 60.0


class StateUnavailable(Exception):
    """The state topic cannot be read; without it the capture does not know what it published."""

    exit_code = ExitCode.UNAVAILABLE
    what_to_do = "check FINWATCH_KAFKA_BOOTSTRAP, and run `finwatch topics apply`"


class StateStore(Protocol):
    """Values by key of one source."""

    def load(self) -> dict[str, bytes]:
        """All values, as last stored."""
        ...

    def store(self, values: Mapping[str, bytes | None]) -> None:
        """Hand over values in order; None forgets a key. They are safe after the publisher's next flush."""
        ...


class MemoryState:
    """State that lives as long as the object: one-shot runs and tests."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def load(self) -> dict[str, bytes]:
        """All values."""
        return dict(self.values)

    def store(self, values: Mapping[str, bytes | None]) -> None:
        """Keep values."""
        for key, value in values.items():
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value


class KafkaState:
    """State in the topic finwatch.capture.state, written by the producer that publishes the events.

    `consumer_config` is librdkafka's for this broker; `partitions` the topic's number of them.
    """

    def __init__(
        self,
        publisher: Publisher,
        consumer_config: Mapping[str, Any],
        source: str,
        partitions: int,
        *,
        read_seconds: float = READ_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._publisher = publisher
        self._read_seconds = read_seconds
        self._config = dict(consumer_config)
        self._source = source
        self.partition = partition_of(source, partitions)

    def store(self, values: Mapping[str, bytes | None]) -> None:
        """Publish values in order, to the source's partition."""
        for key, value in values.items():
            self._publisher.publish(CAPTURE_STATE, f"{self._source}/{key}", value, partition=self.partition)

    def load(self) -> dict[str, bytes]:
        """Read the source's partition to its end. Raises StateUnavailable."""
        return read_state(
            self._config, self._source, self.partition, read_seconds=self._read_seconds, clock=self._clock
        )


def partition_of(source: str, partitions: int) -> int:
    """Partition of a source's state: one, so that the order of its keys is the order of writing."""
    return zlib.crc32(source.encode()) % partitions


def read_state(
    consumer_config: Mapping[str, Any],
    source: str,
    partition: int,
    *,
    read_seconds: float = READ_SECONDS,
    clock: Clock | None = None,
) -> dict[str, bytes]:
    """Values of a source as they were last committed, by key without the source. Raises StateUnavailable."""
    clock = clock or SystemClock()
    consumer = Consumer(
        {
            **consumer_config,
            "group.id": f"finwatch-capture-{source}",  # librdkafka wants one; nothing is committed to it
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    prefix = f"{source}/"
    values: dict[str, bytes] = {}
    try:
        where = TopicPartition(CAPTURE_STATE, partition)
        try:
            begin, end = consumer.get_watermark_offsets(where, timeout=read_seconds)
        except KafkaException as error:
            raise StateUnavailable(f"{CAPTURE_STATE} cannot be read: {_reason(error)}") from None
        consumer.assign([TopicPartition(CAPTURE_STATE, partition, begin)])
        position, last_read = begin, clock.monotonic()
        while position < end:
            # It waits for a full batch as long as it may: a short wait, and a limit on reading nothing at all.
            records = consumer.consume(500, timeout=0.2)
            if not records and clock.monotonic() - last_read > read_seconds:
                raise StateUnavailable(
                    f"{CAPTURE_STATE} was not read to its end: nothing came for {read_seconds:.0f} s"
                )
            for record in records:
                last_read = clock.monotonic()
                failure = record.error()
                if failure is not None:
                    if failure.code() != KafkaError._PARTITION_EOF:
                        raise StateUnavailable(f"{CAPTURE_STATE} cannot be read: {failure.name()}")
                    # Compaction and ends of transactions leave no record before it. It may come before the end that
                    # was asked for: then another source's transaction is open, and more follows.
                    position = max(position, record.offset() or 0)
                    continue
                position = (record.offset() or 0) + 1
                key = (record.key() or b"").decode("utf-8", "replace")
                if not key.startswith(prefix):
                    continue
                value = record.value()
                if value is None:
                    values.pop(key[len(prefix) :], None)
                else:
                    values[key[len(prefix) :]] = value
        return values
    finally:
        consumer.close()


def _reason(error: KafkaException) -> str:
    first = error.args[0] if error.args else None
    return first.name() if isinstance(first, KafkaError) else type(error).__name__
