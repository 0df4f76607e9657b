"""Who should decide: the approval matrix, and who stands in when that person is away or does not decide.

The source names whom it asked, or the matrix does, by company (see ``inheritance``), document type and amount. From
there: a delegation hands over while it lasts; an absence without one hands over to the fallback approver; and so does
time, when nobody has decided for longer than the fallback waits. Days are local to the calendar, the last one included.

A role may be handed over too: to a person, or to another role. That holds where only the role is asked; whom the source
or the matrix names in person hands over in person. Owners of findings follow the same hand-overs (``stand_in``).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from msgspec import field

from finwatch.domain.calendar import Calendar, day_number
from finwatch.domain.policy.section import Duration, PolicyError, Section, parse_duration

SOURCE, MATRIX, DELEGATION, ABSENCE, FALLBACK = "source", "matrix", "delegation", "absence", "fallback"


class AuthoritySection(Section, frozen=True):
    """A line of the matrix; the first that fits decides. Amounts in the document's own currency, without their sign.

    ``above``: only larger ones; ``up_to``: that much at most. ``person``: an id in the source.
    """

    role: str
    person: str | None = None
    above: Decimal | None = None
    up_to: Decimal | None = None
    document_types: list[str] = []


class FallbackSection(Section, frozen=True):
    """Who decides when the one who was asked is absent, or has not decided after ``after``."""

    role: str
    person: str | None = None
    after: str | None = None


class DelegationSection(Section, frozen=True):
    """One decides for another from ``since`` to ``until``: persons as ids in the source, roles by their names.

    Either ``from`` or ``from_role`` hands over, to the person ``to`` or to ``to_role`` (both: to the person, who then
    decides in that role).
    """

    since: date
    until: date
    person: str | None = field(name="from", default=None)
    from_role: str | None = None
    to: str | None = None
    to_role: str | None = None
    reason: str = ""

    def check(self, path: str) -> None:
        """Raise PolicyError for one without two sides, to oneself, or that ends before it begins."""
        if (self.person is None) == (self.from_role is None):
            raise PolicyError(path, "either `from` (a person) or `from_role` wanted")
        if self.to is None and self.to_role is None:
            raise PolicyError(path, "`to` (a person) or `to_role` wanted")
        if self.person is not None and self.person == self.to:
            raise PolicyError(f"{path}.to", "somebody else than `from` wanted")
        if self.from_role is not None and self.from_role == self.to_role and self.to is None:
            raise PolicyError(f"{path}.to_role", "another role than `from_role` wanted")
        _check_days(self.since, self.until, path)


class AbsenceSection(Section, frozen=True):
    """A person is away from ``since`` to ``until``."""

    person: str
    since: date
    until: date

    def check(self, path: str) -> None:
        """Raise PolicyError for an absence that ends before it begins."""
        _check_days(self.since, self.until, path)


class Away(NamedTuple):
    """A time during which somebody else decides, instants in epoch microseconds.

    ``to`` and ``to_role`` are both None for nobody named.
    """

    since: int
    until: int
    to: str | None
    to_role: str | None = None

    @property
    def handed(self) -> bool:
        """True when somebody is named."""
        return self.to is not None or self.to_role is not None


class Absent(NamedTuple):
    """Who is away when: people by their ids, roles by their names, each in order of the start."""

    people: Mapping[str, tuple[Away, ...]]
    roles: Mapping[str, tuple[Away, ...]]

    def spans(self, person: str | None, role: str | None) -> tuple[Away, ...]:
        """When a person is away; of a step that asks nobody in person, when its role is handed over."""
        if person is not None:
            return self.people.get(person, ())
        return () if role is None else self.roles.get(role, ())


NOBODY = Absent({}, {})


class Responsible(NamedTuple):
    """Who has to decide now, why, and the instant at which that changes by itself (0: it does not)."""

    person: str | None
    role: str | None
    route: str | None
    turn: int


class Authority(NamedTuple):
    """A compiled approval's answer to who decides."""

    matrix: tuple[AuthoritySection, ...]
    fallback: FallbackSection | None
    after: Duration | None
    away: Absent
    bands: tuple[Decimal, ...]

    def line(self, amount: Decimal | None, document_type: str | None) -> AuthoritySection | None:
        """The line of the matrix for a document. Without an amount only lines without a limit fit."""
        size = None if amount is None else abs(amount)
        for line in self.matrix:
            if line.document_types and document_type not in line.document_types:
                continue
            if line.above is not None and (size is None or size <= line.above):
                continue
            if line.up_to is not None and (size is None or size > line.up_to):
                continue
            return line
        return None

    def band(self, amount: Decimal | None) -> str | None:
        """The band of an amount: ``0-1000``, ``1000-10000``, ``>10000``; None without an amount or bands."""
        if amount is None or not self.bands:
            return None
        place = bisect_right(self.bands, abs(amount))
        if place == len(self.bands):
            return f">{self.bands[-1]:f}"
        return f"{self.bands[place - 1] if place else Decimal(0):f}-{self.bands[place]:f}"

    def responsible(
        self, asked: str | None, by_source: bool, role: str | None, started: int, at: int, calendar: Calendar
    ) -> Responsible:
        """Who has to decide at ``at`` on a step that asked ``asked`` at ``started``."""
        person, route = asked, None if asked is None else SOURCE if by_source else MATRIX
        if self.fallback is None and self.away is NOBODY:
            return Responsible(person, role, route, 0)
        turns: list[int] = []
        if self.fallback is not None and self.after is not None:
            end = self.after.end(calendar, started)
            if end <= at:
                person, role, route = self.fallback.person, self.fallback.role, FALLBACK
            else:
                turns.append(end)
        met: set[tuple[str | None, str | None]] = set()
        # A circle of delegations ends where it began.
        while (who := (person, None if person is not None else role)) not in met:
            met.add(who)
            now, turn = _now(self.away.spans(person, role), at)
            turns += turn
            if now is None:
                break
            if now.handed:
                person, role, route = now.to, now.to_role or role, DELEGATION
            elif self.fallback is not None and route != FALLBACK:
                person, role, route = self.fallback.person, self.fallback.role, ABSENCE
            else:
                break
        return Responsible(person, role, route, min(turns, default=0))


