"""The thin edge to the broker that both sinks read through.

Which life a topic is in, reading from given positions, commits for lag displays.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)

from finwatch.runtime.admin import admin_client
from finwatch.runtime.config import KafkaSettings
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.topics import MAX_RECORD_BYTES

Partition = tuple[str, int]
"""Topic and partition number."""

TIMEOUT = 15.0

_GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)


class LogUnavailable(Exception):
    """The broker does not answer, or lacks the topics."""

    exit_code = ExitCode.UNAVAILABLE

    def __init__(self, message: str, what_to_do: str) -> None:
        super().__init__(message)
        self.what_to_do = what_to_do


class LogChanged(Exception):
    """A topic is in another life than when reading began: what was read must be placed anew."""


class OutOfRange(Exception):
    """The broker does not have the offset that comes next."""

    def __init__(self, partition: Partition, position: int, low: int, high: int) -> None:
        super().__init__(f"{partition[0]}[{partition[1]}]: next is {position}, the broker has {low} to {high}")
        self.partition, self.position, self.low, self.high = partition, position, low, high


class LogReader:
    """Reads all partitions of the given topics. For one thread.

    `incarnation`: the life of an embedded broker, which cannot name its topics' ids; empty for a real broker. `group`:
    consumer group of the commits; there is no group membership, all partitions are read.
    """

    def __init__(self, settings: KafkaSettings, topics: Sequence[str], incarnation: str, group: str) -> None:
        self._settings = settings
        self._topics = tuple(topics)
        self._incarnation = incarnation
        self._admin: Any = None
        self._consumer = Consumer(
            settings.client_config(
                {
                    "group.id": group,
                    "enable.auto.commit": False,
                    # Positions come from the store; an offset that is not there is a fact to be told, never a jump.
                    "auto.offset.reset": "error",
                    "fetch.wait.max.ms": 50,
                    "fetch.queue.backoff.ms": 10,
                    "queued.min.messages": 100_000,
                    # As much as a batch wants: what lies here is memory, and a batch is written at a time.
                    "queued.max.messages.kbytes": 8_192,
                    "fetch.message.max.bytes": MAX_RECORD_BYTES,
                    "log_level": 0,
                    "topic.metadata.refresh.interval.ms": 30_000,
                }
            )
        )
        self._assigned: dict[Partition, int] = {}

    def incarnations(self) -> dict[str, str]:
        """Identity of the present life of each topic that exists. Raises LogUnavailable.

        Real broker: cluster id and topic id (KIP-516), which a deleted and recreated topic does not keep.
        """
        if self._incarnation:
            return dict.fromkeys(self._topics, self._incarnation)
        if self._admin is None:
            self._admin = admin_client(self._settings)
        try:
            cluster = self._admin.describe_cluster(request_timeout=TIMEOUT).result(TIMEOUT + 1)
            answers = self._admin.describe_topics(TopicCollection(list(self._topics)), request_timeout=TIMEOUT)
        except (KafkaException, TimeoutError) as error:
            raise self._away(error) from None
        found: dict[str, str] = {}
        for topic, future in answers.items():
            try:
                found[topic] = f"{cluster.cluster_id}/{future.result(TIMEOUT + 1).topic_id}"
            except (KafkaException, TimeoutError) as error:
                code = error.args[0].code() if isinstance(error, KafkaException) else None
                if code not in _GONE:
                    raise self._away(error) from None
        return found

    def partitions(self) -> list[Partition]:
        """All partitions of the topics that exist. Raises LogUnavailable, also when no topic exists."""
        try:
            metadata = self._consumer.list_topics(timeout=TIMEOUT)
        except KafkaException as error:
            raise self._away(error) from None
        found = [
            (name, number)
            for name in self._topics
            if name in metadata.topics
            for number in metadata.topics[name].partitions
        ]
        if not found:
            raise LogUnavailable(
                f"the broker at {self._settings.bootstrap} has none of the topics", "run: finwatch topics apply"
            )
        return found

    def assign(self, positions: Mapping[Partition, int]) -> None:
        """Read from these offsets; 0 means the first one the broker has."""
        self._assigned = dict(positions)
        self._consumer.assign(
            [TopicPartition(topic, number, offset or OFFSET_BEGINNING) for (topic, number), offset in positions.items()]
        )

    def poll(self, most: int, timeout: float) -> list[Any]:
        """Up to `most` records (confluent_kafka.Message), waiting at most `timeout` seconds.

        Raises LogChanged when a topic went away and OutOfRange when the next offset is not there.
        """
        good: list[Any] = []
        message: Any
        for message in self._consumer.consume(most, timeout):
            error = message.error()
            if error is None:
                good.append(message)
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                self._out_of_range((message.topic(), message.partition()), good)
            elif error.code() in _GONE:
                raise LogChanged(f"{message.topic()} went away")
            elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise LogUnavailable(
                    f"no right to read {message.topic()}", "grant this user Read on the finance topics"
                )
            # Anything else is a passing trouble that librdkafka mends itself.
        return good

    def _out_of_range(self, partition: Partition, read: Iterable[Any]) -> None:
        low, high = self.watermarks(partition)
        seen = [m.offset() + 1 for m in read if (m.topic(), m.partition()) == partition]
        at = max([*seen, self.next_offset(partition)])
        raise OutOfRange(partition, at, low, high)

    def next_offset(self, partition: Partition) -> int:
        """Offset of the record that comes next, as far as it was handed out."""
        held = self._consumer.position([TopicPartition(*partition)])[0].offset
        return held if held >= 0 else self._assigned.get(partition, 0)

    def watermarks(self, partition: Partition) -> tuple[int, int]:
        """First offset the broker has, and the one after the last. Raises LogUnavailable."""
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=TIMEOUT)
        except KafkaException as error:
            raise self._away(error) from None
        return int(low), int(high)

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """The offset after the last record of each partition, as of now, in one request. Raises LogUnavailable."""
        asked = [TopicPartition(topic, number, OFFSET_END) for topic, number in partitions]
        if not asked:
            return {}
        try:
            answers = self._consumer.offsets_for_times(asked, timeout=TIMEOUT)
        except KafkaException as error:
            raise self._away(error) from None
        found = {(answer.topic, answer.partition): answer.offset for answer in answers if answer.error is None}
        if len(found) < len(asked):
            raise LogUnavailable("the broker does not say where its logs end", "it is asked again")
        return found

    def lags(self, positions: Mapping[Partition, int]) -> dict[str, int]:
        """Records behind the end of the log by topic, from what the last fetches told; no request is made."""
        behind: dict[str, int] = {}
        for (topic, number), position in positions.items():
            low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, number), cached=True)
            lag = max(0, high - max(position, low)) if high >= 0 else 0
            behind[topic] = behind.get(topic, 0) + lag
        return behind

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Tell the broker what stands in the store: for lag displays and the embedded producers, never read back."""
        offsets = [TopicPartition(topic, number, offset) for (topic, number), offset in positions.items() if offset > 0]
        if offsets:
            self._consumer.commit(offsets=offsets, asynchronous=True)

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def _away(self, error: BaseException) -> LogUnavailable:
        return LogUnavailable(
            f"no Kafka broker answers at {self._settings.bootstrap} ({_name(error)})",
            "start the broker, or set FINWATCH_KAFKA_BOOTSTRAP; an embedded one needs FINWATCH_EMBEDDED",
        )


def _name(error: BaseException) -> str:
    if isinstance(error, KafkaException):
        return str(error.args[0].name())
    return type(error).__name__
