"""The flat mapping functions say what the functions as written say, for whatever a server sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.odoo.accounts import AccountHasher
from producers.odoo.errors import Malformed
from producers.odoo.mapping import MAPPINGS
from producers.odoo.mapping import flat as flat_module
from producers.odoo.mapping.flat import flat, flatten
from producers.odoo.mapping.spec import Source
from producers.odoo.values import Row, day, flag, moment, number, ref, ref_name, text
from tests.unit.producers.odoo.conftest import Captured

SOURCE = Source("erp", "fin", 18, AccountHasher(b"k" * 32))
ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4),
    st.lists(st.one_of(st.integers(), st.text(max_size=3), st.booleans()), max_size=3),
    st.sampled_from(["2026-11-22", "2026-11-22 03:19:52", "2026-02-30", [7, "Ana"], [True, "x"], 0.0, -0.0, 1e300]),
)  # fmt: skip


def outcome(function: Callable[..., Any], *args: Any) -> str:
    try:
        return repr(function(*args))
    except Malformed as error:
        return f"Malformed: {error}"
    except (KeyError, TypeError, AttributeError) as error:  # of rows that no server sends
        return type(error).__name__


def a_text(row: Row) -> Any:
    return text(row, "f")


def a_ref(row: Row) -> Any:
    return ref(row, "f")


def a_name(row: Row) -> Any:
    return ref_name(row, "f")


def a_number(row: Row) -> Any:
    return number(row, "f")


def a_day(row: Row) -> Any:
    return day(row, "f")


def a_moment(row: Row) -> Any:
    return moment(row, "f")


def a_flag(row: Row) -> Any:
    return flag(row, "f")


@pytest.mark.parametrize("as_written", [a_text, a_ref, a_name, a_number, a_day, a_moment, a_flag])
def test_each_kind_reads_any_value_as_written(as_written: Callable[[Row], Any]) -> None:
    fast = flat(as_written)
    assert flatten(as_written) is not None

    @given(ODD)
    def holds(value: Any) -> None:
        assert outcome(fast, {"f": value}) == outcome(as_written, {"f": value})

    holds()
    assert outcome(fast, {}) == outcome(as_written, {})


def test_captured_documents_are_mapped_alike(server: Captured) -> None:
    """Documents of real servers, one field at a time made odd."""
    flattened = 0
    for mapping in MAPPINGS:
        as_written = getattr(mapping.map, "__wrapped__", None)
        if as_written is None or not server.has(mapping.model):
            continue
        flattened += 1
        children = {child.model: server.rows(child.model) for child in mapping.children}
        for row in server.rows(mapping.model)[:60]:
            lines = {
                child.model: [
                    one for one in children[child.model] if one[child.parent] and one[child.parent][0] == row["id"]
                ]
                for child in mapping.children
            }
            assert outcome(mapping.map, row, lines, server.source) == outcome(as_written, row, lines, server.source)
        odd = dict(row)
        for name in row:
            for value in (None, 7, "x", [], [True], "2026-13-01", 0.1234567):
                odd[name] = value
                assert outcome(mapping.map, odd, lines, server.source) == outcome(as_written, odd, lines, server.source)
            odd[name] = row[name]
    assert flattened


def test_what_has_another_meaning_is_not_written_out() -> None:
    def text(row: Row, field: str) -> str:
        return "mine"

    def uses_it(row: Row) -> str:
        return text(row, "f")

    assert flatten(uses_it) is None  # it closes over a name: left as written


def test_nothing_is_put_into_the_module_of_a_mapping() -> None:
    flat(a_text)
    assert not [name for name in globals() if name in flat_module._SHARED]
