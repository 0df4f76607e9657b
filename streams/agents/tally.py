"""Counts behind the KPIs, kept as rows beside what they count, so that they are exact after any crash.

Rows: ``k:<source>`` the counts and the daily cohorts; ``a:<source>:<label>`` and ``a:<source>:<label>:<day>`` the
starts of what is open, or the due times of open exceptions. Every counted thing remembers the label it was counted
under, so a correction first takes away what it had added.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from finwatch.domain.calendar import DAY, SECOND, Calendar
from finwatch.domain.kpis import (
    CATALOGUE,
    COHORTS,
    OpenDays,
    OpenStarts,
    band_counts,
    begun_by,
    cohort_days,
    oldest,
)
from finwatch.domain.policy import Policy
from finwatch.domain.rates import KEPT_DAYS
from finwatch.domain.records import Kpi
from streams.stage import View

_BAR = "|"
_DUE = "due"  # the first word of labels whose instants are due times
SOURCES_ROW = "s:sources"


class Sources(Struct, array_like=True):
    """The sources that have counts in this partition."""

    names: list[str] = []


class Tally(Struct, array_like=True):
    """Counts of one source by ``kpi|label|...``, cohorts by UTC day, labels that have open starts."""

    counts: dict[str, int] = {}
    days: dict[int, dict[str, int]] = {}
    open_labels: dict[str, int] = {}


def word(text: str | None) -> str:
    """A label value that holds no separator."""
    return "" if text is None else text.replace(_BAR, "/")


def tally_of(view: View, source: str) -> Tally:
    """The counts of a source, made when it is new."""
    key = f"k:{source}"
    tally = view.get(key, Tally)
    if tally is None:
        tally = Tally()
        sources = view.get(SOURCES_ROW, Sources) or Sources()
        sources.names.append(source)
        view.put(SOURCES_ROW, sources)
        view.put(key, tally)
    return tally


def move(tally: Tally, was: str, now: str) -> None:
    """Count something under another label; an empty label is none."""
    counts = tally.counts
    if was:
        counts[was] -= 1  # a count of zero stays: its KPI has to say 0
    if now:
        counts[now] = counts.get(now, 0) + 1


def add(tally: Tally, label: str, number: int = 1) -> None:
    """Add to a count that only grows."""
    tally.counts[label] = tally.counts.get(label, 0) + number


def enter_cohort(tally: Tally, day: int, label: str, number: int = 1) -> None:
    """Count something in the cohort of a day; cohorts beyond the longest window are dropped."""
    days = tally.days
    counts = days.get(day)
    if counts is None:
        newest = max(days, default=day)
        if day < newest - KEPT_DAYS:
            return
        counts = days[day] = {}
        for old in [d for d in days if d < max(newest, day) - KEPT_DAYS]:
            del days[old]
    counts[label] = counts.get(label, 0) + number


def open_start(view: View, source: str, tally: Tally, start: int, label: str) -> None:
    """Count an open start under a label."""
    _count_start(view, source, tally, start, label, 1)


def close_start(view: View, source: str, tally: Tally, was: str) -> None:
    """Take away what was counted as open under ``<start>|<label>``."""
    number, _, label = was.partition(_BAR)
    _count_start(view, source, tally, int(number), label, -1)


def _count_start(view: View, source: str, tally: Tally, start: int, label: str, sign: int) -> None:
    day = start // DAY
    days_key = f"a:{source}:{label}"
    chunk_key = f"{days_key}:{day}"
    days = view.get(days_key, OpenDays) or OpenDays()
    chunk = view.get(chunk_key, OpenStarts) or OpenStarts()
    count = days.days.get(day, 0) + sign
    if sign > 0:
        chunk.add(start)
    else:
        chunk.remove(start)
    if count:
        days.days[day] = count
        view.put(chunk_key, chunk)
    else:
        del days.days[day]
        view.delete(chunk_key)
    tally.open_labels[label] = tally.open_labels.get(label, 0) + sign
    view.put(days_key, days)


def count_exception(view: View, source: str, tally: Tally, label: str, due: Sequence[str], number: int) -> None:
    """Count an open exception (``number`` 1), or take it away (-1): in the backlog, in its rate, under its due time.

    ``label``: entity, company, type and severity. ``due``: its due time, if it has one, as it was kept beside the
    label; rows from before due times were counted kept none.
    """
    add(tally, f"exceptions_open{_BAR}{label}", number)
    add(tally, f"exception_rate_stock#n{_BAR}{label.rpartition(_BAR)[0]}", number)
    if due and due[0]:
        _count_start(view, source, tally, int(due[0]), f"{_DUE}{_BAR}{label}", number)


def kpis(view: View, now: Mapping[str, int], policy_of: Callable[[str], Policy]) -> Iterator[Kpi]:
    """This partition's part of every KPI that is counted here, at each source's time, by the policy in force there."""
    sources = view.get(SOURCES_ROW, Sources)
    for source in sources.names if sources is not None else ():
        at = now.get(source)
        tally = view.get(f"k:{source}", Tally)
        if at is None or tally is None:
            continue
        policy = policy_of(source)
        yield from _counts(view, source, at, tally, policy)
        yield from _cohorts(view, source, at, tally, policy)
        for label in tally.open_labels:
            if label.startswith(_DUE + _BAR):
                yield _overdue(view, source, at, label)
                continue
            entity, company, role = label.split(_BAR)
            calendar = policy.calendar_of(company or None)
            yield from _ages(view, source, at, label, calendar, {"entity": entity, "company": company, "role": role})


def _overdue(view: View, source: str, at: int, label: str) -> Kpi:
    """No timer tells that time has run out: due times are counted as of ``at`` whenever somebody asks."""
    days_key = f"a:{source}:{label}"
    spec = CATALOGUE["exceptions_overdue"]
    labels = dict(zip(spec.labels, (source, *label.split(_BAR)[1:]), strict=True))
    days = view.get(days_key, OpenDays) or OpenDays()
    count = begun_by(days, lambda day: view.get(f"{days_key}:{day}", OpenStarts), at)
    return part(view, spec.name, labels, at, value=float(count))


def _ages(view: View, source: str, at: int, label: str, calendar: Calendar, labels: dict[str, str]) -> Iterator[Kpi]:
    days_key = f"a:{source}:{label}"
    days = view.get(days_key, OpenDays)
    if days is None:
        return

    def starts_of(day: int) -> OpenStarts | None:
        return view.get(f"{days_key}:{day}", OpenStarts)

    labels = {"source": source, **labels}
    for band, count in band_counts(calendar, days, starts_of, at):
        yield part(view, "approvals_open", {**labels, "band": band}, at, value=float(count))
    first = oldest(days, starts_of)
    if first is not None:
        yield part(view, "approvals_oldest_seconds", labels, at, value=max(0.0, (at - first) / SECOND))


def _counts(view: View, source: str, at: int, tally: Tally, policy: Policy) -> Iterator[Kpi]:
    """Counts are kept under their KPI's name and label values; a rate's two counts under ``name#n`` and ``name#d``.

    Exceptions that show when documents are put side by side are counted in the relations stage; the documents that they
    are a part of are counted here.
    """
    rates: dict[tuple[str, str], list[float]] = {}
    for key, count in tally.counts.items():
        name, _, values = key.partition(_BAR)
        if name.endswith(("#n", "#d")):
            rates.setdefault((name[:-2], values), [0.0, 0.0])[name.endswith("#d")] += count
            continue
        if name == "documents_open":
            entity = values.partition(_BAR)[0]
            for kind in policy.related_of(entity):
                rates.setdefault(("exception_rate_stock", f"{values}|{kind}"), [0.0, 0.0])
        spec = CATALOGUE[name]
        words = (source, *values.split(_BAR)) if values else (source,)
        yield part(view, name, dict(zip(spec.labels, words, strict=True)), at, value=count)
    for (name, values), (numerator, counted) in rates.items():
        # The stock rate's denominator is a count of its own, without the type.
        stock = tally.counts.get(f"documents_open|{values.rpartition(_BAR)[0]}", 0)
        denominator = stock if name == "exception_rate_stock" else counted
        labels = dict(zip(CATALOGUE[name].labels, (source, *values.split(_BAR)), strict=True))
        yield part(view, name, labels, at, numerator=numerator, denominator=denominator)


def _cohorts(view: View, source: str, at: int, tally: Tally, policy: Policy) -> Iterator[Kpi]:
    for window, length in COHORTS:
        entered: dict[str, int] = {}
        # Every type of the kept days is told of, with 0 when the window has none.
        met = {(e, k): 0 for counts in tally.days.values() for e, _, k in (t.partition(_BAR) for t in counts) if k}
        for entity in {e for counts in tally.days.values() for e, number in counts.items() if number and _BAR not in e}:
            for kind in policy.related_of(entity):
                met.setdefault((entity, kind), 0)  # its numerator is another part's
        for day in cohort_days(at, length):
            for label, count in tally.days.get(day, {}).items():
                entity, _, kind = label.partition(_BAR)
                if kind:
                    met[entity, kind] = met.get((entity, kind), 0) + count
                else:
                    entered[entity] = entered.get(entity, 0) + count
        for (entity, kind), count in met.items():
            labels = {"source": source, "entity": entity, "type": kind, "window": window}
            yield part(view, "exception_rate_cohort", labels, at, numerator=count, denominator=entered.get(entity, 0))


def part(
    view: View,
    name: str,
    labels: dict[str, str],
    at: int,
    *,
    value: float | None = None,
    numerator: float | None = None,
    denominator: float | None = None,
) -> Kpi:
    """One partial. The shell sets its position when it publishes it."""
    text = json.dumps(labels, sort_keys=True, separators=(",", ":"))
    if numerator is not None and denominator:
        value = numerator / denominator
    return Kpi(name, text, view.topic, view.partition, 0, at, value, numerator, denominator)
