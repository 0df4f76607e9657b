"""The documents stage: one row a document; approval steps, clocks, exceptions, and facts for the relations stage.

What a row keeps is bounded: the ids of the last events (a repeat among them is recognised), the last facts, and the
machine that everything older was folded into. A repeat from before that changes nothing either when it shows what is
known; a decision that comes later than that counts as made after the fold.

When another policy comes into force (``streams.agents.policies``), the open clocks and steps of all the source's
documents are planned anew at that point of the input, in order of their keys. What is closed stays under the policy
it was made under, also when a late event has its history evaluated again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

from finwatch.domain import approvals, exceptions, findings, history
from finwatch.domain.approvals import Steps, StepState
from finwatch.domain.calendar import DAY, Calendar
from finwatch.domain.documents import (
    CONTENT_OF,
    CREATED,
    PAYMENT_STATE,
    STATE,
    Content,
    Fact,
    insert,
    supersede,
    superseded,
    tracked_fact,
)
from finwatch.domain.events import DOCUMENT_PROJECTIONS, Event, Feedback, PolicyChange, Transition
from finwatch.domain.exceptions import ExceptionState
from finwatch.domain.findings import Subject
from finwatch.domain.history import Machine, Regime, Touched
from finwatch.domain.identity import parse_document_key
from finwatch.domain.policy import ApprovalRule, ExceptionSection, Policy, PolicySet
from finwatch.domain.records import Kpi
from finwatch.runtime.topics import CLOCK, EXCEPTION, FINDING, STEP, WATCHED_TOPICS
from finwatch.runtime.topics import WATCHED_ENTITIES as ALL_ENTITIES
from streams.agents import tally, windows
from streams.agents.detector import Change, DocumentDetector, Judged, MasterDetector, Timed
from streams.agents.policies import PolicyBook, Succession
from streams.agents.replanning import PAUSE, PREFIX, SLICE, Replanning
from streams.agents.tally import Tally
from streams.stage import InvalidEvent, View

ENTITIES = ("bill", "invoice", "entry", "purchase_order", "receipt", "payment", "expense_report", "approval_request")
_ID = 12  # hex characters of an event id that a row keeps: 48 bits, among a few dozen
_IDS_KEPT = 40
_FACTS_KEPT = 48
_FACTS_FOLDED = 24
DELETED = "deleted"
_SCOPES_KEPT = 10_000
_MAYBE_NOTHING = frozenset({"changed", "saved"})


class DocumentState(Struct, array_like=True):
    """One document."""

    seen: str = ""
    facts: list[Fact] = []
    base: Machine | None = None
    machine: Machine = msgspec.field(default_factory=Machine)
    content: Content = msgspec.field(default_factory=Content)
    content_at: int = -1  # event time of the content; -1 before the first
    content_id: str = ""
    company_id: str | None = None
    at: int = 0  # latest event time
    now: int = 0  # source time up to which deadlines have fired
    exceptions: dict[str, ExceptionState] = {}
    problems: frozenset[str] = frozenset()
    day: int = 0  # UTC day of the cohort
    counted: str = ""
    deleted: bool = False
    due: int | None = None  # its timer, as last set
    starts: dict[int, int] = {}  # by number of a regime: its own start, where that is later than the source's


class _Scope(NamedTuple):
    """What is the same for all documents of one source, entity and company, while no other policy comes into force."""

    policy: Policy
    calendar: Calendar
    regimes: tuple[Regime, ...]
    company: str  # as a label
    tally_key: str
    open_label: str
    sections: Mapping[str, ExceptionSection]
    detectors: tuple[DocumentDetector, ...]
    watching: tuple[DocumentDetector, ...]


class DocumentsStage:
    """Approvals, clocks and exceptions of each document."""

    name = "documents"
    # Also those without a rule: what is wrong on them is a dead letter.
    topics = WATCHED_TOPICS
    projections: Mapping[str, type[Struct]] = DOCUMENT_PROJECTIONS

    def __init__(
        self,
        policies: PolicySet,
        detectors: Sequence[DocumentDetector] = (),
        masters: Sequence[MasterDetector] = (),
    ) -> None:
        self._book = PolicyBook(policies)
        self._masters = {entity: master for master in masters for entity in master.entities}
        self._detectors = {
            entity: tuple(detector for detector in detectors if entity in detector.entities) for entity in ENTITIES
        }
        self._watching = {
            entity: tuple(detector for detector in found if detector.watches_history)
            for entity, found in self._detectors.items()
        }
        self._timed = {
            kind: detector for detector in detectors if isinstance(detector, Timed) for kind in detector.timed
        }
        self._scopes: dict[tuple[str, str, str, str | None], _Scope] = {}
        # Documents still to be planned anew, by topic, partition and source: their keys, behind which the next slice
        # begins, and its place among them. Made again from the rows where it does not fit them.
        self._behind: dict[tuple[str, int, str], tuple[list[str], str, int]] = {}

    def _scope(self, view: View, known: Succession, source: str, entity: str, company_id: str | None) -> _Scope:
        key = (known.key, source, entity, company_id)  # partitions may be at different policies
        found = self._scopes.get(key)
        if found is None:
            company = tally.word(company_id)
            if len(self._scopes) > _SCOPES_KEPT:
                self._scopes.clear()
            regimes = []
            for start, content_hash in zip(known.starts, known.hashes[: known.current + 1], strict=False):
                policy = self._book.policy(view, content_hash).of_company(company_id)
                regimes.append(Regime(start, policy, policy.calendar_of(company_id)))
            policy = regimes[-1].policy
            found = self._scopes[key] = _Scope(
                policy,
                regimes[-1].calendar,
                tuple(regimes),
                company,
                f"k:{source}",
                f"documents_open|{entity}|{company}",
                policy.exceptions_of(entity),
                self._detectors[entity],
                self._watching[entity],
            )
        return found

    def apply(self, view: View, event: Struct, offset: int) -> bool | None:
        """Take one event. Raises InvalidEvent, before anything is changed, for one that contradicts itself."""
        if isinstance(event, PolicyChange):
            return self._change_policy(view, event)
        if isinstance(event, Feedback):
            return self._judge(view, event)
        if TYPE_CHECKING:
            assert isinstance(event, Event)
        known = view.get("p:" + event.source, Succession)
        if known is None:
            _check(event)
            known = self._book.succession(view, event.source)
        while known.next_start <= event.occurred_at and known.next_start <= event.observed_at:
            self._switch(view, event.source)
        master = self._masters.get(event.entity)
        if master is not None:
            _check(event)
            return master.apply(view, event, self._book.policy(view, known.hashes[known.current]))
        if (
            event.__class__ is Transition
            and event.activity in _MAYBE_NOTHING
            and _means_nothing(event, self._book.policy(view, known.hashes[known.current]))
        ):
            return None
        document = event.document_key
        key = "d:" + document
        short = event.event_id[:_ID]
        row = view.get(key, DocumentState)
        if row is None:
            _check(event)
            if event.entity not in self._detectors:
                return None  # an entity without rules: nothing is kept of it
            row = DocumentState()
            row.day = event.occurred_at // DAY
            row.machine.regime = known.current
            new = True
        else:
            # 1. A repeat changes nothing at all.
            if short in row.seen:
                return False
            new = False
            if row.machine.regime != known.current:
                self._catch_up(view, known, document, row)
                view.put(key, row, row.due)
        if event.occurred_at > row.at:
            row.at = event.occurred_at
        if event.company_id is not None:
            row.company_id = event.company_id
        entity = event.entity
        scope = self._scopes.get((known.key, event.source, entity, row.company_id)) or self._scope(
            view, known, event.source, entity, row.company_id
        )
        policy, calendar = scope.policy, scope.calendar
        old = row.content
        # 2. What happened, in order of event time; evaluated again when it does not come last.
        content_changed = False
        fresh = len(row.facts)
        if event.__class__ is Transition:
            again = _take_transition(row, event)
        else:
            content_changed, again = _take_content(row, event, CONTENT_OF[event.__class__](event), scope)
        if fresh < len(row.facts) and row.facts[fresh].at < max(row.now, _since(scope.regimes, row)):
            again = True  # deadlines have fired since it happened, or another policy has come into force
        row.seen = row.seen[-_ID * (_IDS_KEPT - 1) :] + short
        touched: Touched | None = None
        if again:
            machine = history.evaluate(row.base, row.facts, entity, _own(scope.regimes, row), row.content, row.now)
            touched = history.settle(row.machine, machine, row.at)
            row.machine = machine
        else:
            for fact in row.facts[fresh:]:
                one = history.apply(row.machine, fact, entity, policy, calendar, row.content)
                touched = one if touched is None else touched if one is None else _joined(touched, one)
        if content_changed:
            touched = _reroute(row, old, touched, policy.approvals.get(entity))
            if row.machine.reviews:
                touched = _reband(row, entity, policy, touched)
        if len(row.facts) > _FACTS_KEPT:
            _fold(row, entity, scope.regimes)
        if touched is None and not content_changed and not new:
            view.put(key, row, row.due)
            return None
        # 3. What follows from it.
        subject = Subject(document, event.source, entity, event.record_id, row.company_id)
        counts = view.get(scope.tally_key, Tally) or tally.tally_of(view, event.source)
        if new:
            windows.count(view, event.source, counts, row.day, entity, policy, row.at)
        self._publish(view, row, subject, scope, counts, touched, content_changed)
        watching = scope.detectors if content_changed else scope.watching
        if watching:
            change = Change(
                view,
                subject,
                policy,
                row.content,
                row.machine,
                content_changed,
                row.deleted,
                event.timeline,
                event.occurred_at,
                event.observed_at,
                event.event_id,
                event,
                row.facts,
            )
            for detector in watching:
                detector.changed(change)
        view.put(scope.tally_key, counts)
        if again or row.exceptions or (touched is not None and (touched.steps or touched.clocks)):
            row.due = _due(row)
        view.put(key, row, row.due)
        return None

    def _judge(self, view: View, feedback: Feedback) -> bool | None:
        """Hand what a person thinks of a finding to the detectors that want to know."""
        key = "d:" + feedback.document_key
        row = view.get(key, DocumentState)
        if row is None:
            raise InvalidEvent("invalid_event", "feedback about a document that is not known")
        short = feedback.event_id[:_ID]
        if short in row.seen:
            return False
        known = view.get("p:" + feedback.source, Succession) or self._book.succession(view, feedback.source)
        scope = self._scope(view, known, feedback.source, feedback.entity, row.company_id)
        change = Change(
            view,
            Subject(feedback.document_key, feedback.source, feedback.entity, feedback.record_id, row.company_id),
            scope.policy,
            row.content,
            row.machine,
            False,
            row.deleted,
            "log",  # whatever follows from it moves no source's time either: it bears the document's own
            row.at,
            row.at,
            feedback.event_id,
            feedback,
            row.facts,
        )
        for detector in scope.detectors:
            if isinstance(detector, Judged):
                detector.judged(change, feedback)
        row.seen = row.seen[-_ID * (_IDS_KEPT - 1) :] + short
        view.put(key, row, row.due)
        return None

    def advance(self, view: View, key: str, now: int) -> None:
        """Fire what is due by ``now``: on a document, of a detector, of a window of rates, or a policy that starts."""
        if not key.startswith("d:"):
            self._advance_beside(view, key, now)
            return
        row = view.get(key, DocumentState)
        if row is None:
            return
        document = key[2:]
        subject = Subject(document, *parse_document_key(document), row.company_id)
        known = self._book.succession(view, subject.source)
        if row.machine.regime != known.current:
            self._catch_up(view, known, document, row)
        scope = self._scope(view, known, subject.source, subject.entity, row.company_id)
        row.now = max(row.now, now)
        touched = history.advance(row.machine, scope.policy, scope.calendar, row.content, now)
        ripe = any(0 < state.waits <= now for state in row.exceptions.values())
        if touched.anything() or ripe:
            counts = tally.tally_of(view, subject.source)
            self._publish(view, row, subject, scope, counts, touched, content_changed=False, ripe=ripe)
            view.put(scope.tally_key, counts)
        row.due = _due(row)
        view.put(key, row, row.due)

    def _advance_beside(self, view: View, key: str, now: int) -> None:
        """Fire what is due on a row that is no document's."""
        kind, source = key.split(":", 2)[:2]
        timed = self._timed.get(kind)
        if timed is not None:
            timed.advance(view, key, now, self._book.current(view, source))
            return
        if key.startswith(windows.PREFIX):
            source, _ = windows.source_and_day(key)
            windows.advance(view, key, self._book.current(view, source))
            return
        if key.startswith(PREFIX):
            source = key[len(PREFIX) :]
            replanning = view.get(key, Replanning)
            if replanning is not None:
                self._replan(view, source, replanning, now)
            return
        if kind == "p" and self._book.succession(view, source).next_start <= now:
            self._switch(view, source)

    def kpis(self, view: View, now: Mapping[str, int]) -> Iterable[Kpi]:
        """This partition's KPI partials."""
        return tally.kpis(view, now, lambda source: self._book.current(view, source))

    def _change_policy(self, view: View, change: PolicyChange) -> bool | None:
        """Take in a policy that was published: what has started by now is in force at once, the rest has its timer."""
        touched = self._book.take(view, change)
        if touched is None:
            return False
        for source in touched:
            now = view.time_of(source)
            while now is not None and self._book.succession(view, source).next_start <= now:
                self._switch(view, source, now)
        return None

    def _switch(self, view: View, source: str, begins: int | None = None) -> None:
        """Put the source's next policy in force, and plan anew what is open on its documents, one after the other.

        A document with nothing to tell is left as it is stored: it goes over with its next event, to the same effect.
        Of a source that follows the wall clock they are taken in slices, the first at ``begins`` (default: the start of
        the policy) of the source's time. The time of another stands still when its log has ended: all at once.
        """
        known = self._book.switch(view, source)
        self._behind.pop((view.topic, view.partition, source), None)
        if view.is_live(source):
            begins = known.starts[known.current] if begins is None else begins
            self._replan(view, source, Replanning(f"d:{source}:"), begins)
        else:
            self._replan_slice(view, source, known, view.keys_from(f"d:{source}:"), 0, None)

    def _replan(self, view: View, source: str, row: Replanning, at: int) -> None:
        """Take the next slice of documents, at ``at`` of the source's time; the rest has a timer."""
        place = (view.topic, view.partition, source)
        found = self._behind.get(place)
        if found is None or found[1] != row.after:
            found = (view.keys_from(f"d:{source}:", row.after), row.after, 0)
        keys, _, begin = found
        known = self._book.succession(view, source)
        end = self._replan_slice(view, source, known, keys, begin, SLICE)
        if end == len(keys):
            self._behind.pop(place, None)
            view.delete(PREFIX + source)
            return
        row = Replanning(keys[end - 1])
        self._behind[place] = (keys, row.after, end)
        view.put(PREFIX + source, row, at + PAUSE)

    def _replan_slice(
        self, view: View, source: str, known: Succession, keys: Sequence[str], begin: int, most: int | None
    ) -> int:
        """Plan documents anew from the place ``begin`` on, ``most`` at most; returns the place after the last.

        Only those count that are not at the policy in force: a list made later, which has new documents in it, is cut
        at the same places.
        """
        taken = 0
        for place in range(begin, len(keys)):
            if taken == most:
                return place
            key = keys[place]
            row = view.peek(key, DocumentState)
            if row is None or row.machine.regime == known.current:
                continue
            taken += 1
            if row.machine.waits() or row.exceptions or row.problems:
                due = row.due
                if self._catch_up(view, known, key[2:], row) or row.due != due:
                    view.put(key, row, row.due)
        return len(keys)

    def _catch_up(self, view: View, known: Succession, document: str, row: DocumentState) -> bool:
        """Bring a document to the policy in force. Returns True when there was something to tell.

        A document that has seen more than the start of a regime goes over at what it has seen: what is done is done.
        """
        subject = Subject(document, *parse_document_key(document), row.company_id)
        scope = self._scope(view, known, subject.source, subject.entity, row.company_id)
        told = False
        while row.machine.regime < known.current:
            number = row.machine.regime + 1
            start = max(scope.regimes[number].start, row.at, row.now)
            if start > scope.regimes[number].start:
                row.starts[number] = start
            old, new = _own(scope.regimes, row)[number - 1 : number + 1]
            touched = history.cross(row.machine, old, new, subject.entity, row.content)
            row.now = max(row.now, start)
            within = scope._replace(
                policy=new.policy, calendar=new.calendar, sections=new.policy.exceptions_of(subject.entity)
            )
            versions = [state.version for state in row.exceptions.values()]
            counts = tally.tally_of(view, subject.source)
            self._close_dropped(view, row, subject, old.policy, within.sections, counts, start)
            self._publish(view, row, subject, within, counts, touched, content_changed=False, ripe=True, old=old.policy)
            if touched.anything() or versions != [state.version for state in row.exceptions.values()]:
                view.put(scope.tally_key, counts)
                told = True
        row.due = _due(row)
        return told

    def _close_dropped(
        self,
        view: View,
        row: DocumentState,
        subject: Subject,
        old: Policy,
        sections: Mapping[str, ExceptionSection],
        counts: Tally,
        at: int,
    ) -> None:
        """Resolve the exceptions of types that the new policy no longer looks for."""
        for name, state in row.exceptions.items():
            if name in sections:
                continue
            state.waits = 0
            if state.status == "open":
                state.status, state.resolved = "resolved", max(at, state.opened)
                self._publish_exception(view, row, subject, name, old, counts)

    def _publish(
        self,
        view: View,
        row: DocumentState,
        subject: Subject,
        scope: _Scope,
        counts: Tally,
        touched: Touched | None,
        content_changed: bool,
        ripe: bool = False,
        old: Policy | None = None,
    ) -> None:
        """Emit what changed and bring the counts in line."""
        document, source, entity = subject.document_key, subject.source, subject.entity
        policy, calendar, company = scope.policy, scope.calendar, scope.company
        label = policy.label
        content = row.content
        if touched is not None and (touched.steps or touched.clocks):
            for step in touched.steps:
                rule = step.rule(entity, policy)
                approvals.assign(step, rule, content, calendar, max(row.at, row.now))
                step.version += 1
                view.emit(STEP, document, findings.step_record(subject, step, content, calendar, label))
                for fired in step.fired:
                    if fired.said != fired.status:
                        fired.version += 1
                        fired.said = fired.status
                        section = rule.section if rule is not None else None
                        stuck = findings.step_finding(subject, step, fired, section, content, policy)
                        view.emit(FINDING, stuck.finding_id, stuck)
                        now = f"findings_open|{stuck.detector}|{stuck.rule}|{stuck.severity}"
                        fired.counted = _recount(counts, fired.counted, now if fired.status == "open" else "")
                self._count_step(view, source, entity, company, counts, step)
            for name in touched.clocks:
                clock = row.machine.clocks[name]
                clock_rule = policy.clocks.get(name)
                if clock_rule is None and old is not None:
                    clock_rule = old.clocks.get(name)  # it ends with the policy that had it
                if clock_rule is None or not clock.status:
                    continue
                clock.version += 1
                view.emit(CLOCK, document, findings.clock_record(subject, clock, clock_rule, calendar, label))
                for fired in clock.fired:
                    if fired.said != fired.status:
                        if not fired.said and fired.status == "retracted":
                            continue
                        fired.version += 1
                        fired.said = fired.status
                        level = findings.clock_finding(subject, clock, fired, clock_rule, content, policy)
                        view.emit(FINDING, level.finding_id, level)
                        now = f"findings_open|{level.detector}|{level.rule}|{level.severity}"
                        fired.counted = _recount(counts, fired.counted, now if fired.status == "open" else "")
                if clock.live:
                    now = f"clocks_open|{name}|{company}|{clock.status}"
                else:
                    now = "" if clock.status == "cancelled" else f"{name}|{'n' if clock.breached else 'd'}"
                clock.counted = _recount_clock(counts, clock.counted, now)
        if content_changed:
            row.problems = exceptions.NO_PROBLEMS if row.deleted else exceptions.content_problems(entity, content)
        if content_changed or ripe or (touched is not None and touched.flags):
            sections = scope.sections
            if sections and (row.exceptions or row.problems or row.machine.flags):
                at = row.content_at if content_changed else row.at
                for name in exceptions.update(
                    row.exceptions,
                    sections,
                    row.machine.flags,
                    row.problems,
                    content.amount,
                    at,
                    row.content_id,
                    policy.graces,
                    calendar,
                    max(at, row.now),
                ):
                    self._publish_exception(view, row, subject, name, policy, counts)
        row.counted = _recount(counts, row.counted, "" if row.machine.closed else scope.open_label)

    def _publish_exception(
        self, view: View, row: DocumentState, subject: Subject, name: str, policy: Policy, counts: Tally
    ) -> None:
        state, section = row.exceptions[name], policy.exceptions_of(subject.entity)[name]
        entity, company = subject.entity, tally.word(row.company_id)
        state.version += 1
        level, calendar = policy.service_level(name), policy.calendar_of(row.company_id)
        record = findings.exception_record(subject, name, state, section, row.content, policy.label, level, calendar)
        view.emit(EXCEPTION, subject.document_key, record)
        is_open = state.status == "open"
        if section.finding:
            state.finding_version += 1
            finding = findings.exception_finding(subject, name, state, section, row.content, policy.label)
            view.emit(FINDING, finding.finding_id, finding)
        counted = ""
        if is_open:
            due = "" if record.due_at is None else record.due_at
            counted = f"{company}|{section.severity}|{'f' if section.finding else ''}|{due}"
        if counted != state.counted:
            for was, number in ((state.counted, -1), (counted, 1)):
                if was:
                    _count_exception(view, subject, counts, name, was, number)
            state.counted = counted
        in_cohort = state.status != "retracted"
        if state.in_cohort != in_cohort:
            state.in_cohort = in_cohort
            number = 1 if in_cohort else -1
            windows.count(view, subject.source, counts, row.day, f"{entity}|{name}", policy, row.at, number)

    @staticmethod
    def _count_step(view: View, source: str, entity: str, company: str, counts: Tally, step: StepState) -> None:
        """Open steps are counted by their start; decisions in the rejection rate."""
        label = f"{entity}|{company}|{tally.word(step.role)}" if step.open else ""
        if label:
            now = f"{step.started}|{label}"
        elif not step.retracted and step.decision in ("approved", "rejected"):
            now = f"#{step.decision[0]}{entity}|{tally.word(step.role)}"
        else:
            now = ""
        was = step.counted
        if was == now:
            return
        if was.startswith("#"):
            if was[1] == "r":
                tally.move(counts, f"approval_rejection_rate#n|{was[2:]}", "")
            tally.move(counts, f"approval_rejection_rate#d|{was[2:]}", "")
        elif was:
            tally.close_start(view, source, counts, was)
        if label:
            tally.open_start(view, source, counts, step.started, label)
        elif now:
            if now[1] == "r":
                tally.add(counts, f"approval_rejection_rate#n|{now[2:]}")
            tally.add(counts, f"approval_rejection_rate#d|{now[2:]}")
        step.counted = now


