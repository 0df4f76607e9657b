"""One transaction of the broker for many requests: all of its records become visible to readers of committed records,
or none ever does, and which of the two is known before any of their senders is told.

What is certain:
1. As long as the commit was not asked for, nothing is visible and never will be: whoever gives up there may say so.
2. A commit that the broker confirms is done.
3. Of a commit without an answer, and of one that failed, the log alone tells. `Lane` takes its own identity anew, which
   makes the broker end the transaction one way or the other, and then looks whether a record of it is to be read.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from finwatch.runtime.publisher import FIXED

IDENTITIES = "finwatch.webhook."
"""What transactional ids of ingresses begin with, for the access lists of a broker."""
_ANSWER_SECONDS = 1.0
_PAUSE_SECONDS = 0.25
_OPEN_SECONDS = 10.0
# A fatal error is set as an exception while delivery reports are called, which then fail with a SystemError over it.
_TROUBLE = (KafkaException, SystemError)


class Record(NamedTuple):
    """One record to send."""

    topic: str
    key: bytes
    value: bytes


class Outcome(NamedTuple):
    """What became of a transaction.

    `committed`: whether its records are visible to readers of committed records; None when that could not be told
    before the lane was stopped. `failure`: the client's name for what went wrong.
    """

    committed: bool | None
    failure: str | None = None


class Lane:
    """Transactions one after another under one identity. `config`: librdkafka's.

    `begin` is quick and may be called in an event loop; `recover` and `end` wait for the broker, in a thread. One call
    at a time. `identity` must be nobody else's: two processes under one would end each other's transactions.
    `seconds`: time the broker has to take the records of a transaction, and again to commit it.
    """

    def __init__(
        self, config: Mapping[str, Any], identity: str, *, seconds: float, stopping: threading.Event | None = None
    ) -> None:
        self._base = dict(config)
        self._seconds = seconds
        self._identity = identity
        self._stopping = stopping or threading.Event()
        self._producer: Producer | None = None
        self._place: TopicPartition | None = None
        self._refused = False
        self._fault: str | None = None
        self.ready = False

    def begin(self, records: Sequence[Record]) -> list[bool]:
        """Hand over the records of a transaction; of each whether the client took it. The lane must be `ready`.

        A record that is not taken is no part of the transaction.
        """
        assert self._producer is not None
        self.ready = False
        self._place = self._fault = None
        self._refused = False
        taken = [False] * len(records)
        try:
            self._producer.begin_transaction()
        except _TROUBLE as error:
            self._fault = _name(error)
            return taken
        for number, (topic, key, value) in enumerate(records):
            try:
                self._producer.produce(topic, value, key, on_delivery=self._reported)
            except (BufferError, *_TROUBLE) as error:
                self._fault = self._fault or _name(error)
                continue
            taken[number] = True
        return taken

    def end(self) -> Outcome:
        """Commit what was begun. Waits for the broker, however long it is away once the commit was asked for."""
        assert self._producer is not None
        # 1. Every record is acknowledged, or the commit is never asked for.
        try:
            left = self._producer.flush(self._seconds)
        except _TROUBLE as error:
            return Outcome(False, _name(error))
        if left or self._refused or self._place is None:
            return Outcome(False, self._fault or KafkaError(KafkaError._MSG_TIMED_OUT).name())
        # 2. The commit.
        until = time.monotonic() + self._seconds
        while True:
            try:
                self._producer.commit_transaction(_ANSWER_SECONDS)
                self.ready = True
                return Outcome(True)
            except _TROUBLE as error:
                failure, again = _name(error), _retriable(error)
            if not again or time.monotonic() > until or self._stopping.is_set():
                break
        # 3. Nobody can say what became of it but the log, once the transaction is over.
        return Outcome(self._renew() and self._stands(self._place), failure)

    def recover(self) -> bool:
        """Be able to begin: what is left of the last transaction is ended. False when stopped before."""
        if self._producer is not None and not self.ready:
            try:
                self._producer.abort_transaction(_ANSWER_SECONDS)
                self.ready = True
            except _TROUBLE:
                self._producer = None
        return self.ready or bool(self._renew())

    def close(self) -> None:
        """Give up what is not committed."""
        if self._producer is not None and not self.ready:
            try:
                self._producer.abort_transaction(_ANSWER_SECONDS)
            except _TROUBLE:
                return  # the broker ends it in `transaction.timeout.ms`

    def _renew(self) -> bool | None:
        """Take the identity anew, which ends its transaction for good; None when stopped before."""
        while not self._stopping.is_set():
            try:
                self._producer = Producer(self._config())
                self._producer.init_transactions(max(_ANSWER_SECONDS, self._seconds))
            except _TROUBLE as error:
                self._fault = _name(error)
                self._stopping.wait(_PAUSE_SECONDS)
                continue
            self.ready = True
            return True
        return None

    def _stands(self, place: TopicPartition) -> bool | None:
        """Whether the record at `place` is visible, its transaction being over; None when stopped before."""
        consumer = Consumer(
            {
                **self._base,
                "group.id": self._identity,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
            }
        )
        try:
            consumer.assign([place])
            while not self._stopping.is_set():
                message = consumer.poll(_ANSWER_SECONDS)
                if message is None:
                    continue
                error, offset = message.error(), message.offset()
                if error is None:
                    return offset == place.offset
                if error.code() == KafkaError._PARTITION_EOF and offset is not None and offset > place.offset:
                    return False
                if error.code() == KafkaError._AUTO_OFFSET_RESET:
                    return False  # gone already: hints alone are kept for so short a time
            return None
        finally:
            consumer.close()

    def _config(self) -> dict[str, Any]:
        milliseconds = max(100, int(self._seconds * 1000))
        return {
            **self._base,
            **FIXED,
            "transactional.id": self._identity,
            "transaction.timeout.ms": int(1000 * max(_OPEN_SECONDS, 2 * self._seconds)),
            "message.timeout.ms": milliseconds,
            "retry.backoff.max.ms": 500,
        }

    def _reported(self, error: KafkaError | None, message: Message) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if error is not None:
            self._refused, self._fault = True, error.name()
        elif self._place is None and topic is not None and partition is not None and offset is not None:
            # Of all that stand or fall together, where the first one stands is enough to find them again.
            self._place = TopicPartition(topic, partition, offset)


def _told(error: BaseException | None) -> KafkaError | None:
    """What the client said, in the exception or beneath it."""
    while error is not None:
        if isinstance(error, KafkaException) and error.args and isinstance(error.args[0], KafkaError):
            return error.args[0]
        error = error.__cause__ or error.__context__
    return None


def _retriable(error: BaseException) -> bool:
    told = _told(error)
    return told is not None and told.retriable()


def _name(error: BaseException) -> str:
    told = _told(error)
    return type(error).__name__ if told is None else told.name()
