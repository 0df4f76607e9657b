"""The web application: one handler that reads a request, runs it and answers."""

import asyncio
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from aiohttp import ClientPayloadError, http_exceptions, web

from finwatch.local.front.access import User, authenticate
from finwatch.local.front.body import decompressed, packer
from finwatch.local.front.engine import Answer, Engine
from finwatch.local.front.errors import StoreError, refused
from finwatch.local.front.request import Query, read_query
from finwatch.runtime.logging import get_logger

BODY_MAX = 256 * 1024 * 1024
"""Bytes of a request body, as sent and as decompressed. A batch of the sink is a few megabytes."""
COMPRESS_FROM = 512
_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "JSONCompactEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8",
    "Pretty": "text/plain; charset=UTF-8",
    "Vertical": "text/plain; charset=UTF-8",
}

_log = get_logger("front")


class Front:
    """ClickHouse's HTTP interface over an `Engine`. `workers`: queries that run at the same time."""

    def __init__(
        self, engine: Engine, users: Mapping[str, User], *, workers: int = 8, body_max: int = BODY_MAX
    ) -> None:
        self._engine = engine
        self._users = users
        self._body_max = body_max
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="query")

    def application(self) -> web.Application:
        """The aiohttp application; run it with `auto_decompress=False`, bodies are decompressed here."""
        app = web.Application(client_max_size=self._body_max)
        app.router.add_get("/ping", self._ok)
        app.router.add_get("/replicas_status", self._ok)
        app.router.add_get("/health", self._health)
        app.router.add_get("/", self._query)  # and HEAD
        app.router.add_post("/", self._query)
        return app

    def close(self) -> None:
        """Wait for running queries."""
        self._pool.shutdown(wait=True)

    async def _ok(self, _request: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def _health(self, _request: web.Request) -> web.Response:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(None, self._engine.scalar, "SELECT 1")
        except Exception as error:  # whatever it is, the answer is that the engine does not answer
            _log.error("the engine does not answer", error=type(error).__name__)
            return web.json_response({"healthy": False}, status=503)
        return web.json_response({"healthy": True, "version": self._engine.version})

    async def _query(self, request: web.Request) -> web.StreamResponse:
        headers = {
            "X-ClickHouse-Timezone": self._engine.timezone,
            "X-ClickHouse-Server-Display-Name": "finwatch",
            "X-ClickHouse-Query-Id": request.query.get("query_id", ""),
        }
        try:
            user = authenticate(self._users, request.headers, request.query)
            started = time.perf_counter()
            query = await self._read(request, user)
            if query is None:
                return web.Response(text="Ok.\n", headers=headers)
            headers["X-ClickHouse-Query-Id"] = query.id
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._pool, self._engine.run, query)
            elapsed = time.perf_counter() - started
            return await self._answer(request, query, answer, headers, elapsed)
        except (ConnectionError, asyncio.IncompleteReadError, http_exceptions.BadHttpMessage, ClientPayloadError):
            raise  # the client is gone, or its body was cut: there is nobody to answer, and nothing was run
        except Exception as caught:
            if isinstance(caught, StoreError):
                error = caught
            else:
                _log.exception("a request failed inside the front")
                error = refused(1002, "UNKNOWN_EXCEPTION", f"the front failed: {type(caught).__name__}")
            headers["X-ClickHouse-Exception-Code"] = str(error.code)
            if request.transport is not None and not request.content.at_eof():
                # The rest of a refused body is not read: this connection ends with the answer.
                headers["Connection"] = "close"
            return web.Response(status=error.status, text=error.text.rstrip("\n") + "\n", headers=headers)

    async def _read(self, request: web.Request, user: User) -> Query | None:
        """The request as a query, its body read to the end; None for a request without SQL."""
        address = dict(request.query)
        if request.content_type.startswith("multipart/"):
            address |= await self._fields(request)
            body = b""
        else:
            try:
                # A body cut before its Content-Length or its last chunk raises here: nothing of it runs.
                raw = await request.read()
            except web.HTTPRequestEntityTooLarge:
                raise self._too_large() from None
            encoding = request.headers.get("Content-Encoding", "")
            body = await asyncio.to_thread(decompressed, raw, encoding, self._body_max) if encoding else raw
        if not body and not address.get("query"):
            if request.method == "POST":
                raise refused(62, "SYNTAX_ERROR", "Empty query")
            return None
        return read_query(request.method, address, request.headers, body, readonly_user=user.readonly)

    async def _fields(self, request: web.Request) -> dict[str, str]:
        """Fields of a form, as clickhouse-connect sends long parameters. Tables sent along are refused."""
        fields: dict[str, str] = {}
        size = 0
        async for part in await request.multipart():
            name = getattr(part, "name", None)
            if part is None or getattr(part, "filename", None) or not name:
                raise refused(48, "NOT_IMPLEMENTED", "external data is not supported by the embedded store")
            if name != "query" and not name.startswith("param_"):
                raise refused(48, "NOT_IMPLEMENTED", "external data is not supported by the embedded store")
            value = await part.read(decode=False)  # type: ignore[union-attr]
            size += len(value)
            if size > self._body_max:
                raise self._too_large()
            fields[name] = bytes(value).decode()
        return fields

    async def _answer(
        self, request: web.Request, query: Query, answer: Answer, headers: dict[str, str], elapsed: float
    ) -> web.Response:
        summary = {**answer.summary, "elapsed_ns": str(int(elapsed * 1e9))}
        headers["X-ClickHouse-Summary"] = json.dumps(summary)
        data = answer.data
        if answer.format:
            headers["X-ClickHouse-Format"] = answer.format
        headers["Content-Type"] = _TYPES.get(answer.format, "application/octet-stream")
        if request.query.get("enable_http_compression") in ("1", "true") and len(data) >= COMPRESS_FROM:
            chosen = packer(request.headers.get("Accept-Encoding", ""))
            if chosen is not None:
                headers["Content-Encoding"], pack = chosen
                data = await asyncio.to_thread(pack, data)
        return web.Response(body=data, headers=headers)

    def _too_large(self) -> StoreError:
        return refused(307, "TOO_MANY_BYTES", f"the body is larger than {self._body_max} bytes; send it in batches")


async def serve(front: Front, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Start answering; gives the runner (`await runner.cleanup()` ends it) and the port (of 0: a free one).

    Raises OSError when the port is taken.
    """
    runner = web.AppRunner(front.application(), access_log=None, auto_decompress=False, shutdown_timeout=10)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    return runner, int(runner.addresses[0][1])
