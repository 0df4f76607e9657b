"""What must hold of any history: order, repeats, restarts, lateness, and that counts are what they count."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from finwatch.domain.approvals import STUCK
from finwatch.domain.calendar import DAY, MINUTE
from finwatch.domain.events import Event
from finwatch.domain.records import Finding, Kpi
from finwatch.runtime.topics import CLOCK, EXCEPTION, FINDING, STEP
from streams.agents.replay import Replay
from tests.unit.agents.world import at, bill, day, documents, expense, latest, moved, reviewed

COMMON = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
BEGIN = at("2026-03-02 09:00")
END = at("2026-07-01 00:00")
MOVES: dict[str, list[tuple[str, str, str, str | None]]] = {
    "bill": [
        ("posted", "draft", "posted", None),
        ("reset", "posted", "draft", None),
        ("cancelled", "draft", "cancel", None),
        ("changed", "x", "y", None),
    ],
    "expense_report": [
        ("submitted", "draft", "submit", None),
        ("approved", "submit", "approve", "approved"),
        ("rejected", "submit", "cancel", "rejected"),
        ("withdrawn", "submit", "draft", None),
    ],
}

REVIEWED = [("submitted", None), ("approved", "approved"), ("rejected", "rejected"), ("withdrawn", None)]


@st.composite
def histories(draw: st.DrawFn, snapshots: bool = True) -> list[Event]:
    """One document's events in order of time: moves by the log, and sights of the document itself."""
    entity = draw(st.sampled_from(sorted(MOVES)))
    record = str(draw(st.integers(1, 10_000)))
    when = BEGIN + draw(st.integers(0, 20)) * DAY
    found: list[Event] = []
    state = "draft"
    for _ in range(draw(st.integers(1, 9))):
        when += draw(st.one_of(st.integers(1, 5 * 24 * 60), st.integers(1, 90))) * MINUTE
        if draw(st.integers(0, 4)) == 0:
            activity, decision = draw(st.sampled_from(REVIEWED))
            actor, one = draw(st.sampled_from(["5", "8"])), draw(st.integers(1, 2))
            found.append(reviewed(entity, record, when, activity, f"tier_review:{one}", decision, actor=actor))
        elif snapshots and draw(st.booleans()):
            due = {"due_date": day("2026-03-25") + draw(st.integers(0, 2)) * 5} if entity == "bill" else {}
            amount = {"amount_total": Decimal(draw(st.integers(1, 3)) * 1000)}
            make: Any = bill if entity == "bill" else expense
            found.append(make(record, when, state=state, **amount, **due))
        else:
            activity, before, after, decision = draw(st.sampled_from(MOVES[entity]))
            actor = draw(st.sampled_from(["5", "8"]))
            field = "state" if activity != "changed" else "ref"
            found.append(
                moved(entity, record, when, activity, before, after, decision=decision, actor=actor, field=field)
            )
            state = after if field == "state" else state
    return found


def distinct(found: list[list[Event]]) -> list[list[Event]]:
    """Histories of different documents."""
    return list({events[0].document_key: events for events in found}.values())


worlds = st.lists(histories(), min_size=1, max_size=4).map(distinct)


@st.composite
def interleavings(draw: st.DrawFn) -> tuple[list[Event], list[Event]]:
    """A world in order of time, and the same with other interleavings and repeats, each document's order kept."""
    world = draw(worlds)
    ordered = sorted((e for history in world for e in history), key=lambda e: e.occurred_at)
    rest = [list(history) for history in world]
    mixed: list[Event] = []
    while any(rest):
        source = draw(st.sampled_from([history for history in rest if history]))
        mixed.append(source.pop(0))
        if draw(st.booleans()):
            mixed.append(draw(st.sampled_from(mixed)))
    return ordered, mixed


def run(events: list[Event], **options: Any) -> Replay:
    replay = documents(**options)
    replay.feed(events)
    replay.heartbeat("odoo", END, "log")
    return replay


