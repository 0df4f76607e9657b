"""Orders, their receipts and their bills: brings them together by order, then matches them and looks at the duties.

In the documents stage: one fact a document and order, sent again only when what it says has changed; who did something
on it is sent alone, without the lines. In the relations stage: what is known of an order's documents, and a finding a
deviation.
"""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

import msgspec
from msgspec import Struct

from finwatch.domain.documents import RETURN
from finwatch.domain.duties import conflicts
from finwatch.domain.duties.acts import Act, acts_of
from finwatch.domain.duties.locks import posted_at
from finwatch.domain.duties.rules import RULES as DUTY_RULES
from finwatch.domain.events import Bill, PurchaseOrder, Receipt, ReceiptLine, RelationFact
from finwatch.domain.identity import deterministic_id, parse_document_key
from finwatch.domain.matching import chain
from finwatch.domain.matching.chain import Chain, ExtraLine
from finwatch.domain.matching.match import match
from finwatch.domain.matching.rules import RULES as MATCHING_RULES
from finwatch.domain.policy import Duration, Policy, PolicySet
from finwatch.domain.records import Kpi, Relation
from finwatch.domain.verdicts import settle
from finwatch.runtime.topics import RELATION
from streams.agents.detector import Change
from streams.agents.publishing import publish, tell
from streams.stage import InvalidEvent, View

RELATION_NAME = "order"
_ORDERED = frozenset({"purchase", "done", "cancel"})
_BILLING = frozenset({"draft", "posted"})
_BILL_TYPES = frozenset({"in_invoice", "in_receipt", "in_refund"})
_MILLION = 1_000_000
RULES = {**MATCHING_RULES, **DUTY_RULES}


class Told(Struct, omit_defaults=True):
    """The further facts of an ``order`` relation. ``lines`` None: they are as they were, only ``acts`` are told."""

    acts: dict[str, Act] = {}
    order_lines: list[chain.OrderLine] | None = None
    receipt_lines: list[chain.ReceiptLine] | None = None
    bill_lines: list[chain.BillLine] | None = None
    extras: list[ExtraLine] = []
    at: int = 0
    rate: str | None = None
    net: int = 0
    draft: bool = False
    waited: int = 0
    entered: int = 0
    firm: bool = False
    vat: str | None = None

    def lines_told(self) -> bool:
        """Whether it says more than who did what."""
        return self.order_lines is not None or self.receipt_lines is not None or self.bill_lines is not None


class Sent(Struct, array_like=True):
    """What the relations stage was told of a document: by order a checksum of all but who did what, and that.

    ``began``: since when a bill waits for its receipts, or a return for its credit note (0: it does not). ``due``: the
    end of its grace, while that lies ahead; ``waited``: the same, once it has passed.
    """

    version: int = 0
    told: dict[str, int] = {}
    acts: dict[str, Act] = {}
    began: int = 0
    due: int = 0
    waited: int = 0
    company_id: str | None = None


_DECODER = msgspec.json.Decoder(Told)
_ENCODE = msgspec.json.Encoder().encode


