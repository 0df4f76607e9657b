"""Windows of exception rates: provisional, final, corrected, never changed silently."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from finwatch.domain import rates
from finwatch.domain.calendar import DAY
from finwatch.domain.rates import Window

TYPES = {"bill": ("overdue", "missing_order"), "invoice": ("overdue",)}


def types_of(entity: str) -> tuple[str, ...]:
    return TYPES[entity]


def test_a_window_is_told_of_at_its_end_and_after_settling_and_then_forgotten() -> None:
    window = Window()
    assert rates.due_after(window, 10) == 11 * DAY
    assert rates.advance(window) and window.status == "provisional"
    assert rates.due_after(window, 10) == (11 + rates.SETTLING_DAYS) * DAY
    assert rates.advance(window) and window.status == "final"
    assert rates.due_after(window, 10) == (11 + rates.KEPT_DAYS) * DAY
    assert not rates.advance(window)


def test_a_type_that_nobody_met_is_told_of_with_zero() -> None:
    window = Window("provisional")
    said = rates.changes(window, {"bill": 4, "bill|overdue": 1}, types_of, all_again=True)
    assert [(f.type, f.said.numerator, f.said.denominator) for f in said] == [
        ("missing_order", 0, 4),
        ("overdue", 1, 4),
    ]


def test_a_change_after_the_final_figure_is_a_correction_with_a_version_of_its_own() -> None:
    window = Window("final")
    rates.changes(window, {"bill": 4, "bill|overdue": 1}, types_of, all_again=True)
    (figure,) = rates.changes(window, {"bill": 4, "bill|overdue": 2}, types_of, all_again=False)
    assert (figure.type, figure.said.version, figure.said.corrections) == ("overdue", 2, 1)
    assert rates.changes(window, {"bill": 4, "bill|overdue": 2}, types_of, all_again=False) == []


@given(st.lists(st.dictionaries(st.sampled_from(["bill|overdue", "invoice|overdue"]), st.integers(0, 5)), max_size=8))
def test_what_was_said_last_is_what_is_counted(steps: list[dict[str, int]]) -> None:
    """Whatever the order of changes: versions grow by one, and the last said figures are the counts."""
    window, last = Window("final"), dict[str, tuple[int, int, int]]()
    counts = {"bill": 5, "invoice": 5}
    for step in steps:
        counts = {**counts, **step}
        for entity, name, said in rates.changes(window, counts, types_of, all_again=False):
            label = f"{entity}|{name}"
            assert said.version == last.get(label, (0, 0, 0))[0] + 1
            last[label] = (said.version, said.numerator, said.denominator)
    for label, (_, numerator, denominator) in last.items():
        assert (numerator, denominator) == (counts.get(label, 0), 5)
