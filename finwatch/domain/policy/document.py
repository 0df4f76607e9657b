"""A whole policy file: its sections, one field each."""

from __future__ import annotations

import msgspec
from msgspec import field

from finwatch.domain.policy.approvals import ApprovalSection
from finwatch.domain.policy.calendars import CalendarSection
from finwatch.domain.policy.clocks import ClockSection
from finwatch.domain.policy.conditions import Condition
from finwatch.domain.policy.duplicates import DuplicatesSection
from finwatch.domain.policy.exceptions import ExceptionSection
from finwatch.domain.policy.section import PolicyError, Section


class PolicyDocument(Section, frozen=True):
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


def parse_document(raw: object) -> PolicyDocument:
    """Types and words of a policy file's content (plain dicts and lists). Raises PolicyError."""
    try:
        return msgspec.convert(raw, PolicyDocument)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        raise PolicyError(path.rstrip("`") or "$", message) from None
