"""The rows of one partition: bytes until touched, the set of changed ones, and their timers.

A stored row is a 16-byte header and a body: checkpoint number (unsigned 64 bit), due time in epoch microseconds (signed
64 bit, the smallest number when there is none), then the msgpack of the row's Struct, packed where that is worth it
(``streams.bodies``). A row without a body is deleted.
The due time is in the header so that timers are rebuilt without decoding a million bodies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import Struct as Packed
from typing import TypeVar, cast

import msgspec
from msgspec import Struct

from streams.bodies import pack_body, unpack_body
from streams.timeline import SourceTimes, Timeline

HEADER = Packed(">Qq")
_DUE = Packed(">q")
NO_DUE = -(2**63)
TIMES_KEY = "!times"

R = TypeVar("R", bound=Struct)

_encode = msgspec.msgpack.Encoder(order=None).encode
_decoders: dict[type[Struct], msgspec.msgpack.Decoder[Struct]] = {}


def pack_row(checkpoint: int, due: int | None, body: bytes) -> bytes:
    """Return a row as it is stored, without packing it; an empty body is a deleted row."""
    return HEADER.pack(checkpoint, NO_DUE if due is None else due) + body


def unpack_row(value: bytes) -> tuple[int, int | None, bytes]:
    """Return (checkpoint, due, body) of a stored row. Raises struct.error when it is shorter than its header."""
    checkpoint, due = HEADER.unpack_from(value)
    return checkpoint, None if due == NO_DUE else due, bytes(unpack_body(value[HEADER.size :]))


def _decode(value: bytes, kind: type[R]) -> R:
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.msgpack.Decoder(kind)
    return cast(R, decoder.decode(unpack_body(memoryview(value)[HEADER.size :])))


class RowStore:
    """Rows by key. Not for two threads at once."""

    __slots__ = ("_cool", "_rows", "_warm", "bytes_written", "dirty", "rows_written", "timeline")
    _rows: dict[str, bytes | Struct]

    def __init__(self, lateness: int, stored: Mapping[str, bytes] | None = None) -> None:
        """Hold ``stored`` rows (as restored from the state topic) without decoding them."""
        self._take_over(lateness, dict(stored or {}))

    @classmethod
    def of(cls, lateness: int, stored: dict[str, bytes]) -> RowStore:
        """A store that makes ``stored`` its own, which nobody else may use from then on: a million rows once only."""
        made = cls.__new__(cls)
        made._take_over(lateness, stored)
        return made

    def _take_over(self, lateness: int, stored: dict[str, bytes]) -> None:
        self._rows = cast("dict[str, bytes | Struct]", stored)
        self.dirty: set[str] = set()
        self._warm: dict[str, bytes] = {}
        self._cool: dict[str, bytes] = {}
        self.rows_written = 0
        self.bytes_written = 0
        times = self._rows.pop(TIMES_KEY, None)
        self.timeline = Timeline(lateness, _decode(times, SourceTimes) if isinstance(times, bytes) else None)
        if stored:
            unpack, none = _DUE.unpack_from, NO_DUE
            self.timeline.restore((due, key) for key, value in stored.items() if (due := unpack(value, 8)[0]) != none)

    def get(self, key: str, type: type[R]) -> R | None:
        """Return the live row, decoded on first touch; None when there is none."""
        row = self._rows.get(key)
        if row.__class__ is bytes:
            row = self._rows[key] = _decode(row, type)
        return row  # type: ignore[return-value]

    def put(self, key: str, row: Struct, due: int | None = None) -> None:
        """Store a row and set, move or clear its timer. Raises BadKey when a due row's key names no source."""
        self._rows[key] = row
        self.dirty.add(key)
        if self.timeline.due_of.get(key) != due:
            self.timeline.schedule(key, due)

    def delete(self, key: str) -> None:
        """Forget a row and its timer."""
        if self._rows.pop(key, None) is not None:
            self.dirty.add(key)
            self.timeline.schedule(key, None)

    def keys_from(self, prefix: str, after: str = "") -> list[str]:
        """Return the keys that begin with ``prefix`` and lie behind ``after``, in order."""
        return sorted(key for key in self._rows if key.startswith(prefix) and key > after)

    def peek(self, key: str, type: type[R]) -> R | None:
        """Return a row; one that is stored as bytes as a copy of its own.

        So a walk over a million rows does not turn them all into objects that stay.
        """
        row = self._rows.get(key)
        if row is None:
            return None
        return _decode(row, type) if isinstance(row, bytes) else cast(R, row)

    def is_live(self, source: str) -> bool:
        """Return whether the source's time follows the wall clock."""
        return source in self.timeline.wall

    def time_of(self, source: str) -> int | None:
        """Return the time of a source; None when it has none yet."""
        return self.timeline.now.get(source)

    def keys(self) -> Iterator[str]:
        """Yield the keys of the rows held."""
        return iter(self._rows)

    def __len__(self) -> int:
        """Return the number of rows held."""
        return len(self._rows)

    def take_changes(self, checkpoint: int) -> list[tuple[str, bytes]]:
        """Return the changed rows, stored form, as of this moment and forget that they changed.

        The source times ride along as a row of their own, so that they are of the same moment.
        """
        changes = [(TIMES_KEY, pack_row(checkpoint, None, _encode(self.timeline.times())))]
        rows, due_of, pack, size = self._rows, self.timeline.due_of, HEADER.pack, HEADER.size
        written = 0
        self.dirty.discard(TIMES_KEY)
        for key in self.dirty:
            row = rows.get(key)
            head = pack(checkpoint, due_of.get(key, NO_DUE))
            if row is None:
                value = head
                self._warm.pop(key, None)
            elif row.__class__ is bytes:
                value = head + row[size:]
            else:
                value = self._warm[key] = head + pack_body(_encode(row))
            changes.append((key, value))
            written += len(value)
        self.rows_written += len(self.dirty)
        self.bytes_written += written
        self.dirty = set()
        return changes

    def cool_down(self) -> int:
        """Turn rows that were written before the last call, and not since, back into bytes; return how many.

        An open document is touched a few times in its life: kept as objects, a million of them would not fit. To be
        called every half minute or so.
        """
        rows, cooled = self._rows, 0
        for key, value in self._cool.items():
            if key not in self._warm and key not in self.dirty and key in rows:
                rows[key] = value
                cooled += 1
        self._cool, self._warm = self._warm, {}
        return cooled

    def stored_size(self) -> int:
        """Return an estimate of the bytes of all rows: their number times the mean of those written or loaded."""
        sample = [len(v) for v, _ in zip(self._rows.values(), range(100), strict=False) if isinstance(v, bytes)]
        if self.rows_written:
            return len(self._rows) * self.bytes_written // self.rows_written
        return len(self._rows) * sum(sample) // len(sample) if sample else 0
