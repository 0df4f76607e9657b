"""State in a compacted topic, as branches of atomic checkpoints: the records, their writer and their reader.

Partition p of a stage's state topic holds the state of partition p of each of the stage's input topics. A *branch* is
one assignment of one input partition to one worker; its id is random and part of every key, so that no two workers ever
write one key.

======  ==========================================  ==============================================================
record  key                                         value
======  ==========================================  ==============================================================
row     ``r`` topic ``\\0`` branch (8 bytes) key     checkpoint, due, body (``streams.rows``); no body: deleted
commit  ``c`` topic ``\\0`` branch (8 bytes)         msgpack of ``Commit``
======  ==========================================  ==============================================================

A commit record is written only after all rows of its checkpoint, and all outputs up to it, are acknowledged. So any
commit is a true state of the input up to its ``next``, whoever wrote it: the reader takes the one with the largest
``next``, and what zombies and half-written checkpoints leave behind does no harm.

``restore`` is pure: it sees records, not Kafka.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from streams.rows import HEADER

BRANCH_BYTES = 8

Record = tuple[bytes, bytes | None]


class Commit(Struct, array_like=True):
    """What makes a checkpoint count.

    ``next``: first input offset not contained. ``rows``: live rows of the whole state, which lets a reader see that
    nothing of it is missing. ``lineage``: former branches that still hold rows of this state, nearest first, each with
    the last checkpoint of it that counts.
    """

    checkpoint: int
    next: int
    rows: int
    lineage: list[tuple[bytes, int]]


class StateDamaged(Exception):
    """Commit records stand, but no state is complete: rows were deleted from the state topic."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"the state of {topic} is incomplete: rows are missing from the state topic")
        self.topic = topic


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Commit)


def new_branch() -> bytes:
    """Return a random branch id."""
    return os.urandom(BRANCH_BYTES)


def row_key(topic: str, branch: bytes, key: str) -> bytes:
    """Key of a row record."""
    return b"r%b\0%b%b" % (topic.encode(), branch, key.encode())


def commit_key(topic: str, branch: bytes) -> bytes:
    """Key of a commit record."""
    return b"c%b\0%b" % (topic.encode(), branch)


def split_key(key: bytes) -> tuple[bytes, str, bytes, str]:
    """Return (kind ``r`` or ``c``, topic, branch, row key) of a state record. Raises ValueError for anything else."""
    end = key.index(0, 1)
    start = end + 1 + BRANCH_BYTES
    if key[:1] not in (b"r", b"c") or len(key) < start:
        raise ValueError("not a state record")
    return key[:1], key[1:end].decode(), key[end + 1 : start], key[start:].decode()


def read_commit(value: bytes) -> Commit:
    """Return a commit record's content. Raises msgspec.DecodeError."""
    return _decoder.decode(value)


