"""The thin edge to the store: types of the tables, lives of the logs, positions, one insert."""

import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime

import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import OperationalError

from sinks.clickhouse.plan import RAW, Partition
from sinks.clickhouse.rows import Insert, Life, TableTypes

_SIMPLE: Mapping[str, pl.DataType] = {
    "String": pl.String(),
    "Bool": pl.Boolean(),
    "UInt8": pl.UInt8(),
    "UInt16": pl.UInt16(),
    "UInt32": pl.UInt32(),
    "UInt64": pl.UInt64(),
    "Int32": pl.Int32(),
    "Int64": pl.Int64(),
    "Float64": pl.Float64(),
    "Date32": pl.Date(),
    "DateTime64(6, 'UTC')": pl.Datetime("us", "UTC"),
    "Array(String)": pl.List(pl.String()),
    "Array(DateTime64(6, 'UTC'))": pl.List(pl.Datetime("us", "UTC")),
}
# String columns that hold bytes, which are no text.
_BYTES = frozenset({(RAW, "key"), (RAW, "value"), ("dead_letter_log", "key"), ("dead_letter_log", "value")})


class NotMigrated(Exception):
    """The store lacks tables or migrations that this version needs."""


class Unconfirmed(OperationalError):
    """The store confirmed another number of rows than were sent."""


def polars_type(table: str, column: str, kind: str) -> pl.DataType:
    """Type in which a column is sent. Raises ValueError for one that no migration uses."""
    if (table, column) in _BYTES:
        return pl.Binary()
    bare = kind
    while (match := re.fullmatch(r"(?:LowCardinality|Nullable)\((.*)\)", bare)) is not None:
        bare = match[1]
    decimal = re.fullmatch(r"Decimal\((\d+), (\d+)\)", bare)
    if decimal:
        return pl.Decimal(int(decimal[1]), int(decimal[2]))
    try:
        return _SIMPLE[bare]
    except KeyError:
        raise ValueError(f"{table}.{column}: no Arrow form for {kind}") from None