class OrderFacts:
    """Sends orders, receipts and bills to the order that they are about; and when a grace of theirs is over (adr 22).

    Only this stage knows the time of a source on each of its partitions, also at the end of an imported log. So it
    keeps the clock of a bill that may wait for its receipts, and of a return that waits for its credit note (adr 23),
    and says when it has run out; what had come by then the relations stage sees from the documents.
    """

    entities = frozenset({"purchase_order", "receipt", "bill"})
    watches_history = True
    timed = frozenset({"o"})

    def changed(self, change: Change) -> None:
        """Tell each order concerned what changed. Nothing is sent twice."""
        key = f"o:{change.subject.document_key}"
        sent = change.view.get(key, Sent)
        told = {} if change.deleted else _told(change) if change.content_changed else None
        if sent is None:
            if not told:
                return  # it is about no order, as far as is known
            sent = Sent()
        elif told is None and not sent.told:
            return
        goes_back = change.content.document_type == RETURN
        acts = {} if goes_back else acts_of(change.subject.entity, change.facts, sent.acts)
        acts_changed, sent.acts = acts != sent.acts, acts
        if change.subject.entity == "bill" and _wait(change, sent, bool(sent.told if told is None else told)):
            acts_changed = True  # it is told in the same way: without the lines
        elif goes_back and told is not None and _wait_for_credit(change, sent, told):
            acts_changed = True
        if told is None:
            if not acts_changed:
                return
            told = {order: Told() for order in sent.told}
        for order in sorted(sent.told.keys() - told.keys()):
            self._send(change, sent, order, "withdraw", None)
            del sent.told[order]
        for order, what in told.items():
            checksum = crc32(_ENCODE(what), hash_of(change)) if what.lines_told() else sent.told[order]
            same = sent.told.get(order) == checksum
            if same and not acts_changed:
                continue
            say = Told() if same else what
            say.acts, say.waited = acts, sent.waited
            sent.told[order] = checksum
            self._send(change, sent, order, "put", _ENCODE(say))
        change.view.put(key, sent, sent.due or None)

    def advance(self, view: View, key: str, now: int, policy: Policy) -> None:
        """A bill's grace is over: tell its orders. The fact is of that instant, whenever it is told."""
        sent = view.get(key, Sent)
        if sent is None or not sent.due or sent.due > now:
            return
        sent.waited, sent.due = sent.due, 0
        document = key.partition(":")[2]
        place = parse_document_key(document)
        attributes = _ENCODE(Told(acts=sent.acts, waited=sent.waited)).decode()
        timeline = "wall" if view.is_live(place.source) else "log"
        for order in sent.told:
            sent.version += 1
            to = f"{RELATION_NAME}:{order}"
            fact = Relation(
                RELATION_NAME, to, sent.version, "put", document, *place, sent.company_id, timeline,
                sent.waited, sent.waited, deterministic_id("grace", document, sent.waited),
                None, None, None, None, None, None, None, attributes,
            )  # fmt: skip
            view.emit(RELATION, to, fact)
        view.put(key, sent)

    def _send(self, change: Change, sent: Sent, order: str, op: str, attributes: bytes | None) -> None:
        sent.version += 1
        told = None if attributes is None else attributes.decode()
        kind = change.content.document_type
        tell(change, RELATION_NAME, f"{RELATION_NAME}:{order}", sent.version, op, told, document_type=kind)


def _wait(change: Change, sent: Sent, bills: bool) -> bool:
    """Keep the clock of a bill in line with it. Returns True when its orders have to be told.

    A bill waits from when it counts as billed: when it was made, or, where drafts do not count, when it was posted.
    What was planned stays as it is under a later policy.
    """
    content, policy = change.content, change.policy
    began = 0
    if bills and content.document_type != "in_refund" and policy.handling["billed_before_receipt"].report:
        if policy.document.matching.draft_bills:
            began = change.occurred_at if content.created_at is None else content.created_at
            began = sent.began if content.created_at is None and sent.began else began
        elif content.state == "posted":
            began = posted_at(change.facts, content)[0]
    return _begin(change, sent, began, policy.receipt_grace)


def _wait_for_credit(change: Change, sent: Sent, told: Mapping[str, Told]) -> bool:
    """Keep the clock of a return in line with it: it waits from when the goods went. Returns as ``_wait``."""
    began = 0
    if told and change.policy.handling["return_not_credited"].report:
        began = next(iter(told.values())).at
    return _begin(change, sent, began, change.policy.refund_grace)


def _begin(change: Change, sent: Sent, began: int, grace: Duration) -> bool:
    """Plan the end of a grace that began then (0: none did). Returns True when the orders have to be told."""
    if began == sent.began:
        return False
    policy = change.policy
    was = sent.waited
    sent.began, sent.due, sent.waited, sent.company_id = began, 0, 0, change.subject.company_id
    if began:
        end = grace.end(policy.calendar_of(change.subject.company_id), began)
        now = change.view.time_of(change.subject.source)
        if now is not None and end <= now:
            sent.waited = end
        else:
            sent.due = end
    return was != sent.waited