NO_AUTHORITY = Authority((), None, None, NOBODY, ())


def stand_in(owner: str, away: Absent, at: int) -> str | None:
    """Who has to act in the place of an owner (a role or a person) at an instant; None for absent, and nobody named."""
    met: set[str] = set()
    while owner not in met:
        met.add(owner)
        now, _ = _now(away.roles.get(owner) or away.people.get(owner, ()), at)
        if now is None:
            break
        if not now.handed:
            return None
        owner = now.to or now.to_role or owner
    return owner


def _now(spans: Sequence[Away], at: int) -> tuple[Away | None, list[int]]:
    """What holds at an instant (one that names somebody before one that does not), and when that may change."""
    now, turns = None, []
    for away in spans:
        if away.since > at:
            turns.append(away.since)
        elif away.until > at and (now is None or (not now.handed and away.handed)):
            now = away
            turns.append(away.until)
    return now, turns


def compile_authority(
    matrix: Sequence[AuthoritySection],
    fallback: FallbackSection | None,
    bands: Sequence[Decimal],
    away: Absent,
    path: str,
) -> Authority:
    """The authority of an approval. Raises PolicyError."""
    for i, line in enumerate(matrix):
        if line.above is not None and line.up_to is not None and line.up_to <= line.above:
            raise PolicyError(f"{path}.matrix[{i}].up_to", "nothing lies between `above` and `up_to`")
    if any(band <= 0 for band in bands) or list(bands) != sorted(set(bands)):
        raise PolicyError(f"{path}.bands", "amounts above 0, each larger than the one before: [1000, 10000]")
    after = None
    if fallback is not None and fallback.after is not None:
        after = parse_duration(fallback.after, f"{path}.fallback.after")
    return Authority(tuple(matrix), fallback, after, away, tuple(bands))


def compile_away(
    delegations: Sequence[DelegationSection], absences: Sequence[AbsenceSection], calendar: Calendar
) -> Absent:
    """Who is away when. Raises PolicyError."""
    people: dict[str, list[Away]] = {}
    roles: dict[str, list[Away]] = {}
    for i, one in enumerate(delegations):
        one.check(f"$.delegations[{i}]")
        away = Away(*_span(one.since, one.until, calendar), one.to, one.to_role)
        if one.person is not None:
            people.setdefault(one.person, []).append(away)
        elif one.from_role is not None:
            roles.setdefault(one.from_role, []).append(away)
    for i, absence in enumerate(absences):
        absence.check(f"$.absences[{i}]")
        people.setdefault(absence.person, []).append(Away(*_span(absence.since, absence.until, calendar), None))
    return Absent(_in_order(people), _in_order(roles)) if people or roles else NOBODY


def _in_order(found: dict[str, list[Away]]) -> dict[str, tuple[Away, ...]]:
    return {name: tuple(sorted(spans, key=lambda away: away[:2])) for name, spans in found.items()}


def _span(since: date, until: date, calendar: Calendar) -> tuple[int, int]:
    return calendar.end_of_day(day_number(since - timedelta(days=1))), calendar.end_of_day(day_number(until))


def _check_days(since: date, until: date, path: str) -> None:
    if until < since:
        raise PolicyError(f"{path}.until", "it ends before it begins")
