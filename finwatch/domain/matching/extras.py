"""What is billed beside the order: lines that nobody ordered, and orders that were cancelled."""

from __future__ import annotations

from collections.abc import Iterator

from finwatch.domain.matching.chain import Bill, Order
from finwatch.domain.matching.units import in_company
from finwatch.domain.policy.matching import MatchingSection
from finwatch.domain.verdicts import Verdict, money, percent

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
        yield Verdict(
            "unordered_line",
            (bill.key, order.key),
            [bill.key, order.key],
            "bill",
            order.company_id,
            bill.at,
            bill.at,
            [f"Lines that bill no order line come to {percent(amount, bill.net or amount)} of the bill."],
            [order.event_id, bill.event_id],
            money(amount),
            bill.currency,
            company_amount=in_company(money(amount), bill.rate),
            entered=bill.at,
        )


def cancelled_order(order: Order, bills: list[Bill]) -> Iterator[Verdict]:
    """Bills of an order that is cancelled."""
    for bill in bills:
        if bill.refund:
            continue
        billed = money(sum(round(line.quantity * line.price / _MILLION) for line in bill.lines))
        yield Verdict(
            "billed_cancelled_order",
            (bill.key, order.key),
            [bill.key, order.key],
            "bill",
            order.company_id,
            bill.at,
            bill.at,
            ["The order that it bills is cancelled."],
            [order.event_id, bill.event_id],
            billed,
            bill.currency,
            company_amount=in_company(billed, bill.rate),
            entered=bill.at,
        )
