"""One suite over every store finwatch can use.

The engine in this process, the same engine behind its HTTP front, and a ClickHouse server when
FINWATCH_TEST_CLICKHOUSE_URL names one (user and password in the url; the user may create databases).
"""

import os
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import clickhouse_connect
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from finwatch.local.front.access import load_users
from finwatch.local.store import Store
from tests.conformance.stores import RunningStore, running_store

DATABASE = "conformance"


@dataclass
class Backend:
    """A kind of store: how to get a client of it."""

    name: str
    connect: Callable[..., Any]


def _kinds() -> list[str]:
    return ["embedded", "front", *(["server"] if os.environ.get("FINWATCH_TEST_CLICKHOUSE_URL") else [])]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("front")) as store:
        yield store


@pytest.fixture(scope="module", params=_kinds())
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    if request.param == "embedded":
        with Store(tmp_path_factory.mktemp("embedded")) as store:
            yield Backend("embedded", store.client)
        return
    if request.param == "front":
        running: RunningStore = request.getfixturevalue("front")
        yield Backend("front", running.client)
        return
    url = urllib.parse.urlsplit(os.environ["FINWATCH_TEST_CLICKHOUSE_URL"])

    def connect(database: str | None = None, **settings: Any) -> Any:
        return clickhouse_connect.get_client(
            dsn=urllib.parse.urlunsplit(url),
            database=database or "",
            settings={"async_insert": 0, **settings},
            tz_mode="aware",
        )

    yield Backend("server", connect)


@pytest.fixture
def client(backend: Backend) -> Iterator[Any]:
    opened = backend.connect()
    opened.command(f"DROP DATABASE IF EXISTS {DATABASE}")
    opened.command(f"CREATE DATABASE {DATABASE} ENGINE = Atomic")
    opened.database = DATABASE
    yield opened
    opened.command(f"DROP DATABASE {DATABASE}")
    opened.close()


@pytest.fixture
def table(client: Any) -> Any:
    client.command(
        "CREATE TABLE t (id UInt64, key LowCardinality(String), value String, amount Nullable(Decimal(28, 6)), "
        "at DateTime64(6, 'UTC'), tags Array(String), extra Map(String, String)) "
        "ENGINE = MergeTree ORDER BY id"
    )
    return client


MOMENT = datetime(2026, 11, 22, 3, 19, 52, 140490, tzinfo=UTC)


def _row(number: int) -> list[Any]:
    return [number, "k", f"v{number}", Decimal("12345678901.123456"), MOMENT, ["a", "b"], {"x": "y"}]


def test_one(client: Any) -> None:
    assert client.query("SELECT 1").result_rows == [(1,)]
    assert client.command("SELECT 1") == 1
    assert client.ping()


def test_time_zone_is_utc(client: Any) -> None:
    assert client.command("SELECT timezone()") in ("UTC", "Etc/UTC")


def test_rows_come_back_as_they_went(table: Any) -> None:
    summary = table.insert("t", [_row(1), [2, "", "", None, MOMENT, [], {}]])
    assert int(summary.written_rows) == 2
    assert table.query("SELECT * FROM t ORDER BY id").result_rows == [
        (1, "k", "v1", Decimal("12345678901.123456"), MOMENT, ["a", "b"], {"x": "y"}),
        (2, "", "", None, MOMENT, [], {}),
    ]


def test_bytes_come_back_as_they_went(table: Any) -> None:
    body = bytes(range(256)) * 3
    data = pa.table({"id": pa.array([1], pa.uint64()), "value": pa.array([body], pa.binary())})
    table.insert_arrow("t", data)
    assert table.query("SELECT value FROM t", column_formats={"value": "bytes"}).result_rows == [(body,)]


