"""What is known of one document: its facts (what happened, when, by whom) and its latest content.

A *fact* is a decision or a change of status. Tracked facts come from the source's own log of who did what. Implied
facts are read off a document that is seen in another state than before: they have a time but no author, and give way to
the tracked fact of the same change, which may arrive before or after them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from zlib import crc32

import msgspec
from msgspec import Struct

from finwatch.domain.calendar import MINUTE
from finwatch.domain.events import (
    ApprovalRequest,
    Bill,
    Entry,
    Event,
    ExpenseReport,
    Invoice,
    OrderLine,
    Payment,
    PurchaseOrder,
    Receipt,
    Transition,
)

_PACK = msgspec.msgpack.Encoder().encode
STATE = "state"
PAYMENT_STATE = "payment_state"
CREATED = "created"
# A document's time stamp is the start of the transaction that wrote it, the tracking log's is the wall clock within it:
# both mean one change when they are this close. Transactions end within two minutes unless a server is told otherwise.
SAME_CHANGE = 15 * MINUTE


class Fact(Struct, array_like=True, gc=False):
    """One thing that happened to a document.

    ``field`` is empty for a fact that changes no status field; ``review`` names the review that a fact is about, and is
    empty for the document itself.
    """

    at: int
    tracked: bool
    activity: str
    field: str = ""
    before: str | None = None
    after: str | None = None
    role: str | None = None
    step: str | None = None
    decision: str | None = None
    actor: str | None = None
    responsible: str | None = None
    event_id: str = ""
    review: str = ""


class Paper(Struct, array_like=True, gc=False, frozen=True):
    """What else is on a bill, and who sent it: what two bills are told apart by. ``bank``, ``address``: hashes."""

    net: Decimal | None = None
    company_amount: Decimal | None = None
    order: str | None = None
    vat: str | None = None
    bank: str | None = None
    name: str | None = None
    address: str | None = None


class Content(Struct, array_like=True, gc=False):
    """The latest content of a document, as far as the detectors need it. ``marks``: see ``exceptions``."""

    document_type: str | None = None
    state: str | None = None
    payment_state: str | None = None
    reference: str | None = None
    partner_id: str | None = None
    date: int | None = None
    due_date: int | None = None
    currency: str | None = None
    amount: Decimal | None = None
    responsible: str | None = None
    created_by: str | None = None
    created_at: int | None = None
    reversed_key: str | None = None
    marks: str = ""
    account: str | None = None  # bank account that is paid to
    lines: int = 0
    """A checksum of the lines that relate to an order, or of expenses; 0 without any. Lines alone may change."""
    paper: Paper | None = None
    company_amount: Decimal | None = None  # ``amount`` in the company's currency, of its sign
    booked: int | None = None  # the day in the books


NO_ORDER, BILLED_BEFORE_RECEIPT, OVER_BILLED, OVER_RECEIVED = "n", "b", "o", "r"
NAMES_PARTNER = "p"
EXPENSE_BILL = "in_expense"
"""Document type of a bill that reimburses an expense report: no vendor sent it, so no vendor's rules hold for it."""
RETURN = "return"
"""Document type of a receipt of goods that go back to the vendor."""


def _move(event: Any) -> Content:
    return Content(
        event.move_type,
        event.state,
        event.payment_state,
        event.reference,
        event.commercial_partner_id or event.partner_id,
        event.invoice_date,
        event.due_date,
        event.currency,
        event.amount_total,
        event.responsible,
        event.created_by,
        event.created_at,
        event.reversed_key,
        company_amount=_of_sign(event.amount_total_company, event.amount_total),
        booked=event.accounting_date,
    )


def _of_sign(company_amount: Decimal | None, amount: Decimal | None) -> Decimal | None:
    """The company's amount with the document's sign: Odoo signs it by the direction of the money."""
    if company_amount is None or amount is None or (company_amount < 0) is (amount < 0):
        return company_amount
    return -company_amount


