"""What is billed beside the order: lines that nobody ordered, and orders that were cancelled."""

from __future__ import annotations

from collections.abc import Iterator

from finwatch.domain.matching.chain import Bill, Order
from finwatch.domain.matching.whole_bills import billed, of_bill
from finwatch.domain.policy.matching import MatchingSection
from finwatch.domain.verdicts import Verdict, percent

_MILLION = 1_000_000


def unordered_lines(order: Order, bills: list[Bill], settings: MatchingSection) -> Iterator[Verdict]:
    """Bills with lines that bill no order line, beyond what is small and beyond freight, tax and rounding.

    A bill of several orders is judged with the first of them.
    """
    for bill in bills:
        if not bill.extras:
            continue
        amount = sum(
            extra.amount
            for extra in bill.extras
            if extra.product not in settings.apart_products and extra.account not in settings.apart_accounts
        )
        allowed = max(settings.unordered_absolute * _MILLION, abs(bill.net) * settings.unordered_percent / 100)
        if bill.refund or amount <= allowed:
            continue
        share = percent(amount, bill.net or amount)
        reason = f"Lines that bill no order line come to {share} of the bill."
        yield of_bill("unordered_line", order, bill, amount, reason)


def cancelled_order(order: Order, bills: list[Bill]) -> Iterator[Verdict]:
    """Bills of an order that is cancelled."""
    for bill in bills:
        if bill.refund:
            continue
        reason = "The order that it bills is cancelled."
        yield of_bill("billed_cancelled_order", order, bill, billed(bill), reason)
