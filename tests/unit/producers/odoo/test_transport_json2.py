"""JSON-2: what is sent, errors as types, kept connections, the choice by version, and no secret in any log."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from finwatch.runtime.config import ConfigError, OdooSettings
from producers.odoo.connect import open_transport
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
from producers.odoo.transport import OdooRpcTransport
from producers.odoo.transport_json2 import Json2Transport

KEY = "5ecre7-key-of-the-service-account"
Reply = tuple[int, bytes]
NO_DATABASE = (404, b"<!DOCTYPE html>\n<title>404 Not Found</title>\n<p>No database is selected</p>\n")


def ok(value: Any) -> Reply:
    return 200, json.dumps(value).encode()


def failure(status: int, name: str, message: str) -> Reply:
    debug = "Traceback /opt/odoo/secret/path SELECT"
    error = {"name": name, "message": message, "arguments": [message], "context": {}, "debug": debug}
    return status, json.dumps(error).encode()


@dataclass
class Scripted:
    """A server that answers model calls with `answer`, and what it was asked."""

    answer: Callable[[str, dict[str, Any]], Reply]
    version: Reply = field(default_factory=lambda: ok({"version_info": [19, 0, 0, "final", 0, ""], "version": "19.0"}))
    keep: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""
    seen: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    connections: int = 0
    drop_after: int | None = None
    """Close each connection without a word when this many requests were answered on it."""


@contextmanager
def serving(script: Scripted) -> Iterator[Scripted]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            script.connections += 1
            self.answered = 0

        def do_GET(self) -> None:
            script.seen.append((self.path, dict(self.headers), {}))
            self.reply(*script.version)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.answered == script.drop_after:
                self.close_connection = True
                return
            self.answered += 1
            request = json.loads(body)
            script.seen.append((self.path, dict(self.headers), request))
            self.reply(*script.answer(self.path, request))

        def reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if not script.keep:
                self.send_header("Connection", "close")
            for name, value in script.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return "Sun, 22 Nov 2026 03:19:52 GMT"

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False  # kept connections end with the client

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that gave up waiting is what some tests want."""

    server = Server(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def transport(script: Scripted, timeout: float = 5.0) -> Json2Transport:
    return Json2Transport(script.url, "fin", KEY, timeout=timeout)


def read(subject: Json2Transport) -> list[dict[str, Any]]:
    return subject.search_read("res.partner", [], ["name"], limit=1)


def answering(reply: Reply) -> Scripted:
    return Scripted(lambda _path, _request: reply)


def test_what_is_sent_are_named_arguments_key_and_database() -> None:
    answers = {"search_read": [{"id": 1}], "search": [1, 2], "search_count": 7, "fields_get": {"state": {}}}
    with serving(Scripted(lambda path, _: ok(answers.get(path.rsplit("/", 1)[1], {})))) as script:
        subject = transport(script)
        french = {"lang": "fr_FR"}
        assert subject.search_read("res.partner", [("id", ">", 0)], ["name"], limit=5) == [{"id": 1}]
        assert subject.search("res.partner", (), limit=2, order="id desc", context=french) == [1, 2]
        assert subject.search_count("res.partner", [("id", "in", [1, 2])]) == 7
        assert subject.fields_get("account.move", ("selection",), fields=("state",), context=french) == {"state": {}}
        assert subject.server_time() == datetime(2026, 11, 22, 3, 19, 52, tzinfo=UTC)
        with pytest.raises(ValueError, match="fields"):
            subject.search_read("res.partner", [], [], limit=5)
        subject.close()
    assert [(path, body) for path, _, body in script.seen] == [
        (
            "/json/2/res.partner/search_read",
            {"domain": [["id", ">", 0]], "fields": ["name"], "limit": 5, "order": "id"},
        ),
        ("/json/2/res.partner/search", {"domain": [], "limit": 2, "order": "id desc", "context": french}),
        ("/json/2/res.partner/search_count", {"domain": [["id", "in", [1, 2]]]}),
        (
            "/json/2/account.move/fields_get",
            {"attributes": ["selection"], "allfields": ["state"], "context": french},
        ),
    ]
    sent = script.seen[0][1]
    assert sent["Authorization"] == f"bearer {KEY}"
    assert sent["X-Odoo-Database"] == "fin"
    assert sent["Content-Type"].startswith("application/json")
    assert script.connections == 1


def test_the_version_is_told_once_the_key_is_accepted() -> None:
    with serving(Scripted(lambda path, _: ok({"uid": 7}))) as script:
        assert transport(script).version() == 19
    assert [path for path, _, _ in script.seen] == ["/json/2/res.users/context_get", "/web/version"]
    denied = failure(401, "werkzeug.exceptions.Unauthorized", "Invalid apikey")
    with serving(answering(denied)) as script, pytest.raises(AccessDenied):
        transport(script).version()
    with serving(Scripted(lambda _p, _r: ok({}), version=(404, b"<html>"))) as script, pytest.raises(Malformed):
        transport(script).version()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (failure(401, "werkzeug.exceptions.Unauthorized", "Invalid apikey"), AccessDenied),
        (failure(403, "odoo.exceptions.AccessDenied", "Access Denied"), AccessDenied),
        (failure(403, "odoo.http.SessionExpiredException", "Session expired"), AccessDenied),
        (failure(403, "werkzeug.exceptions.Forbidden", "Cannot use both"), AccessDenied),
        (failure(403, "odoo.exceptions.AccessError", "You are not allowed to access 'Lead'"), AccessRefused),
        (failure(404, "werkzeug.exceptions.NotFound", "the model 'approval.request' does not exist"), UnknownModel),
        (failure(404, "werkzeug.exceptions.NotFound", "The method 'res.partner.x' does not exist"), UnknownField),
        (failure(404, "odoo.exceptions.MissingError", "Record does not exist or has been deleted."), Refused),
        (failure(422, "werkzeug.exceptions.UnprocessableEntity", "missing a required argument: 'domain'"), Refused),
        (failure(422, "odoo.exceptions.UserError", "Something a person must do"), Refused),
        (failure(500, "builtins.ValueError", "Invalid field 'x' on 'res.partner'"), UnknownField),
        (failure(500, "psycopg2.OperationalError", 'database "fin" does not exist'), Unavailable),
        (failure(500, "psycopg2.errors.SerializationFailure", "could not serialize"), Unavailable),
        (failure(500, "psycopg2.errors.InvalidDatetimeFormat", "invalid input syntax"), Refused),
        (failure(500, "builtins.TypeError", "unhashable"), Refused),
        (failure(503, "werkzeug.exceptions.ServiceUnavailable", "upgrading"), Unavailable),
        (NO_DATABASE, Unavailable),
        ((429, b"slow down"), Unavailable),
        ((503, b"<html>upgrading</html>"), Unavailable),
        ((500, b'{"name": 5}'), Unavailable),
        ((401, b""), AccessDenied),
        ((403, b"<html>a proxy's page</html>"), AccessDenied),
        ((400, b"<html>could not parse the body</html>"), Refused),
        ((303, b""), Refused),
        ((200, b'[{"id": 1, "na'), Unavailable),
        ((200, b"<html>a proxy's page</html>"), Unavailable),
        ((200, b"\xff\xfe"), Unavailable),
        (ok({"not": "a list"}), Malformed),
        (ok([{"name": "no id"}]), Malformed),
    ],
)
def test_each_failure_has_its_type_and_repeats_nothing_of_the_server(answer: Reply, kind: type[OdooError]) -> None:
    with serving(answering(answer)) as script, pytest.raises(OdooError) as raised:
        read(transport(script))
    assert type(raised.value) is kind
    said = str(raised.value) + repr(raised.value.__cause__)
    for hidden in ("/opt/odoo", "SELECT", "Lead", KEY):
        assert hidden not in said
    assert "res.partner" in said


