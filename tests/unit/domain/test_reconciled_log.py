"""The log of changes: counted by month, what is young apart, what the store lacks by record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from finwatch.domain.reconciled_log import LogComparison, Logged, LogKey

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
changes = st.lists(
    st.builds(
        Logged,
        st.integers(1, 5),
        st.integers(1, 9).map(lambda number: f"message:{number}"),
        st.sampled_from(["state", "name"]),
        st.integers(-90 * 24, 2).map(lambda hours: NOW + timedelta(hours=hours)),
    ),
    unique_by=lambda one: one.name,
    max_size=30,
)
ENTITIES = {1: "bill", 2: "bill", 3: "invoice", 4: "entry"}  # the store has no document 5


@given(changes, st.sets(st.integers(0, 29)))
def test_every_change_of_a_stored_document_is_counted_once(logged: list[Logged], lost: set[int]) -> None:
    told = {one.name for number, one in enumerate(logged) if number not in lost}
    comparison = LogComparison("account.move", NOW)
    comparison.add(logged, ENTITIES, told)
    counted = [one for one in logged if one.record_id in ENTITIES]
    groups = comparison.groups.values()
    assert sum(group.source + group.in_flight for group in groups) == len(counted)
    assert all(group.source == group.store + group.missing for group in groups)
    missing = [one for one in counted if one.at < NOW and one.name not in told]
    assert sum(group.missing for group in groups) == len(missing)
    assert {one for group in groups for one in group.records} == {one.record_id for one in missing}


def test_by_model_entity_and_month() -> None:
    logged = [
        Logged(1, "message:1", "state", datetime(2026, 10, 31, 23, 59, tzinfo=UTC)),
        Logged(1, "message:2", "state", datetime(2026, 11, 1, tzinfo=UTC)),
        Logged(3, "message:3", "state", datetime(2026, 11, 2, tzinfo=UTC)),
        Logged(5, "message:4", "state", datetime(2026, 11, 2, tzinfo=UTC)),
    ]
    whole = LogComparison("account.move", NOW)
    whole.add(logged, ENTITIES, {logged[0].name})
    assert {key: (one.source, one.store, one.missing) for key, one in whole.groups.items()} == {
        LogKey("account.move", "bill", "2026-10"): (1, 1, 0),
        LogKey("account.move", "bill", "2026-11"): (1, 0, 1),
        LogKey("account.move", "invoice", "2026-11"): (1, 0, 1),
    }
    month = LogComparison("account.move", NOW, "2026-10")
    month.add(logged, ENTITIES, set())
    assert set(month.groups) == {LogKey("account.move", "bill", "2026-10")}
