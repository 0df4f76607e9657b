"""The front over plain HTTP, as curl, Grafana and hostile clients speak it."""

import base64
import contextlib
import gzip
import json
import os
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.stores import RunningStore, running_store


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> int:
        return int(self.headers.get("X-ClickHouse-Exception-Code", "0"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with running_store(tmp_path_factory.mktemp("front")) as running:
        ask(running, "CREATE DATABASE fin")
        yield running


@pytest.fixture
def table(store: RunningStore) -> Iterator[RunningStore]:
    ask(store, "CREATE TABLE fin.t (id UInt64, value String) ENGINE = MergeTree ORDER BY id")
    yield store
    ask(store, "DROP TABLE fin.t SYNC")


def ask(
    store: RunningStore,
    body: str | bytes | None = None,
    *,
    user: str = "default",
    method: str | None = None,
    headers: dict[str, str] | None = None,
    auth: bool = True,
    address: Mapping[str, str] | None = None,
    **more: str,
) -> Reply:
    data = body.encode() if isinstance(body, str) else body
    sent = dict(headers or {})
    if auth:
        sent |= {"X-ClickHouse-User": user, "X-ClickHouse-Key": store.password(user)}
    request = urllib.request.Request(
        f"{store.url}/?{urllib.parse.urlencode({**(address or {}), **more})}", data=data, headers=sent, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return Reply(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        return Reply(error.code, dict(error.headers), error.read())


def count(store: RunningStore) -> int:
    return int(ask(store, "SELECT count() FROM fin.t").body)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-ClickHouse-User": "default", "X-ClickHouse-Key": "wrong"},
        {"X-ClickHouse-User": "nobody", "X-ClickHouse-Key": ""},
        {"Authorization": "Basic " + base64.b64encode(b"default:wrong").decode()},
        {"Authorization": "Basic %%%"},
        {"Authorization": "Bearer x"},
    ],
)
def test_without_the_password_nothing_is_told(store: RunningStore, headers: dict[str, str]) -> None:
    reply = ask(store, "SELECT 1", auth=False, headers=headers)
    assert (reply.status, reply.code) == (403, 516)
    assert store.password().encode() not in reply.body


def test_basic_and_address_authenticate_too(store: RunningStore) -> None:
    basic = base64.b64encode(f"default:{store.password()}".encode()).decode()
    assert ask(store, "SELECT 1", auth=False, headers={"Authorization": f"Basic {basic}"}).body == b"1\n"
    assert ask(store, auth=False, query="SELECT 1", user="reader", password=store.password("reader")).status == 403
    # "user" names this function's own parameter; the address is built by hand instead.
    address = urllib.parse.urlencode({"query": "SELECT 2", "user": "reader", "password": store.password("reader")})
    with urllib.request.urlopen(f"{store.url}/?{address}") as answer:
        assert answer.read() == b"2\n"


def test_ping_and_health_need_no_user(store: RunningStore) -> None:
    for path, expected in (("ping", b"Ok.\n"), ("replicas_status", b"Ok.\n")):
        with urllib.request.urlopen(f"{store.url}/{path}") as answer:
            assert answer.read() == expected
    with urllib.request.urlopen(f"{store.url}/health") as answer:
        assert json.loads(answer.read())["healthy"] is True


@pytest.mark.parametrize(
    "sql", ["INSERT INTO fin.t VALUES (1, 'x')", "DROP TABLE fin.t", "SYSTEM FLUSH LOGS", "CREATE DATABASE evil"]
)
def test_the_reader_and_get_do_not_write(table: RunningStore, sql: str) -> None:
    for reply in (
        ask(table, sql, user="reader"),
        ask(table, sql, user="reader", session_id="s"),
        ask(table, sql, readonly="1"),
        ask(table, query=sql),
        ask(table, query=sql, session_id="s"),
    ):
        assert (reply.status, reply.code) == (403, 164), reply
    assert ask(table, "INSERT INTO fin.t FORMAT CSV\n1,x\n", user="reader").code == 164
    assert ask(table, "SET readonly = 0", user="reader").code == 164
    assert count(table) == 0


def test_sessions_of_users_are_apart(table: RunningStore) -> None:
    ask(table, "CREATE TEMPORARY TABLE mine (x UInt8)", session_id="same")
    assert ask(table, "SELECT * FROM mine", session_id="same").status == 200
    assert ask(table, "SELECT * FROM mine", session_id="same", user="reader").code in (60, 497)
    assert ask(table, "SELECT * FROM mine", session_id="other").code in (60, 497)
    assert ask(table, "SELECT 1", session_id="absent", session_check="1").code == 372
    assert ask(table, "SELECT 1", session_id="x", session_timeout="-1").code == 372


def test_settings_of_the_address_leave_no_trace_in_a_session(store: RunningStore) -> None:
    asked = "SELECT getSetting('max_block_size')"
    ask(store, "SET max_block_size = 123", session_id="s1")
    assert ask(store, asked, session_id="s1", max_block_size="7").body == b"7\n"
    assert ask(store, asked, session_id="s1").body == b"123\n"
    assert ask(store, asked, session_id="s2").body not in (b"7\n", b"123\n")


def test_a_busy_session_is_locked(store: RunningStore) -> None:
    codes: list[int] = []
    together = threading.Barrier(2)

    def hold() -> None:
        together.wait(10)
        codes.append(ask(store, "SELECT sleep(1)", session_id="busy").code)

    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [0, 373]


def test_formats_and_headers_as_grafana_reads_them(store: RunningStore) -> None:
    reply = ask(store, "SELECT 1 AS x, now() AS t FORMAT JSON")
    assert reply.headers["Content-Type"].startswith("application/json")
    assert reply.headers["X-ClickHouse-Format"] == "JSON"
    assert json.loads(reply.body)["data"][0]["x"] == 1
    assert ask(store, "SELECT 1", default_format="CSV").body == b"1\n"
    assert ask(store, "SELECT 1", query_id="mine").headers["X-ClickHouse-Query-Id"] == "mine"


def test_summary_counts_written_rows(table: RunningStore) -> None:
    reply = ask(table, b"1\tx\n2\ty\n", query="INSERT INTO fin.t FORMAT TabSeparated")
    assert json.loads(reply.headers["X-ClickHouse-Summary"])["written_rows"] == "2"
    assert count(table) == 2


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_answers_are_compressed_when_asked(store: RunningStore, encoding: str) -> None:
    sql = "SELECT number FROM numbers(10000)"
    headers = {"Accept-Encoding": encoding}
    reply = ask(store, sql, headers=headers, enable_http_compression="1")
    assert reply.headers["Content-Encoding"] == encoding
    unpack = (
        gzip.decompress
        if encoding == "gzip"
        else lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)
    )
    assert unpack(reply.body) == ask(store, sql, headers=headers).body


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ({"compress": "1"}, 48),
        ({"decompress": "1"}, 48),
        ({"role": "admin"}, 48),
        ({"no_such_setting": "1"}, 115),
        ({"x'; DROP": "1"}, 115),
        ({"database": "absent"}, 81),
        ({"database": "fin`; DROP DATABASE fin"}, 81),
    ],
)
def test_what_is_not_spoken_is_refused(store: RunningStore, address: dict[str, str], code: int) -> None:
    assert ask(store, "SELECT 1", address=address).code == code


