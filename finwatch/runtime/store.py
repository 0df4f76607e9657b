"""The one way to a ClickHouse client: a server or the embedded store's front over HTTP, or an engine in this process.

An engine in this process (`clickhouse.path`) locks its directory: one process a directory, one directory a process.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
import urllib3.exceptions
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, Error

from finwatch.runtime.config import ClickHouseSettings, ConfigError
from finwatch.runtime.exits import ExitCode

STORE_ERRORS: tuple[type[Exception], ...] = (Error, urllib3.exceptions.HTTPError, OSError)
"""What a call of a client may raise when the store is down, slow or refuses."""

SESSION: Mapping[str, Any] = {
    # One insert call is one part: what the commit record of the sink rests on. The server's default since 26 is 1.
    "async_insert": 0,
    "wait_end_of_query": 1,
}
"""Settings of every client over HTTP."""

EMBEDDED_SESSION: Mapping[str, Any] = {
    "async_insert": 0,
    # A misspelt statement is an error, not an implicit SELECT.
    "implicit_select": 0,
    "fsync_metadata": 1,
}

# It logs each failed request by itself, with a stack trace; who calls says what failed, in one line.
logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)

_DENIED = (192, 193, 194, 497, 516)  # unknown user, wrong password, required password, no grant, authentication failed


class StoreUnavailable(Exception):
    """The store cannot be reached, or its directory is held by another process."""

    exit_code = ExitCode.UNAVAILABLE

    def __init__(self, message: str, what_to_do: str) -> None:
        super().__init__(message)
        self.what_to_do = what_to_do


class StoreDenied(StoreUnavailable):
    """The store refuses the credentials."""

    exit_code = ExitCode.DENIED


def error_code(error: BaseException) -> int | None:
    """ClickHouse's error number within a client's exception, or None."""
    _, found, rest = str(error).partition("Code: ")
    if not found:
        _, found, rest = str(error).partition("error code ")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return int(digits) if digits else None


def first_line(error: BaseException) -> str:
    """One short line of an error of the store, for people; it may quote the statement, never inserted data."""
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:300]


def address(settings: ClickHouseSettings) -> str:
    """Where the store is, without credentials."""
    if settings.path is not None:
        return str(settings.path)
    parts = urlsplit(settings.url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or (8443 if parts.scheme == 'https' else 8123)}"


def connect(
    settings: ClickHouseSettings,
    *,
    database: bool = True,
    timeout: float = 60.0,
    engine_config: Path | None = None,
    session: Mapping[str, Any] | None = None,
) -> Client:
    """A client of the store, not to be shared between threads.

    `database` False leaves the database unset, for before the migrations. `timeout` bounds a single answer, in seconds.
    `engine_config` is a ClickHouse configuration file for an engine in this process. `session` are further settings.
    Raises StoreUnavailable or StoreDenied (which say what to do) and ConfigError for a url that is none.
    """
    name = settings.database if database else None
    if settings.path is not None:
        return _open(settings, name, engine_config, session or {})
    parts = urlsplit(settings.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("FINWATCH_CLICKHOUSE_URL must be http://HOST:PORT or https://HOST:PORT")
    try:
        return clickhouse_connect.get_client(
            interface=parts.scheme,
            host=parts.hostname,
            port=parts.port or (8443 if parts.scheme == "https" else 8123),
            username=settings.user,
            password=settings.password.get_secret_value(),
            database=name or "__default__",
            ca_cert=str(settings.ssl_ca) if settings.ssl_ca else None,
            connect_timeout=10,
            send_receive_timeout=timeout,
            # Sessions would lock a client out of its own session after a timeout (373).
            autogenerate_session_id=False,
            query_retries=0,
            settings={**SESSION, **(session or {})},
        )
    except DatabaseError as error:
        code = error_code(error)
        if code in _DENIED:
            raise StoreDenied(
                f"ClickHouse at {address(settings)} refuses user {settings.user}",
                "set FINWATCH_CLICKHOUSE_USER and FINWATCH_CLICKHOUSE_PASSWORD (or ..._PASSWORD_FILE)",
            ) from None
        if code == 81:
            raise StoreUnavailable(
                f"ClickHouse at {address(settings)} has no database {settings.database}", "run: finwatch store migrate"
            ) from None
        if code is not None:
            raise StoreUnavailable(
                f"ClickHouse at {address(settings)} refuses a connection: {first_line(error)}",
                "see the message; finwatch doctor says more",
            ) from None
        raise _unreachable(settings) from None
    except STORE_ERRORS:
        raise _unreachable(settings) from None


def _unreachable(settings: ClickHouseSettings) -> StoreUnavailable:
    return StoreUnavailable(f"no ClickHouse answers at {address(settings)}", "start it, or set FINWATCH_CLICKHOUSE_URL")


def _open(
    settings: ClickHouseSettings, name: str | None, engine_config: Path | None, session: Mapping[str, Any]
) -> Client:
    assert settings.path is not None
    try:
        settings.path.mkdir(parents=True, exist_ok=True)
        client = clickhouse_connect.get_client(
            interface="chdb",
            path=str(settings.path),
            chdb_options={"config-file": str(engine_config.resolve())} if engine_config is not None else None,
            settings={**EMBEDDED_SESSION, **session},
        )
    except STORE_ERRORS as error:
        raise StoreUnavailable(
            f"the embedded store in {settings.path} cannot be opened: {first_line(error)}",
            "stop the process that holds it (one process a directory), or check the directory's rights",
        ) from None
    if name is not None:
        try:
            client.database = name
            client.command(f"USE {name}")
        except STORE_ERRORS as error:
            client.close()
            raise StoreUnavailable(
                f"the embedded store in {settings.path} has no database {name}: {first_line(error)}",
                "run: finwatch store migrate",
            ) from None
    return client
