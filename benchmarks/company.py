"""The event stream that the capture gives of a generated company, multiplied to the size that is wanted.

Four weeks of the simulated company go through the real capture (as in `finwatch demo`); what it publishes on the entity
topics is kept in order. Copies of the company have record ids and event ids of their own and run a little later each,
so that their events interleave in time and every kind of event keeps its share. Heartbeats are told once: their number
depends on time, not on how much a company does.

    python -m benchmarks.company [EVENTS]
"""

from __future__ import annotations

import hashlib
import heapq
import pickle
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

PARTITIONS = 4
HEARTBEAT = "finwatch.Heartbeat"
_SEED, _WEEKS = 7, 4
_SHIFT = 10_000_000  # between the record ids of two copies
_IDS = frozenset(
    {
        "record_id",
        "partner_id",
        "commercial_partner_id",
        "employee_id",
        "bank_account_id",
        "entry_id",
        "line_id",
        "parent_id",
        "purchase_line_id",
        "statement_id",
    }
)
_KEYS = frozenset({"document_key", "correlation_id", "reversed_key", "purchase_order_key"})
_TIMES = frozenset({"occurred_at", "observed_at", "created_at", "source_write_date"})
_HEAD = struct.Struct(">HhHI")  # lengths of topic and key and value, partition (-1: by key)

Published = tuple[str, str, int | None, str, dict[str, Any]]
"""topic, key, partition, Avro name, columns"""
Record = tuple[str, bytes, bytes, int]
"""topic, key, value, partition (-1: by key)"""


class _Collector:
    """A publisher that keeps what the capture publishes."""

    def __init__(self) -> None:
        self.published: list[Published] = []

    def publish(self, topic: str, key: str, value: Any, partition: int | None = None) -> None:
        """Keep it; the capture's own state is not part of the stream."""
        if topic.startswith("finance."):
            name, columns = value
            self.published.append((topic, key, partition, name, columns))

    def flush(self) -> None:
        """Nothing is outstanding."""


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / "finwatch-benchmark"
    folder.mkdir(exist_ok=True)
    return folder


def captured() -> list[Published]:
    """What the capture publishes of one company, kept in a file of the temporary directory."""
    kept = _folder() / f"company-{_SEED}-{_WEEKS}.pickle"
    if kept.exists():
        with kept.open("rb") as file:
            found: list[Published] = pickle.load(file)  # a file of our own
        return found
    from finwatch.local.demonstration import BUSY_STEP, QUIET_STEP, START
    from finwatch.runtime.clock import ManualClock
    from finwatch.sim import Company, SimulatedOdoo
    from producers.odoo import Capture, CaptureSettings
    from producers.odoo.transport import OdooRpcTransport

    company = Company(seed=_SEED, start=START, weeks=_WEEKS, version="18.0")
    moment, clock, collector = company.start, ManualClock(company.start), _Collector()
    company.advance(moment)
    settings = CaptureSettings(
        source="demo",
        database=company.db.name,
        account_key=b"an invented company has no accounts to hide",
        timeline="log",
        partitions=PARTITIONS,
    )
    with SimulatedOdoo(company.db) as odoo:
        transport = OdooRpcTransport(odoo.url, company.db.name, "svc_cdc", "svc_cdc")
        # The columns stay as they are: copies are made of them before they are encoded.
        keep: Any = lambda name, columns: (name, dict(columns))  # noqa: E731
        capture = Capture(transport, collector, clock, settings, encode=keep)
        capture.connect()
        capture.snapshot()
        while moment < company.end:
            quiet = moment.weekday() >= 5 or not 5 <= moment.hour < 18
            moment = min(company.end, moment + (QUIET_STEP if quiet else BUSY_STEP))
            company.advance(moment)
            clock.set(moment)
            capture.poll()
    with kept.open("wb") as file:
        pickle.dump(collector.published, file)
    return collector.published


def _moved(key: str, copy: int) -> str:
    head, _, number = key.rpartition(":")
    return f"{head}:{int(number) + copy * _SHIFT}"


def _copied(columns: Mapping[str, Any], copy: int, later: timedelta) -> dict[str, Any]:
    """The columns of a record in a copy of the company."""
    out = dict(columns)
    for name, value in columns.items():
        if value is None:
            continue
        if name in _IDS:
            out[name] = str(int(value) + copy * _SHIFT)
        elif name in _KEYS:
            out[name] = _moved(value, copy)
        elif name in _TIMES:
            out[name] = value + later
        elif name == "bill_keys":
            out[name] = [_moved(key, copy) for key in value]
        elif name == "lines":
            out[name] = [_copied(line, copy, later) for line in value]
        elif name == "event_id":
            out[name] = hashlib.sha256(f"{value}:{copy}".encode()).hexdigest()[:32]
    return out


def _copy(base: list[Published], copy: int, later: timedelta) -> Iterator[tuple[Any, int, int, Published]]:
    for number, (topic, key, partition, name, columns) in enumerate(base):
        if copy == 0:
            yield columns.get("observed_at", columns.get("at")), copy, number, (topic, key, partition, name, columns)
        elif name != HEARTBEAT:
            moved = _copied(columns, copy, later)
            yield moved["observed_at"], copy, number, (topic, moved["document_key"], None, name, moved)


def stream(events: int) -> Iterator[Published]:
    """At least ``events`` records in the order in which one capture of so large a company would publish them."""
    base = captured()
    each = sum(1 for _, _, _, name, _ in base if name != HEARTBEAT)
    copies = max(1, -(-(events - len(base)) // each) + 1)
    later = timedelta(hours=1) / copies
    for _, _, _, record in heapq.merge(*(_copy(base, copy, later * copy) for copy in range(copies))):
        yield record


def encoded(events: int) -> Path:
    """A file with the first ``events`` records of the stream in Confluent wire format; see ``records``."""
    from producers.odoo.records import RecordEncoder
    from schemas.catalogue import current
    from schemas.registry import EmbeddedRegistry

    schemas = hashlib.sha256(b"".join(schema.digest for schema in current().values())).hexdigest()[:12]
    kept = _folder() / f"stream-{_SEED}-{_WEEKS}-{events}-{schemas}.bin"
    if kept.exists():
        return kept
    encode = RecordEncoder(EmbeddedRegistry())
    draft = kept.with_suffix(".draft")
    with draft.open("wb") as file:
        for number, (topic, key, partition, name, columns) in enumerate(stream(events)):
            if number == events:
                break
            name_, key_, value = topic.encode(), key.encode(), encode(name, columns)
            file.write(_HEAD.pack(len(name_), -1 if partition is None else partition, len(key_), len(value)))
            file.write(name_ + key_ + value)
    return draft.rename(kept)


def records(file: Path) -> Iterator[Record]:
    """The records of an encoded stream."""
    with file.open("rb") as source:
        while head := source.read(_HEAD.size):
            topic, partition, key, value = _HEAD.unpack(head)
            yield source.read(topic).decode(), source.read(key), source.read(value), partition


if __name__ == "__main__":
    shares = Counter((r[3], r[4].get("activity", "")) for r in stream(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    for (name, activity), count in shares.most_common():
        print(f"{count:>8,} {name} {activity}")
