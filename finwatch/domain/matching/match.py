"""Everything the matching says of an order's documents as they stand."""

from __future__ import annotations

from collections.abc import Iterator

from finwatch.domain.matching.chain import Chain
from finwatch.domain.matching.extras import cancelled_order, unordered_lines
from finwatch.domain.matching.prices import prices
from finwatch.domain.matching.quantities import (
    billed_before_receipt,
    over_billed,
    over_received,
    paid_before_receipt,
)
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
    if differ(order, receipts, bills):
        settings = with_own(settings, own_units(order, receipts))
    if receipts:
        yield from over_received(order, receipts, settings)
    if not bills:
        return
    if order.state == "cancel":
        yield from cancelled_order(order, bills)
        return  # nothing else on it means anything
    yield from prices(order, bills, settings)
    yield from over_billed(order, bills, settings)
    yield from billed_before_receipt(order, bills, receipts, settings)
    yield from paid_before_receipt(order, bills, receipts, settings)
    yield from unordered_lines(order, bills, settings)
