"""Orders on which all is as ordered: what is not asked of them says nothing of them either."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from finwatch.domain.matching.chain import Bill, BillLine, Order, OrderLine, Receipt, ReceiptLine
from finwatch.domain.matching.match import is_plain
from finwatch.domain.matching.prices import prices
from finwatch.domain.matching.quantities import over_billed, over_received
from finwatch.domain.matching.taxes import other_taxes
from finwatch.domain.matching.units import differ
from finwatch.domain.policy.matching import MatchingSection, Tolerance

STRICT = MatchingSection(default=Tolerance("none", price_absolute=Decimal(0), price_percent=Decimal(0)))
LINE = st.sampled_from(("1", "2"))
UNIT = st.sampled_from((*["u"] * 9, "dozen", None))
ORDERED = st.sampled_from((*[12] * 9, 8, 0))
PART = st.sampled_from((*[2] * 9, 4, 4, 0, 12, -4))
PRICE = st.sampled_from((*[5] * 9, 6, 0))
TAXES = st.sampled_from((*["1"] * 9, "2", "", None))
CURRENCY = st.sampled_from((*["EUR"] * 9, "USD", None))


def order(lines: list[OrderLine], currency: str | None = "EUR") -> Order:
    return Order("o", 1, True, "purchase", "1", "7", currency, "1", 0, "e", lines, {})


def bill(key: int, lines: list[BillLine], refund: bool = False, currency: str | None = "EUR") -> Bill:
    return Bill(f"b{key}", 1, True, False, refund, None, currency, "1", key, f"e{key}", 0, None, lines, [], {})


def receipt(key: int, lines: list[ReceiptLine]) -> Receipt:
    return Receipt(f"r{key}", 1, True, key, f"e{key}", lines, {})


ORDERS = st.builds(
    order,
    st.lists(
        st.builds(OrderLine, LINE, st.none(), UNIT, ORDERED, PRICE, st.booleans(), taxes=TAXES),
        min_size=1,
        max_size=2,
        unique_by=lambda line: line.line_id,
    ),
    st.just("EUR"),
)
BILLS = st.lists(
    st.builds(
        bill,
        st.integers(0, 9),
        st.lists(st.builds(BillLine, LINE, UNIT, PART, PRICE, TAXES), min_size=1, max_size=2),
        st.sampled_from((*[False] * 9, True)),
        CURRENCY,
    ),
    max_size=2,
    unique_by=lambda one: one.key,
)
RECEIPTS = st.lists(
    st.builds(receipt, st.integers(0, 9), st.lists(st.builds(ReceiptLine, LINE, UNIT, PART), max_size=2)),
    max_size=2,
    unique_by=lambda one: one.key,
)


@given(ORDERS, BILLS, RECEIPTS)
def test_of_a_plain_order_the_strictest_policy_says_nothing(one: Order, bills: list[Bill], came: list[Receipt]) -> None:
    if is_plain(one, bills, came):
        assert not differ(one, came, bills)
        assert not [*over_received(one, came, STRICT), *prices(one, bills, STRICT), *over_billed(one, bills, STRICT)]
        assert not [*other_taxes(one, bills, STRICT)]


def test_an_ordinary_order_is_plain_and_each_deviation_makes_it_none() -> None:
    one = order([OrderLine("1", None, "u", 8, 5, True)])
    half, came = BillLine("1", "u", 4, 5), ReceiptLine("1", "u", 8)

    def plain(*lines: BillLine, received: ReceiptLine = came, **of_bill: Any) -> bool:
        return is_plain(one, [bill(n, [line], **of_bill) for n, line in enumerate(lines)], [receipt(0, [received])])

    assert plain(half, half)
    assert plain(half, BillLine("2", "u", 99, 99)), "a line of another order is judged there"
    for changed in ({"quantity": 5}, {"price": 6}, {"unit": "dozen"}, {"quantity": -4}, {"taxes": "1"}):
        assert not plain(half, structs.replace(half, **changed))
    assert not plain(half, half, half)
    assert not plain(half, refund=True)
    assert not plain(half, currency="USD")
    assert not plain(half, received=structs.replace(came, quantity=9))
    assert not plain(half, received=structs.replace(came, unit="dozen"))