@dataclass
class Branch:
    """The writer's side of one branch: numbers its checkpoints."""

    topic: str
    lineage: list[tuple[bytes, int]] = field(default_factory=list)
    id: bytes = field(default_factory=new_branch)
    checkpoint: int = 0

    def row_records(self, changes: Iterable[tuple[str, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Yield the row records of changes as ``RowStore.take_changes`` returns them."""
        prefix = b"r%b\0%b" % (self.topic.encode(), self.id)
        for key, value in changes:
            yield prefix + key.encode(), value

    def commit_record(self, next: int, rows: int) -> tuple[bytes, bytes]:
        """Return the commit record of the current checkpoint."""
        return commit_key(self.topic, self.id), _encoder.encode(Commit(self.checkpoint, next, rows, self.lineage))


@dataclass
class Restored:
    """The state of one input partition: ``next`` is None when there never was one.

    ``rows`` are in stored form, deleted ones left out. ``repair``: keys whose newest row does not count, so that
    compaction will drop the valid one; they must be written again soon. ``lineage`` is for the next branch.
    """

    next: int | None = None
    rows: dict[str, bytes] = field(default_factory=dict)
    repair: set[str] = field(default_factory=set)
    lineage: list[tuple[bytes, int]] = field(default_factory=list)


def restore(records: Iterable[Record], topics: Collection[str]) -> dict[str, Restored]:
    """Return the state of each of ``topics`` out of the records of one state partition, in log order.

    ``records`` is walked twice or more, so that only what counts is held. Raises StateDamaged.
    """
    prefixes = {topic.encode(): topic for topic in topics}
    commits: dict[str, dict[bytes, tuple[Commit, int]]] = {topic: {} for topic in topics}
    for position, (key, value) in enumerate(records):
        if key[:1] != b"c":
            continue
        topic = prefixes.get(key[1 : key.index(0, 1)])
        if topic is None:
            continue
        branch = key[-BRANCH_BYTES:]
        if value is None:
            commits[topic].pop(branch, None)
        else:
            commits[topic][branch] = (_decoder.decode(value), position)

    restored = {topic: Restored() for topic, found in commits.items() if not found}
    # Best first: the largest position, then the latest written.
    candidates = {
        topic: sorted(found.items(), key=lambda item: (item[1][0].next, item[1][1]), reverse=True)
        for topic, found in commits.items()
        if found
    }
    while candidates:
        for topic, state in _collect(records, {topic: best[0] for topic, best in candidates.items()}).items():
            if state is not None:
                restored[topic] = state
                del candidates[topic]
            elif len(candidates[topic]) > 1:
                candidates[topic].pop(0)  # a zombie older than the clean-up: its ancestors' rows are gone
            else:
                raise StateDamaged(topic)
    return restored


def _collect(
    records: Iterable[Record], heads: dict[str, tuple[bytes, tuple[Commit, int]]]
) -> dict[str, Restored | None]:
    """Gather each topic's state as of its head commit; None where rows are missing."""
    # Key prefix of each branch that counts -> (topic, distance from the head, last checkpoint that counts).
    chain: dict[bytes, tuple[str, int, int]] = {}
    for topic, (branch, (commit, _)) in heads.items():
        for depth, (member, limit) in enumerate([(branch, commit.checkpoint), *commit.lineage]):
            chain[b"r%b\0%b" % (topic.encode(), member)] = (topic, depth, limit)
    best: dict[str, dict[bytes, tuple[int, bytes]]] = {topic: {} for topic in heads}
    overwritten: dict[str, set[tuple[int, bytes]]] = {topic: set() for topic in heads}
    unpack = HEADER.unpack_from
    for key, value in records:
        start = key.index(0, 1) + 1 + BRANCH_BYTES
        member_of = chain.get(key[:start])
        if member_of is None:
            continue
        topic, depth, limit = member_of
        row, found = key[start:], best[topic]
        held = found.get(row)
        if value is None:
            if held is not None and held[0] == depth:
                del found[row]  # ancestors are cleaned up oldest first, so nothing older can show through
        elif unpack(value)[0] > limit:
            overwritten[topic].add((depth, row))
        elif held is None or depth <= held[0]:
            found[row] = (depth, value)

    states: dict[str, Restored | None] = {}
    for topic, (branch, (commit, _)) in heads.items():
        found = best[topic]
        rows = {row.decode(): value for row, (_, value) in found.items() if len(value) > HEADER.size}
        if len(rows) != commit.rows:
            states[topic] = None
            continue
        lost_soon = overwritten[topic]
        # Deleted rows too: without its mark a deleted row would show through from an ancestor.
        repair = {row.decode() for row, (depth, _) in found.items() if (depth, row) in lost_soon}
        used = {depth for depth, _ in found.values()}
        family: Sequence[tuple[bytes, int]] = [(branch, commit.checkpoint), *commit.lineage]
        lineage = [member for depth, member in enumerate(family) if depth in used]
        states[topic] = Restored(commit.next, rows, repair, lineage)
    return states
