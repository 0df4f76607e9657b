"""The timeline of `finwatch explain` in words, and its links into Odoo."""

from __future__ import annotations

import json
from typing import Any

import pytest

from finwatch.cli.explain import _COMPARED, _links, _seen, compared

TIMELINE = [
    {"source_model": "account.move", "record_id": "7"},
    {"source_model": "account.move", "record_id": "7"},
    {"source_model": None, "record_id": "8"},
    {"source_model": "log", "record_id": "9"},  # an imported log has no forms
]


def test_each_record_has_one_link_however_often_it_was_told() -> None:
    links = _links("https://erp.example.com/", TIMELINE)
    assert links == ["https://erp.example.com/web#id=7&model=account.move&view_type=form"]


def test_a_record_of_a_configured_model_has_a_link() -> None:
    links = _links("https://erp.example.com", [{"source_model": "x_loan", "record_id": "x_loan/3"}])
    assert links == ["https://erp.example.com/web#id=3&model=x_loan&view_type=form"]


def test_without_an_address_there_is_no_link() -> None:
    assert _links("", TIMELINE) == []


@pytest.mark.parametrize(
    ("op", "changed", "words"),
    [
        ("r", {}, "seen"),
        ("u", {"state": "posted"}, "seen: state posted"),
        ("u", {"payment_state": "paid", "state": "posted"}, "seen: state posted, payment state paid"),
        ("c", {}, "created"),
        ("d", {"state": "posted"}, "deleted"),
        ("u", {"state": None}, "seen"),
        # Names of fields, never their values: there may be amounts and names of people.
        ("u", {"amount_total": "260.00", "due_date": "2026-03-10"}, "seen: changed amount total, due date"),
        ("u", dict.fromkeys("edcba", "1"), "seen: changed a, b, c, d and more"),
    ],
)
def test_a_state_that_was_read_is_told_in_words(op: str, changed: dict[str, str | None], words: str) -> None:
    changes = [{"field": field, "old": None, "new": json.dumps(new)} for field, new in changed.items()]
    assert _seen(op, json.dumps(changes)) == words


def test_an_event_without_changes_is_told_too() -> None:
    assert _seen("u", "") == "seen"


STORED: dict[str, Any] = {
    **dict.fromkeys(_COMPARED),
    "title": "duplicate of INV/7 for 260.00 EUR",
    "reasons": ["same vendor", "references A-17 and A17 within 3 days"],
    "next_action": "Hold the later one.",
    "severity": "high",
    "company_amount": "260.00",
}


@pytest.mark.parametrize(
    ("changed", "differs", "reworded"),
    [
        ({}, set(), set()),
        ({"title": "INV/7 was entered twice: 260.00 EUR"}, set(), {"title"}),
        ({"reasons": ["one vendor", "A-17 and A17 are the same, 3 days apart."]}, set(), {"reasons"}),
        ({"next_action": "Hold it."}, set(), {"next_action"}),
        # Other figures are another finding, in whatever words.
        ({"title": "INV/7 was entered twice: 250.00 EUR"}, {"title"}, set()),
        ({"reasons": ["one vendor"]}, {"reasons"}, set()),
        ({"severity": "low", "next_action": "Hold it."}, {"severity"}, {"next_action"}),
        ({"company_amount": "250.00"}, {"company_amount"}, set()),
    ],
)
def test_other_words_are_told_apart_from_other_facts(
    changed: dict[str, Any], differs: set[str], reworded: set[str]
) -> None:
    found = compared(STORED, STORED | changed)
    assert (found["differs"].keys(), found["reworded"].keys()) == (differs, reworded)
    for both in (*found["differs"].values(), *found["reworded"].values()):
        assert both["stored"] != both["recomputed"]


def test_an_amount_that_was_never_stored_does_not_differ() -> None:
    assert compared(STORED | {"company_amount": None}, STORED) == {"differs": {}, "reworded": {}}
