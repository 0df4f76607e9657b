"""Where the logs end and begin, asked of the broker in one request a leader, from a thread of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import confluent_kafka as ck

TopicPartition = tuple[str, int]


class Ends:
    """Asks for log ends through a consumer that never joins a group. Blocking; safe from any thread."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._consumer = ck.Consumer(
            {**config, "group.id": "finwatch-ends", "enable.auto.commit": False, "log_level": 0}
        )

    def latest(self, partitions: Sequence[TopicPartition], seconds: float = 10.0) -> dict[TopicPartition, int]:
        """Return the offset of the next record by partition; partitions without an answer are left out."""
        return self._ask(partitions, ck.OFFSET_END, seconds)

    def earliest(self, partitions: Sequence[TopicPartition], seconds: float = 30.0) -> dict[TopicPartition, int]:
        """Return the offset of the first record by partition; partitions without an answer are left out."""
        return self._ask(partitions, ck.OFFSET_BEGINNING, seconds)

    def _ask(self, partitions: Sequence[TopicPartition], what: int, seconds: float) -> dict[TopicPartition, int]:
        if not partitions:
            return {}
        asked = [ck.TopicPartition(topic, partition, what) for topic, partition in partitions]
        try:
            answers = self._consumer.offsets_for_times(asked, timeout=seconds)
        except ck.KafkaException:
            return {}
        return {(a.topic, a.partition): a.offset for a in answers if a.error is None and a.offset >= 0}

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