def _check(event: Event) -> None:
    """A document's first event must agree with itself: later ones are keyed by the same text."""
    if event.document_key != f"{event.source}:{event.entity}:{event.record_id}" or ":" in event.source:
        raise InvalidEvent("invalid_event", "document_key does not say source:entity:record_id")
    if event.entity not in ALL_ENTITIES:
        raise InvalidEvent("invalid_event", "the documents stage does not know this entity")


def _means_nothing(event: Transition, policy: Policy) -> bool:
    """True for a tracked change that no rule looks at (a name, a note): more than half of what a real log holds.

    It leaves no trace, not even its id: a repeat means nothing either.
    """
    if event.field in (STATE, PAYMENT_STATE) or event.decision is not None:
        return False
    return policy.means_nothing((event.entity, event.activity, "", None, None, event.role, None))


def _take_transition(row: DocumentState, event: Transition) -> bool:
    """Take in a transition. Returns True when the history has to be evaluated again."""
    fact = tracked_fact(event)
    if event.activity == CREATED and row.facts and row.facts[0].activity == CREATED:
        return False
    if event.amount is not None and row.content_at < 0:
        row.content.amount, row.content.currency = event.amount, event.currency
    again = bool(fact.field) and supersede(row.facts, fact)
    return not insert(row.facts, fact) or again


