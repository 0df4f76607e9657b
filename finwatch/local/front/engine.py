"""Runs queries on the embedded engine: connections, sessions, settings.

A request without a session gets a connection of its own, which costs nothing once the engine is up and leaves no
setting behind (`SET readonly` cannot be undone). A session keeps its connection, so that temporary tables and SET last;
what a request's address sets is put back after it.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from finwatch.local.front.errors import StoreError, refused
from finwatch.local.front.request import Query
from finwatch.local.front.sql import Statement, quoted, quoted_name, with_query_ids

Connect = Callable[[], Any]
"""Opens a connection of chdb (`chdb.connect`), or of a double in tests."""

SESSIONS_MAX = 200


@dataclass(frozen=True)
class Answer:
    """Result of a query: its bytes, their format, and what X-ClickHouse-Summary says."""

    data: bytes
    format: str
    summary: Mapping[str, str]


@dataclass
class _Session:
    connection: Any
    readonly: bool
    expires: float
    lock: threading.Lock = field(default_factory=threading.Lock)


class Engine:
    """The engine behind the front. Safe from any thread; each call blocks its thread until the query is done."""

    def __init__(self, connect: Connect, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._connect = connect
        self._monotonic = monotonic
        self._sessions: dict[tuple[bool, str], _Session] = {}
        self._lock = threading.Lock()
        # Held open as long as the front runs: the engine starts with the first connection and ends with the last.
        self._anchor = connect()
        self.timezone = self.scalar("SELECT timezone()")
        self.version = self.scalar("SELECT version()")

    def scalar(self, sql: str) -> str:
        """First value of a query of our own, as text."""
        with self._lock:
            return bytes(self._anchor.query(sql, "TabSeparatedRaw").bytes()).decode().strip()

    def run(self, query: Query) -> Answer:
        """Execute a query. Raises StoreError."""
        if not query.writes_allowed and query.session and not query.statement.reads:
            # A session cannot be made readonly and writable again, so its statements are judged by their kind.
            allowed = query.statement.kind == b"SET"
            if not allowed:
                raise refused(164, "READONLY", "Cannot execute query in readonly mode. Use POST and a writing user")
        try:
            with self._connection(query) as connection:
                return self._execute(connection, query)
        except StoreError:
            raise
        except Exception as error:
            # chdb raises RuntimeError and a class of its own, with the engine's text; the client gets that text.
            raise StoreError.from_engine(str(error)) from error

    def close(self) -> None:
        """Close all connections; the engine ends with the last one."""
        with self._lock:
            for session in self._sessions.values():
                session.connection.close()
            self._sessions.clear()
            self._anchor.close()

    @contextmanager
    def _connection(self, query: Query) -> Iterator[Any]:
        if query.session:
            with self._session(query) as session:
                before = _current_settings(session.connection, query.settings)
                try:
                    _apply(session.connection, query, {**query.settings, "log_comment": query.id})
                    yield session.connection
                finally:
                    # What the address set lasts for one request only.
                    _set(session.connection, {**before, "log_comment": None})
        else:
            connection = self._connect()
            try:
                _apply(connection, query, {**query.settings, "log_comment": query.id})
                if not query.writes_allowed:
                    _set(connection, {"readonly": "2"})
                yield connection
            finally:
                connection.close()

    @contextmanager
    def _session(self, query: Query) -> Iterator[_Session]:
        now = self._monotonic()
        key = (query.writes_allowed, query.session)
        with self._lock:
            for old in [name for name, session in self._sessions.items() if session.expires < now]:
                if self._sessions[old].lock.acquire(blocking=False):  # one that is busy has not expired
                    self._sessions.pop(old).connection.close()
            session = self._sessions.get(key)
            if session is None:
                if query.session_must_exist:
                    raise refused(372, "SESSION_NOT_FOUND", "Session not found")
                if len(self._sessions) >= SESSIONS_MAX:
                    raise refused(202, "TOO_MANY_SIMULTANEOUS_QUERIES", f"more than {SESSIONS_MAX} sessions are open")
                session = self._sessions[key] = _Session(self._connect(), not query.writes_allowed, now)
            if not session.lock.acquire(blocking=False):
                raise refused(373, "SESSION_IS_LOCKED", "Session is locked by a concurrent client")
        try:
            yield session
        finally:
            session.expires = self._monotonic() + query.session_seconds
            session.lock.release()

    def _execute(self, connection: Any, query: Query) -> Answer:
        statement = query.statement
        if statement.data is not None:
            return _insert(connection, statement)
        sql = with_query_ids(statement.sql) if statement.kind == b"KILL" else statement.sql
        form = statement.output_format or query.format
        result = connection.query(_text(sql), form, params=dict(query.parameters))
        data = bytes(result.bytes() or b"")
        written = statement.kind == b"INSERT"
        return Answer(
            data,
            form,
            {
                "read_rows": "0" if written else str(result.storage_rows_read()),
                "read_bytes": "0" if written else str(result.storage_bytes_read()),
                "written_rows": str(result.rows_written() or result.rows_read()) if written else "0",
                "written_bytes": str(result.bytes_written() or result.bytes_read()) if written else "0",
                "result_rows": "0" if written else str(result.rows_read()),
                "result_bytes": str(len(data)),
            },
        )


def _insert(connection: Any, statement: Statement) -> Answer:
    """One INSERT of a whole body: it is handed over at once, so its rows become parts by the engine's block size alone.

    Up to `max_insert_block_size` rows (1,048,449 by default) are one part: all of them are there, or none.
    """
    inserter = connection.send_insert(_text(statement.sql), statement.input_format)
    try:
        inserter.append(bytes(statement.data or b""))
        result = inserter.finish()
    except Exception:
        inserter.cancel()
        raise
    return Answer(
        b"",
        "",
        {
            "read_rows": "0",
            "read_bytes": "0",
            "written_rows": str(result.rows_written),
            "written_bytes": str(result.bytes_written),
            "result_rows": "0",
            "result_bytes": "0",
        },
    )


def _apply(connection: Any, query: Query, settings: Mapping[str, str]) -> None:
    if query.database:
        connection.query(f"USE {quoted_name(query.database)}", "TabSeparated")
    values: dict[str, str | None] = dict(settings)
    if query.statement.data is not None:
        # A streamed INSERT takes no parameters of its own; SET knows them too.
        values |= {f"param_{name}": value for name, value in query.parameters.items()}
    _set(connection, values)


def _set(connection: Any, settings: Mapping[str, str | None]) -> None:
    """SET them; None puts back the default."""
    if settings:
        pairs = ", ".join(
            f"{name} = {'DEFAULT' if value is None else quoted(value)}" for name, value in settings.items()
        )
        connection.query(f"SET {pairs}", "TabSeparated")


def _current_settings(connection: Any, names: Mapping[str, str]) -> dict[str, str | None]:
    """Values of these settings in a session; None for one that was never changed."""
    if not names:
        return {}
    listed = ", ".join(quoted(name) for name in names)
    sql = f"SELECT name, value FROM system.settings WHERE changed AND name IN ({listed})"  # noqa: S608 quoted
    lines = bytes(connection.query(sql, "TabSeparatedRaw").bytes()).decode().splitlines()
    changed = dict(line.split("\t", 1) for line in lines)
    return {name: changed.get(name) for name in names}


def _text(sql: bytes) -> str:
    try:
        return sql.decode()
    except UnicodeDecodeError:
        raise refused(62, "SYNTAX_ERROR", "the statement is not valid UTF-8") from None
