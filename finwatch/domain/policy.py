"""Policies: what the business decides, as versioned data.

A policy file (YAML, see ``finwatch/policies``) is parsed into ``PolicyDocument``, checked, and compiled into
``Policy``, which answers in one dictionary lookup what a fact means for approvals and clocks. Every output carries
``Policy.label``: name, version and the first digits of the content's hash, so that an edit without a new version shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct, field

from finwatch.domain.calendar import DAY, HOUR, MINUTE, SECOND, Calendar, Interval, parse_interval

Severity = Literal["info", "low", "medium", "high", "critical"]
TargetKind = Literal["business", "wall"]
Ending = Literal["approved", "rejected", "withdrawn", "cancelled"]
Words = str | list[str]

ACTIVITIES = frozenset(
    {
        "created",
        "submitted",
        "approved",
        "final_approved",
        "rejected",
        "withdrawn",
        "saved",
        "posted",
        "reset",
        "cancelled",
        "payment_requested",
        "paid",
        "received",
        "ordered",
        "changed",
        "deleted",
    }
)
# The closed list of exception types. A type is born together with the rule that finds it (domain/exceptions.py).
EXCEPTION_TYPES = frozenset(
    {
        "rejected_step",
        "overdue",
        "missing_order",
        "missing_reference",
        "blocked_payment",
        "cancelled_after_posting",
        "reset_to_draft",
        "approval_by_creator",
        "billed_before_receipt",
        "over_billed",
        "over_received",
    }
)
# Of these, the ones that look at the document as it is, not at what happened to it.
CONTENT_TYPES = frozenset(
    {"missing_order", "missing_reference", "blocked_payment", "billed_before_receipt", "over_billed", "over_received"}
)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class PolicyError(ValueError):
    """A policy that cannot be used. ``path`` says where in it, as ``$.clocks[2].target``."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