def said(replay: Replay) -> dict[str, dict[str, tuple[Any, ...]]]:
    """What stands at the end: without versions, and without what was taken back."""
    steps = latest(replay.outputs(STEP), "step_id")
    clocks = latest(replay.outputs(CLOCK), "clock_id")
    exceptions = latest(replay.outputs(EXCEPTION), "exception_id")
    findings = latest(replay.outputs(FINDING), "finding_id")
    return {
        "steps": {
            k: (s.started_at, s.decided_at, s.decision, s.decided_by, s.wall_seconds, s.business_seconds, s.evidence)
            for k, s in steps.items()
            if not s.retracted
        },
        "clocks": {
            k: (c.status, c.started_at, c.due_at, c.stopped_at, c.business_seconds, c.level, c.evidence)
            for k, c in clocks.items()
        },
        "exceptions": {
            k: (e.status, e.opened_at, e.resolved_at, e.evidence)
            for k, e in exceptions.items()
            if e.status != "retracted"
        },
        "findings": {k: (f.status, f.opened_at, f.due_at) for k, f in findings.items() if f.status != "retracted"},
    }


@COMMON
@given(interleavings())
def test_interleaving_and_repeats_change_nothing(pair: tuple[list[Event], list[Event]]) -> None:
    ordered, mixed = pair
    assert said(run(ordered)) == said(run(mixed))


@COMMON
@given(interleavings())
def test_partitions_change_nothing(pair: tuple[list[Event], list[Event]]) -> None:
    ordered, _ = pair
    whole = said(run(ordered))
    parts: dict[str, dict[str, tuple[Any, ...]]] = {}
    for key in {event.document_key for event in ordered}:
        for kind, found in said(run([event for event in ordered if event.document_key == key])).items():
            parts.setdefault(kind, {}).update(found)
    assert parts == whole


@COMMON
@given(interleavings(), st.sets(st.integers(0, 40)))
def test_restarts_change_nothing_at_all(pair: tuple[list[Event], list[Event]], crashes: set[int]) -> None:
    _, mixed = pair
    replay = documents()
    for i, event in enumerate(mixed):
        if i in crashes:
            replay.view.restart()
        replay.feed([event])
    replay.heartbeat("odoo", END, "log")
    assert (replay.view.outputs == run(mixed).view.outputs) is True


@COMMON
@given(histories(snapshots=False), st.randoms())
def test_lateness_of_one_document_ends_in_the_same(history: list[Event], random: Any) -> None:
    late = list(history)
    random.shuffle(late)
    late = [e for i, e in enumerate(late) if e not in late[:i]]
    wanted = said(run(history))
    assert wanted == {
        kind: {k: v for k, v in found.items() if kind != "clocks" or v[0] != "cancelled" or k in wanted[kind]}
        for kind, found in said(run(late)).items()
    }


def test_a_level_of_an_earlier_run_is_taken_back_when_a_late_event_ends_that_run() -> None:
    """The clock itself is the same before and after: it runs for the last time."""
    moves = [
        ("2026-03-02 09:01", "submitted", "draft", "submit"),
        ("2026-03-02 09:02", "submitted", "draft", "submit"),
        ("2026-03-02 09:03", "approved", "submit", "approve"),
        ("2026-03-02 09:04", "submitted", "draft", "submit"),
        ("2026-03-02 09:05", "submitted", "draft", "submit"),
        ("2026-03-03 14:01", "approved", "submit", "approve"),
        ("2026-03-03 14:02", "submitted", "draft", "submit"),
        ("2026-03-03 14:03", "approved", "submit", "approve"),
    ]
    history = [
        moved(
            "expense_report",
            "1",
            when,
            activity,
            before,
            after,
            actor="5",
            decision="approved" if after == "approve" else None,
        )
        for when, activity, before, after in moves
    ]
    assert said(run([history[i] for i in (3, 6, 1, 5, 7, 0, 4, 2)])) == said(run(history))


