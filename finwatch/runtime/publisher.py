"""How producers hand records to Kafka: in order, acknowledged by all replicas, each once in the log.

`flush` is the point of no doubt: what was published before it stands in the broker, or it raises. Whoever keeps a
position stores it behind a flush, never before.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from finwatch.runtime.clock import Clock, SystemClock
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.topics import MAX_RECORD_BYTES

FIXED: Mapping[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
    "partitioner": "murmur2_random",
    "linger.ms": 5,
    "compression.type": "lz4",
    "queue.buffering.max.messages": 500_000,
    "queue.buffering.max.kbytes": 262_144,
    "message.max.bytes": MAX_RECORD_BYTES,
    "log_level": 0,
}
DEADLINE_SECONDS = 120.0
_SERVED_EVERY = 100


class PublishFailed(Exception):
    """A record was refused, or not acknowledged in time. Nothing published since the last flush may be relied on."""

    exit_code = ExitCode.UNAVAILABLE
    what_to_do = "check FINWATCH_KAFKA_BOOTSTRAP, and that `finwatch topics apply` was run"


class Publisher(Protocol):
    """Ordered delivery of records, by partition."""

    def publish(self, topic: str, key: str, value: bytes | None, partition: int | None = None) -> None:
        """Hand over one record; the key decides the partition unless one is given. None deletes in compacted topics.

        May wait for room. Raises PublishFailed.
        """
        ...

    def flush(self) -> None:
        """Wait until everything published so far is acknowledged. Raises PublishFailed."""
        ...


class Gate(Protocol):
    """Room on the broker: the embedded one forgets, so producers wait for its slowest reader."""

    def admit(
        self,
        topic: str,
        partition: int | None,
        size: int,
        *,
        stop: threading.Event | None = None,
        serve: Callable[[float], object] | None = None,
    ) -> bool:
        """Wait for room of `size` bytes of key and value, calling `serve` meanwhile; False once `stop` is set."""
        ...

    def delivered(self, topic: str, partition: int, offset: int, size: int, *, floating: bool = True) -> None:
        """An admitted record stands in the broker. `floating`: it was admitted without a partition."""
        ...

    def dropped(self, topic: str, partition: int | None, size: int) -> None:
        """An admitted record failed for good; `partition` as it was admitted."""
        ...


class KafkaPublisher:
    """Publisher on librdkafka's idempotent producer. For one thread at a time.

    `config`: librdkafka's, from `settings.kafka.client_config()`. `gated`: topics that go through `gate`; all when
    None. After the first failure every call raises PublishFailed: make a new one and begin at the last position.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        gate: Gate | None = None,
        gated: frozenset[str] | None = None,
        stop: threading.Event | None = None,
        deadline: float = DEADLINE_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        told = {"message.timeout.ms": int(deadline * 1000), "delivery.report.only.error": gate is None}
        self._producer = Producer({**config, **FIXED, **told})
        self._unserved = 0
        self._gate = gate
        self._gated = gated
        self._stop = stop
        self._deadline = deadline
        self._clock = clock or SystemClock()
        self._failure: str | None = None

    def publish(self, topic: str, key: str, value: bytes | None, partition: int | None = None) -> None:
        """See Publisher."""
        self._raise_failure()
        raw_key = key.encode()
        reported: Callable[[KafkaError | None, Message], None] = self._reported
        if self._gate is not None and (self._gated is None or topic in self._gated):
            size = len(raw_key) + len(value or b"")
            if not self._gate.admit(topic, partition, size, stop=self._stop, serve=self._producer.poll):
                raise PublishFailed("stopped while waiting for room on the broker")
            reported = self._gated_report(self._gate, topic, partition, size)
        until: float | None = None
        while True:
            try:
                self._producer.produce(
                    topic, value, raw_key, -1 if partition is None else partition, on_delivery=reported
                )
            except BufferError:
                now = self._clock.monotonic()
                until = now + self._deadline if until is None else until
                if now > until:
                    self._failure = f"no broker took a record within {self._deadline:.0f} s"
                    self._raise_failure()
                self._producer.poll(0.05)
                continue
            except KafkaException as error:
                self._failure = f"a record for {topic} cannot be produced: {_name(error)}"
                self._raise_failure()
            break
        # Reports are few without a gate (failures only), and flush serves them all: asking for each record costs more
        # than handing it over.
        self._unserved += 1
        if self._gate is not None or self._unserved >= _SERVED_EVERY:
            self._unserved = 0
            self._producer.poll(0)

    def flush(self) -> None:
        """See Publisher."""
        left = self._producer.flush(self._deadline + 5)
        if left and self._failure is None:
            self._failure = f"{left} records are not acknowledged within {self._deadline:.0f} s"
        self._raise_failure()

    def close(self) -> None:
        """Deliver what is left. Raises PublishFailed."""
        self.flush()

    def _reported(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and self._failure is None:
            self._failure = f"a record for {message.topic()} was not delivered: {error.name()}"

    def _gated_report(
        self, gate: Gate, topic: str, partition: int | None, size: int
    ) -> Callable[[KafkaError | None, Message], None]:
        def reported(error: KafkaError | None, message: Message) -> None:
            at, offset = message.partition(), message.offset()
            if error is None and at is not None and offset is not None:
                gate.delivered(topic, at, offset, size, floating=partition is None)
            else:
                gate.dropped(topic, partition, size)
            self._reported(error, message)

        return reported

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise PublishFailed(self._failure)


def _name(error: KafkaException) -> str:
    first = error.args[0] if error.args else None
    return first.name() if isinstance(first, KafkaError) else type(error).__name__