class _Section(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a policy file; an unknown word in it is an error."""


class CalendarSection(_Section, frozen=True):
    """A business calendar: hours as ``HH:MM-HH:MM`` local time."""

    time_zone: str
    week: dict[str, Words]
    business_day: str = "8 hours"
    holidays: list[date] = []
    other_days: dict[date, Words] = {}


class Condition(_Section, frozen=True):
    """All that is given must match; a list matches any of its words. ``state`` is the state after the fact."""

    activity: Words | None = None
    state: Words | None = None
    before: Words | None = None
    payment_state: Words | None = None
    role: Words | None = None
    decision: Words | None = None


class Opening(Condition, frozen=True):
    """A condition that opens a wait, and the role that is asked."""

    asks: str | None = None


class ApprovalSection(_Section, frozen=True):
    """One approval of one entity: what opens a wait for a decision and what decides it."""

    entity: str
    step: str
    opens: list[Opening]
    ends: dict[Ending, list[Condition]]
    role: str | None = None
    stuck_after: str | None = None
    severity: Severity = "medium"
    owner: str = "process_owner"
    next_action: str = "Ask the approver to decide, or delegate."


class Escalation(_Section, frozen=True):
    """A level after the breach: ``after`` the due time, in the clock's kind of time."""

    after: str
    owner: str
    severity: Severity = "critical"


class ClockSection(_Section, frozen=True):
    """A service level. ``target``: ``20 business hours``, ``2 business days``, ``48 hours``, or ``due_date``."""

    name: str
    entity: str
    target: str
    start: list[Condition]
    stop: list[Condition]
    cancel: list[Condition] = []
    pause: list[Condition] = []
    resume: list[Condition] = []
    reset: list[Condition] = []
    document_types: list[str] = []
    restart: Literal["first", "latest"] = "first"
    once: bool = False
    warnings: tuple[int, ...] = (75, 90)
    severity: Severity = "high"
    owner: str = "process_owner"
    next_action: str = "Act before the deadline."
    escalations: list[Escalation] = []
    exception: str | None = None


class ExceptionSection(_Section, frozen=True):
    """How an exception type is handled, and for which entities it is looked for.

    ``min_amount``: smaller documents have none (``min_amount_of``: another amount for an entity). It is compared with
    the document's own currency; an approval that was asked for counts at any amount. ``grace``: what the document shows
    counts only when it lasts longer than that; for types that look at the document, not at its history.
    """

    owner: str
    severity: Severity
    next_action: str
    entities: list[str]
    finding: bool = False
    min_amount: Decimal | None = None
    min_amount_of: dict[str, Decimal] = {}
    grace: str | None = None


class DuplicatesSection(_Section, frozen=True):
    """Settings of the duplicate detector."""

    entities: tuple[str, ...] = ("bill",)
    document_types: tuple[str, ...] = ("in_invoice", "in_receipt", "in_refund")
    ignore_references: list[str] = []
    min_reference_length: int = 3
    block_cap: int = 50
    same_year: bool = True
    amount_tolerance: Decimal = Decimal("0.005")
    date_window_days: int = 5
    entry_window_days: int = 180
    split_window_days: int = 30
    keep_at: float = 0.2
    report_at: float = 0.6
    severity: Severity = "high"
    owner: str = "accounts_payable"
    next_action: str = "Compare the two bills and hold the later one until it is clear."


class PolicyDocument(_Section, frozen=True):
    """A whole policy file."""

    policy: str
    version: str
    calendars: dict[str, CalendarSection]
    calendar: str
    description: str = ""
    sources: tuple[str, ...] = ("*",)
    company_calendars: dict[str, str] = {}
    closed: dict[str, list[Condition]] = {}
    approvals: list[ApprovalSection] = []
    clocks: list[ClockSection] = []
    exceptions: dict[str, ExceptionSection] = {}
    duplicates: DuplicatesSection = field(default_factory=DuplicatesSection)


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


class Level(NamedTuple):
    """A level of a deadline: a fraction of the target up to the breach, an offset from the due time after it."""

    name: str
    percent: int
    offset: Duration | None
    severity: str
    owner: str


class ApprovalRule(NamedTuple):
    """A compiled approval."""

    step: str
    role: str | None
    stuck_after: Duration | None
    section: ApprovalSection


class ClockRule(NamedTuple):
    """A compiled clock. ``target`` is None when the document's due date is the target."""

    name: str
    target: Duration | None
    kind: TargetKind
    levels: tuple[Level, ...]
    section: ClockSection


class Reaction(NamedTuple):
    """What one kind of fact means: the answer that is cached."""

    approval: ApprovalRule | None
    ending: str | None
    opens: bool
    asks: str | None
    clocks: tuple[tuple[ClockRule, tuple[str, ...]], ...]  # operations in the order they apply
    closes: bool | None  # the document: True closes it, False opens it, None neither
    inert: bool  # it means nothing


class FactKind(NamedTuple):
    """What a reaction depends on."""

    entity: str
    activity: str
    field: str
    before: str | None
    after: str | None
    role: str | None
    decision: str | None


_ORDER = ("stop", "cancel", "pause", "resume", "reset", "start")
_DECISIONS = frozenset({"approved", "rejected"})


class Policy:
    """A checked policy, ready to be asked. Holds nothing but caches besides what the file says."""

    def __init__(self, document: PolicyDocument) -> None:
        self.document = document
        self.name = document.policy
        self.content_hash = sha256(
            msgspec.json.encode(msgspec.to_builtins(document, str_keys=True), order="sorted")
        ).hexdigest()
        self.label = f"{document.policy}@{document.version}+{self.content_hash[:8]}"
        self.calendars = {
            name: _calendar(name, section, f"$.calendars.{name}") for name, section in document.calendars.items()
        }
        for path, name in [
            ("$.calendar", document.calendar),
            *((f"$.company_calendars.{c}", n) for c, n in document.company_calendars.items()),
        ]:
            if name not in self.calendars:
                raise PolicyError(path, f"no calendar is named {name!r}")
        self._company = {c: self.calendars[n] for c, n in document.company_calendars.items()}
        self._default = self.calendars[document.calendar]
        self.approvals: dict[str, ApprovalRule] = {}
        for i, approval in enumerate(document.approvals):
            self._add_approval(approval, f"$.approvals[{i}]")
        self.clocks: dict[str, ClockRule] = {}
        for i, clock in enumerate(document.clocks):
            self._add_clock(clock, f"$.clocks[{i}]")
        self.graces: dict[str, Duration] = {}
        for name, exception in document.exceptions.items():
            self._check_exception(name, exception, f"$.exceptions.{name}")
        for entity, conditions in document.closed.items():
            _check_conditions(conditions, f"$.closed.{entity}")
        if document.duplicates.block_cap < 2:
            raise PolicyError("$.duplicates.block_cap", "at least 2")
        self._reactions: dict[tuple[str | None, ...], Reaction] = {}
        self._exceptions: dict[str, dict[str, ExceptionSection]] = {}
        self._apart: dict[tuple[str, str | None, str | None], frozenset[str]] = {}

    def calendar_of(self, company_id: str | None) -> Calendar:
        """The calendar of a company."""
        return self._company.get(company_id, self._default) if company_id is not None else self._default

    def exceptions_of(self, entity: str) -> dict[str, ExceptionSection]:
        """The exception types that are looked for on an entity."""
        found = self._exceptions.get(entity)
        if found is None:
            found = {
                name: msgspec.structs.replace(section, min_amount=section.min_amount_of.get(entity, section.min_amount))
                for name, section in self.document.exceptions.items()
                if entity in section.entities
            }
            self._exceptions[entity] = found
        return found

    def clocks_apart(self, entity: str, one: str | None, other: str | None) -> frozenset[str]:
        """Names of the entity's clocks that run on one document type and not on the other."""
        if one == other:
            return frozenset()
        found = self._apart.get((entity, one, other))
        if found is None:
            if len(self._apart) > 1000:
                self._apart.clear()
            found = self._apart[entity, one, other] = frozenset(
                rule.name
                for rule in self.clocks.values()
                if rule.section.entity == entity
                and (types := rule.section.document_types)
                and (one in types) != (other in types)
            )
        return found

    def react(self, kind: tuple[str, str, str, str | None, str | None, str | None, str | None]) -> Reaction:
        """What a fact of this kind (the parts of ``FactKind``, in order) means."""
        found = self._reactions.get(kind)
        if found is None:
            if len(self._reactions) > 20_000:  # free text in a role must not fill the memory
                self._reactions.clear()
            found = self._reactions[kind] = self._reaction(FactKind(*kind))
        return found

    def _reaction(self, kind: FactKind) -> Reaction:
        approval = self.approvals.get(kind.entity)
        ending: str | None = None
        asks: str | None = None
        opens = False
        if approval is not None:
            for name, conditions in approval.section.ends.items():
                if any(_matches(c, kind) for c in conditions):
                    ending = name
                    break
            if ending is None and kind.decision in _DECISIONS:
                ending = kind.decision
            for opening in approval.section.opens:
                if _matches(opening, kind):
                    opens, asks = True, opening.asks or approval.role
                    break
        elif kind.decision in _DECISIONS:
            approval = _ANY_APPROVAL
            ending = kind.decision
        clocks = []
        for rule in self.clocks.values():
            if rule.section.entity == kind.entity:
                operations = tuple(
                    name for name in _ORDER if any(_matches(c, kind) for c in getattr(rule.section, name))
                )
                if operations:
                    clocks.append((rule, operations))
        closes: bool | None = None
        conditions = self.document.closed.get(kind.entity, [])
        if any(_matches(c, kind) for c in conditions):
            closes = True
        elif (kind.field != "" and kind.after is not None) or kind.activity in ("submitted", "reset", "created"):
            closes = False
        inert = ending is None and not opens and not clocks and closes is None
        return Reaction(approval, ending, opens, asks, tuple(clocks), closes, inert)

    def _check_exception(self, name: str, section: ExceptionSection, path: str) -> None:
        if name not in EXCEPTION_TYPES:
            raise PolicyError(path, f"no such type; known: {', '.join(sorted(EXCEPTION_TYPES))}")
        for entity in section.min_amount_of:
            if entity not in section.entities:
                raise PolicyError(f"{path}.min_amount_of", f"{entity!r} is not among its entities")
        if section.grace is not None:
            if name not in CONTENT_TYPES:
                known = ", ".join(sorted(CONTENT_TYPES))
                raise PolicyError(f"{path}.grace", f"only what a document shows can have a grace: {known}")
            self.graces[name] = parse_duration(section.grace, f"{path}.grace")

    def _add_approval(self, section: ApprovalSection, path: str) -> None:
        if section.entity in self.approvals:
            raise PolicyError(path, f"a second approval of {section.entity}; one an entity")
        _check_conditions(section.opens, f"{path}.opens")
        for name, conditions in section.ends.items():
            _check_conditions(conditions, f"{path}.ends.{name}")
        stuck = None if section.stuck_after is None else parse_duration(section.stuck_after, f"{path}.stuck_after")
        self.approvals[section.entity] = ApprovalRule(section.step, section.role, stuck, section)

    def _add_clock(self, section: ClockSection, path: str) -> None:
        if section.name in self.clocks:
            raise PolicyError(f"{path}.name", f"a second clock named {section.name!r}")
        if not section.start or not section.stop:
            raise PolicyError(path, "a clock needs something that starts it and something that stops it")
        for name in _ORDER:
            _check_conditions(getattr(section, name), f"{path}.{name}")
        if section.exception is not None and section.exception not in EXCEPTION_TYPES:
            raise PolicyError(f"{path}.exception", f"no exception type is named {section.exception!r}")
        target = None if section.target == "due_date" else parse_duration(section.target, f"{path}.target")
        kind: TargetKind = "wall" if target is None else target.kind
        levels = []
        if target is not None:
            for percent in sorted(section.warnings):
                if not 0 < percent < 100:
                    raise PolicyError(f"{path}.warnings", "percentages between 0 and 100")
                severity = "low" if percent < 90 else "medium"
                levels.append(Level(f"warning_{percent}", percent, None, severity, section.owner))
        levels.append(Level("breach", 100, None, section.severity, section.owner))
        for i, escalation in enumerate(section.escalations):
            offset = parse_duration(escalation.after, f"{path}.escalations[{i}].after")
            levels.append(Level(f"escalation_{i + 1}", 100, offset, escalation.severity, escalation.owner))
        self.clocks[section.name] = ClockRule(section.name, target, kind, tuple(levels), section)


class PolicySet:
    """The policies in force: each source goes by the first whose ``sources`` patterns name it most closely."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        if not policies:
            raise PolicyError("$", "no policy")
        names = [policy.name for policy in policies]
        if len(set(names)) != len(names):
            raise PolicyError("$.policy", "two policies of one name")
        self.policies = tuple(policies)
        self._found: dict[str, Policy] = {}

    def of(self, source: str) -> Policy:
        """The policy of a source. Raises PolicyError when none names it."""
        found = self._found.get(source)
        if found is None:
            best = -1
            for policy in self.policies:
                for pattern in policy.document.sources:
                    weight = len(pattern.replace("*", ""))
                    if fnmatchcase(source, pattern) and weight > best:
                        best, found = weight, policy
            if found is None:
                raise PolicyError("$.sources", "no policy names this source")
            self._found[source] = found
        return found


def parse_policy(raw: object) -> Policy:
    """Check the content of a policy file (plain dicts and lists) and compile it. Raises PolicyError."""
    try:
        document = msgspec.convert(raw, PolicyDocument)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        raise PolicyError(path.rstrip("`") or "$", message) from None
    return Policy(document)


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


def _words(value: Words | None) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else value


def _matches(condition: Condition, kind: FactKind) -> bool:
    state = kind.after if kind.field == "state" else None
    before = kind.before if kind.field == "state" else None
    payment_state = kind.after if kind.field == "payment_state" else None
    return all(
        wanted is None or (actual is not None and actual in _words(wanted))
        for wanted, actual in (
            (condition.activity, kind.activity),
            (condition.state, state),
            (condition.before, before),
            (condition.payment_state, payment_state),
            (condition.role, kind.role),
            (condition.decision, kind.decision),
        )
    )


def _check_conditions(conditions: Iterable[Condition], path: str) -> None:
    for i, condition in enumerate(conditions):
        given = (
            condition.activity,
            condition.state,
            condition.before,
            condition.payment_state,
            condition.role,
            condition.decision,
        )
        if all(part is None for part in given):
            raise PolicyError(f"{path}[{i}]", "an empty condition would match everything")
        for activity in _words(condition.activity):
            if activity not in ACTIVITIES:
                raise PolicyError(
                    f"{path}[{i}].activity",
                    f"no activity is named {activity!r}; known: {', '.join(sorted(ACTIVITIES))}",
                )


def _calendar(name: str, section: CalendarSection, path: str) -> Calendar:
    for day in section.week:
        if day not in _WEEKDAYS:
            raise PolicyError(f"{path}.week.{day}", f"a day of the week wanted: {', '.join(_WEEKDAYS)}")
    length = parse_duration(section.business_day, f"{path}.business_day")
    if length.kind != "wall":
        raise PolicyError(f"{path}.business_day", "its length in plain hours, for example 8 hours")
    days: dict[date, list[Interval]] = {day: [] for day in section.holidays}
    try:
        days.update({day: [parse_interval(w) for w in _words(hours)] for day, hours in section.other_days.items()})
        week = [[parse_interval(w) for w in _words(section.week.get(day))] for day in _WEEKDAYS]
        return Calendar(name, section.time_zone, week, days, length.fixed)
    except (ValueError, KeyError, OSError) as error:
        raise PolicyError(path, str(error).strip("'\"")) from None


_ANY_APPROVAL = ApprovalRule("approval", None, None, ApprovalSection(entity="*", step="approval", opens=[], ends={}))
Calendars = Mapping[str, Calendar]