def hash_of(change: Change) -> int:
    """A checksum of what a fact says beside its lines."""
    content = change.content
    said = (content.partner_id, content.document_type, content.amount, content.currency, content.date)
    state = content.state if change.subject.entity == "purchase_order" else None
    return crc32(repr((said, state)).encode())


def _told(change: Change) -> dict[str, Told]:
    """What each order is to be told of a document as it is seen now."""
    event = change.event
    if isinstance(event, Bill):
        return _bill(change, event)
    if isinstance(event, Receipt):
        return _receipt(event)
    if isinstance(event, PurchaseOrder):
        return _order(change, event)
    return {}


def _order(change: Change, event: PurchaseOrder) -> dict[str, Told]:
    if event.state not in _ORDERED and change.view.get(f"o:{event.document_key}", Sent) is None:
        return {}  # not ordered yet: nothing can come or be billed
    receivable = event.receipt_status is not None
    lines = [
        chain.OrderLine(
            line.line_id,
            line.product_id,
            line.unit,
            line.quantity or 0,
            _net(line.price_unit, line.subtotal, line.quantity),
            receivable and line.quantity_received is not None,
            line.quantity_base,
            _taxes(line.tax_ids, line.subtotal, line.total),
            _tax(line.subtotal, line.total),
            line.category_id,
            line.category,
        )
        for line in event.lines
    ]
    created = change.content.created_at
    rate = None if event.currency_rate is None else repr(event.currency_rate)
    return {
        event.document_key: Told(
            order_lines=lines,
            at=change.occurred_at if created is None else created,
            rate=rate,
            firm=event.commercial_partner_id is not None,
            vat=_vat(event.vendor_vat),
        )
    }


def _vat(number: str | None) -> str | None:
    """A tax number as it is compared: its letters and digits, however it is typed."""
    return None if number is None else "".join(filter(str.isalnum, number)).upper() or None


def _receipt(event: Receipt) -> dict[str, Told]:
    if event.state != "done" or event.purchase_order_key is None:
        return {}
    lines = [
        chain.ReceiptLine(line.purchase_line_id, line.unit, line.quantity_done, _in_base(line), line.to_refund is False)
        for line in event.lines
        if line.purchase_line_id is not None and line.quantity_done
    ]
    at = event.occurred_at if event.done_at is None else event.done_at
    entered = at if event.created_at is None else event.created_at
    return {event.purchase_order_key: Told(receipt_lines=lines, at=at, entered=entered)}


