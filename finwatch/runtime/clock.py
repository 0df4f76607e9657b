"""Time as an injected dependency: nothing in finwatch calls `datetime.now()` or `time.time()` but this module."""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Epoch microseconds of an aware datetime. Raises ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError("a naive datetime may not cross a module border")
    return (moment - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """Aware UTC datetime of epoch microseconds."""
    return EPOCH + timedelta(microseconds=micros)


class Clock(Protocol):
    """Source of time for a shell; the domain never sees it."""

    def now(self) -> datetime:
        """Current time, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards; for intervals only."""
        ...

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        """Wait until `seconds` have passed or `stop` is set; True when stopped."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """Current time, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        """Wait until `seconds` have passed or `stop` is set; True when stopped."""
        return stop.wait(seconds)


class ManualClock:
    """A clock that moves only when told: simulations and tests."""

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("a naive datetime may not cross a module border")
        self._now = start
        self._origin = start

    def now(self) -> datetime:
        """The simulated time, aware, UTC."""
        return self._now

    def monotonic(self) -> float:
        """Simulated seconds since the clock was made."""
        return (self._now - self._origin).total_seconds()

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        """Move on by `seconds` at once; True when already stopped."""
        if stop.is_set():
            return True
        self._now += timedelta(seconds=seconds)
        return False

    def set(self, moment: datetime) -> None:
        """Move to `moment`. Raises ValueError when that is in the past."""
        if moment < self._now:
            raise ValueError("a clock does not run backwards")
        self._now = moment
