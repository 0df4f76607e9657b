"""Duplicates: sends each bill to the keys under which it meets others, and says which of those look like one.

In the documents stage: one fact a version of a bill for each of its keys, ``put`` under those it has now, ``withdraw``
from those it left. In the relations stage: the book of a partition, and its findings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec
from msgspec import Struct

from finwatch.domain.documents import Content, Paper
from finwatch.domain.duplicates.blocks import RELATION as RELATION_NAME
from finwatch.domain.duplicates.blocks import relation_keys, side_of
from finwatch.domain.duplicates.book import OPEN, UPDATED, Book, Choose, Dismissal, Fact, Judge
from finwatch.domain.duplicates.evidence import REFUND, Bill
from finwatch.domain.duplicates.reports import finding, severity
from finwatch.domain.events import Feedback, RelationFact
from finwatch.domain.findings import DUPLICATES
from finwatch.domain.policy import DuplicatesSection, Policy, PolicySet
from finwatch.domain.records import Kpi
from finwatch.runtime.topics import FINDING
from streams.agents import tally
from streams.agents.detector import Change
from streams.agents.publishing import tell
from streams.stage import InvalidEvent, View

_LIVE = frozenset({"draft", "posted"})
_NO_PAPER = Paper()
_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode


class Sent(Struct, array_like=True):
    """What the relations stage was told of a bill: under which keys, what, and since when it has been so."""

    version: int = 0
    keys: tuple[str, ...] = ()
    facts: bytes = b""
    since: int = 0
    event_id: str = ""
    dismissals: list[Dismissal] = []


class Attributes(Struct, omit_defaults=True):
    """The further facts of a ``duplicate_bill`` relation; see ``evidence.Bill`` and ``book.Fact``."""

    created_at: int
    entered_at: int
    net: Decimal | None = None
    company_amount: Decimal | None = None
    order: str | None = None
    vat: str | None = None
    bank: str | None = None
    name: str | None = None
    address: str | None = None
    reversed_key: str | None = None
    posted: bool = True
    reversed: bool = False
    dismissals: tuple[Dismissal, ...] = ()
    text: str | None = None


class DuplicateFacts:
    """Keys each bill by its vendor and by its amount."""

    entities = frozenset({"bill"})
    watches_history = False

    def changed(self, change: Change) -> None:
        """Send what changed of a bill to its keys. Nothing is sent twice."""
        content, subject = change.content, change.subject
        sent = change.view.get(f"r:{subject.document_key}", Sent)
        keys: tuple[str, ...] = ()
        if not change.deleted and _comparable(content, subject.entity, change.policy.document.duplicates):
            keys = relation_keys(subject.source, content.partner_id, content.amount, content.currency)
        if sent is None:
            if not keys:
                return
            sent = Sent()
        facts = _pack(_facts(content)) if keys else b""
        if sent.keys == keys and sent.facts == facts:
            return
        sent.facts, sent.since, sent.event_id = facts, change.occurred_at, change.event_id
        _send(change, sent, keys)

    def judged(self, change: Change, feedback: Feedback) -> None:
        """Somebody dismissed a finding about this bill, or took that back: told under all its keys."""
        if feedback.detector != DUPLICATES:
            return
        sent = change.view.get(f"r:{change.subject.document_key}", Sent)
        if sent is None:
            raise InvalidEvent("invalid_event", "nothing was found about this document")
        sent.dismissals = with_verdict(sent.dismissals, feedback)
        _send(change, sent, sent.keys)


class DuplicatePairs:
    """Compares the bills that meet under a key."""

    relation = RELATION_NAME
    timed = frozenset({"m"})

    def advance(self, view: View, key: str, now: int, policy: Policy) -> None:
        """A bill has not changed for long: it is forgotten, by the group's policy."""
        _, source, side, document_key = key.split(":", 3)
        Book(view, source, side, policy.document.duplicates).forget(document_key, now)

    def apply(
        self, view: View, fact: RelationFact, policy: Policy, choose: Callable[[int, str | None], Policy] | None = None
    ) -> bool:
        """Take one fact, once a version; emit the findings that changed. Raises InvalidEvent for an unreadable one.

        ``choose``: the policy of a moment and a company, where there are several; a group of bills has its own.
        """
        settings = policy.document.duplicates
        try:
            side = side_of(fact.relation_key)
        except ValueError as error:
            raise InvalidEvent("invalid_event", str(error)) from None
        judges = None if choose is None else _judges(choose)
        book = Book(view, fact.source, side, settings, None, policy.label, judges)
        said = book.take(_taken(fact))
        if said is None:
            return False
        if said or book.dropped:
            counts = tally.tally_of(view, fact.source)
            for one in said:
                view.emit(FINDING, one.finding_id, finding(one, one.judge.settings, one.judge.policy))
                standing = one.standing
                label = ""
                if standing.status in (OPEN, UPDATED):
                    label = f"findings_open|{DUPLICATES}|{standing.rule}|{severity(one, one.judge.settings)}"
                if standing.counted != label:
                    tally.move(counts, standing.counted, label)
                    standing.counted = label
            if book.dropped:
                tally.add(counts, "duplicate_block_dropped", book.dropped)
            view.put(f"k:{fact.source}", counts)
        return True

    def kpis(self, view: View, now: Mapping[str, int], policies: PolicySet) -> list[Kpi]:
        """Its counts are kept in the tally, which the stage publishes."""
        return []


