"""The published results of the travel declarations come out of the steps and clocks, exactly."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from xml.etree.ElementTree import iterparse

import pytest

from finwatch.domain.calendar import instant
from finwatch.domain.events import Transition
from finwatch.domain.identity import deterministic_id
from finwatch.domain.records import Clock, Step
from finwatch.runtime.policies import load_policies
from finwatch.runtime.topics import CLOCK, STEP
from streams.agents.registry import documents_stage
from streams.agents.replay import Replay

ACTIVITIES = {
    "SUBMITTED": ("submitted", None),
    "SAVED": ("saved", None),
    "APPROVED": ("approved", "approved"),
    "FINAL_APPROVED": ("final_approved", "approved"),
    "REJECTED": ("rejected", "rejected"),
    "Request Payment": ("payment_requested", None),
    "Payment Handled": ("paid", None),
}


def read_declarations(log: Path) -> Iterator[Transition]:
    """The log's events, trace by trace."""
    with gzip.open(log) as file:
        for _, element in iterparse(file):
            if not element.tag.endswith("trace"):
                continue
            case = next(part.get("value") for part in element if part.get("key") == "concept:name")
            assert case is not None
            for event in element:
                if event.tag.endswith("event"):
                    yield _transition(case, {part.get("key"): part.get("value") or "" for part in event})
            element.clear()


def _transition(case: str, part: dict[str | None, str]) -> Transition:
    at = instant(datetime.fromisoformat(part["time:timestamp"]))
    name = part["concept:name"]
    words = name.removeprefix("Declaration ").split(" by ")
    activity, decision = ACTIVITIES[words[0]]
    role = words[1].lower().replace(" ", "_") if len(words) == 2 else None
    return Transition(
        event_id=deterministic_id(case, part["id"], name),
        document_key=f"travel:expense_report:{case}",
        source="travel",
        entity="expense_report",
        record_id=case,
        op="u",
        timeline="log",
        occurred_at=at,
        observed_at=at,
        activity=activity,
        label=name,
        role=role,
        decision=decision,
        amount=Decimal(part["(case)_Amount"]).quantize(Decimal("0.000001")),
        currency="EUR",
    )


@pytest.fixture(scope="module")
def events(data_dir: Path) -> list[Transition]:
    """All events, in order of time across the cases, as the importer publishes them; equal times keep the log's."""
    return sorted(
        read_declarations(data_dir / "bpi2020" / "DomesticDeclarations.xes.gz"), key=lambda event: event.occurred_at
    )


@pytest.fixture(scope="module")
def replay(events: list[Transition]) -> Replay:
    replay = Replay(documents_stage(load_policies()), "finance.expense_report.v1")
    replay.feed(events)
    return replay


@pytest.fixture(scope="module")
def steps(replay: Replay) -> list[Step]:
    """The latest version of each step."""
    latest = {record.step_id: record for record in replay.outputs(STEP) if isinstance(record, Step)}
    return [step for step in latest.values() if not step.retracted]


@pytest.fixture(scope="module")
def clocks(replay: Replay) -> list[Clock]:
    """The latest version of each clock."""
    return list({record.clock_id: record for record in replay.outputs(CLOCK) if isinstance(record, Clock)}.values())


def test_decisions_by_role(steps: list[Step]) -> None:
    decided = Counter((step.role, step.decision) for step in steps if step.decided_at is not None)
    assert {
        role: (decided[role, "approved"], decided[role, "rejected"])
        for role in ("administration", "pre_approver", "budget_owner", "supervisor", "employee", "missing")
    } == {
        "administration": (8061, 936),
        "pre_approver": (685, 86),
        "budget_owner": (2747, 57),
        "supervisor": (9999, 286),
        "employee": (0, 1350),
        "missing": (0, 89),
    }


def test_every_decision_is_one_step(events: list[Transition], steps: list[Step]) -> None:
    decided = [step for step in steps if step.decision in ("approved", "rejected")]
    assert len(decided) == sum(event.decision is not None for event in events)
    assert len({step.evidence[-1] for step in decided}) == len(decided)


# name: pairs, wall (p50, p95, max, over 48 h), business (p50, p95, max, over 20 h, over 48 h)
DURATIONS = {
    "approved_to_payment_request": (9912, (27.157, 248.061, 5632.320, 3829), (11.400, 74.775, 1683.260, 3130, 1005)),
    "payment_request_to_payment": (9911, (77.777, 146.616, 913.261, 9004), (27.437, 42.616, 262.261, 7900, 418)),
    "submission_to_final_approval": (9938, (24.677, 251.532, 4199.045, 3981), (8.269, 70.441, 1250.045, 2985, 1125)),
}


@pytest.mark.parametrize("name", DURATIONS)
def test_durations(clocks: list[Clock], name: str) -> None:
    pairs, wall, business = DURATIONS[name]
    stopped = [clock for clock in clocks if clock.policy == name and clock.stopped_at is not None]
    assert len(stopped) == pairs
    hours = sorted(clock.wall_seconds / 3600 for clock in stopped if clock.wall_seconds is not None)
    assert [*_published(hours), sum(h > 48 for h in hours)] == [pytest.approx(v, abs=0.00051) for v in wall]
    hours = sorted(clock.business_seconds / 3600 for clock in stopped if clock.business_seconds is not None)
    over = [sum(h > limit for h in hours) for limit in (20, 48)]
    assert [*_published(hours), *over] == [pytest.approx(v, abs=0.00051) for v in business]


def _published(values: list[float]) -> list[float]:
    """p50, p95 and maximum: the quantile is the element at floor(p x n), which ClickHouse calls quantileExact."""
    return [values[int(0.5 * len(values))], values[int(0.95 * len(values))], values[-1]]


def test_breaches_agree_with_the_durations(clocks: list[Clock]) -> None:
    for name, (_, _, business) in DURATIONS.items():
        breached = [c for c in clocks if c.policy == name and c.stopped_at is not None and c.status == "breached"]
        over = [c for c in breached if c.business_seconds is not None and c.business_seconds > 20 * 3600]
        assert len(over) == business[3]
        # Late as well, though no working time passed: due when a day's work ended, stopped before the next began.
        rest = [c for c in breached if c not in over]
        assert {c.business_seconds for c in rest} <= {20 * 3600}
        assert all((c.due_at or 0) < (c.stopped_at or 0) for c in rest)


def test_declarations_without_final_approval(events: list[Transition], steps: list[Step]) -> None:
    approved = {s.document_key for s in steps if s.role == "supervisor" and s.decision == "approved"}
    assert len({event.document_key for event in events} - approved) == 419
