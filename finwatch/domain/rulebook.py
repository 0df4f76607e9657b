"""Every rule of every detector, for the rule book (docs/rules.md) and for whoever asks what may be found.

Approvals and service levels have a rule for each section of the policy, made of that section's own words; the other
detectors declare their rules beside their code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from finwatch.domain import exceptions
from finwatch.domain.duplicates import rules as duplicates
from finwatch.domain.duties import rules as duties
from finwatch.domain.findings import APPROVALS, SLA
from finwatch.domain.matching import rules as matching
from finwatch.domain.policy import RELATED_TYPES, ApprovalSection, ClockSection, Policy
from finwatch.domain.policy.conditions import Condition
from finwatch.domain.policy.section import in_words, words
from finwatch.domain.rules import Rule


class Entry(NamedTuple):
    """A rule with how the policy handles it."""

    rule: Rule
    severity: str
    owner: str
    next_action: str
    service_level: str | None = None  # of rules that are exceptions


def entries(policy: Policy) -> list[Entry]:
    """The rules in force under a policy, by detector, in the order in which the policy has them."""
    document = policy.document
    found = [
        Entry(approval_rule(section), section.severity, section.owner, section.next_action)
        for section in document.approvals
        if section.stuck_after is not None
    ]
    found += [
        Entry(clock_rule(section), section.severity, section.owner, section.next_action) for section in document.clocks
    ]
    found += [
        Entry(exceptions.RULES[name], section.severity, section.owner, section.next_action, section.service_level)
        for name, section in document.exceptions.items()
    ]
    bills = document.duplicates
    found += [Entry(rule, bills.severity, bills.owner, bills.next_action) for rule in duplicates.RULES.values()]
    for rules, handling in (
        (matching.RULES, document.matching.handled()),
        (duties.RULES, document.duties.handled()),
    ):
        for name, rule in rules.items():
            how = handling[name]
            if how.report:
                level = how.service_level if how.exception and name in RELATED_TYPES else None
                found.append(Entry(rule, how.severity, how.owner, how.next_action, level))
    return found


def measured(policy: Policy) -> list[Rule]:
    """Approvals without a time limit: their steps are told and aged like any other, and no finding is made of them."""
    return [
        Rule(
            section.step,
            APPROVALS,
            in_words(section.step),
            f"{in_words(section.step)} of {_document(section.entity)} is measured: who was asked, who decided, how "
            f"long it took, and how old what is open now is. {_course(section)} It has no time limit under this "
            f"policy; with `stuck_after` in its section, one that waits longer is a finding (`stuck_{section.step}`).",
            (section.entity, "transition"),
            ("approvals", "calendars"),
            "",
            "Entered on Monday at nine, decided on Tuesday at nine: a step of "
            f"{in_words(section.role or section.step).lower()}, approved by whoever decided, of one business day.",
        )
        for section in policy.document.approvals
        if section.stuck_after is None
    ]


def _course(section: ApprovalSection) -> str:
    ends = ", ".join(f"{name} when {_any(ends)}" for name, ends in section.ends.items())
    return f"It opens when {_any(section.opens)}; it ends {ends}."


def approval_rule(section: ApprovalSection) -> Rule:
    """The rule on steps of one approval that wait too long."""
    return Rule(
        f"stuck_{section.step}",
        APPROVALS,
        f"{in_words(section.step)} is stuck",
        f"{in_words(section.step)} of {_document(section.entity)} has waited for more than {section.stuck_after}. "
        f"{_course(section)}",
        (section.entity, "transition"),
        ("approvals", "calendars"),
        section.stuck_reason,
        f"Submitted, and nobody decides within {section.stuck_after}: stuck at that moment, resolved by the decision.",
    )


def clock_rule(section: ClockSection) -> Rule:
    """The rule on one service level."""
    target = "by the document's due date" if section.target == "due_date" else f"within {section.target}"
    return Rule(
        section.name,
        SLA,
        f"{section.subject} is late",
        f"{section.subject} of {_document(section.entity)} is to be done {target}. The clock starts when "
        f"{_any(section.start)} and stops when {_any(section.stop)}"
        + (f"; it is cancelled when {_any(section.cancel)}" if section.cancel else "")
        + ".",
        (section.entity, "transition", *(("due_date",) if section.target == "due_date" else ())),
        ("clocks", "calendars"),
        section.breach_reason,
        f"It starts and nothing happens {target}: a breach at that moment, resolved when it stops.",
    )


def _any(conditions: Iterable[Condition]) -> str:
    return ", or ".join(_words(condition) for condition in conditions)


def _document(entity: str) -> str:
    return f"{'an' if entity[0] in 'aeiou' else 'a'} {entity.replace('_', ' ')}"


def _words(condition: Condition) -> str:
    parts = [
        f"{label} {' or '.join(f'`{word}`' for word in words(value))}"
        for label, value in (
            ("it is", condition.activity),
            ("it leaves the state", condition.before),
            ("its state becomes", condition.state),
            ("its payment state becomes", condition.payment_state),
            ("the role is", condition.role),
            ("the decision is", condition.decision),
        )
        if value is not None
    ]
    return " and ".join(parts)