def _bill(event: Bill) -> Content:
    content = _move(event)
    content.account = event.bank_account_id
    content.paper = Paper(
        event.amount_untaxed,
        event.amount_total_company,
        event.origin or None,
        event.vendor_vat,
        event.bank_account_hash,
        event.vendor_name or event.partner_name,
        event.vendor_address_hash,
    )
    if event.expense_report_key is not None and event.move_type in ("in_invoice", "in_receipt"):
        content.document_type = EXPENSE_BILL
    else:
        for line in event.lines:
            if line.purchase_line_id:
                content.lines = _checksum(event.lines)
                break
        else:
            if not event.origin:
                content.marks = NO_ORDER
    return content


def _entry(event: Entry) -> Content:
    content = _move(event)
    for line in event.lines:
        if line.partner_id is not None:
            content.marks = NAMES_PARTNER
            break
    return content


def _checksum(lines: list[Any]) -> int:
    return crc32(_PACK(lines)) or 1


def _order(event: PurchaseOrder) -> Content:
    return Content(
        None,
        event.state,
        None,
        event.partner_reference,
        event.commercial_partner_id or event.partner_id,
        None,
        None,
        event.currency,
        event.amount_total,
        None,
        event.created_by,
        event.created_at,
        None,
        _order_marks(event.lines, event.receipt_status is not None) if event.lines else "",
        None,
        _checksum(event.lines) if event.lines else 0,
        None,
        _of_sign(event.amount_total_company, event.amount_total),
    )


def _order_marks(lines: list[OrderLine], receivable: bool) -> str:
    """Where billed <= received <= ordered does not hold. What is never received (services) is not held to it.

    What is billed beyond the order will not be received: it is over-billed, and no receipt is waited for.
    """
    marks = set()
    for line in lines:
        ordered, received, billed = line.quantity, line.quantity_received, line.quantity_billed
        if ordered is None or billed is None:
            continue
        if billed > ordered:
            marks.add(OVER_BILLED)
        if not receivable or received is None:
            continue
        if min(billed, ordered) > received:
            marks.add(BILLED_BEFORE_RECEIPT)
        if received > ordered:
            marks.add(OVER_RECEIVED)
    return "".join(sorted(marks))


def _receipt(event: Receipt) -> Content:
    back = event.lines and (event.lines[0].quantity_expected or event.lines[0].quantity_done or 0) < 0
    return Content(
        document_type=RETURN if back else None,
        state=event.state,
        partner_id=event.partner_id,
        responsible=event.responsible,
        created_by=event.created_by,
        created_at=event.created_at,
        lines=_checksum(event.lines) if event.lines else 0,
    )


def _payment(event: Payment) -> Content:
    return Content(
        document_type=event.payment_type,
        state=event.state,
        partner_id=event.partner_id,
        date=event.date,
        currency=event.currency,
        amount=event.amount,
        created_by=event.created_by,
        created_at=event.created_at,
        account=event.bank_account_id,
        company_amount=_of_sign(event.amount_total_company, event.amount),
    )


def _expense(event: ExpenseReport) -> Content:
    return Content(
        state=event.state,
        payment_state=event.payment_state,
        partner_id=event.employee_id,
        currency=event.currency,
        amount=event.amount_total,
        company_amount=event.amount_total,  # a report is in the company's currency
        responsible=event.responsible,
        created_by=event.created_by,
        created_at=event.created_at,
        lines=_checksum(event.lines) if event.lines else 0,
    )


def _request(event: ApprovalRequest) -> Content:
    return Content(
        document_type=event.category,
        state=event.state,
        partner_id=event.partner_id,
        amount=event.amount,
        created_by=event.requester or event.created_by,
        created_at=event.created_at,
    )


