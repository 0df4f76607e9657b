"""The timeline of `finwatch explain` in words, and its links into Odoo."""

from __future__ import annotations

import json

import pytest

from finwatch.cli.explain import _links, _seen

TIMELINE = [
    {"source_model": "account.move", "record_id": "7"},
    {"source_model": "account.move", "record_id": "7"},
    {"source_model": None, "record_id": "8"},
    {"source_model": "log", "record_id": "9"},  # an imported log has no forms
]


def test_each_record_has_one_link_however_often_it_was_told() -> None:
    links = _links("https://erp.example.com/", TIMELINE)
    assert links == ["https://erp.example.com/web#id=7&model=account.move&view_type=form"]


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
