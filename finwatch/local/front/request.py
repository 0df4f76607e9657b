"""From an HTTP request to a query: the address, the headers and the body of ClickHouse's protocol."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from finwatch.local.front.errors import refused
from finwatch.local.front.sql import Statement, parse

_TRANSPORT = frozenset(
    {
        "add_http_cors_header",
        "buffer_size",
        "client_protocol_version",
        "close_session",
        "compress",
        "database",
        "decompress",
        "default_format",
        "enable_http_compression",
        "http_headers_progress_interval_ms",
        "http_write_exception_in_output_format",
        "http_zlib_compression_level",
        "network_compression_method",
        "password",
        "query",
        "query_id",
        "quota_key",
        "role",
        "send_progress_in_http_headers",
        "session_check",
        "session_id",
        "session_timeout",
        "stacktrace",
        "user",
        "wait_end_of_query",
    }
)
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
SESSION_SECONDS = 60
SESSION_SECONDS_MAX = 3600


@dataclass(frozen=True)
class Query:
    """One statement and everything that goes with it. `writes_allowed`: False for GET and for readonly users."""

    id: str
    statement: Statement
    database: str
    format: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    session: str = ""
    session_must_exist: bool = False
    session_seconds: int = SESSION_SECONDS
    writes_allowed: bool = True


def read_query(
    method: str, address: Mapping[str, str], headers: Mapping[str, str], body: bytes, *, readonly_user: bool
) -> Query:
    """The query of a request whose body is already decompressed. Raises StoreError for what is not spoken here."""
    for name in ("compress", "decompress"):
        if address.get(name, "0") not in ("0", "false"):
            raise refused(48, "NOT_IMPLEMENTED", f"{name}=1 is not supported; use Accept-Encoding or Content-Encoding")
    if address.get("role"):
        raise refused(48, "NOT_IMPLEMENTED", "roles are not supported by the embedded store")
    text = address.get("query", "").encode()
    settings: dict[str, str] = {}
    parameters: dict[str, str] = {}
    for name, value in address.items():
        if name.startswith("param_"):
            parameters[name.removeprefix("param_")] = value
        elif name not in _TRANSPORT:
            if not _SETTING.match(name):
                raise refused(115, "UNKNOWN_SETTING", f"Setting {name!r} is not a setting's name")
            settings[name] = value
    asked_readonly = settings.pop("readonly", "0") not in ("0", "")
    return Query(
        id=address.get("query_id") or str(uuid.uuid4()),
        statement=parse(text + b"\n" + body if text and body else text or body),
        database=address.get("database") or headers.get("X-ClickHouse-Database", ""),
        format=headers.get("X-ClickHouse-Format") or address.get("default_format") or "TabSeparated",
        settings=settings,
        parameters=parameters,
        session=address.get("session_id", ""),
        session_must_exist=address.get("session_check") == "1",
        session_seconds=_seconds(address.get("session_timeout", "")),
        writes_allowed=not (readonly_user or asked_readonly or method in ("GET", "HEAD")),
    )


def _seconds(text: str) -> int:
    if not text:
        return SESSION_SECONDS
    if not text.isdecimal() or not 0 < int(text) <= SESSION_SECONDS_MAX:
        raise refused(
            372, "SESSION_NOT_FOUND", f"Invalid session timeout: give 1 to {SESSION_SECONDS_MAX} whole seconds"
        )
    return int(text)
