"""Exception rates by cohort, window by window: provisional at its end, final after a settling time, corrected later.

A window is a UTC day. Its cohort are the documents that entered on it; the numerator of a type are those of them that
had an exception of the type at any time. A figure that was said is never changed silently: each change is a new
version, and after the final one it counts as a correction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Literal, NamedTuple

from msgspec import Struct

from finwatch.domain.calendar import DAY

SETTLING_DAYS = 7
"""Days after its end until a window is final: exceptions are found while the documents are worked on."""
KEPT_DAYS = 35
"""Days for which a window's counts are kept, and it can be corrected."""

Status = Literal["provisional", "final"]


class Said(Struct, array_like=True):
    """What was last said of one rate."""

    version: int = 0
    numerator: int = 0
    denominator: int = 0
    corrections: int = 0


class Window(Struct, array_like=True):
    """What was said of a day, by ``entity|type``."""

    status: Status | Literal[""] = ""
    said: dict[str, Said] = {}


class Figure(NamedTuple):
    """One rate of a window as it is to be said."""

    entity: str
    type: str
    said: Said


def end_of(day: int) -> int:
    """The instant at which a window closes, microseconds."""
    return (day + 1) * DAY


def due_after(window: Window, day: int) -> int:
    """When a window is next looked at: its end, the end of its settling, and when it is forgotten."""
    if window.status == "":
        return end_of(day)
    return end_of(day) + (SETTLING_DAYS if window.status == "provisional" else KEPT_DAYS) * DAY


def advance(window: Window) -> bool:
    """Take a window to its next status; False when it is over and can be forgotten."""
    if window.status == "final":
        return False
    window.status = "provisional" if window.status == "" else "final"
    return True


def changes(
    window: Window, counts: Mapping[str, int], types_of: Callable[[str], Collection[str]], *, all_again: bool
) -> list[Figure]:
    """The rates that have to be said: those that changed, or all (``all_again``, after the status changed).

    ``counts``: of the day, by ``entity`` the documents that entered, by ``entity|type`` those with an exception.
    """
    found = []
    for entity, entered in sorted(counts.items()):
        if "|" in entity:
            continue
        for name in sorted(types_of(entity)):
            label = f"{entity}|{name}"
            numerator = counts.get(label, 0)
            said = window.said.get(label)
            if said is None:
                said = window.said[label] = Said()
            elif not all_again and (said.numerator, said.denominator) == (numerator, entered):
                continue
            if window.status == "final" and said.version and not all_again:
                said.corrections += 1
            said.version += 1
            said.numerator, said.denominator = numerator, entered
            found.append(Figure(entity, name, said))
    return found


def numerator_change(window: Window, label: str, numerator: int, day: int, at: int) -> Said | None:
    """The numerator of a rate whose documents are counted in another part; None when it is as it was said.

    It is said at once, so that it stands when the other part says the denominator. ``at``: event time of the change;
    once the window is final it is a correction.
    """
    said = window.said.get(label)
    if said is None:
        said = window.said[label] = Said()
    elif said.numerator == numerator:
        return None
    if said.version and at >= end_of(day) + SETTLING_DAYS * DAY:
        said.corrections += 1
    said.version += 1
    said.numerator = numerator
    return said
