"""Business calendars as a policy writes them."""

from __future__ import annotations

from datetime import date

import holidays
import msgspec

from finwatch.domain.calendar import Calendar, Interval, parse_interval
from finwatch.domain.policy.section import PolicyError, Section, Words, parse_duration, words

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_YEARS = range(2015, 2036)


class CalendarSection(Section, frozen=True):
    """A business calendar: hours as ``HH:MM-HH:MM`` local time.

    ``countries``: whose public holidays are free, as ISO 3166 codes, with a region where holidays differ (``BE``,
    ``DE-BY``). They are looked up once, when the file is read, for 2015 to 2035, and written into ``country_days``:
    what is published holds the days themselves, so that no worker depends on what its own library knows.
    ``holidays``: own free days. ``other_days``: days with other hours (half days; a public holiday on which work goes
    on), before all.
    """

    time_zone: str
    week: dict[str, Words]
    business_day: str = "8 hours"
    holidays: list[date] = []
    other_days: dict[date, Words] = {}
    countries: list[str] = []
    country_days: list[date] = []


def with_country_days(section: CalendarSection, path: str) -> CalendarSection:
    """The section with the public holidays of its countries. Raises PolicyError for one that is not known."""
    if not section.countries or section.country_days:
        return section
    found: set[date] = set()
    for i, code in enumerate(section.countries):
        country, _, region = code.partition("-")
        try:
            found.update(holidays.country_holidays(country, subdiv=region or None, years=_YEARS))
        except NotImplementedError:
            raise PolicyError(
                f"{path}.countries[{i}]", f"no holidays are known for {code!r}; examples: BE, NL, DE-BY, ES-MD"
            ) from None
    return msgspec.structs.replace(section, country_days=sorted(found))


def build_calendar(name: str, section: CalendarSection, path: str) -> Calendar:
    """The calendar of a section. Raises PolicyError."""
    for day in section.week:
        if day not in _WEEKDAYS:
            raise PolicyError(f"{path}.week.{day}", f"a day of the week wanted: {', '.join(_WEEKDAYS)}")
    length = parse_duration(section.business_day, f"{path}.business_day")
    if length.kind != "wall":
        raise PolicyError(f"{path}.business_day", "its length in plain hours, for example 8 hours")
    days: dict[date, list[Interval]] = {day: [] for day in (*section.country_days, *section.holidays)}
    try:
        days.update({day: [parse_interval(w) for w in words(hours)] for day, hours in section.other_days.items()})
        week = [[parse_interval(w) for w in words(section.week.get(day))] for day in _WEEKDAYS]
        return Calendar(name, section.time_zone, week, days, length.fixed)
    except (ValueError, KeyError, OSError) as error:
        raise PolicyError(path, str(error).strip("'\"")) from None
