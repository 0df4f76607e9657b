"""The one catalogue of KPIs, and how ages of what is open are counted.

Each partition publishes its part of a KPI; parts are merged as ``merge`` says. A rate is merged by adding numerators
and denominators, never by averaging rates. Labels have few values: no person, no document, no partner.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable
from math import sqrt
from typing import Literal, NamedTuple

from msgspec import Struct

from finwatch.domain.calendar import DAY, Calendar


class KpiSpec(NamedTuple):
    """A KPI: what it is called, says, counts, and how its parts are put together."""

    name: str
    help: str
    unit: str
    labels: tuple[str, ...]
    numerator: str
    denominator: str = ""
    merge: Literal["sum", "max"] = "sum"


# Business days that an open step has waited: the band of an age is the last whose lower bound it has reached.
BANDS: tuple[tuple[str, int], ...] = (("0-1", 0), ("1-3", 1), ("3-5", 3), ("5-10", 5), (">10", 10))
COHORTS: tuple[tuple[str, int], ...] = (("7d", 7), ("30d", 30))

_SPECS = (
    KpiSpec(
        "approvals_open",
        "Approval steps that wait now, by how many business days they have waited.",
        "steps",
        ("source", "entity", "company", "role", "band"),
        "open steps whose age lies in the band",
    ),
    KpiSpec(
        "approvals_oldest_seconds",
        "Wall-clock age of the approval step that has waited longest.",
        "seconds",
        ("source", "entity", "company", "role"),
        "source time less the earliest start of an open step",
        merge="max",
    ),
    KpiSpec(
        "approval_rejection_rate",
        "Part of all decisions that rejected.",
        "ratio",
        ("source", "entity", "role"),
        "steps decided as rejected",
        "steps decided as approved or rejected",
    ),
    KpiSpec(
        "clocks_open",
        "Service-level clocks that run now, by status (running, paused, breached).",
        "clocks",
        ("source", "policy", "company", "status"),
        "clocks started and not stopped",
    ),
    KpiSpec(
        "clock_breach_rate",
        "Part of the stopped clocks that had breached.",
        "ratio",
        ("source", "policy"),
        "stopped clocks that were past their due time",
        "stopped clocks, cancelled ones apart",
    ),
    KpiSpec(
        "exceptions_open",
        "Exceptions that are open now.",
        "exceptions",
        ("source", "entity", "company", "type", "severity"),
        "exceptions with status open",
    ),
    KpiSpec(
        "exceptions_overdue",
        "Open exceptions past the time that their service level allows.",
        "exceptions",
        ("source", "entity", "company", "type", "severity"),
        "exceptions with status open and due_at at or before now",
    ),
    KpiSpec(
        "exception_rate_stock",
        "Part of the open documents that have an open exception of the type.",
        "ratio",
        ("source", "entity", "company", "type"),
        "open documents with an open exception of the type",
        "open documents",
    ),
    KpiSpec(
        "exception_rate_cohort",
        "Part of the documents that entered in the last 7 or 30 days and ever had an exception of the type.",
        "ratio",
        ("source", "entity", "type", "window"),
        "documents entered in the window with an exception of the type at any time",
        "documents entered in the window",
    ),
    KpiSpec(
        "documents_open",
        "Documents that still wait for something (the policy says for what).",
        "documents",
        ("source", "entity", "company"),
        "documents not closed",
    ),
    KpiSpec(
        "findings_open",
        "Findings that are open now.",
        "findings",
        ("source", "detector", "rule", "severity"),
        "findings with status open or updated",
    ),
    KpiSpec(
        "duplicate_block_dropped",
        "Documents that a full block of candidates left uncompared.",
        "documents",
        ("source",),
        "documents over a block's cap since the start",
    ),
)
CATALOGUE: dict[str, KpiSpec] = {spec.name: spec for spec in _SPECS}


class OpenDays(Struct, array_like=True):
    """How many of what is open began on each UTC day."""

    days: dict[int, int] = {}


class OpenStarts(Struct, array_like=True):
    """Starts of what is open and began on one UTC day, sorted."""

    starts: list[int] = []

    def add(self, start: int) -> None:
        """Something opened."""
        insort(self.starts, start)

    def remove(self, start: int) -> None:
        """It closed. Raises ValueError when it was not there."""
        i = bisect_left(self.starts, start)
        if i == len(self.starts) or self.starts[i] != start:
            raise ValueError("nothing open began then")
        del self.starts[i]


def band_counts(
    calendar: Calendar, days: OpenDays, starts_of: Callable[[int], OpenStarts | None], now: int
) -> list[tuple[str, int]]:
    """How many of what is open lie in each band of age at ``now``.

    One business-time subtraction a band gives the cut-off instant; what began by then is at least that old. Whole days
    are added, and only the day of the cut-off is bisected.
    """
    reached = [
        begun_by(days, starts_of, now if lower == 0 else calendar.subtract(now, lower * calendar.day_length))
        for _, lower in BANDS
    ]
    reached[0] = sum(days.days.values())  # what begins after ``now`` (a clock ahead) is of age 0
    return [(name, reached[i] - (reached[i + 1] if i + 1 < len(reached) else 0)) for i, (name, _) in enumerate(BANDS)]


def begun_by(days: OpenDays, starts_of: Callable[[int], OpenStarts | None], cut_off: int) -> int:
    """How many began at or before an instant."""
    day = cut_off // DAY
    count = sum(n for d, n in days.days.items() if d < day)
    if day in days.days and (chunk := starts_of(day)) is not None:
        count += bisect_right(chunk.starts, cut_off)
    return count


def oldest(days: OpenDays, starts_of: Callable[[int], OpenStarts | None]) -> int | None:
    """The earliest start of what is open."""
    if not days.days:
        return None
    chunk = starts_of(min(days.days))
    return chunk.starts[0] if chunk is not None and chunk.starts else None


def wilson(numerator: float, denominator: float, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a rate (95 % by default), honest for small numbers. (0, 1) when there is nothing."""
    if denominator <= 0:
        return 0.0, 1.0
    p = numerator / denominator
    centre = p + z * z / (2 * denominator)
    spread = z * sqrt(p * (1 - p) / denominator + z * z / (4 * denominator * denominator))
    scale = 1 + z * z / denominator
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def cohort_days(now: int, window: int) -> Iterable[int]:
    """The UTC days of a window that ends with the day of ``now``."""
    last = now // DAY
    return range(last - window + 1, last + 1)
