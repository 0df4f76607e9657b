"""Reconciliation: whether two sides hold the same documents, and where not. Pure.

The source of truth is one side (`source`), what was made of it the other (`store`). Documents are compared one by one,
and what they add up to is kept by model, company and period: counts, sums by currency, and a hash over contents that
does not depend on order. Two sides of a group are equal if and only if no difference is listed for it.

What is still on its way is neither equal nor different: it is counted apart, on neither side.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

from finwatch.domain.identity import deterministic_id
from finwatch.domain.records import Finding

DETECTOR = "reconciliation"
RULE = "store_differs_from_source"
POLICY = "reconciliation/1"
OWNER = "finance_controller"
CUSTOM_RECORD = "custom_record"
"""The entity of records of all models that a configuration adds: what names one begins with its model."""
UNDATED = "undated"
KEEP = 100_000
"""Differences of one model that are kept by id; beyond, they are counted only."""
LISTED = 100
"""Documents that one finding names."""
_MODULUS = 1 << 128
_SMALLEST = Decimal("0.000001")

NOT_COMPARED = frozenset(
    {
        # Who wrote last changes when somebody saves a record as it was; it is no content (see the capture).
        "written_by",
        # Odoo counts these up by plain SQL, and shows names of other records: neither moves the document's own stamp.
        "supplier_rank",
        "customer_rank",
        "partner_name",
        "method",
        "unit",
        "stage",
        "category",
        # Runs of scheduled actions are written by plain SQL too.
        "next_run_at",
        "last_run_at",
        "failures",
        "failing_since",
    }
)
"""Columns that a source changes without the document being changed, so that a difference in them is no drift."""

CUSTOM_FIELDS = "custom"
"""The column of fields that a configuration adds, as a list of names and values: compared field by field."""

_DATES = {
    "bill": "accounting_date",
    "invoice": "accounting_date",
    "entry": "accounting_date",
    "payment": "date",
    "bank_line": "date",
    "purchase_order": "ordered_at",
    "receipt": "scheduled_at",
    "expense_report": "accounting_date",
    CUSTOM_RECORD: "date",
}
_AMOUNTS = ("amount_total", "amount")

Kind = Literal["missing", "changed", "gone"]
"""missing: the source has it, the store has not. changed: contents differ. gone: the source has it no longer."""
KINDS: tuple[Kind, ...] = ("missing", "changed", "gone")


def date_column(entity: str) -> str:
    """The column whose month is the period of an entity's documents; creation where they have no date of their own."""
    return _DATES.get(entity, "created_at")


def canonical(value: Any) -> Any:
    """A value as both sides write it: decimals as text with six places, times as UTC text, dates as text.

    What a record within it leaves open counts as not being there: the store writes every column of a line, the source
    those that it tells. Raises ValueError for a naive datetime.
    """
    if isinstance(value, Decimal):
        return f"{value.quantize(_SMALLEST):f}" if value else "0.000000"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a naive datetime may not cross a module border")
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {
            name: canonical(comparable(one) if name == CUSTOM_FIELDS else one)
            for name, one in value.items()
            if name not in NOT_COMPARED and one is not None
        }
    if isinstance(value, list | tuple):
        return [canonical(one) for one in value]
    return value


def comparable(told: Iterable[Mapping[str, Any]] | None) -> list[Mapping[str, Any]]:
    """Custom fields without the names of other records, which change without the document being changed."""
    return [one for one in told or () if not str(one["name"]).endswith(".name")]


def custom_content(told: Iterable[Mapping[str, Any]] | None, *, whole: bool) -> dict[str, Any]:
    """Custom fields of a document as columns of their own (`custom.<name>`), so that each is compared by itself.

    `whole`: those of its lines too, as one column: which of them are listed depends on what they hold.
    """
    content: dict[str, Any] = {}
    of_lines = []
    for one in comparable(told):
        name = str(one["name"])
        if name.startswith("lines["):
            of_lines.append({"name": name, "value": one["value"]})
        else:
            content[f"{CUSTOM_FIELDS}.{name}"] = one["value"]
    return content | {f"{CUSTOM_FIELDS}.lines[]": of_lines} if whole else content


class Reference(NamedTuple):
    """What names a document within one model of one source.

    `model`: of records of many models under one entity (custom ones), whose names begin with it; else empty.
    """

    entity: str
    record_id: int
    model: str = ""

    @property
    def name(self) -> str:
        """Its id within the entity, as it stands in keys."""
        return f"{self.model}/{self.record_id}" if self.model else str(self.record_id)


