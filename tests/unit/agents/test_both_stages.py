"""What must hold of all detectors, through both stages: order of arrival, repeats, partitions and restarts."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finwatch.domain.events import Event, RelationFact
from finwatch.domain.records import Finding, Relation
from finwatch.runtime.topics import CLOCK, EXCEPTION, FINDING, RELATION
from streams.agents.registry import documents_stage, relations_stage
from streams.agents.replay import Output, Replay
from tests.unit.agents.test_documents_properties import END, histories
from tests.unit.agents.test_duties import worlds
from tests.unit.agents.world import POLICIES, latest

CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large]


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[Event], list[Event]]:
    """A world in order of time, and the same in another order of arrival with repeats; each document's order kept."""
    more = [event for history in draw(st.lists(histories(), max_size=2)) for event in history]
    ordered = sorted([*draw(worlds()), *more], key=lambda event: event.occurred_at)
    queues: dict[str, list[Event]] = {}
    for event in ordered:
        queues.setdefault(event.document_key, []).append(event)
    mixed: list[Event] = []
    while queues:
        key = draw(st.sampled_from(sorted(queues)))
        mixed.append(queues[key].pop(0))
        if not queues[key]:
            del queues[key]
        if draw(st.booleans()):
            mixed.append(draw(st.sampled_from(mixed)))
    return ordered, mixed


def run(events: list[Event], partitions: int = 1, crashes: frozenset[int] = frozenset()) -> list[Output]:
    """The outputs of both stages; each begins anew from its stored rows before the events of ``crashes``."""
    told: list[Output] = []
    for of, outputs in _stage(documents_stage, events, partitions, crashes):
        told += [Output(one.topic, f"{of}|{one.key}", one.record) for one in outputs]
    facts = [
        msgspec.convert(msgspec.to_builtins(one.record), RelationFact)
        for one in told
        if one.topic == RELATION and isinstance(one.record, Relation)
    ]
    for _, outputs in _stage(relations_stage, facts, partitions, crashes):
        told += outputs
    return told


def _stage(
    make: Any, events: list[Any], partitions: int, crashes: frozenset[int]
) -> list[tuple[tuple[str, int], list[Output]]]:
    replays: dict[tuple[str, int], Replay] = {}
    for place, event in enumerate(events):
        relation = isinstance(event, RelationFact)
        topic = RELATION if relation else f"finance.{event.entity}.v1"
        key = event.relation_key if relation else event.document_key
        of = (topic, crc32(key.encode()) % partitions)
        replay = replays.setdefault(of, Replay(make(POLICIES), topic))
        if place in crashes:
            replay.view.restart()
            replay.stage = make(POLICIES)
        replay.feed([event])
    for replay in replays.values():
        replay.heartbeat("odoo", END, "log")
    return [(of, replays[of].view.outputs) for of in sorted(replays)]


def standing(outputs: list[Output]) -> dict[str, Any]:
    """What stands at the end, by id; versions and the time of the last change may differ."""

    def last(topic: str, key: str) -> dict[str, Any]:
        return latest((one.record for one in outputs if one.topic == topic), key)

    findings = {
        key: (
            "ended" if f.status == "resolved" else "live",
            *(f.detector, f.rule, f.document_keys, f.level, f.due_at, f.opened_at),
            # A deadline's finding says what was known of its document when it fired.
            *(() if f.level else (f.severity, f.reasons, f.evidence, f.amount_at_risk)),
        )
        for key, f in last(FINDING, "finding_id").items()
        if isinstance(f, Finding) and f.status != "retracted"
    }
    exceptions = {
        key: (e.status, e.opened_at, e.resolved_at, e.evidence)
        for key, e in last(EXCEPTION, "exception_id").items()
        if e.status != "retracted"
    }
    clocks = {
        key: (c.status, c.started_at, c.due_at, c.stopped_at, c.level, c.evidence)
        for key, c in last(CLOCK, "clock_id").items()
    }
    return {"findings": findings, "exceptions": exceptions, "clocks": clocks}


def _holds(pair: tuple[list[Event], list[Event]], crashes: frozenset[int]) -> None:
    ordered, mixed = pair
    wanted = standing(run(ordered))
    assert wanted == standing(run(mixed)), "another order of arrival"
    assert wanted == standing(run(mixed, partitions=3)), "more partitions"
    assert run(mixed) == run(mixed, crashes=crashes), "restarts"


@settings(deadline=None, max_examples=8, suppress_health_check=CHECKS)
@given(arrivals(), st.frozensets(st.integers(0, 40), max_size=6))
def test_both_stages_end_in_the_same(pair: tuple[list[Event], list[Event]], crashes: frozenset[int]) -> None:
    _holds(pair, crashes)


@pytest.mark.full
@pytest.mark.timeout(1200)
@settings(deadline=None, max_examples=600, suppress_health_check=CHECKS)
@given(arrivals(), st.frozensets(st.integers(0, 40), max_size=6))
def test_both_stages_end_in_the_same_in_many_worlds(
    pair: tuple[list[Event], list[Event]], crashes: frozenset[int]
) -> None:
    _holds(pair, crashes)
