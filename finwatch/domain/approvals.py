"""Approval steps: one wait for one decision, who was asked, who decided, and how long it took.

A step opens when a document asks for a decision (by policy) and closes with the decision. Every decision makes exactly
one decided step: where nobody was seen waiting, the step begins and ends with it and has no length. A second request
while a step is open is a re-route: it keeps the step, its age and who was asked first. Who is responsible now follows
from who was asked, the policy's matrix, delegations, absences and fallback approver, and changes as time passes.

Beside its own approval a document may have *reviews*, any number of them open at once: a tier's review, an approver of
a request. Each is a line of steps of its own, under the approval that the policy has for its kind. They decide nothing
of the document; but when the document itself is decided or given up, nobody waits for them any more.
"""

from __future__ import annotations

from msgspec import Struct

from finwatch.domain.calendar import Calendar
from finwatch.domain.documents import Content, Fact
from finwatch.domain.policy import ApprovalRule, Policy, Reaction
from finwatch.domain.policy.authority import SOURCE

STUCK = "stuck"
_DECIDED = frozenset({"approved", "rejected"})
_GIVEN_UP = frozenset({"withdrawn", "cancelled"})


class Fired(Struct, array_like=True, gc=False):
    """A level of a deadline that was reached: the life of one finding.

    ``said``: the status last published, empty when none was; a finding is published whenever ``status`` differs.
    """

    level: str
    due: int
    opened: int
    status: str = "open"  # open, resolved, retracted
    said: str = ""
    version: int = 0
    counted: str = ""
    at: int = 0  # event time of the last change


class StepState(Struct, array_like=True):
    """One step. Instants are 0 when they are not yet."""

    ordinal: int
    step: str
    role: str | None
    person: str | None
    asked_first: str | None
    started: int
    start_id: str
    waited: bool
    decided: int = 0
    end_id: str = ""
    decided_by: str | None = None
    decision: str | None = None
    due: int = 0  # when it counts as stuck
    fired: list[Fired] = []
    retracted: bool = False
    version: int = 0
    counted: str = ""
    replanned: int = 0  # when another policy moved its due time
    asked: str | None = None  # whom the source names; the matrix where it names nobody
    by_source: bool = False
    asks: str | None = None  # the role that was asked to begin with
    route: str | None = None  # why ``person`` is responsible
    turn: int = 0  # when somebody else becomes responsible by itself; 0 for never
    band: str | None = None  # of the amount
    review: str = ""  # empty: the document's own approval

    @property
    def name(self) -> str:
        """Its place among the steps of the document: a number, behind the name of its review."""
        return f"{self.review}#{self.ordinal}" if self.review else str(self.ordinal)

    def rule(self, entity: str, policy: Policy) -> ApprovalRule | None:
        """The policy's approval that it goes by, on a document of an entity."""
        return policy.approvals.get(self.review.partition(":")[0] if self.review else entity)

    @property
    def open(self) -> bool:
        """True while it waits."""
        return self.decided == 0 and not self.retracted

    @property
    def stuck(self) -> bool:
        """True when its due time has fired."""
        due = self.due
        return any(fired.due == due and fired.status != "retracted" for fired in self.fired)


class Steps(Struct, array_like=True):
    """The steps of a document (or of one of its reviews), oldest first; at most one is open, and it is the last."""

    steps: list[StepState] = []
    next_ordinal: int = 0

    def waiting(self) -> StepState | None:
        """The open step."""
        steps = self.steps
        return steps[-1] if steps and steps[-1].decided == 0 and not steps[-1].retracted else None


def apply(steps: Steps, fact: Fact, reaction: Reaction, calendar: Calendar) -> list[StepState]:
    """Let a fact close and open steps. Returns the steps it touched."""
    rule = reaction.approval
    if rule is None:
        return []
    touched = []
    waiting = steps.waiting()
    if reaction.ending is not None:
        if waiting is not None:
            fire(waiting, fact.at)
            _end(waiting, fact, reaction.ending)
            if fact.role is not None:
                waiting.role = fact.role
            if fact.step is not None:
                waiting.step = fact.step
            touched.append(waiting)
        elif reaction.ending in _DECIDED and (fact.tracked or fact.decision is not None):
            touched.append(_new(steps, fact, rule, fact.role or rule.role, waited=False))
            alone = touched[0]
            alone.decided = fact.at
            alone.end_id = fact.event_id
            alone.decided_by = fact.actor
            alone.decision = reaction.ending
        waiting = None
    if reaction.opens:
        if waiting is not None:
            if ask(waiting, fact.responsible):
                touched.append(waiting)
        else:
            opened = _new(steps, fact, rule, reaction.asks, waited=True)
            if rule.stuck_after is not None:
                length = rule.stuck_after.of(calendar)
                opened.due = calendar.add(fact.at, length) if rule.stuck_after.kind == "business" else fact.at + length
            touched.append(opened)
    return touched