def reference(model: str, entity: str, record_id: int) -> Reference:
    """What names a record of a model as a document."""
    return Reference(entity, record_id, model if entity == CUSTOM_RECORD else "")


def asked_by(model: str, entity: str) -> str:
    """What `finwatch reconcile --model` is given for documents of an entity."""
    return model if entity == CUSTOM_RECORD else entity


def in_words(model: str, entity: str) -> str:
    """Documents of an entity, for people."""
    return model if entity == CUSTOM_RECORD else entity.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Item:
    """One document as one side has it.

    `content`: canonical values by column (see `canonical`). `written_at`: when it was last written in the source
    (aware, UTC). `event_id`: of the state the store has; empty on the source's side.
    """

    reference: Reference
    company: str
    content: Mapping[str, Any]
    written_at: datetime
    event_id: str = ""

    @property
    def period(self) -> str:
        """`YYYY-MM` of the document's date; `undated` for none."""
        dated = self.content.get(date_column(self.reference.entity)) or self.content.get("created_at")
        return str(dated)[:7] if dated else UNDATED

    @property
    def amount(self) -> tuple[str, Decimal] | None:
        """(currency, amount); None for documents without an amount."""
        for name in _AMOUNTS:
            found = self.content.get(name)
            if found is not None:
                return str(self.content.get("currency") or ""), Decimal(found)
        return None


class Key(NamedTuple):
    """A group of documents that are counted together. `company`: empty for documents of none."""

    model: str
    entity: str
    company: str
    period: str


@dataclass(slots=True)
class Side:
    """What the documents of a group add up to on one side. `digest` is over their contents, whatever their order."""

    count: int = 0
    sums: dict[str, Decimal] = field(default_factory=dict)
    digest: int = 0

    def add(self, item: Item, names: AbstractSet[str]) -> None:
        """Count a document in, with the columns `names` of its content."""
        self.count += 1
        amount = item.amount
        if amount is not None:
            self.sums[amount[0]] = self.sums.get(amount[0], Decimal(0)) + amount[1]
        self.digest = (self.digest + _digest(item, names)) % _MODULUS

    @property
    def hash(self) -> str:
        """The digest as text."""
        return f"{self.digest:032x}"


@dataclass(frozen=True, slots=True)
class Difference:
    """One document that the sides do not agree on. `fields`: which columns, for `changed`; never their values."""

    reference: Reference
    kind: Kind
    fields: tuple[str, ...] = ()
    event_id: str = ""


@dataclass(slots=True)
class Group:
    """Both sides of a group, what is on its way, and the differences (at most `KEEP` of a model are listed)."""

    source: Side = field(default_factory=Side)
    store: Side = field(default_factory=Side)
    in_flight: int = 0
    counts: dict[Kind, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)

    @property
    def drift(self) -> int:
        """How many documents the sides do not agree on."""
        return sum(self.counts.values())

    @property
    def equal(self) -> bool:
        """Whether counts, sums and hashes of both sides are the same."""
        return self.source == self.store


Awaited = Callable[[Reference], bool]
"""Whether a document that only the store has may still be waiting for its deletion to be noticed."""


def never_awaited(_reference: Reference) -> bool:
    """Every document that the source no longer has is a difference."""
    return False


