"""What a change changed: from the last contents, within a bound."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from producers.odoo.contents import ENTRY_BYTES, MOST_CHANGES, Contents, Restored, changes, encoded
from producers.odoo.mapping.spec import Document

AT = datetime(2026, 11, 22, 8, 0, 0, 123456, tzinfo=UTC)


def bill(company: str | None = "1", **body: Any) -> bytes:
    return encoded(Document("bill", company, body))


def test_fields_with_both_values_as_json() -> None:
    before = bill(state="draft", amount_total=Decimal("12.50"), name=None, due_date=date(2026, 11, 1), written_by="7")
    after = bill(state="posted", amount_total=Decimal("12.50"), name="B/1", due_date=date(2026, 12, 1), written_by="9")
    assert changes(before, after) == [
        {"field": "state", "old": '"draft"', "new": '"posted"'},
        {"field": "name", "old": None, "new": '"B/1"'},
        {"field": "due_date", "old": '"2026-11-01"', "new": '"2026-12-01"'},
    ]


def test_lines_one_by_one() -> None:
    one, two, three = ({"line_id": str(number), "quantity": Decimal(number)} for number in (1, 2, 3))
    found = changes(bill(lines=[one, two]), bill(lines=[{**one, "quantity": Decimal(9)}, three]))
    assert [(change["field"], change["old"] is None, change["new"] is None) for change in found] == [
        ("lines[1].quantity", False, False),
        ("lines[3]", True, False),
        ("lines[2]", False, True),
    ]
    assert found[0]["old"] == '"1"' and found[0]["new"] == '"9"'


def test_a_thousand_lines_are_not_listed() -> None:
    lines = [{"line_id": str(number), "quantity": number} for number in range(1000)]
    assert len(changes(bill(lines=[]), bill(lines=lines))) == MOST_CHANGES


def test_what_is_not_known_is_not_guessed() -> None:
    assert changes(None, bill(state="posted")) == []


def test_a_content_comes_back_in_the_types_of_its_schema() -> None:
    body = {
        "state": "posted",
        "amount_total": Decimal("12.50"),
        "invoice_date": date(2026, 11, 1),
        "created_at": AT,
        "lines": [{"line_id": "1", "quantity": Decimal("2")}],
        "checked": None,
    }
    assert Restored().body("bill", bill(**body)) == ("1", body)


@given(st.lists(st.tuples(st.integers(1, 9), st.binary(max_size=400)), max_size=60), st.integers(0, 3000))
def test_the_bound_holds_and_what_is_held_is_the_last(puts: list[tuple[int, bytes]], most: int) -> None:
    contents, last = Contents(most), dict[int, bytes]()
    for record_id, content in puts:
        contents.put("m", record_id, content)
        last[record_id] = content
        assert contents.size <= most
        assert contents.get("m", record_id) == (content if len(content) + ENTRY_BYTES <= most else None)
    held = {key: contents.get("m", key) for key in last}
    assert all(value is None or value == last[key] for key, value in held.items())
    assert contents.size == sum(len(value) + ENTRY_BYTES for value in held.values() if value is not None)
    for key in last:
        contents.forget("m", key)
    assert contents.size == 0
