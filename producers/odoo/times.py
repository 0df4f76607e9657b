"""Which time it is for a capture: of observation, and of the source."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from finwatch.runtime.clock import Clock
from producers.odoo.settings import CaptureSettings
from producers.odoo.transport import Transport


class Times:
    """Aware UTC times. Within `at(now)` the time of observation is given; else it is the clock's."""

    def __init__(self, clock: Clock, transport: Transport, settings: CaptureSettings) -> None:
        self._clock = clock
        self._transport = transport
        self._settings = settings
        self._given: datetime | None = None
        self.monotonic = clock.monotonic

    @contextmanager
    def at(self, now: datetime | None) -> Iterator[None]:
        """Hold the time of observation at `now`, unless it is None. Raises ValueError for a naive one."""
        if now is not None and now.tzinfo is None:
            raise ValueError("a naive datetime may not cross a module border")
        self._given = now
        try:
            yield
        finally:
            self._given = None

    def observed(self) -> datetime:
        """The time of observation."""
        return self._given if self._given is not None else self._clock.now()

    def of_source(self) -> datetime | None:
        """The source's time, not later than the reading that follows; None when it does not tell.

        A simulated clock is the source's own. A live server tells it with each answer; its Date header is the web
        server's clock, which the overlap must cover where the database's differs.
        """
        return self.observed() if self._settings.timeline == "log" else self._transport.server_time()

    def begin(self) -> datetime:
        """Where streaming starts: the source's time, or this machine's less an overlap for its being ahead."""
        told = self.of_source()
        return told if told is not None else self._clock.now() - self._settings.overlap
