"""Makes output records from the detectors' states: identities, versions, reasons in words.

No wall-clock value enters a record, so replaying the log makes the same ones. Texts hold no amounts and no names.
"""

from __future__ import annotations

from typing import NamedTuple

from finwatch.domain import sla
from finwatch.domain.approvals import Fired, StepState
from finwatch.domain.calendar import SECOND, Calendar
from finwatch.domain.documents import Content
from finwatch.domain.exceptions import RULES, ExceptionState
from finwatch.domain.identity import (
    clock_id,
    deadline_finding_id,
    deterministic_id,
    document_finding_id,
    exception_id,
    parse_document_key,
    step_id,
)
from finwatch.domain.kpis import BANDS
from finwatch.domain.policy import ApprovalSection, ClockRule, Duration, ExceptionSection, Policy
from finwatch.domain.policy.section import in_words
from finwatch.domain.records import Clock, ExceptionRecord, Finding, Step
from finwatch.domain.sla import ClockState
from finwatch.domain.verdicts import LIVE

AGES = tuple(lower for _, lower in BANDS if lower)
"""Business days that part the bands of ages."""
APPROVALS, SLA, EXCEPTIONS, DUPLICATES = "approvals", "sla", "exceptions", "duplicates"


class Subject(NamedTuple):
    """The document that a record is about."""

    document_key: str
    source: str
    entity: str
    record_id: str
    company_id: str | None


def step_record(subject: Subject, step: StepState, content: Content, calendar: Calendar, policy: str) -> Step:
    """The step as it stands."""
    decided = step.decided
    wall = business = None
    if decided and step.waited:
        wall = (decided - step.started) / SECOND
        business = calendar.working(step.started, decided) / SECOND
    updated = decided or step.started
    for fired in step.fired:
        updated = max(updated, fired.at)
    return Step(
        step_id(subject.document_key, step.name),
        step.version,
        *subject,
        step.step,
        step.role,
        step.person,
        step.asked_first,
        step.started,
        decided or None,
        step.decided_by,
        step.decision,
        wall,
        business,
        calendar.name,
        content.amount,
        content.currency,
        policy,
        [step.start_id] if not decided or step.end_id == step.start_id else [step.start_id, step.end_id],
        step.retracted,
        updated,
        step.route,
        step.band,
        _ages(calendar, step.started) if step.open else [],
        step.review or None,
    )


def clock_record(subject: Subject, clock: ClockState, rule: ClockRule, calendar: Calendar, policy: str) -> Clock:
    """The clock as it stands. A running clock's due time is left out while it is paused or unknown."""
    stopped = clock.stopped
    wall = business = None
    if stopped:
        wall = (stopped - clock.started) / SECOND
        business = calendar.working(clock.started, stopped) / SECOND
    if rule.target is not None:
        target = rule.target.of(calendar) / SECOND
    else:
        target = max(0, clock.due - clock.started) / SECOND if clock.due else 0.0
    return Clock(
        clock_id(subject.document_key, rule.name),
        clock.version,
        *subject,
        rule.name,
        policy,
        clock.started,
        clock.due or None,
        stopped or None,
        clock.due if clock.breached else None,
        clock.status,
        target,
        rule.kind,
        calendar.name,
        clock.paused / SECOND,
        wall,
        business,
        clock.level,
        [clock.start_id, clock.stop_id] if stopped else [clock.start_id],
        max(clock.updated, stopped, clock.started),
        clock.replanned or None,
    )


def clock_finding(
    subject: Subject, clock: ClockState, fired: Fired, rule: ClockRule, content: Content, policy: Policy
) -> Finding:
    """A level of a clock that was reached. It is of whoever owns the level, or stood in when it was reached."""
    level = sla.level_of(rule, fired.level)
    if fired.level == "breach":
        title = f"{rule.section.subject} is late"
        reason = rule.section.breach_reason
    elif fired.level.startswith("escalation"):
        title = f"{rule.section.subject} is late and escalated"
        reason = f"{rule.section.breach_reason} Nothing has happened since."
    else:
        title = f"{rule.section.subject} will soon be late"
        reason = f"{level.percent} % of the time allowed has passed."
    return Finding(
        deadline_finding_id(SLA, subject.document_key, rule.name, fired.level, fired.due),
        fired.version,
        fired.status,
        SLA,
        rule.name,
        level.severity,
        [subject.document_key],
        subject.source,
        subject.entity,
        subject.company_id,
        title,
        [reason],
        [clock.start_id, clock.stop_id] if clock.stop_id and fired.status == "resolved" else [clock.start_id],
        content.amount,
        content.currency,
        None,
        policy.owner(sla.owners_from(rule, level), fired.opened),
        rule.section.next_action,
        policy.label,
        fired.level,
        fired.due,
        fired.opened,
        max(fired.at, fired.opened),
        content.company_amount,
    )


