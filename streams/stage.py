"""The contract between the shell and a stage: what a stage is given and what it must keep to.

A stage is pure logic over one (topic, partition) at a time. It has no clock, no I/O and no memory of its own: all that
it remembers is in rows, all that it says is emitted. Given the same records in the same order it must make the same
rows and outputs, because the shell replays records after a crash, a rebalance or a rebuild. One stage object may be
called from two threads at once (for different partitions), so it must not keep anything but caches in itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar, runtime_checkable

from msgspec import Struct

R = TypeVar("R", bound=Struct)


class InvalidEvent(Exception):
    """The event cannot be processed, now or ever: the shell sends its record to the dead letters and goes on.

    To be raised before any row is changed or put and anything is emitted. ``reason`` is a short lower snake case code;
    it becomes a metric label, so it must not hold values. ``detail`` may say more, but no amount, name or account
    number either.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason if not detail else f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class UnknownPolicy(Exception):
    """A policy was published by another version of finwatch, and this one cannot read it: the process has to stop.

    To go on with the policy before would judge otherwise than the workers that can read it, and nobody would see it.
    """


class View(Protocol):
    """State and output of one (topic, partition) of a stage.

    Rows are msgspec Structs under string keys, kept as msgpack in the state topic. A key begins with a kind and, for
    rows with a due time, the source: ``d:odoo:bill:17``. The text between the first and the second colon is the source
    whose time fires the row. Keys that begin with ``!`` are the shell's own. All changes made by one ``apply`` or
    ``advance`` become durable together.
    """

    topic: str
    partition: int

    def get(self, key: str, type: type[R]) -> R | None:
        """Return the row, or None. The object is the live one: after changing it, ``put`` it."""
        ...

    def put(self, key: str, row: Struct, due: int | None = None) -> None:
        """Store the row. ``due``: its one timer, epoch microseconds UTC in its source's time; None: no timer."""
        ...

    def delete(self, key: str) -> None:
        """Forget the row and its timer; no error when there is none."""
        ...

    def keys_from(self, prefix: str, after: str = "") -> list[str]:
        """Return the keys that begin with ``prefix`` and lie behind ``after``, in order.

        For rare work: it looks at every key there is.
        """
        ...

    def peek(self, key: str, type: type[R]) -> R | None:
        """Return a row, perhaps as a copy that is kept nowhere: after changing it, ``put`` it."""
        ...

    def is_live(self, source: str) -> bool:
        """Return whether the source's time follows the wall clock, and so goes on without an event."""
        ...

    def time_of(self, source: str) -> int | None:
        """Return the time of a source on this partition, epoch microseconds UTC; None when it has none yet."""
        ...

    def emit(self, topic: str, key: str, record: Struct) -> None:
        """Publish an output record (a class of ``finwatch.domain.records``) under a Kafka key."""
        ...


@runtime_checkable
class Stage(Protocol):
    """One step of the stream: its input topics, the columns it reads, and its logic."""

    @property
    def name(self) -> str:
        """Name of the stage, lower case; names its consumer group and its state topic (``finwatch.<name>.state``)."""
        ...

    @property
    def topics(self) -> tuple[str, ...]:
        """Input topics, all with the same number of partitions."""
        ...

    @property
    def projections(self) -> Mapping[str, type[Struct]]:
        """Avro full name to the Struct of the columns wanted; records of other names are counted as filtered.

        A Struct whose fields include ``source`` and ``observed_at`` moves that source's time before it is applied
        (``timeline`` says which kind of time it is; ``log`` when the field is absent).
        """
        ...

    def apply(self, view: View, event: Struct, offset: int) -> bool | None:
        """Apply one event. Deterministic. May raise ``InvalidEvent``; any other exception ends the process.

        Return False for an event that was applied before and changed nothing (it is counted as repeated).
        """
        ...

    def advance(self, view: View, key: str, now: int) -> None:
        """Handle row ``key``, whose due time has come (epoch microseconds in its source's time).

        ``now`` is the row's own due time, not the moment of firing, so that live and replay agree. The timer is spent;
        ``put`` the row with a later due time to set another. A due time that has passed already fires before the next
        event.
        """
        ...

    def kpis(self, view: View, now: Mapping[str, int]) -> Iterable[Struct]:
        """Return this partition's KPI partials at source times ``now`` (source to epoch microseconds)."""
        ...
