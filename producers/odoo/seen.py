"""What was published before, in little memory, and in pieces that can be stored.

Buckets are indexed by id: Odoo's ids are dense, so a slot costs its bytes and no more. A bucket that changed since it
was last stored is dirty.
"""

from collections.abc import Iterator

from producers.odoo.events import HASH_BYTES

_EMPTY = bytes(HASH_BYTES)


class SeenHashes:
    """Content hash of the last published state of each record: 16 bytes a record. Ids are positive."""

    PER_BUCKET = 256

    def __init__(self) -> None:
        self._buckets: dict[int, bytearray] = {}
        self._dirty: set[int] = set()

    def get(self, record_id: int) -> bytes | None:
        """The hash; None when the record was never published."""
        bucket = self._buckets.get(record_id // self.PER_BUCKET)
        if bucket is None:
            return None
        at = record_id % self.PER_BUCKET * HASH_BYTES
        digest = bytes(bucket[at : at + HASH_BYTES])
        return None if digest == _EMPTY else digest

    def put(self, record_id: int, digest: bytes) -> None:
        """Remember a hash of 16 bytes, not all zero."""
        if len(digest) != HASH_BYTES or digest == _EMPTY:
            raise ValueError("a content hash has 16 bytes, not all zero")
        self._set(record_id, digest)

    def forget(self, record_id: int) -> None:
        """The record is gone."""
        if self.get(record_id) is not None:
            self._set(record_id, _EMPTY)

    def _set(self, record_id: int, digest: bytes) -> None:
        number = record_id // self.PER_BUCKET
        bucket = self._buckets.setdefault(number, bytearray(self.PER_BUCKET * HASH_BYTES))
        at = record_id % self.PER_BUCKET * HASH_BYTES
        bucket[at : at + HASH_BYTES] = digest
        self._dirty.add(number)

    def ids(self) -> Iterator[int]:
        """Ids of all records published and not gone, ascending: what a sweep compares with the source."""
        for number in sorted(self._buckets):
            bucket = self._buckets[number]
            for slot in range(self.PER_BUCKET):
                if bucket[slot * HASH_BYTES : (slot + 1) * HASH_BYTES] != _EMPTY:
                    yield number * self.PER_BUCKET + slot

    def take_dirty(self) -> dict[int, bytes]:
        """Buckets that changed since the last call."""
        taken = {number: bytes(self._buckets[number]) for number in sorted(self._dirty)}
        self._dirty.clear()
        return taken

    def load(self, number: int, bucket: bytes) -> None:
        """Put back a stored bucket. Raises ValueError for a wrong size."""
        if len(bucket) != self.PER_BUCKET * HASH_BYTES:
            raise ValueError("a bucket of hashes has a wrong size")
        self._buckets[number] = bytearray(bucket)


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
