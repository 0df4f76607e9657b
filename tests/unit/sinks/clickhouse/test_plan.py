"""The plan over in-memory doubles of the log and the store, with a fault at any step."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.clickhouse.plan import RAW, Limits, Plan, PlanError, State

P0, P1 = ("finance.bill.v1", 0), ("finance.bill.v1", 1)
Log = dict[tuple[str, int], list[tuple[int, str, int]]]  # offset, document, version


class Failed(Exception):
    """The store gave an error, or no answer."""


class Crashed(Exception):
    """The process died."""


@dataclass
class Store:
    """A store whose inserts are atomic; `late` holds inserts that run on after their answer was lost."""

    derived: dict[str, int] = field(default_factory=dict)
    raw: list[tuple[tuple[str, int], int]] = field(default_factory=list)
    late: list[tuple[str, list[tuple[tuple[str, int], int, str, int]]]] = field(default_factory=list)

    def apply(self, table: str, rows: list[tuple[tuple[str, int], int, str, int]]) -> None:
        for partition, offset, document, version in rows:
            if table == RAW:
                self.raw.append((partition, offset))
            else:
                self.derived[document] = max(version, self.derived.get(document, -1))

    def stop_inserts(self, finish: bool) -> None:
        """Whatever still runs ends now: done or killed."""
        for table, rows in self.late:
            if finish:
                self.apply(table, rows)
        self.late = []

    def positions(self, log: Log) -> dict[tuple[str, int], int]:
        return {p: max((o for q, o in self.raw if q == p), default=-1) + 1 for p in log}


OUTCOMES = ("ok", "ok", "ok", "refused", "answer lost", "runs on", "dies before", "dies after")


def insert(store: Store, table: str, rows: list[tuple[tuple[str, int], int, str, int]], outcome: str) -> None:
    if outcome == "dies before":
        raise Crashed
    if outcome == "refused":
        raise Failed
    if outcome == "runs on":
        store.late.append((table, rows))
        raise Failed
    store.apply(table, rows)
    if outcome == "answer lost":
        raise Failed
    if outcome == "dies after":
        raise Crashed


def holds(store: Store, log: Log) -> None:
    """The raw log is a prefix of each partition, once, and nothing is in it that is not in the derived table."""
    assert len(store.raw) == len(set(store.raw))
    for partition, records in log.items():
        stored = sorted(offset for p, offset in store.raw if p == partition)
        assert stored == [offset for offset, _, _ in records[: len(stored)]]
        for _, document, version in records[: len(stored)]:
            assert store.derived[document] >= version


@st.composite
def logs(draw: st.DrawFn) -> Log:
    log: Log = {}
    for partition in (P0, P1):
        offset, records = 0, []
        for version in range(draw(st.integers(0, 12))):
            offset += draw(st.integers(1, 3))  # compaction and transactions leave gaps
            records.append((offset, f"{partition[1]}:{draw(st.integers(0, 3))}", version))
        log[partition] = records
    return log


@settings(max_examples=200, deadline=None)
@given(data=st.data(), log=logs(), rows=st.integers(1, 6))
def test_every_record_is_stored_once_whatever_fails_where(data: st.DataObject, log: Log, rows: int) -> None:
    store, plan = Store(), Plan[tuple[str, int]](Limits(rows=rows, linger=0))
    faults = data.draw(st.lists(st.sampled_from(OUTCOMES), max_size=40))
    read: dict[tuple[str, int], int] = {}
    for _ in range(500):
        done = sum(len(r) for r in log.values()) == len(store.raw)
        if done and plan.state is State.READING:
            break
        try:
            if plan.state is State.LOST:
                store.stop_inserts(finish=data.draw(st.booleans()))
                plan.resume(store.positions(log))
                # A consumer may hand out records again after a seek, never ones before that it skipped.
                read = {p: max(0, o - data.draw(st.integers(0, 2))) for p, o in plan.positions.items()}
            for partition, records in log.items():
                for offset, document, version in records:
                    if offset >= read[partition] and plan.waiting < rows + 2:
                        plan.offer(partition, offset, (document, version), 1, 0.0)
                        read[partition] = offset + 1
            if not plan.due(0.0):
                continue
            batch = plan.begin()
            todo = [(s.partition, o, *r) for s in batch.slices for o, r in zip(s.offsets, s.records, strict=True)]
            for table in plan.order(["documents"]):
                insert(store, table, todo, faults.pop() if faults else "ok")
                plan.written(table)
                holds(store, log)
        except Failed:
            plan.lost()
        except Crashed:
            plan = Plan(Limits(rows=rows, linger=0))
    holds(store, log)
    assert len(store.raw) == sum(len(records) for records in log.values())
    newest: dict[str, int] = {}
    for records in log.values():
        for _, document, version in records:
            newest[document] = max(version, newest.get(document, -1))
    assert store.derived == newest


def reading(rows: int = 3, linger: float = 0.5, size: int = 1000) -> Plan[str]:
    plan: Plan[str] = Plan(Limits(rows=rows, linger=linger, size=size))
    plan.resume({P0: 5, P1: 0})
    return plan


def test_a_record_read_again_is_not_taken_twice() -> None:
    plan = reading()
    assert not plan.offer(P0, 4, "stored before", 1, 0.0)
    assert plan.offer(P0, 5, "a", 1, 0.0)
    assert not plan.offer(P0, 5, "a", 1, 0.0)
    assert not plan.offer(("other", 0), 0, "not ours", 1, 0.0)
    assert plan.waiting == 1


@pytest.mark.parametrize(
    ("offers", "now", "due"),
    [
        ([], 99.0, False),
        ([1], 0.4, False),
        ([1], 0.5, True),
        ([1, 1, 1], 0.0, True),
        ([999], 0.0, False),
        ([999, 1], 0.0, True),
    ],
)
def test_a_batch_is_due_by_rows_by_bytes_or_by_waiting(offers: list[int], now: float, due: bool) -> None:
    plan = reading()
    for number, size in enumerate(offers):
        plan.offer(P1, number, "r", size, 0.0)
    assert plan.due(now) is due


def test_a_batch_never_exceeds_the_limit_and_loses_nothing() -> None:
    plan = reading(rows=3)
    for number in range(5):
        plan.offer(P0, 5 + number, "r", 1, 0.0)
        plan.offer(P1, number, "r", 1, 0.0)
    seen: list[int] = []
    while plan.waiting:
        batch = plan.begin()
        seen.append(batch.rows)
        plan.order([])
        assert plan.written(RAW)
    assert seen == [3, 3, 3, 1]
    assert plan.positions == {P0: 10, P1: 5}


def test_the_position_moves_with_the_raw_log_and_not_before() -> None:
    plan = reading()
    plan.offer(P0, 7, "r", 1, 0.0)
    plan.begin()
    assert plan.order(["event_log", "document_states"]) == ("event_log", "document_states", RAW)
    assert not plan.written("event_log")
    assert not plan.written("document_states")
    assert plan.positions[P0] == 5
    assert plan.written(RAW)
    assert plan.positions[P0] == 8


def test_calls_out_of_order_are_refused() -> None:
    plan: Plan[str] = Plan(Limits())
    with pytest.raises(PlanError):
        plan.offer(P0, 0, "r", 1, 0.0)
    with pytest.raises(PlanError):
        reading().begin()
    plan = reading()
    plan.offer(P0, 5, "r", 1, 0.0)
    plan.begin()
    with pytest.raises(PlanError):
        plan.resume({})
    with pytest.raises(PlanError):
        plan.order([RAW, "event_log"])
    plan.order(["event_log"])
    with pytest.raises(PlanError):
        plan.written(RAW)
    plan.lost()
    assert plan.state is State.LOST
    assert plan.waiting == 0


def test_a_limit_that_would_split_an_insert_is_refused() -> None:
    with pytest.raises(ValueError, match="1,000,000"):
        Limits(rows=1_000_001)