def step_finding(
    subject: Subject, step: StepState, fired: Fired, section: ApprovalSection | None, content: Content, policy: Policy
) -> Finding:
    """A step that has waited too long. It is of the approval's owner, or whoever stood in when it was found stuck."""
    return Finding(
        deadline_finding_id(APPROVALS, subject.document_key, step.name, fired.level, fired.due),
        fired.version,
        fired.status,
        APPROVALS,
        f"stuck_{step.step}",
        section.severity if section is not None else "medium",
        [subject.document_key],
        subject.source,
        subject.entity,
        subject.company_id,
        f"{in_words(step.step)} is stuck",
        [section.stuck_reason if section is not None else "Nobody has decided for longer than the policy allows."],
        [step.start_id, step.end_id] if step.end_id else [step.start_id],
        content.amount,
        content.currency,
        None,
        policy.owner([section.owner if section is not None else "process_owner"], fired.opened),
        section.next_action if section is not None else "Ask the approver to decide, or delegate.",
        policy.label,
        fired.level,
        fired.due,
        fired.opened,
        max(fired.at, fired.opened),
        content.company_amount,
    )


def exception_record(
    subject: Subject,
    kind: str,
    state: ExceptionState,
    section: ExceptionSection,
    content: Content,
    policy: str,
    level: Duration,
    calendar: Calendar,
) -> ExceptionRecord:
    """The exception as it stands. ``level``: the time in which it is to be resolved."""
    resolved = state.resolved if state.status != "open" else 0
    return ExceptionRecord(
        exception_id(subject.document_key, kind),
        state.version,
        *subject,
        kind,
        section.severity,
        state.status,
        state.opened,
        resolved or None,
        section.owner,
        section.next_action,
        content.amount,
        content.currency,
        policy,
        [RULES[kind].finding],
        [state.opened_id, state.resolved_id] if state.resolved_id else [state.opened_id],
        max(state.opened, resolved),
        level.end(calendar, state.opened),
        _ages(calendar, state.opened) if state.status == "open" else [],
    )


def related_exception(finding: Finding, level: Duration, calendar: Calendar) -> ExceptionRecord:
    """The exception of a finding about documents that were put side by side; its amount is what is at risk.

    One of the first document and what it was found with: a bill of two orders may deviate from each.
    """
    key = finding.document_keys[0]
    resolved = None if finding.status in LIVE else finding.updated_at
    return ExceptionRecord(
        deterministic_id("exception", finding.finding_id),
        finding.version,
        key,
        finding.source,
        finding.entity,
        parse_document_key(key).record_id,
        finding.company_id,
        finding.rule,
        finding.severity,
        "open" if resolved is None else finding.status,
        finding.opened_at,
        resolved,
        finding.owner,
        finding.next_action,
        finding.amount_at_risk,
        finding.currency,
        finding.policy_version,
        finding.reasons,
        finding.evidence,
        finding.updated_at,
        level.end(calendar, finding.opened_at),
        _ages(calendar, finding.opened_at) if resolved is None else [],
    )


def _ages(calendar: Calendar, start: int) -> list[int]:
    return calendar.add_each(start, [days * calendar.day_length for days in AGES])


def exception_finding(
    subject: Subject, kind: str, state: ExceptionState, section: ExceptionSection, content: Content, policy: str
) -> Finding:
    """The finding of an exception that the policy wants to see as one."""
    return Finding(
        document_finding_id(EXCEPTIONS, subject.document_key, kind),
        state.finding_version,
        state.status,
        EXCEPTIONS,
        kind,
        section.severity,
        [subject.document_key],
        subject.source,
        subject.entity,
        subject.company_id,
        RULES[kind].title,
        [RULES[kind].finding],
        [state.opened_id, state.resolved_id] if state.resolved_id else [state.opened_id],
        content.amount,
        content.currency,
        None,
        section.owner,
        section.next_action,
        policy,
        None,
        None,
        state.opened,
        max(state.opened, state.resolved),
        content.company_amount,
    )