def _take_content(row: DocumentState, event: Event, content: Content, scope: _Scope) -> tuple[bool, bool]:
    """Take in a document as it was seen. Returns whether its content changed, and whether to evaluate again."""
    at, old, first, known = event.occurred_at, row.content, row.content_at < 0, len(row.facts)
    again = False
    if event.op == "d":
        content = msgspec.structs.replace(old, state=DELETED)
        again = not insert(row.facts, Fact(at, True, DELETED, actor=event.actor, event_id=event.event_id))
    else:
        # Its creation: told by the source, or else read off the document.
        born = row.facts[0].at if row.facts and row.facts[0].activity == CREATED else 0
        if first and not born and content.created_at is not None:
            born = min(content.created_at, at, row.facts[0].at if row.facts else at)
            created = Fact(
                born, False, CREATED, STATE, None, "draft", actor=content.created_by, event_id=event.event_id
            )
            again = not insert(row.facts, created, first=True)
            row.day = born // DAY
        if content.state is not None and content.state != ("draft" if first and born else old.state):
            again = _take_status(row, event, STATE, content.state) or again
        if content.payment_state is not None and content.payment_state != (old.payment_state or "not_paid"):
            again = _take_status(row, event, PAYMENT_STATE, content.payment_state) or again
    if at < row.content_at:
        return False, again
    row.content, row.content_at, row.content_id = content, at, event.event_id
    row.deleted = event.op == "d"
    if not again and (content.due_date != old.due_date or content.document_type != old.document_type):
        again = len(scope.regimes) > 1 or _runs_otherwise(row, row.facts[:known], event.entity, scope.policy, old)
    return content != old, again


