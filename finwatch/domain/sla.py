"""Service-level clocks: start, pause, resume, reset, stop, and the levels that fire on the way.

One clock of a policy runs on a document at a time. Its levels are warnings (a part of the target), the breach, and
escalations after it. A level fires when time passes its due instant, with or without an event; an event that comes
later than a due instant fires it first, so the same history gives the same levels however time was told. What a late
event undoes is found by evaluating the history again (see ``history``). When another policy comes into force, clocks
that are open are planned anew (``replan``); those that have stopped stay as they are.
"""

from __future__ import annotations

from msgspec import Struct

from finwatch.domain.approvals import Fired
from finwatch.domain.calendar import Calendar
from finwatch.domain.documents import Fact
from finwatch.domain.policy import ClockRule, Duration, Level

RUNNING, PAUSED, MET, BREACHED, CANCELLED = "running", "paused", "met", "breached", "cancelled"
BREACH = "breach"
"""Name of the level at the due instant."""
_FIRED_KEPT = 16


class ClockState(Struct, array_like=True):
    """One clock. Instants are 0 when they are not (yet); spans are in the target's kind of time."""

    status: str = ""  # empty: it never ran
    started: int = 0
    start_id: str = ""
    stopped: int = 0
    stop_id: str = ""
    anchor: int = 0  # counts from here; 0 while paused
    consumed: int = 0  # counted before the anchor
    paused_at: int = 0
    paused: int = 0
    due: int = 0  # the breach; 0 when paused or unknown
    next: int = 0  # the next level's instant; 0 for none
    index: int = 0  # of the next level
    level: str | None = None
    done: bool = False  # it runs once, and that is over
    updated: int = 0
    fired: list[Fired] = []
    version: int = 0
    counted: str = ""
    replanned: int = 0  # when another policy moved it; 0: never in this run

    @property
    def live(self) -> bool:
        """True from start to stop."""
        return self.stopped == 0 and self.status in (RUNNING, PAUSED, BREACHED)

    @property
    def breached(self) -> bool:
        """True when the due instant passed before the stop."""
        return self.status == BREACHED


def apply(
    clock: ClockState | None,
    fact: Fact,
    rule: ClockRule,
    operations: tuple[str, ...],
    calendar: Calendar,
    due_date: int | None,
) -> tuple[ClockState, bool]:
    """Let a fact work on a clock. Returns the clock, and True when there is something to tell."""
    changed = False
    if clock is None:
        clock = ClockState(fired=[])
    elif clock.next and clock.next <= fact.at:
        changed = fire(clock, rule, calendar, due_date, fact.at)
    for operation in operations:
        if operation == "start":
            if clock.done or (clock.live and rule.section.restart == "first"):
                continue
            _start(clock, fact, rule, calendar, due_date)
        elif operation in ("stop", "cancel"):
            once = rule.section.once
            if clock.live:
                _stop(clock, fact, cancelled=operation == "cancel")
                clock.done = once
            else:
                clock.done = clock.done or (once and operation == "stop")
                continue
        elif operation == "pause" and clock.status == RUNNING:
            clock.consumed += _span(rule, calendar, clock.anchor, fact.at)
            clock.anchor, clock.paused_at, clock.due, clock.next = 0, fact.at, 0, 0
            clock.status = PAUSED
        elif operation == "resume" and clock.status == PAUSED:
            clock.paused += _span(rule, calendar, clock.paused_at, fact.at)
            clock.anchor, clock.paused_at, clock.status = fact.at, 0, RUNNING
            plan(clock, rule, calendar, due_date)
        elif operation == "reset" and clock.live:
            _start(clock, fact, rule, calendar, due_date)
        else:
            continue
        clock.updated = fact.at
        changed = True
    return clock, changed


def fire(clock: ClockState, rule: ClockRule, calendar: Calendar, due_date: int | None, now: int) -> bool:
    """Fire the levels whose instant has come by ``now``. Returns True when one did."""
    changed = False
    while clock.next and clock.next <= now:
        level = rule.levels[clock.index]
        for lower in clock.fired:
            if lower.status == "open":  # a higher level takes its place
                lower.status, lower.at = "resolved", clock.next
        if level.name == BREACH:
            clock.status = BREACHED
        at = max(clock.next, clock.started, clock.replanned)  # not before anybody could know
        _reach(clock, level.name, at)
        clock.level = level.name
        clock.updated = max(clock.updated, at)
        clock.index += 1
        plan(clock, rule, calendar, due_date)
        changed = True
    if len(clock.fired) > _FIRED_KEPT:
        clock.fired = [f for f in clock.fired[:-_FIRED_KEPT] if f.said != f.status] + clock.fired[-_FIRED_KEPT:]
    return changed


def _reach(clock: ClockState, level: str, at: int) -> None:
    """Open the finding of a level at the clock's next instant.

    A level at one due instant is one finding for good: a document that starts over behind a due date it has missed
    already, or whose level was taken back, opens that finding again. It goes last: only old ones are forgotten.
    """
    for place, known in enumerate(clock.fired):
        if known.due == clock.next and known.level == level:
            again = clock.fired.pop(place)
            again.status, again.opened, again.at = "open", at, at
            clock.fired.append(again)
            return
    clock.fired.append(Fired(level, clock.next, at, at=at))


