"""Identities and money."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finwatch.domain.identity import document_key, group_finding_id, parse_document_key, step_id
from finwatch.domain.money import Money, decimal_from, minor_unit, within

names = st.text(min_size=1).filter(lambda text: ":" not in text)


@given(names, names, st.text(min_size=1))
def test_document_keys_come_apart_again(source: str, entity: str, record_id: str) -> None:
    assert parse_document_key(document_key(source, entity, record_id)) == (source, entity, record_id)


@pytest.mark.parametrize("parts", [("", "bill", "1"), ("a:b", "bill", "1"), ("a", "b:c", "1"), ("a", "bill", "")])
def test_keys_that_could_not_be_read_back(parts: tuple[str, str, str]) -> None:
    with pytest.raises(ValueError):
        document_key(*parts)


@pytest.mark.parametrize("key", ["", "a:b", "a:b:", ":b:c", "a::c"])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(ValueError):
        parse_document_key(key)


def test_ids_are_fixed_for_ever() -> None:
    assert step_id("odoo:bill:1", 0) == "50dce72767aee1e294e162e187c37cdc"
    assert group_finding_id("duplicates", ("a", "b"), "v:7") == group_finding_id("duplicates", ("b", "a"), "v:7")
    assert group_finding_id("duplicates", ("a", "b"), "v:7") != group_finding_id("duplicates", ("a", "b"), "v:8")
    assert step_id("odoo:bill:1", 0) != step_id("odoo:bill:1", 1)


def test_money() -> None:
    assert Money(Decimal("0.1"), "EUR") + Money(Decimal("0.2"), "EUR") == Money(Decimal("0.3"), "EUR")
    with pytest.raises(ValueError, match="EUR and USD"):
        Money(Decimal(1), "EUR") + Money(Decimal(1), "USD")
    assert Money(Decimal("2.675"), "EUR").rounded().amount == Decimal("2.68")
    assert (minor_unit("JPY"), minor_unit("KWD")) == (Decimal(1), Decimal("0.001"))
    assert decimal_from(0.1) == Decimal("0.1")
    assert within(Decimal(100), Decimal("100.5"), Decimal("0.01"), Decimal("0.005"))
    assert not within(Decimal(100), Decimal("100.51"), Decimal("0.01"), Decimal("0.005"))


@pytest.mark.parametrize("value", ["twelve", float("nan"), "Infinity"])
def test_what_is_no_amount(value: str | float) -> None:
    with pytest.raises(ValueError) as error:
        decimal_from(value)
    assert str(value) not in str(error.value)
