"""What is said of a bill against an order, as one verdict."""

from __future__ import annotations

from finwatch.domain.matching.chain import Bill, Order
from finwatch.domain.matching.units import in_company
from finwatch.domain.verdicts import Verdict, money

_MILLION = 1_000_000


def billed(bill: Bill) -> int:
    """What its lines bill of the order, in millionths of the bill's currency."""
    return sum(round(line.quantity * line.price / _MILLION) for line in bill.lines)


def of_bill(rule: str, order: Order, bill: Bill, amount: int, *reasons: str) -> Verdict:
    """A verdict on a bill of an order. `amount`: what is at risk, in millionths of the bill's currency."""
    at_risk = money(amount)
    return Verdict(
        rule,
        (bill.key, order.key),
        [bill.key, order.key],
        "bill",
        order.company_id,
        bill.at,
        bill.at,
        list(reasons),
        [order.event_id, bill.event_id],
        at_risk,
        bill.currency,
        company_amount=in_company(at_risk, bill.rate),
        entered=bill.at,
    )
