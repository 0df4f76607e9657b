"""The memory of an embedded directory: the store's raw log, read as `finwatch.runtime.history.History`.

The ClickHouse sink writes every record of every finance topic into `raw_log`, byte for byte, with the life of the
broker (incarnation) its offset belongs to; `incarnations` numbers the lives. What the sink had not stored when
everything was killed is in no life: its source sends it again, since positions are stored after the records.
"""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any

from finwatch.runtime.config import Settings
from finwatch.runtime.history import DIGEST_BYTES, History, HistoryRecord

BATCH_RECORDS = 5_000
BATCH_BYTES = 8 * 1024 * 1024
"""A batch is limited to this by the largest record of its partition, so one huge record makes batches short."""

LOOK_SECONDS = 2.0
"""How long the list of what the raw log holds is used before it is asked for again."""

_DIGEST = (
    "substring(SHA256(concat(toString(length(topic)), ':', topic, toString(length(key)), ':', key, "
    f"toString(length(value)), ':', value)), 1, {DIGEST_BYTES})"
)
"""`finwatch.runtime.history.digest` in SQL."""


class HistoryLost(Exception):
    """The raw log holds records of a life that `incarnations` does not number: their order is not known."""


class StoreHistory(History):
    """`History` over a store, through clickhouse-connect clients that `connect` opens (of any kind).

    Safe from any thread: each has a client of its own, opened at its first question. `incarnation` is the present life
    of the broker: its records are `current`, those of all others are the past. A store without the tables (never
    migrated) has no history. Reads pages, so memory is bounded by a batch, but for `emitted`: about 100 bytes a record
    of the topics asked for.
    """

    def __init__(self, connect: Callable[[], Any], incarnation: str, database: str = "finwatch") -> None:
        self._connect = connect
        self._clients: dict[int, Any] = {}
        self._incarnation = incarnation
        self._log = f"{database}.raw_log"
        self._lives = f"{database}.incarnations"
        self._lock = threading.Lock()
        self._overview: dict[tuple[str, int], dict[str, int]] = {}
        self._looked_at = -LOOK_SECONDS

    def close(self) -> None:
        """Close the clients; a later question opens new ones."""
        while self._clients:
            self._clients.popitem()[1].close()

    def _client(self) -> Any:
        thread = threading.get_ident()
        if thread not in self._clients:
            self._clients[thread] = self._connect()
        return self._clients[thread]

    def records(self, topic: str, partition: int) -> Iterator[list[HistoryRecord]]:
        """Records of all earlier lives, oldest life first, by offset, each once; tombstones are left out."""
        for incarnation in self._past(topic, partition):
            yield from self._pages(topic, partition, incarnation)

    def current(self, topic: str, partition: int) -> Iterator[list[HistoryRecord]]:
        """Records of this life that the store has, by offset, each once; tombstones are left out."""
        yield from self._pages(topic, partition, self._incarnation)

    def emitted(self, topics: Sequence[str]) -> set[bytes]:
        """`digest` of every record of these topics in the store, of all lives."""
        found: set[bytes] = set()
        if not topics or not self._exists():
            return found
        pairs = self._rows(
            f"SELECT DISTINCT topic, partition FROM {self._log} WHERE topic IN {{topics:Array(String)}}",  # noqa: S608
            {"topics": list(topics)},
        )
        for topic, partition in pairs:
            columns = self._columns(
                f"SELECT DISTINCT {_DIGEST} AS digest FROM {self._log} "  # noqa: S608 - constants and a checked name
                "WHERE topic = {topic:String} AND partition = {partition:UInt16} AND NOT tombstone",
                {"topic": topic, "partition": partition},
                ("digest",),
            )
            found.update(columns[0] if columns else ())
        return found

    def _past(self, topic: str, partition: int) -> list[str]:
        """Earlier lives that have records of a partition, in their order. Raises HistoryLost."""
        return [life for life in self._held(topic, partition) if life != self._incarnation]

    def _held(self, topic: str, partition: int) -> dict[str, int]:
        """Lives that have records of a partition, in their order, and the largest record of each in bytes.

        Asked for all partitions at once: a worker asks for each of them when it starts, within a second or so. An
        answer of that age does no harm: what the store got meanwhile the broker still has, as nobody has read it.
        """
        with self._lock:
            if monotonic() - self._looked_at > LOOK_SECONDS:
                self._overview = self._look() if self._exists() else {}
                self._looked_at = monotonic()
            return self._overview.get((topic, partition), {})

    def _look(self) -> dict[tuple[str, int], dict[str, int]]:
        numbers = {
            str(name): int(number)
            for name, number in self._rows(
                f"SELECT incarnation, min(seq) FROM {self._lives} GROUP BY incarnation",  # noqa: S608
                {},
            )
        }
        numbers.setdefault(self._incarnation, sys.maxsize)
        held = self._rows(
            f"SELECT topic, partition, incarnation, max(length(key) + length(value)) FROM {self._log} "  # noqa: S608
            "GROUP BY topic, partition, incarnation",
            {},
        )
        unknown = sorted({str(row[2]) for row in held} - numbers.keys())
        if unknown:
            raise HistoryLost(f"{self._lives} does not number {', '.join(unknown)}, whose records {self._log} holds")
        found: dict[tuple[str, int], dict[str, int]] = {}
        for topic, partition, life, largest in sorted(held, key=lambda row: numbers[str(row[2])]):
            found.setdefault((str(topic), int(partition)), {})[str(life)] = int(largest)
        return found

    def _pages(self, topic: str, partition: int, incarnation: str) -> Iterator[list[HistoryRecord]]:
        where = "WHERE topic = {topic:String} AND partition = {partition:UInt16} AND incarnation = {incarnation:String}"
        given = {"topic": topic, "partition": partition, "incarnation": incarnation}
        largest = self._held(topic, partition).get(incarnation)
        if largest is None:
            return
        size = max(1, min(BATCH_RECORDS, BATCH_BYTES // max(1, largest)))
        after = -1
        while True:
            columns = self._columns(
                # LIMIT 1 BY: a record that a stale sink stored a second time is one record.
                f"SELECT key, value, toUnixTimestamp64Micro(timestamp) AS at, offset FROM {self._log} {where} "  # noqa: S608
                "AND offset > {after:Int64} AND NOT tombstone ORDER BY offset LIMIT 1 BY offset LIMIT {size:UInt32}",
                {**given, "after": after, "size": size},
                ("key", "value"),
            )
            if not columns or not columns[0]:
                return
            batch = [HistoryRecord(*row) for row in zip(*columns, strict=True)]
            after = batch[-1].offset
            yield batch
            if len(batch) < size:
                return

    def _exists(self) -> bool:
        return all(
            self._rows(f"EXISTS TABLE {table}", {})[0][0] == 1  # every part of the memory, or none
            for table in (self._log, self._lives)
        )

    def _rows(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        rows: Sequence[Sequence[Any]] = self._client().query(sql, parameters=dict(parameters)).result_rows
        return rows

    def _columns(self, sql: str, parameters: Mapping[str, Any], raw: Sequence[str]) -> Sequence[Sequence[Any]]:
        result = self._client().query(
            sql, parameters=dict(parameters), column_formats=dict.fromkeys(raw, "bytes"), column_oriented=True
        )
        columns: Sequence[Sequence[Any]] = result.result_set
        return columns


def open_history(settings: Settings) -> StoreHistory:
    """The history of the embedded stack a process belongs to, by its settings (`EmbeddedStack.env`).

    Raises ValueError outside an embedded stack. Its methods raise what `finwatch.runtime.store.connect` raises.
    """
    if settings.embedded is None or not settings.incarnation:
        raise ValueError("there is no history outside an embedded stack: a real broker keeps its own")
    from finwatch.runtime.store import connect

    return StoreHistory(
        lambda: connect(settings.clickhouse, database=False), settings.incarnation, settings.clickhouse.database
    )
