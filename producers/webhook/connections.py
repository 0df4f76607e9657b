"""Connections: aiohttp's server with limits of time, size and number, and with nothing of a request in its words."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.web_request import BaseRequest

from producers.webhook.errors import Refused
from producers.webhook.server import UNKNOWN, Ingress, refusal

MAX_LINE = 4096
MAX_HEADER = 4096
MAX_HEADERS = 64
LINGER_SECONDS = 2.0


class Connection(web.RequestHandler):
    """One connection. What it says of a request that cannot be parsed quotes none of it, in answer or log."""

    __slots__ = ("_ingress", "_most")

    def __init__(self, server: "Listener", ingress: Ingress, most: int, **limits: Any) -> None:
        super().__init__(server, **limits)
        self._ingress = ingress
        self._most = most

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it, or close it at once when there are too many."""
        super().connection_made(transport)
        if self._manager is not None and len(self._manager.connections) > self._most:
            self.force_close()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no HTTP; the connection ends with it."""
        reason = "not HTTP, or a head that is too large" if status < 500 else "an error of this server"
        response = refusal(Refused(status, reason))
        response.force_close()
        self._ingress.count(UNKNOWN, status)
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Nothing: aiohttp's message and traceback quote the request. The count by status tells."""


class Listener(web.Server):
    """Makes connections.

    `idle_seconds` is the time for the head of a request, from the opening of the connection or the last answer: who
    sends it byte by byte is closed then.
    """

    def __init__(self, ingress: Ingress, *, connections: int, idle_seconds: float) -> None:
        handler: Callable[[BaseRequest], Awaitable[web.StreamResponse]] = ingress.handle
        super().__init__(handler)
        self._ingress = ingress
        self._most = connections
        self._idle_seconds = idle_seconds

    def __call__(self) -> web.RequestHandler:
        """A connection."""
        return Connection(
            self,
            self._ingress,
            self._most,
            loop=self._loop,
            keepalive_timeout=self._idle_seconds,
            access_log=None,
            max_line_size=MAX_LINE,
            max_field_size=MAX_HEADER,
            max_headers=MAX_HEADERS,
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
        )
