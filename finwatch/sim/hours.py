"""Working hours of the generated company: Monday to Friday in its own time zone, daylight saving included."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo


class WorkingHours:
    """Intervals of work from `start` for `days` calendar days; all instants in and out are aware, results UTC."""

    def __init__(
        self,
        start: datetime,
        days: int,
        zone: str = "Europe/Amsterdam",
        opens: time = time(8, 30),
        closes: time = time(17, 30),
    ) -> None:
        self.zone = ZoneInfo(zone)
        first = start.astimezone(self.zone).date()
        self.intervals: list[tuple[datetime, datetime]] = []
        for offset in range(days):
            day = first + timedelta(days=offset)
            if day.weekday() < 5:
                begin = datetime.combine(day, opens, self.zone).astimezone(UTC)
                end = datetime.combine(day, closes, self.zone).astimezone(UTC)
                if end > start:
                    self.intervals.append((max(begin, start.astimezone(UTC)), end))
        self._ends = [end for _, end in self.intervals]

    def after(self, at: datetime, hours: float) -> datetime:
        """The instant `hours` of work after `at`. Raises ValueError beyond the calendar."""
        left = timedelta(hours=hours)
        for begin, end in self.intervals[bisect_right(self._ends, at) :]:
            here = max(begin, at)
            if here + left <= end:
                return here + left
            left -= end - here
        raise ValueError("beyond the calendar of working hours")

    def draw(self, random: Random, until: datetime) -> datetime:
        """A random working instant before `until`."""
        last = max(1, bisect_right(self._ends, until))
        begin, end = self.intervals[random.randrange(last)]
        return begin + (end - begin) * random.random()
