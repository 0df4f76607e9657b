"""Policies that tests of whole stacks share."""

from __future__ import annotations

_SLOW = """
policy: slow
version: "{version}"
sources: [{source}]
calendars:
  always: {{time_zone: UTC, business_day: 24 hours, week: {{monday: "00:00-24:00"}}}}
calendar: always
clocks:
  - name: slow
    entity: expense_report
    target: {days} days
    warnings: []
    start: [{{activity: submitted}}]
    stop: [{{activity: approved}}]
"""


def slow_policy(source: str, version: int, days: int | str) -> str:
    """A policy file with one clock: expense reports of a source are to be approved within so many days."""
    return _SLOW.format(source=source, version=version, days=days)
