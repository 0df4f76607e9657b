"""The HTTP side: which status a request gets, and the order in which it is judged.

The order is the guarantee:
1. path, method, type and announced size, from the head alone: 404, 405, 415, 413
2. who: token or claim, form and time: 401, before a byte of the body is read
3. body, bounded in bytes and time: 413, 408, 400
4. signature: 401. From here on the request is the sender's own doing
5. rate: 429. After the signature, so that nobody without a key can use up a sender's share
6. replay: 409 when an event with this nonce was acknowledged; the nonce is taken
7. JSON, schema, mapping: 400; not wanted: 204
8. the broker: 503 when the event is not in the log and will not be; no answer at all while nobody can say
9. the nonce is remembered, then 202
"""

import asyncio
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, cast

from aiohttp import HttpVersion11, hdrs, http_exceptions, web
from aiohttp.web_request import BaseRequest

from finwatch.runtime.clock import Clock
from finwatch.runtime.logging import get_logger
from finwatch.runtime.metrics import Metrics
from finwatch.runtime.topics import HINTS
from producers.hints import encode_hint
from producers.webhook.delivery import RETRY_AFTER, Deliveries, Untold
from producers.webhook.errors import Refused
from producers.webhook.events import Mapper, TransitionRecord, parse_json, read_hint
from producers.webhook.hooks import Hooks, OdooHook, SignedHook
from producers.webhook.rate import TokenBucket
from producers.webhook.replay import ReplayMemory
from producers.webhook.signature import read_claim, verify

PREFIX = "/hooks/"
UNKNOWN = "unknown"
ACCEPTED = b'{"status":"accepted"}\n'
_UNREAD_BYTES = 64 * 1024
_HEADERS = {hdrs.SERVER: "finwatch"}
Encode = Callable[[TransitionRecord], bytes]


class _Hook:
    """What one hook keeps between requests."""

    def __init__(self, name: str, hooks: Hooks) -> None:
        self.name = name
        self.hook = hooks.hooks[name]
        self.bucket = TokenBucket(self.hook.rate, self.hook.burst or max(1, int(2 * self.hook.rate)))
        self.keys: Mapping[str, bytes] = hooks.keys.get(name, {})
        self.token = hooks.tokens.get(name, b"")
        if isinstance(self.hook, SignedHook):
            self.mapper = Mapper(name, self.hook)
            self.memory = ReplayMemory(self.hook.window_seconds, self.hook.remember)


