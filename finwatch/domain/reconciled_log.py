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

from finwatch.domain.identity import deterministic_id
from finwatch.domain.reconciliation import (
    DETECTOR,
    LISTED,
    OWNER,
    POLICY,
    UNDATED,
    Scope,
    asked_by,
    in_words,
    reference,
    versions,
)
from finwatch.domain.records import Finding

RULE = "store_lacks_logged_changes"
MESSAGES = 20
"""Messages of the source that one finding names."""
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


class Stored(NamedTuple):
    """A document as the store has it: `company` empty for none, `event_id` of its state."""

    entity: str
    company: str
    event_id: str


class LogKey(NamedTuple):
    """Changes are counted by model, entity, company and the month in which they were made (`YYYY-MM`)."""

    model: str
    entity: str
    company: str
    period: str


@dataclass
class LogGroup:
    """Changes that the source has and that were not made too lately; how many the store has; what it lacks."""

    source: int = 0
    store: int = 0
    in_flight: int = 0
    missing: int = 0
    records: dict[int, str] = field(default_factory=dict)
    """Ids of records of which a change is missing, each with the id of the event that told its state."""
    fields: set[str] = field(default_factory=set)
    """Fields whose changes are missing."""
    messages: set[str] = field(default_factory=set)
    """Messages of the source that carry them."""


class LogComparison:
    """Compares the log of one model, a page at a time. `before`: changes from then on are in flight."""

    def __init__(self, model: str, before: datetime, period: str | None = None) -> None:
        self._model = model
        self._before = before
        self._period = period
        self.groups: dict[LogKey, LogGroup] = {}

    def add(
        self, logged: Iterable[Logged], documents: Mapping[int, Stored], told: AbstractSet[tuple[int, str, str]]
    ) -> None:
        """Take in changes of the source. `documents`: of the records that the store has, the others are not counted:
        their documents are what differs, or they are none. `told`: names of what the store has of these.
        """
        for one in logged:
            document, period = documents.get(one.record_id), f"{one.at.astimezone(UTC):%Y-%m}"
            if document is None or (self._period is not None and period != self._period):
                continue
            group = self.groups.setdefault(LogKey(self._model, document.entity, document.company, period), LogGroup())
            if one.at >= self._before:
                group.in_flight += 1
                continue
            group.source += 1
            if one.name in told:
                group.store += 1
                continue
            group.missing += 1
            group.fields.add(one.field)
            if len(group.records) < KEEP:
                group.records[one.record_id] = document.event_id
                group.messages.add(one.message.partition(":")[2])


def finding_id(source: str, key: LogKey) -> str:
    """Identity of the finding about one group."""
    return deterministic_id("finding", DETECTOR, source, "log", *key)


def log_findings(
    source: str, groups: Mapping[LogKey, LogGroup], known: Mapping[str, Finding], scope: Scope, at: int
) -> list[Finding]:
    """New versions of findings on the log, of a run that compared it: as `finwatch.domain.reconciliation.findings`.

    `known`: the latest version of each finding of the reconciliation, by id. `at`: epoch microseconds.
    """

    def looked_at(before: Finding) -> bool:
        company, period = before.company_id or "", before.level or UNDATED
        return scope.covers(before.entity, company, period) and any(
            finding_id(source, LogKey(model, before.entity, company, period)) == before.finding_id
            for model in scope.models
        )

    found = [_finding(source, key, group, at) for key, group in groups.items() if group.missing]
    return versions(found, {one: known[one] for one in known if known[one].rule == RULE}, looked_at, at)


def _finding(source: str, key: LogKey, group: LogGroup, at: int) -> Finding:
    listed = sorted(group.records)[:LISTED]
    messages = sorted(group.messages, key=lambda one: (len(one), one))
    more = len(messages) - MESSAGES
    several, known = group.missing > 1, len(group.records)
    return Finding(
        finding_id(source, key),
        1,
        "open",
        DETECTOR,
        RULE,
        "high",
        [f"{source}:{key.entity}:{reference(key.model, key.entity, one).name}" for one in listed],
        source,
        key.entity,
        key.company or None,
        f"Changes that the source logged are missing in the store: {in_words(key.model, key.entity)}, {key.period}",
        [
            f"{group.missing} {'changes' if several else 'change'} of {known} document{'s' if known != 1 else ''} "
            f"{'are' if several else 'is'} in the source's tracking log and not in the store.",
            f"What changed: {', '.join(sorted(group.fields))}. Who did it, and when, is not known to any check.",
            f"Messages of the source: {', '.join(messages[:MESSAGES])}" + (f" and {more} more." if more > 0 else "."),
        ],
        [group.records[one] for one in listed if group.records[one]],
        None,
        None,
        None,
        OWNER,
        f"finwatch reconcile --log --model {asked_by(key.model, key.entity)} --ids --json names the records; "
        "--repair captures them again.",
        POLICY,
        key.period,
        None,
        at,
        at,
    )
