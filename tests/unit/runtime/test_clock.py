"""Time is injected, aware and UTC."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finwatch.runtime.clock import ManualClock, SystemClock, from_micros, to_micros

START = datetime(2026, 3, 1, tzinfo=UTC)


@given(st.integers(min_value=-62_135_596_800_000_000, max_value=253_402_300_799_999_999))
def test_micros_and_datetimes_are_exact_inverses(micros: int) -> None:
    assert to_micros(from_micros(micros)) == micros


def test_naive_times_are_refused() -> None:
    naive = START.replace(tzinfo=None)
    with pytest.raises(ValueError, match="naive"):
        to_micros(naive)
    with pytest.raises(ValueError, match="naive"):
        ManualClock(naive)


def test_a_manual_clock_moves_only_when_told_and_never_back() -> None:
    clock = ManualClock(START)
    assert clock.wait(90, threading.Event()) is False
    assert clock.now() == START + timedelta(seconds=90)
    assert clock.monotonic() == 90
    with pytest.raises(ValueError, match="backwards"):
        clock.set(START)


def test_the_system_clock_is_aware_and_stops_waiting_when_asked() -> None:
    stop = threading.Event()
    stop.set()
    assert SystemClock().now().tzinfo is UTC
    assert SystemClock().wait(60, stop) is True
