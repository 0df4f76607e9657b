import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finwatch.local import rebuild
from finwatch.local.rebuild import HistoryLost, StoreHistory, open_history
from finwatch.local.store import Store
from finwatch.runtime.config import load_settings
from finwatch.runtime.history import History, HistoryRecord, digest

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
MICROS = int(NOW.timestamp()) * 1_000_000
MIGRATION = Path(rebuild.__file__).parents[2] / "sinks" / "clickhouse" / "migrations" / "0001_tables.sql"
COLUMNS = ["incarnation", "topic", "partition", "offset", "key", "value", "timestamp", "ingested_at", "tombstone"]


def statements(names: set[str]) -> list[str]:
    """The sink's own CREATE statements of these tables."""
    text = MIGRATION.read_text().replace("{database}", "finwatch")
    found = [part.strip() for part in text.split(";\n") if any(f"finwatch.{name}\n" in part for name in names)]
    assert len(found) == len(names)
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("history")) as opened:
        yield opened


@pytest.fixture
def client(store: Store) -> Iterator[Any]:
    opened = store.client()
    opened.command("CREATE DATABASE finwatch ENGINE = Atomic")
    for statement in statements({"incarnations", "raw_log"}):
        opened.command(statement)
    yield opened
    opened.command("DROP DATABASE finwatch")
    opened.close()


def live(client: Any, name: str, number: int) -> None:
    client.insert("finwatch.incarnations", [[name, number, NOW]], ["incarnation", "seq", "first_seen"])


def put(
    client: Any, incarnation: str, offsets: list[int], *, topic: str = "t", partition: int = 0, size: int = 5
) -> None:
    rows = [
        [incarnation, topic, partition, offset, b"k%d" % offset, b"\x00\xff" * size + b"%d" % offset, NOW, NOW, False]
        for offset in offsets
    ]
    client.insert("finwatch.raw_log", rows, COLUMNS, column_type_names=None)


def read(batches: Iterator[list[HistoryRecord]]) -> list[HistoryRecord]:
    records: list[HistoryRecord] = []
    for batch in batches:
        assert batch, "a batch is never empty"
        records.extend(batch)
    return records


def test_lives_follow_their_numbers_and_offsets(client: Any) -> None:
    live(client, "zz-first", 1)
    live(client, "aa-second", 2)
    live(client, "now", 3)
    put(client, "aa-second", [0, 1])
    put(client, "zz-first", [2, 0, 1])
    put(client, "now", [0])
    put(client, "zz-first", [7], partition=1)
    put(client, "zz-first", [9], topic="other")
    history: History = StoreHistory(lambda: client, "now")
    assert [record.offset for record in read(history.records("t", 0))] == [0, 1, 2, 0, 1]
    assert [record.offset for record in read(history.records("t", 1))] == [7]
    assert read(history.records("t", 2)) == []
    assert [record.offset for record in read(history.current("t", 0))] == [0]
    assert read(history.current("t", 1)) == []


def test_bytes_and_times_come_back_as_they_were(client: Any) -> None:
    live(client, "a", 1)
    put(client, "a", [3])
    assert read(StoreHistory(lambda: client, "b").records("t", 0)) == [
        HistoryRecord(b"k3", b"\x00\xff" * 5 + b"3", MICROS, 3),
    ]


def test_each_record_once_although_stored_twice(client: Any) -> None:
    live(client, "a", 1)
    live(client, "a", 5)
    client.command("SYSTEM STOP MERGES finwatch.raw_log")
    for offsets in ([0, 1, 2], [1, 2, 3], [3]):
        put(client, "a", offsets)
    assert [record.offset for record in read(StoreHistory(lambda: client, "b").records("t", 0))] == [0, 1, 2, 3]


def test_gaps_and_batches(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "BATCH_RECORDS", 10)
    live(client, "a", 1)
    offsets = sorted(random.Random(4).sample(range(1000), 95))
    put(client, "a", offsets)
    batches = list(StoreHistory(lambda: client, "b").records("t", 0))
    assert [record.offset for batch in batches for record in batch] == offsets
    assert {len(batch) for batch in batches} == {10, 5}
    put(client, "c", [0] * 1, size=1)
    live(client, "c", 2)
    assert len(list(StoreHistory(lambda: client, "b").records("t", 0))) == 11


def test_one_large_record_makes_batches_short(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "BATCH_BYTES", 100_000)
    live(client, "a", 1)
    put(client, "a", list(range(20)))
    put(client, "a", [20], size=20_000)
    batches = list(StoreHistory(lambda: client, "b").records("t", 0))
    assert max(len(batch) for batch in batches) == 2 and sum(map(len, batches)) == 21


def test_a_life_without_number_is_lost(client: Any) -> None:
    put(client, "stranger", [0])
    with pytest.raises(HistoryLost, match="stranger"):
        read(StoreHistory(lambda: client, "b").records("t", 0))


def test_tombstones_are_left_out(client: Any) -> None:
    live(client, "a", 1)
    client.insert("finwatch.raw_log", [["a", "t", 0, 0, b"k", b"", NOW, NOW, True]], COLUMNS)
    put(client, "a", [1])
    assert [record.offset for record in read(StoreHistory(lambda: client, "b").records("t", 0))] == [1]


def test_a_store_without_tables_has_no_history(store: Store) -> None:
    opened = store.client()
    history = StoreHistory(lambda: opened, "a")
    assert read(history.records("t", 0)) == [] and read(history.current("t", 0)) == []
    assert history.emitted(["t"]) == set()
    opened.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(["x", "ü.v1"]), st.binary(max_size=20), st.binary(min_size=1, max_size=200)),
        min_size=1,
        max_size=8,
    )
)
def test_digests_are_the_same_in_sql_and_in_python(client: Any, records: list[tuple[str, bytes, bytes]]) -> None:
    client.command("TRUNCATE TABLE finwatch.raw_log")
    rows = [["a", topic, 0, number, key, value, NOW, NOW, False] for number, (topic, key, value) in enumerate(records)]
    client.insert("finwatch.raw_log", rows, COLUMNS)
    history = StoreHistory(lambda: client, "now")
    assert history.emitted(["x", "ü.v1"]) == {digest(*record) for record in records}
    assert history.emitted(["x"]) == {digest(*record) for record in records if record[0] == "x"}
    assert history.emitted([]) == set()


def test_digests_do_not_confuse_where_one_part_ends() -> None:
    assert digest("t", b"ab", b"c") != digest("t", b"a", b"bc")
    assert digest("t1", b"", b"") != digest("t", b"1", b"")


def test_outside_an_embedded_stack_there_is_none() -> None:
    with pytest.raises(ValueError, match="embedded"):
        open_history(load_settings(embedded=None, incarnation=""))