class Ingress:
    """Answers requests. `encode` is set once the registry has told the schema's id; until then events get 503."""

    def __init__(
        self, hooks: Hooks, deliveries: Deliveries, clock: Clock, metrics: Metrics, *, read_seconds: float = 10.0
    ) -> None:
        self._hooks = {name: _Hook(name, hooks) for name in hooks.hooks}
        self._deliveries = deliveries
        self._clock = clock
        self._read_seconds = read_seconds
        self._log = get_logger("webhook")
        self._requests = metrics.counter("webhook_requests")
        seconds = metrics.histogram("webhook_seconds")
        self._seconds = {name: seconds.labels(name) for name in (*self._hooks, UNKNOWN)}
        self._counts: dict[tuple[str, int], Any] = {}
        metrics.gauge("webhook_unacknowledged").set_function(lambda: deliveries.pending)
        nonces = metrics.gauge("webhook_nonces")
        for name, known in self._hooks.items():
            if isinstance(known.hook, SignedHook):
                nonces.labels(name).set_function(lambda memory=known.memory: len(memory))  # type: ignore[misc]
        self.encode: Encode | None = None
        self._second, self._date = 0, b""

    async def handle(self, request: BaseRequest) -> web.StreamResponse:
        """The answer to a request; never raises for anything a sender can do.

        A process that ends before the fate of an event is known closes the connection instead.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        path, _, _ = request.raw_path.partition("?")
        name, _, token = path[len(PREFIX) :].partition("/")
        known = self._hooks.get(name) if path.startswith(PREFIX) else None
        label = UNKNOWN if known is None else name
        try:
            if known is None:
                raise Refused(404, "no such hook")
            response = await self._judge(known, token, request)
        except Refused as refused:
            response = refusal(refused)
        except Untold:
            # Any status would say more than is known: the connection ends without one.
            if request.transport is not None:
                request.transport.abort()
            return refusal(Refused(503, "stopped", RETRY_AFTER))
        except Exception as error:  # a fault of ours: named without its message, which may quote a payload
            frame = error.__traceback__
            while frame is not None and frame.tb_next is not None:
                frame = frame.tb_next
            where = "" if frame is None else f"{frame.tb_frame.f_code.co_name}:{frame.tb_lineno}"
            self._log.error("a request failed", source=label, error=type(error).__name__, where=where)
            response = refusal(Refused(500, "an error of this server"))
        self._seconds[label].observe(loop.time() - began)
        self.count(label, response.status)
        return response

    def count(self, label: str, status: int) -> None:
        """Count an answer."""
        counter = self._counts.get((label, status))
        if counter is None:
            counter = self._counts[label, status] = self._requests.labels(label, str(status))
        counter.inc()

    async def _judge(self, known: _Hook, token: str, request: BaseRequest) -> web.StreamResponse:
        hook = known.hook
        # 1. the head
        if request.method != "POST":
            raise Refused(405, "POST only")
        if token and not (isinstance(hook, OdooHook) and hook.header is None):
            raise Refused(404, "no such hook")
        headers = request.headers
        _check_type(headers)
        length = request.content_length
        if length is not None and length > hook.max_bytes:
            raise Refused(413, f"more than {hook.max_bytes} bytes")
        # 2. who
        if isinstance(hook, OdooHook):
            given = token if hook.header is None else headers.get(hook.header, "")
            if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), known.token):
                raise Refused(401, "unknown token")
            body = await self._body(request, hook.max_bytes)
            known.bucket.take(self._clock.monotonic())
            return await self._hint(known.name, hook, body)
        claim = read_claim(hook, known.keys, headers, int(self._clock.now().timestamp()))
        # 3. the body
        body = await self._body(request, hook.max_bytes)
        # 4. the signature
        verify(claim, body)
        # 5. the rate
        known.bucket.take(self._clock.monotonic())
        # 6. the replay; the time of the claim is looked at again, for the body may have taken long to come
        now = self._clock.now()
        if now.timestamp() - claim.at > hook.window_seconds:
            raise Refused(401, f"{hook.headers.timestamp} is more than {hook.window_seconds} s from the time here")
        await known.memory.begin(claim.nonce, int(now.timestamp()))
        accepted = False
        try:
            # 7. the content
            mapped = known.mapper(parse_json(body), claim.at, now)
            if mapped is None:
                return web.Response(status=204, headers=_HEADERS)
            # 8. the broker
            if self.encode is None:
                raise Refused(503, "the schema registry does not answer yet", RETRY_AFTER)
            record = mapped.record
            await self._deliver(mapped.topic, record.document_key, self.encode(record))
            accepted = True
        finally:
            # 9. remembered, then answered
            known.memory.end(claim.nonce, claim.at, accepted)
        return self._accepted(b'{"status":"accepted","event_id":"' + record.event_id.encode() + b'"}\n', now)

    async def _hint(self, name: str, hook: OdooHook, body: bytes) -> web.StreamResponse:
        now = self._clock.now()
        hint = read_hint(name, hook, parse_json(body), now)
        if hint is None:
            return web.Response(status=204, headers=_HEADERS)
        await self._deliver(HINTS, hint.key(), encode_hint(hint))
        return self._accepted(ACCEPTED, now)

    def _accepted(self, body: bytes, now: datetime) -> web.StreamResponse:
        second = int(now.timestamp())
        if second != self._second:
            self._second, self._date = second, format_datetime(now.astimezone(UTC), usegmt=True).encode()
        return cast(web.StreamResponse, Accepted(body, self._date))

    async def _deliver(self, topic: str, key: str, value: bytes) -> None:
        if not await self._deliveries.send(topic, key, value):
            raise Refused(503, "the event cannot be stored now; send it again", RETRY_AFTER)

    async def _body(self, request: BaseRequest, most: int) -> bytes:
        content = request.content
        if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            if content.is_eof():
                body = content.read_nowait()
                if len(body) > most:
                    raise Refused(413, f"more than {most} bytes")
                return body
            parts: list[bytes] = []
            size = 0
            async with asyncio.timeout(self._read_seconds):
                while part := await content.readany():
                    size += len(part)
                    if size > most:
                        raise Refused(413, f"more than {most} bytes")
                    parts.append(part)
            return b"".join(parts)
        except TimeoutError:
            raise Refused(408, "the body did not come in time") from None
        except (web.RequestPayloadError, http_exceptions.HttpProcessingError):
            raise Refused(400, "the body is not as its headers say") from None
        except (ConnectionError, OSError):
            raise Refused(400, "the connection ended before the body") from None


def _check_type(headers: Mapping[str, str]) -> None:
    """Raises Refused (415)."""
    kind, _, parameters = headers.get(hdrs.CONTENT_TYPE, "").partition(";")
    kind = kind.strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Refused(415, "Content-Type must be application/json")
    charset = parameters.strip().lower()
    if charset and charset.replace('"', "") not in ("charset=utf-8", "charset=utf8"):
        raise Refused(415, "the body must be UTF-8")
    if headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise Refused(415, "compressed bodies are not taken")


class Accepted:
    """The answer 202, written in one piece: a good third of aiohttp's work on a request is its general answer.

    It stands in for a StreamResponse where aiohttp's RequestHandler finishes a request: `status`, `keep_alive`,
    `prepare` and `write_eof` are what that asks of one.
    """

    status = 202
    __slots__ = ("_body", "_date", "keep_alive")

    def __init__(self, body: bytes, date: bytes) -> None:
        self._body, self._date = body, date
        self.keep_alive = False

    async def prepare(self, request: BaseRequest) -> None:
        """Write it. Raises ConnectionResetError when the sender is gone, or does not read its answers."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        if transport.get_write_buffer_size() > _UNREAD_BYTES:
            transport.abort()
            raise ConnectionResetError
        # Who speaks HTTP/1.0 gets one answer a connection.
        self.keep_alive = request.keep_alive and request.version == HttpVersion11
        transport.write(
            b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: %d\r\nDate: %b\r\n"
            b"Server: finwatch\r\n%b\r\n%b"
            % (len(self._body), self._date, b"" if self.keep_alive else b"Connection: close\r\n", self._body)
        )

    async def write_eof(self) -> None:
        """It is written."""


def refusal(refused: Refused) -> web.Response:
    """The answer to a request that is refused."""
    headers = dict(_HEADERS)
    if refused.retry_after is not None:
        headers[hdrs.RETRY_AFTER] = str(refused.retry_after)
    if refused.status == 405:
        headers[hdrs.ALLOW] = "POST"
    body = json.dumps({"status": "refused", "reason": refused.reason}).encode() + b"\n"
    response = web.Response(status=refused.status, body=body, content_type="application/json", headers=headers)
    if refused.status in (408, 413):
        response.force_close()
    return response
