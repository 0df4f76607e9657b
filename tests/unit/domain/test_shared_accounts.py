"""Who is one vendor among the accounts of one number."""

from __future__ import annotations

from finwatch.domain.duties.accounts import Held, Number, judge
from finwatch.domain.policy.duties import DutiesSection


def held(*accounts: tuple[str, str | None]) -> Number:
    """Accounts of (firm, tax number), each a microsecond after the one before it."""
    return Number(
        {f"a{n}": Held(1, True, n, firm, vat, False, None, None, f"e{n}") for n, (firm, vat) in enumerate(accounts)}
    )


def reasons(number: Number) -> list[str]:
    return [reason for verdict in judge(number, "number", DutiesSection()) for reason in verdict.reasons]


def test_two_that_looked_apart_are_one_when_a_third_joins_them() -> None:
    assert reasons(held(("1", "BE1"), ("2", "BE2"))) == ["2 vendors are paid to one account."]
    assert reasons(held(("1", "BE1"), ("2", "BE2"), ("2", "BE1"))) == []
    assert reasons(held(("1", "BE1"), ("2", "BE2"), ("3", None), ("2", "BE1"))) == [
        "2 vendors are paid to one account."
    ]
    (verdict,) = judge(held(("1", "BE1"), ("2", "BE2"), ("2", "BE1"), ("3", None)), "number", DutiesSection())
    assert verdict.opened == 3, "since the third firm has it, not the second"


def test_a_number_of_thousands_of_vendors_is_judged() -> None:
    assert reasons(held(*((str(n), None) for n in range(5000)))) == [
        "5000 vendors are paid to one account.",
        "5000 records have its number; the latest 20 are named.",
    ]
