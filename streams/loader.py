"""Reads state partitions back from Kafka for the inlet's thread. What the records mean is ``streams.checkpoint``'s."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from time import monotonic
from typing import Any

import confluent_kafka as ck

from streams.checkpoint import Record, Restored, read_commit, restore, split_key
from streams.gathering import Gathering

_CHUNK = 5000
_METADATA_SECONDS = 5.0


class StateUnreadable(Exception):
    """The state topic did not answer in time."""


class _Walk(Iterable[Record]):
    """The records of one state partition, read from Kafka as often as wanted."""

    def __init__(self, reader: StateReader, partition: int) -> None:
        self._reader = reader
        self._partition = partition

    def __iter__(self) -> Iterator[Record]:
        return ((key, value) for _, key, value, _ in self._reader.read([self._partition]))


class StateReader:
    """Reads a stage's state topic with a short-lived consumer a call. Raises StateUnreadable, StateDamaged."""

    def __init__(self, config: Mapping[str, Any], topic: str, deadline: float = 120.0) -> None:
        self._config = config
        self._topic = topic
        self._deadline = deadline

    def load(self, wanted: Mapping[int, Collection[str]]) -> dict[tuple[str, int], Restored]:
        """Return the state of input topics by (topic, partition).

        ``wanted``: the input topics by partition. Each state partition is read once for all of them, and again when its
        history cannot be told in one walk.
        """
        gathered = {partition: Gathering(topics) for partition, topics in wanted.items()}
        adds = {partition: gathering.add for partition, gathering in gathered.items()}
        for message in self._messages(list(wanted)):
            key = message.key()
            if key is not None:
                adds[message.partition() or 0](key, message.value())
        del adds
        found: dict[tuple[str, int], Restored] = {}
        for partition in wanted:
            states = gathered.pop(partition).states()
            unclear = [topic for topic, state in states.items() if state is None]
            if unclear:
                states.update(restore(_Walk(self, partition), unclear))
            found.update({(topic, partition): state for topic, state in states.items() if state is not None})
        return found

    def foreign(
        self, partition: int, owned: Mapping[str, tuple[bytes, int]], cutoff: int
    ) -> dict[str, list[bytes] | None]:
        """Return what other branches left in a state partition, in the order in which it may be deleted, by topic.

        ``owned``: own branch and position by input topic. None for a topic that another branch wrote to after
        ``cutoff`` (epoch milliseconds), or of which another branch stands beyond the own position.
        """
        rows: dict[str, dict[bytes, None]] = {topic: {} for topic in owned}
        commits: dict[str, dict[bytes, None]] = {topic: {} for topic in owned}
        alive: set[str] = set()
        for _, key, value, written in self.read([partition]):
            kind, topic, branch, _ = split_key(key)
            if topic not in owned or branch == owned[topic][0]:
                continue
            found = rows[topic] if kind == b"r" else commits[topic]
            found.pop(key, None)  # the last place of a key in the log decides its place here
            if value is None:
                continue
            found[key] = None
            if written > cutoff or (kind == b"c" and read_commit(value).next > owned[topic][1]):
                alive.add(topic)
        return {topic: None if topic in alive else [*rows[topic], *commits[topic]] for topic in owned}

    def read(self, partitions: Collection[int]) -> Iterator[tuple[int, bytes, bytes | None, int]]:
        """Yield (partition, key, value, time stamp in epoch milliseconds) up to the end of each partition."""
        for message in self._messages(partitions):
            key = message.key()
            if key is not None:
                yield message.partition() or 0, key, message.value(), message.timestamp()[1]

    def _messages(self, partitions: Collection[int]) -> Iterator[ck.Message]:
        """Yield the records up to the end of each partition."""
        left = set(partitions)
        quiet = monotonic() + self._deadline
        consumer = ck.Consumer(
            {
                **self._config,
                "group.id": "finwatch-state-reader",  # never joined: partitions are assigned by hand
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 10,
                "fetch.queue.backoff.ms": 10,
                "log_level": 0,
            }
        )
        try:
            # Without it the consumer learns where the partitions are at the next tick of a timer, half a second later.
            with contextlib.suppress(ck.KafkaException):  # what is away is waited for below
                consumer.list_topics(self._topic, timeout=_METADATA_SECONDS)
            consumer.assign([ck.TopicPartition(self._topic, p, ck.OFFSET_BEGINNING) for p in sorted(left)])
            while left:
                # A short wait: `consume` waits all of it when fewer records arrive than it was asked for.
                for message in consumer.consume(_CHUNK, 0.02):
                    quiet = monotonic() + self._deadline
                    error = message.error()
                    if error is None:
                        yield message
                    elif error.code() == ck.KafkaError._PARTITION_EOF:
                        left.discard(message.partition())
                if monotonic() > quiet:
                    raise StateUnreadable(f"{self._topic} cannot be read: no answer for {self._deadline:.0f} s")
        finally:
            consumer.close()
