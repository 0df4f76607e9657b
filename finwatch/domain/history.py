"""A document's history, evaluated: the state machine that steps, clocks and flags share.

``Machine.apply`` takes one fact in order of time. When a fact arrives late, or an implied one gives way to the tracked
one, ``evaluate`` runs the kept facts again from the last folded machine, and ``settle`` carries over what was
published, so that the difference comes out as corrections and retractions. ``apply`` one by one and ``evaluate`` at
once give the same machine.

A document lives under one policy after another. ``Regime`` says which from when on; a machine knows the number of the
one it goes by, and ``cross`` takes it to the next: open clocks and steps are planned anew, closed ones stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct

from finwatch.domain import approvals, exceptions, sla
from finwatch.domain.approvals import Steps, StepState
from finwatch.domain.calendar import Calendar
from finwatch.domain.documents import STATE, Content, Fact, implied_activity
from finwatch.domain.exceptions import Flag
from finwatch.domain.policy import Policy
from finwatch.domain.sla import ClockState


class Machine(Struct, array_like=True):
    """What a document's facts so far amount to."""

    state: str | None = None
    payment_state: str | None = None
    steps: Steps = msgspec.field(default_factory=Steps)
    clocks: dict[str, ClockState] = {}
    flags: dict[str, Flag] = {}
    creator: str | None = None
    closed: bool = False
    asked: bool = False  # an approval was asked for, and is not decided
    regime: int = 0  # number of the regime it goes by
    reviews: dict[str, Steps] = {}  # by review: see ``approvals``

    def waits(self) -> bool:
        """True when a step or a clock of it is open."""
        if self.steps.waiting() is not None:
            return True
        if self.reviews and any(steps.waiting() is not None for steps in self.reviews.values()):
            return True
        return any(clock.live for clock in self.clocks.values())

    def due(self) -> int | None:
        """The next instant at which time alone changes something."""
        due = 0
        for clock in self.clocks.values():
            at = clock.next
            if at and (due == 0 or at < due):
                due = at
        if self.steps.steps:
            step = self.steps.waiting()
            if step is not None:
                due = _earlier(step, due)
        if self.reviews:
            for step in self.open_reviews():
                due = _earlier(step, due)
        return due or None

    def open_reviews(self) -> list[StepState]:
        """The open steps of reviews, in order of their names."""
        found = ((name, steps.waiting()) for name, steps in self.reviews.items())
        return [step for _, step in sorted((name, step) for name, step in found if step is not None)]


class Regime(NamedTuple):
    """A policy and calendar of a document, in force from ``start`` (epoch microseconds) until the next one starts."""

    start: int
    policy: Policy
    calendar: Calendar


class Touched(Struct):
    """What a fact or the time changed: it has to be published."""

    steps: list[StepState] = []
    clocks: list[str] = []
    flags: bool = False

    def anything(self) -> bool:
        """True unless nothing changed."""
        return bool(self.steps or self.clocks or self.flags)

    def add_step(self, step: StepState) -> None:
        """Name a step, once."""
        if not any(known is step for known in self.steps):
            self.steps.append(step)

    def join(self, other: Touched) -> None:
        """Name also what another one names."""
        for step in other.steps:
            self.add_step(step)
        self.clocks += [name for name in other.clocks if name not in self.clocks]
        self.flags = self.flags or other.flags


def apply(
    machine: Machine, fact: Fact, entity: str, policy: Policy, calendar: Calendar, content: Content
) -> Touched | None:
    """Take one fact, not older than those before it. Returns None when it changes nothing."""
    if fact.review:
        return _apply_review(machine, fact, policy, calendar)
    before = machine.state
    paid_before = machine.payment_state
    activity, old, after = fact.activity, fact.before, fact.after
    if activity == "created" and before is not None:
        return None  # something is known of it that happened before
    if fact.field and after is not None:
        if fact.field == STATE:
            current: str | None = before
            machine.state = after
        else:
            current = machine.payment_state
            machine.payment_state = after
        if not fact.tracked:
            if after == current:
                return None
            activity, old = implied_activity(entity, fact.field, current, after), current
    reaction = policy.react((entity, activity, fact.field, old, after, fact.role, fact.decision))
    if fact.actor is not None and (activity == "created" or (machine.creator is None and activity == "submitted")):
        machine.creator = fact.actor
    steps: list[StepState] = []
    if reaction.approval is not None and (reaction.opens or reaction.ending is not None):
        steps = approvals.apply(machine.steps, fact, reaction, calendar)
        if machine.reviews and reaction.ending is not None:
            steps += [
                step
                for name in sorted(machine.reviews)
                if (step := approvals.give_up(machine.reviews[name], fact, reaction.ending)) is not None
            ]
    clocks: list[str] = []
    flagged = False
    if machine.flags or reaction.ending is not None or fact.field == STATE or activity == "deleted":
        flagged = exceptions.raise_flags(machine.flags, fact, before, reaction, machine.creator, machine.asked)
    if activity == "submitted":
        machine.asked = True
    elif reaction.ending is not None:
        machine.asked = False
    for rule, operations in reaction.clocks:
        types = rule.section.document_types
        if types and content.document_type not in types:
            continue
        known = machine.clocks.get(rule.name)
        clock, changed = sla.apply(known, fact, rule, operations, calendar, content.due_date)
        if known is None and (changed or clock.done):
            machine.clocks[rule.name] = clock
        if changed:
            clocks.append(rule.name)
            flagged = _overdue(machine, rule.section.exception, clock) or flagged
    closed = machine.closed if reaction.closes is None else reaction.closes
    moved = closed != machine.closed or machine.payment_state != paid_before
    machine.closed = closed
    return Touched(steps, clocks, flagged) if steps or clocks or flagged or moved else None


