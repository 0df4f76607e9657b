"""Brings documents that were posted late together with the lock dates of their company, by the day they are booked on.

In the documents stage: a document is sent to its day when it was posted on a later one; a company's lock dates are sent
to the days whose state they change. In the relations stage: one row a company and day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from zlib import crc32

import msgspec
from msgspec import Struct, structs

from finwatch.domain.calendar import DAY
from finwatch.domain.duties import locks
from finwatch.domain.duties.locks import LOCKS, BookedDay, Lock, Pass, Posted
from finwatch.domain.duties.rules import RULES
from finwatch.domain.events import Company, Event, LockException, RelationFact
from finwatch.domain.findings import Subject
from finwatch.domain.policy import Policy, PolicySet
from finwatch.domain.records import Kpi, Relation
from finwatch.domain.verdicts import settle
from finwatch.runtime.topics import RELATION
from streams.agents.detector import Change
from streams.agents.publishing import publish, tell
from streams.stage import InvalidEvent, View

RELATION_NAME = "lock"
_ENCODE = msgspec.json.Encoder().encode
_LOCKS_KEPT = 60
_IDS_KEPT = 40
_ID = 12


class Told(Struct, omit_defaults=True):
    """The further facts of a ``lock`` relation: of a document when it was posted, of a company its lock dates."""

    at: int = 0
    event_id: str = ""
    company_amount: Decimal | None = None
    locks: list[Lock] = []
    person: str | None = None
    taxed: bool = False
    let: Pass | None = None


class Sent(Struct, array_like=True):
    """What the relations stage was told of a document."""

    version: int = 0
    relation_key: str = ""
    checksum: int = 0


class CompanyRow(Struct, array_like=True):
    """One company's lock dates, as they were moved."""

    seen: str = ""
    at: int = -1
    locks: list[Lock] = []
    version: int = 0


_DECODER = msgspec.json.Decoder(Told)


class PostedFacts:
    """Sends documents that were posted on a later day than they are booked on to that day."""

    entities = frozenset({"bill", "invoice", "entry"})
    watches_history = True

    def changed(self, change: Change) -> None:
        """Tell the day what changed. Nothing is sent twice."""
        content, subject = change.content, change.subject
        posted = content.state == "posted" and content.booked is not None and not change.deleted
        told: Told | None = None
        if posted and content.booked is not None and subject.company_id is not None:
            at, event_id, person = locks.posted_at(change.facts, content)
            if at // DAY > content.booked:
                told = Told(at, event_id, content.company_amount, [], person, locks.taxed(content))
        row_key = f"l:{subject.document_key}"
        sent = change.view.get(row_key, Sent)
        if sent is None:
            if told is None:
                return  # what nearly every document is
            sent = Sent()
        elif content.state == "draft":
            return  # it is about to be posted again, or goes
        key = "" if told is None else f"{RELATION_NAME}:{subject.source}:{subject.company_id}:{content.booked}"
        attributes = b"" if told is None else _ENCODE(told)
        checksum = crc32(attributes, crc32(repr((content.amount, content.currency)).encode()))
        if (sent.relation_key, sent.checksum) == (key, checksum):
            return
        for op, to in (("withdraw", sent.relation_key), ("put", key)):
            if not to or (op == "withdraw" and to == key):
                continue
            sent.version += 1
            given = attributes.decode() if op == "put" else None
            tell(change, RELATION_NAME, to, sent.version, op, given, document_type=content.document_type)
        sent.relation_key, sent.checksum = key, checksum
        change.view.put(row_key, sent)


class LockFacts:
    """Master data: sends a company's lock dates to the days that they lock or open."""

    entities = frozenset({"company"})

    def apply(self, view: View, event: Event, policy: Policy) -> bool | None:
        """Take an event of a company. Returns False for a repeat."""
        key = f"mc:{event.document_key}"
        row = view.get(key, CompanyRow) or CompanyRow()
        short = event.event_id[:_ID]
        if short in row.seen:
            return False
        row.seen = row.seen[-_ID * (_IDS_KEPT - 1) :] + short
        days: set[int] = set()
        if isinstance(event, Company) and event.op != "d" and event.occurred_at >= row.at:
            row.at = event.occurred_at
            standing = {lock.name: lock.day for lock in row.locks}
            for name in LOCKS:
                was, now = standing.get(name), getattr(event, name)
                if was == now:
                    continue
                row.locks = [*row.locks, Lock(event.occurred_at, name, now, event.event_id)][-_LOCKS_KEPT:]
                known = [one for one in (was, now) if one is not None]
                newest, oldest = max(known), min(known) if len(known) == 2 else 0
                reach = policy.document.duties.lock_days
                days.update(range(max(oldest + 1, newest - reach + 1), newest + 1))
        if days:
            row.version += 1
            _tell_days(view, event, event.record_id, row.version, Told(locks=row.locks), sorted(days))
        view.put(key, row)
        return None


