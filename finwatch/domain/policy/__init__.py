"""Policies: what the business decides, as versioned data.

A policy file (YAML, see ``finwatch/policies``) is parsed into ``PolicyDocument``, checked, and compiled into
``Policy``, which answers in one dictionary lookup what a fact means for approvals and clocks. Every output carries
``Policy.label``: name, version and the first digits of the content's hash, so that an edit without a new version shows.

Each part of a file is a section with a module of its own. A detector that needs settings adds one in four steps:

1. ``finwatch/domain/policy/<name>.py``: ``class <Name>Section(Section, frozen=True)`` with a type and a sensible
   default for each field, what each means in its docstring, and ``check(path)`` for what types cannot say (raise
   ``PolicyError(f"{path}.field", "what is wrong, and what to write")``); durations are texts, for ``parse_duration``.
2. One field in ``document.PolicyDocument``: ``<name>: <Name>Section = field(default_factory=<Name>Section)``. It is
   checked, hashed, compared and published with the rest; nothing else has to know it.
3. The name in the list below, so that others import it from here.
4. What differs from them in ``finwatch/policies/*.yaml``, and a wrong value in ``tests/unit/domain/test_policy.py``.

The detector reads it as ``policy.document.<name>``. A new exception type is a word in ``exceptions.EXCEPTION_TYPES``.

Owns what a policy may say and what it means. Does not own files (``finwatch.runtime.policies``).
"""

from finwatch.domain.policy.approvals import ANY_APPROVAL, ApprovalRule, ApprovalSection, Ending
from finwatch.domain.policy.calendars import CalendarSection, build_calendar
from finwatch.domain.policy.clocks import ORDER, ClockRule, ClockSection, Escalation, Level
from finwatch.domain.policy.compiled import Policy, Reaction, parse_content, parse_policy
from finwatch.domain.policy.conditions import ACTIVITIES, Activity, Condition, FactKind, Opening
from finwatch.domain.policy.document import PolicyDocument
from finwatch.domain.policy.duplicates import DuplicatesSection
from finwatch.domain.policy.duties import DutiesSection
from finwatch.domain.policy.exceptions import CONTENT_TYPES, EXCEPTION_TYPES, RELATED_TYPES, ExceptionSection
from finwatch.domain.policy.force import PolicySet, Version, succession
from finwatch.domain.policy.handling import Handling
from finwatch.domain.policy.matching import MatchingSection, Tolerance
from finwatch.domain.policy.section import Duration, PolicyError, Section, Severity, TargetKind, Words, parse_duration

__all__ = [
    "ACTIVITIES",
    "ANY_APPROVAL",
    "CONTENT_TYPES",
    "EXCEPTION_TYPES",
    "ORDER",
    "RELATED_TYPES",
    "Activity",
    "ApprovalRule",
    "ApprovalSection",
    "CalendarSection",
    "ClockRule",
    "ClockSection",
    "Condition",
    "DuplicatesSection",
    "Duration",
    "DutiesSection",
    "Ending",
    "Escalation",
    "ExceptionSection",
    "FactKind",
    "Handling",
    "Level",
    "MatchingSection",
    "Opening",
    "Policy",
    "PolicyDocument",
    "PolicyError",
    "PolicySet",
    "Reaction",
    "Section",
    "Severity",
    "TargetKind",
    "Tolerance",
    "Version",
    "Words",
    "build_calendar",
    "parse_content",
    "parse_duration",
    "parse_policy",
    "succession",
]