def apply_review(steps: Steps, fact: Fact, reaction: Reaction, calendar: Calendar) -> list[StepState]:
    """Let a fact about a review close and open its steps. Returns the steps it touched."""
    last = steps.steps[-1] if steps.steps else None
    if last is not None and last.decision in _GIVEN_UP and not last.retracted and reaction.ending in _DECIDED:
        # Its document was decided in the same breath: the review's own decision says more.
        last.decided, last.end_id, last.decided_by, last.decision = 0, "", None, None
    touched = apply(steps, fact, reaction, calendar)
    for step in touched:
        step.review = fact.review
        if step.open and fact.role is not None:
            step.role = step.asks = fact.role
    return touched


def give_up(steps: Steps, fact: Fact, ending: str) -> StepState | None:
    """End the open step of a review, for which nobody waits any more. Returns it, if there was one."""
    waiting = steps.waiting()
    if waiting is None:
        return None
    fire(waiting, fact.at)
    _end(waiting, fact, ending if ending in _GIVEN_UP else "cancelled")
    waiting.decided_by = None
    return waiting


def fire(step: StepState, now: int) -> bool:
    """Mark an open step as stuck once its due time has come. Returns True when it was not before."""
    if step.due == 0 or step.due > now or not step.open or step.stuck:
        return False
    at = max(step.due, step.replanned)
    known = next((fired for fired in step.fired if fired.due == step.due), None)
    if known is None:
        step.fired = [*step.fired, Fired(STUCK, step.due, at, at=at)]
    else:  # it was taken back once: the same finding opens again
        known.status, known.opened, known.at = "open", at, at
    return True


def ask(step: StepState, person: str | None) -> bool:
    """The source asks a person (another one than before: a re-route). Returns True when that is new."""
    if person is None or (step.by_source and person == step.asked):
        return False
    step.asked, step.by_source = person, True
    step.person, step.route = person, SOURCE
    return True


def assign(step: StepState, rule: ApprovalRule | None, content: Content, calendar: Calendar, at: int) -> None:
    """Say who is responsible for a step that waits (or waited, at the time of its decision), by the policy.

    ``at``: the source's time. Who was asked first is the first that anybody named, before anybody stood in.
    """
    if not step.waited or rule is None:
        return
    authority = rule.authority
    if not step.by_source and not step.review:  # whom the document names is not whom a review asks
        ask(step, content.responsible)
    line = authority.line(content.amount, content.document_type) if authority.matrix else None
    if not step.by_source:
        step.asked = None if line is None else line.person
    role = step.asks if line is None else line.role
    found = authority.responsible(step.asked, step.by_source, role, step.started, step.decided or at, calendar)
    if step.open:
        step.role = found.role
    step.person, step.route = found.person, found.route
    step.turn = found.turn if step.open else 0
    step.asked_first = step.asked_first or step.asked or step.person
    step.band = authority.band(content.amount)


def replan(step: StepState, rule: ApprovalRule | None, calendar: Calendar, at: int) -> bool:
    """Go by another rule from ``at`` on: when an open step counts as stuck. Returns True when that moves.

    The step keeps its age. What was due under the old rule by ``at`` has fired; if the new one gives it more time, that
    finding is resolved.
    """
    stuck = None if rule is None or not step.waited else rule.stuck_after
    due = 0 if stuck is None else stuck.end(calendar, step.started)
    if not step.open or due == step.due:
        return False
    step.due, step.replanned = due, at
    for fired in step.fired:
        if fired.due == due and fired.status == "resolved":
            fired.status, fired.at = "open", at
        elif fired.due != due and fired.status == "open":
            fired.status, fired.at = "resolved", at
    return True


def _end(step: StepState, fact: Fact, ending: str) -> None:
    step.decided = max(fact.at, step.started)
    step.end_id = fact.event_id
    step.decided_by = fact.actor
    step.decision = ending
    for fired in step.fired:
        if fired.status == "open":
            fired.status, fired.at = "resolved", step.decided


def _new(steps: Steps, fact: Fact, rule: ApprovalRule, role: str | None, *, waited: bool) -> StepState:
    person = fact.responsible if waited else None
    step = StepState(
        steps.next_ordinal,
        fact.step or rule.step,
        role,
        person,
        person,
        fact.at,
        fact.event_id,
        waited,
        fired=[],
        asked=person,
        by_source=person is not None,
        asks=role,
        route=None if person is None else SOURCE,
    )
    steps.next_ordinal += 1
    for other in steps.steps:
        if not other.retracted:
            break
        if (
            other.ordinal == step.ordinal
        ):  # its number was taken back once: go on counting its versions, and its findings'
            step.version, step.counted, step.fired = other.version, other.counted, other.fired
            steps.steps.remove(other)
            break
    steps.steps.append(step)
    return step
