"""The judge of the duplicate detector judges rightly, and the detector stays above its goals on a small sample."""

from __future__ import annotations

from random import Random

import pytest

from benchmarks.duplicates import baselines, counterparts, detector
from benchmarks.duplicates.bills import DUPLICATE_KINDS, NEAR_MISS_KINDS, Parameters, World, make
from benchmarks.duplicates.bills import _following as following
from benchmarks.duplicates.errors import mistyped, reformatted
from benchmarks.duplicates.judge import judge
from finwatch.runtime.policies import packaged_policy


@pytest.fixture(scope="module")
def world() -> World:
    return make(Parameters(8_000, seed=5, duplicates=0.02, near_misses=0.02))


def test_labels(world: World) -> None:
    assert abs(len(world.bills) - 8_000) < 200
    assert len({bill.key for bill in world.bills}) == len(world.bills)
    kinds = {case.kind for case in world.cases}
    assert kinds == {*DUPLICATE_KINDS, *NEAR_MISS_KINDS}
    assert sum(case.duplicate for case in world.cases) == 160
    # Labels say what bills belong together, and each says its case.
    for number, case in enumerate(world.cases):
        assert len(case.bills) >= 2 or case.kind == "recurring"
        assert {bill.key for bill in world.bills if bill.case == number} == set(case.bills)


def test_the_same_seed_makes_the_same_bills() -> None:
    one, again, other = (make(Parameters(1_000, seed)) for seed in (3, 3, 4))
    assert one.bills == again.bills
    assert one.bills != other.bills


def test_slips_always_change_a_reference() -> None:
    random = Random(1)
    for reference in ("INV-2024-00417", "0007", "+++582/7661/04986+++", "A1"):
        for _ in range(200):
            assert mistyped(reference, random) != reference
            assert reformatted(reference, random) != reference


def test_a_perfect_answer_and_an_empty_one(world: World) -> None:
    perfect = {tuple(sorted(case.bills)): 1.0 for case in world.cases if case.duplicate}
    figures = judge(world, perfect)
    assert (figures.precision, figures.recall, figures.f1, figures.pr_auc) == (1.0, 1.0, 1.0, 1.0)
    assert judge(world, {}).recall == 0.0
    wrong = {tuple(sorted(case.bills)): 0.5 for case in world.cases if not case.duplicate}
    figures = judge(world, {**perfect, **wrong}, threshold=0.4)
    assert figures.recall == 1.0
    assert figures.precision == len(perfect) / (len(perfect) + len(wrong))
    assert figures.pr_auc == 1.0, "the wrong ones rank last"
    assert judge(world, {**perfect, **wrong}, threshold=0.6).precision == 1.0


def test_a_group_across_two_cases_is_wrong(world: World) -> None:
    first, second = [case for case in world.cases if case.duplicate][:2]
    figures = judge(world, {(first.bills[0], second.bills[0]): 1.0})
    assert (figures.findings, figures.right) == (1, 0)


def test_baselines_find_what_they_describe(world: World) -> None:
    odoo, celonis = judge(world, baselines.odoo(world)), judge(world, baselines.celonis(world))
    assert odoo.recall_by_kind["exact"] > 0.7
    assert odoo.recall_by_kind["mistyped"] == 0.0
    assert celonis.recall_by_kind["exact"] > 0.9
    assert celonis.recall_by_kind["no_reference"] == 0.0


def test_the_detector_on_a_small_sample(world: World) -> None:
    settings = packaged_policy("default").document.duplicates
    beside = counterparts.make(world, 1)
    figures = judge(world, detector.run(world, beside, settings).found, settings.report_at, beside.orders)
    assert figures.precision >= 0.95
    assert figures.recall >= 0.85
    assert set(figures.recall_by_kind) == set(DUPLICATE_KINDS)
    assert min(figures.recall_by_kind.values()) >= 0.6


def test_any_reference_has_a_following_one() -> None:
    for printed in ("RF/2023/573", "RF2467940095463", "RF-2024-47061", "+++428/8010/40076+++", "008", "No digit", None):
        assert following(printed, 2) != printed
