"""The rows of a partition: untouched bytes, changes as of one moment, timers without decoding."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from streams.rows import TIMES_KEY, RowStore, pack_row, unpack_row

UNREADABLE = b"\xc1 no msgpack begins like this"


class Row(Struct):
    """A row."""

    number: int


class Other(Struct):
    """A row of another kind."""

    text: str


def changes(rows: RowStore, checkpoint: int = 1) -> dict[str, bytes]:
    return {key: value for key, value in rows.take_changes(checkpoint) if key != TIMES_KEY}


@given(st.integers(0, 2**64 - 1), st.one_of(st.none(), st.integers(-(2**62), 2**62)), st.binary(max_size=40))
def test_a_stored_row_comes_back(checkpoint: int, due: int | None, body: bytes) -> None:
    assert unpack_row(pack_row(checkpoint, due, body)) == (checkpoint, due, body)


def test_bodies_are_not_decoded_before_they_are_touched() -> None:
    rows = RowStore(0, {"d:s:1": pack_row(1, 50, UNREADABLE)})
    fired: list[str] = []
    rows.timeline.move("s", 50, lambda key, _due: fired.append(key))
    assert fired == ["d:s:1"]
    rows.dirty.add("d:s:1")
    assert changes(rows, 2)["d:s:1"] == pack_row(2, None, UNREADABLE)


def test_a_large_body_is_packed_and_a_plain_one_is_still_read() -> None:
    text = "one of the usual words, and another " * 30
    rows = RowStore(0)
    rows.put("d:s:1", Other(text), 70)
    stored = changes(rows, 3)["d:s:1"]
    assert len(stored) < len(text) // 3
    body = msgspec.msgpack.encode(Other(text))
    assert unpack_row(stored) == (3, 70, body)
    for value in (stored, pack_row(3, 70, body)):
        again = RowStore(0, {"d:s:1": value})
        assert again.get("d:s:1", Other) == Other(text)
        again.dirty.add("d:s:1")
        assert unpack_row(changes(again, 4)["d:s:1"])[2] == body


def test_changes_are_taken_once_and_deletion_is_one() -> None:
    rows = RowStore(0)
    rows.put("d:s:1", Row(1), 70)
    rows.put("x", Other("a"))
    assert set(changes(rows)) == {"d:s:1", "x"}
    assert changes(rows) == {}
    rows.delete("d:s:1")
    assert changes(rows, 3) == {"d:s:1": pack_row(3, None, b"")}
    assert rows.get("d:s:1", Row) is None
    assert rows.timeline.due("d:s:1") is None


def test_source_times_ride_along() -> None:
    rows = RowStore(0)
    rows.timeline.observe("odoo", 123, "wall", lambda *_: None)
    stored = dict(rows.take_changes(1))
    again = RowStore(0, stored)
    assert again.timeline.now == {"odoo": 123}
    assert again.timeline.wall == {"odoo"}
    assert len(again) == 0


def test_cold_rows_become_bytes_again_and_warm_ones_do_not() -> None:
    rows = RowStore(0)
    rows.put("cold", Row(1))
    rows.put("warm", Row(1))
    changes(rows)
    assert rows.cool_down() == 0
    row = rows.get("warm", Row)
    assert row is not None
    row.number = 2
    rows.put("warm", row)
    assert rows.cool_down() == 1
    assert rows.get("cold", Row) == Row(1)
    assert rows.get("warm", Row) is row


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 4), st.one_of(st.none(), st.integers(0, 99))),
        st.tuples(st.sampled_from(["delete", "get", "cool", "store", "reload"]), st.integers(0, 4), st.none()),
    ),
    max_size=60,
)


@given(steps)
def test_equals_a_dictionary_over_checkpoints_and_restarts(actions: list[tuple[str, int, int | None]]) -> None:
    rows, stored = RowStore(0), dict[str, bytes]()
    model: dict[str, tuple[int, int | None]] = {}
    for count, (what, number, due) in enumerate(actions):
        key = f"d:s:{number}"
        if what == "put":
            rows.put(key, Row(count), due)
            model[key] = (count, due)
        elif what == "delete":
            rows.delete(key)
            model.pop(key, None)
        elif what == "get":
            row = rows.get(key, Row)
            assert (None if row is None else row.number) == (model[key][0] if key in model else None)
        elif what == "cool":
            rows.cool_down()
        else:
            for changed, value in rows.take_changes(count):
                if len(value) > 16:
                    stored[changed] = value
                else:
                    stored.pop(changed, None)
            if what == "reload":
                rows = RowStore(0, stored)
        assert {key: rows.timeline.due(key) for key in sorted(rows.keys())} == {
            key: due for key, (_, due) in model.items()
        }
