"""Exception rates as the documents stage publishes them."""

from __future__ import annotations

from finwatch.domain.records import Rate
from finwatch.runtime.topics import RATE
from streams.agents.replay import Replay
from tests.unit.agents.world import at, bill, documents, latest, moved


def rate(replay: Replay, kind: str) -> Rate | None:
    """The latest version of the one rate of a type."""
    found = [one for one in latest(replay.outputs(RATE), "rate_id").values() if one.type == kind]
    assert len(found) <= 1
    return found[0] if found else None


def test_a_window_is_provisional_then_final_then_corrected() -> None:
    replay = documents("bill")
    replay.feed([bill(str(n), "2026-03-02 09:00", origin="P1") for n in range(3)])
    replay.feed([bill("9", "2026-03-02 10:00", origin=None, amount_total=5000)])
    assert rate(replay, "missing_order") is None
    # 1. The day is over.
    replay.heartbeat("odoo", at("2026-03-03 00:00"), "log")
    first = rate(replay, "missing_order")
    assert first is not None
    assert (first.status, first.numerator, first.denominator, first.version) == ("provisional", 1, 4, 1)
    # 2. An exception of one of its documents during the settling time is in the final figure.
    back = [
        moved("bill", "1", "2026-03-04 09:00", "posted", "draft", "posted"),
        moved("bill", "1", "2026-03-04 10:00", "reset", "posted", "draft"),
    ]
    replay.feed(back)
    again = rate(replay, "reset_to_draft")
    assert again is not None and (again.status, again.numerator, again.corrections) == ("provisional", 1, 0)
    replay.heartbeat("odoo", at("2026-03-10 00:00"), "log")
    final = rate(replay, "reset_to_draft")
    assert final is not None
    assert (final.status, final.numerator, final.denominator, final.corrections) == ("final", 1, 4, 0)
    # 3. What comes later is a correction, and says so.
    late = [
        moved("bill", "2", "2026-03-12 09:00", "posted", "draft", "posted"),
        moved("bill", "2", "2026-03-12 10:00", "reset", "posted", "draft"),
    ]
    replay.feed(late)
    corrected = rate(replay, "reset_to_draft")
    assert corrected is not None
    assert (corrected.status, corrected.numerator, corrected.corrections) == ("final", 2, 1)
    assert corrected.version == final.version + 1
    assert corrected.window_end == at("2026-03-03 00:00")


def test_a_window_is_forgotten_with_its_counts() -> None:
    replay = documents("bill")
    replay.feed([bill("1", "2026-03-02 09:00")])
    replay.heartbeat("odoo", at("2026-03-11 00:00"), "log")
    assert [key for key in [*replay.view.rows.keys()] if key.startswith("w:")]
    replay.heartbeat("odoo", at("2026-04-10 00:00"), "log")
    assert not [key for key in [*replay.view.rows.keys()] if key.startswith("w:")]
