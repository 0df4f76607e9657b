"""The reader of the state topic against a model: crashes at every record, zombies, takeovers, clean-up, compaction."""

from __future__ import annotations

import functools
import random
from bisect import bisect_left

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Struct

from streams.checkpoint import Branch, Record, Restored, StateDamaged, commit_key, restore, row_key, split_key
from streams.gathering import Gathering
from streams.rows import RowStore, unpack_row

TOPICS = ("in.a", "in.b")
KEYS = [f"d:s:{n}" for n in range(5)]


class Row(Struct):
    """A row that says which event wrote it."""

    event: int
    total: int


def apply(rows: RowStore, number: int) -> None:
    """Event `number`, a pure function: puts or deletes a row and changes an aggregate; sets or clears a timer."""
    rnd = random.Random(number)
    key = rnd.choice(KEYS)
    old = rows.get(key, Row)
    total = rows.get("total", Row) or Row(0, 0)
    if old is not None and rnd.random() < 0.3:
        rows.delete(key)
    else:
        rows.put(key, Row(number, (old.total if old else 0) + 1), rnd.choice([None, number + 100]))
    rows.put("total", Row(number, total.total + 1))
    rows.timeline.move("s", number, lambda _key, _due: None)


@functools.cache
def model(position: int) -> dict[str, tuple[int | None, bytes]]:
    """Rows after the events below `position`."""
    rows = RowStore(0)
    for number in range(position):
        apply(rows, number)
    return {key: unpack_row(value)[1:] for key, value in rows.take_changes(0) if len(value) > 16}


def gathered(log: list[Record]) -> dict[str, Restored | None]:
    """What one walk over the log tells."""
    gathering = Gathering(TOPICS)
    for key, value in log:
        gathering.add(key, value)
    return gathering.states()


class Worker:
    """One worker with one branch of one input topic; its records reach the log one at a time."""

    def __init__(self, topic: str, log: list[Record], name: int) -> None:
        state = restore(log, [topic])[topic]
        self.topic = topic
        self.rows = RowStore(0, state.rows)
        self.rows.dirty.update(state.repair)
        self.next = state.next or 0
        self.branch = Branch(topic, state.lineage, name.to_bytes(8, "big"))
        self.sending: list[Record] = []
        self.loaded_at = len(log)
        self.committed: int | None = None  # position of its last commit in the log
        self.at_commit = 0
        self.adopted = False

    def checkpoint(self, adopt: bool) -> None:
        if adopt:
            self.rows.dirty.update(self.rows.keys())
            self.branch.lineage = []
        self.branch.checkpoint += 1
        changes = self.rows.take_changes(self.branch.checkpoint)
        self.at_commit = self.next
        self.sending = [
            *self.branch.row_records(changes),
            self.branch.commit_record(self.next, len(self.rows) + 1),
        ]


class StateTopic(RuleBasedStateMachine):
    """One state partition, two input topics; a current worker for each and any number of zombies."""

    @initialize()
    def begin(self) -> None:
        self.log: list[Record] = []
        self.names = 0
        self.owner = {topic: self.new(topic) for topic in TOPICS}
        self.zombies: list[Worker] = []
        self.best: dict[str, int | None] = dict.fromkeys(TOPICS)
        self.cleaned = dict.fromkeys(TOPICS, -1)  # position of the last clean-up's owner
        self.safe = dict.fromkeys(TOPICS, 0)  # records before this are older than the compaction lag

    def new(self, topic: str) -> Worker:
        self.names += 1
        return Worker(topic, self.log, self.names)

    def send(self, worker: Worker) -> None:
        key, value = worker.sending.pop(0)
        self.log.append((key, value))
        if key == commit_key(worker.topic, worker.branch.id):
            worker.committed = len(self.log)
            best = self.best[worker.topic]
            if worker is self.owner[worker.topic] or self.cleaned[worker.topic] < 0:
                self.best[worker.topic] = max(worker.at_commit, best or 0)

    @rule(topic=st.sampled_from(TOPICS), count=st.integers(1, 4))
    def process(self, topic: str, count: int) -> None:
        worker = self.owner[topic]
        for _ in range(count):
            apply(worker.rows, worker.next)
            worker.next += 1

    @rule(topic=st.sampled_from(TOPICS))
    def start_checkpoint(self, topic: str) -> None:
        if not self.owner[topic].sending:
            self.owner[topic].checkpoint(adopt=False)

    @rule(topic=st.sampled_from(TOPICS), count=st.integers(1, 9))
    def send_some(self, topic: str, count: int) -> None:
        for _ in range(min(count, len(self.owner[topic].sending))):
            self.send(self.owner[topic])

    @rule(topic=st.sampled_from(TOPICS), zombie=st.booleans())
    def lose(self, topic: str, zombie: bool) -> None:
        """The owner is killed between two records, or goes on as a zombie; another worker takes over."""
        if zombie:
            self.zombies.append(self.owner[topic])
        self.owner[topic] = self.new(topic)

    @precondition(lambda self: self.zombies)
    @rule(data=st.data(), count=st.integers(0, 3), send=st.integers(0, 9))
    def zombie_goes_on(self, data: st.DataObject, count: int, send: int) -> None:
        """It processes the same input and writes a part of a checkpoint, or all of it."""
        worker = data.draw(st.sampled_from(self.zombies))
        for _ in range(count):
            apply(worker.rows, worker.next)
            worker.next += 1
        if not worker.sending:
            worker.checkpoint(adopt=False)
        for _ in range(min(send, len(worker.sending))):
            self.send(worker)

    @rule(topic=st.sampled_from(TOPICS))
    def adopt_and_clean(self, topic: str) -> None:
        """Ten minutes after a takeover: all rows in the own branch, then deletion of what others left."""
        worker = self.owner[topic]
        while worker.sending:
            self.send(worker)
        worker.checkpoint(adopt=True)
        while worker.sending:
            self.send(worker)
        # A commit beyond the own position belongs to somebody who is alive: nothing is deleted.
        if (self.best[topic] or 0) > worker.at_commit:
            return
        rows: dict[bytes, None] = {}
        commits: dict[bytes, None] = {}
        for key, value in self.log:
            kind, of, branch, _ = split_key(key)
            if of == topic and branch != worker.branch.id:
                found = rows if kind == b"r" else commits
                found.pop(key, None)
                if value is not None:
                    found[key] = None
        self.cleaned[topic] = worker.at_commit
        self.safe[topic] = len(self.log)
        worker.adopted = True
        self.log.extend((key, None) for key in [*rows, *commits])

    @rule(topic=st.sampled_from(TOPICS), share=st.sampled_from([1.0, 1.0, 0.7, 0.3]))
    def compact(self, topic: str, share: float) -> None:
        """The cleaner keeps the newest record of each key, in what is older than the compaction lag."""
        if self.owner[topic].committed is not None:  # what it found in need of repair is written again
            self.safe[topic] = max(self.safe[topic], self.owner[topic].loaded_at)
        limit = int(self.safe[topic] * share)
        newest = {key: position for position, (key, _) in enumerate(self.log[:limit])}
        gone = [
            position
            for position, (key, _) in enumerate(self.log[:limit])
            if newest[key] != position and split_key(key)[1] == topic
        ]
        for position in reversed(gone):
            del self.log[position]
        self.safe = {of: position - bisect_left(gone, position) for of, position in self.safe.items()}
        for worker in [*self.owner.values(), *self.zombies]:
            worker.loaded_at -= bisect_left(gone, worker.loaded_at)

    @invariant()
    def what_is_read_is_true(self) -> None:
        """At any moment a reader finds a true state, and none older than what the owner has committed."""
        in_one_walk = gathered(self.log)
        for topic, state in restore(self.log, TOPICS).items():
            told = in_one_walk[topic]
            if not self.zombies and self.cleaned[topic] < 0:
                assert told is not None
            assert told is None or told == state
            if state.next is None:
                assert self.best[topic] is None
                continue
            best = self.best[topic]
            assert best is not None
            assert state.next >= best
            assert {key: unpack_row(value)[1:] for key, value in state.rows.items()} == model(state.next)


