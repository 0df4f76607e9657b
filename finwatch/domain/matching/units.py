"""Units of measure and currencies: what can be compared with what, and by which factor. Never a guess."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from msgspec import structs

from finwatch.domain.matching.chain import Bill, Order, Receipt
from finwatch.domain.policy.matching import MatchingSection

_CENT = Decimal("0.01")
Table = Mapping[str, Mapping[str, Decimal]]


def unit_factor(unit: str | None, into: str | None, table: Table) -> Decimal | None:
    """How many of ``into`` are one ``unit``; None when nobody said. A line without a unit has the other's."""
    if unit == into or unit is None or into is None:
        return Decimal(1)
    direct = table.get(unit, {}).get(into)
    if direct is not None:
        return direct
    inverse = table.get(into, {}).get(unit)
    if inverse is not None:
        return 1 / inverse
    # Over a unit that both are told in.
    for through, factor in table.get(unit, {}).items():
        other = table.get(into, {}).get(through)
        if other is not None:
            return factor / other
    return None


def own_units(order: Order, receipts: list[Receipt]) -> dict[str, dict[str, Decimal]]:
    """How the units on an order and its receipts convert, as the source itself converted them.

    The source tells quantities in the product's own unit too. So two units of one product are told in a third, whose
    name does not matter: it is called by the product.
    """
    found: dict[str, dict[str, Decimal]] = {}
    lines = {line.line_id: line for line in order.lines}
    told = [(line, line.unit, line.quantity, line.base) for line in order.lines]
    told += [
        (lines[one.order_line], one.unit, one.quantity, one.base)
        for receipt in receipts
        for one in receipt.lines
        if one.order_line in lines
    ]
    for line, unit, quantity, base in told:
        if unit is not None and line.product is not None and base and quantity:
            found.setdefault(unit, {})[f"product {line.product}"] = Decimal(base) / quantity
    return found


def differ(order: Order, receipts: list[Receipt], bills: list[Bill]) -> bool:
    """Whether any line is in another unit than the order line it names; nearly none is."""
    units = {line.line_id: line.unit for line in order.lines}
    for receipt in receipts:
        for one in receipt.lines:
            if one.unit != units.get(one.order_line, one.unit):
                return True
    for bill in bills:
        for part in bill.lines:
            if part.unit is not None and part.unit != units.get(part.order_line, part.unit):
                return True
    return False


def with_own(settings: MatchingSection, own: Mapping[str, Mapping[str, Decimal]]) -> MatchingSection:
    """The settings with a table that knows these units besides; what the policy says of a pair counts first."""
    units = {unit: {**settings.units.get(unit, {}), **own.get(unit, {})} for unit in (*settings.units, *own)}
    return structs.replace(settings, units=units)


def currency_factor(currency: str | None, rate: str | None, into: str | None, into_rate: str | None) -> Decimal | None:
    """What one of ``currency`` is worth in ``into``; None when that is not known.

    Rates are those the documents themselves were booked with in the source, each in units of the document's currency
    for one of the company's.
    """
    if currency == into:
        return Decimal(1)
    one, other = _rate(rate), _rate(into_rate)
    if currency is None or into is None or one is None or other is None:
        return None
    return other / one


def in_company(amount: Decimal | None, rate: str | None) -> Decimal | None:
    """An amount in the company's currency, to the cent, at the rate its document was booked with (see above)."""
    if amount is None:
        return None
    worth = _rate(rate)
    return None if worth is None else amount if worth == 1 else (amount / worth).quantize(_CENT)


def _rate(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() and found > 0 else None