def _runs_otherwise(row: DocumentState, facts: list[Fact], entity: str, policy: Policy, old: Content) -> bool:
    """True when a clock may have run otherwise before, had it known the due date and the document type it knows now.

    ``facts``: those from before this content. False is certain; True only costs another evaluation.
    """
    machine, content = row.machine, row.content
    if row.base is None and machine.state is None and not machine.clocks:
        return False
    if content.due_date != old.due_date and any(
        (rule := policy.clocks.get(name)) is None or rule.target is None for name in machine.clocks
    ):
        return True
    other = policy.clocks_apart(entity, old.document_type, content.document_type)
    if not other:
        return False
    if row.base is not None:
        return True
    for fact in facts:
        if not fact.tracked:
            return True  # what it stands for depends on the state it met
        kind = (entity, fact.activity, fact.field, fact.before, fact.after, fact.role, fact.decision)
        if any(rule.name in other for rule, _ in policy.react(kind).clocks):
            return True
    return False


def _take_status(row: DocumentState, event: Event, field: str, value: str) -> bool:
    fact = Fact(event.occurred_at, False, "changed", field, None, value, event_id=event.event_id)
    return not superseded(row.facts, fact) and not insert(row.facts, fact)


def _reroute(row: DocumentState, old: Content, touched: Touched | None, rule: ApprovalRule | None) -> Touched | None:
    """Another person or line of the matrix is asked: the open step keeps its age and who was asked first."""
    content = row.content
    if (content.responsible, content.amount, content.document_type) == (
        old.responsible,
        old.amount,
        old.document_type,
    ):
        return touched
    waiting = row.machine.steps.waiting()
    if waiting is None or rule is None:
        return touched
    line, was = (rule.authority.line(c.amount, c.document_type) for c in (content, old))
    named = content.responsible != old.responsible and approvals.ask(waiting, content.responsible)
    if not named and line == was and rule.authority.band(content.amount) == waiting.band:
        return touched
    if touched is None:
        return Touched([waiting], [], False)
    if not any(step is waiting for step in touched.steps):
        touched.steps.append(waiting)
    return touched


