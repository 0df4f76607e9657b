"""Business calendars as a policy writes them."""

from __future__ import annotations

from datetime import date

from finwatch.domain.calendar import Calendar, Interval, parse_interval
from finwatch.domain.policy.section import PolicyError, Section, Words, parse_duration, words

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class CalendarSection(Section, frozen=True):
    """A business calendar: hours as ``HH:MM-HH:MM`` local time."""

    time_zone: str
    week: dict[str, Words]
    business_day: str = "8 hours"
    holidays: list[date] = []
    other_days: dict[date, Words] = {}


def build_calendar(name: str, section: CalendarSection, path: str) -> Calendar:
    """The calendar of a section. Raises PolicyError."""
    for day in section.week:
        if day not in _WEEKDAYS:
            raise PolicyError(f"{path}.week.{day}", f"a day of the week wanted: {', '.join(_WEEKDAYS)}")
    length = parse_duration(section.business_day, f"{path}.business_day")
    if length.kind != "wall":
        raise PolicyError(f"{path}.business_day", "its length in plain hours, for example 8 hours")
    days: dict[date, list[Interval]] = {day: [] for day in section.holidays}
    try:
        days.update({day: [parse_interval(w) for w in words(hours)] for day, hours in section.other_days.items()})
        week = [[parse_interval(w) for w in words(section.week.get(day))] for day in _WEEKDAYS]
        return Calendar(name, section.time_zone, week, days, length.fixed)
    except (ValueError, KeyError, OSError) as error:
        raise PolicyError(path, str(error).strip("'\"")) from None
