"""Odoo's JSON values as finwatch's: Decimal, aware UTC datetimes, ids as text, None for empty.

Over RPC an empty value of every type but boolean and number is `false`; many2one is `[id, name]` or `false`; datetimes
are UTC without a zone. Numbers are the shortest text of a stored numeric, so Decimal(str(v)) is exact.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from math import copysign, isfinite
from typing import Any, Generic, TypeAlias, TypeVar

from producers.odoo.errors import Malformed

Row: TypeAlias = dict[str, Any]
Domain: TypeAlias = Sequence[Any]
_SMALLEST = Decimal("0.000001")  # scale of the schemas' decimals; stored values never have more places
_KEPT = 16_384
K = TypeVar("K")
V = TypeVar("V")


class Known(dict[K, V], Generic[K, V]):
    """Values made before: dates, stamps and amounts of a document, and of its neighbours, come again and again."""

    def __init__(self, make: Callable[[K], V]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, given: K) -> V:
        made = self._make(given)
        if len(self) >= _KEPT:
            self.clear()
        self[given] = made
        return made


def _aware(given: str) -> datetime:
    if len(given) == 19 and given[16] == ":":  # as Odoo gives it
        return datetime.fromisoformat(given + "+00:00")
    parsed = datetime.fromisoformat(given)
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


class _Decimals(dict[float, Decimal | None]):
    """Floats of at most six places as decimals; None for others. In one function, as most amounts come once."""

    def __missing__(self, given: float) -> Decimal | None:
        shown = repr(given)
        point = shown.find(".")
        made = Decimal(shown) if point > 0 and len(shown) - point <= 7 and "e" not in shown else None
        if len(self) >= _KEPT:
            self.clear()
        self[given] = made
        return made


MOMENTS: Known[str, datetime] = Known(_aware)
DAYS: Known[str, date] = Known(date.fromisoformat)
DECIMALS = _Decimals()
ZERO, MINUS_ZERO = Decimal("0.0"), Decimal("-0.0")  # equal as keys, not as text, which content hashes are made of


def ref(row: Row, field: str) -> str | None:
    """Id of a many2one as text."""
    value = row.get(field)
    if value is None or value is False:
        return None
    if value.__class__ is list and value and value[0].__class__ is int:
        return str(value[0])
    if isinstance(value, int):
        return str(value)
    raise Malformed(f"{field} is not a many2one")


def ref_id(row: Row, field: str) -> int | None:
    """Id of a many2one as the number it is."""
    value = row.get(field)
    if value.__class__ is list and value and value[0].__class__ is int:
        return value[0]
    known = ref(row, field)
    return None if known is None else int(known)


def ref_name(row: Row, field: str) -> str | None:
    """Display name of a many2one; None when empty or not readable."""
    value = row.get(field)
    if isinstance(value, list) and len(value) > 1 and isinstance(value[1], str) and value[1]:
        return value[1]
    return None


def refs(row: Row, field: str) -> list[str]:
    """Ids of an x2many as text, in ascending order."""
    value = row.get(field)
    if value is None or value is False:
        return []
    if isinstance(value, list) and all(isinstance(one, int) for one in value):
        return [str(one) for one in sorted(value)]
    raise Malformed(f"{field} is not a list of ids")


def text(row: Row, field: str) -> str | None:
    """Text; None when empty."""
    value = row.get(field)
    if value.__class__ is str:
        return value or None
    if value is None or value is False:
        return None
    raise Malformed(f"{field} is not text")


def flag(row: Row, field: str) -> bool | None:
    """Boolean; None when the server does not have the field."""
    value = row.get(field)
    if value is None or isinstance(value, bool):
        return value
    raise Malformed(f"{field} is not a boolean")


def integer(row: Row, field: str) -> int | None:
    """Integer; None when the server does not have the field."""
    value = row.get(field)
    if value is None or value is False:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Malformed(f"{field} is not an integer")


def number(row: Row, field: str) -> Decimal | None:
    """Exact decimal of a float or monetary, at most six places; None when the server does not have the field."""
    value = row.get(field)
    if value is None or value is False:
        return None
    return decimal(value, field)


def decimal(value: Any, field: str) -> Decimal:
    """Exact decimal of a JSON number. Raises Malformed for what is not finite or has more than 22 integer digits."""
    if value.__class__ is float:
        if not value:
            return ZERO if copysign(1.0, value) > 0 else MINUS_ZERO
        known = DECIMALS[value]
        if known is not None:
            return known  # nearly all there are: nothing to round
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed(f"{field} is not a number")
    result = Decimal(str(value))
    if not result.is_finite() or result.adjusted() > 21:
        raise Malformed(f"{field} is out of range")
    exponent = result.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -6:
        result = result.quantize(_SMALLEST, ROUND_HALF_EVEN)
    return result


def real(row: Row, field: str) -> float | None:
    """Number as the server computes with it: for rates and factors, which have more than six places.

    None when the server does not have the field. Raises Malformed for what is not finite.
    """
    value = row.get(field)
    if value is None or value is False:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise Malformed(f"{field} is not a finite number")
    return float(value)


def day(row: Row, field: str) -> date | None:
    """Date; None when empty."""
    value = row.get(field)
    if value is None or value is False:
        return None
    try:
        return DAYS[value]
    except (TypeError, ValueError):
        raise Malformed(f"{field} is not a date") from None


def moment(row: Row, field: str) -> datetime | None:
    """Aware UTC datetime; None when empty."""
    value = row.get(field)
    if value is None or value is False:
        return None
    return parse_moment(value, field)


def parse_moment(value: Any, field: str) -> datetime:
    """Aware UTC datetime of Odoo's `YYYY-MM-DD HH:MM:SS[.ffffff]`. Raises Malformed."""
    try:
        return MOMENTS[value]
    except (TypeError, ValueError):
        raise Malformed(f"{field} is not a datetime") from None


def odoo_moment(at: datetime) -> str:
    """`at` as a domain literal: UTC, microseconds (the server compares them), no zone (it would be ignored)."""
    if at.tzinfo is None:
        raise ValueError("a naive datetime may not cross a module border")
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
