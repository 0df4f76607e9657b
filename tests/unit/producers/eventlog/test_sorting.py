"""The external sort is Python's sort, whatever fits into memory."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from producers.eventlog.sorting import ExternalSort

ENTRIES = st.lists(
    st.tuples(st.integers(-5, 5) | st.integers(-(2**63), 2**63 - 1), st.binary(max_size=30)), max_size=80
)


@given(entries=ENTRIES, memory=st.sampled_from([1, 300, 2000, 10**9]), fan_in=st.integers(2, 5))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_a_stable_sort(entries: list[tuple[int, bytes]], memory: int, fan_in: int, tmp_path: Path) -> None:
    with ExternalSort(memory, tmp_path, fan_in) as ordered:
        for key, payload in entries:
            ordered.add(key, payload)
        assert list(ordered) == sorted(entries, key=lambda entry: entry[0])
        assert ordered.count == len(entries)
    assert list(tmp_path.iterdir()) == []


def test_the_runs_are_removed_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), ExternalSort(1, tmp_path) as ordered:
        ordered.add(1, b"x")
        assert list(tmp_path.iterdir())
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_memory_and_open_files_are_bounded(tmp_path: Path) -> None:
    with ExternalSort(10_000, tmp_path, fan_in=4) as ordered:
        for number in range(5000):
            ordered.add(-number, b"x" * 50)
            assert ordered._size < 10_000
            assert len(ordered._runs) < 4
        assert [key for key, _ in ordered] == list(range(-4999, 1))
