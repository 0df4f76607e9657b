"""Manners towards somebody else's server: pace, page sizes that follow its answers, patience when it cannot answer.

`PoliteTransport` puts them before any transport. One `Manners` may be shared by several of them, so that the limits
hold for the process.

Owns: requests a second and at once, sizes of pages, what is tried again and how long, and the server's clock.
Does not own: how Odoo is asked (transport), what a failure that stays means for a model (capture).
"""

import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from finwatch.runtime.clock import Clock
from finwatch.runtime.logging import get_logger
from finwatch.runtime.metrics import Metrics
from finwatch.runtime.retry import backoff
from producers.odoo.errors import OdooError, Unavailable
from producers.odoo.transport import Transport
from producers.odoo.values import Domain, Row

T = TypeVar("T")
_GROWTH = 1.5
_ONE_SECOND = timedelta(seconds=1)  # what the Date header cuts off
WARN_SKEW = timedelta(seconds=60)


@dataclass(frozen=True)
class Limits:
    """What a server may be asked for.

    `rate`: requests a second, 0 for as many as it answers. `concurrency`: requests at once. `page_least`: rows of a
    page, however slow the answers (no page is ever larger than the reader asks for). `page_seconds`: how long the
    server should take for one. `patience`: seconds over which one request is made again while the server gives no
    usable answer; then its failure is raised.
    """

    rate: float = 0.0
    concurrency: int = 2
    page_least: int = 100
    page_seconds: float = 2.0
    patience: float = 30.0

    def __post_init__(self) -> None:
        if self.rate < 0 or self.concurrency < 1 or self.page_least < 1 or self.page_seconds <= 0 or self.patience < 0:
            raise ValueError(
                "rate and patience must not be negative; concurrency, page sizes and times must be positive"
            )


class PageSizes:
    """Rows to ask for at once, by model: halved by a failure, else led by how long full pages took. Pure."""

    def __init__(self, least: int, seconds: float) -> None:
        self._least, self._seconds = least, seconds
        self._of: dict[str, float] = {}

    def of(self, model: str, most: int) -> int:
        """Rows of the next page of a model, `most` at most."""
        return max(min(int(self._of.get(model, most)), most), min(self._least, most))

    def took(self, model: str, asked: int, rows: int, seconds: float) -> None:
        """A page came. One that is not full says nothing of what more rows would take."""
        if rows < asked or rows <= 1:
            return
        ideal = rows * self._seconds / max(seconds, 0.001)
        self._of[model] = max(self._least, min(max(ideal, rows / 2), rows * _GROWTH))

    def failed(self, model: str, asked: int) -> None:
        """The server did not manage a page of this size."""
        self._of[model] = max(self._least, asked / 2)


class Pace:
    """Spaces requests evenly, so that no second holds more than `rate` of them (0: any number). Pure."""

    def __init__(self, rate: float) -> None:
        self._gap = 1 / rate if rate else 0.0
        self._free = 0.0

    def wait(self, now: float) -> float:
        """Seconds to wait before the request that is made now (monotonic seconds); it counts as made."""
        at = max(self._free, now)
        self._free = at + self._gap
        return at - now


class Skew:
    """How far the server's clock is ahead of this machine's, out of its Date headers. Pure.

    An answer that says second s, asked for at `sent` and here at `came` (both of this machine), was stamped between
    them, and the server's clock then stood between s and s + 1. Each answer so bounds the difference from both sides;
    the bounds of all answers together are narrower than a second. Bounds that contradict the former ones say that a
    clock was set: they begin anew.
    """

    def __init__(self) -> None:
        self._low: timedelta | None = None
        self._high: timedelta | None = None

    @property
    def known(self) -> timedelta | None:
        """Server's clock less this machine's; None until an answer told."""
        return None if self._low is None or self._high is None else (self._low + self._high) / 2

    def answered(self, told: datetime, sent: datetime, came: datetime) -> None:
        """Take in the time that an answer told."""
        low, high = told - came, told + _ONE_SECOND - sent
        if self._low is not None and self._high is not None:
            both = max(self._low, low), min(self._high, high)
            if both[0] <= both[1]:
                low, high = both
        self._low, self._high = low, high


class Manners:
    """The limits in force, for all transports to one server; thread-safe.

    `stop` ends every wait: the request then fails with what it failed with, or is made at once.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Clock,
        source: str,
        metrics: Metrics | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.limits, self.clock, self.source = limits, clock, source
        self.metrics = metrics or Metrics()
        self.stop = stop or threading.Event()
        self.pages = PageSizes(limits.page_least, limits.page_seconds)
        self.skew = Skew()
        self._pace = Pace(limits.rate)
        self._held_until = 0.0
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(limits.concurrency)
        self._warned = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn; the request is made inside."""
        with self._slots:
            with self._lock:
                now = self.clock.monotonic()
                wait = max(self._pace.wait(now), self._held_until - now)
            if wait > 0:
                self.throttled(wait)
            yield

    def throttled(self, seconds: float) -> None:
        """Wait, and count it."""
        self.metrics.counter("capture_throttled_seconds").labels(self.source).inc(seconds)
        self.clock.wait(seconds, self.stop)

    def hold(self, seconds: float) -> None:
        """The server wants no request at all for so long (Retry-After)."""
        with self._lock:
            self._held_until = max(self._held_until, self.clock.monotonic() + seconds)

    def told_time(self, told: datetime, sent: datetime, came: datetime) -> None:
        """An answer told the server's time."""
        with self._lock:
            self.skew.answered(told, sent, came)
            skew = self.skew.known
            warn = skew is not None and abs(skew) > WARN_SKEW and not self._warned
            self._warned = self._warned or warn
        if skew is None:
            return
        self.metrics.gauge("capture_clock_skew_seconds").labels(self.source).set(skew.total_seconds())
        if warn:
            get_logger("capture").warning(
                "the server's clock and this machine's differ; what is read follows the server's",
                source=self.source,
                seconds=round(skew.total_seconds()),
                what_to_do="synchronise the clocks (NTP) of both machines",
            )