# What each record says about its document. An observed record of another class is an error of the projections.
CONTENT_OF: Mapping[type[Event], Callable[[Any], Content]] = MappingProxyType(
    {
        Bill: _bill,
        Invoice: _move,
        Entry: _entry,
        PurchaseOrder: _order,
        Receipt: _receipt,
        Payment: _payment,
        ExpenseReport: _expense,
        ApprovalRequest: _request,
    }
)

_MOVE = {"posted": "posted", "cancel": "cancelled"}
_ACTIVITY: Mapping[str, Mapping[str, str]] = {
    "bill": _MOVE,
    "invoice": _MOVE,
    "entry": _MOVE,
    "purchase_order": {
        "sent": "changed",
        "to approve": "submitted",
        "purchase": "ordered",
        "done": "changed",
        "cancel": "cancelled",
    },
    "receipt": {"done": "received", "cancel": "cancelled"},
    "payment": {
        "in_process": "posted",
        "posted": "posted",
        "paid": "paid",
        "canceled": "cancelled",
        "cancel": "cancelled",
        "rejected": "rejected",
    },
    "expense_report": {
        "submit": "submitted",
        "approve": "approved",
        "post": "posted",
        "done": "paid",
        "cancel": "rejected",
    },
    "approval_request": {"cancel": "cancelled"},
}


def implied_activity(entity: str, field: str, before: str | None, after: str) -> str:
    """The activity that a change of status stands for, where no log says it (states: Odoo 17 and 18)."""
    if field == PAYMENT_STATE:
        return "paid" if after in ("paid", "in_payment") else "changed"
    if after == "draft":
        if before is None:
            return "created"
        return "withdrawn" if before in ("submit", "to approve") else "reset"
    if entity == "purchase_order" and after == "purchase" and before == "to approve":
        return "approved"
    return _ACTIVITY.get(entity, {}).get(after, "changed")


def tracked_fact(event: Transition) -> Fact:
    """The fact of a transition from the source's log."""
    field, before, after = "", None, None
    if event.new_value is not None and event.field in (STATE, PAYMENT_STATE):
        field, before, after = event.field, event.old_value, event.new_value
    elif event.activity == CREATED:
        field, after = STATE, "draft"  # what every document begins as
    return Fact(
        event.occurred_at,
        True,
        event.activity,
        field,
        before,
        after,
        event.role,
        event.step,
        event.decision,
        event.actor,
        event.responsible,
        event.event_id,
        event.review or "",
    )


def insert(facts: list[Fact], fact: Fact, *, first: bool = False) -> bool:
    """Put a fact in order of time, behind those of the same instant (``first``: before them).

    Facts of one instant keep the order in which they arrived: an event log's own order within a case. Returns True
    when the fact became the last one, so that what was derived from the others stands.
    """
    if not facts or (fact.at >= facts[-1].at and not first):
        facts.append(fact)
        return True
    at = bisect_left(facts, fact.at, key=_at) if first else bisect_right(facts, fact.at, key=_at)
    facts.insert(at, fact)
    return at == len(facts) - 1


def supersede(facts: list[Fact], fact: Fact) -> bool:
    """Drop the implied fact that a tracked one stands for. Returns True when there was one."""
    for i in range(len(facts) - 1, -1, -1):
        other = facts[i]
        if fact.at - other.at > SAME_CHANGE:
            break
        if not other.tracked and other.field == fact.field and other.after == fact.after and other.at <= fact.at:
            if other.activity == CREATED:
                break  # the creation of the document is no change that a log could tell
            del facts[i]
            return True
    return False


def superseded(facts: list[Fact], fact: Fact) -> bool:
    """True when an implied fact is already told by a tracked one."""
    for i in range(len(facts) - 1, -1, -1):
        other = facts[i]
        if other.at < fact.at:
            return False
        if other.tracked and other.field == fact.field and other.after == fact.after:
            return other.at - fact.at <= SAME_CHANGE
    return False


def _at(fact: Fact) -> int:
    return fact.at