TestStateTopic = StateTopic.TestCase
TestStateTopic.settings = settings(
    max_examples=80, stateful_step_count=35, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def _committed(topic: str, numbers: range, log: list[Record], name: int) -> Worker:
    worker = Worker(topic, log, name)
    for number in numbers:
        apply(worker.rows, number)
    worker.next = numbers.stop
    worker.checkpoint(adopt=False)
    log.extend(worker.sending)
    worker.sending = []
    return worker


def test_every_prefix_of_the_log_is_a_true_state() -> None:
    log: list[Record] = []
    for name in range(1, 6):
        _committed("in.a", range((name - 1) * 7, name * 7), log, name)
    seen = set()
    for length in range(len(log) + 1):
        state = restore(log[:length], ["in.a"])["in.a"]
        seen.add(state.next)
        assert gathered(log[:length])["in.a"] == state
        if state.next is not None:
            assert {key: unpack_row(value)[1:] for key, value in state.rows.items()} == model(state.next)
    assert seen == {None, 7, 14, 21, 28, 35}


def test_a_row_that_does_not_count_is_to_be_written_again() -> None:
    log: list[Record] = []
    worker = _committed("in.a", range(9), log, 1)
    apply(worker.rows, 9)
    worker.next = 10
    worker.checkpoint(adopt=False)
    log.extend(worker.sending[:-1])  # crash before the commit record
    state = restore(log, ["in.a"])["in.a"]
    assert state.next == 9
    assert "total" in state.repair
    assert gathered(log)["in.a"] == state
    loaded_at = len(log)
    _committed("in.a", range(9, 9), log, 2)  # the next owner, without any event
    newest = {key: position for position, (key, _) in enumerate(log[:loaded_at])}
    kept = [record for position, record in enumerate(log) if position >= loaded_at or newest[record[0]] == position]
    assert len(kept) < len(log)  # the row that counted is gone, as compaction leaves the newest of a key
    state = restore(kept, ["in.a"])["in.a"]
    assert {key: unpack_row(value)[1:] for key, value in state.rows.items()} == model(9)


def test_missing_rows_are_never_taken_for_a_state() -> None:
    log: list[Record] = []
    _committed("in.a", range(9), log, 1)
    log.append((row_key("in.a", (1).to_bytes(8, "big"), "total"), None))
    assert gathered(log)["in.a"] is None
    with pytest.raises(StateDamaged, match=r"in\.a"):
        restore(log, ["in.a"])


def test_topics_of_one_state_partition_do_not_mix() -> None:
    log: list[Record] = []
    _committed("in.a", range(5), log, 1)
    _committed("in.b", range(20), log, 2)
    states = restore(log, TOPICS)
    assert {topic: state.next for topic, state in states.items()} == {"in.a": 5, "in.b": 20}
    assert restore(log, ["in.c"])["in.c"].next is None