@pytest.mark.parametrize("user", ["default", "reader"])
def test_no_file_of_the_machine_is_read(store: RunningStore, user: str) -> None:
    for sql in ("SELECT file('/etc/passwd')", "SELECT * FROM file('/etc/passwd', 'LineAsString')"):
        assert ask(store, sql, user=user).code == 497
    secret = store.directory / "secrets" / "store-default"
    assert store.password().encode() not in ask(store, f"SELECT `file`('{secret}')", user=user).body


def test_empty_and_odd_methods(store: RunningStore) -> None:
    assert ask(store, b"", method="POST").code == 62
    assert ask(store, method="GET").body == b"Ok.\n"
    assert ask(store, "x", method="DELETE").status == 405
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{store.url}/secrets/store-default")
    assert caught.value.code == 404


def _raw(store: RunningStore, payload: bytes, *, cut: bool = True) -> bytes:
    with socket.create_connection(store.address, timeout=10) as connection:
        connection.sendall(payload)
        if cut:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def _head(store: RunningStore, sql: str, *lines: str) -> bytes:
    address = urllib.parse.urlencode({"query": sql})
    return "\r\n".join(
        [
            f"POST /?{address} HTTP/1.1",
            "Host: x",
            "X-ClickHouse-User: default",
            f"X-ClickHouse-Key: {store.password()}",
            *lines,
            "",
            "",
        ]
    ).encode()


