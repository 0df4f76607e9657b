"""The inlet: a thread with a librdkafka consumer that fills a Faust channel with decoded micro-batches.

The consumer thread owns the consumer, the assignment and the leases. Any consumer call from another thread while it is
in a rebalance callback would deadlock, so there is none: what the event loop wants committed it leaves in ``commits``.

Positions come from the state, never from Kafka's committed offsets; those are written for lag displays only.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import confluent_kafka as ck
from msgspec import Struct

from finwatch.runtime.clock import Clock
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.logging import get_logger
from finwatch.runtime.retry import GaveUp, retrying
from schemas.registry import RegistryUnavailable
from streams.outlet import Fatal

TopicPartition = tuple[str, int]

_CONSUMER: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "auto.offset.reset": "error",  # a position out of range is never jumped over
    "enable.partition.eof": True,  # behind the last record may stand ends of transactions, which nobody delivers
    "partition.assignment.strategy": "cooperative-sticky",
    "heartbeat.interval.ms": 1000,
    "fetch.wait.max.ms": 50,
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 65_536,
    "fetch.queue.backoff.ms": 10,  # the default of a second halves the throughput
    "log_level": 0,
}
_POLL_SECONDS = 0.1


class OffsetLost(Exception):
    """The log begins behind, or ends before, the position of the state."""


class Decodes(Protocol):
    """What the inlet needs of ``schemas.decode.Decoder``."""

    def decode(self, values: Sequence[bytes | None], projections: Mapping[str, type[Struct]]) -> list[Struct]:
        """Return one Struct, Skipped or Bad a value."""
        ...


class Run(Struct, gc=False):
    """Consecutive records of one partition under one lease: the messages and what they decode to."""

    topic: str
    partition: int
    lease: int
    messages: list[ck.Message]
    events: list[Struct]
    end: int = 0
    """Where the log ends, when these were its last records (or, with no messages, when there were none); else 0."""


class Host(Protocol):
    """What the inlet tells its shell, always from the consumer thread; each call returns when it is done."""

    def take(self, partitions: Sequence[TopicPartition], lease: int) -> dict[TopicPartition, int]:
        """Load and own partitions; return the offset to read each from."""
        ...

    def release(self, partitions: Sequence[TopicPartition], save: bool) -> None:
        """Give partitions up, with a last checkpoint or without."""
        ...

    def deliver(self, runs: list[Run]) -> None:
        """Put a micro-batch on the channel; waits while that is full."""
        ...


class Inlet:
    """One consumer in a thread. ``fatal`` is called for whatever must end the process."""

    def __init__(
        self,
        config: Mapping[str, Any],
        group: str,
        topics: Sequence[str],
        decoder: Decodes,
        projections: Mapping[str, type[Struct]],
        host: Host,
        fatal: Fatal,
        clock: Clock,
        *,
        batch: int,
        session_timeout_ms: int,
    ) -> None:
        self._topics = list(topics)
        self._decoder = decoder
        self._projections = projections
        self._host = host
        self._fatal = fatal
        self._clock = clock
        self._batch = batch
        self._log = get_logger("inlet").bind(stage=group)
        self._consumer = ck.Consumer(
            {
                **config,
                **_CONSUMER,
                "group.id": group,
                "session.timeout.ms": session_timeout_ms,
                "error_cb": self._on_error,
            }
        )
        self._leases: dict[TopicPartition, int] = {}
        self._lease = 0
        self._away = False
        self.stop = threading.Event()
        self.commits: deque[tuple[TopicPartition, int]] = deque()  # appended to by the event loop
        self.assigned = False
        self.rebalances = {"assigned": 0, "revoked": 0, "lost": 0}
        self._thread = threading.Thread(target=self._run, name=f"inlet-{group}", daemon=True)

    def start(self) -> None:
        """Begin to consume."""
        self._thread.start()

    def join(self, seconds: float) -> bool:
        """Wait for the end after ``stop`` was set; True when it ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether the consumer thread runs."""
        return self._thread.is_alive()

    # Everything below runs in the consumer thread.

    def decode(self, values: Sequence[bytes | None]) -> list[Struct]:
        """Decode values, waiting while the registry is away. Raises GaveUp when it is told to stop meanwhile."""
        return retrying(
            lambda: self._decoder.decode(values, self._projections),
            (RegistryUnavailable,),
            stop=self.stop,
            on_failure=self._registry_away,
            clock=self._clock,
        )

    def _run(self) -> None:
        try:
            self._consumer.subscribe(
                self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self.stop.is_set():
                self._commit()
                messages = self._consumer.consume(self._batch, _POLL_SECONDS)
                if messages:
                    try:
                        runs = self._runs(messages)
                    except GaveUp:
                        break  # stopped while the registry was away
                    if runs:
                        self._host.deliver(runs)
            self._commit()
            self._consumer.close()  # revokes: the last checkpoint
        except OffsetLost as error:
            self._fatal(str(error), ExitCode.SOFTWARE)
        except BaseException as error:
            self._log.exception("the consumer thread failed")
            self._fatal(f"the consumer thread failed: {type(error).__name__}", ExitCode.SOFTWARE)

    def _runs(self, messages: Sequence[ck.Message]) -> list[Run]:
        """Group messages into runs of one partition and decode them all at once; ends of logs come last."""
        runs: list[Run] = []
        good: list[ck.Message] = []
        current: list[ck.Message] = []
        ends: list[Run] = []
        topic, partition = "", -1
        for message in messages:
            error = message.error()
            p, t = message.partition(), message.topic()
            if error is not None:
                if error.code() == ck.KafkaError._PARTITION_EOF and p is not None and t is not None:
                    topic, partition = "", -1
                    ends.append(Run(t, p, self._leases.get((t, p), -1), [], [], message.offset() or 0))
                else:
                    self._consumer_error(error)
                continue
            if p != partition or t != topic:
                assert p is not None and t is not None
                partition, topic = p, t
                current = []
                runs.append(Run(t, p, self._leases.get((t, p), -1), current, []))
            current.append(message)
            good.append(message)
        if not good:
            return ends
        self._away = False
        decoded = self.decode([message.value() for message in good])
        if len(runs) == 1:
            runs[0].events = decoded
            return runs + ends
        start = 0
        for run in runs:
            end = start + len(run.messages)
            run.events = decoded[start:end]
            start = end
        return runs + ends

    def _commit(self) -> None:
        newest: dict[TopicPartition, int] = {}
        while self.commits:
            tp, position = self.commits.popleft()
            newest[tp] = position
        offsets = [ck.TopicPartition(t, p, o) for (t, p), o in newest.items() if (t, p) in self._leases]
        if offsets:
            self._consumer.commit(offsets=offsets, asynchronous=True)

    def _on_assign(self, consumer: ck.Consumer, assigned: list[ck.TopicPartition]) -> None:
        self._lease += 1
        self.assigned = True
        if not assigned:
            return
        self.rebalances["assigned"] += 1
        partitions = [(tp.topic, tp.partition) for tp in assigned]
        positions = self._host.take(partitions, self._lease)
        for tp in partitions:
            self._leases[tp] = self._lease
        consumer.incremental_assign([ck.TopicPartition(t, p, positions[t, p]) for t, p in partitions])

    def _on_revoke(self, consumer: ck.Consumer, revoked: list[ck.TopicPartition]) -> None:
        self.rebalances["revoked"] += 1
        self._give_up(consumer, revoked, save=True)

    def _on_lost(self, consumer: ck.Consumer, lost: list[ck.TopicPartition]) -> None:
        # Another worker may own them already: a checkpoint now would only make two true states out of one.
        self.rebalances["lost"] += 1
        self._log.warning("partitions were lost to the group", partitions=len(lost))
        self._give_up(consumer, lost, save=False)

    def _give_up(self, consumer: ck.Consumer, partitions: list[ck.TopicPartition], *, save: bool) -> None:
        gone = [(tp.topic, tp.partition) for tp in partitions]
        self._host.release(gone, save)
        if save:
            self._commit()  # last positions, while the partitions are still this member's
        for tp in gone:
            self._leases.pop(tp, None)
        consumer.incremental_unassign(partitions)

    def _consumer_error(self, error: ck.KafkaError) -> None:
        if error.code() == ck.KafkaError._AUTO_OFFSET_RESET:
            raise OffsetLost(f"the position of the state is outside the log: {error.str()}")
        if error.fatal():
            self._fatal(f"the consumer cannot go on: {error.str()}", ExitCode.SOFTWARE)
        self._on_error(error)

    def _on_error(self, error: ck.KafkaError) -> None:
        """Say once that the broker is away, not at each attempt to reach it."""
        if error.code() in (
            ck.KafkaError.TOPIC_AUTHORIZATION_FAILED,
            ck.KafkaError.GROUP_AUTHORIZATION_FAILED,
            ck.KafkaError._AUTHENTICATION,
        ):
            self._fatal(f"the broker refuses this worker: {error.str()}", ExitCode.DENIED)
        if not self._away:
            self._away = True
            self._log.warning("broker trouble, trying again", error=error.name())

    def _registry_away(self, error: Exception, wait: float) -> None:
        if not self._away:
            self._away = True
            self._log.warning("schema registry cannot be reached, trying again", error=str(error))