@pytest.mark.parametrize("compress", [True, "lz4", "zstd", "gzip", False])
def test_large_insert_is_whole_in_every_compression(
    backend: Backend, table: Any, front: RunningStore, compress: bool | str
) -> None:
    if backend.name == "embedded" and compress is not False:
        pytest.skip("no transport, no compression")
    own = front.client(DATABASE, compress=compress) if backend.name == "front" else table
    rows = 300_000
    summary = own.insert(
        "t", [list(range(rows)), [f"value-{number}" for number in range(rows)]], ["id", "value"], column_oriented=True
    )
    assert int(summary.written_rows) == rows
    assert own.query("SELECT count(), sum(id), uniqExact(value) FROM t").result_rows == [
        (rows, rows * (rows - 1) // 2, rows)
    ]
    parts = own.command(
        "SELECT count() FROM system.parts WHERE table = 't' AND active AND database = currentDatabase()"
    )
    assert parts == 1, "one insert is one part"


def test_arrow_in_and_out(table: Any) -> None:
    data = pa.table(
        {
            "id": pa.array(range(10_000), pa.uint64()),
            "amount": pa.array([Decimal("1.5")] * 10_000, pa.decimal128(28, 6)),
            "at": pa.array([MOMENT] * 10_000, pa.timestamp("us", tz="UTC")),
        }
    )
    assert int(table.insert_arrow("t", data).written_rows) == 10_000
    assert table.query("SELECT count(), sum(amount), max(at) FROM t").result_rows == [
        (10_000, Decimal("15000.000000"), MOMENT)
    ]
    assert table.query_arrow("SELECT id FROM t ORDER BY id").column("id").to_pylist() == list(range(10_000))


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("JSONEachRow", b'{"id": 1, "value": "x"}\n{"id": 2, "value": "INSERT; OUTFILE"}\n'),
        ("CSV", b'1,"x"\n2,"INSERT; OUTFILE"\n'),
        ("TabSeparated", b"1\tx\n2\tINSERT; OUTFILE\n"),
    ],
)
def test_raw_insert(table: Any, form: str, body: bytes) -> None:
    summary = table.raw_insert("t", ["id", "value"], body, fmt=form)
    assert int(summary.written_rows) == 2
    assert table.query("SELECT id, value FROM t ORDER BY id").result_rows == [(1, "x"), (2, "INSERT; OUTFILE")]


def test_values_and_insert_select(table: Any) -> None:
    table.command("INSERT INTO t (id, value) VALUES (1, 'a;b'), (2, 'FORMAT Null')")
    table.command("INSERT INTO t (id, value) SELECT id + 10, value FROM t")
    assert table.command("SELECT count() FROM t") == 4


def test_parameters(table: Any) -> None:
    table.insert("t", [_row(number) for number in range(5)])
    sql = "SELECT id FROM t WHERE value = {v:String} AND at <= {m:DateTime64(6)} AND id IN {ids:Array(UInt64)}"
    assert table.query(sql, parameters={"v": "v3", "m": MOMENT, "ids": [3, 4]}).result_rows == [(3,)]
    injected = "x' OR 1=1 --"
    assert table.query("SELECT id FROM t WHERE value = {v:String}", parameters={"v": injected}).result_rows == []
    long_text = "y" * 200_000
    assert table.query("SELECT length({v:String})", parameters={"v": long_text}).result_rows == [(200_000,)]


def test_a_setting_holds_for_one_query(client: Any) -> None:
    asked = "SELECT getSetting('max_block_size')"
    before = client.command(asked)
    assert client.command(asked, settings={"max_block_size": 77}) == 77
    assert client.command(asked) == before


def test_a_temporary_table_lasts_for_the_client(client: Any) -> None:
    client.command("CREATE TEMPORARY TABLE tmp (x UInt8)")
    client.command("INSERT INTO tmp VALUES (1), (2)")
    assert client.command("SELECT sum(x) FROM tmp") == 3


def test_replacing_with_final(client: Any) -> None:
    client.command("CREATE TABLE r (k String, v UInt64) ENGINE = ReplacingMergeTree(v) ORDER BY k")
    for version in (1, 3, 2):
        client.insert("r", [["a", version]])
    assert client.query("SELECT * FROM r FINAL").result_rows == [("a", 3)]


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELEC 1", 62),
        ("SELECT nope", 47),
        ("SELECT * FROM nope", 60),
        ("SELECT throwIf(1)", 395),
        ("SELECT 1 SETTINGS no_such_setting = 1", 115),
        ("SELECT sleepEachRow(0.2) FROM numbers(50) SETTINGS max_execution_time = 0.3, max_block_size = 1", 159),
    ],
)
def test_errors_carry_their_code(client: Any, sql: str, code: int) -> None:
    with pytest.raises(DatabaseError) as caught:
        client.query(sql)
    assert f"{code}" in str(caught.value)
    assert client.command("SELECT 1") == 1, "and the client goes on"


