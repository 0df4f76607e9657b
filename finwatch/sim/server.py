"""The HTTP server of the simulated Odoo: one thread a connection, `Connection: close`, as the threaded Odoo server
does; or connections that are kept, as a proxy before it keeps them.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self

import msgspec

from finwatch.sim import json2
from finwatch.sim.errors import OdooError
from finwatch.sim.faults import Faults, Outcome
from finwatch.sim.rpc import Service
from finwatch.sim.store import Database

_BAD_REQUEST = (
    b"<!doctype html>\n<html lang=en>\n<title>400 Bad Request</title>\n<h1>Bad Request</h1>\n<p>Invalid JSON data</p>\n"
)
_NOT_FOUND = b"<!doctype html>\n<title>404 Not Found</title>\n"
_log = logging.getLogger("finwatch.sim")
_MAX_BODY = 128 * 1024 * 1024


class SimulatedOdoo:
    """Serves one database over HTTP on `host`:`port` (0: any free port) from a background thread.

    Use as a context manager, or `start()` and `stop()`. Several may run in one process. `requests` counts calls by
    `service.method` or `model.method`.

    `keep_alive`: connections stay open, as behind a proxy. `deprecated_services` (from 19 on): whether `/jsonrpc`
    still answers logins and calls of models, with a warning in the log (once here, at each call in Odoo), or tells
    404, as newer versions do while the parameter rpc.use_deprecated_services is not set.
    """

    def __init__(
        self,
        db: Database,
        port: int = 0,
        host: str = "127.0.0.1",
        faults: Faults | None = None,
        *,
        keep_alive: bool = False,
        deprecated_services: bool = True,
    ) -> None:
        self.db = db
        self.faults = faults or Faults()
        self.keep_alive = keep_alive
        self.deprecated_services = deprecated_services
        self._warned = False
        self.requests: Counter[str] = Counter()
        self._service = Service(db, self.faults)
        self._address = (host, port)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Bind and serve. Raises OSError when the port is taken."""
        if self._server is not None:
            raise RuntimeError("the simulated Odoo is already running")
        server = _Server(self._address, self)
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="simulated-odoo", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving and free the port; harmless when not running."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is not None and thread is not None:
            server.shutdown()
            server.server_close()
            thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def host(self) -> str:
        """Address it listens on."""
        return self._address[0]

    @property
    def port(self) -> int:
        """Port it listens on; raises RuntimeError when it is not running."""
        if self._server is None:
            raise RuntimeError("the simulated Odoo is not running")
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """`http://host:port`."""
        return f"http://{self.host}:{self.port}"

    def told(self, path: str) -> tuple[int, str, bytes]:
        """One GET: (status, content type, body)."""
        if path in json2.VERSION_PATHS and self.db.major >= json2.FIRST_VERSION:
            self.requests["web.version"] += 1
            return json2.version(self.db)
        return 404, json2.HTML, _NOT_FOUND

    def answer(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, str, bytes]:
        """One POST: (status, content type, body); `headers` by lower-case name."""
        if path == "/json/2" or path.startswith("/json/2/"):
            if self.db.major < json2.FIRST_VERSION:
                return 404, json2.HTML, _NOT_FOUND
            self.requests[".".join(path.split("/")[3:])] += 1
            return json2.answer(self.db, self.faults, path, headers or {}, body)
        try:
            request = msgspec.json.decode(body)
        except msgspec.DecodeError:
            return 400, "text/html; charset=utf-8", _BAD_REQUEST
        if not isinstance(request, dict):
            return 400, "text/html; charset=utf-8", _BAD_REQUEST
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": request.get("id")}
        try:
            reply["result"] = self._route(path, request.get("params") or {})
        except OdooError as error:
            reply["error"] = error.body()
        except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            # As Odoo does: whatever a caller's arguments make the server raise goes back to the caller.
            reply["error"] = OdooError(f"builtins.{type(error).__name__}", str(error)).body()
        return 200, "application/json; charset=utf-8", msgspec.json.encode(reply)

    def _route(self, path: str, params: dict[str, Any]) -> Any:
        if path == "/jsonrpc":
            self._deprecated(params)
            self._count(params)
            return self._service.call(params)
        if path == "/web/webclient/version_info":
            return self.db.catalogue.version_info
        if path == "/web/database/list":
            return [self.db.name]
        raise OdooError("werkzeug.exceptions.NotFound", "404: Not Found")

    def _deprecated(self, params: dict[str, Any]) -> None:
        if self.db.major < json2.FIRST_VERSION:
            return
        login = params.get("service") == "common" and params.get("method") in ("login", "authenticate")
        if not self.deprecated_services and (login or params.get("service") == "object"):
            raise OdooError("werkzeug.exceptions.NotFound", "404: Not Found")
        if not self._warned:
            self._warned = True
            _log.warning("/jsonrpc is deprecated in Odoo 19 and scheduled for removal in Odoo 22: use /json/2")

    def _count(self, params: dict[str, Any]) -> None:
        arguments = params.get("args") or []
        if params.get("service") == "object" and len(arguments) > 4:
            self.requests[f"{arguments[3]}.{arguments[4]}"] += 1
        else:
            self.requests[f"{params.get('service')}.{params.get('method')}"] += 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], odoo: SimulatedOdoo) -> None:
        self.odoo = odoo
        self.closing = threading.Event()
        super().__init__(address, _Handler)

    def server_close(self) -> None:
        self.closing.set()
        super().server_close()

    def server_bind(self) -> None:  # HTTPServer asks the resolver for the host's name here, which may take seconds
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: on a kept connection the second would wait 40 ms
    server_version = "Werkzeug/3.0.1"
    sys_version = "Python/3.12.3"

    def do_POST(self) -> None:
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            length = -1
        if not 0 <= length <= _MAX_BODY:
            self._send(400, "text/html; charset=utf-8", _BAD_REQUEST)
            return
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._answer(lambda path: self.server.odoo.answer(path, body, headers))

    def do_GET(self) -> None:
        if self.path.split("?", 1)[0] == "/web/health":
            self._send(200, "application/json; charset=utf-8", b'{"status": "pass"}')
        else:
            self._answer(self.server.odoo.told)

    def _answer(self, make: Callable[[str], tuple[int, str, bytes]]) -> None:
        """Make and send the answer, or do what the faults say instead."""
        faults = self.server.odoo.faults
        if faults.latency > 0:
            self.server.closing.wait(faults.latency)
        if self.server.closing.is_set():
            self.close_connection = True  # a connection that was kept ends with the server
            return
        outcome, status = faults.draw()
        if outcome is Outcome.RESET:
            self.close_connection = True
            return
        if outcome is Outcome.STATUS:
            headers = {"Retry-After": "1"} if status == 429 else {}
            self._send(status, "text/html; charset=utf-8", b"<!doctype html>\n<title>fault</title>\n", headers)
            return
        status, kind, answer = make(self.path.split("?", 1)[0])
        if outcome is Outcome.CUT:
            answer = answer[: len(answer) // 2]
        self._send(status, kind, answer)

    def _send(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if not self.server.odoo.keep_alive:
            self.send_header("Connection", "close")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date header tells the server's own clock, skew included."""
        return (
            format_datetime(self.server.odoo.db.now(), usegmt=True)
            if timestamp is None
            else super().date_time_string(timestamp)
        )

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests carry passwords."""
