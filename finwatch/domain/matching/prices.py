"""Billed prices against ordered prices."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from finwatch.domain.matching.chain import Bill, Order, OrderLine
from finwatch.domain.matching.compare import Compared, billed, name_of
from finwatch.domain.matching.whole_bills import of_bill
from finwatch.domain.policy.matching import MatchingSection, Tolerance
from finwatch.domain.verdicts import Verdict, percent

_MILLION = 1_000_000


def prices(order: Order, bills: list[Bill], settings: MatchingSection) -> Iterator[Verdict]:
    """Bills at another price than ordered, signed, and lines whose price cannot be compared."""
    lines = {line.line_id: line for line in order.lines}
    for bill in bills:
        above: list[tuple[OrderLine, Compared]] = []
        below: list[tuple[OrderLine, Compared]] = []
        unknown: list[tuple[OrderLine, Compared]] = []
        for one in bill.lines:
            line = lines.get(one.order_line)
            if line is None or one.quantity == 0:
                continue
            compared = billed(order, line, bill, one, settings.units)
            if compared.unknown:
                unknown.append((line, compared))
                continue
            if compared.price == line.price:
                continue
            tolerance = settings.tolerance(order.vendor, line.product, line.category, line.category_name)
            if _differs(compared.price, line.price, tolerance):
                (above if compared.price > line.price else below).append((line, compared))
        # A credit note at another price than ordered gives back what was asked for: it is judged with its bill.
        if bill.refund:
            above, below = [], []
        if above:
            yield _verdict("price_above_order", "above", order, bill, above)
        if below:
            yield _verdict("price_below_order", "below", order, bill, below)
        if unknown:
            yield Verdict(
                "not_comparable",
                (bill.key, order.key),
                [bill.key, order.key],
                "bill",
                order.company_id,
                bill.at,
                bill.at,
                [
                    f"{name_of(order, line)}: its {compared.unknown} differs from the order's, and how they convert is "
                    "not known."
                    for line, compared in unknown
                ],
                [order.event_id, bill.event_id],
                entered=bill.at,
            )


def _differs(price: int, ordered: int, tolerance: Tolerance) -> bool:
    allowed = max(tolerance.price_absolute * _MILLION, abs(ordered) * tolerance.price_percent / 100)
    return abs(price - ordered) > allowed


def _verdict(rule: str, side: str, order: Order, bill: Bill, found: list[tuple[OrderLine, Compared]]) -> Verdict:
    amount = sum(
        (Decimal(c.price - line.price) * c.quantity / _MILLION * c.to_bill for line, c in found), start=Decimal(0)
    )
    reasons = (
        f"{name_of(order, line)}: the billed price is {percent(c.price - line.price, line.price)} {side} the order's."
        if line.price
        else f"{name_of(order, line)}: it was ordered at no price."
        for line, c in found
    )
    return of_bill(rule, order, bill, round(amount), *reasons)
