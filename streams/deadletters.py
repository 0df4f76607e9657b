"""Records that cannot be processed: what is kept of them, and how many are too many.

A dead letter holds the untouched bytes, the reason and where they came from, so that it can be replayed. One bad record
must not stop the stream; thousands are no bad records but a wrong deployment, and then the worker stops and says so.
"""

from __future__ import annotations

import hashlib
from collections import deque

from msgspec import Struct

VALUE_LIMIT = 900_000
"""Bytes of a value that fit into a dead letter, below the 1 MB that brokers and readers take without being told."""
WINDOW = 1000
"""Records that the share of dead letters is measured over, at least."""


class DeadLetter(Struct, gc=False):
    """The fields of ``finwatch.DeadLetter``, in the order of its schema. ``timestamp``: epoch microseconds, UTC."""

    stage: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    value_size: int
    value_sha256: str
    truncated: bool
    reason: str
    detail: str
    timestamp: int


def dead_letter(
    stage: str,
    origin: tuple[str, int, int],
    key: bytes | None,
    value: bytes | None,
    timestamp: int,
    reason: str,
    detail: str,
) -> DeadLetter:
    """Return the dead letter of a record. ``origin``: topic, partition, offset. Values above the limit are cut."""
    topic, partition, offset = origin
    whole = value or b""
    return DeadLetter(
        stage=stage,
        topic=topic,
        partition=partition,
        offset=offset,
        key=None if key is None else key[:VALUE_LIMIT],
        value=None if value is None else value[:VALUE_LIMIT],
        value_size=len(whole),
        value_sha256=hashlib.sha256(whole).hexdigest(),
        truncated=len(whole) > VALUE_LIMIT,
        reason=reason,
        detail=detail[:500],
        timestamp=timestamp,
    )


class TooManyDeadLetters(Exception):
    """A limit was passed; the message says which."""


class Budget:
    """Counts records and dead letters of one worker, and knows when there are too many.

    ``most``: dead letters in the life of the process. ``percent``: share of the last ``WINDOW`` records or more.
    """

    def __init__(self, most: int, percent: float) -> None:
        self._most = most
        self._percent = percent
        self._recent: deque[tuple[int, int]] = deque()
        self._records = 0
        self._dead = 0
        self.total = 0

    def spend(self, records: int, dead: int) -> None:
        """Count a batch. Raises TooManyDeadLetters."""
        self.total += dead
        if self.total > self._most:
            raise TooManyDeadLetters(
                f"{self.total} dead letters in this process, more than the {self._most} allowed "
                "(FINWATCH_STREAM_DEAD_LETTERS_MAX)"
            )
        self._recent.append((records, dead))
        self._records += records
        self._dead += dead
        while self._records - self._recent[0][0] >= WINDOW:
            old_records, old_dead = self._recent.popleft()
            self._records -= old_records
            self._dead -= old_dead
        if self._records >= WINDOW and self._dead * 100 > self._percent * self._records:
            raise TooManyDeadLetters(
                f"{self._dead} dead letters among the last {self._records} records, more than the "
                f"{self._percent:g} percent allowed (FINWATCH_STREAM_DEAD_LETTERS_PERCENT)"
            )
