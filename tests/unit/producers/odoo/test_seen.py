"""What was published before, piece by piece."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.odoo.seen import SeenHashes, SeenIds

digests = st.binary(min_size=16, max_size=16).filter(any)
changes = st.lists(st.tuples(st.integers(1, 2000), st.one_of(st.none(), digests)), max_size=60)


@given(changes, changes)
def test_stored_pieces_give_back_what_was_known(
    before: list[tuple[int, bytes | None]], after: list[tuple[int, bytes | None]]
) -> None:
    seen, expected, stored = SeenHashes(), dict[int, bytes](), dict[int, bytes]()
    for part in (before, after):
        for record_id, digest in part:
            if digest is None:
                seen.forget(record_id)
                expected.pop(record_id, None)
            else:
                seen.put(record_id, digest)
                expected[record_id] = digest
        stored |= seen.take_dirty()  # a piece stored later replaces the earlier one
    assert seen.take_dirty() == {}
    again = SeenHashes()
    for number, bucket in stored.items():
        again.load(number, bucket)
    for known in (seen, again):
        assert list(known.ids()) == sorted(expected)
        assert all(known.get(record_id) == expected.get(record_id) for record_id in range(1, 2001))


@given(st.sets(st.integers(1, 30_000)), st.sets(st.integers(1, 30_000)))
def test_ids_are_remembered(added: set[int], others: set[int]) -> None:
    seen = SeenIds()
    for one in added:
        seen.add(one)
    again = SeenIds()
    for number, bucket in seen.take_dirty().items():
        again.load(number, bucket)
    for one in added | others:
        assert (one in seen) == (one in again) == (one in added)


def test_pieces_of_a_wrong_size_are_refused() -> None:
    with pytest.raises(ValueError, match="size"):
        SeenHashes().load(0, b"short")
    with pytest.raises(ValueError, match="size"):
        SeenIds().load(0, b"short")
    with pytest.raises(ValueError, match="16 bytes"):
        SeenHashes().put(1, bytes(16))


def test_a_million_records_take_sixteen_megabytes() -> None:
    seen = SeenHashes()
    for record_id in range(1, 1_000_001, 97):
        seen.put(record_id, b"\x01" * 16)
    held = sum(len(bucket) for bucket in seen.take_dirty().values())
    assert held <= 16_100_000
