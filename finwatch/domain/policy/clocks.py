"""Service levels: what starts, pauses, resumes, resets and stops a clock, its target, and the levels on the way."""

from __future__ import annotations

from typing import Literal, NamedTuple

from finwatch.domain.policy.conditions import Condition, check_conditions
from finwatch.domain.policy.exceptions import EXCEPTION_TYPES
from finwatch.domain.policy.section import (
    Duration,
    PolicyError,
    Section,
    Severity,
    TargetKind,
    in_words,
    parse_duration,
)

ORDER = ("stop", "cancel", "pause", "resume", "reset", "start")
"""Operations on a clock in the order in which one fact applies them."""


class Escalation(Section, frozen=True):
    """A level after the breach: ``after`` the due time, in the clock's kind of time."""

    after: str
    owner: str
    severity: Severity = "critical"


class ClockSection(Section, frozen=True):
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

    @property
    def subject(self) -> str:
        """What is to be done in time, in words: ``Vendor payment``."""
        return in_words(self.name)

    @property
    def breach_reason(self) -> str:
        """Why a clock of it is breached, in words."""
        if self.target == "due_date":
            return "The document's due date has passed, and this is still to be done."
        return f"It was to be done within {self.target}, and is still to be done."

    def check(self, path: str) -> None:
        """Raise PolicyError for a clock that never starts or stops, or that names what is not there."""
        if not self.start or not self.stop:
            raise PolicyError(path, "a clock needs something that starts it and something that stops it")
        if self.entity == "tier_review":
            raise PolicyError(f"{path}.entity", "a tier's review is a step of its document: give it `stuck_after`")
        for name in ORDER:
            check_conditions(getattr(self, name), f"{path}.{name}")
        if self.exception is not None and self.exception not in EXCEPTION_TYPES:
            raise PolicyError(f"{path}.exception", f"no exception type is named {self.exception!r}")


class Level(NamedTuple):
    """A level of a deadline: a fraction of the target up to the breach, an offset from the due time after it."""

    name: str
    percent: int
    offset: Duration | None
    severity: str
    owner: str


class ClockRule(NamedTuple):
    """A compiled clock. ``target`` is None when the document's due date is the target."""

    name: str
    target: Duration | None
    kind: TargetKind
    levels: tuple[Level, ...]
    section: ClockSection


def compile_clock(section: ClockSection, path: str) -> ClockRule:
    """The rule of a section. Raises PolicyError."""
    section.check(path)
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
    return ClockRule(section.name, target, kind, tuple(levels), section)