def _apply_review(machine: Machine, fact: Fact, policy: Policy, calendar: Calendar) -> Touched | None:
    """Take a fact about a review. It moves neither the document's state nor its clocks."""
    kind = fact.review.partition(":")[0]
    reaction = policy.react((kind, fact.activity, "", None, None, fact.role, fact.decision))
    if reaction.approval is None or not (reaction.opens or reaction.ending is not None):
        return None
    known = machine.reviews.get(fact.review)
    of_review = Steps() if known is None else known
    steps = approvals.apply_review(of_review, fact, reaction, calendar)
    if known is None and steps:
        machine.reviews[fact.review] = of_review
    flagged = exceptions.raise_review_flags(machine.flags, fact, reaction, machine.creator)
    return Touched(steps, [], flagged) if steps or flagged else None


def advance(machine: Machine, policy: Policy, calendar: Calendar, content: Content, now: int) -> Touched:
    """Let time pass: fire every level and every stuck step whose instant has come by ``now``."""
    touched = Touched([], [], False)
    for name, clock in machine.clocks.items():
        if clock.next and clock.next <= now:
            rule = policy.clocks.get(name)
            if rule is None:  # the policy has no such clock any more: it stays as it is
                clock.next = 0
            elif sla.fire(clock, rule, calendar, content.due_date, now):
                touched.clocks.append(name)
                touched.flags = _overdue(machine, rule.section.exception, clock) or touched.flags
    step = machine.steps.waiting()
    if step is not None and (approvals.fire(step, now) or 0 < step.turn <= now):
        touched.steps.append(step)
    if machine.reviews:
        touched.steps += [step for step in machine.open_reviews() if approvals.fire(step, now) or 0 < step.turn <= now]
    return touched


def cross(machine: Machine, old: Regime, new: Regime, entity: str, content: Content) -> Touched:
    """Go from one regime to the next, at the instant from which that is in force. Says what changed.

    1. What was due under the old regime by then fires under it. 2. Open clocks and the open step are planned anew.
    3. What the new regime holds to be overdue by then fires.
    """
    at = new.start
    touched = advance(machine, old.policy, old.calendar, content, at)
    machine.regime += 1
    for name, clock in machine.clocks.items():
        rule, was = new.policy.clocks.get(name), old.policy.clocks.get(name)
        if rule is not None and (
            rule.section.entity != entity
            or (rule.section.document_types and content.document_type not in rule.section.document_types)
        ):
            rule = None
        if clock.live and sla.replan(clock, was, rule, (old.calendar, new.calendar), content.due_date, at):
            flag = was.section.exception if was is not None else None
            if flag is not None and not clock.breached:
                touched.flags = exceptions.lower_overdue(machine.flags, flag, at, clock.start_id) or touched.flags
            if name not in touched.clocks:
                touched.clocks.append(name)
    waiting = machine.steps.waiting()
    for step in (*(() if waiting is None else (waiting,)), *machine.open_reviews()):
        old_rule, rule_now = step.rule(entity, old.policy), step.rule(entity, new.policy)
        moved = approvals.replan(step, rule_now, new.calendar, at)
        if moved or (old_rule and old_rule.authority) != (rule_now and rule_now.authority):
            touched.add_step(step)
    after = advance(machine, new.policy, new.calendar, content, at)
    touched.join(after)
    return touched


def evaluate(
    base: Machine | None,
    facts: list[Fact],
    entity: str,
    regimes: Sequence[Regime],
    content: Content,
    now: int,
    *,
    whole: bool = True,
) -> Machine:
    """The machine after all facts, each under the regime of its time, and after time has passed to ``now``.

    ``whole``: then cross to the last regime, whether a fact is from its time or not; without it the machine stays in
    the regime of the last fact.
    """
    machine = Machine() if base is None else clone(base)
    last = len(regimes) - 1
    for fact in facts:
        while machine.regime < last and regimes[machine.regime + 1].start <= fact.at:
            cross(machine, regimes[machine.regime], regimes[machine.regime + 1], entity, content)
        regime = regimes[machine.regime]
        apply(machine, fact, entity, regime.policy, regime.calendar, content)
    while whole and machine.regime < last:
        cross(machine, regimes[machine.regime], regimes[machine.regime + 1], entity, content)
    if now:
        regime = regimes[machine.regime]
        advance(machine, regime.policy, regime.calendar, content, now)
    return machine


