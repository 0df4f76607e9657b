"""Odoo's values at the border."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.odoo import values
from producers.odoo.errors import Malformed


def test_false_is_nothing_except_for_a_boolean() -> None:
    row = {"x": False}
    for read in (values.ref, values.text, values.number, values.integer, values.day, values.moment):
        assert read(row, "x") is None
        assert read({}, "x") is None
    assert values.refs(row, "x") == []
    assert values.flag(row, "x") is False
    assert values.flag({}, "x") is None


def test_many2one_and_x2many_are_ids_as_text() -> None:
    assert values.ref({"p": [73, "LAB Vendor"]}, "p") == "73"
    assert values.ref({"p": 73}, "p") == "73"
    assert values.ref_name({"p": [73, "LAB Vendor"]}, "p") == "LAB Vendor"
    assert values.ref_name({"p": [73, False]}, "p") is None
    assert values.refs({"p": [9, 3]}, "p") == ["3", "9"]


@pytest.mark.parametrize(
    ("value", "exact"),
    [(0.1 + 0.2, "0.3"), (123456789012.34, "123456789012.34"), (33.34, "33.34"), (1e-7, "0"), (5, "5"), (-0.0, "0")],
)
def test_money_is_exact(value: float, exact: str) -> None:
    assert values.decimal(value, "amount") == Decimal(exact)


@given(st.decimals(-(10**9), 10**9, places=6))
def test_what_a_server_stores_comes_back(stored: Decimal) -> None:
    assert values.decimal(float(stored), "amount") == stored


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), True, "1.0", 1e23, [1]])
def test_what_is_no_amount_is_refused_without_its_value(bad: Any) -> None:
    with pytest.raises(Malformed) as error:
        values.decimal(bad, "amount_total")
    assert "amount_total" in str(error.value)
    assert str(bad) not in str(error.value)


def test_times_are_utc_and_aware() -> None:
    at = values.moment({"d": "2026-11-22 03:19:52"}, "d")
    assert at == datetime(2026, 11, 22, 3, 19, 52, tzinfo=UTC)
    assert values.moment({"d": "2026-11-22 03:19:52.140490"}, "d") == at + timedelta(microseconds=140490)
    assert values.day({"d": "2026-11-22"}, "d") == date(2026, 11, 22)


def test_a_domain_literal_is_utc_with_microseconds_and_no_zone() -> None:
    """An offset would be accepted by the server and ignored."""
    at = datetime(2026, 11, 22, 4, 19, 52, 5, tzinfo=timezone(timedelta(hours=1)))
    assert values.odoo_moment(at) == "2026-11-22 03:19:52.000005"
    with pytest.raises(ValueError, match="naive"):
        values.odoo_moment(datetime(2026, 11, 22))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (values.ref, "73"),
        (values.refs, [1, "2"]),
        (values.text, 5),
        (values.flag, 1),
        (values.integer, 1.5),
        (values.integer, True),
        (values.day, "22.11.2026"),
        (values.moment, 5),
        (values.moment, "yesterday"),
    ],
)
def test_a_value_of_another_type_is_refused_by_field(read: Any, value: Any) -> None:
    with pytest.raises(Malformed, match="some_field"):
        read({"some_field": value}, "some_field")


def test_zero_keeps_its_sign_whatever_was_read_before() -> None:
    """0.0 and -0.0 are equal, and content hashes are made of their text."""
    assert [str(values.decimal(value, "x")) for value in (0.0, -0.0, 0.0, -0.0)] == ["0.0", "-0.0", "0.0", "-0.0"]


def test_a_moment_read_again_is_the_same_object() -> None:
    assert values.parse_moment("2026-11-22 03:19:52", "x") is values.parse_moment("2026-11-22 03:19:52", "x")
    assert values.parse_moment("2026-11-22 03:19+01", "x") == datetime(2026, 11, 22, 2, 19, tzinfo=UTC)


@given(st.floats() | st.floats(-1e6, 1e6).map(lambda number: round(number, 2)))
def test_a_number_is_what_its_shortest_text_says(number: float) -> None:
    try:
        found = values.decimal(number, "x")
    except Malformed:
        assert number != number or abs(number) >= 1e21
    else:
        assert abs(found - Decimal(repr(number))) <= Decimal("0.0000005")
        if number == round(number, 6) and abs(number) < 1e15:
            assert str(found) == str(Decimal(repr(number)))