@pytest.mark.parametrize(
    ("header", "expected"), [("7", 7.0), ("99999", 3600.0), ("-3", 0.0), ("nan", None), ("Sun, 22 Nov 2026", None)]
)
def test_the_server_may_say_how_long_to_wait(header: str, expected: float | None) -> None:
    script = answering((429, b""))
    script.headers["Retry-After"] = header
    with serving(script), pytest.raises(Unavailable) as raised:
        read(transport(script))
    assert raised.value.retry_after == expected


def test_an_absent_server_and_a_silent_one_are_unavailable() -> None:
    with serving(answering(ok([]))) as script:
        pass
    with pytest.raises(Unavailable, match="not reachable"):
        read(transport(script))
    release = threading.Event()

    def silent(_path: str, _request: dict[str, Any]) -> Reply:
        release.wait(10)
        return ok([])

    with serving(Scripted(silent)) as script:
        try:
            with pytest.raises(Unavailable, match="in time"):
                read(transport(script, timeout=0.2))
        finally:
            release.set()


def test_a_kept_connection_that_the_server_closed_is_opened_again_once() -> None:
    with serving(Scripted(lambda _p, _r: ok([{"id": 1}]), drop_after=1)) as script:
        subject = transport(script)
        assert [read(subject) for _ in range(3)] == [[{"id": 1}]] * 3
        assert script.connections == 3
    with serving(Scripted(lambda _p, _r: ok([]), drop_after=0)) as script:
        subject = transport(script)
        with pytest.raises(Unavailable, match="broke"):
            read(subject)
        assert script.connections == 1  # what breaks on a new connection is the caller's to repeat


def test_without_keep_alive_each_call_has_its_connection() -> None:
    with serving(Scripted(lambda _p, _r: ok([{"id": 1}]), keep=False)) as script:
        subject = transport(script)
        assert read(subject) == read(subject)
        assert script.connections == 2


@pytest.mark.parametrize("level", ["urllib3", "urllib3.connectionpool", ""])
def test_the_key_is_in_no_log_at_any_level(level: str, caplog: pytest.LogCaptureFixture) -> None:
    with serving(answering(failure(401, "werkzeug.exceptions.Unauthorized", "Invalid apikey"))) as script:
        subject = transport(script)
        caplog.set_level(logging.DEBUG, logger=level)
        with pytest.raises(AccessDenied) as raised:
            read(subject)
    assert KEY not in caplog.text
    assert KEY not in repr(subject) + str(raised.value)


