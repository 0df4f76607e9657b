"""A whole policy file: its sections, one field each."""

from __future__ import annotations

import re
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
from finwatch.domain.policy.wanted import what_to_write


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
        path, message = _told(raw, str(error))
        advice = what_to_write(PolicyDocument, path, message)
        raise PolicyError(path, f"{message}; {advice}" if advice else message) from None
    calendars = {
        name: with_country_days(section, f"$.calendars.{name}") for name, section in document.calendars.items()
    }
    return msgspec.structs.replace(document, calendars=calendars)


def _told(raw: object, error: str) -> tuple[str, str]:
    """Where in the content an error of ``msgspec.convert`` is, and what it says.

    msgspec writes ``[...]`` for a name in a mapping: the name is found by trying the mapping with one name at a time.
    """
    message, _, path = error.partition(" - at `")
    path = path.rstrip("`") or "$"
    _, of_name, mapping = path.partition("key` in `")
    if of_name:
        path = mapping + _ANY  # the name itself is wrong
    while _ANY in path:
        before, _, after = path.partition(_ANY)
        node = _at(raw, before)
        for name in node if isinstance(node, dict) else ():
            alone = _with(raw, before, {name: node[name]})
            try:
                msgspec.convert(alone, PolicyDocument)
            except msgspec.ValidationError as again:
                if str(again) == error:
                    raw, path = alone, f"{before}.{name}{after}"
                    break
        else:
            return before, message
    unknown = _UNKNOWN.search(message)
    return (f"{path}.{unknown[1]}" if unknown else path), message


_ANY = "[...]"
_UNKNOWN = re.compile(r"unknown field `([^`]+)`")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


def _at(raw: Any, path: str) -> Any:
    for name, index in _STEP.findall(path):
        raw = raw[int(index)] if index else next((v for k, v in raw.items() if str(k) == name), None)
    return raw


def _with(raw: Any, path: str, part: Any) -> Any:
    """A copy of the content with another part at ``path``."""
    found = _STEP.match(path, 1 if path.startswith("$") else 0)
    if found is None:
        return part
    rest, (name, index) = path[found.end() :], found.groups()
    if index is not None:
        return [_with(one, rest, part) if i == int(index) else one for i, one in enumerate(raw)]
    return {k: _with(v, rest, part) if str(k) == name else v for k, v in raw.items()}
