"""Keeps the windows of exception rates beside the cohorts they are made of, and publishes them.

Rows: ``w:<source>:<day>``, with a timer for the window's end, for the end of its settling, and for its removal.
"""

from __future__ import annotations

from functools import lru_cache

from finwatch.domain import rates
from finwatch.domain.calendar import DAY
from finwatch.domain.identity import deterministic_id
from finwatch.domain.policy import Policy
from finwatch.domain.rates import Figure, Window
from finwatch.domain.records import Rate
from finwatch.runtime.topics import RATE
from streams.agents import tally
from streams.agents.tally import Tally
from streams.stage import View

PREFIX = "w:"


def count(
    view: View, source: str, counts: Tally, day: int, label: str, policy: Policy, at: int, number: int = 1
) -> None:
    """Count in the cohort of a day; a window that was told of is told of again. ``at``: event time of the change."""
    tally.enter_cohort(counts, day, label, number)
    if day not in counts.days:
        return  # too old to be kept
    key = f"{PREFIX}{source}:{day}"
    window = view.get(key, Window)
    if window is None:
        window = Window()
        view.put(key, window, rates.due_after(window, day))
    elif window.status:
        _publish(view, source, day, window, counts, policy, at, all_again=False)
        view.put(key, window, rates.due_after(window, day))


def source_and_day(key: str) -> tuple[str, int]:
    """What a row's key says."""
    _, source, day = key.split(":")
    return source, int(day)


def advance(view: View, key: str, policy: Policy) -> None:
    """A window's timer has come due: it is provisional, final, or over."""
    source, day = source_and_day(key)
    window = view.get(key, Window)
    if window is None:
        return
    at = rates.due_after(window, day)
    if not rates.advance(window):
        view.delete(key)
        return
    counts = tally.tally_of(view, source)
    _publish(view, source, day, window, counts, policy, at, all_again=True)
    view.put(key, window, rates.due_after(window, day))


def count_apart(
    view: View, source: str, counts: Tally, day: int, entity: str, kind: str, policy: Policy, at: int, number: int
) -> None:
    """Count exceptions of a day whose documents are counted in another part of the rate, and say the numerator at once.

    That part's status is the window's: this one holds it up at no time. The row goes when the window is over.
    """
    key = f"{PREFIX}{source}:{day}"
    window = view.get(key, Window)
    if window is None:
        window = Window("final")
        if max(at, view.time_of(source) or 0) >= rates.due_after(window, day):
            return  # it is over, and forgotten
    label = f"{entity}|{kind}"
    tally.enter_cohort(counts, day, label, number)
    if day not in counts.days:
        return  # too old to be kept
    said = rates.numerator_change(window, label, counts.days[day][label], day, at)
    if said is not None:
        _say(view, source, day, Figure(entity, kind, said), window.status, policy, at)
    view.put(key, window, rates.due_after(window, day))


@lru_cache(20_000)
def _identity(source: str, entity: str, name: str, day: int, part: str) -> str:
    """Identity of a rate; kept, as one window is told of many times while its documents are worked on."""
    return deterministic_id("rate", source, entity, name, day, part)


def _publish(
    view: View, source: str, day: int, window: Window, counts: Tally, policy: Policy, at: int, *, all_again: bool
) -> None:
    for figure in rates.changes(window, counts.days.get(day, {}), policy.types_of, all_again=all_again):
        _say(view, source, day, figure, window.status, policy, at)


def _say(view: View, source: str, day: int, figure: Figure, status: str, policy: Policy, at: int) -> None:
    entity, name, said = figure
    part = f"{view.topic}/{view.partition}"
    identity = _identity(source, entity, name, day, part)
    view.emit(
        RATE,
        identity,
        Rate(
            identity,
            said.version,
            source,
            entity,
            name,
            day * DAY,
            rates.end_of(day),
            status,
            said.corrections,
            said.numerator,
            said.denominator,
            part,
            policy.label,
            at,
        ),
    )
