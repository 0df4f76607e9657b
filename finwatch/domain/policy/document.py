"""A whole policy file: its sections, one field each."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
from msgspec import field

from finwatch.domain.policy.approvals import ApprovalSection
from finwatch.domain.policy.authority import AbsenceSection, DelegationSection
from finwatch.domain.policy.calendars import CalendarSection, with_country_days
from finwatch.domain.policy.clocks import ClockSection
from finwatch.domain.policy.conditions import Condition
from finwatch.domain.policy.duplicates import DuplicatesSection
from finwatch.domain.policy.duties import DutiesSection
from finwatch.domain.policy.exceptions import ExceptionSection
from finwatch.domain.policy.matching import MatchingSection
from finwatch.domain.policy.section import PolicyError, Section


class PolicyDocument(Section, frozen=True):
    """A whole policy file.

    ``sources``: patterns (``*``) of the sources it is for. ``effective_from``: the day from whose local midnight (in
    ``calendar``) it is in force, in the time of the events it judges; a predecessor of the same name holds until then.
    Without it: from the beginning, or, when it is published, from that moment. ``companies``: see ``inheritance``.
    ``closed``: by entity, what means that a document waits for nothing any more.
    """

    policy: str
    version: str
    calendars: dict[str, CalendarSection]
    calendar: str
    description: str = ""
    sources: tuple[str, ...] = ("*",)
    effective_from: date | None = None
    company_calendars: dict[str, str] = {}
    companies: dict[str, dict[str, Any]] = {}
    closed: dict[str, list[Condition]] = {}
    approvals: list[ApprovalSection] = []
    delegations: list[DelegationSection] = []
    absences: list[AbsenceSection] = []
    clocks: list[ClockSection] = []
    exceptions: dict[str, ExceptionSection] = {}
    duplicates: DuplicatesSection = field(default_factory=DuplicatesSection)
    matching: MatchingSection = field(default_factory=MatchingSection)
    duties: DutiesSection = field(default_factory=DutiesSection)


def parse_document(raw: object) -> PolicyDocument:
    """Types and words of a policy file's content (plain dicts and lists). Raises PolicyError."""
    try:
        document = msgspec.convert(raw, PolicyDocument)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        raise PolicyError(path.rstrip("`") or "$", message) from None
    calendars = {
        name: with_country_days(section, f"$.calendars.{name}") for name, section in document.calendars.items()
    }
    return msgspec.structs.replace(document, calendars=calendars)
