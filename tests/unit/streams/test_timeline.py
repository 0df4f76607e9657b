"""Source times and timers: order, once, and replay equal to live."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.timeline import BadKey, EndlessTimer, SourceTimes, Timeline, timeline_source

SECOND = 1_000_000
keys = st.integers(0, 6).map(lambda n: f"d:s{n % 2}:{n}")


def test_a_due_fires_at_its_time_and_once() -> None:
    fired: list[tuple[str, int]] = []
    timeline = Timeline(lateness=2 * SECOND)
    timeline.schedule("d:odoo:1", 10 * SECOND)
    timeline.observe("odoo", 10 * SECOND, "log", lambda *f: fired.append(f))
    assert fired == []  # half the lateness is still to pass
    timeline.observe("odoo", 11 * SECOND, "log", lambda *f: fired.append(f))
    timeline.observe("odoo", 99 * SECOND, "log", lambda *f: fired.append(f))
    assert fired == [("d:odoo:1", 10 * SECOND)]


def test_restored_timers_belong_to_the_source_in_their_key() -> None:
    keys = ["d:a:1", "d:a:2", "p:a", "d:ab:1", "p:ab", "d:a:3", "w:a:5", "p:a:"]
    timeline = Timeline(lateness=0)
    timeline.restore((number, key) for number, key in enumerate(keys))
    fired: list[str] = []
    timeline.move("a", 99, lambda key, _due: fired.append(key))
    assert fired == ["d:a:1", "d:a:2", "p:a", "d:a:3", "w:a:5", "p:a:"]
    timeline.move("ab", 99, lambda key, _due: fired.append(key))
    assert fired[6:] == ["d:ab:1", "p:ab"]
    assert len(timeline) == 0


def test_sources_have_times_of_their_own() -> None:
    fired: list[tuple[str, int]] = []
    timeline = Timeline(lateness=0)
    timeline.schedule("d:a:1", 5)
    timeline.schedule("d:b:1", 5)
    timeline.observe("a", 50, "log", lambda *f: fired.append(f))
    assert fired == [("d:a:1", 5)]


def test_the_wall_clock_moves_live_sources_only() -> None:
    fired: list[tuple[str, int]] = []
    timeline = Timeline(lateness=SECOND)
    timeline.observe("live", 0, "wall", lambda *f: fired.append(f))
    timeline.observe("old", 0, "log", lambda *f: fired.append(f))
    timeline.schedule("d:live:1", 5 * SECOND)
    timeline.schedule("d:old:1", 5 * SECOND)
    timeline.follow(6 * SECOND - 1, lambda *f: fired.append(f))
    assert fired == []
    timeline.follow(6 * SECOND, lambda *f: fired.append(f))
    assert fired == [("d:live:1", 5 * SECOND)]


def test_a_final_heartbeat_fires_what_is_due_up_to_it() -> None:
    fired: list[tuple[str, int]] = []
    timeline = Timeline(lateness=SECOND)
    timeline.schedule("d:log:1", 5 * SECOND)
    timeline.schedule("d:log:2", 5 * SECOND + 1)
    timeline.heartbeat("log", 5 * SECOND, "log", False, lambda *f: fired.append(f))
    assert fired == []
    timeline.heartbeat("log", 5 * SECOND, "log", True, lambda *f: fired.append(f))
    assert fired == [("d:log:1", 5 * SECOND)]


def test_a_timer_set_while_firing_fires_in_turn() -> None:
    fired: list[tuple[str, int]] = []
    timeline = Timeline(lateness=0)
    timeline.schedule("d:s:a", 10)
    timeline.schedule("d:s:b", 20)

    def fire(key: str, due: int) -> None:
        fired.append((key, due))
        if key == "d:s:a" and due < 30:
            timeline.schedule(key, due + 10)

    timeline.move("s", 30, fire)
    assert fired == [("d:s:a", 10), ("d:s:a", 20), ("d:s:b", 20), ("d:s:a", 30)]


def test_a_stage_that_never_lets_go_is_stopped() -> None:
    timeline = Timeline(lateness=0)
    timeline.schedule("d:s:a", 10)
    with pytest.raises(EndlessTimer):
        timeline.move("s", 10, timeline.schedule)


@pytest.mark.parametrize("key", ["total", "d:", "d::1"])
def test_a_due_row_names_its_source(key: str) -> None:
    with pytest.raises(BadKey):
        timeline_source(key)


actions = st.lists(
    st.one_of(
        st.tuples(st.just("set"), keys, st.integers(0, 200)),
        st.tuples(st.just("clear"), keys, st.just(0)),
        st.tuples(st.just("move"), st.sampled_from(["s0", "s1"]), st.integers(0, 220)),
        st.tuples(st.just("restart"), st.just(""), st.just(0)),
    ),
    max_size=60,
)


@given(actions)
def test_equals_a_model_that_scans(steps: list[tuple[str, str, int]]) -> None:
    """Each timer fires once, in order of due time and key, however the timers were moved, over restarts too."""
    timeline = Timeline(lateness=0)
    model: dict[str, int] = {}
    now: dict[str, int] = {}
    for what, name, number in steps:
        if what == "set":
            timeline.schedule(name, number)
            model[name] = number
        elif what == "clear":
            timeline.schedule(name, None)
            model.pop(name, None)
        elif what == "restart":
            again = Timeline(0, SourceTimes(dict(timeline.now), sorted(timeline.wall)))
            again.restore([(due, key) for key, due in timeline.dues()])
            timeline = again
        else:
            fired: list[tuple[int, str]] = []
            timeline.move(name, number, lambda key, due: fired.append((due, key)))  # noqa: B023 - used at once
            now[name] = max(number, now.get(name, number))
            expected = sorted(
                (due, key) for key, due in model.items() if timeline_source(key) == name and due <= now[name]
            )
            assert fired == expected
            for _, key in expected:
                del model[key]
        assert dict(timeline.dues()) == model
    assert timeline.now == now


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3), st.integers(0, 60)), max_size=40),
    st.lists(st.integers(0, 50), max_size=60),
)
def test_replay_fires_what_the_live_run_fired(events: list[tuple[int, int, int]], ticks: list[int]) -> None:
    """Live: the wall clock ticks between events. Replay: nothing but the events. Same firings, same order.

    A record reaches the log within half the lateness of its capture, at times well after the clock's last tick.
    """
    lateness = 10

    def run(with_ticks: bool) -> list[tuple[str, str, int]]:
        story: list[tuple[str, str, int]] = []
        timeline = Timeline(lateness)
        at = 100
        tick = iter(ticks)
        for gap, document, delay in events:
            # The clock may tick until this event is in the log: up to half the lateness after its capture.
            until = at + gap + lateness // 2
            if with_ticks:
                timeline.follow(min(until, at + next(tick, 0)), lambda k, d: story.append(("fire", k, d)))
            at += gap
            timeline.observe("live", at, "wall", lambda k, d: story.append(("fire", k, d)))
            key = f"d:live:{document}"
            story.append(("event", key, at))
            timeline.schedule(key, at + delay)
        timeline.follow(at + 1000, lambda k, d: story.append(("fire", k, d)))
        return story

    assert run(True) == run(False)


def test_a_past_seen_at_once_fires_nothing_until_all_of_it_is_seen() -> None:
    # A snapshot shows a document that was submitted and decided long ago: three events, one `observed_at`.
    line = Timeline(2_000_000)
    fired: list[tuple[str, int]] = []

    def fire(key: str, due: int) -> None:
        fired.append((key, due))

    seen_at = 1_000_000_000
    line.observe("odoo", seen_at, "wall", fire)
    line.schedule("d:odoo:bill:1", 5_000_000)  # the first event sets a deadline that lies in the past
    line.observe("odoo", seen_at, "wall", fire)
    assert fired == []
    line.schedule("d:odoo:bill:1", None)  # a later one of the same sighting ends it
    line.schedule("d:odoo:bill:2", 6_000_000)  # another document is truly overdue
    line.observe("odoo", seen_at + 1, "wall", fire)
    assert fired == [("d:odoo:bill:2", 6_000_000)]
