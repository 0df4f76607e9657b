"""Measures what was found against the labels.

A finding is a group of bills. It is right when all its bills are of one duplicate case. A case is found when a right
finding is within it. Precision is right findings over all findings; recall is found cases over all cases. A finding
among honest bills or near misses is wrong, also where no field could have told.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.duplicates.baselines import Found
from benchmarks.duplicates.bills import DUPLICATE_KINDS, World
from benchmarks.duplicates.counterparts import Order


@dataclass(slots=True)
class Figures:
    """Figures of one detector at its threshold; ``pr_auc`` over all thresholds (average precision)."""

    findings: int
    right: int
    precision: float
    recall: float
    f1: float
    pr_auc: float
    recall_by_kind: dict[str, float] = field(default_factory=dict)
    wrong_by_kind: dict[str, int] = field(default_factory=dict)


def judge(world: World, found: Found, threshold: float = 0.0, orders: Sequence[Order] = ()) -> Figures:
    """Figures of the groups that score ``threshold`` or more; the curve takes all.

    An order is of its bill's case; an expense that is in no case is an honest one.
    """
    case_of = defaultdict(lambda: -1, {bill.key: bill.case for bill in world.bills})
    case_of.update((order.key, order.case) for order in orders)
    total = sum(case.duplicate for case in world.cases)

    def right(group: tuple[str, ...]) -> int:
        cases = {case_of[key] for key in group}
        case = cases.pop() if len(cases) == 1 else -1
        return case if case >= 0 and world.cases[case].duplicate else -1

    hits: set[int] = set()
    wrong: Counter[str] = Counter()
    findings = good = 0
    for group, score in found.items():
        if score < threshold:
            continue
        findings += 1
        case = right(group)
        if case >= 0:
            good += 1
            hits.add(case)
        else:
            cases = sorted({case_of[key] for key in group})
            one = cases[0] >= 0 and len(cases) == 1
            wrong[world.cases[cases[0]].kind if one else "background"] += 1
    kinds: dict[str, list[bool]] = defaultdict(list)
    for number, one_case in enumerate(world.cases):
        if one_case.duplicate:
            kinds[one_case.kind].append(number in hits)
    precision = good / findings if findings else 0.0
    recall = len(hits) / total if total else 0.0
    return Figures(
        findings,
        good,
        precision,
        recall,
        2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        _average_precision(found, right, total),
        {kind: sum(kinds[kind]) / len(kinds[kind]) for kind in DUPLICATE_KINDS if kinds[kind]},
        dict(wrong.most_common()),
    )


def _average_precision(found: Found, right: object, total: int) -> float:
    assert callable(right)
    ranked: dict[float, list[int]] = defaultdict(list)
    for group, score in found.items():
        ranked[score].append(right(group))
    area = 0.0
    seen = good = 0
    hits: set[int] = set()
    for score in sorted(ranked, reverse=True):
        before = len(hits)
        cases = ranked[score]
        seen += len(cases)
        good += sum(case >= 0 for case in cases)
        hits.update(case for case in cases if case >= 0)
        area += (len(hits) - before) / total * (good / seen)
    return area