def test_a_cut_body_inserts_nothing(table: RunningStore) -> None:
    sql = "INSERT INTO fin.t FORMAT TabSeparated"
    rows = b"".join(b"%d\tx\n" % number for number in range(1000))
    for payload in (
        _head(table, sql, f"Content-Length: {len(rows) + 10}") + rows,
        _head(table, sql, f"Content-Length: {len(rows)}") + rows[:100],
        _head(table, sql, "Transfer-Encoding: chunked") + b"%x\r\n%s\r\n" % (len(rows), rows),
        _head(table, sql, "Transfer-Encoding: chunked") + b"%x\r\n%s" % (len(rows) + 10, rows),
        _head(table, sql, "Transfer-Encoding: chunked") + b"zz\r\n" + rows,
    ):
        assert b" 200 " not in _raw(table, payload).partition(b"\r\n")[0]
    cut = gzip.compress(rows)[:-9]
    assert ask(table, cut, query=sql, headers={"Content-Encoding": "gzip"}).code == 271
    assert ask(table, rows, query=sql, headers={"Content-Encoding": "zstd"}).code == 271
    assert count(table) == 0
    good = _head(table, sql, f"Content-Length: {len(rows)}", "Connection: close") + rows
    assert b" 200 " in _raw(table, good, cut=False).partition(b"\r\n")[0]
    assert count(table) == 1000


def test_a_huge_body_is_refused_and_the_front_lives(table: RunningStore) -> None:
    sql = "INSERT INTO fin.t FORMAT TabSeparated"
    bomb = gzip.compress(bytes(300 * 1024 * 1024), 1)
    reply = ask(table, bomb, query=sql, headers={"Content-Encoding": "gzip"})
    assert (reply.status, reply.code) == (413, 307)
    payload = _head(table, sql, f"Content-Length: {10**12}")
    assert b" 200 " not in _raw(table, payload + b"1\tx\n").partition(b"\r\n")[0]
    assert count(table) == 0


def test_a_huge_result_is_an_error_not_a_dead_process(store: RunningStore) -> None:
    reply = ask(store, "SELECT repeat('x', 1000) FROM numbers(1000000)")
    assert reply.code in (396, 241), reply.body[:200]
    assert ask(store, "SELECT 1").body == b"1\n"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_garbage_bodies_are_answered(store: RunningStore, junk: bytes) -> None:
    for query in ("", "INSERT INTO fin.absent FORMAT Native"):
        reply = ask(store, junk, query=query)
        assert reply.status in (200, 400, 403, 404, 500, 501), reply


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=300))
def test_garbage_on_the_socket_does_not_stop_the_front(store: RunningStore, junk: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        _raw(store, junk)
    assert ask(store, "SELECT 1").body == b"1\n"


def test_native_garbage_inserts_nothing(table: RunningStore) -> None:
    for junk in (os.urandom(500), b"\x02\x05", b"\xff" * 100, b"\x01\x01\x02id\x06UInt64" + b"\x00" * 3):
        reply = ask(table, junk, query="INSERT INTO fin.t FORMAT Native")
        assert reply.status >= 400
    assert count(table) == 0
