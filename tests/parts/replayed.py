"""What the relations stage says on the facts in a store, to be held against what the store has of its findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from clickhouse_connect.driver.client import Client

from finwatch.local.rebuild import StoreHistory
from finwatch.runtime.policies import load_policies
from finwatch.runtime.topics import FINDING, RELATION
from schemas.codec import Decoder
from schemas.registry import EmbeddedRegistry
from streams.agents.registry import relations_stage
from streams.partition import Counts, Partition, Processor
from streams.rows import RowStore
from tests.parts.pipeline import StoreServer


def replayed(server: StoreServer) -> dict[str, list[tuple[Any, ...]]]:
    """What the relations stage says on the facts that a store holds, in the order of its log; see `stored_of`."""
    clients: list[Client] = []

    def connect() -> Client:
        clients.append(server.client())
        return clients[-1]

    history = StoreHistory(connect, "")
    decoder = Decoder(EmbeddedRegistry())
    processor = Processor(relations_stage(load_policies()))
    said: dict[str, list[tuple[Any, ...]]] = {}

    def take(topic: str, record: Any, key: bytes) -> None:
        if topic == FINDING:
            said.setdefault(record.finding_id, []).append((record.version, record.status, record.reasons))

    try:
        for (number,) in server.ask(f"SELECT DISTINCT partition FROM raw_log WHERE topic = '{RELATION}'"):
            part = Partition(processor.stage, (RELATION, number), 1, RowStore(0), 0, _as_it_is, take, Counts())
            for batch in history.records(RELATION, number):
                events = decoder.decode([record.value for record in batch], processor.projections)
                processor.apply(part, events, range(len(batch)), lambda index: (None, None, 0))
    finally:
        for client in clients:
            client.close()
    return said


def stored_of(ask: Callable[[str], list[tuple[Any, ...]]], findings: Iterable[str]) -> dict[str, list[tuple[Any, ...]]]:
    """Every stored version of these findings: version, status, reasons; to be compared with `replayed`."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    names = ", ".join(f"'{name}'" for name in findings)
    sql = (
        f"SELECT finding_id, version, status, reasons FROM finding_versions WHERE finding_id IN ({names}) ORDER BY 1, 2"
    )
    for name, version, status, reasons in ask(sql):
        found.setdefault(name, []).append((version, status, list(reasons)))
    return found


def _as_it_is(record: Any) -> Any:
    """Instead of encoding: nobody reads bytes here."""
    return record
