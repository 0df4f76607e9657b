"""Splits: two to four bills that are together an earlier one.

What is told is a function of the bills alone, in whatever order they came: of each bill the best of its splits, where
the most telling wins, then the one of fewest parts, then the one entered first. The same parts are told of one bill
only: of those they fit, the one dated nearest to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

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
    best: list[_Split] = []
    ordered = sorted((b for b in bills if b.document_type != REFUND), key=_age)
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
        if len(parts) > 1:
            found = _best(whole, cents[at], parts, settings)
            if found is not None:
                best.append(found)
    return _told(best)


def bare_splits(
    parts: Sequence[Bill], wholes: Callable[[int, str | None], Iterable[Bill]], settings: DuplicatesSection
) -> dict[Group, Verdict]:
    """Splits into bills without any reference. ``wholes``: the vendor's bills of an amount (in cents) and a currency.

    None of a vendor that often bills without a reference: there amounts add up by chance.
    """
    if not 2 <= len(parts) <= _CHOICE:
        return {}
    ordered = sorted((b for b in parts if b.document_type != REFUND and _cents(b) > 0), key=_age)
    best: dict[str, _Split] = {}
    for size in range(2, min(_PARTS, len(ordered)) + 1):
        for chosen in combinations(ordered, size):
            if chosen[-1].created_at - chosen[0].created_at > settings.split_window_days * DAY:
                continue
            if len({(bill.currency, bill.document_type) for bill in chosen}) > 1:
                continue
            for whole in wholes(sum(map(_cents, chosen)), chosen[0].currency):
                apart = chosen[0].created_at - whole.created_at
                if (
                    whole in chosen
                    or whole.document_type == REFUND
                    or not 0 <= apart <= settings.entry_window_days * DAY
                ):
                    continue
                if whole.order and all(bill.order == whole.order for bill in chosen):
                    continue  # they meet under their order
                if whole.key not in best:
                    best[whole.key] = _Split(_verdict(whole, chosen, [like.MISSING] * size), whole, chosen)
    return _told(best.values())


class _Split(NamedTuple):
    verdict: Verdict
    whole: Bill
    parts: tuple[Bill, ...]


def _told(best: Iterable[_Split]) -> dict[Group, Verdict]:
    """One whole for the same parts."""
    chosen: dict[Group, _Split] = {}
    for split in best:
        parts = tuple(sorted(bill.key for bill in split.parts))
        if parts not in chosen or _rank(split) > _rank(chosen[parts]):
            chosen[parts] = split
    return {tuple(sorted((split.whole.key, *parts))): split.verdict for parts, split in chosen.items()}


def _rank(split: _Split) -> tuple[float, int, int, str]:
    dates = [part.date for part in split.parts if part.date is not None]
    apart = abs(min(dates) - split.whole.date) if dates and split.whole.date is not None else 10_000
    return split.verdict.score, -apart, split.whole.created_at, split.whole.key


def _age(bill: Bill) -> tuple[int, str]:
    return bill.created_at, bill.key


def _best(whole: Bill, total: int, parts: list[tuple[Bill, int]], settings: DuplicatesSection) -> _Split | None:
    kinds = {bill.key: _kind(bill, whole, settings) for bill, _ in parts}
    if len(parts) > _CHOICE:
        parts = sorted(parts, key=lambda part: kinds[part[0].key] not in _RELATED)[:_CHOICE]
        parts.sort(key=lambda part: _age(part[0]))
    best: _Split | None = None
    window = settings.split_window_days * DAY
    for size in range(2, min(_PARTS, len(parts)) + 1):
        for chosen in combinations(parts, size):
            if abs(sum(cents for _, cents in chosen) - total) > size:
                continue
            bills = tuple(bill for bill, _ in chosen)
            if bills[-1].created_at - bills[0].created_at > window:
                continue
            verdict = _verdict(whole, bills, [kinds[bill.key] for bill in bills])
            if best is None or verdict.score > best.verdict.score:
                best = _Split(verdict, whole, bills)
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