def fired(replay: Replay) -> Counter[tuple[Any, ...]]:
    """How often each level of each deadline fired for the first time. Steps side by side have findings of their own."""
    return Counter(
        (f.document_keys[0], f.detector, f.rule, f.level, f.due_at, f.finding_id if f.level == STUCK else "")
        for f in replay.outputs(FINDING)
        if isinstance(f, Finding) and f.level is not None and f.version == 1
    )


def posted_again(reset: str, posted: str) -> list[Event]:
    """A bill that is due at the end of 25 March, is posted, reset, and posted again."""
    return [
        bill("1", "2026-03-03 09:00", state="posted", due_date=day("2026-03-25")),
        moved("bill", "1", reset, "reset", "posted", "draft"),
        moved("bill", "1", posted, "posted", "draft", "posted"),
    ]


BEHIND_DUE = posted_again("2026-03-27 10:00", "2026-03-28 10:00")
AT_DUE = posted_again("2026-03-26 00:00", "2026-03-26 00:00")


@COMMON
@given(interleavings())
@example((BEHIND_DUE, BEHIND_DUE))
@example((AT_DUE, AT_DUE))
def test_each_level_fires_once(pair: tuple[list[Event], list[Event]]) -> None:
    ordered, mixed = pair
    for events in (ordered, mixed):
        replay = run(events)
        assert all(count == 1 for count in fired(replay).values())
        latest(replay.outputs(FINDING), "finding_id")


def test_a_level_that_was_missed_already_opens_again_when_the_document_starts_over() -> None:
    """The breach's finding ends with the reset, and is open again, the next version, when the bill is posted again."""
    replay = documents()
    replay.feed(BEHIND_DUE)
    found = [f for f in replay.outputs(FINDING) if isinstance(f, Finding) and f.rule == "vendor_payment"]
    assert len({f.finding_id for f in found}) == 1
    assert [(f.version, f.status, f.level) for f in found[:2]] == [(1, "open", "breach"), (2, "resolved", "breach")]
    replay.heartbeat("odoo", at("2026-03-29 00:00"), "log")
    again = [f for f in replay.outputs(FINDING) if isinstance(f, Finding) and f.rule == "vendor_payment"][2:]
    assert [(f.version, f.status, f.opened_at) for f in again] == [(3, "open", at("2026-03-28 10:00"))]


@COMMON
@given(interleavings(), st.integers(0, 120))
def test_counts_are_what_they_count(pair: tuple[list[Event], list[Event]], days: int) -> None:
    _, mixed = pair
    replay = documents()
    replay.feed(mixed)
    now = max(e.observed_at for e in mixed) + days * DAY
    replay.heartbeat("odoo", now, "log")
    kpis: dict[str, Counter[str]] = {}
    for kpi in replay.stage.kpis(replay.view, {"odoo": now}):
        assert isinstance(kpi, Kpi)
        if kpi.value is not None:
            kpis.setdefault(kpi.kpi, Counter())[kpi.labels] += int(kpi.value)
    steps = [s for s in latest(replay.outputs(STEP), "step_id").values() if not s.retracted]
    waiting = [s for s in steps if s.decided_at is None]
    assert sum(kpis.get("approvals_open", Counter()).values()) == len(waiting)
    findings = Counter(
        f"{f.detector} {f.rule}" for f in latest(replay.outputs(FINDING), "finding_id").values() if f.status == "open"
    )
    counted = Counter[str]()
    for labels, value in kpis.get("findings_open", Counter()).items():
        label = json.loads(labels)
        counted[f"{label['detector']} {label['rule']}"] += value
    assert +counted == findings
    live = [c for c in latest(replay.outputs(CLOCK), "clock_id").values() if c.stopped_at is None]
    assert sum(kpis.get("clocks_open", Counter()).values()) == len(live)
    exceptions = latest(replay.outputs(EXCEPTION), "exception_id").values()
    assert sum(kpis.get("exceptions_open", Counter()).values()) == sum(e.status == "open" for e in exceptions)
    late = [e for e in exceptions if e.status == "open" and e.due_at is not None and e.due_at <= now]
    assert sum(kpis.get("exceptions_overdue", Counter()).values()) == len(late)
