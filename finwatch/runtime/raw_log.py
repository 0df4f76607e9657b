"""Reads the store's raw log: the records of some keys, byte for byte, where they stood, and what moved their time.

Works on any store that the ClickHouse sink fills, embedded or a server, with a right to read.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any, NamedTuple

from finwatch.runtime.history import HistoryRecord


class Place(NamedTuple):
    """Where a record stands. `incarnation`: life of the log that the offset belongs to."""

    topic: str
    partition: int
    incarnation: str
    offset: int


class LoggedRecord(NamedTuple):
    """A record and its place."""

    place: Place
    record: HistoryRecord


class RawLog:
    """The raw log behind a clickhouse-connect client. Raises what the client raises."""

    def __init__(self, client: Any, database: str) -> None:
        self._client = client
        self._log = f"{database}.raw_log"
        self._events = f"{database}.event_log"
        self._lives = f"{database}.incarnations"

    def records(self, topic: str, keys: Collection[str]) -> list[LoggedRecord]:
        """Records of a topic under these keys in the order of the log, oldest life first, by partition, each once.

        With them come those of their partitions that moved the time of a source: heartbeats, and the first event of
        each later `observed_at`. A deadline that passed between two events of a document fired at one of those.
        """
        wanted = sorted(keys)
        partitions = [
            int(row[0])
            for row in self._client.query(
                f"SELECT DISTINCT partition FROM {self._log} WHERE topic = {{topic:String}} "  # noqa: S608 - bound
                "AND key IN {keys:Array(String)}",
                parameters={"topic": topic, "keys": wanted},
            ).result_rows
        ]
        if not partitions:
            return []
        order = {
            str(name): int(number)
            for name, number in self._client.query(
                f"SELECT incarnation, min(seq) FROM {self._lives} GROUP BY incarnation"  # noqa: S608
            ).result_rows
        }
        columns = self._client.query(
            "SELECT partition, incarnation, offset, key, value, toUnixTimestamp64Micro(timestamp) AS at "  # noqa: S608
            f"FROM {self._log} WHERE topic = {{topic:String}} AND partition IN {{partitions:Array(UInt16)}} "
            "AND NOT tombstone AND (key IN {keys:Array(String)} OR position(key, ':') = 0 "
            "OR (partition, incarnation, offset) IN ("
            "  SELECT partition, incarnation, offset FROM ("
            "    SELECT partition, incarnation, offset, observed_at, max(observed_at) OVER ("
            "      PARTITION BY partition, incarnation, source ORDER BY offset"
            "      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before"
            f"    FROM {self._events} WHERE topic = {{topic:String}} AND partition IN {{partitions:Array(UInt16)}}"
            "  ) WHERE observed_at > before)) "
            "ORDER BY partition, incarnation, offset LIMIT 1 BY partition, incarnation, offset",
            parameters={"topic": topic, "partitions": sorted(partitions), "keys": wanted},
            column_formats={"key": "bytes", "value": "bytes"},
        ).result_rows
        found_records = [
            LoggedRecord(
                Place(topic, int(partition), str(life), int(offset)),
                HistoryRecord(bytes(key), bytes(value), int(at), int(offset)),
            )
            for partition, life, offset, key, value, at in columns
        ]
        found_records.sort(
            key=lambda one: (one.place.partition, order.get(one.place.incarnation, sys.maxsize), one.place.offset)
        )
        return found_records