def _reband(row: DocumentState, entity: str, policy: Policy, touched: Touched | None) -> Touched | None:
    """An open review of a document whose amount moved into another band."""
    amount = row.content.amount
    for step in row.machine.open_reviews():
        rule = step.rule(entity, policy)
        if rule is not None and rule.authority.band(amount) != step.band:
            touched = touched or Touched([], [], False)
            touched.add_step(step)
    return touched


def _joined(one: Touched, other: Touched) -> Touched:
    steps = one.steps + [step for step in other.steps if not any(step is known for known in one.steps)]
    clocks = one.clocks + [name for name in other.clocks if name not in one.clocks]
    return Touched(steps, clocks, one.flags or other.flags)


def _due(row: DocumentState) -> int | None:
    """The next instant at which time alone changes something: a deadline, or the end of an exception's grace."""
    due = row.machine.due()
    for state in row.exceptions.values():
        if state.waits and (due is None or state.waits < due):
            due = state.waits
    return due


def _recount(counts: Tally, was: str, now: str) -> str:
    if was != now:
        tally.move(counts, was, now)
    return now


def _count_exception(view: View, subject: Subject, counts: Tally, name: str, counted: str, number: int) -> None:
    """``counted``: company, severity, whether it is a finding, and due time; rows from before had no due time."""
    company, severity, finding, *due = counted.split("|")
    label = f"{subject.entity}|{company}|{name}|{severity}"
    tally.count_exception(view, subject.source, counts, label, due, number)
    if finding:
        tally.add(counts, f"findings_open|{findings.EXCEPTIONS}|{name}|{severity}", number)


