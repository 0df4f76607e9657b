"""Errors as types, and no secret in any log."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from producers.odoo.errors import (
    AccessDenied,
    AccessRefused,
    Malformed,
    OdooError,
    Refused,
    Unavailable,
    UnknownField,
    UnknownModel,
)
from producers.odoo.failures import classify
from producers.odoo.transport import OdooRpcTransport

SECRET = "pa55-of-the-service-account"
Answer = Callable[[dict[str, Any]], tuple[int, bytes]]


def result(value: Any) -> tuple[int, bytes]:
    return 200, json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode()


def failure(name: str, message: str) -> tuple[int, bytes]:
    data = {"name": name, "message": message, "debug": "Traceback /opt/odoo/secret/path SELECT", "arguments": [message]}
    error = {"code": 200, "message": "Odoo Server Error", "data": data}
    return 200, json.dumps({"jsonrpc": "2.0", "id": 1, "error": error}).encode()


@contextmanager
def serving(answer: Answer, version: str = "18.0") -> Iterator[str]:
    """A server that logs in anybody and answers model calls with `answer`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            params = request.get("params") or {}
            if self.path.endswith("version_info"):
                status, body = result({"server_version": version})
            elif params.get("service") == "common":
                status, body = result(2)
            elif params.get("method") == "execute":
                status, body = result({"lang": "en_US"})
            else:
                status, body = answer(params)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return "Sun, 22 Nov 2026 03:19:52 GMT"

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that gave up waiting is what some tests want."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def transport(url: str, timeout: float = 5.0) -> OdooRpcTransport:
    return OdooRpcTransport(url, "fin", "svc", SECRET, timeout=timeout)


def read(url: str) -> list[dict[str, Any]]:
    return transport(url).search_read("res.partner", [], ["name"], limit=1)


def test_what_is_sent_has_explicit_fields_a_limit_and_an_order() -> None:
    seen: list[dict[str, Any]] = []

    def answer(params: dict[str, Any]) -> tuple[int, bytes]:
        seen.append(params)
        return result([{"id": 1, "name": "A"}])

    with serving(answer) as url:
        subject = transport(url)
        assert subject.version() == 18
        assert subject.search_read("res.partner", [("id", ">", 0)], ["name"], limit=5) == [{"id": 1, "name": "A"}]
        assert subject.server_time() == datetime(2026, 11, 22, 3, 19, 52, tzinfo=UTC)
        with pytest.raises(ValueError, match="fields"):
            subject.search_read("res.partner", [], [], limit=5)
    assert seen[0]["method"] == "execute_kw"
    assert seen[0]["args"][3:] == [
        "res.partner",
        "search_read",
        [[["id", ">", 0]]],
        {"fields": ["name"], "limit": 5, "order": "id"},
    ]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (failure("odoo.exceptions.AccessDenied", "Access Denied"), AccessDenied),
        (failure("odoo.exceptions.AccessError", "You are not allowed to access 'Lead'"), AccessRefused),
        (failure("odoo.exceptions.UserError", "Object approval.request doesn't exist"), UnknownModel),
        (failure("builtins.ValueError", "Invalid field 'x' on model 'res.partner'"), UnknownField),
        (failure("builtins.AttributeError", "The method 'res.partner.x' does not exist"), UnknownField),
        (failure("psycopg2.OperationalError", 'database "fin" does not exist'), Unavailable),
        (failure("psycopg2.errors.SerializationFailure", "could not serialize"), Unavailable),
        (failure("psycopg2.errors.InvalidDatetimeFormat", "invalid input syntax"), Refused),
        (failure("odoo.exceptions.UserError", "Something a person must do"), Refused),
        ((429, b"slow down"), Unavailable),
        ((503, b"<html>upgrading</html>"), Unavailable),
        ((403, b""), AccessDenied),
        ((404, b""), Refused),
        ((200, b'{"jsonrpc": "2.0", "result": [{"id": 1, "na'), Unavailable),
        ((200, b"<html>a proxy's page</html>"), Unavailable),
        ((200, b"[]"), Malformed),
        (result({"not": "a list"}), Malformed),
        (result([{"name": "no id"}]), Malformed),
    ],
)
def test_each_failure_has_its_type_and_repeats_nothing_of_the_server(
    answer: tuple[int, bytes], kind: type[OdooError]
) -> None:
    with serving(lambda _: answer) as url, pytest.raises(OdooError) as raised:
        read(url)
    assert type(raised.value) is kind
    said = str(raised.value) + repr(raised.value.__cause__)
    for hidden in ("/opt/odoo", "SELECT", "Lead", SECRET):
        assert hidden not in said
    assert "res.partner" in said


def test_the_captured_errors_have_their_types(data_dir: Path) -> None:
    samples = json.loads((data_dir / "odoo18" / "wire_samples.json").read_text())
    expected = {
        "execute_wrong_password": AccessDenied,
        "database_missing": Unavailable,
        "unknown_model": UnknownModel,
        "unknown_field": UnknownField,
        "unknown_method": UnknownField,
        "bad_datetime": Refused,
        "write_deleted": Refused,
    }
    for name, kind in expected.items():
        error = samples[name]["response"]["error"]
        assert type(classify("x", error["data"]["message"], error)) is kind, name


def test_an_absent_server_and_a_silent_one_are_unavailable() -> None:
    with serving(lambda _: result([])) as url:
        pass
    with pytest.raises(Unavailable, match="not reachable"):
        read(url)
    release = threading.Event()

    def silent(_: dict[str, Any]) -> tuple[int, bytes]:
        release.wait(10)
        return result([])

    with serving(silent) as url:
        try:
            with pytest.raises(Unavailable, match="in time"):
                transport(url, timeout=0.2).search_read("res.partner", [], ["name"], limit=1)
        finally:
            release.set()


def test_a_login_that_is_not_accepted_is_denied() -> None:
    assert type(classify("log in", "Wrong login ID or password", {})) is AccessDenied


@pytest.mark.parametrize("level", ["odoorpc", "odoorpc.rpc.jsonrpclib", ""])
def test_the_secret_is_in_no_log_at_any_level(level: str, caplog: pytest.LogCaptureFixture) -> None:
    """odoorpc prints requests, and the secret in them, at DEBUG."""
    with serving(lambda _: failure("odoo.exceptions.AccessDenied", "Access Denied")) as url:
        subject = transport(url)
        caplog.set_level(logging.DEBUG, logger=level)
        with pytest.raises(AccessDenied) as raised:
            subject.search_read("res.partner", [], ["name"], limit=1)
    assert SECRET not in caplog.text
    assert SECRET not in repr(subject) + str(raised.value)


@pytest.mark.parametrize(
    "url",
    ["", "erp.example.com", "ftp://erp.example.com", "https://a:b@erp.example.com", "https://erp.example.com/odoo"],
)
def test_an_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        OdooRpcTransport(url, "fin", "svc", SECRET)
