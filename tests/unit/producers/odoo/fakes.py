"""An Odoo of a few rows in memory, and a broker that can be killed between any two records."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import fastavro

from finwatch.runtime.topics import CAPTURE_STATE
from producers.odoo.errors import UnknownModel
from producers.odoo.events import HEARTBEAT
from producers.odoo.values import Row, odoo_moment
from schemas.registry import EmbeddedRegistry, newest

PARTNER_FIELDS = (
    "name",
    "active",
    "is_company",
    "supplier_rank",
    "create_uid",
    "create_date",
    "write_uid",
    "write_date",
)


def shown(at: datetime) -> str:
    """A time stamp as RPC gives it: cut to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


class FakeOdoo:
    """Tables of committed rows; `stamps` holds the microseconds that the server compares but does not show."""

    def __init__(self, now: datetime, fields: Mapping[str, Sequence[str]] | None = None) -> None:
        self.now = now
        self.fields = dict(fields or {"res.partner": PARTNER_FIELDS})
        self.types: dict[tuple[str, str], str] = {}
        self.unsearchable: set[tuple[str, str]] = set()
        self.tables: dict[str, dict[int, Row]] = {model: {} for model in self.fields}
        self.stamps: dict[tuple[str, int], datetime] = {}
        self.failures: dict[str, Exception] = {}
        self.major = 18
        self.calls = 0

    api = "memory"

    def close(self) -> None:
        """Nothing is open."""

    def put(self, model: str, row: Row, written: datetime) -> None:
        """Commit a row that a transaction started at `written` wrote."""
        self.tables[model][row["id"]] = {**row, "write_date": shown(written)}
        self.stamps[model, row["id"]] = written

    def version(self) -> int:
        """Major version."""
        return self.major

    def server_time(self) -> datetime | None:
        """The server's clock, whole seconds."""
        return self.now.replace(microsecond=0)

    def search_read(
        self,
        model: str,
        domain: Sequence[Any],
        fields: Sequence[str],
        *,
        limit: int,
        order: str = "id",
        context: Mapping[str, Any] | None = None,
    ) -> list[Row]:
        """Rows that match every term."""
        assert fields, "fields must be explicit"
        self.calls += 1
        self._may_fail(model)
        if model not in self.tables:
            raise UnknownModel(f"search_read on {model}")
        found = [
            {"id": key, **{name: copy.deepcopy(row.get(name, False)) for name in fields}}
            for key, row in sorted(self.tables[model].items())
            if self._admits(model, row, domain)
        ]
        return found[:limit]

    def search(
        self, model: str, domain: Sequence[Any], *, limit: int, order: str = "id", context: Any = None
    ) -> list[int]:
        """Ids that match every term."""
        ids = [row["id"] for row in self.search_read(model, domain, ["id"], limit=10**9)]
        return (ids[::-1] if order == "id desc" else ids)[:limit]

    def search_count(self, model: str, domain: Sequence[Any], *, context: Any = None) -> int:
        """How many match every term."""
        return len(self.search_read(model, domain, ["id"], limit=len(self.tables.get(model, {}))))

    def fields_get(
        self, model: str, attributes: Sequence[str], *, fields: Sequence[str] | None = None, context: Any = None
    ) -> dict[str, dict[str, Any]]:
        """Names and types of the fields."""
        self._may_fail(model)
        if model not in self.fields:
            raise UnknownModel(f"fields_get on {model}")
        return {
            name: {
                "type": self.types.get((model, name), "char"),
                "searchable": (model, name) not in self.unsearchable,
            }
            for name in self.fields[model]
        }

    def may(self, model: str, operation: str) -> bool:
        """Reading only."""
        return operation == "read"

    def _may_fail(self, model: str) -> None:
        failure = self.failures.get(model)
        if failure is not None:
            raise failure

    def _admits(self, model: str, row: Row, domain: Sequence[Any]) -> bool:
        """Whether a row matches a domain in Odoo's prefix notation, with `|` only."""
        values: list[bool] = []
        for term in reversed(domain):
            if term == "|":
                one, other = values.pop(), values.pop()
                values.append(one or other)
            else:
                values.append(self._matches(model, row, term))
        return all(values)

    def _matches(self, model: str, row: Row, term: Any) -> bool:
        field, operator, value = term
        mine = row.get(field)
        if field == "write_date":
            mine = odoo_moment(self.stamps[model, row["id"]])
        if isinstance(mine, list):
            mine = mine[0]
        if operator == "in":
            return mine in value
        if operator == ">":
            return bool(mine > value)
        if operator == ">=":
            return bool(mine and mine >= value)
        if operator == "!=":
            return mine != value and not (value is False and not mine)
        if operator == "=":
            return mine == value or (value is False and not mine)
        raise AssertionError(f"the fake does not know {operator}")


