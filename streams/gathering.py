"""The state of one state partition in one walk over its records, for all but rare histories.

``streams.checkpoint.restore`` says what the records mean. It has to know which checkpoints count before it looks at the
rows, so it walks twice, and a state of a gigabyte is read twice. Here each branch's newest rows are kept as they come,
each with the one before it for as long as the newest is not known to count. That is enough, as a branch writes one
checkpoint after the other:

- after a clean end every newest row counts;
- after a crash only rows of the one checkpoint that was being written do not, and the one before each of them does.

What it is not enough for, it says (None): a branch that went on after another took over from it (a zombie), rows that
were deleted while others of their branch are wanted, a best branch that is no longer whole. Then ``restore`` decides.
"""

from __future__ import annotations

from collections.abc import Collection

from streams.checkpoint import BRANCH_BYTES, Commit, Restored, read_commit
from streams.rows import HEADER

_NUMBER = 8
"""The checkpoint's number is the first field of a stored row's header, big-endian: as bytes it compares as a number."""


def _number(checkpoint: int) -> bytes:
    return checkpoint.to_bytes(_NUMBER, "big")


class _Rows:
    """The rows of one branch. ``before``: what stood where the newest may not count. ``newest``: its last commit."""

    __slots__ = ("before", "deleted", "held", "newest", "settled")

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.before: dict[str, bytes] = {}
        self.newest = _number(0)
        self.deleted = False
        self.settled = False  # its last record is a commit: a checkpoint's rows stand before it, so every row counts

    def committed(self, checkpoint: int) -> None:
        self.newest = number = _number(checkpoint)
        self.settled = True
        if self.before:
            held = self.held
            self.before = {row: value for row, value in self.before.items() if held[row][:_NUMBER] > number}

    def as_of(self, checkpoint: int) -> tuple[dict[str, bytes], set[str]] | None:
        """The rows as of a checkpoint, and those whose newest does not count; None when it cannot be told."""
        limit = _number(checkpoint)
        if self.deleted or self.newest > limit:
            return None
        if self.settled:
            return self.held, set()
        beyond = [row for row, value in self.held.items() if value[:_NUMBER] > limit]
        for row in beyond:
            value = self.before.get(row)
            if value is None:
                del self.held[row]
            elif value[:_NUMBER] > limit:
                return None
            else:
                self.held[row] = value
        return self.held, {row for row in beyond if row in self.held}


class Gathering:
    """Takes the records of one state partition, in log order, and then gives the state of each input topic once."""

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = {topic.encode(): topic for topic in topics}
        self._branches: dict[bytes, _Rows | None] = {}  # by key prefix; None for a topic that is not wanted
        self._commits: dict[str, dict[bytes, tuple[Commit, int]]] = {topic: {} for topic in topics}
        self._order = 0
        # The branch whose rows come one after the other: its prefix (0xff: no key begins so), and what it holds.
        self._prefix = b"\xff"
        self._start = 0
        self._rows = _Rows()
        self._held = self._rows.held

    def add(self, key: bytes, value: bytes | None) -> None:
        """Take the next record."""
        if not key.startswith(self._prefix) and not self._turn(key, value):
            return
        row = key[self._start :].decode()
        if value is None:
            self._rows.held.pop(row, None)
            self._rows.before.pop(row, None)
            self._rows.deleted = True
            return
        was = self._held.setdefault(row, value)
        if was is not value:
            if value[:_NUMBER] > self._rows.newest:
                self._rows.before[row] = was
            self._held[row] = value

    def _turn(self, key: bytes, value: bytes | None) -> bool:
        """Turn to the branch of a row; False for what is no row that is wanted, commits among it: those are taken."""
        end = key.index(0, 1) + 1 + BRANCH_BYTES
        prefix = key[:end]
        rows = self._branches[prefix] if prefix in self._branches else self._begin(key, prefix)
        if rows is None:
            return False
        if key[0] == 99:  # c: a commit record; its branch's rows stand under r
            self._prefix = b"\xff"
            self._commit(key, value, rows)
            return False
        self._prefix, self._start, self._rows, self._held = prefix, end, rows, rows.held
        rows.settled = False
        return True

    def _begin(self, key: bytes, prefix: bytes) -> _Rows | None:
        """The rows of a branch that shows for the first time, by a row or by a commit."""
        wanted = key[1 : key.index(0, 1)] in self._topics
        other = self._branches.get((b"r" if key[0] == 99 else b"c") + prefix[1:])
        rows = (other or _Rows()) if wanted else None
        self._branches[prefix] = rows
        return rows

    def _commit(self, key: bytes, value: bytes | None, rows: _Rows) -> None:
        found = self._commits[self._topics[key[1 : key.index(0, 1)]]]
        branch = key[-BRANCH_BYTES:]
        if value is None:
            found.pop(branch, None)
            return
        commit = read_commit(value)
        self._order += 1
        found[branch] = (commit, self._order)
        rows.committed(commit.checkpoint)

    def states(self) -> dict[str, Restored | None]:
        """The state of each input topic; None where only ``restore`` can tell. To be called once."""
        return {topic: self._state(topic) for topic in self._topics.values()}

    def _state(self, topic: str) -> Restored | None:
        found = self._commits[topic]
        if not found:
            return Restored()
        branch, (commit, _) = max(found.items(), key=lambda item: (item[1][0].next, item[1][1]))
        family = [(branch, commit.checkpoint), *commit.lineage]
        rows: dict[str, bytes] | None = None
        fresh: Collection[str]
        repair: set[str] = set()
        used: list[tuple[bytes, int]] = []
        for member, limit in family:  # nearest first: what it has hides what its ancestors have
            kept = self._branches.get(b"r%b\0%b" % (topic.encode(), member))
            if kept is None:
                continue
            told = kept.as_of(limit)
            if told is None:
                return None
            own, unsafe = told
            if rows is None:
                rows, fresh = own, own.keys()
            else:
                fresh = own.keys() - rows.keys()
                for row in fresh:
                    rows[row] = own[row]
            repair.update(unsafe.intersection(fresh))
            if fresh:
                used.append((member, limit))
        rows = {} if rows is None else rows
        size = HEADER.size
        for row in [row for row, value in rows.items() if len(value) <= size]:
            del rows[row]  # deleted, and known to be
        if len(rows) != commit.rows:
            return None
        return Restored(commit.next, rows, repair, used)