def _judges(choose: Callable[[int, str | None], Policy]) -> Choose:
    def judge(moment: int, company_id: str | None) -> Judge:
        policy = choose(moment, company_id)
        return Judge(policy.document.duplicates, policy.label)

    return judge


def with_verdict(dismissals: list[Dismissal], feedback: Feedback) -> list[Dismissal]:
    """The dismissals of a document after somebody judged a finding about it."""
    others = [one for one in dismissals if one.finding_id != feedback.finding_id]
    if feedback.verdict == "dismissed":
        others.append(
            Dismissal(feedback.finding_id, feedback.occurred_at, feedback.actor or "unknown", feedback.reason or "")
        )
    return others


def _comparable(content: Content, entity: str, settings: DuplicatesSection) -> bool:
    return content.state in _LIVE and content.document_type in settings.document_types and entity in settings.entities


def _facts(content: Content) -> tuple[object, ...]:
    """What a bill is compared by: when none of it changed, nothing is sent."""
    refund = content.document_type == REFUND
    return (
        content.reference,
        content.document_type,
        content.date,
        content.reversed_key,
        refund and content.state == "posted",
        content.payment_state == "reversed",
        content.paper,
    )


def _send(change: Change, sent: Sent, keys: tuple[str, ...]) -> None:
    """1. Withdraw it from the keys it left. 2. Put it under those it has, as a later version: the last word stands."""
    left = [key for key in sent.keys if key not in keys]
    attributes = _attributes(change, sent)
    if left:
        sent.version += 1
        for key in left:
            _tell(change, sent, key, "withdraw", attributes)
    if keys:
        sent.version += 1
        for key in keys:
            _tell(change, sent, key, "put", attributes)
    sent.keys = keys
    change.view.put(f"r:{change.subject.document_key}", sent)


def _attributes(change: Change, sent: Sent) -> str:
    content = change.content
    paper = content.paper or _NO_PAPER
    attributes = Attributes(
        change.occurred_at if content.created_at is None else content.created_at,
        sent.since,
        paper.net,
        paper.company_amount,
        paper.order,
        paper.vat,
        paper.bank,
        paper.name,
        paper.address,
        content.reversed_key,
        content.state == "posted",
        content.payment_state == "reversed",
        tuple(sent.dismissals),
    )
    return _encode(attributes).decode()


def _tell(change: Change, sent: Sent, key: str, op: str, attributes: str) -> None:
    kind, reference = change.content.document_type, change.content.reference
    tell(
        change,
        RELATION_NAME,
        key,
        sent.version,
        op,
        attributes,
        document_type=kind,
        reference=reference,
        event_id=sent.event_id,
    )


_decode = msgspec.json.Decoder(Attributes).decode


def _taken(fact: RelationFact) -> Fact:
    """Raises InvalidEvent for attributes that are none."""
    try:
        more = _decode(fact.attributes or "")
    except msgspec.DecodeError:
        raise InvalidEvent("invalid_event", "the attributes of a duplicate_bill are not readable") from None
    return Fact(
        Bill(
            fact.document_key,
            fact.version,
            fact.company_id,
            fact.document_type,
            fact.partner_id,
            fact.reference,
            fact.date,
            fact.amount,
            fact.currency,
            more.created_at,
            more.vat,
            more.bank,
            more.name,
            more.net,
            more.order,
            more.reversed_key,
            more.posted,
            more.reversed,
            more.company_amount,
            more.entered_at,
            fact.event_id,
            more.address,
            more.text,
        ),
        fact.op == "put",
        more.dismissals,
        fact.observed_at,
    )