class PoliteTransport:
    """A transport with manners. Raises what it raises, Unavailable only once patience is over.

    Every request of a Transport is a read, so each may be made again.
    """

    def __init__(self, inner: Transport, manners: Manners) -> None:
        self._inner, self.manners = inner, manners

    def __repr__(self) -> str:
        return f"PoliteTransport({self._inner!r})"

    @property
    def api(self) -> str:
        """See Transport."""
        return self._inner.api

    def version(self) -> int:
        """See Transport. Asked once: who connects has a patience of their own."""
        with self.manners.turn():
            return self._timed("version", self._inner.version)

    def server_time(self) -> datetime | None:
        """See Transport."""
        return self._inner.server_time()

    def search_read(
        self,
        model: str,
        domain: Domain,
        fields: Sequence[str],
        *,
        limit: int,
        order: str = "id",
        context: Mapping[str, Any] | None = None,
    ) -> list[Row]:
        """See Transport."""
        if not fields:
            raise ValueError("fields must be given")

        def read() -> list[Row]:
            began = self.manners.clock.monotonic()
            rows = self._inner.search_read(model, domain, fields, limit=limit, order=order, context=context)
            self.manners.pages.took(model, limit, len(rows), self.manners.clock.monotonic() - began)
            return rows

        return self._ask("search_read", read, model, limit)

    def search(
        self, model: str, domain: Domain, *, limit: int, order: str = "id", context: Mapping[str, Any] | None = None
    ) -> list[int]:
        """See Transport."""
        return self._ask("search", lambda: self._inner.search(model, domain, limit=limit, order=order, context=context))

    def search_count(self, model: str, domain: Domain, *, context: Mapping[str, Any] | None = None) -> int:
        """See Transport."""
        return self._ask("search_count", lambda: self._inner.search_count(model, domain, context=context))

    def fields_get(
        self,
        model: str,
        attributes: Sequence[str],
        *,
        fields: Sequence[str] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> dict[str, dict[str, Any]]:
        """See Transport."""
        return self._ask(
            "fields_get", lambda: self._inner.fields_get(model, attributes, fields=fields, context=context)
        )

    def may(self, model: str, operation: str) -> bool:
        """See Transport."""
        return self._ask("may", lambda: self._inner.may(model, operation))

    def close(self) -> None:
        """See Transport."""
        self._inner.close()

    def page_size(self, model: str, most: int) -> int:
        """Rows of a model to ask for at once, `most` at most."""
        size = self.manners.pages.of(model, most)
        self.manners.metrics.gauge("capture_page_size").labels(self.manners.source, model).set(size)
        return size

    def _ask(self, method: str, call: Callable[[], T], model: str = "", size: int = 0) -> T:
        manners = self.manners
        clock, until, waits = manners.clock, manners.clock.monotonic() + manners.limits.patience, backoff(0.5)
        while True:
            with manners.turn():
                began = clock.monotonic()
                try:
                    return self._timed(method, call)
                except Unavailable as failure:
                    again = failure
            # 1. The server's own wish holds for every request; 2. a page that it could not make in good time is
            # halved, which whoever asks for pages then does; 3. what is left of the patience decides.
            if again.retry_after is not None:
                manners.hold(again.retry_after)
            if model and clock.monotonic() - began >= manners.limits.page_seconds:
                manners.pages.failed(model, size)
            wait = next(waits) if again.retry_after is None else again.retry_after + random.uniform(0, 0.5)
            if clock.monotonic() + wait > until or manners.stop.is_set():
                raise again
            self._tell(method, again, wait)
            manners.throttled(wait)

    def _timed(self, method: str, call: Callable[[], T]) -> T:
        manners = self.manners
        began, sent, told = manners.clock.monotonic(), manners.clock.now(), self._inner.server_time()
        outcome = "failed"
        try:
            answer = call()
            outcome = "answered"
        except OdooError as failure:
            outcome = failure.kind
            raise
        finally:
            seconds = manners.clock.monotonic() - began
            manners.metrics.histogram("capture_request_seconds").labels(manners.source, method, outcome).observe(
                seconds
            )
        now = self._inner.server_time()
        if now is not None and now != told:
            manners.told_time(now, sent.astimezone(UTC), manners.clock.now().astimezone(UTC))
        return answer

    def _tell(self, method: str, failure: OdooError, wait: float) -> None:
        self.manners.metrics.counter("capture_retries").labels(self.manners.source, failure.kind).inc()
        get_logger("capture").debug(
            "asking again", source=self.manners.source, method=method, reason=str(failure), seconds=round(wait, 1)
        )
