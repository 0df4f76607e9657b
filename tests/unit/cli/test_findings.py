"""What `finwatch findings` shows of an amount at risk."""

from __future__ import annotations

from decimal import Decimal

import pytest

from finwatch.cli.findings import at_risk


@pytest.mark.parametrize(
    ("amount", "currency", "own", "own_currency", "text"),
    [
        (Decimal(260), "USD", Decimal("236.36"), "EUR", "260.00 USD (236.36 EUR)"),
        (Decimal(260), "EUR", Decimal(260), "EUR", "260.00 EUR"),
        (Decimal(1260), "USD", None, "EUR", "1,260.00 USD"),  # no rate was known
        (Decimal(260), None, Decimal(1), None, "260.00"),
        (None, None, None, "EUR", ""),
    ],
)
def test_the_companys_amount_stands_beside_another_currencys(
    amount: Decimal | None, currency: str | None, own: Decimal | None, own_currency: str | None, text: str
) -> None:
    row = {"amount_at_risk": amount, "currency": currency, "company_amount": own, "company_currency": own_currency}
    assert at_risk(row) == text
