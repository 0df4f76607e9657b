"""The links of `finwatch explain` into Odoo."""

from __future__ import annotations

from finwatch.cli.explain import _links

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
