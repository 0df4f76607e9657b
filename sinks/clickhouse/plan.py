"""The sink's plan, without I/O: what was read, what is written next and in which order, and from where to go on.

Why the store is exact, whatever dies when:

1. The position of a partition is `max(offset) + 1` of `raw_log`. It lives in the same table as the records, so the two
   cannot disagree.
2. A batch is written to the derived tables first and to `raw_log` last, in one insert that is one part: the records and
   the new position appear together or not at all.
3. A crash between the inserts leaves derived rows whose records are not in `raw_log` yet. They are read and written
   again; the derived tables keep one row a key, so nothing is doubled.
4. An insert whose answer was lost may have been done. So after any failure the state is LOST: nothing that was read or
   is in flight counts any more, the positions are read again from the store (after whatever may still be running there
   was stopped), and reading goes on from there.

A log that forgets (the embedded broker) cannot be read again: the store is the memory of what follows from it. There
(`ranks` are given) two things are different:

5. The raw log is written first and the derived tables after it, so that no derived row stands whose record may be lost;
   after a crash between the inserts the last batch is derived again from the raw log.
6. What follows from other records (rank 1: relation facts; rank 2: all else that the streams say) is stored in no
   earlier batch than what it follows from (rank 0: what producers write). Otherwise a finding could stand whose facts
   are lost; in the next life they come in another order, and what is said then could be hidden behind its version.
   A record follows from others that stood in the log when it was written. So the ends of the lower ranks, asked for
   after it was read, lie behind all that it follows from: the shell asks (`wants_fence`, `fence`), reads up to them
   (`behind`), and only then begins a batch.

The shell (`sinks.clickhouse.sink`) does the I/O and tells the plan what happened; a call out of order raises PlanError,
because going on would cost rows.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

R = TypeVar("R")

Partition = tuple[str, int]
"""Topic and partition number."""

RAW = "raw_log"
"""The commit record: always the last insert of a batch."""


class PlanError(Exception):
    """The shell did something that the plan does not allow at this point."""


class State(Enum):
    """Where the plan stands."""

    LOST = "lost"  # positions unknown: read them from the store, then `resume`
    READING = "reading"  # collecting records
    WRITING = "writing"  # a batch is being inserted, table after table


@dataclass(frozen=True)
class Limits:
    """When a batch is full. `rows` must stay below a million: above it the store splits an insert into two parts."""

    rows: int = 50_000
    size: int = 64 * 1024 * 1024
    linger: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.rows <= 1_000_000:
            raise ValueError("a batch must hold between 1 and 1,000,000 rows")


@dataclass
class Slice(Generic[R]):
    """Records of one partition, in the order of their offsets."""

    partition: Partition
    offsets: list[int] = field(default_factory=list)
    records: list[R] = field(default_factory=list)


@dataclass(frozen=True)
class Batch(Generic[R]):
    """What is written together: slices by partition."""

    slices: tuple[Slice[R], ...]

    @property
    def rows(self) -> int:
        """Number of records."""
        return sum(len(part.offsets) for part in self.slices)

    @property
    def next(self) -> dict[Partition, int]:
        """Positions once the batch stands."""
        return {part.partition: part.offsets[-1] + 1 for part in self.slices}


class Plan(Generic[R]):
    """The state machine of the sink. Not for use from several threads.

    `ranks`: for a log that forgets, how far a topic's records are from what producers write (0, 1 or 2).
    """

    def __init__(self, limits: Limits, ranks: Callable[[str], int] | None = None) -> None:
        self.limits = limits
        self._ranks = ranks
        self._fence: dict[Partition, int] | None = None
        self.state = State.LOST
        self.positions: dict[Partition, int] = {}
        self._expected: dict[Partition, int] = {}
        self._slices: dict[Partition, Slice[R]] = {}
        self._rows = 0
        self._size = 0
        self._since: float | None = None
        self._batch: Batch[R] | None = None
        self._left: list[str] = []

    @property
    def waiting(self) -> int:
        """Records collected and not yet in a batch."""
        return self._rows

    def resume(self, positions: Mapping[Partition, int]) -> None:
        """LOST -> READING. `positions`: the next offset of every partition, as the store says; seek to them."""
        self._require(State.LOST)
        self.positions = dict(positions)
        self._expected = dict(positions)
        self.state = State.READING

    def add_partitions(self, positions: Mapping[Partition, int]) -> None:
        """Take further partitions in; known ones are left as they are."""
        self._require(State.READING)
        for partition, position in positions.items():
            if partition not in self.positions:
                self.positions[partition] = self._expected[partition] = position

    def offer(self, partition: Partition, offset: int, record: R, size: int, now: float) -> bool:
        """Collect one record; False when it was collected before (read again after a seek) or is of no partition here.

        `now`: monotonic seconds. Gaps in the offsets are normal (compaction, transactions).
        """
        self._require(State.READING)
        expected = self._expected.get(partition)
        if expected is None or offset < expected:
            return False
        part = self._slices.get(partition)
        if part is None:
            part = self._slices[partition] = Slice(partition)
        part.offsets.append(offset)
        part.records.append(record)
        self._expected[partition] = offset + 1
        self._rows += 1
        self._size += size
        if self._since is None:
            self._since = now
        return True

    def wants_fence(self) -> bool:
        """True when something was collected that may only be stored with what it follows from, and no fence stands."""
        return self._ranks is not None and self._fence is None and any(self._ranks(topic) for topic, _ in self._slices)

    def follows(self) -> dict[Partition, int]:
        """How far the records of rank 2 were collected: to be taken before the ends of the others are asked for."""
        return {p: offset for p, offset in self._expected.items() if self._ranks is not None and self._ranks(p[0]) == 2}

    def fence(self, ends: Mapping[Partition, int]) -> None:
        """Let batches hold records up to these offsets. Of rank 0 what lies behind the end may be stored as well."""
        self._require(State.READING)
        self._fence = dict(ends)

    def behind(self) -> bool:
        """True while something below the fence has not been collected."""
        known = self._expected
        return self._fence is not None and any(known.get(p, end) < end for p, end in self._fence.items())

    def due(self, now: float) -> bool:
        """True when what was collected should be written now."""
        if self.state is not State.READING or self._since is None:
            return False
        return (
            self._rows >= self.limits.rows or self._size >= self.limits.size or now - self._since >= self.limits.linger
        )

    def begin(self, now: float | None = None) -> Batch[R]:
        """READING -> WRITING with at most `limits.rows` of what was collected; call `order` next.

        With ranks: the lower ones first, and nothing beyond the fence. What has to wait for the next fence lingers
        from `now` on.
        """
        self._require(State.READING)
        if not self._slices:
            raise PlanError("there is nothing to write")
        if self._ranks is not None and (self.wants_fence() or self.behind()):
            raise PlanError("what the records follow from is not collected")
        taken: list[Slice[R]] = []
        room = self.limits.rows
        for partition in self._by_rank():
            part = self._slices[partition]
            count = min(room, self._allowed(part))
            if count == len(part.offsets):
                taken.append(self._slices.pop(partition))
            elif count:
                taken.append(Slice(partition, part.offsets[:count], part.records[:count]))
                part.offsets, part.records = part.offsets[count:], part.records[count:]
            room -= count
            if room <= 0:
                break
        self._batch = Batch(tuple(taken))
        self._rows -= self._batch.rows
        if self._fence is not None and not any(self._held(part) for part in self._slices.values()):
            self._fence = None
            self._since = now  # what is left came later than the fence
        if not self._slices:
            self._size, self._since = 0, None
        self._left = []
        self.state = State.WRITING
        return self._batch

    def _by_rank(self) -> list[Partition]:
        ranks = self._ranks
        return list(self._slices) if ranks is None else sorted(self._slices, key=lambda partition: ranks(partition[0]))

    def _allowed(self, part: Slice[R]) -> int:
        """How many of a slice's records may be stored now."""
        if self._ranks is None or self._ranks(part.partition[0]) == 0:
            return len(part.offsets)
        return self._held(part)

    def _held(self, part: Slice[R]) -> int:
        """How many of a slice's records lie below the fence."""
        return bisect_left(part.offsets, 0 if self._fence is None else self._fence.get(part.partition, 0))

    def order(self, derived: Sequence[str]) -> tuple[str, ...]:
        """The order of this batch's inserts: the `derived` tables as given, then the raw log; with ranks that first."""
        self._require(State.WRITING)
        if self._left:
            raise PlanError("the batch has its order")
        if RAW in derived or len(set(derived)) != len(derived):
            raise PlanError("one insert a table, and the raw log last")
        self._left = [*derived, RAW] if self._ranks is None else [RAW, *derived]
        return tuple(self._left)

    def written(self, table: str) -> bool:
        """The store has confirmed the insert into `table`; True when that was the last: the batch stands."""
        self._require(State.WRITING)
        if not self._left or self._left[0] != table:
            raise PlanError(f"{table} is not the next insert")
        self._left.pop(0)
        if self._left:
            return False
        assert self._batch is not None
        self.positions.update(self._batch.next)
        self._batch = None
        self.state = State.READING
        return True

    def lost(self) -> None:
        """Something failed: forget all that is not known to stand."""
        self._slices, self._batch, self._left, self._fence = {}, None, [], None
        self._rows, self._size, self._since = 0, 0, None
        self.positions, self._expected = {}, {}
        self.state = State.LOST

    def _require(self, state: State) -> None:
        if self.state is not state:
            raise PlanError(f"the plan is {self.state.value}, not {state.value}")