def settle(old: Machine, new: Machine, at: int) -> Touched:
    """Carry what was published of ``old`` over to ``new``; returns what has to be published again.

    ``at``: event time of the correction.
    """
    touched = Touched([], [], old.flags != new.flags)
    _settle_steps(old.steps, new.steps, at, touched)
    for name in sorted(old.reviews.keys() | new.reviews.keys()):
        _settle_steps(old.reviews.get(name) or Steps(), new.reviews.setdefault(name, Steps()), at, touched)
    for name, clock in new.clocks.items():
        before = old.clocks.get(name)
        if before is None:
            touched.clocks.append(name)
            continue
        clock.version, clock.counted = before.version, before.counted
        if _settle_fired(before.fired, clock.fired, at) or clock != before:
            touched.clocks.append(name)
    for name, before in old.clocks.items():
        if name in new.clocks or not before.status:
            continue
        if before.status != sla.CANCELLED or before.done:
            before.status, before.stopped, before.next, before.done = sla.CANCELLED, at, 0, False
            before.updated = max(before.updated, at)
            _retract(before.fired, at)
            touched.clocks.append(name)
        new.clocks[name] = before
    return touched


def _settle_steps(old: Steps, new: Steps, at: int, touched: Touched) -> None:
    """``settle`` for the steps of a document, or of one of its reviews."""
    known = {step.ordinal: step for step in old.steps}
    for step in new.steps:
        was = known.pop(step.ordinal, None)
        if was is None:
            touched.steps.append(step)
            continue
        step.version, step.counted = was.version, was.counted
        step.asked_first = step.asked_first or was.asked_first
        if not step.by_source and was.by_source:
            step.asked, step.by_source = was.asked, True
        if step.open and was.open:  # who is responsible by now follows from the time, not from the facts
            step.person, step.role, step.route, step.turn, step.band = (
                was.person,
                was.role,
                was.route,
                was.turn,
                was.band,
            )
        else:
            step.person, step.route, step.band = step.person or was.person, was.route, was.band
        if _settle_fired(was.fired, step.fired, at) or step != was:
            touched.steps.append(step)
    first = new.steps[0].ordinal if new.steps else new.next_ordinal
    gone = []
    for ordinal, was in known.items():
        if ordinal < first and not was.retracted:
            continue  # folded: final
        if not was.retracted:
            was.retracted = True
            _retract(was.fired, at)
            touched.steps.append(was)
        gone.append(was)
    # Retracted steps are kept behind none of the live ones, so that their ordinals keep counting versions.
    new.steps[:0] = gone


def clone(machine: Machine) -> Machine:
    """A copy that shares nothing that changes."""
    return _DECODER.decode(msgspec.msgpack.encode(machine))


def _earlier(step: StepState, due: int) -> int:
    """The earlier of an instant (0 for none) and what a step waits for."""
    if step.due and (due == 0 or step.due < due) and not step.stuck:
        due = step.due
    if step.turn and (due == 0 or step.turn < due):
        due = step.turn
    return due


def _overdue(machine: Machine, name: str | None, clock: ClockState) -> bool:
    """Keep the flag that a clock's breach raises."""
    if name is None:
        return False
    if clock.breached:
        return exceptions.raise_overdue(machine.flags, name, clock.due, clock.start_id, clock.stopped, clock.stop_id)
    return exceptions.lower_overdue(
        machine.flags, name, clock.stopped or clock.started, clock.stop_id or clock.start_id
    )


def _settle_fired(old: list[approvals.Fired], new: list[approvals.Fired], at: int) -> bool:
    """Carry over what was said; take back what did not fire after all. True when there was something to take back.

    What is taken back is shared between ``old`` and ``new``: comparing the two afterwards would not show it.
    """
    known = {(f.level, f.due): f for f in old}
    for fired in new:
        was = known.pop((fired.level, fired.due), None)
        if was is not None:
            fired.said, fired.version, fired.counted = was.said, was.version, was.counted
    kept = list(known.values())
    changed = _retract(kept, at)
    new[:0] = kept
    return changed


def _retract(fired: list[approvals.Fired], at: int) -> bool:
    standing = [one for one in fired if one.status != "retracted"]
    for one in standing:
        one.status, one.at = "retracted", max(one.opened, at)
    return bool(standing)


_DECODER = msgspec.msgpack.Decoder(Machine)
