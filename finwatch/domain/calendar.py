"""Business calendars: business time between two instants, and the instant a business duration after another.

Instants and durations are integer microseconds (instants since 1970-01-01 UTC), so that ``working(s, add(s, d)) == d``
holds to the microsecond. Working hours are given in local time; their lengths are real elapsed time, so a shift across
a daylight-saving change is an hour shorter or longer. A local time that does not exist stands for the moment of the
change; one that exists twice opens at the first and closes at the second.

Both questions are bisections of a table of all working intervals with the business time before each, made for a span
of years at a time and widened when asked beyond it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

MICROSECOND = 1
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DATE = date(1970, 1, 1)
_STEP = timedelta(microseconds=1)
_FIRST_YEAR, _LAST_YEAR = 1971, 2199


def instant(moment: datetime) -> int:
    """Microseconds since the epoch. Raises ValueError for a naive datetime."""
    if moment.tzinfo is None:
        raise ValueError("a naive datetime has no place in time: give it a time zone")
    return (moment - _EPOCH) // _STEP


def moment(at: int) -> datetime:
    """The aware UTC datetime of an instant."""
    return _EPOCH + timedelta(microseconds=at)


def day_number(day: date) -> int:
    """Days since 1970-01-01, as an Avro date counts."""
    return (day - _EPOCH_DATE).days


class Interval(Struct, frozen=True, order=True):
    """Working hours within one local day: minutes after midnight, ``closes`` at most 1440."""

    opens: int
    closes: int


class _Table(NamedTuple):
    """Working intervals of a span of time, in order; one assignment replaces it whole, so readers need no lock."""

    since: int  # covers [since, until)
    until: int
    opens: list[int]
    closes: list[int]
    before: list[int]  # business time from ``since`` to the opening of each
    after: list[int]  # business time from ``since`` to the closing of each


class Calendar:
    """One business calendar.

    ``week``: working intervals of Monday to Sunday. ``days``: dates with other intervals (a holiday has none, a half
    day has fewer). ``day_length``: how much business time policies mean by one business day, in microseconds.
    Raises ValueError for overlapping or inverted intervals, and for a week without any working time.
    """

    def __init__(
        self,
        name: str,
        time_zone: str,
        week: Sequence[Iterable[Interval]],
        days: Mapping[date, Iterable[Interval]] | None = None,
        day_length: int = 8 * HOUR,
    ) -> None:
        if len(week) != 7:
            raise ValueError(f"calendar {name}: a week has seven days")
        self.name = name
        self.day_length = day_length
        self._zone = ZoneInfo(time_zone)
        self._week = tuple(_checked(name, intervals) for intervals in week)
        self._days = {day: _checked(name, intervals) for day, intervals in (days or {}).items()}
        if not any(self._week):
            raise ValueError(f"calendar {name}: no working time in the week")
        if day_length <= 0:
            raise ValueError(f"calendar {name}: the length of a business day must be positive")
        self._table = self._build(2014, 2032)
        self._midnights: dict[int, int] = {}

    def working(self, start: int, end: int) -> int:
        """Business time from ``start`` to ``end``; negative when ``end`` is before ``start``."""
        table = self._table
        if start < table.since or end >= table.until or end < table.since or start >= table.until:
            table = self._widened(min(start, end), max(start, end))
        opens, closes, before = table.opens, table.closes, table.before
        i = bisect_right(opens, end) - 1
        if i >= 0:
            close = closes[i]
            upto = before[i] + (end if end < close else close) - opens[i]
        else:
            upto = 0
        i = bisect_right(opens, start) - 1
        if i >= 0:
            close = closes[i]
            return upto - before[i] - (start if start < close else close) + opens[i]
        return upto

    def add(self, start: int, duration: int) -> int:
        """The earliest instant with exactly ``duration`` of business time since ``start``.

        ``add(s, 0) == s``; otherwise the result lies within working hours or at their close. Raises ValueError for a
        negative duration (``subtract`` is the other direction).
        """
        if duration < 0:
            raise ValueError("a duration cannot be negative")
        if duration == 0:
            return start
        table = self._table
        if not table.since <= start < table.until:
            table = self._widened(start, start)
        opens, closes, before = table.opens, table.closes, table.before
        i = bisect_right(opens, start) - 1
        wanted = duration
        if i >= 0:
            close = closes[i]
            wanted += before[i] + (start if start < close else close) - opens[i]
        if table.after[-1] < wanted:
            self._widened(table.since, table.until + 366 * DAY)
            return self.add(start, duration)
        i = bisect_left(table.after, wanted)
        return opens[i] + wanted - before[i]

    def add_each(self, start: int, durations: Sequence[int]) -> list[int]:
        """``add`` for several positive durations: where in the week ``start`` lies is looked up once."""
        table = self._table
        if not table.since <= start < table.until:
            return [self.add(start, duration) for duration in durations]
        opens, closes, before, after = table.opens, table.closes, table.before, table.after
        i = bisect_right(opens, start) - 1
        done = 0
        if i >= 0:
            close = closes[i]
            done = before[i] + (start if start < close else close) - opens[i]
        found = []
        for duration in durations:
            wanted = done + duration
            if duration <= 0 or after[-1] < wanted:
                found.append(self.add(start, duration))
                continue
            at = bisect_left(after, wanted)
            found.append(opens[at] + wanted - before[at])
        return found

    def subtract(self, end: int, duration: int) -> int:
        """The latest instant from which exactly ``duration`` of business time leads to ``end``."""
        if duration < 0:
            raise ValueError("a duration cannot be negative")
        if duration == 0:
            return end
        table = self._covering(end)
        wanted = self._until(table, end) - duration
        while wanted < 0:
            table = self._widened(table.since - 366 * DAY, table.until)
            wanted = self._until(table, end) - duration
        i = bisect_right(table.before, wanted) - 1
        return table.opens[i] + wanted - table.before[i]

    def end_of_day(self, day: int) -> int:
        """The instant at which local day ``day`` (days since the epoch) is over: the next local midnight."""
        at = self._midnights.get(day)
        if at is None:
            at = self._midnights[day] = self._utc(_EPOCH_DATE + timedelta(days=day), 1440, closing=True)
        return at

    def local_day(self, at: int) -> int:
        """The local date of an instant, as days since the epoch."""
        return day_number(moment(at).astimezone(self._zone).date())

    @staticmethod
    def _until(table: _Table, at: int) -> int:
        i = bisect_right(table.opens, at) - 1
        if i < 0:
            return 0
        return table.before[i] + min(at, table.closes[i]) - table.opens[i]

    def _covering(self, at: int) -> _Table:
        table = self._table
        return table if table.since <= at < table.until else self._widened(at, at)

    def _widened(self, low: int, high: int) -> _Table:
        """A table that covers [low, high]. Raises ValueError beyond the years 1971 to 2199."""
        table = self._table
        years = [moment(min(low, table.since)).year, moment(max(high, table.until - 1)).year]
        if years[0] < _FIRST_YEAR or years[1] > _LAST_YEAR:
            raise ValueError(f"calendar {self.name}: only years {_FIRST_YEAR} to {_LAST_YEAR}")
        self._table = table = self._build(max(years[0] - 2, _FIRST_YEAR), min(years[1] + 2, _LAST_YEAR))
        return table

    def _build(self, first: int, last: int) -> _Table:
        opens: list[int] = []
        closes: list[int] = []
        before: list[int] = []
        after: list[int] = []
        total = 0
        day = date(first, 1, 1)
        stop = date(last + 1, 1, 1)
        since = self._utc(day, 0, closing=False)
        while day < stop:
            intervals = self._days.get(day)
            for interval in self._week[day.weekday()] if intervals is None else intervals:
                start = self._utc(day, interval.opens, closing=False)
                end = self._utc(day, interval.closes, closing=True)
                if closes and start < closes[-1]:  # both lie in the hour that a change repeats
                    start = closes[-1]
                if end <= start:  # wholly inside the hour that a change skips
                    continue
                opens.append(start)
                closes.append(end)
                before.append(total)
                total += end - start
                after.append(total)
            day += timedelta(days=1)
        return _Table(since, self._utc(stop, 0, closing=False), opens, closes, before, after)

    def _utc(self, day: date, minutes: int, *, closing: bool) -> int:
        if minutes == 1440:
            day, minutes = day + timedelta(days=1), 0
        wall = datetime.combine(day, time(minutes // 60, minutes % 60, fold=int(closing)), self._zone)
        at = instant(wall.astimezone(UTC))
        if (moment(at).astimezone(self._zone)).replace(tzinfo=None, fold=0) == wall.replace(tzinfo=None, fold=0):
            return at
        # The local time is skipped by a change: find the change between the two readings of it.
        low = instant(wall.replace(fold=1).astimezone(UTC))
        high = instant(wall.replace(fold=0).astimezone(UTC))
        offset = moment(high).astimezone(self._zone).utcoffset()
        while high - low > 1:
            middle = (low + high) // 2
            if moment(middle).astimezone(self._zone).utcoffset() == offset:
                high = middle
            else:
                low = middle
        return high


def parse_interval(text: str) -> Interval:
    """Read ``HH:MM-HH:MM`` (24:00 for the end of the day). Raises ValueError."""
    start, dash, end = text.partition("-")
    if not dash:
        raise ValueError(f"working hours {text!r}: HH:MM-HH:MM wanted")
    interval = Interval(_minutes(start), _minutes(end))
    if interval.closes <= interval.opens:
        raise ValueError(f"working hours {text!r}: they end before they begin; split a shift at midnight")
    return interval


def _minutes(text: str) -> int:
    hours, colon, minutes = text.strip().partition(":")
    if not (colon and len(minutes) == 2 and hours.isdigit() and minutes.isdigit()):
        raise ValueError(f"time of day {text!r}: HH:MM wanted")
    result = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or result > 1440:
        raise ValueError(f"time of day {text!r}: between 00:00 and 24:00 wanted")
    return result


def _checked(name: str, intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    result = tuple(sorted(intervals))
    for interval in result:
        if not 0 <= interval.opens < interval.closes <= 1440:
            raise ValueError(f"calendar {name}: working hours must lie within one day")
    for one, other in pairwise(result):
        if other.opens < one.closes:
            raise ValueError(f"calendar {name}: working hours overlap")
    return result
