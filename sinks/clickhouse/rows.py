"""What a batch of records becomes in each table. Pure: frames in, frames out; no client, no clock, no randomness.

The columns of a table are given (`TableTypes`), so that a schema may gain a field before the store gains its column.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Protocol

import polars as pl

from finwatch.runtime.topics import DEAD_LETTER, KPI, RELATION, TOPICS
from sinks.clickhouse.plan import RAW, Batch

STAGE = "clickhouse"
"""Name under which this sink reports records it cannot read."""

DEAD_VALUE_BYTES = 1024 * 1024
"""What is kept of a bad record's value in the dead letters; the raw log has all of it."""

TableTypes = Mapping[str, Mapping[str, pl.DataType]]
"""Table -> column -> type, in the table's order."""

_TRANSITION, _HEARTBEAT = "finwatch.Transition", "finwatch.Heartbeat"
_FEEDBACK = "finwatch.Feedback"
_KPI, _DEAD, _POLICY = "finwatch.Kpi", "finwatch.DeadLetter", "finwatch.PolicyChange"
# Output record -> tables it goes to, and the column that identifies it there.
_VERSIONED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "finwatch.Step": (("step_states",), "step_id"),
    "finwatch.Clock": (("clock_states",), "clock_id"),
    "finwatch.Exception": (("exception_states",), "exception_id"),
    "finwatch.Finding": (("finding_states", "finding_log"), "finding_id"),
    "finwatch.Rate": (("rate_states", "rate_log"), "rate_id"),
}
_ALLOWED: Mapping[str, frozenset[str]] = {spec.name: frozenset(spec.records) for spec in TOPICS}
# A relation is the streams' own traffic between their stages: it is kept in the raw log and has no table.
_RAW_ONLY = frozenset({RELATION})

# What DateTime64 and Date32 can hold; beyond it ClickHouse would store another moment without a word.
_MOMENTS = (datetime(1900, 1, 1, tzinfo=UTC), datetime(2299, 12, 31, tzinfo=UTC))
_DAYS = (date(1900, 1, 1), date(2299, 12, 31))

ORDER = (
    "event_log",
    "document_states",
    "heartbeats",
    "step_states",
    "clock_states",
    "exception_states",
    "finding_log",
    "finding_states",
    "rate_log",
    "rate_states",
    "kpi_parts",
    "policy_log",
    "dead_letter_log",
)
"""Derived tables in the order in which a batch is written to them; the raw log follows."""


class Message(Protocol):
    """The part of confluent_kafka.Message that is read here."""

    def key(self) -> bytes | None:
        """Key."""

    def value(self) -> bytes | None:
        """Value; None for a tombstone."""

    def timestamp(self) -> tuple[int, int]:
        """Kind, and milliseconds since 1970."""

    def headers(self) -> Any:
        """List of (name, bytes or None) in order, names may repeat; or None."""


@dataclass(frozen=True)
class Life:
    """One life of a topic: what its offsets belong to. `seq` grows with each new life the store has seen."""

    incarnation: str
    seq: int


@dataclass(frozen=True)
class Frame:
    """Records of one schema: their columns, and where each stood in the list of values."""

    record: str
    indices: Sequence[int]
    columns: pl.DataFrame


@dataclass(frozen=True)
class Bad:
    """A value that is no record, with the reason of a dead letter. `detail` holds no values."""

    index: int
    reason: str
    detail: str


Decode = Callable[[Sequence[bytes]], tuple[list[Frame], list[Bad]]]
"""Confluent-framed values to frames by schema, and what could not be read. Raises only when the registry is away."""


@dataclass(frozen=True)
class Insert:
    """Rows for one table."""

    table: str
    rows: pl.DataFrame


