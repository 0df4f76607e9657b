"""What the sections of a policy are made of: the base class, errors with a path, durations."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal, NamedTuple

from msgspec import Struct

from finwatch.domain.calendar import DAY, HOUR, MINUTE, SECOND, Calendar

Severity = Literal["info", "low", "medium", "high", "critical"]
TargetKind = Literal["business", "wall"]
Words = str | list[str]


class PolicyError(ValueError):
    """A policy that cannot be used. ``path`` says where in it, as ``$.clocks[2].target``."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a policy file; an unknown word in it is an error.

    Types are checked when the file is read. What they cannot say a section checks in ``check``.
    """

    def check(self, path: str) -> None:
        """Raise PolicyError for values that are of the right type and still wrong; ``path`` is the section's own."""


class Duration(NamedTuple):
    """A length of time: microseconds of business or wall time; business days count ``Calendar.day_length`` each."""

    kind: TargetKind
    fixed: int
    business_days: float

    def of(self, calendar: Calendar) -> int:
        """Microseconds in a calendar."""
        return self.fixed + round(self.business_days * calendar.day_length)

    def end(self, calendar: Calendar, start: int) -> int:
        """The instant that lies this long after ``start``."""
        length = self.of(calendar)
        return calendar.add(start, length) if self.kind == "business" else start + length


_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s+(business\s+)?(second|minute|hour|day)s?\s*")
_UNITS = {"second": SECOND, "minute": MINUTE, "hour": HOUR, "day": DAY}


def parse_duration(text: str, path: str = "$") -> Duration:
    """Read ``48 hours``, ``20 business hours``, ``2 business days``. Raises PolicyError."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise PolicyError(path, f"{text!r} is no duration; examples: 48 hours, 20 business hours, 2 business days")
    number, business, unit = Decimal(match[1]), match[2] is not None, match[3]
    if number <= 0:
        raise PolicyError(path, "a duration must be positive")
    if business and unit == "day":
        return Duration("business", 0, float(number))
    return Duration("business" if business else "wall", int(number * _UNITS[unit]), 0.0)


def in_words(code: str) -> str:
    """A code name as a title begins: ``vendor_payment`` is ``Vendor payment``."""
    plain = code.replace("_", " ").strip()
    return plain[:1].upper() + plain[1:]


def words(value: Words | None) -> list[str]:
    """One word or several, as a list."""
    return [] if value is None else [value] if isinstance(value, str) else value
