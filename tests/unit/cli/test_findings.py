"""What `finwatch findings` asks for, and what it shows of an amount at risk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from finwatch.cli import findings
from finwatch.cli.app import app
from finwatch.cli.findings import at_risk, moment_since

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
FILTERS = {"detector": "sla", "rule": "vendor_payment", "owner": "o'", "company": "1", "source": "erp"}


class Store:
    """Answers every question with nothing, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def query(self, statement: str, parameters: dict[str, Any]) -> Any:
        self.asked.append((statement, parameters))
        return SimpleNamespace(result_rows=[(0,)] if "count()" in statement else [])


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    answering = Store()

    @contextmanager
    def opened(embedded: object) -> Iterator[tuple[Store, None]]:
        yield answering, None

    monkeypatch.setattr(findings, "open_store", opened)
    return answering


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_binds_its_own_column_and_no_other(store: Store, name: str) -> None:
    done = CliRunner().invoke(app, ["findings", f"--{name}", FILTERS[name], "--json"])
    assert json.loads(done.output) == []
    column = "company_id" if name == "company" else name
    for statement, parameters in store.asked:
        assert f"{column} = {{{column}:String}}" in statement
        assert "o'" not in statement
        assert parameters[column] == FILTERS[name]
        assert not (set(FILTERS) | {"company_id"}) - {column} & set(parameters)


def test_filters_hold_together(store: Store) -> None:
    words = [word for name, value in FILTERS.items() for word in (f"--{name}", value)]
    assert CliRunner().invoke(app, ["findings", *words, "--since", "2026-03-01"]).exit_code == 0
    statement, parameters = store.asked[0]
    assert statement.count(":String}") == len(FILTERS)
    assert parameters["since"] == datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7d", datetime(2026, 3, 2, 12, tzinfo=UTC)),
        ("12h", datetime(2026, 3, 9, tzinfo=UTC)),
        ("30m", datetime(2026, 3, 9, 11, 30, tzinfo=UTC)),
        ("1w", datetime(2026, 3, 2, 12, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T09:00+02:00", datetime(2026, 3, 1, 7, tzinfo=UTC)),
    ],
)
def test_since_is_an_age_or_a_time(text: str, moment: datetime) -> None:
    assert moment_since(text, NOW) == moment


@pytest.mark.parametrize("text", ["yesterday", "7", "7y", "-1d", "99999999d", "2026-02-30"])
def test_since_that_is_neither_is_refused_before_the_store_is_asked(store: Store, text: str) -> None:
    with pytest.raises(typer.BadParameter, match="must be an age"):
        moment_since(text, NOW)
    assert CliRunner().invoke(app, ["findings", "--since", text]).exit_code == 2
    assert store.asked == []


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