class Comparison:
    """Compares one model, any part of it at a time.

    `before`: documents written at or after it, on either side, are in flight. None: nothing is. `contents` False: the
    source changes documents of this model without a stamp, so nobody can tell what is on its way: what differs is in
    flight, and only missing and gone documents are differences.
    """

    def __init__(
        self, model: str, before: datetime | None, awaited: Awaited = never_awaited, *, contents: bool = True
    ) -> None:
        self.model = model
        self._contents = contents
        self.groups: dict[Key, Group] = {}
        self._before = before
        self._awaited = awaited
        self._kept = 0

    def suspects(self, source: Mapping[Reference, Item], store: Mapping[Reference, Item]) -> list[Reference]:
        """Documents of a part that would be listed as different: worth a second look before they are."""
        found = []
        for reference in source.keys() | store.keys():
            mine, theirs = source.get(reference), store.get(reference)
            if not self._in_flight(mine, theirs) and _difference(mine, theirs) is not None:
                found.append(reference)
        return sorted(found)

    def add(self, source: Mapping[Reference, Item], store: Mapping[Reference, Item]) -> None:
        """Compare a part: both sides must hold everything they have of it, and no document is in two parts."""
        for reference in sorted(source.keys() | store.keys()):
            mine, theirs = source.get(reference), store.get(reference)
            of_mine = self._group(mine) if mine is not None else None
            of_theirs = self._group(theirs) if theirs is not None else None
            if self._in_flight(mine, theirs):
                group = of_mine or of_theirs
                assert group is not None
                group.in_flight += 1
                continue
            names = _compared(mine, theirs)
            if mine is not None and of_mine is not None:
                of_mine.source.add(mine, names)
            if theirs is not None and of_theirs is not None:
                of_theirs.store.add(theirs, names)
            difference = _difference(mine, theirs)
            if difference is None:
                continue
            self._list(of_mine or of_theirs, difference)
            if of_mine is not None and of_theirs is not None and of_mine is not of_theirs:
                self._list(of_theirs, difference)

    def _group(self, item: Item) -> Group:
        key = Key(self.model, item.reference.entity, item.company, item.period)
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group()
        return group

    def _in_flight(self, mine: Item | None, theirs: Item | None) -> bool:
        if self._before is not None and any(
            one is not None and one.written_at >= self._before for one in (mine, theirs)
        ):
            return True
        if mine is not None and theirs is not None:
            return not self._contents and _difference(mine, theirs) is not None
        return theirs is not None and self._awaited(theirs.reference)

    def _list(self, group: Group | None, difference: Difference) -> None:
        assert group is not None
        group.counts[difference.kind] = group.counts.get(difference.kind, 0) + 1
        if self._kept < KEEP:
            self._kept += 1
            group.differences.append(difference)


def _compared(mine: Item | None, theirs: Item | None) -> AbstractSet[str]:
    """Columns that are compared: those the store knows. What was captured before a column existed has no opinion."""
    known = theirs if theirs is not None else mine
    assert known is not None
    return known.content.keys() - NOT_COMPARED


def _empty(value: Any) -> bool:
    return value is None or value == [] or value == ""


def _difference(mine: Item | None, theirs: Item | None) -> Difference | None:
    if mine is None:
        assert theirs is not None
        return Difference(theirs.reference, "gone", (), theirs.event_id)
    if theirs is None:
        return Difference(mine.reference, "missing")
    fields = [] if mine.company == theirs.company else ["company_id"]
    for name in sorted(_compared(mine, theirs)):
        one, other = mine.content.get(name), theirs.content.get(name)
        if one != other and not (_empty(one) and _empty(other)):
            fields.append(name)
    return Difference(mine.reference, "changed", tuple(fields), theirs.event_id) if fields else None


def _digest(item: Item, names: AbstractSet[str]) -> int:
    content = {name: item.content.get(name) for name in sorted(names) if not _empty(item.content.get(name))}
    text = json.dumps([*item.reference, item.company, content], separators=(",", ":"), ensure_ascii=False)
    return int.from_bytes(blake2b(text.encode(), digest_size=16).digest())


class Waiting:
    """Since when each document is known to be gone from the source: a deletion needs a round of the sweep.

    `patience`: seconds that a deletion may take to be noticed.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: dict[tuple[str, Reference], float] = {}
        self._seen: set[tuple[str, Reference]] = set()

    def of(self, model: str, now: float) -> Awaited:
        """For a comparison of a model at `now` (seconds that never run backwards)."""

        def awaited(reference: Reference) -> bool:
            known = (model, reference)
            self._seen.add(known)
            return now - self._since.setdefault(known, now) < self._patience

        return awaited

    def round_over(self) -> None:
        """Forget those that were not gone any more in the round that ended."""
        self._since = {known: since for known, since in self._since.items() if known in self._seen}
        self._seen = set()


# -- findings ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scope:
    """What a run compared: these models and these entities of theirs, a company and a period where given."""

    models: AbstractSet[str]
    entities: AbstractSet[str]
    company: str | None = None
    period: str | None = None

    def covers(self, entity: str, company: str, period: str) -> bool:
        """Whether a group was looked at."""
        return entity in self.entities and self.company in (None, company) and self.period in (None, period)


def finding_id(source: str, key: Key) -> str:
    """Identity of the finding about one group."""
    return deterministic_id("finding", DETECTOR, source, *key)


_OPEN = ("open", "updated")
_REASONS = {
    "missing": "{} of the source are missing in the store.",
    "changed": "{} differ in {}.",
    "gone": "{} of the store are no longer in the source.",
}


def findings(
    source: str, groups: Mapping[Key, Group], known: Mapping[str, Finding], scope: Scope, at: int
) -> list[Finding]:
    """New versions of findings: opened, updated where the drift is another, retracted where it is gone.

    `known`: the latest version of each finding of this detector and source, by id. `at`: epoch microseconds of the
    source when it was read. Nothing is said twice: the same drift gives no new version.
    """

    def looked_at(before: Finding) -> bool:
        """Whether the run had this finding's group before it: the model is not told by its entity alone."""
        company, period = before.company_id or "", before.level or UNDATED
        return scope.covers(before.entity, company, period) and any(
            finding_id(source, Key(model, before.entity, company, period)) == before.finding_id
            for model in scope.models
        )

    found = [_finding(source, finding_id(source, key), key, group, at) for key, group in groups.items() if group.drift]
    return versions(found, {one: known[one] for one in known if known[one].rule == RULE}, looked_at, at)


