"""Parts of KPIs: which version counts, and what they add up to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finwatch.domain.records import Kpi
from sinks.prometheus.merge import Parts

LABELS = '{"source":"odoo"}'


def part(partition: int, position: int, value: float | None, at: int = 0, **changes: float) -> Kpi:
    return Kpi("clocks_open", LABELS, "finance.bill.v1", partition, position, at, value, **changes)


def key(kpi: Kpi) -> bytes:
    return f"{kpi.kpi}|{kpi.labels}|{kpi.topic}|{kpi.partition}".encode()


def taken(*versions: Kpi, largest: frozenset[str] = frozenset()) -> Parts:
    parts = Parts(largest)
    for version in versions:
        parts.apply(key(version), version, 0)
    return parts


def figure(parts: Parts) -> float | None:
    (found,) = parts.figures()
    return found.value


def test_parts_of_partitions_add_up() -> None:
    parts = taken(part(0, 5, 2.0), part(1, 9, 3.0))
    (found,) = parts.figures()
    assert (found.value, found.parts, found.labels) == (5.0, 2, {"source": "odoo"})


def test_what_contains_more_of_the_input_counts_and_then_the_later_one() -> None:
    assert figure(taken(part(0, 5, 2.0), part(0, 4, 9.0, at=99))) == 2.0
    assert figure(taken(part(0, 5, 2.0, at=1), part(0, 5, 7.0, at=2))) == 7.0
    assert figure(taken(part(0, 5, 2.0, at=2), part(0, 5, 7.0, at=1))) == 2.0


@given(st.permutations([part(p, n, float(10 * p + n), at=n) for p in range(3) for n in range(3)]))
def test_the_order_in_which_versions_come_does_not_matter(versions: list[Kpi]) -> None:
    assert figure(taken(*versions)) == 2.0 + 12.0 + 22.0


def test_a_rate_is_the_sum_of_numerators_over_the_sum_of_denominators() -> None:
    parts = taken(part(0, 1, None, numerator=1.0, denominator=10.0), part(1, 1, None, numerator=3.0, denominator=2.0))
    assert figure(parts) == pytest.approx(4 / 12)


def test_a_rate_over_nothing_has_no_value() -> None:
    assert figure(taken(part(0, 1, None, numerator=0.0, denominator=0.0))) is None


def test_an_oldest_age_is_the_largest_of_its_parts() -> None:
    assert figure(taken(part(0, 1, 5.0), part(1, 1, 9.0), largest=frozenset({"clocks_open"}))) == 9.0


def test_a_withdrawn_part_is_gone_and_an_older_version_does_not_bring_it_back() -> None:
    parts = taken(part(0, 5, 2.0), part(1, 5, 3.0), part(0, 6, None), part(0, 5, 2.0))
    assert figure(parts) == 3.0
    assert len(parts) == 1


def test_a_tombstone_takes_the_part_under_its_key_away() -> None:
    parts = taken(part(0, 5, 2.0), part(1, 5, 3.0))
    assert parts.forget(key(part(0, 5, 2.0)))
    assert not parts.forget(b"never seen")
    assert figure(parts) == 3.0


def test_a_silent_partition_makes_its_kpis_stale_and_no_others() -> None:
    parts = Parts()
    parts.apply(b"a", part(0, 1, 1.0), 0)
    parts.apply(b"b", Kpi("findings_open", LABELS, "finance.relation.v1", 0, 1, 0, 1.0), 50_000_000)
    assert parts.ages(60_000_000) == {("finance.bill.v1", 0): 60.0, ("finance.relation.v1", 0): 10.0}
    assert parts.stale(60_000_000, after=30) == {"clocks_open": True, "findings_open": False}


def test_an_outdated_version_is_still_a_sign_of_life() -> None:
    parts = Parts()
    parts.apply(b"a", part(0, 9, 1.0), 0)
    parts.apply(b"a", part(0, 8, 1.0), 50_000_000)
    assert parts.ages(60_000_000) == {("finance.bill.v1", 0): 10.0}


@pytest.mark.parametrize("labels", ["", "[]", '"x"', '{"a":1}'])
def test_labels_that_are_none_are_refused(labels: str) -> None:
    with pytest.raises(ValueError):
        Parts().apply(b"a", Kpi("clocks_open", labels, "t", 0, 1, 0, 1.0), 0)