def plan(clock: ClockState, rule: ClockRule, calendar: Calendar, due_date: int | None) -> None:
    """Set the due instant and the next level's instant of a running clock."""
    target = rule.target
    if target is None:
        clock.due = 0 if due_date is None else calendar.end_of_day(due_date)
        length = 0
    else:
        length = target.of(calendar)
        clock.due = _after(target, calendar, clock.anchor, length - clock.consumed)
    if clock.due == 0 or clock.index >= len(rule.levels):
        clock.next = 0
    else:
        clock.next = _instant(clock, rule, rule.levels[clock.index], calendar, length)


def _instant(clock: ClockState, rule: ClockRule, level: Level, calendar: Calendar, length: int) -> int:
    """The instant of a level of a running clock, whose due instant is set; ``length`` is the target's."""
    if level.offset is not None:
        return _after(level.offset, calendar, clock.due, level.offset.of(calendar))
    if level.percent == 100 or rule.target is None:
        return clock.due
    return _after(rule.target, calendar, clock.anchor, length * level.percent // 100 - clock.consumed)


def replan(
    clock: ClockState,
    old: ClockRule | None,
    rule: ClockRule | None,
    calendars: tuple[Calendar, Calendar],
    due_date: int | None,
    at: int,
) -> bool:
    """Go by another rule from ``at`` on. Returns True when that changes anything of the clock.

    Only an open clock changes; what was due under the old rule by ``at`` has fired already. A rule of None ends it.
    ``calendars``: the old one and the new one. Time that ran without a pause is counted by the new rule and calendar
    from where it began; what ran before a pause stays as it was counted (scaled to the new target where business
    time and wall time change places). A level that was reached stays reached where the new rule puts it at the same
    instant; otherwise its finding is resolved, and the level fires again at its new instant.
    """
    if not clock.live:
        return False
    if rule is None:
        _resolve(clock, at)
        clock.stopped, clock.stop_id, clock.next, clock.replanned = at, "", 0, at
        clock.updated = max(clock.updated, at)
        if clock.status != BREACHED:
            clock.status = CANCELLED
        return True
    if clock.consumed and old is not None and old.kind != rule.kind and old.target is not None and rule.target:
        whole = max(1, old.target.of(calendars[0]))
        clock.consumed = clock.consumed * rule.target.of(calendars[1]) // whole
    run = {(f.level, f.due): f for f in clock.fired if f.opened >= clock.started and f.status != "retracted"}
    names = [level.name for level in rule.levels]
    if clock.status == PAUSED:
        clock.index = 1 + max((names.index(name) for name, _ in run if name in names), default=-1)
        return False
    before = (clock.due, clock.next, clock.status, [f.status for f in clock.fired])
    plan(clock, rule, calendars[1], due_date)
    length = 0 if rule.target is None else rule.target.of(calendars[1])
    instants = [0 if clock.due == 0 else _instant(clock, rule, level, calendars[1], length) for level in rule.levels]
    reached = [i for i, key in enumerate(zip(names, instants, strict=True)) if key in run]
    clock.index = reached[-1] + 1 if reached else 0
    # Of the warnings that the new rule would have given before now, the last is enough.
    while (
        clock.due and clock.index + 1 < len(names) and names[clock.index] != BREACH and instants[clock.index + 1] <= at
    ):
        clock.index += 1
    clock.status = BREACHED if clock.index > names.index(BREACH) else RUNNING
    clock.level = names[reached[-1]] if reached else None
    standing = None if not reached else run[names[reached[-1]], instants[reached[-1]]]
    for fired in run.values():
        if fired is standing and fired.status == "resolved":
            fired.status, fired.at = "open", at
        elif fired is not standing and fired.status == "open":
            fired.status, fired.at = "resolved", at
    clock.next = instants[clock.index] if clock.due and clock.index < len(names) else 0
    if (clock.due, clock.next, clock.status, [f.status for f in clock.fired]) == before:
        return False
    clock.replanned = at
    clock.updated = max(clock.updated, at)
    return True


def level_of(rule: ClockRule, name: str) -> Level:
    """The level of a name; the breach for one that the policy no longer has."""
    return next((level for level in rule.levels if level.name == name), rule.levels[0])


def owners_from(rule: ClockRule, level: Level) -> list[str]:
    """The owner of a level, and of those above it."""
    first = rule.levels.index(level)
    return [one.owner for one in rule.levels[first:]]


def _start(clock: ClockState, fact: Fact, rule: ClockRule, calendar: Calendar, due_date: int | None) -> None:
    _resolve(clock, fact.at)
    clock.status = RUNNING
    clock.started = clock.anchor = fact.at
    clock.start_id = fact.event_id
    clock.stopped = clock.consumed = clock.paused_at = clock.paused = clock.index = clock.replanned = 0
    clock.stop_id = ""
    clock.level = None
    plan(clock, rule, calendar, due_date)


def _stop(clock: ClockState, fact: Fact, *, cancelled: bool) -> None:
    _resolve(clock, fact.at)
    clock.stopped = fact.at
    clock.stop_id = fact.event_id
    clock.next = 0
    if cancelled and clock.status != BREACHED:
        clock.status = CANCELLED
    elif clock.status != BREACHED:
        clock.status = MET


def _resolve(clock: ClockState, at: int) -> None:
    for fired in clock.fired:
        if fired.status == "open":
            fired.status, fired.at = "resolved", at


def _span(rule: ClockRule, calendar: Calendar, start: int, end: int) -> int:
    return calendar.working(start, end) if rule.kind == "business" else end - start


def _after(length: Duration, calendar: Calendar, start: int, span: int) -> int:
    if span <= 0:
        return start
    return calendar.add(start, span) if length.kind == "business" else start + span