def versions(
    found: Iterable[Finding], known: Mapping[str, Finding], looked_at: Callable[[Finding], bool], at: int
) -> list[Finding]:
    """What is new of the findings that a run made: opened, updated where they say something else; and those of
    `known` retracted that were looked at and are not among them. `at`: epoch microseconds.
    """
    made: list[Finding] = []
    again = {one.finding_id: one for one in found}
    for identity, new in sorted(again.items(), key=lambda one: (one[1].entity, one[1].company_id or "", one[1].level)):
        before = known.get(identity)
        if before is not None:
            new.version = before.version + 1
            if before.status in _OPEN:
                if _said(before) == _said(new):
                    continue
                new.status, new.opened_at = "updated", before.opened_at
        made.append(new)
    made += [
        _retracted(before, at)
        for identity, before in sorted(known.items())
        if identity not in again and before.status in _OPEN and looked_at(before)
    ]
    return made


def _finding(source: str, identity: str, key: Key, group: Group, at: int) -> Finding:
    reasons = []
    for kind in KINDS:
        number = group.counts.get(kind, 0)
        if number:
            fields = sorted({name for one in group.differences if one.kind == kind for name in one.fields})
            reasons.append(_REASONS[kind].format(number, ", ".join(fields)))
    amount = _at_risk(group)
    name = asked_by(key.model, key.entity)
    return Finding(
        identity,
        1,
        "open",
        DETECTOR,
        RULE,
        "high",
        _keys(source, group.differences[:LISTED]),
        source,
        key.entity,
        key.company or None,
        f"Store and source differ: {in_words(key.model, key.entity)}, {key.period}",
        reasons,
        [one.event_id for one in group.differences[:LISTED] if one.event_id],
        None if amount is None else amount[1],
        None if amount is None else amount[0],
        None,
        OWNER,
        f"finwatch reconcile --model {name} --ids shows which; --repair captures them again.",
        POLICY,
        key.period,
        None,
        at,
        at,
    )


def _keys(source: str, differences: Sequence[Difference]) -> list[str]:
    return [f"{source}:{one.reference.entity}:{one.reference.name}" for one in differences]


def _at_risk(group: Group) -> tuple[str, Decimal] | None:
    """By how much the sums differ, where one currency does."""
    currencies = group.source.sums.keys() | group.store.sums.keys()
    apart = {
        currency: abs(group.source.sums.get(currency, Decimal(0)) - group.store.sums.get(currency, Decimal(0)))
        for currency in currencies
    }
    apart = {currency: amount for currency, amount in apart.items() if amount}
    return next(iter(apart.items())) if len(apart) == 1 and "" not in apart else None


def _said(finding: Finding) -> tuple[object, ...]:
    return (
        finding.document_keys,
        finding.reasons,
        finding.evidence,
        finding.amount_at_risk,
        finding.currency,
    )


def _retracted(before: Finding, at: int) -> Finding:
    values = {name: getattr(before, name) for name in before.__struct_fields__}
    return Finding(
        **values
        | {
            "version": before.version + 1,
            "status": "retracted",
            "reasons": ["Both sides agree again."],
            "updated_at": max(at, before.updated_at),
        }
    )


def totals(groups: Iterable[Group]) -> dict[Kind, int]:
    """Differences by kind over groups. A document whose company or period differs stands in two of them."""
    counted: dict[Kind, int] = dict.fromkeys(KINDS, 0)
    for group in groups:
        for kind, number in group.counts.items():
            counted[kind] += number
    return counted
