"""The one way out of a stage: an idempotent producer that can say when everything up to a moment is acknowledged.

Outputs, state rows and commit records go through the same producer, in order. Deliveries are counted by *epoch*:
``cut`` ends the current epoch and opens the next, so a checkpoint waits for what was sent before it while processing
goes on.
A refused or unacknowledged record ends the process: what was not delivered must be made again from the checkpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Protocol

import confluent_kafka as ck

from finwatch.runtime.exits import ExitCode
from finwatch.runtime.topics import MAX_RECORD_BYTES

Fatal = Callable[[str, ExitCode], None]


class Gate(Protocol):
    """Back-pressure of the embedded broker (``finwatch.local.backpressure.Gate``): nobody may outrun a reader."""

    def charge(self, topic: str, partition: int | None, size: int) -> None:
        """Count a record about to be produced, without waiting."""
        ...

    def delivered(self, topic: str, partition: int, offset: int, size: int, *, floating: bool = True) -> None:
        """Note that a charged record stands in the broker."""
        ...

    async def wait_async(self, *, serve: Callable[[float], object] | None = None) -> None:
        """Wait until no partition is over its limit."""
        ...


_SENDING = 3
_SEND_SECONDS = 0.002
"""Whoever settles waits for records, not for a request to fill up: while ``flush`` runs nothing lingers.

A few short calls: librdkafka's threads have to wake up within one, and the event loop stands still meanwhile.
"""

_PRODUCER: Mapping[str, Any] = {
    "enable.idempotence": True,
    "partitioner": "murmur2_random",
    # A request holds one partition's records, and outputs and rows go to some thirty: at 10,000 records a second, the
    # client's CPU time is 0.8 us a record less than with 40 ms (7.3 us, which includes a broker in the same process).
    "linger.ms": 100,
    "queue.buffering.max.messages": 500_000,
    "queue.buffering.max.kbytes": 262_144,
    "message.max.bytes": MAX_RECORD_BYTES,
    "log_level": 0,
}


class Epoch:
    """Deliveries outstanding of the records sent in one stretch of time."""

    __slots__ = ("_fatal", "left")

    def __init__(self, fatal: Fatal) -> None:
        self.left = 0
        self._fatal = fatal

    def done(self, error: ck.KafkaError | None, message: ck.Message) -> None:
        """Take a delivery report."""
        self.left -= 1
        if error is not None:
            self._fatal(f"a record for {message.topic()} was not delivered: {error.str()}", ExitCode.UNAVAILABLE)


class Outlet:
    """Producer of one stage. All methods are called from the event loop's thread only."""

    def __init__(
        self, config: Mapping[str, Any], fatal: Fatal, *, deadline: float = 120.0, gate: Gate | None = None
    ) -> None:
        """``config``: librdkafka's; ``deadline``: seconds after which an unacknowledged record ends the process."""
        self._producer = ck.Producer({**config, **_PRODUCER, "message.timeout.ms": int(deadline * 1000)})
        self._produce = self._producer.produce
        self._fatal = fatal
        self._deadline = deadline
        self._gate = gate
        self._epoch = Epoch(fatal)
        self._done = self._epoch.done

    def send(self, topic: str, value: bytes | None, key: bytes, partition: int = -1) -> None:
        """Hand a record to the producer; waits when its queue is full."""
        until = 0.0
        done = self._done if self._gate is None else self._gated(self._gate, topic, len(value or b"") + len(key))
        while True:
            try:
                self._produce(topic, value, key, partition, done)
            except BufferError:
                now = monotonic()
                until = until or now + self._deadline
                if now > until:
                    self._fatal(f"no broker took a record within {self._deadline:.0f} s", ExitCode.UNAVAILABLE)
                self._producer.poll(0.05)
                continue
            except ck.KafkaException as error:
                self._fatal(f"a record for {topic} cannot be produced: {error.args[0].str()}", ExitCode.SOFTWARE)
            self._epoch.left += 1
            return

    def poll(self) -> None:
        """Serve delivery reports without waiting."""
        self._producer.poll(0)

    def serve(self, seconds: float) -> object:
        """Serve delivery reports for up to ``seconds``."""
        return self._producer.poll(seconds)

    def cut(self) -> Epoch:
        """End the current epoch and return it."""
        ended = self._epoch
        self._epoch = Epoch(self._fatal)
        self._done = self._epoch.done
        return ended

    async def settle(self, epoch: Epoch) -> None:
        """Wait until every record of an epoch is acknowledged."""
        until = monotonic() + self._deadline
        pause = 0.001
        turns = _SENDING
        self._producer.poll(0)
        while epoch.left:
            if monotonic() > until:
                self._fatal(f"records are not acknowledged within {self._deadline:.0f} s", ExitCode.UNAVAILABLE)
                return
            if turns:
                turns -= 1
                self._producer.flush(_SEND_SECONDS)
            else:
                self._producer.poll(0)
            if epoch.left:
                await asyncio.sleep(pause)
                pause = min(0.01, pause * 2)

    def _gated(self, gate: Gate, topic: str, size: int) -> Callable[[ck.KafkaError | None, ck.Message], None]:
        gate.charge(topic, None, size)
        done = self._done

        def delivered(error: ck.KafkaError | None, message: ck.Message) -> None:
            if error is None:
                gate.delivered(topic, message.partition() or 0, message.offset() or 0, size)
            done(error, message)

        return delivered

    def close(self, seconds: float) -> int:
        """Deliver what is left within ``seconds``; return how many records were not."""
        return self._producer.flush(seconds)
