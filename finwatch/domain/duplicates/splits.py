"""Splits: two to four bills that are together an earlier one.

What is told is a function of the bills of a block alone, in whatever order they came: of each bill the best of its
splits, where the most telling wins, then the one of fewest parts, then the one entered first.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from finwatch.domain.calendar import DAY
from finwatch.domain.duplicates import similarity as like
from finwatch.domain.duplicates.evidence import REFUND, Bill, Verdict
from finwatch.domain.policy import DuplicatesSection

Group = tuple[str, ...]
"""Document keys of what may be one bill, in ascending order."""
_PARTS = 4
_CHOICE = 12  # bills that are tried as parts of one: those whose references tell, then those that came first
_RELATED = frozenset({like.EXACT, like.NORMALISED, like.SUFFIXED, like.PREFIXED})


def splits(bills: Iterable[Bill], settings: DuplicatesSection) -> dict[Group, Verdict]:
    """The best split of each bill that has one, by the keys of the whole and its parts."""
    found: dict[Group, Verdict] = {}
    ordered = sorted((b for b in bills if b.document_type != REFUND), key=lambda b: (b.created_at, b.key))
    cents = [_cents(bill) for bill in ordered]
    for at, whole in enumerate(ordered):
        parts = [
            (bill, cents[n])
            for n, bill in enumerate(ordered)
            if n != at
            and 0 < cents[n] < cents[at]
            and bill.created_at >= whole.created_at
            and bill.currency == whole.currency
        ]
        if len(parts) < 2:
            continue
        best = _best(whole, cents[at], parts, settings)
        if best is not None:
            group = tuple(sorted((whole.key, *(part.key for part in best[1]))))
            if group not in found or found[group] < best[0]:
                found[group] = best[0]
    return found


def _best(
    whole: Bill, total: int, parts: list[tuple[Bill, int]], settings: DuplicatesSection
) -> tuple[Verdict, tuple[Bill, ...]] | None:
    kinds = {bill.key: _kind(bill, whole, settings) for bill, _ in parts}
    if len(parts) > _CHOICE:
        parts = sorted(parts, key=lambda part: kinds[part[0].key] not in _RELATED)[:_CHOICE]
        parts.sort(key=lambda part: (part[0].created_at, part[0].key))
    best: tuple[Verdict, tuple[Bill, ...]] | None = None
    window = settings.split_window_days * DAY
    for size in range(2, min(_PARTS, len(parts)) + 1):
        for chosen in combinations(parts, size):
            if abs(sum(cents for _, cents in chosen) - total) > size:
                continue
            bills = tuple(bill for bill, _ in chosen)
            if bills[-1].created_at - bills[0].created_at > window:
                continue
            verdict = _verdict(whole, bills, [kinds[bill.key] for bill in bills])
            if best is None or verdict.score > best[0].score:
                best = verdict, bills
    return best


def _kind(part: Bill, whole: Bill, settings: DuplicatesSection) -> str:
    return like.compare_references(
        part.reference, whole.reference, settings.min_reference_length, settings.ignore_references
    )[0]


def _cents(bill: Bill) -> int:
    return int(bill.amount * 100) if bill.amount is not None else 0


def _verdict(whole: Bill, parts: tuple[Bill, ...], kinds: list[str]) -> Verdict:
    reasons = ["Same vendor.", "Together the later bills are the earlier one.", "They came within days of one another."]
    related = sum(kind in _RELATED for kind in kinds)
    score = 0.3
    if related == len(parts):
        score = 0.97
        reasons.append("Their references are the earlier one's, or that with something after it.")
    elif all(kind == like.MISSING for kind in kinds):
        score = 0.75
        reasons.append("They have no reference of their own.")
    elif related:
        score = 0.7
        reasons.append("Some of their references are the earlier one's, or that with something after it.")
    else:
        reasons.append("Each has a reference of its own.")
    if whole.order and all(part.order == whole.order for part in parts):
        reasons.append("They name the same order.")
    return Verdict(score, "split", tuple(reasons))
