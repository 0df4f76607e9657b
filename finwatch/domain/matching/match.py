"""Everything the matching says of an order's documents as they stand."""

from __future__ import annotations

from collections.abc import Iterator

from finwatch.domain.matching.chain import Bill, Chain, Order, Receipt
from finwatch.domain.matching.extras import cancelled_order, unordered_lines
from finwatch.domain.matching.parties import other_vendor
from finwatch.domain.matching.prices import prices
from finwatch.domain.matching.quantities import (
    billed_before_receipt,
    over_billed,
    over_received,
    paid_before_receipt,
)
from finwatch.domain.matching.returns import returns, went_back
from finwatch.domain.matching.taxes import other_taxes
from finwatch.domain.matching.units import differ, own_units, with_own
from finwatch.domain.policy.matching import MatchingSection
from finwatch.domain.verdicts import Verdict


def match(chain: Chain, settings: MatchingSection) -> Iterator[Verdict]:
    """Compare an order's receipts and bills with it. Nothing is said before the order is known."""
    order = chain.order
    if order is None or not order.live:
        return
    receipts = chain.done_receipts()
    bills = chain.counted_bills(settings.draft_bills)
    plain = is_plain(order, bills, receipts)
    if not plain and differ(order, receipts, bills):
        settings = with_own(settings, own_units(order, receipts))
    if receipts and not plain:
        yield from over_received(order, receipts, settings)
    if not bills:
        return
    if order.state == "cancel":
        yield from cancelled_order(order, bills)
        return  # nothing else on it means anything
    # What bills have to have for a rule to say anything: asked once, since most have nothing of it.
    strange = waited = paid = beside = False
    for bill in bills:
        strange = strange or bill.vendor != order.vendor
        waited = waited or bill.waited != 0
        paid = paid or "release_payment" in bill.acts
        beside = beside or bool(bill.extras)
    if strange:
        yield from other_vendor(order, bills)
    if not plain:
        yield from prices(order, bills, settings)
        yield from over_billed(order, bills, settings)
        yield from other_taxes(order, bills, settings)
    if waited:
        yield from billed_before_receipt(order, bills, receipts, settings)
    if paid:
        yield from paid_before_receipt(order, bills, receipts, settings)
    if not plain and went_back(receipts):
        yield from returns(order, bills, receipts, settings)
    if beside:
        yield from unordered_lines(order, bills, settings)


def is_plain(order: Order, bills: list[Bill], receipts: list[Receipt]) -> bool:
    """Whether all that is billed and received is as ordered: unit, currency, price and taxes, and no more of it.

    What nearly every order looks like. Of such a one ``over_received``, ``prices``, ``over_billed``, ``other_taxes``
    and ``returns`` say nothing under any policy, so they are not asked.
    """
    lines = {line.line_id: line for line in order.lines}
    if len(lines) != len(order.lines):
        return False
    left: dict[str, int] = {}
    for receipt in receipts:
        for come in receipt.lines:
            line = lines.get(come.order_line)
            if line is None:
                continue
            rest = left.get(come.order_line, line.quantity) - come.quantity
            if come.unit != line.unit or come.quantity < 0 or rest < 0:
                return False
            left[come.order_line] = rest
    left = {}
    for bill in bills:
        if bill.refund or bill.currency != order.currency:
            return False
        for one in bill.lines:
            line = lines.get(one.order_line)
            if line is None:
                continue
            rest = left.get(one.order_line, line.quantity) - one.quantity
            if (one.unit != line.unit and one.unit is not None) or one.quantity < 0 or rest < 0:
                return False
            if one.price != line.price or one.taxes != line.taxes:
                return False
            left[one.order_line] = rest
    return True
