"""Back-pressure of the embedded broker: a producer waits for the slowest consumer group.

The mock broker drops the oldest records of a partition beyond 5 MB, read or not. So no more than `LIMIT_BYTES` that
some group has not committed may stand in a partition. `Window` is the bookkeeping, pure; `Gate` adds the broker, from
which it learns the committed offsets (about 0.2 ms a group, and only while a producer has to wait).

Who goes through a gate:

- producers of entity topics (import, capture, webhook), with `admit`;
- the streams' outputs, with `charge` while a batch is applied and `wait` before the next one: an agent must not stop
  in the middle of an event. A batch may overshoot; the distance from `LIMIT_BYTES` to the broker's 5 MB is for that;
- not the sinks: their dead letters are read by themselves, and waiting for oneself never ends. The dead-letter limits
  bound them;
- not the state topics: the embedded mode does not write them. State is rebuilt from the store
  (`finwatch.runtime.history`).

The chain producers -> documents -> relations -> sinks has no cycle, so waiting cannot lock it, provided that no two of
them share a thread. Two producers of one topic each have a window of their own (2 x 2 MB still fit into 5); more than
two must share one gate, which is safe from any thread.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from finwatch.runtime.clock import Clock, SystemClock
from finwatch.runtime.logging import get_logger
from finwatch.runtime.topics import KPI, RELATION, STORED_TOPICS, WATCHED_TOPICS

LIMIT_BYTES = 2 * 1024 * 1024
RECORD_OVERHEAD = 32
"""Bytes that are counted for a record beside its key and value (header of the record, its part of the batch's)."""
CHUNK_BYTES = 32 * 1024
"""Grain of the bookkeeping: delivered records are freed in runs of about this size, not one by one."""

READS: Mapping[str, tuple[str, ...]] = {
    "documents": WATCHED_TOPICS,
    "relations": (RELATION,),
    "sink-clickhouse": STORED_TOPICS,
    "sink-prometheus": (KPI,),
}
"""Topics each consumer group of the product reads, in the order in which data passes through the groups."""

_log = get_logger("backpressure")


def readers(groups: Iterable[str], reads: Mapping[str, Sequence[str]] = READS) -> dict[str, tuple[str, ...]]:
    """Groups that read each topic, of the `groups` that run. Raises KeyError for a group that `reads` does not know."""
    found: dict[str, tuple[str, ...]] = {}
    for group in groups:
        for topic in reads[group]:
            found[topic] = (*found.get(topic, ()), group)
    return found


class Window:
    """Bytes on their way or unread, for each partition this producer writes. Pure, and not safe for threads.

    A record is *charged* before it is produced, then *delivered* (its offset is known) or *dropped* (it never will
    be). With partition None (librdkafka picks it by the key) it counts against every partition of its topic until it
    is delivered. It is free once every group that reads the topic has committed beyond its offset; topics that no
    group reads are not limited.
    """

    def __init__(self, readers: Mapping[str, Sequence[str]], limit: int = LIMIT_BYTES) -> None:
        if limit <= 0:
            raise ValueError("the limit of a window is a positive number of bytes")
        self.readers = {topic: tuple(groups) for topic, groups in readers.items() if groups}
        self.limit = limit
        self._floating: dict[str, int] = {}  # topic -> charged without a partition, not delivered yet
        self._flying: dict[tuple[str, int], int] = {}  # charged with a partition, not delivered yet
        self._unread: dict[str, dict[int, int]] = {}  # topic -> partition -> delivered, not committed by all
        self._runs: dict[tuple[str, int], deque[list[int]]] = {}  # [last offset, bytes] of runs of delivered records
        self._committed: dict[tuple[str, int], dict[str, int]] = {}
        self._fullest: dict[str, int] = {}  # topic -> largest of its partitions' unread bytes

    def held(self, topic: str, partition: int | None) -> int:
        """Bytes that stand against a record for this partition (None: for whichever it will be)."""
        floating = self._floating.get(topic, 0)
        if partition is not None:
            unread = self._unread.get(topic, {}).get(partition, 0)
            return floating + unread + self._flying.get((topic, partition), 0)
        flying = sum(size for (name, _), size in self._flying.items() if name == topic) if self._flying else 0
        return floating + flying + self._fullest.get(topic, 0)

    def room(self, topic: str, partition: int | None, size: int) -> bool:
        """Whether a record may go. One larger than the whole window may when nothing else stands in its way."""
        if topic not in self.readers:
            return True
        held = self.held(topic, partition)
        return held == 0 or held + size + RECORD_OVERHEAD <= self.limit

    def charge(self, topic: str, partition: int | None, size: int) -> None:
        """Count a record that is about to be produced."""
        if topic not in self.readers:
            return
        size += RECORD_OVERHEAD
        if partition is None:
            self._floating[topic] = self._floating.get(topic, 0) + size
        else:
            self._flying[topic, partition] = self._flying.get((topic, partition), 0) + size

    def delivered(self, topic: str, partition: int, offset: int, size: int, *, floating: bool = True) -> None:
        """A charged record stands in the broker. `floating`: it was charged without a partition."""
        if topic not in self.readers:
            return
        self._settle(topic, None if floating else partition, size)
        size += RECORD_OVERHEAD
        runs = self._runs.setdefault((topic, partition), deque())
        if runs and runs[-1][1] < CHUNK_BYTES and runs[-1][0] < offset:
            runs[-1][0] = offset
            runs[-1][1] += size
        else:
            runs.append([offset, size])
        unread = self._unread.setdefault(topic, {})
        unread[partition] = unread.get(partition, 0) + size
        self._fullest[topic] = max(self._fullest.get(topic, 0), unread[partition])

    def dropped(self, topic: str, partition: int | None, size: int) -> None:
        """A charged record failed for good; `partition` as it was charged."""
        if topic in self.readers:
            self._settle(topic, partition, size)

    def committed(self, group: str, topic: str, partition: int, offset: int) -> None:
        """A group's position: it has done with everything below `offset` (negative: it has not committed yet)."""
        groups = self.readers.get(topic, ())
        if group not in groups:
            return
        positions = self._committed.setdefault((topic, partition), {})
        positions[group] = max(positions.get(group, 0), offset)
        slowest = min(positions.get(name, 0) for name in groups)
        runs = self._runs.get((topic, partition))
        if not runs or runs[0][0] >= slowest:
            return
        unread = self._unread[topic]
        while runs and runs[0][0] < slowest:
            unread[partition] -= runs.popleft()[1]
        self._fullest[topic] = max(unread.values())

    def full(self) -> list[str]:
        """Topics in which some partition is over the limit."""
        return [topic for topic in self.readers if self.held(topic, None) > self.limit]

    def watched(self) -> dict[str, list[tuple[str, int]]]:
        """Group -> partitions whose committed offset would free something."""
        wanted: dict[str, list[tuple[str, int]]] = {}
        for (topic, partition), runs in self._runs.items():
            if runs:
                for group in self.readers[topic]:
                    wanted.setdefault(group, []).append((topic, partition))
        return wanted

    def slowest(self, topic: str) -> str:
        """The group that a producer of this topic waits for."""

        def behind(group: str) -> int:
            ends = {key: runs[-1][0] for key, runs in self._runs.items() if key[0] == topic and runs}
            return sum(end - self._committed.get(key, {}).get(group, 0) for key, end in ends.items())

        return max(self.readers[topic], key=behind)

    def _settle(self, topic: str, partition: int | None, size: int) -> None:
        size += RECORD_OVERHEAD
        if partition is None:
            self._floating[topic] = max(0, self._floating.get(topic, 0) - size)
        else:
            left = self._flying.get((topic, partition), 0) - size
            if left > 0:
                self._flying[topic, partition] = left
            else:
                self._flying.pop((topic, partition), None)


class Gate:
    """A `Window` that learns from the broker what the groups have committed. Safe from any thread.

    A producer calls `admit` (or `charge` and later `wait`) for each record with the bytes of its key and value, and
    `delivered` or `dropped` from its delivery callback; `admitted_callback` does the latter. `serve` is called while
    waiting, so that the producer's own callbacks run: pass `producer.poll`.
    """

    PAUSES = (0.002, 0.005, 0.01, 0.02)
    """Seconds between two questions to the broker while waiting; the last one repeats."""
    PATIENCE = 30.0
    """Seconds of waiting after which the log says for whom."""

    def __init__(
        self,
        client: Mapping[str, Any],
        readers: Mapping[str, Sequence[str]],
        *,
        limit: int = LIMIT_BYTES,
        clock: Clock | None = None,
    ) -> None:
        self._window = Window(readers, limit)
        self._positions = Positions(client)
        self._lock = threading.Lock()
        self._clock = clock or SystemClock()
        self.waits = 0
        """Times a producer had to wait."""

    def admit(
        self,
        topic: str,
        partition: int | None,
        size: int,
        *,
        stop: threading.Event | None = None,
        serve: Callable[[float], object] | None = None,
    ) -> bool:
        """Wait until there is room, then charge the record. False: `stop` was set, and nothing is charged."""
        if self._try(topic, partition, size):
            return True
        return self._until(lambda: self._try(topic, partition, size), topic, stop, serve)

    def charge(self, topic: str, partition: int | None, size: int) -> None:
        """Count a record without waiting; the caller calls `wait` before it makes more of them."""
        with self._lock:
            self._window.charge(topic, partition, size)

    def wait(self, *, stop: threading.Event | None = None, serve: Callable[[float], object] | None = None) -> bool:
        """Wait until no partition is over the limit. False: `stop` was set."""
        full = self._full()
        return not full or self._until(lambda: not self._full(), full[0], stop, serve)

    async def wait_async(self, *, serve: Callable[[float], object] | None = None) -> None:
        """`wait` for an event loop, which goes on meanwhile; ends by cancellation."""
        pause = iter(self.PAUSES)
        while self._full():
            if serve is not None:
                serve(0)
            await asyncio.to_thread(self.refresh)
            if self._full():
                await asyncio.sleep(next(pause, self.PAUSES[-1]))

    def delivered(self, topic: str, partition: int, offset: int, size: int, *, floating: bool = True) -> None:
        """A charged record stands in the broker. `floating`: it was charged without a partition."""
        with self._lock:
            self._window.delivered(topic, partition, offset, size, floating=floating)

    def dropped(self, topic: str, partition: int | None, size: int) -> None:
        """A charged record failed for good; `partition` as it was charged."""
        with self._lock:
            self._window.dropped(topic, partition, size)

    def refresh(self) -> None:
        """Ask the broker for the positions that matter. An absent broker is logged and changes nothing."""
        with self._lock:
            wanted = self._window.watched()
        for group, partitions in wanted.items():
            try:
                positions = self._positions.committed(group, partitions)
            except KafkaException as error:
                _log.warning("cannot read committed offsets", group=group, error=_name(error))
                return
            with self._lock:
                for (topic, partition), offset in positions.items():
                    self._window.committed(group, topic, partition, offset)

    def close(self) -> None:
        """Close the connections to the broker."""
        self._positions.close()

    def _try(self, topic: str, partition: int | None, size: int) -> bool:
        with self._lock:
            if not self._window.room(topic, partition, size):
                return False
            self._window.charge(topic, partition, size)
            return True

    def _full(self) -> list[str]:
        with self._lock:
            return self._window.full()

    def _until(
        self,
        done: Callable[[], bool],
        topic: str,
        stop: threading.Event | None,
        serve: Callable[[float], object] | None,
    ) -> bool:
        stop = stop or threading.Event()
        self.waits += 1
        pause = iter(self.PAUSES)
        said = self._clock.monotonic()
        while not stop.is_set():
            if serve is not None:
                serve(0)  # delivery callbacks first: without them nothing that was charged ever becomes free
            self.refresh()
            if done():
                return True
            if self._clock.monotonic() - said > self.PATIENCE:
                said = self._clock.monotonic()
                with self._lock:
                    _log.warning("waiting for a consumer", topic=topic, group=self._window.slowest(topic))
            self._clock.wait(next(pause, self.PAUSES[-1]), stop)
        return False


class Positions:
    """Committed offsets and ends of partitions, asked of the broker without joining any group.

    Consumers that never subscribe ask, one a group: an AdminClient's group requests that time out end the process
    (`rd_kafka_enq_once_del_source_return: Assertion eonce->refcnt > 0`, librdkafka 2.16). Safe from any thread.
    """

    TIMEOUT = 10.0

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._client = dict(client)
        self._consumers: dict[str, Consumer] = {}
        self._lock = threading.Lock()

    def committed(self, group: str, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Committed offset by partition; negative where the group has none. Raises KafkaException."""
        asked = [TopicPartition(topic, partition) for topic, partition in partitions]
        if not asked:
            return {}
        found: dict[tuple[str, int], int] = {}
        for item in self._consumer(group).committed(asked, timeout=self.TIMEOUT):
            if item.error is not None:
                raise KafkaException(item.error)
            found[item.topic, item.partition] = item.offset
        return found

    def ends(self, topics: Iterable[str], group: str = "") -> dict[tuple[str, int], int]:
        """Offset of the next record, by partition, of the `topics` that exist. Raises KafkaException."""
        consumer = self._consumer(group)
        known = consumer.list_topics(timeout=self.TIMEOUT).topics
        found: dict[tuple[str, int], int] = {}
        for topic in topics:
            for partition in known[topic].partitions if topic in known else ():
                marks = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=self.TIMEOUT)
                if marks is None:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
                found[topic, partition] = marks[1]
        return found

    def lag(self, group: str, topics: Iterable[str]) -> int:
        """Records of `topics` that `group` has not committed yet. Raises KafkaException."""
        ends = {key: end for key, end in self.ends(topics, group).items() if end > 0}
        done = self.committed(group, ends)
        return sum(end - max(0, done.get(key, 0)) for key, end in ends.items())

    def close(self) -> None:
        """Close the connections; a later question opens them again."""
        with self._lock:
            for consumer in self._consumers.values():
                consumer.close()
            self._consumers.clear()

    def _consumer(self, group: str) -> Consumer:
        with self._lock:
            if group not in self._consumers:
                config = {**self._client, "group.id": group or "finwatch-positions", "enable.auto.commit": False}
                self._consumers[group] = Consumer(config)
            return self._consumers[group]


def backlog(
    positions: Positions, groups: Iterable[str], reads: Mapping[str, Sequence[str]] = READS
) -> tuple[str, int] | None:
    """The first group, in the order data passes through them, that has not read everything, and how much it lacks.

    None: all have. The order makes that answer true although the groups are asked one after the other: a group commits
    after its outputs are acknowledged, so when it lacks nothing, the ends of what it writes are already final, as long
    as nobody produces at the front. Raises KafkaException.
    """
    ordered = [name for name in reads if name in set(groups)]
    for group in ordered:
        lacking = positions.lag(group, reads[group])
        if lacking:
            return group, lacking
    return None


def admitted_callback(gate: Gate, size: int, then: Callable[[Any, Any], object] | None = None) -> Callable[..., None]:
    """Delivery callback of confluent-kafka for a record that was admitted without a partition.

    Tells the gate, then calls `then(error, message)`.
    """

    def told(error: KafkaError | None, message: Any) -> None:
        if error is None:
            gate.delivered(message.topic(), message.partition(), message.offset(), size)
        else:
            gate.dropped(message.topic(), None, size)
        if then is not None:
            then(error, message)

    return told


def _name(error: KafkaException) -> str:
    first = error.args[0] if error.args else error
    return first.name() if isinstance(first, KafkaError) else type(error).__name__
