"""`/metrics` and `/health` of a process, on loopback unless told otherwise."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest


@dataclass(frozen=True)
class Health:
    """Whether a process does its work, and why not. `details` hold ids, counts and ages only."""

    healthy: bool
    details: Mapping[str, Any] = field(default_factory=dict)


class HealthServer:
    """Serves `/metrics` (Prometheus text) and `/health` (200 or 503, JSON) from a daemon thread.

    `port` 0 takes a free one; `address` tells which. Raises OSError when the port is taken.
    """

    def __init__(
        self, registry: CollectorRegistry, check: Callable[[], Health], host: str = "127.0.0.1", port: int = 0
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            server_version = "finwatch"
            sys_version = ""

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                elif path == "/health":
                    health = check()
                    body = json.dumps({"healthy": health.healthy, **health.details}, default=str).encode()
                    self._answer(200 if health.healthy else 503, "application/json", body)
                else:
                    self._answer(404, "text/plain; charset=utf-8", b"try /metrics or /health\n")

            def _answer(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Requests are not logged: a scrape every few seconds says nothing."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="health", daemon=True)

    @property
    def address(self) -> str:
        """Where it listens, as host:port."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def start(self) -> "HealthServer":
        """Begin to answer."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