def inserts(
    batch: Batch[Message],
    lives: Mapping[str, Life],
    decode: Decode,
    types: TableTypes,
    ingested_at: datetime,
) -> list[Insert]:
    """The inserts of a batch in their order: derived tables (those with rows), then the raw log with every record.

    A record that cannot be read becomes a row of dead_letter_log with its reason; its bytes are in the raw log like
    any other's. `lives`: topic -> life. `ingested_at`: one moment for the whole batch, so that the raw log's insert
    touches one partition of its table.
    """
    raw = _raw(batch, lives).with_columns(pl.lit(ingested_at, pl.Datetime("us", "UTC")).alias("ingested_at"))
    seq = lives[KPI].seq if KPI in lives else 0
    return [*derived(raw, seq, decode, types), Insert(RAW, _conform(raw, types[RAW]))]


def derived(raw: pl.DataFrame, seq: int, decode: Decode, types: TableTypes) -> list[Insert]:
    """The inserts into the derived tables for rows of the raw log that were stored together, in a life numbered `seq`.

    The same rows give the same inserts, so that a batch can be derived again.
    """
    if not raw.height:
        return []
    frames, bad = _decoded(raw, decode)
    ingested_at = raw["ingested_at"][0]
    coordinates = raw.select(
        "topic", "partition", "offset", "incarnation", pl.col("timestamp").alias("kafka_timestamp"), "ingested_at"
    )

    made: dict[str, list[pl.DataFrame]] = {}
    states: list[pl.DataFrame] = []
    for frame in frames:
        rows = frame.columns.with_columns(pl.Series("_row", frame.indices, pl.UInt32))
        if frame.record == _HEARTBEAT:
            made.setdefault("heartbeats", []).append(_with(rows, coordinates))
        elif frame.record in _VERSIONED:
            tables, _ = _VERSIONED[frame.record]
            for table in tables:
                made.setdefault(table, []).append(_with(rows, coordinates))
        elif frame.record == _KPI:
            made.setdefault("kpi_parts", []).append(
                _with(rows, coordinates.drop("topic", "partition", "offset")).with_columns(
                    pl.all_horizontal(pl.col("value", "numerator", "denominator").is_null()).alias("deleted"),
                    pl.lit(seq, pl.UInt16).alias("seq"),
                )
            )
        elif frame.record == _POLICY:
            made.setdefault("policy_log", []).append(_with(rows, coordinates))
        elif frame.record == _DEAD:
            made.setdefault("dead_letter_log", []).append(
                rows.with_columns(pl.lit(ingested_at, pl.Datetime("us", "UTC")).alias("ingested_at"))
            )
        elif frame.record == _FEEDBACK:
            made.setdefault("event_log", []).append(_with(_feedback(rows), coordinates))
        else:
            event, state = _event(rows, frame.record)
            made.setdefault("event_log", []).append(_with(event, coordinates))
            states.append(_with(state, coordinates))
    if states:
        made["document_states"] = [
            _conform(state, {**types["document_states"], "_row": pl.UInt32()}) for state in states
        ]
    if bad:
        made.setdefault("dead_letter_log", []).append(_dead(bad, raw, ingested_at))

    out = [
        Insert(
            table, _latest(table, pl.concat([_conform(part, {**types[table], "_row": pl.UInt32()}) for part in parts]))
        )
        for table in ORDER
        if (parts := made.get(table))
    ]
    return [Insert(i.table, i.rows.drop("_row", strict=False)) for i in out]


def _raw(batch: Batch[Message], lives: Mapping[str, Life]) -> pl.DataFrame:
    """Every record of the batch as a row of the raw log, without the time of its storing."""
    topics: list[str] = []
    partitions: list[int] = []
    offsets: list[int] = []
    keys: list[bytes] = []
    values: list[bytes | None] = []
    stamps: list[int] = []
    headers: list[str] = []
    for part in batch.slices:
        topic, number = part.partition
        count = len(part.offsets)
        topics += [topic] * count
        partitions += [number] * count
        offsets += part.offsets
        keys += [message.key() or b"" for message in part.records]
        values += [message.value() for message in part.records]
        stamps += [message.timestamp()[1] for message in part.records]
        headers += [_headers(message.headers()) for message in part.records]
    return pl.DataFrame(
        {
            "topic": pl.Series(topics, dtype=pl.String),
            "partition": pl.Series(partitions, dtype=pl.UInt16),
            "offset": pl.Series(offsets, dtype=pl.UInt64),
            "key": pl.Series(keys, dtype=pl.Binary),
            "value": pl.Series(values, dtype=pl.Binary),
            "timestamp": (pl.Series(stamps, dtype=pl.Int64) * 1000).cast(pl.Datetime("us", "UTC")),
            "headers": pl.Series(headers, dtype=pl.String),
        }
    ).with_columns(
        pl.col("topic")
        .replace_strict({topic: life.incarnation for topic, life in lives.items()}, return_dtype=pl.String)
        .alias("incarnation"),
        pl.col("value").is_null().alias("tombstone"),
    )


