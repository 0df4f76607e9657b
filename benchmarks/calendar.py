"""What business time costs: a difference within a year, and a duration added, in a calendar with public holidays.

    python -m benchmarks.calendar [questions]

Goal: a working-time difference within a year under 2 us. Time is CPU time of this thread, the loop around the call
included; the cheapest of several rounds.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable

from finwatch.domain.calendar import DAY, HOUR
from finwatch.runtime.policies import packaged_policy

_ROUNDS = 7
_BEGIN = 1_735_689_600_000_000  # 2025-01-01


def cost(call: Callable[[int, int], object], pairs: list[tuple[int, int]]) -> float:
    """Microseconds a call."""

    def run() -> float:
        began = time.thread_time()
        for one, other in pairs:
            call(one, other)
        return time.thread_time() - began

    return min(run() for _ in range(_ROUNDS)) / len(pairs) * 1e6


def main(questions: int) -> None:
    """Measure and print."""
    calendar = packaged_policy("default").calendar_of(None)
    draw = random.Random(7)
    starts = [_BEGIN + draw.randrange(365 * DAY) for _ in range(questions)]
    within = [(start, start + draw.randrange(365 * DAY)) for start in starts]
    added = [(start, draw.randrange(200 * 8 * HOUR)) for start in starts]
    assert all(calendar.working(start, calendar.add(start, length)) == length for start, length in added[:1000])
    print(
        f"working time between two instants within a year: {cost(calendar.working, within):.2f} us (goal: under 2 us)"
    )
    print(f"business time added to an instant:               {cost(calendar.add, added):.2f} us")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
