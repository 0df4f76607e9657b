"""Two duties in one hand, on one document or on a chain of them; and decisions that came after the fact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from finwatch.domain.calendar import Calendar
from finwatch.domain.duties.acts import Act
from finwatch.domain.duties.words import WORDS
from finwatch.domain.matching.chain import Bill, Chain, Order, Receipt
from finwatch.domain.matching.units import in_company
from finwatch.domain.policy.duties import DutiesSection
from finwatch.domain.verdicts import Verdict

NEVER = 2**63 - 1


def on_bill(
    key: str,
    company_id: str | None,
    acts: Mapping[str, Act],
    amount: Decimal | None,
    currency: str | None,
    settings: DutiesSection,
    company_amount: Decimal | None = None,
) -> Iterator[Verdict]:
    """Conflicts among the acts on one bill. ``company_amount``: its amount in the company's currency."""
    if _small(amount, settings):
        return
    for one, other in settings.conflicts:
        first, second = acts.get(one), acts.get(other)
        if first is not None and second is not None and settings.one_hand(first.person, second.person):
            yield _conflict([key], company_id, one, other, first, second, amount, currency, company_amount)


def on_chain(chain: Chain, settings: DutiesSection, calendar: Calendar) -> Iterator[Verdict]:
    """Conflicts between acts on an order or its receipts and acts on its bills; then what came after the fact."""
    order = chain.order
    if order is None or not order.live or not chain.bills:
        return
    bills = [bill for bill in chain.counted_bills(drafts=True) if not bill.refund]
    yield from _in_one_hand(order, bills, chain.done_receipts(), settings)
    if order.state != "cancel":
        yield from _after_the_fact(order, bills, calendar)


def _in_one_hand(
    order: Order, bills: list[Bill], receipts: list[Receipt], settings: DutiesSection
) -> Iterator[Verdict]:
    before = {act.person for act in order.acts.values()}
    for receipt in receipts:
        before.update([act.person for act in receipt.acts.values()])
    for bill in bills:
        if not bill.acts or _small(bill.total, settings):
            continue
        if not settings.same_person and before.isdisjoint([act.person for act in bill.acts.values()]):
            continue  # nobody had a hand in both: what nearly every bill looks like
        risk = (bill.total, bill.currency, in_company(bill.total, bill.rate))
        for one, other in settings.conflicts:
            second = bill.acts.get(other)
            if second is None:
                continue
            first = order.acts.get(one)
            if first is not None and settings.one_hand(first.person, second.person):
                yield _conflict([bill.key, order.key], order.company_id, one, other, first, second, *risk)
            for receipt in receipts:
                act = receipt.acts.get(one)
                if act is not None and settings.one_hand(act.person, second.person):
                    documents = [bill.key, receipt.key, order.key]
                    yield _conflict(documents, order.company_id, one, other, act, second, *risk)


def _after_the_fact(order: Order, bills: list[Bill], calendar: Calendar) -> Iterator[Verdict]:
    """Orders that came after their bill, and approvals that came after the payment."""
    approved = order.acts.get("approve_order")
    for bill in bills:
        late = _late(order, approved, bill, calendar)
        if late is not None:
            reason, act = late
            yield Verdict(
                "order_after_bill",
                (bill.key, order.key),
                [bill.key, order.key],
                "bill",
                order.company_id,
                act.at,
                act.at,
                [reason],
                [bill.event_id, act.event_id],
                bill.total,
                bill.currency,
                company_amount=in_company(bill.total, bill.rate),
            )
        paid = bill.acts.get("release_payment")
        if approved is not None and paid is not None and approved.at > paid.at:
            yield Verdict(
                "approved_after_payment",
                (bill.key, order.key),
                [bill.key, order.key],
                "bill",
                order.company_id,
                approved.at,
                approved.at,
                ["The order was approved after the bill had been paid."],
                [paid.event_id, approved.event_id],
                bill.total,
                bill.currency,
                company_amount=in_company(bill.total, bill.rate),
            )


def _late(order: Order, approved: Act | None, bill: Bill, calendar: Calendar) -> tuple[str, Act] | None:
    end = NEVER if bill.date is None else calendar.end_of_day(bill.date)
    last = order.created_at if approved is None else max(order.created_at, approved.at)
    if last <= bill.at and last < end:
        return None
    for what, act in (("made", Act("", order.created_at, order.event_id)), ("approved", approved)):
        if act is None:
            continue
        if act.at > bill.at:
            return f"The order was {what} after the bill had been entered.", act
        if act.at >= end:
            return f"The order was {what} after the date on the bill.", act
    return None


def _conflict(
    documents: list[str],
    company_id: str | None,
    one: str,
    other: str,
    first: Act,
    second: Act,
    amount: Decimal | None,
    currency: str | None,
    company_amount: Decimal | None,
) -> Verdict:
    opened = max(first.at, second.at)
    earlier, later = sorted((first, second), key=lambda act: (act.at, act.event_id))
    return Verdict(
        "conflicting_duties",
        (*documents, one, other),
        documents,
        "bill",
        company_id,
        opened,
        opened,
        [f"The same person {WORDS[one]} and {WORDS[other]}."],
        [earlier.event_id] if earlier.event_id == later.event_id else [earlier.event_id, later.event_id],
        amount,
        currency,
        company_amount=company_amount,
    )


def _small(amount: Decimal | None, settings: DutiesSection) -> bool:
    return settings.min_amount > 0 and (amount is None or abs(amount) < settings.min_amount)
