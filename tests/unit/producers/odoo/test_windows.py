"""The window's promise, as arithmetic."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from producers.odoo import windows

START = datetime(2026, 11, 2, tzinfo=UTC)
seconds = st.floats(0, 5000, allow_nan=False).map(lambda value: timedelta(seconds=value))


@given(st.lists(seconds, min_size=2, max_size=20), seconds, st.floats(0, 180))
def test_a_commit_within_the_overlap_is_in_the_first_window_after_it(
    polls: list[timedelta], began: timedelta, lasted: float
) -> None:
    overlap = timedelta(seconds=180)
    started, committed = START + began, START + began + timedelta(seconds=lasted)
    progress = windows.snapshot_read(windows.begin(START))
    for at in sorted(START + one for one in polls):
        since = windows.window_start(progress, overlap)
        first_after = at >= committed > progress.position or (at >= committed and progress.position == START)
        if first_after:
            assert started >= since
        progress = windows.window_read(progress, at, None)


def test_a_position_never_moves_back() -> None:
    progress = windows.begin(START)
    assert windows.window_read(progress, START - timedelta(seconds=1), None) == progress
    assert windows.window_read(progress, None, None) == progress
    assert windows.window_read(progress, None, START + timedelta(seconds=9)).position == START + timedelta(seconds=9)
    # The source's own time wins over a stamp from the future.
    assert windows.window_read(progress, START, START + timedelta(days=900)).position == START


def test_pages_of_a_snapshot_only_go_on() -> None:
    progress = windows.page_read(windows.begin(START), 500)
    assert (progress.last_id, progress.snapshot_done) == (500, False)
    assert windows.page_read(progress, 400).last_id == 500
    assert windows.snapshot_read(progress).snapshot_done


def test_late_is_what_lay_wholly_behind() -> None:
    progress = windows.begin(START)
    assert windows.is_late(START - timedelta(seconds=1), progress)
    # Cut to the second it may have been written after: not called late.
    assert not windows.is_late(START - timedelta(seconds=0.5), progress)
