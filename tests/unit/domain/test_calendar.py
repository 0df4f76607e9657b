"""Business time: exact inverses, both daylight-saving changes, midnight, holidays; held to a brute-force count."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finwatch.domain.calendar import DAY, HOUR, MINUTE, Calendar, Interval, instant, moment, parse_interval

OFFICE = [Interval(480, 1080)]
AMSTERDAM = Calendar(
    "amsterdam",
    "Europe/Amsterdam",
    [OFFICE] * 5 + [[], []],
    {date(2026, 12, 25): [], date(2026, 12, 24): [Interval(480, 720)]},
    10 * HOUR,
)
NIGHT = Calendar("night", "America/New_York", [[Interval(0, 360), Interval(1320, 1440)]] * 7)
ROUND = Calendar("round the clock", "Australia/Lord_Howe", [[Interval(0, 1440)]] * 7)  # half an hour of summer time
GAP = Calendar("gap", "Europe/Amsterdam", [[Interval(135, 165), Interval(170, 200)]] * 7)  # around 02:00-03:00
CALENDARS = [AMSTERDAM, NIGHT, ROUND, GAP]

instants = st.integers(instant(datetime(2013, 1, 1, tzinfo=UTC)), instant(datetime(2034, 1, 1, tzinfo=UTC)))
# Close to the changes of 2026, where the hours are odd.
near_changes = st.sampled_from(
    [datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC), datetime(2026, 3, 8, 7, tzinfo=UTC)]
).flatmap(lambda change: st.integers(instant(change) - 2 * DAY, instant(change) + 2 * DAY))
settings.register_profile("domain", deadline=None)  # the first question of a calendar builds its table
settings.load_profile("domain")
starts = st.one_of(instants, near_changes)
durations = st.one_of(st.integers(0, 400 * DAY), st.integers(0, 200).map(lambda n: n * 15 * MINUTE))
calendars = st.sampled_from(CALENDARS)


@given(calendars, starts, durations)
def test_working_undoes_add(calendar: Calendar, start: int, duration: int) -> None:
    end = calendar.add(start, duration)
    assert end >= start
    assert calendar.working(start, end) == duration


@given(calendars, starts, st.lists(durations, max_size=4))
def test_several_durations_are_added_as_each_by_itself(calendar: Calendar, start: int, several: list[int]) -> None:
    assert calendar.add_each(start, several) == [calendar.add(start, duration) for duration in several]


@given(calendars, starts, durations)
def test_working_undoes_subtract(calendar: Calendar, end: int, duration: int) -> None:
    start = calendar.subtract(end, duration)
    assert start <= end
    assert calendar.working(start, end) == duration


@given(calendars, starts, st.integers(1, 40 * DAY))
def test_add_is_the_earliest_and_subtract_the_latest(calendar: Calendar, at: int, duration: int) -> None:
    assert calendar.working(at, calendar.add(at, duration) - 1) < duration
    assert calendar.working(calendar.subtract(at, duration) + 1, at) < duration


@given(calendars, starts, starts, starts)
def test_working_adds_up(calendar: Calendar, a: int, b: int, c: int) -> None:
    assert calendar.working(a, b) + calendar.working(b, c) == calendar.working(a, c)
    assert calendar.working(a, b) == -calendar.working(b, a)


@settings(max_examples=40)
@given(calendars, near_changes, st.integers(0, 4 * 24 * 60))
def test_against_a_count_of_minutes(calendar: Calendar, start: int, minutes: int) -> None:
    start -= start % MINUTE
    counted = sum(_open(calendar, start + i * MINUTE) for i in range(minutes))
    assert calendar.working(start, start + minutes * MINUTE) == counted * MINUTE


def _open(calendar: Calendar, at: int) -> bool:
    """Whether the minute that begins at ``at`` is working time, by the local clock alone."""
    week = {
        AMSTERDAM.name: ("Europe/Amsterdam", [(480, 1080)], range(5)),
        NIGHT.name: ("America/New_York", [(0, 360), (1320, 1440)], range(7)),
        ROUND.name: ("Australia/Lord_Howe", [(0, 1440)], range(7)),
        GAP.name: ("Europe/Amsterdam", [(135, 165), (170, 200)], range(7)),
    }
    zone, intervals, days = week[calendar.name]
    local = moment(at).astimezone(ZoneInfo(zone))
    minute = local.hour * 60 + local.minute
    if calendar is GAP and local.date() == date(2026, 10, 25):
        # The hour 02:00-03:00 comes twice: what opens in it opens at the first, what closes in it closes at the second.
        # So 02:15-02:45 is 00:15-01:45 UTC, 02:50-03:20 is 00:50-02:20 UTC, and together 00:15-02:20 UTC.
        utc = moment(at)
        return 15 <= utc.hour * 60 + utc.minute < 140
    return local.weekday() in days and any(opens <= minute < closes for opens, closes in intervals)


def test_known_days() -> None:
    friday = instant(datetime(2026, 3, 27, 16, 0, tzinfo=UTC))  # 17:00 in Amsterdam
    assert moment(AMSTERDAM.add(friday, 2 * HOUR)) == datetime(2026, 3, 30, 7, 0, tzinfo=UTC)  # Monday 09:00, summer
    assert moment(AMSTERDAM.add(friday, HOUR)) == datetime(2026, 3, 27, 17, 0, tzinfo=UTC)  # at the close, not Monday
    christmas = instant(datetime(2026, 12, 24, 10, 0, tzinfo=UTC))  # 11:00, closes at 12:00, then two days off
    assert moment(AMSTERDAM.add(christmas, 2 * HOUR)) == datetime(2026, 12, 28, 8, 0, tzinfo=UTC)
    day = (date(2026, 3, 29) - date(1970, 1, 1)).days
    assert moment(AMSTERDAM.end_of_day(day)) == datetime(2026, 3, 29, 22, 0, tzinfo=UTC)
    assert moment(AMSTERDAM.end_of_day(day - 1)) == datetime(2026, 3, 28, 23, 0, tzinfo=UTC)


def test_a_day_of_23_and_of_25_hours() -> None:
    spring = instant(datetime(2026, 3, 28, 23, 0, tzinfo=UTC))
    every = Calendar("all", "Europe/Amsterdam", [[Interval(0, 1440)]] * 7)
    assert every.working(spring, every.end_of_day((date(2026, 3, 29) - date(1970, 1, 1)).days)) == 23 * HOUR
    autumn = instant(datetime(2026, 10, 24, 22, 0, tzinfo=UTC))
    assert every.working(autumn, every.end_of_day((date(2026, 10, 25) - date(1970, 1, 1)).days)) == 25 * HOUR


def test_far_years_are_reached() -> None:
    start = instant(datetime(1999, 6, 1, tzinfo=UTC))
    assert AMSTERDAM.working(start, AMSTERDAM.add(start, 20_000 * HOUR)) == 20_000 * HOUR
    with pytest.raises(ValueError, match="1971"):
        AMSTERDAM.working(instant(datetime(1960, 1, 1, tzinfo=UTC)), start)


@pytest.mark.parametrize("text", ["8-18", "18:00-08:00", "08:00", "08:00-25:00", "08:00-08:00", "08:61-09:00"])
def test_hours_that_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError):
        parse_interval(text)


def test_calendars_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="overlap"):
        Calendar("x", "UTC", [[Interval(0, 100), Interval(50, 200)]] + [[]] * 6)
    with pytest.raises(ValueError, match="no working time"):
        Calendar("x", "UTC", [[]] * 7)
    with pytest.raises(ValueError, match="negative"):
        AMSTERDAM.add(0, -1)
    with pytest.raises(ValueError, match="naive"):
        instant(datetime(2026, 1, 1) + timedelta())  # noqa: DTZ001
