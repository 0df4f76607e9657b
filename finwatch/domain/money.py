"""Money: a Decimal with its currency. Binary floating point never holds an amount."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from msgspec import Struct

# ISO 4217 minor units that differ from two.
_MINOR_UNITS = {
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV"), 0
    ),
    **dict.fromkeys(("XAF", "XOF", "XPF"), 0),
}


class Money(Struct, frozen=True):
    """An amount in a currency (ISO 4217)."""

    amount: Decimal
    currency: str

    def __add__(self, other: Money) -> Money:
        """Sum. Raises ValueError for different currencies: nothing is converted silently."""
        self._same(other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: Money) -> Money:
        """Difference. Raises ValueError for different currencies."""
        self._same(other)
        return Money(self.amount - other.amount, self.currency)

    def rounded(self) -> Money:
        """To the currency's minor unit, half up, as invoices are."""
        return Money(self.amount.quantize(minor_unit(self.currency), rounding=ROUND_HALF_UP), self.currency)

    def _same(self, other: Money) -> None:
        if self.currency != other.currency:
            raise ValueError(f"cannot combine {self.currency} and {other.currency}")


def minor_unit(currency: str) -> Decimal:
    """Smallest unit of a currency: 0.01 for EUR, 1 for JPY, 0.001 for KWD."""
    return Decimal(1).scaleb(-_MINOR_UNITS.get(currency, 2))


def decimal_from(value: int | float | str | Decimal) -> Decimal:
    """Exact decimal of a number as its source prints it.

    A float is read through its shortest form, which gives back what the source's database holds for up to 15
    significant digits. Raises ValueError for what is no finite number (the value itself is not in the message).
    """
    try:
        result = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        raise ValueError("not a decimal number") from None
    if not result.is_finite():
        raise ValueError("not a finite number")
    return result


def within(one: Decimal, other: Decimal, absolute: Decimal, relative: Decimal) -> bool:
    """True when two amounts of one currency differ by at most max(absolute, relative x the larger)."""
    return abs(one - other) <= max(absolute, relative * max(abs(one), abs(other)))
