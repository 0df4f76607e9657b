"""Retries wait with growing, jittered backoff and give up when told."""

import itertools
import threading
from datetime import UTC, datetime

import pytest

from finwatch.runtime.clock import ManualClock
from finwatch.runtime.retry import GaveUp, backoff, retrying

CLOCK_START = datetime(2026, 1, 1, tzinfo=UTC)


def test_waits_grow_to_the_bound_and_stay_below_it() -> None:
    waits = list(itertools.islice(backoff(0.2, 2.0, 15.0), 50))
    assert all(0.1 <= wait <= 15.0 for wait in waits)
    assert max(waits[-10:]) > 7.5
    assert waits[0] <= 0.2


def test_returns_once_the_dependency_is_back() -> None:
    answers = iter([ConnectionError("down"), ConnectionError("down"), None])
    told: list[float] = []

    def attempt() -> str:
        answer = next(answers)
        if answer is not None:
            raise answer
        return "there"

    clock = ManualClock(CLOCK_START)
    assert retrying(attempt, (ConnectionError,), clock=clock, on_failure=lambda _e, wait: told.append(wait)) == "there"
    assert len(told) == 2
    assert clock.monotonic() == pytest.approx(sum(told), abs=1e-4)


def test_gives_up_in_time_and_keeps_the_cause() -> None:
    def attempt() -> None:
        raise ConnectionError("down")

    with pytest.raises(GaveUp, match="down") as caught:
        retrying(attempt, (ConnectionError,), seconds=30, clock=ManualClock(CLOCK_START))
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_stops_when_asked_and_lets_other_errors_through() -> None:
    stop = threading.Event()
    stop.set()

    def refuse() -> None:
        raise ConnectionError("down")

    def bug() -> None:
        raise KeyError("bug")

    with pytest.raises(GaveUp, match="stopped"):
        retrying(refuse, (ConnectionError,), stop=stop)
    with pytest.raises(KeyError):
        retrying(bug, (ConnectionError,))
