"""How producers hand records to Kafka: in order, acknowledged by all replicas, each once in the log.

`flush` is the point of no doubt: what was published before it stands in the broker, or it raises. Whoever keeps a
position stores it behind a flush, never before.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Protocol

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


class Fenced(PublishFailed):
    """Another producer took this one's place: the broker refuses whatever this one still sends."""

    exit_code = ExitCode.FENCED
    what_to_do = "let the other one run, or stop it before this one is started again"


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
        # Without a gate only failures are reported, to one function for all: a function a record costs as much again.
        told: dict[str, Any] = {"message.timeout.ms": int(deadline * 1000), "on_delivery": self._reported}
        if gate is None:
            told["delivery.report.only.error"] = True
        self._producer = Producer({**config, **FIXED, **told})
        self._unserved = 0
        self._gate = gate
        self._gated = gated
        self._stop = stop
        self._deadline = deadline
        self._clock = clock or SystemClock()
        self._failure: PublishFailed | None = None

    def publish(self, topic: str, key: str, value: bytes | None, partition: int | None = None) -> None:
        """See Publisher."""
        if self._failure is not None:
            raise self._failure
        raw_key = key.encode()
        options: dict[str, Any] = {}
        if self._gate is not None and (self._gated is None or topic in self._gated):
            size = len(raw_key) + len(value or b"")
            if not self._gate.admit(topic, partition, size, stop=self._stop, serve=self._serve):
                raise PublishFailed("stopped while waiting for room on the broker")
            options["on_delivery"] = self._gated_report(self._gate, topic, partition, size)
        until: float | None = None
        while True:
            try:
                self._producer.produce(topic, value, raw_key, -1 if partition is None else partition, **options)
            except BufferError:
                now = self._clock.monotonic()
                until = now + self._deadline if until is None else until
                if now > until:
                    self._fail(PublishFailed(f"no broker took a record within {self._deadline:.0f} s"))
                self._serve(0.05)
                continue
            except _TROUBLE as error:
                self._fail(self._judged(error, f"a record for {topic} cannot be produced"))
            break
        # Reports are few without a gate (failures only), and flush serves them all: asking for each record costs more
        # than handing it over.
        self._unserved += 1
        if self._gate is not None or self._unserved >= _SERVED_EVERY:
            self._unserved = 0
            self._serve(0)

    def flush(self) -> None:
        """See Publisher."""
        try:
            left = self._producer.flush(self._deadline + 5)
        except _TROUBLE as error:
            self._fail(self._judged(error, "records cannot be delivered"))
        if left and self._failure is None:
            self._failure = PublishFailed(f"{left} records are not acknowledged within {self._deadline:.0f} s")
        self._raise_failure()

    def close(self) -> None:
        """Deliver what is left. Raises PublishFailed."""
        self.flush()

    def _reported(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and self._failure is None:
            self._failure = _failure(error, f"a record for {message.topic()} was not delivered")

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

    def _serve(self, seconds: float) -> None:
        """Take delivery reports. Raises PublishFailed when the client cannot go on."""
        try:
            self._producer.poll(seconds)
        except _TROUBLE as error:  # how the client tells of a fatal error, being fenced among them
            self._fail(self._judged(error, "the producer cannot go on"))

    def _judged(self, error: BaseException, what: str) -> PublishFailed:
        told = _told(error)
        return PublishFailed(f"{what}: {type(error).__name__}") if told is None else _failure(told, what)

    def _fail(self, failure: PublishFailed) -> NoReturn:
        if self._failure is None or isinstance(failure, Fenced):
            self._failure = failure
        raise self._failure

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


class TransactionalPublisher(KafkaPublisher):
    """One producer at a time under one `identity`, in all of the cluster.

    What was published between two flushes is seen whole or not at all by readers of committed records (librdkafka's
    default), and nothing of it once another producer made its `claim` under the same identity: the broker refuses
    it, however long this process was stopped in between. Raises Fenced then.

    `open_seconds`: how long a transaction may stay open before the broker ends it, which fences its producer as well;
    whoever dies inside one holds up the readers of the partitions it wrote to until then, or until the next claim.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        identity: str,
        *,
        stop: threading.Event | None = None,
        deadline: float = DEADLINE_SECONDS,
        open_seconds: float = 180.0,
        clock: Clock | None = None,
    ) -> None:
        if open_seconds < deadline:
            raise ValueError("a transaction must stay open as long as a record may take")
        transactional = {"transactional.id": identity, "transaction.timeout.ms": int(open_seconds * 1000)}
        super().__init__({**config, **transactional}, stop=stop, deadline=deadline, clock=clock)
        self._claimed = self._open = False

    def claim(self) -> None:
        """Take the place of whoever produced under this identity: what it had not committed is gone, for good.

        What is read of committed records behind this call is all that there is. Raises PublishFailed, Fenced.
        """
        self._transact(self._producer.init_transactions, "the broker does not let this producer in")
        self._claimed = True

    def publish(self, topic: str, key: str, value: bytes | None, partition: int | None = None) -> None:
        """See Publisher. Claims first where that was not done."""
        self._raise_failure()
        if not self._claimed:
            self.claim()
        if not self._open:
            self._transact(lambda _seconds: self._producer.begin_transaction(), "a transaction cannot begin")
            self._open = True
        super().publish(topic, key, value, partition)

    def flush(self) -> None:
        """See Publisher: the transaction is committed, or this raises and nothing of it is ever seen."""
        self._raise_failure()
        if not self._open:
            return
        # 1. Every record is acknowledged; 2. all of them, and the state among them, become visible at once.
        super().flush()
        self._transact(self._producer.commit_transaction, "a transaction cannot be committed")
        self._open = False

    def close(self) -> None:
        """Give up what is not committed. Raises nothing: whoever claims next ends it as well."""
        if self._open and not isinstance(self._failure, Fenced):
            with contextlib.suppress(KafkaException):
                self._producer.abort_transaction(5.0)
        self._open = False

    def _judged(self, error: BaseException, what: str) -> PublishFailed:
        told = _told(error)
        if told is None or told.code() == KafkaError._FATAL:
            # It only says that there was a fatal error before; asked for an end of the transaction, it says which.
            try:
                self._producer.abort_transaction(1.0)
            except KafkaException as fatal:
                error = fatal
        return super()._judged(error, what)

    def _transact(self, call: Callable[[float], object], what: str) -> None:
        """Call until it is done, for as long as the broker asks to try again."""
        until = self._clock.monotonic() + self._deadline
        while True:
            try:
                call(max(0.1, until - self._clock.monotonic()))
                return
            except _TROUBLE as error:
                told = _told(error)
                if told is None or not told.retriable() or self._clock.monotonic() > until:
                    self._fail(self._judged(error, what))


_FENCED = (
    KafkaError._FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
)


# A fatal error is set as an exception while delivery reports are called, which then fail with a SystemError over it.
_TROUBLE = (KafkaException, SystemError)


def _told(error: BaseException | None) -> KafkaError | None:
    """What the client said, in the exception or beneath it."""
    while error is not None:
        if isinstance(error, KafkaException) and error.args and isinstance(error.args[0], KafkaError):
            return error.args[0]
        error = error.__cause__ or error.__context__
    return None


def _failure(error: KafkaError, what: str) -> PublishFailed:
    if error.code() in _FENCED or "fenced" in error.str():
        return Fenced("another producer took this one's place, or this one was stopped for too long")
    return PublishFailed(f"{what}: {error.name()}")


def _name(error: KafkaException) -> str:
    first = error.args[0] if error.args else None
    return first.name() if isinstance(first, KafkaError) else type(error).__name__
