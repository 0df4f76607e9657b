"""Records to the broker, each with its own answer, many in one request to the broker. Runs in an event loop, no thread.

KafkaPublisher stops at its first failure, because its users keep positions. Here every record stands for itself: its
sender hears whether it is in the log and repeats it when not, with the same id.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from finwatch.runtime.publisher import FIXED
from producers.webhook.errors import Refused

_POLL_SECONDS = 0.002
_SLOW_POLL_SECONDS = 0.05
RETRY_AFTER = 5
_UNAVAILABLE = "the event cannot be stored now; send it again"


class Deliveries:
    """Sends records and tells of each whether the broker acknowledged it within `seconds`.

    A record that failed may stand in the log all the same when the broker's answer was lost; that is why ids are
    functions of the content. `config`: librdkafka's. At most `most` records are on their way at a time.
    """

    def __init__(self, config: Mapping[str, Any], *, seconds: float, most: int) -> None:
        self._config = {
            **config,
            **FIXED,
            "message.timeout.ms": max(1, int(seconds * 1000)),
            "retry.backoff.max.ms": 500,
            "error_cb": self._error,
        }
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._quiet = 0
        self._broken = False
        self._producer = Producer(self._config)
        self._retired: list[Producer] = []
        self.pending = 0
        self.last_failure: str | None = None
        self.on_failure: Callable[[], object] = lambda: None

    def send(self, topic: str, key: str, value: bytes) -> asyncio.Future[bool]:
        """Hand over one record; the future is whether it was acknowledged. Raises Refused (503)."""
        if self.pending >= self._most:
            raise Refused(503, _UNAVAILABLE, RETRY_AFTER)
        if self._broken:
            # A fatal error ends an idempotent producer for good; its records were failed already or will be.
            self._retired.append(self._producer)
            self._producer = Producer(self._config)
            self._broken = False
        answer: asyncio.Future[bool] = self._loop.create_future()

        def reported(error: KafkaError | None, _message: Message) -> None:
            self.pending -= 1
            if error is not None:
                self.last_failure = error.name()
                self.on_failure()
            else:
                self.last_failure = None
            if not answer.done():
                answer.set_result(error is None)

        try:
            self._producer.produce(topic, value, key.encode(), on_delivery=reported)
        except (BufferError, KafkaException) as error:
            first = error.args[0] if error.args else None
            self.last_failure = first.name() if isinstance(first, KafkaError) else type(error).__name__
            self.on_failure()
            raise Refused(503, _UNAVAILABLE, RETRY_AFTER) from None
        self.pending += 1
        self._quiet = 0
        if self._timer is None:
            self._timer = self._loop.call_later(_POLL_SECONDS, self._serve)
        return answer

    def _serve(self) -> None:
        """Take delivery reports while any record is on its way; more slowly while none come."""
        before = self.pending
        self._producer.poll(0)
        for producer in self._retired:
            producer.poll(0)
        self._retired = [producer for producer in self._retired if len(producer)]
        self._quiet = 0 if self.pending < before else self._quiet + 1
        if self.pending:
            wait = _POLL_SECONDS if self._quiet < 50 else _SLOW_POLL_SECONDS
            self._timer = self._loop.call_later(wait, self._serve)
        else:
            self._timer = None

    def _error(self, error: KafkaError) -> None:
        if error.fatal():
            self._broken = True

    async def close(self) -> None:
        """Wait until every record has its answer; that takes `seconds` at most."""
        while self.pending:
            await asyncio.sleep(_POLL_SECONDS)  # `_serve` runs meanwhile
        if self._timer is not None:
            self._timer.cancel()