@pytest.mark.parametrize(
    ("url", "database", "key"),
    [
        ("https://erp.example.com/odoo", "fin", KEY),
        ("https://a:b@erp.example.com", "fin", KEY),
        ("https://erp.example.com", "fin\r\nX-Other: 1", KEY),
        ("https://erp.example.com", "fin", "key\nof two lines"),
        ("https://erp.example.com", "fin", "ключ"),
    ],
)
def test_what_cannot_go_into_a_request_is_refused(url: str, database: str, key: str) -> None:
    with pytest.raises(ValueError) as raised:
        Json2Transport(url, database, key)
    assert key not in str(raised.value)


# The choice


def settings(url: str, **given: Any) -> OdooSettings:
    return OdooSettings(**{"url": url, "database": "fin", "user": "svc", "password": KEY, "timeout": 5.0} | given)


def test_odoo_19_is_asked_over_json2_and_an_older_one_over_json_rpc() -> None:
    with serving(answering(ok([{"id": 1}]))) as script:
        subject = open_transport(settings(script.url, user="", password="", api_key=KEY))
        assert subject.api == "not chosen yet"
        assert subject.search_read("res.partner", [], ["name"], limit=1) == [{"id": 1}]
        assert subject.api.startswith("JSON-2")
    older = [(404, b"<html>"), (303, b""), (200, b"<html>"), ok({"version": "18.0"}), (403, b"")]
    for reply in older:
        asked: list[str] = []

        def answer(path: str, _request: dict[str, Any], asked: list[str] = asked) -> Reply:
            asked.append(path)
            return ok({"jsonrpc": "2.0", "result": False})

        with serving(Scripted(answer, version=reply)) as script:
            subject = open_transport(settings(script.url))
            with pytest.raises(OdooError):
                subject.search_read("res.partner", [], ["name"], limit=1)
            assert asked
            assert not any(path.startswith("/json/2") for path in asked), reply
            assert subject.api.startswith("JSON-RPC")


def test_without_a_user_an_older_odoo_cannot_be_asked() -> None:
    with serving(Scripted(lambda _p, _r: ok([]), version=(404, b""))) as script:
        subject = open_transport(settings(script.url, user="", password="", api_key=KEY))
        with pytest.raises(AccessDenied, match="FINWATCH_ODOO_USER"):
            subject.version()


def test_a_password_that_no_key_looks_like_is_for_an_older_odoo_only() -> None:
    with serving(Scripted(lambda _p, _r: ok({}), version=(404, b""))) as script:
        subject = open_transport(settings(script.url, password="пароль"))
        with pytest.raises(OdooError):
            subject.version()
        assert subject.api.startswith("JSON-RPC")
        script.version = ok({"version": "19.0"})
        with pytest.raises(AccessDenied, match="key"):
            subject.version()


def test_a_busy_server_is_not_taken_for_an_older_one() -> None:
    with serving(Scripted(lambda _p, _r: ok([]), version=(503, b""))) as script:
        subject = open_transport(settings(script.url))
        with pytest.raises(Unavailable):
            subject.version()
        script.version = ok({"version": "19.0"})
        assert subject.version() == 19


def test_an_upgrade_is_noticed_when_the_version_is_asked_again() -> None:
    with serving(Scripted(lambda _p, _r: ok({}), version=(404, b""))) as script:
        subject = open_transport(settings(script.url))
        with pytest.raises(OdooError):
            subject.version()
        assert subject.api.startswith("JSON-RPC")
        script.version = ok({"version": "saas~19.2+e"})
        assert subject.version() == 19
        assert subject.api.startswith("JSON-2")


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"transport": "jsonrpc", "user": ""}, "FINWATCH_ODOO_USER"),
        ({"transport": "jsonrpc", "password": ""}, "FINWATCH_ODOO_PASSWORD"),
        ({"transport": "json2", "password": ""}, "FINWATCH_ODOO_API_KEY"),
        ({"password": ""}, "FINWATCH_ODOO_API_KEY"),
        ({"user": ""}, "FINWATCH_ODOO_USER"),
        ({"database": ""}, "FINWATCH_ODOO_DATABASE"),
        ({"url": ""}, "FINWATCH_ODOO_URL"),
        ({"url": "erp.example.com"}, "FINWATCH_ODOO_URL"),
        ({"url": "https://erp.example.com", "ssl_ca": "/nowhere/ca.pem"}, "FINWATCH_ODOO_SSL_CA"),
        ({"transport": "json2", "api_key": "no\nkey"}, "header"),
    ],
)
def test_settings_that_cannot_work_name_what_to_set(given: dict[str, Any], missing: str) -> None:
    with pytest.raises(ConfigError, match=missing):
        open_transport(settings(**{"url": "http://erp.example.com"} | given))


def test_the_override_is_kept() -> None:
    url = "http://erp.example.com"
    assert isinstance(open_transport(settings(url, transport="json2", user="")), Json2Transport)
    assert isinstance(open_transport(settings(url, transport="jsonrpc", password="", api_key=KEY)), OdooRpcTransport)