def _in_base(line: ReceiptLine) -> int | None:
    """What came in or went back, in the product's own unit: the source tells the demand in both."""
    if not line.quantity_expected or line.quantity_base is None or line.quantity_done is None:
        return None
    return (line.quantity_done * line.quantity_base + line.quantity_expected // 2) // line.quantity_expected


def _bill(change: Change, event: Bill) -> dict[str, Told]:
    if event.state not in _BILLING or event.move_type not in _BILL_TYPES or not change.content.lines:
        return {}
    by_order: dict[str, list[chain.BillLine]] = {}
    extras = []
    net = 0
    for line in event.lines:
        net += line.subtotal or 0
        if line.purchase_line_id is not None and line.purchase_order_key is not None:
            by_order.setdefault(line.purchase_order_key, []).append(
                chain.BillLine(
                    line.purchase_line_id,
                    line.unit,
                    line.quantity or 0,
                    _net(line.price_unit, line.subtotal, line.quantity),
                    _taxes(line.tax_ids, line.subtotal, line.total),
                    _tax(line.subtotal, line.total),
                )
            )
        elif line.subtotal:
            extras.append(ExtraLine(line.product_id, line.account_id, line.subtotal))
    created = change.content.created_at
    at = change.occurred_at if created is None else created
    rate = None
    if event.amount_total and event.amount_total_company:
        rate = str((abs(event.amount_total) / abs(event.amount_total_company)).normalize())
    draft = event.state == "draft" and not change.policy.document.matching.draft_bills
    vat = _vat(event.vendor_vat) if by_order else None
    return {
        order: Told(
            bill_lines=by_order[order], extras=[] if i else extras, at=at, rate=rate, net=net, draft=draft, vat=vat
        )
        for i, order in enumerate(sorted(by_order))
    }


def _net(price: int | None, subtotal: int | None, quantity: int | None) -> int:
    """Net price of one: what is left after discounts and taxes that the price includes."""
    if subtotal is not None and quantity:
        return round(subtotal * _MILLION / quantity)
    return price or 0


def _taxes(ids: list[str], subtotal: int | None, total: int | None) -> str | None:
    """A line's taxes as they are compared. Without ids it bears none when its total is its net; else nobody told."""
    if ids:
        return ids[0] if len(ids) == 1 else ",".join(sorted(ids))
    return "" if total is not None and total == subtotal else None


def _tax(subtotal: int | None, total: int | None) -> int | None:
    """The tax on one of net, in millionths."""
    return round((total - subtotal) * _MILLION / subtotal) if subtotal and total is not None else None


class OrderChains:
    """Judges the documents of an order."""

    relation = RELATION_NAME

    def apply(self, view: View, fact: RelationFact, policy: Policy) -> bool:
        """Take one fact, once a version; emit the findings that changed."""
        row_key = fact.relation_key
        known = view.get(row_key, Chain)
        order = known if known is not None else Chain()
        if not take(order, fact):
            return False
        # Of an order that nobody has seen nothing is said, nor of one that nothing has come of yet.
        if order.said or (order.order is not None and (order.bills or order.receipts)):
            document = policy.document
            found = list(match(order, document.matching))
            if order.bills:
                found.extend(conflicts.on_chain(order, document.duties, policy.calendar_of(fact.company_id)))
            if found or order.said:
                changed = settle(order.said, found, RULES, policy.handling, fact.source, policy.label, fact.occurred_at)
                if changed:
                    publish(view, fact.source, changed, policy)
        view.put(row_key, order)
        return True

    def kpis(self, view: View, now: Mapping[str, int], policies: PolicySet) -> list[Kpi]:
        """Its counts are kept in the tally, which the stage publishes."""
        return []


def take(order: Chain, fact: RelationFact) -> bool:
    """Take a fact into what is known of an order. Returns False for one that was taken before.

    Raises InvalidEvent for attributes that are no facts of an order.
    """
    key = fact.document_key
    sides: dict[str, chain.Receipt] | dict[str, chain.Bill] = (
        order.receipts if fact.entity == "receipt" else order.bills
    )
    side = order.order if fact.entity == "purchase_order" else sides.get(key)
    if side is not None and fact.version <= side.version:
        return False
    if fact.op != "put":
        if side is not None:
            side.version, side.live = fact.version, False
        return side is not None
    try:
        told = _DECODER.decode(fact.attributes or "{}")
    except msgspec.ValidationError:
        raise InvalidEvent("invalid_event", "its attributes are no facts of an order") from None
    if not told.lines_told():
        if side is not None:
            side.version, side.acts = fact.version, told.acts
            if not isinstance(side, chain.Order):
                side.waited = told.waited
        return side is not None
    if fact.entity == "purchase_order":
        order.order = chain.Order(
            key,
            fact.version,
            True,
            fact.state,
            fact.company_id,
            fact.partner_id,
            fact.currency,
            told.rate,
            told.at,
            fact.event_id,
            told.order_lines or [],
            told.acts,
            told.firm,
            told.vat,
        )
    elif fact.entity == "receipt":
        order.receipts[key] = chain.Receipt(
            key,
            fact.version,
            True,
            told.at,
            fact.event_id,
            told.receipt_lines or [],
            told.acts,
            told.entered,
            told.waited,
        )
    else:
        order.bills[key] = chain.Bill(
            key,
            fact.version,
            True,
            told.draft,
            fact.document_type == "in_refund",
            fact.date,
            fact.currency,
            told.rate,
            told.at,
            fact.event_id,
            told.net,
            fact.amount,
            told.bill_lines or [],
            told.extras,
            told.acts,
            told.waited,
            fact.partner_id,
            told.vat,
        )
    return True