def _recount_clock(counts: Tally, was: str, now: str) -> str:
    """Clocks are counted while they run, and in the breach rate when they have stopped (``n`` breached, ``d`` not)."""
    if was == now:
        return now
    for text, sign in ((was, -1), (now, 1)):
        if not text:
            continue
        if text.startswith("clocks_open|"):
            tally.add(counts, text, sign)
            continue
        name, _, outcome = text.rpartition("|")
        tally.add(counts, f"clock_breach_rate#d|{name}", sign)
        if outcome == "n":
            tally.add(counts, f"clock_breach_rate#n|{name}", sign)
    return now


def _own(regimes: tuple[Regime, ...], row: DocumentState) -> tuple[Regime, ...]:
    """The regimes as they start for a document."""
    starts = row.starts
    if not starts:
        return regimes
    return tuple(regime._replace(start=starts.get(number, regime.start)) for number, regime in enumerate(regimes))


def _since(regimes: tuple[Regime, ...], row: DocumentState) -> int:
    """From when on a document goes by its present policy."""
    return _own(regimes, row)[-1].start if row.starts else regimes[-1].start


def _fold(row: DocumentState, entity: str, regimes: tuple[Regime, ...]) -> None:
    """Fold the oldest facts into the base, so that a row stays flat however long its history grows."""
    facts = row.facts[:_FACTS_FOLDED]
    base = history.evaluate(row.base, facts, entity, _own(regimes, row), row.content, 0, whole=False)
    del row.facts[:_FACTS_FOLDED]
    row.starts = {number: start for number, start in row.starts.items() if number > base.regime}
    _fold_steps(base.steps, row.machine.steps)
    for name, steps in list(base.reviews.items()):
        _fold_steps(steps, row.machine.reviews.get(name) or Steps())
    row.base = base


def _fold_steps(base: Steps, steps: Steps) -> None:
    """What is decided before the fold is final, and forgotten."""
    base.steps = [step for step in base.steps if step.open]
    first = base.steps[0].ordinal if base.steps else base.next_ordinal
    steps.steps = [step for step in steps.steps if step.ordinal >= first or step.open]