def test_a_bad_row_refuses_the_whole_batch(table: Any) -> None:
    with pytest.raises(DatabaseError):
        table.raw_insert("t", ["id", "value"], b'{"id": 1, "value": "x"}\n{"id": "not a number"}\n', fmt="JSONEachRow")
    assert table.command("SELECT count() FROM t") == 0


def test_a_running_query_can_be_killed(backend: Backend, client: Any) -> None:
    if backend.name == "embedded":
        pytest.skip("the embedded client has no query ids of its own")
    other = backend.connect()
    ended: list[str] = []
    entered = threading.Event()

    def slow() -> None:
        entered.set()
        try:
            other.query(
                "SELECT sum(sleepEachRow(0.05)) FROM numbers(1000) SETTINGS max_block_size = 1, "
                "function_sleep_max_microseconds_per_block = 0",
                settings={"query_id": "conformance-slow"},
            )
        except DatabaseError as error:
            ended.append(str(error))

    thread = threading.Thread(target=slow)
    thread.start()
    entered.wait(10)
    # Until it has ended: a KILL that comes before the query has begun finds nothing, or the SET before it.
    while thread.is_alive():
        client.query("KILL QUERY WHERE query_id = 'conformance-slow' SYNC")
    thread.join(30)
    assert ended and "394" in ended[0]
    other.close()


def test_writers_and_readers_at_once_see_whole_batches(backend: Backend, table: Any) -> None:
    batch, batches, writers = 500, 8, 2
    torn: list[int] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def write(base: int) -> None:
        own = backend.connect(DATABASE)
        try:
            for number in range(batches):
                own.insert("t", [[base + number, f"{number}"] for _ in range(batch)], ["id", "value"])
        except BaseException as error:
            errors.append(error)
        finally:
            own.close()

    def read() -> None:
        own = backend.connect(DATABASE)
        while not done.is_set():
            count = own.command("SELECT count() FROM t")
            if count % batch:
                torn.append(count)
        own.close()

    threads = [threading.Thread(target=write, args=(base * 1000,)) for base in range(writers)]
    reader = threading.Thread(target=read)
    for thread in (*threads, reader):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    reader.join()
    assert not errors and not torn
    assert table.command("SELECT count() FROM t") == batch * batches * writers


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString', 'l String')",
        "SELECT * FROM remote('127.0.0.1:1', 'system.one')",
        "INSERT INTO FUNCTION file('/tmp/leak.tsv', 'TabSeparated', 'x UInt8') SELECT 1",
        "SELECT * FROM executable('id', 'TabSeparated', 'x String')",
        "CREATE TABLE leak (x String) ENGINE = File(CSV, '/tmp/leak.csv')",
        "CREATE TABLE leak (x String) ENGINE = URL('http://127.0.0.1:1/', CSV)",
        "CREATE DICTIONARY leak (id UInt64, x String) PRIMARY KEY id "
        "SOURCE(FILE(path '/etc/passwd' format 'CSV')) LAYOUT(FLAT()) LIFETIME(0)",
        "CREATE DATABASE leak ENGINE = Filesystem('/etc')",
        "BACKUP TABLE system.one TO File('/tmp/leak')",
    ],
)
def test_sql_reaches_no_files_and_no_network(backend: Backend, client: Any, sql: str) -> None:
    if backend.name == "server":
        pytest.skip("a server's rights are its administrator's")
    with pytest.raises(DatabaseError):
        client.command(sql)


def test_users_files_are_private(front: RunningStore) -> None:
    assert set(load_users(front.directory)) == {"default", "reader"}
    for path in (front.directory / "secrets").iterdir():
        assert path.stat().st_mode & 0o077 == 0
    assert (Path(front.directory) / "secrets").stat().st_mode & 0o077 == 0