def _headers(headers: Sequence[tuple[str, bytes | None]] | None) -> str:
    if not headers:
        return ""
    return json.dumps([[name, None if value is None else base64.b64encode(value).decode()] for name, value in headers])


def _decoded(raw: pl.DataFrame, decode: Decode) -> tuple[list[Frame], list[Bad]]:
    """Frames and bad records with indices into `raw`, each record on a topic that may carry it."""
    wanted = raw.with_row_index("_at").filter(~pl.col("tombstone") & ~pl.col("topic").is_in(list(_RAW_ONLY)))
    if not wanted.height:
        return [], []
    positions, topics = wanted["_at"], wanted["topic"]
    found, refused = decode(wanted["value"].to_list())
    bad = [Bad(positions[item.index], item.reason, item.detail) for item in refused]
    frames: list[Frame] = []
    for frame in found:
        here = pl.Series(frame.indices, dtype=pl.UInt32)
        right = [topic for topic, records in _ALLOWED.items() if frame.record in records]
        fits = topics[here].is_in(right)
        sound = _sound(frame.columns)
        at = positions[here]
        bad += [
            Bad(at[i], "unexpected_record", f"{frame.record} does not belong on this topic") for i in (~fits).arg_true()
        ]
        bad += [Bad(at[i], "invalid_event", "a date is outside 1900 to 2299") for i in (fits & ~sound).arg_true()]
        good = fits & sound
        if good.all():
            frames.append(Frame(frame.record, at.to_list(), frame.columns))
        elif good.any():
            frames.append(Frame(frame.record, at.filter(good).to_list(), frame.columns.filter(good)))
    return frames, sorted(bad, key=lambda item: item.index)


def _sound(columns: pl.DataFrame) -> pl.Series:
    """True for rows all of whose dates and times the store can hold."""
    checks = [
        pl.col(name).is_between(*(_MOMENTS if isinstance(kind, pl.Datetime) else _DAYS)).fill_null(True)
        for name, kind in columns.schema.items()
        if isinstance(kind, pl.Datetime | pl.Date)
    ]
    if not checks:
        return pl.repeat(True, columns.height, eager=True)
    return columns.select(pl.all_horizontal(checks).alias("sound"))["sound"]


def _with(rows: pl.DataFrame, coordinates: pl.DataFrame) -> pl.DataFrame:
    """`rows` with the coordinates of the records they come from (`_row`)."""
    own = rows.drop([name for name in coordinates.columns if name in rows.columns])
    return pl.concat([own, coordinates[rows["_row"]]], how="horizontal")


def _feedback(rows: pl.DataFrame) -> pl.DataFrame:
    """What people think of findings, as events of their documents; no state comes of it."""
    header = [name for name in rows.columns if name in _HEADER and name != "changes"]
    return rows.select(
        "_row",
        *header,
        pl.lit(_FEEDBACK).alias("record"),
        pl.lit("[]").alias("changes"),
        pl.col("verdict").alias("activity"),
        pl.col("reason").alias("label"),
        pl.lit("finding").alias("field"),
        pl.col("finding_id").alias("new_value"),
    )


