"""What was published before, in little memory, and in pieces that can be stored.

Buckets are indexed by id: Odoo's ids are dense, so a slot costs its bytes and no more. A bucket that changed since it
was last stored is dirty.
"""

from collections.abc import Iterator

from producers.odoo.events import HASH_BYTES

STAMP_BYTES = 8
_SECONDS = 4


class _Slots:
    """A value of `WIDTH` bytes, not all zero, for each of many positive ids."""

    WIDTH: int
    PER_BUCKET = 256

    def __init__(self) -> None:
        self._buckets: dict[int, bytearray] = {}
        self._dirty: set[int] = set()

    def get(self, record_id: int) -> bytes | None:
        """The value; None when there is none."""
        bucket = self._buckets.get(record_id // self.PER_BUCKET)
        if bucket is None:
            return None
        at = record_id % self.PER_BUCKET * self.WIDTH
        digest = bytes(bucket[at : at + self.WIDTH])
        return digest if any(digest) else None

    def put(self, record_id: int, digest: bytes) -> None:
        """Remember a value. Raises ValueError for a wrong length and for all zeros."""
        if len(digest) != self.WIDTH or not any(digest):
            raise ValueError(f"{self.WIDTH} bytes are wanted, not all zero")
        self._set(record_id, digest)

    def forget(self, record_id: int) -> None:
        """The record is gone."""
        if self.get(record_id) is not None:
            self._set(record_id, bytes(self.WIDTH))

    def _set(self, record_id: int, digest: bytes) -> None:
        number = record_id // self.PER_BUCKET
        bucket = self._buckets.setdefault(number, bytearray(self.PER_BUCKET * self.WIDTH))
        at = record_id % self.PER_BUCKET * self.WIDTH
        bucket[at : at + self.WIDTH] = digest
        self._dirty.add(number)

    def clear(self) -> None:
        """Forget all."""
        for number, bucket in self._buckets.items():
            self._buckets[number] = bytearray(len(bucket))
            self._dirty.add(number)

    def ids(self) -> Iterator[int]:
        """All ids with a value, ascending."""
        return self.between(0, None)

    def above(self, record_id: int) -> int:
        """How many ids with a value lie above one."""
        return sum(1 for _ in self.between(record_id, None))

    def newest(self, most: int) -> list[int]:
        """The largest ids with a value, descending, `most` of them at most."""
        found: list[int] = []
        for number in sorted(self._buckets, reverse=True):
            if len(found) >= most:
                break
            found += reversed(list(self._in_bucket(number, 0)))
        return found[:most]

    def between(self, after: int, last: int | None) -> Iterator[int]:
        """Ids with a value above `after` and up to `last` (None: to the end), ascending."""
        for number in sorted(self._buckets):
            first = number * self.PER_BUCKET
            if first + self.PER_BUCKET <= after or (last is not None and first > last):
                continue
            for one in self._in_bucket(number, max(0, after + 1 - first)):
                if last is not None and one > last:
                    break
                yield one

    def _in_bucket(self, number: int, slot: int) -> Iterator[int]:
        """Ids with a value in a bucket from a slot on, ascending."""
        bucket, first, width = self._buckets[number], number * self.PER_BUCKET, self.WIDTH
        for at in range(slot, self.PER_BUCKET):
            if any(bucket[at * width : (at + 1) * width]):
                yield first + at

    def take_dirty(self) -> dict[int, bytes]:
        """Buckets that changed since the last call."""
        taken = {number: bytes(self._buckets[number]) for number in sorted(self._dirty)}
        self._dirty.clear()
        return taken

    def load(self, number: int, bucket: bytes) -> None:
        """Put back a stored bucket. Raises ValueError for a wrong size."""
        if len(bucket) != self.PER_BUCKET * self.WIDTH:
            raise ValueError("a bucket has a wrong size")
        self._buckets[number] = bytearray(bucket)


class SeenHashes(_Slots):
    """Content hash of the last published state of each record: what a sweep compares with the source's ids."""

    WIDTH = HASH_BYTES


class SeenStamps(_Slots):
    """Fingerprint of the time stamps of each record as it was last read (see `sweep.fingerprint`), and its latest.

    The latest is the newest stamp that the record was ever seen with, in epoch seconds: what is told of it later is
    told as of then at the earliest. It outlives the fingerprint.
    """

    WIDTH = STAMP_BYTES + _SECONDS
    LATEST = (1 << 8 * _SECONDS) - 1

    def fingerprint(self, record_id: int) -> bytes | None:
        """The fingerprint; None when there is none."""
        slot = self.get(record_id)
        return slot[:STAMP_BYTES] if slot is not None and any(slot[:STAMP_BYTES]) else None

    def latest(self, record_id: int) -> int:
        """Epoch seconds of the newest stamp it was seen with; 0 when that is not known."""
        slot = self.get(record_id)
        return 0 if slot is None else int.from_bytes(slot[STAMP_BYTES:], "big")

    def read(self, record_id: int, fingerprint: bytes, latest: int) -> None:
        """A record was read with these stamps. `latest`: the newest it was ever seen with. Raises as `put` does."""
        self.put(record_id, fingerprint + min(latest, self.LATEST).to_bytes(_SECONDS, "big"))

    def told(self, record_id: int, seconds: int) -> None:
        """It was told as of then: nothing older may follow."""
        slot = self.get(record_id) or bytes(self.WIDTH)
        latest = min(max(seconds, self.latest(record_id)), self.LATEST)
        self.put(record_id, slot[:STAMP_BYTES] + latest.to_bytes(_SECONDS, "big"))

    def forget(self, record_id: int) -> None:
        """The record is to be read again; its latest stays."""
        slot = self.get(record_id)
        if slot is not None:
            self._set(record_id, bytes(STAMP_BYTES) + slot[STAMP_BYTES:])

    def clear(self) -> None:
        """Forget all but the latest of each: an older copy of the database tells nothing that is later."""
        for record_id in list(self.ids()):
            self.forget(record_id)

    def load(self, number: int, bucket: bytes) -> None:
        """Put back a stored bucket; one of a version that kept fingerprints only is taken. Raises ValueError."""
        if len(bucket) == self.PER_BUCKET * STAMP_BYTES:
            slots = (bucket[at : at + STAMP_BYTES] for at in range(0, len(bucket), STAMP_BYTES))
            bucket = b"".join(slot + bytes(_SECONDS) for slot in slots)
        super().load(number, bucket)


class SeenIds:
    """Ids of published rows that never change: one bit a row."""

    PER_BUCKET = 8192

    def __init__(self) -> None:
        self._buckets: dict[int, bytearray] = {}
        self._dirty: set[int] = set()

    def __contains__(self, row_id: int) -> bool:
        bucket = self._buckets.get(row_id // self.PER_BUCKET)
        slot = row_id % self.PER_BUCKET
        return bucket is not None and bool(bucket[slot >> 3] & (1 << (slot & 7)))

    def add(self, row_id: int) -> None:
        """Remember an id."""
        number, slot = divmod(row_id, self.PER_BUCKET)
        self._buckets.setdefault(number, bytearray(self.PER_BUCKET // 8))[slot >> 3] |= 1 << (slot & 7)
        self._dirty.add(number)

    def above(self, row_id: int) -> int:
        """How many ids lie above one."""
        number, slot = divmod(row_id + 1, self.PER_BUCKET)
        bits = 0
        for one, bucket in self._buckets.items():
            if one > number:
                bits += int.from_bytes(bucket, "little").bit_count()
            elif one == number:
                bits += (int.from_bytes(bucket, "little") >> slot).bit_count()
        return bits

    def clear(self) -> None:
        """Forget all."""
        for number, bucket in self._buckets.items():
            self._buckets[number] = bytearray(len(bucket))
            self._dirty.add(number)

    def take_dirty(self) -> dict[int, bytes]:
        """Buckets that changed since the last call."""
        taken = {number: bytes(self._buckets[number]) for number in sorted(self._dirty)}
        self._dirty.clear()
        return taken

    def load(self, number: int, bucket: bytes) -> None:
        """Put back a stored bucket. Raises ValueError for a wrong size."""
        if len(bucket) != self.PER_BUCKET // 8:
            raise ValueError("a bucket of ids has a wrong size")
        self._buckets[number] = bytearray(bucket)
