"""Retry with exponential backoff and full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015)."""

import random
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from finwatch.runtime.clock import Clock, SystemClock

T = TypeVar("T")


class GaveUp(Exception):
    """The time for retries is over; `__cause__` is the last failure."""


def backoff(first: float = 0.2, factor: float = 2.0, most: float = 15.0) -> Iterator[float]:
    """Endless waits in seconds: a random share of a bound that grows from `first` to `most`."""
    bound = first
    while True:
        yield random.uniform(bound / 2, bound)
        bound = min(most, bound * factor)


def retrying(
    attempt: Callable[[], T],
    transient: tuple[type[Exception], ...],
    *,
    stop: threading.Event | None = None,
    seconds: float | None = None,
    on_failure: Callable[[Exception, float], None] | None = None,
    clock: Clock | None = None,
) -> T:
    """Call `attempt` until it returns; wait with backoff after each `transient` failure.

    `on_failure(error, wait_seconds)` is told before each wait. Raises GaveUp after `seconds` (None: never) or once
    `stop` is set; any other exception of `attempt` passes through at once.
    """
    clock = clock or SystemClock()
    stop = stop or threading.Event()
    started = clock.monotonic()
    for wait in backoff():
        try:
            return attempt()
        except transient as error:
            if seconds is not None and clock.monotonic() - started + wait > seconds:
                raise GaveUp(f"gave up after {clock.monotonic() - started:.0f} s: {error}") from error
            if on_failure is not None:
                on_failure(error, wait)
            if clock.wait(wait, stop):
                raise GaveUp("stopped while waiting") from error
    raise AssertionError("backoff is endless")
