"""Reconciliation of a source's log of changes: is every change that it logged told in the store? Pure.

A change is named on both sides by its record, the message that carries it, and the field that changed. Told more than
the source has is no difference: a log goes with the record or the message that it belongs to, and what was told stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

KEEP = 100_000
"""Records of one group whose missing changes are kept by id; beyond, they are counted only."""


class Logged(NamedTuple):
    """One change as the source logged it; `at` aware, UTC."""

    record_id: int
    message: str
    field: str
    at: datetime

    @property
    def name(self) -> tuple[int, str, str]:
        """What names it in the store too."""
        return self.record_id, self.message, self.field


class LogKey(NamedTuple):
    """Changes are counted by model, entity and the month in which they were made (`YYYY-MM`)."""

    model: str
    entity: str
    period: str


@dataclass
class LogGroup:
    """Changes that the source has and that were not made too lately; how many the store has; what it lacks."""

    source: int = 0
    store: int = 0
    in_flight: int = 0
    missing: int = 0
    records: set[int] = field(default_factory=set)
    """Ids of records of which a change is missing."""


class LogComparison:
    """Compares the log of one model, a page at a time. `before`: changes from then on are in flight."""

    def __init__(self, model: str, before: datetime, period: str | None = None) -> None:
        self._model = model
        self._before = before
        self._period = period
        self.groups: dict[LogKey, LogGroup] = {}

    def add(
        self, logged: Iterable[Logged], entities: Mapping[int, str], told: AbstractSet[tuple[int, str, str]]
    ) -> None:
        """Take in changes of the source. `entities`: of the records whose documents the store has, the others are not
        counted: their documents are what differs, or they are none. `told`: names of what the store has of these.
        """
        for one in logged:
            entity, period = entities.get(one.record_id), f"{one.at.astimezone(UTC):%Y-%m}"
            if entity is None or (self._period is not None and period != self._period):
                continue
            group = self.groups.setdefault(LogKey(self._model, entity, period), LogGroup())
            if one.at >= self._before:
                group.in_flight += 1
                continue
            group.source += 1
            if one.name in told:
                group.store += 1
                continue
            group.missing += 1
            if len(group.records) < KEEP:
                group.records.add(one.record_id)
