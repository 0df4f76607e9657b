"""What bills are compared with besides bills: expenses of employees, and orders that several bills may come to.

In the documents stage: one fact about each expense of a report that was submitted, and about each order that was
placed, under the keys of ``finwatch.domain.duplicates.blocks``. Sent again only when what it says has changed.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
from msgspec import Struct

from finwatch.domain.duplicates.blocks import RELATION as RELATION_NAME
from finwatch.domain.duplicates.blocks import VENDOR, relation_keys
from finwatch.domain.duplicates.evidence import EXPENSE, ORDER
from finwatch.domain.duplicates.reports import LINE
from finwatch.domain.events import ExpenseLine, ExpenseReport, Feedback, PurchaseOrder
from finwatch.domain.findings import DUPLICATES
from finwatch.domain.records import Relation
from finwatch.domain.verdicts import money
from finwatch.runtime.topics import RELATION
from streams.agents.detector import Change
from streams.agents.duplicates import Attributes, Sent, with_verdict
from streams.stage import View

_SUBMITTED = frozenset({"submit", "approve", "post", "done"})
_PLACED = frozenset({"purchase", "done"})
_pack = msgspec.msgpack.Encoder().encode
_encode = msgspec.json.Encoder().encode


class Told(Struct, array_like=True):
    """What is said of an expense or an order; kept as it was sent. ``date`` in days since 1970."""

    vendor: str | None
    amount: Decimal
    currency: str | None
    date: int | None
    created_at: int
    order: str | None = None
    name: str | None = None
    text: str | None = None


_unpack = msgspec.msgpack.Decoder(Told).decode


class Lines(Struct, array_like=True):
    """The expenses of a report that were sent: the ids of its lines."""

    ids: list[str] = []


class ExpenseFacts:
    """Keys each expense by its amount, and by its vendor where it names one."""

    entities = frozenset({"expense_report"})
    watches_history = False

    def changed(self, change: Change) -> None:
        """Send what changed of each expense; withdraw those that are gone, refused or not submitted any more."""
        event, subject, view = change.event, change.subject, change.view
        known = view.get(f"r:{subject.document_key}", Lines)
        lines: dict[str, ExpenseLine] = {}
        if (
            isinstance(event, ExpenseReport)
            and not change.deleted
            and change.content.state in _SUBMITTED
            and "expense_report" in change.policy.document.duplicates.entities
        ):
            lines = {line.line_id: line for line in event.lines if line.total}
        if known is None:
            if not lines:
                return
            known = Lines()
        created = change.occurred_at if change.content.created_at is None else change.content.created_at
        for line_id in [one for one in known.ids if one not in lines]:
            _send(change, f"{subject.document_key}{LINE}{line_id}", EXPENSE, None)
        for line_id, line in lines.items():
            amount = money(line.total or 0)
            told = Told(
                line.vendor_id, amount, change.content.currency, line.date, created, None, line.vendor_name, line.label
            )
            _send(change, f"{subject.document_key}{LINE}{line_id}", EXPENSE, told)
        ids = sorted({*known.ids, *lines})
        if ids != known.ids:
            known.ids = ids
            view.put(f"r:{subject.document_key}", known)

    def judged(self, change: Change, feedback: Feedback) -> None:
        """Somebody dismissed a finding about an expense of this report, or took that back: told of all of them."""
        known = change.view.get(f"r:{change.subject.document_key}", Lines)
        if feedback.detector != DUPLICATES or known is None:
            return
        for line_id in known.ids:
            key = f"{change.subject.document_key}{LINE}{line_id}"
            sent = change.view.get(f"r:{key}", Sent)
            if sent is not None:
                sent.dismissals = with_verdict(sent.dismissals, feedback)
                _tell_all(change, key, EXPENSE, sent)


class OrderedFacts:
    """Keys each order that was placed by its vendor."""

    entities = frozenset({"purchase_order"})
    watches_history = False

    def changed(self, change: Change) -> None:
        """Send an order that was placed, and again when its amount or its vendor has changed; withdraw it with it."""
        event, content = change.event, change.content
        told = None
        if (
            content.state in _PLACED
            and not change.deleted
            and content.amount
            and content.partner_id is not None
            and isinstance(event, PurchaseOrder)
            and "purchase_order" in change.policy.document.duplicates.entities
        ):
            created = change.occurred_at if content.created_at is None else content.created_at
            told = Told(content.partner_id, content.amount, content.currency, None, created, event.name)
        _send(change, change.subject.document_key, ORDER, told)


def _send(change: Change, document_key: str, kind: str, told: Told | None) -> None:
    """1. Withdraw it from the keys it left. 2. Put it under those it has, as a later version: the last word stands."""
    view: View = change.view
    sent = view.get(f"r:{document_key}", Sent)
    if sent is None:
        if told is None:
            return
        sent = Sent()
    keys: tuple[str, ...] = ()
    facts = sent.facts
    if told is not None:
        keys, facts = _keys(change.subject.source, kind, told), _pack(told)
    if sent.keys == keys and sent.facts == facts:
        return
    left = [key for key in sent.keys if key not in keys]
    sent.facts, sent.since, sent.event_id = facts, change.occurred_at, change.event_id
    if left:
        sent.version += 1
        for key in left:
            _emit(change, document_key, kind, sent, key, "withdraw")
    sent.keys = keys
    _tell_all(change, document_key, kind, sent)


def _keys(source: str, kind: str, told: Told) -> tuple[str, ...]:
    if kind == ORDER:  # nothing of another vendor can come to it
        return (f"{RELATION_NAME}:{source}:{VENDOR}:{told.vendor}",)
    by_amount = relation_keys(source, "", told.amount, told.currency)[1:]
    return by_amount if told.vendor is None else relation_keys(source, told.vendor, told.amount, told.currency)


def _tell_all(change: Change, document_key: str, kind: str, sent: Sent) -> None:
    if sent.keys:
        sent.version += 1
        for key in sent.keys:
            _emit(change, document_key, kind, sent, key, "put")
    change.view.put(f"r:{document_key}", sent)


def _emit(change: Change, document_key: str, kind: str, sent: Sent, key: str, op: str) -> None:
    told = _unpack(sent.facts)
    attributes = Attributes(
        told.created_at, sent.since, order=told.order, name=told.name, text=told.text, dismissals=tuple(sent.dismissals)
    )
    fact = Relation(
        RELATION_NAME,
        key,
        sent.version,
        op,
        *change.subject._replace(document_key=document_key),
        change.timeline,
        change.occurred_at,
        change.observed_at,
        sent.event_id,
        None,
        told.vendor,
        kind,
        change.content.state,
        told.amount,
        told.currency,
        told.date,
        _encode(attributes).decode(),
    )
    change.view.emit(RELATION, key, fact)