class PassRow(Struct, array_like=True):
    """One lock exception, as it was last seen."""

    seen: str = ""
    at: int = -1
    version: int = 0
    let: Pass | None = None


class PassFacts:
    """Master data: sends a lock exception to the days that it opens to somebody."""

    entities = frozenset({"lock_exception"})

    def apply(self, view: View, event: Event, policy: Policy) -> bool | None:
        """Take an event of a lock exception. Returns False for a repeat."""
        key = f"mp:{event.document_key}"
        row = view.get(key, PassRow) or PassRow()
        short = event.event_id[:_ID]
        if short in row.seen:
            return False
        row.seen = row.seen[-_ID * (_IDS_KEPT - 1) :] + short
        view.put(key, row)
        if not isinstance(event, LockException) or event.occurred_at < row.at or event.company_lock_date is None:
            return None
        row.at = event.occurred_at
        since = event.occurred_at if event.created_at is None else event.created_at
        until = event.ends_at or 0
        if event.active is False or event.op == "d":  # revoked: by then at the latest
            until = min(until or event.occurred_at, event.occurred_at)
        was = row.let
        first = event.event_id if was is None else was.event_id
        let = Pass(row.version + 1, event.lock or "", since, until, event.person, event.created_by, first)
        if was is not None and structs.replace(let, version=was.version) == was:
            return None
        row.version, row.let = row.version + 1, let
        reach = event.company_lock_date - policy.document.duties.lock_days
        days = range(max(reach, event.lock_date or 0) + 1, event.company_lock_date + 1)
        if event.company_id is not None:
            _tell_days(view, event, event.company_id, row.version, Told(let=let), days)
        return None


def _tell_days(view: View, event: Event, company: str, version: int, told: Told, days: Iterable[int]) -> None:
    """Send a fact to each of these days of a company's books."""
    subject = Subject(event.document_key, event.source, event.entity, event.record_id, company)
    times = (event.timeline, event.occurred_at, event.observed_at, event.event_id)
    attributes = _ENCODE(told).decode()
    for day in days:
        key = f"{RELATION_NAME}:{event.source}:{company}:{day}"
        fact = Relation(
            RELATION_NAME, key, version, "put", *subject, *times,
            None, None, None, None, None, None, day, attributes,
        )  # fmt: skip
        view.emit(RELATION, key, fact)


class BookedDays:
    """Judges one day of a company's books."""

    relation = RELATION_NAME

    def apply(self, view: View, fact: RelationFact, policy: Policy) -> bool:
        """Take one fact, once a version; emit the findings that changed. Raises InvalidEvent."""
        books = view.get(fact.relation_key, BookedDay) or BookedDay()
        told = _told(fact)
        if fact.entity == "company":
            if fact.version <= books.version or told is None:
                return False
            books.version, books.locks = fact.version, told.locks
        elif fact.entity == "lock_exception":
            known = books.passes.get(fact.document_key)
            if told is None or told.let is None or (known is not None and fact.version <= known.version):
                return False
            books.passes[fact.document_key] = told.let
        else:
            was = books.documents.get(fact.document_key)
            if (was is not None and fact.version <= was.version) or (was is None and told is None):
                return False
            if told is None:
                assert was is not None
                books.documents[fact.document_key] = structs.replace(was, version=fact.version, live=False)
            else:
                books.documents[fact.document_key] = Posted(
                    fact.version,
                    True,
                    fact.entity,
                    told.at,
                    told.event_id,
                    fact.amount,
                    fact.currency,
                    fact.company_id,
                    told.company_amount,
                    told.person,
                    told.taxed,
                )
        found = locks.judge(int(fact.relation_key.rpartition(":")[2]), books, policy.document.duties)
        changed = settle(
            books.said,
            found,
            RULES,
            policy.handling,
            fact.source,
            policy.label,
            fact.occurred_at,
            within=fact.relation_key,
        )
        publish(view, fact.source, changed)
        view.put(fact.relation_key, books)
        return True

    def kpis(self, view: View, now: Mapping[str, int], policies: PolicySet) -> list[Kpi]:
        """Its counts are kept in the tally, which the stage publishes."""
        return []


def _told(fact: RelationFact) -> Told | None:
    """The further facts; None for a withdrawal. Raises InvalidEvent."""
    day = fact.relation_key.rpartition(":")[2]
    if not day.lstrip("-").isdigit():
        raise InvalidEvent("invalid_event", "its key names no day")
    if fact.op != "put":
        return None
    try:
        return _DECODER.decode(fact.attributes or "")
    except msgspec.DecodeError:
        raise InvalidEvent("invalid_event", "its attributes are no facts of a locked period") from None
