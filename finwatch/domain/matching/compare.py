"""A bill's or receipt's line in the terms of the order line it names."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from finwatch.domain.matching.chain import Bill, BillLine, Order, OrderLine, ReceiptLine
from finwatch.domain.matching.units import Table, currency_factor, unit_factor

_ONE = Decimal(1)


class Compared(NamedTuple):
    """Quantity in the order line's unit; price a unit of that and in the order's currency (millionths).

    ``unknown`` names what cannot be converted (``unit``, ``currency``); then the numbers mean nothing.
    """

    line: OrderLine
    quantity: int
    price: int
    to_bill: Decimal  # the order's currency into the bill's
    unknown: str = ""


def billed(order: Order, line: OrderLine, bill: Bill, of: BillLine, units: Table) -> Compared:
    """A bill's line in the order line's terms."""
    if (of.unit == line.unit or of.unit is None) and bill.currency == order.currency:
        return Compared(line, of.quantity, of.price, _ONE)  # what nearly every line is
    factor = unit_factor(of.unit, line.unit, units)
    if factor is None:
        return Compared(line, 0, 0, Decimal(1), "unit")
    quantity = round(of.quantity * factor)
    worth = currency_factor(bill.currency, bill.rate, order.currency, order.rate)
    if worth is None:
        return Compared(line, quantity, 0, Decimal(1), "currency")
    return Compared(line, quantity, round(of.price / factor * worth), 1 / worth)


def received(line: OrderLine, of: ReceiptLine, units: Table) -> int | None:
    """A receipt's quantity in the order line's unit; None when the units do not convert."""
    if of.unit == line.unit:
        return of.quantity
    factor = unit_factor(of.unit, line.unit, units)
    return None if factor is None else round(of.quantity * factor)


def name_of(order: Order, line: OrderLine) -> str:
    """A line as a reason calls it: its place on the order, never a product's name."""
    return f"Order line {order.lines.index(line) + 1}"
