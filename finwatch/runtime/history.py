"""What an embedded directory remembers of earlier lives of its broker: the contract between store and streams.

The embedded broker keeps nothing when its process ends. The store's raw log does: it holds every record of every
topic the ClickHouse sink reads, byte for byte. With it the streams shell rebuilds its state when DIR is opened again.
On a real broker there is no History: state comes from the state topic.

How the shell uses it, for each partition it is assigned, in this order:

1. `seen = history.emitted(outputs)` once at start, before any event is applied, and kept for the life of the process.
2. For each batch of `history.records(topic, partition)`: apply it as live events are applied; every output whose
   `digest(topic, key, value)` is in `seen` is dropped, the others are produced. Nothing is written to the state topic.
3. `history.current(topic, partition)` in the same way: it is empty on a fresh start, and gives back this life's
   records when a partition is taken a second time (after a lost lease, say). Its last offset + 1 is where to read on
   from the broker (0 when it is empty).
4. Live events; outputs in `seen` are still dropped: after kill -9 the log may hold an output whose input it has not
   got, and that input comes again from its source.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

DIGEST_BYTES = 16


class HistoryRecord(NamedTuple):
    """One record of the raw log, as it was on the broker. `timestamp` is epoch microseconds."""

    key: bytes
    value: bytes
    timestamp: int
    offset: int


class History(Protocol):
    """Reader of the records of earlier lives of the broker."""

    def records(self, topic: str, partition: int) -> Iterator[list[HistoryRecord]]:
        """Records of all earlier lives, oldest life first, in the order of their offsets, each exactly once.

        In batches of bounded size, never empty. Offsets start again with each life: they order nothing across lives.
        """
        ...

    def current(self, topic: str, partition: int) -> Iterator[list[HistoryRecord]]:
        """Records of this life of the broker that the store already has, in the order of their offsets."""
        ...

    def emitted(self, topics: Sequence[str]) -> set[bytes]:
        """`digest` of every record of these topics that the store has, of all lives."""
        ...


def digest(topic: str, key: bytes, value: bytes) -> bytes:
    """16 bytes that stand for a record: the same in Python and in the store's SQL (`history` of finwatch.local).

    SHA-256 of the parts, each behind its length, cut to 16 bytes.
    """
    name = topic.encode()
    framed = b"%d:%s%d:%s%d:%s" % (len(name), name, len(key), key, len(value), value)
    return hashlib.sha256(framed).digest()[:DIGEST_BYTES]
