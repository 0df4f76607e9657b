"""What `finwatch approvals` asks and shows of what waits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from finwatch.cli import approvals
from finwatch.cli.app import app

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
ROW: dict[str, Any] = {
    "step_id": "s1",
    "document_key": "erp:bill:1",
    "source": "erp",
    "company_id": "1",
    "step": "bill_validation",
    "role": "clerk",
    "person": "7",
    "asked_first": "5",
    "route": "absence",
    "started_at": AT,
    "wall_seconds": 129_600.0,
    "band": "1-3",
    "decision": "approved",
    "decided_by": "9",
    "decided_at": AT,
    "business_seconds": 5_400.0,
    **dict.fromkeys(("days_0_1", "days_1_3", "days_3_5", "days_5_10", "days_over_10"), 0),
    "value": "nobody named",
    "steps": 3,
    "p50_seconds": 86_400.0,
    "p95_seconds": 172_800.0,
    "oldest_seconds": 950_400.0,
}


class Store:
    """Answers every question with one row of the columns that were asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def query(self, statement: str, parameters: dict[str, Any]) -> Any:
        self.asked.append((statement, parameters))
        columns = statement.removeprefix("SELECT ").partition(" FROM ")[0].split(", ")
        return SimpleNamespace(result_rows=[tuple(ROW.get(column) for column in columns)])


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    answering = Store()

    @contextmanager
    def opened(embedded: object) -> Iterator[tuple[Store, None]]:
        yield answering, None

    monkeypatch.setattr(approvals, "open_store", opened)
    return answering


def said(*options: str) -> str:
    done = CliRunner().invoke(app, ["approvals", *options])
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ((), "2026-03-02 09:00 1.5 1-3 erp:bill:1 bill_validation 7 (clerk) absence 5"),
        (("--decided",), "2026-03-02 09:00 approved 1.5 erp:bill:1 bill_validation 5 7 (clerk) 9"),
        (("--by", "person"), "nobody named erp 3 1.0 2.0 11.0 0 0 0 0 0"),
    ],
)
def test_who_was_asked_who_has_to_decide_and_who_decided(store: Store, options: tuple[str, ...], shown: str) -> None:
    assert shown in said(*options)


def test_conditions_are_bound_and_not_written_into_the_statement(store: Store) -> None:
    said("--person", "7'", "--role", "r", "--document", "d", "--decided", "--json")
    ((statement, parameters),) = store.asked
    assert "7'" not in statement
    assert parameters == {"person": "7'", "role": "r", "document": "d"}


def test_programs_read_the_same_as_json(store: Store) -> None:
    (row,) = json.loads(CliRunner().invoke(app, ["approvals", "--json"]).output)
    assert (row["asked_first"], row["person"], row["route"]) == ("5", "7", "absence")


@pytest.mark.parametrize(
    "options", [("--by", "weather"), ("--by", "role", "--person", "7"), ("--by", "role", "--decided")]
)
def test_a_wrong_option_is_refused_before_the_store_is_asked(store: Store, options: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, ["approvals", *options]).exit_code == 2
    assert store.asked == []


def test_a_role_that_nobody_stands_for_is_named() -> None:
    assert approvals.waits_for({"person": None, "role": "clerk"}) == "role clerk"
    assert approvals.waits_for({"person": "7", "role": None}) == "7"
