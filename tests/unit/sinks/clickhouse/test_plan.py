"""The plan over in-memory doubles of the log and the store, with a fault at any step."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finwatch.runtime.topics import FINDING, RELATION
from sinks.clickhouse.plan import RAW, Limits, Plan, PlanError, State
from sinks.clickhouse.sink import rank

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


INPUTS, FACTS, FINDINGS = "finance.bill.v1", RELATION, FINDING
Place = tuple[tuple[str, int], int]  # partition and offset


@dataclass
class Streams:
    """A log that forgets, with two stages at work on it: what each record follows from."""

    log: dict[tuple[str, int], list[Place | None]] = field(
        default_factory=lambda: {(topic, number): [] for topic in (INPUTS, FACTS, FINDINGS) for number in (0, 1)}
    )
    done: dict[tuple[str, int], int] = field(default_factory=dict)

    def happens(self, what: str, number: int) -> None:
        """Something is published, or a stage takes its next record of a partition."""
        if what == "input":
            self.log[INPUTS, number].append(None)
            return
        source = (INPUTS if what == "documents" else FACTS, number)
        offset = self.done.get(source, 0)
        if offset == len(self.log[source]):
            return
        self.done[source] = offset + 1
        if what == "documents":
            self.log[FACTS, 1 - number].append((source, offset))
        self.log[FINDINGS, number].append((source, offset))


def closed(stored: set[Place], streams: Streams) -> bool:
    """Nothing is stored whose cause is not."""
    causes = [streams.log[partition][offset] for partition, offset in stored]
    return all(cause is None or cause in stored for cause in causes)


def write(plan: Plan[str], stored: set[Place]) -> None:
    for part in plan.begin(0.0).slices:
        stored.update((part.partition, offset) for offset in part.offsets)
    for table in plan.order([]):
        plan.written(table)


EVENTS = st.lists(st.tuples(st.sampled_from(["input", "documents", "relations"]), st.integers(0, 1)), max_size=6)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), rows=st.integers(1, 8))
def test_of_a_log_that_forgets_nothing_is_stored_before_what_it_follows_from(data: st.DataObject, rows: int) -> None:
    """Whenever it is killed: whichever partition is read ahead, and whatever happens between two questions."""
    streams, plan, stored = Streams(), Plan[str](Limits(rows=rows, linger=0), rank), set[Place]()
    plan.resume(dict.fromkeys(streams.log, 0))
    read = dict.fromkeys(streams.log, 0)

    def meanwhile() -> None:
        for what, number in data.draw(EVENTS):
            streams.happens(what, number)

    def collect(partition: tuple[str, int], most: int) -> None:
        for offset in range(read[partition], min(len(streams.log[partition]), read[partition] + most)):
            plan.offer(partition, offset, "r", 1, 0.0)
            read[partition] = offset + 1

    for _ in range(data.draw(st.integers(1, 8))):
        meanwhile()
        for partition in data.draw(st.lists(st.sampled_from(sorted(read)), max_size=4)):
            collect(partition, data.draw(st.integers(1, 4)))
        if not plan.due(0.0):
            continue
        if plan.wants_fence():
            fence = plan.follows()
            for topic in (FACTS, INPUTS):
                meanwhile()
                fence |= {p: len(records) for p, records in streams.log.items() if p[0] == topic}
            plan.fence(fence)
        while plan.behind():
            meanwhile()
            for partition in read:
                collect(partition, 2)
        write(plan, stored)
        assert closed(stored, streams)
    # In the end all of it is stored.
    while len(stored) < sum(map(len, streams.log.values())):
        for partition in read:
            collect(partition, 100)
        if plan.wants_fence():
            plan.fence(plan.follows() | {p: len(r) for p, r in streams.log.items() if p[0] != FINDINGS})
        write(plan, stored)
    assert closed(stored, streams)


def test_without_ranks_a_finding_is_stored_before_its_fact() -> None:
    """What the fence is for: a partition of facts was read later than the one of findings."""
    streams = Streams()
    for what in ("input", "documents"):
        streams.happens(what, 0)
    streams.happens("relations", 1)
    for ranks in (None, rank):
        plan, stored = Plan[str](Limits(linger=0), ranks), set[Place]()
        plan.resume(dict.fromkeys(streams.log, 0))
        plan.offer((INPUTS, 0), 0, "input", 1, 0.0)
        plan.offer((FINDINGS, 1), 0, "finding", 1, 0.0)
        if ranks is None:
            write(plan, stored)
            assert not closed(stored, streams)
            continue
        plan.fence(plan.follows() | {(FACTS, 1): 1, (INPUTS, 0): 1})
        with pytest.raises(PlanError, match="follow from"):
            plan.begin()
        plan.offer((FACTS, 1), 0, "fact", 1, 0.0)
        write(plan, stored)
        assert closed(stored, streams) and ((FINDINGS, 1), 0) in stored


def test_of_a_log_that_forgets_the_raw_log_is_first() -> None:
    plan = Plan[str](Limits(linger=0), rank)
    plan.resume({P0: 0})
    plan.offer(P0, 0, "r", 1, 0.0)
    plan.begin()
    assert plan.order(["event_log", "document_states"]) == (RAW, "event_log", "document_states")
