"""Billed taxes against ordered taxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from finwatch.domain.matching.chain import Bill, BillLine, Order, OrderLine
from finwatch.domain.matching.compare import name_of
from finwatch.domain.matching.units import in_company
from finwatch.domain.policy.matching import MatchingSection
from finwatch.domain.verdicts import Verdict, money

_MILLION = 1_000_000
Found = tuple[OrderLine, BillLine]


def other_taxes(order: Order, bills: list[Bill], settings: MatchingSection) -> Iterator[Verdict]:
    """Bills whose lines bear other taxes than the order lines they bill. A credit note is judged with its bill.

    Lines of which one side's taxes were not told are left out.
    """
    lines = {line.line_id: line for line in order.lines}
    alike = {tax: group[0] for group in settings.alike_taxes for tax in group}
    for bill in bills:
        if bill.refund:
            continue
        found: list[Found] = []
        for one in bill.lines:
            line = lines.get(one.order_line)
            if line is None or one.taxes == line.taxes or one.taxes is None or line.taxes is None:
                continue
            if not alike or _called(one.taxes, alike) != _called(line.taxes, alike):
                found.append((line, one))
        if found:
            yield _verdict(order, bill, found)


def _called(taxes: str, alike: Mapping[str, str]) -> list[str]:
    return sorted(alike.get(tax, tax) for tax in taxes.split(","))


def _verdict(order: Order, bill: Bill, found: list[Found]) -> Verdict:
    parts = [_more(line, one) for line, one in found]
    told = [part for part in parts if part is not None]
    at_risk = money(sum(told)) if len(told) == len(parts) else None
    return Verdict(
        "tax_mismatch",
        (bill.key, order.key),
        [bill.key, order.key],
        "bill",
        order.company_id,
        bill.at,
        bill.at,
        [_reason(order, line, one) for line, one in found],
        [order.event_id, bill.event_id],
        at_risk,
        None if at_risk is None else bill.currency,
        company_amount=in_company(at_risk, bill.rate),
        entered=bill.at,
    )


def _reason(order: Order, line: OrderLine, one: BillLine) -> str:
    name = name_of(order, line)
    if not one.taxes:
        return f"{name}: it is billed without the taxes that were ordered."
    return (
        f"{name}: it is billed with other taxes than were ordered."
        if line.taxes
        else (f"{name}: it is billed with taxes, and was ordered without.")
    )


def _more(line: OrderLine, one: BillLine) -> int | None:
    """How much more tax is billed than the order's taxes come to, in millionths; None when that cannot be told."""
    if line.tax is None or one.tax is None:
        return None
    net = round(one.quantity * one.price / _MILLION)
    return round(net * (one.tax - line.tax) / _MILLION)