def _event(rows: pl.DataFrame, record: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of event_log and of document_states for one kind of record of an entity topic."""
    header = [name for name in rows.columns if name in _HEADER]
    body = [name for name in rows.columns if name not in _HEADER and name != "_row"]
    transition = record == _TRANSITION
    changes = pl.struct("changes").struct.json_encode().str.slice(len('{"changes":')).str.head(-1)
    event = rows.with_columns(changes.alias("changes"), pl.lit(record).alias("record"))
    if not transition:
        event = event.select("_row", "record", *header)
    # The body as JSON is dear: made for the states that stay only.
    state = _latest_states(rows.with_columns(pl.lit(transition).alias("transitions_only")))
    if transition:
        # A document known by its transitions alone: what they tell of it, and nothing that only looks like its state.
        told = ("activity", "amount", "currency", "responsible")
        state = state.select("_row", "transitions_only", *header, *told).with_columns(pl.lit("").alias("payload"))
    else:
        state = state.with_columns(pl.struct(body).struct.json_encode().alias("payload"))
    return event, state.with_columns((pl.col("op") == "d").alias("deleted"))


def _latest_states(rows: pl.DataFrame) -> pl.DataFrame:
    """The state of each document that the table would keep (see the column `version`); the later record wins a tie."""
    written = pl.coalesce("source_write_date", "observed_at")
    return rows.sort(~pl.col("transitions_only"), written, "observed_at", "_row").unique(
        "document_key", keep="last", maintain_order=True
    )


_HEADER = frozenset(
    {
        "event_id",
        "document_key",
        "source",
        "entity",
        "record_id",
        "company_id",
        "op",
        "mode",
        "timeline",
        "occurred_at",
        "observed_at",
        "actor",
        "correlation_id",
        "source_database",
        "source_model",
        "source_write_date",
        "snapshot",
        "transaction_hint",
        "changes",
    }
)


def _latest(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """One row a key, chosen as the table itself would choose."""
    rows = rows.sort("_row", maintain_order=True)
    if table == "event_log":
        return rows.unique("event_id", keep="first", maintain_order=True)
    if table == "document_states":
        return _latest_states(rows)
    if table == "heartbeats":
        return rows.unique(["source", "topic", "partition"], keep="last", maintain_order=True)
    if table == "policy_log":  # one change stands on many partitions
        return rows.unique("change_id", keep="first", maintain_order=True)
    if table == "kpi_parts":
        return rows.sort("position", "at", maintain_order=True).unique(
            ["kpi", "labels", "topic", "partition"], keep="last", maintain_order=True
        )
    for tables, identity in _VERSIONED.values():
        if table in tables:
            if table.endswith("_log"):
                return rows.unique([identity, "version"], keep="last", maintain_order=True)
            return rows.sort("version", maintain_order=True).unique(identity, keep="last", maintain_order=True)
    return rows


def _dead(bad: Sequence[Bad], raw: pl.DataFrame, ingested_at: datetime) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for item in bad:
        row = raw.row(item.index, named=True)
        value = row["value"] or b""
        rows.append(
            {
                "_row": item.index,
                "stage": STAGE,
                "topic": row["topic"],
                "partition": row["partition"],
                "offset": row["offset"],
                "key": row["key"],
                "value": value[:DEAD_VALUE_BYTES],
                "value_size": len(value),
                "value_sha256": hashlib.sha256(value).hexdigest(),
                "truncated": len(value) > DEAD_VALUE_BYTES,
                "reason": item.reason,
                "detail": item.detail,
                "timestamp": row["timestamp"],
                "ingested_at": ingested_at,
            }
        )
    return pl.DataFrame(rows, schema_overrides={"timestamp": pl.Datetime("us", "UTC"), "_row": pl.UInt32})


def _conform(rows: pl.DataFrame, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The columns of a table, in its order and types; a column the records do not have is null."""
    return rows.select(
        pl.col(name).cast(kind, strict=True) if name in rows.columns else pl.lit(None, kind).alias(name)
        for name, kind in types.items()
    )


__all__ = ["DEAD_LETTER", "ORDER", "Bad", "Decode", "Frame", "Insert", "Life", "Message", "TableTypes", "inserts"]