class Crash(Exception):
    """The process died."""


class FakeBroker:
    """A log of what was delivered; `lives` publishers, each of which may die."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str, Any]] = []

    def publisher(self, dies_at: int | None = None, delivered_at_death: int = 0) -> FakePublisher:
        """A publisher that dies at its n-th call, when only some of its last records were delivered."""
        return FakePublisher(self, dies_at, delivered_at_death)

    def records(self) -> list[tuple[str, Mapping[str, Any]]]:
        """(record name, content) of all delivered events, heartbeats left out."""
        return [value for topic, _, value in self.log if topic != CAPTURE_STATE and value[0] != HEARTBEAT]

    def heartbeats(self) -> list[Mapping[str, Any]]:
        """Contents of all delivered heartbeats."""
        return [value[1] for topic, _, value in self.log if topic != CAPTURE_STATE and value[0] == HEARTBEAT]


class FakePublisher:
    """Publisher whose records wait for a flush, as a real producer's may."""

    def __init__(self, broker: FakeBroker, dies_at: int | None, delivered_at_death: int) -> None:
        self._broker, self._dies_at, self._delivered = broker, dies_at, delivered_at_death
        self._pending: list[tuple[str, str, Any]] = []
        self.calls = 0

    def publish(self, topic: str, key: str, value: Any, partition: int | None = None) -> None:
        """Queue a record."""
        self._live()
        self._pending.append((topic, key, value if topic == CAPTURE_STATE else as_written(value)))

    def flush(self) -> None:
        """Deliver what is queued."""
        self._live()
        self._broker.log += self._pending
        self._pending = []

    def _live(self) -> None:
        self.calls += 1
        if self._dies_at is not None and self.calls >= self._dies_at:
            self._broker.log += self._pending[: self._delivered]
            raise Crash


class BrokerState:
    """State kept in the fake broker's log, as KafkaState keeps it in the topic."""

    def __init__(self, broker: FakeBroker, publisher: FakePublisher) -> None:
        self._broker, self._publisher = broker, publisher

    def load(self) -> dict[str, bytes]:
        """Last value of each key."""
        last = {key: value for topic, key, value in self._broker.log if topic == CAPTURE_STATE}
        return {key: value for key, value in last.items() if value is not None}

    def store(self, values: Mapping[str, bytes | None]) -> None:
        """Publish values in order."""
        for key, value in values.items():
            self._publisher.publish(CAPTURE_STATE, key, value, partition=0)


_REGISTRY = EmbeddedRegistry()


def as_written(value: Any) -> Any:
    """(record, content) of Avro as the real encoder makes it, every column; anything else as it is."""
    if not isinstance(value, bytes) or value[:1] != b"\x00":
        return value
    schema = _REGISTRY.schema(int.from_bytes(value[1:5], "big"))
    return schema.full_name, fastavro.schemaless_reader(io.BytesIO(value[5:]), _parsed(schema.full_name), None)


@lru_cache(256)
def _parsed(full_name: str) -> Any:
    return fastavro.parse_schema(dict(newest(full_name).definition))


def encode(record: str, content: Mapping[str, Any]) -> Any:
    """The record as it is, in place of bytes."""
    return record, content