class TableStore:
    """A database of the store as the sink sees it. Methods raise the client's errors (`STORE_ERRORS`)."""

    def __init__(self, client: Client, database: str) -> None:
        self._client = client
        self._database = database

    def types(self, tables: Iterable[str]) -> TableTypes:
        """Columns that can be inserted, by table. Raises NotMigrated when a table is missing."""
        rows = self._client.query(
            "SELECT table, name, type FROM system.columns WHERE database = {d:String} AND default_kind = '' "
            "ORDER BY table, position",
            parameters={"d": self._database},
        ).result_rows
        found: dict[str, dict[str, pl.DataType]] = {}
        wanted = set(tables)
        for table, name, kind in rows:
            if table in wanted:
                found.setdefault(table, {})[name] = polars_type(table, name, kind)
        missing = wanted - found.keys()
        if missing:
            raise NotMigrated(f"tables {', '.join(sorted(missing))} are missing")
        return found

    def lives(self, incarnations: Mapping[str, str], now: datetime) -> dict[str, Life]:
        """The life of each topic; new incarnations are numbered and remembered."""
        known = self._lives()
        new = sorted(set(incarnations.values()) - known.keys())
        if new:
            start = max(known.values(), default=0) + 1
            rows = pl.DataFrame(
                {
                    "incarnation": new,
                    "seq": pl.Series(range(start, start + len(new)), dtype=pl.UInt32),
                    "first_seen": pl.Series([now] * len(new), dtype=pl.Datetime("us", "UTC")),
                }
            )
            self.insert(Insert("incarnations", rows))
            known = self._lives()
        return {topic: Life(name, known[name]) for topic, name in incarnations.items()}

    def _lives(self) -> dict[str, int]:
        statement = f"SELECT incarnation, min(seq) FROM {self._database}.incarnations GROUP BY incarnation"  # noqa: S608
        rows = self._client.query(statement).result_rows
        return {str(name): int(seq) for name, seq in rows}

    def positions(self, incarnations: Mapping[str, str]) -> dict[Partition, int]:
        """The next offset of every partition of which this life of its topic has records here."""
        statement = f"""
            SELECT topic, partition, incarnation, max(next) FROM
            (
                SELECT topic, partition, incarnation, max(offset) + 1 AS next FROM {self._database}.{RAW}
                WHERE incarnation IN {{names:Array(String)}} GROUP BY topic, partition, incarnation
                UNION ALL
                SELECT topic, partition, incarnation, max(next) AS next FROM {self._database}.accepted_gaps
                WHERE incarnation IN {{names:Array(String)}} GROUP BY topic, partition, incarnation
            )
            GROUP BY topic, partition, incarnation
            """  # noqa: S608 - the name of the database is checked by the settings
        rows = self._client.query(statement, parameters={"names": sorted(set(incarnations.values()))}).result_rows
        return {
            (str(topic), int(partition)): int(position)
            for topic, partition, incarnation, position in rows
            if incarnations.get(topic) == incarnation
        }

    def last_batch(self) -> tuple[int, pl.DataFrame]:
        """The rows of the raw log that were stored last, of the newest life that has any, and that life's number.

        Columns and types are the raw log's, in the order of topic, partition and offset.
        """
        lives = self._lives()
        held = self._client.query(
            f"SELECT incarnation, max(toUnixTimestamp64Micro(ingested_at)) FROM {self._database}.{RAW} "  # noqa: S608
            "GROUP BY incarnation"
        ).result_rows
        kinds = self.types([RAW])[RAW]
        if not held:
            return 0, pl.DataFrame(schema=kinds)
        life, stored_at = max(held, key=lambda row: lives.get(str(row[0]), 0))
        columns = self._client.query(
            f"SELECT {', '.join(kinds)} FROM {self._database}.{RAW} "  # noqa: S608 - names of the table's own columns
            "WHERE incarnation = {life:String} AND toUnixTimestamp64Micro(ingested_at) = {at:Int64} "
            "ORDER BY topic, partition, offset",
            parameters={"life": life, "at": stored_at},
            column_formats={"key": "bytes", "value": "bytes"},
            column_oriented=True,
        ).result_set
        rows = zip(kinds.items(), columns, strict=True)
        return lives.get(str(life), 0), pl.DataFrame([pl.Series(name, held, kind) for (name, kind), held in rows])

    def accept_gaps(self, gaps: Mapping[Partition, int], incarnations: Mapping[str, str], now: datetime) -> None:
        """Remember that these partitions go on from these offsets, whatever was before them."""
        rows = [
            {
                "incarnation": incarnations[topic],
                "topic": topic,
                "partition": number,
                "next": offset,
                "accepted_at": now,
            }
            for (topic, number), offset in sorted(gaps.items())
        ]
        kinds = {
            "partition": pl.UInt16(),
            "next": pl.UInt64(),
            "accepted_at": pl.Datetime("us", "UTC"),
        }
        self.insert(Insert("accepted_gaps", pl.DataFrame(rows, schema_overrides=kinds)))

    def insert(self, insert: Insert) -> None:
        """Insert as one block, one part. Raises Unconfirmed unless the store says that it wrote every row.

        insert_arrow, not insert: the latter repeats a request by itself when its answer is lost, and the rows are
        there twice. This one raises, and the sink asks the store what it holds.
        """
        rows = insert.rows.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
        summary = self._client.insert_arrow(
            f"{self._database}.{insert.table}", rows, settings={"query_id": f"finwatch-sink-{uuid.uuid4()}"}
        )
        if summary.written_rows != insert.rows.height:
            raise Unconfirmed(f"{insert.table}: sent {insert.rows.height} rows, {summary.written_rows} confirmed")

    def stop_inserts(self) -> int:
        """End inserts of ours that may still run after an answer was lost; the number that still run.

        The store has one sink at a time, so a running insert into a table of this database that the caller does not
        wait for is a left-over. Recognised by its text: a query id does not pass every front.
        """
        where = (
            "query_kind = 'Insert' AND (query LIKE {mine:String} OR query_id LIKE 'finwatch-sink-%') "
            "AND query NOT LIKE '%system.processes%'"
        )
        parameters = {"mine": f"%{RAW}%"}
        running = self._client.query(
            f"SELECT query_id FROM system.processes WHERE {where}",  # noqa: S608 - a constant
            parameters=parameters,
        ).result_rows
        for (query_id,) in running:
            self._client.query("KILL QUERY WHERE query_id = {id:String} ASYNC", parameters={"id": query_id})
        return len(running)
