"""Splits: two to four bills that are together an earlier one, or an order that they do not name.

What is told is a function of the bills alone, in whatever order they came: of each bill the best of its splits, where
the most telling wins, then the one of fewest parts, then the one entered first. The same parts are told of one bill
only: of those they fit, the one dated nearest to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, pairwise
from math import exp
from typing import NamedTuple

from finwatch.domain.calendar import DAY
from finwatch.domain.duplicates import similarity as like
from finwatch.domain.duplicates.evidence import EXPENSE, ORDER, REFUND, Bill, Verdict
from finwatch.domain.duplicates.references import shape
from finwatch.domain.policy import DuplicatesSection

Group = tuple[str, ...]
"""Document keys of what may be one bill, in ascending order."""
_Part = tuple[Bill, int]
"""A bill and its amount in cents."""
_PARTS = 4
_NO_PART = frozenset({REFUND, EXPENSE})
_OFTEN = 6  # so many more within the window: amounts add up by chance
_CHOICE = 12  # bills that are tried as parts of one: those whose references tell, then those that came first
_RELATED = frozenset({like.EXACT, like.NORMALISED, like.SUFFIXED, like.PREFIXED})


def splits(bills: Iterable[Bill], settings: DuplicatesSection) -> dict[Group, Verdict]:
    """The best split of each bill that has one, by the keys of the whole and its parts."""
    best: list[_Split] = []
    ordered = sorted((b for b in bills if b.document_type not in _NO_PART), key=_age)
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


def near(bills: Iterable[Bill], settings: DuplicatesSection) -> bool:
    """Whether any two of the bills were entered near enough to be parts of one; if not, there is no gathered split."""
    entered = sorted([bill.created_at for bill in bills])
    window = settings.split_window_days * DAY
    return any(later - earlier <= window for earlier, later in pairwise(entered))


def gathered_splits(
    parts: Sequence[Bill], wholes: Callable[[int, str | None], Iterable[Bill]], settings: DuplicatesSection
) -> dict[Group, Verdict]:
    """Splits into bills that share nothing with the whole but the vendor: written alike, or all without a reference.

    ``wholes``: the vendor's bills and orders of an amount (in cents) and a currency. None of what comes so often within
    ``split_window_days`` that amounts add up by chance.
    """
    ordered = sorted(
        ((b, cents) for b in parts if b.document_type != REFUND and (cents := _cents(b)) > 0), key=lambda p: _age(p[0])
    )
    window = settings.split_window_days * DAY
    best: dict[str, _Split] = {}
    for at, first in enumerate(ordered):
        begun = first[0].created_at
        near = [part for part in ordered[at + 1 :] if part[0].created_at - begun <= window]
        if len(near) >= _OFTEN:
            continue
        for size in range(1, min(_PARTS, len(near) + 1)):
            for others in combinations(near, size):
                chosen = (first[0], *(bill for bill, _ in others))
                if len({(bill.currency, bill.document_type) for bill in chosen}) > 1:
                    continue
                for whole in wholes(first[1] + sum(cents for _, cents in others), chosen[0].currency):
                    if (
                        whole in chosen
                        or whole.document_type == REFUND
                        or not 0 <= begun - whole.created_at <= settings.entry_window_days * DAY
                        or (whole.order and all(bill.order == whole.order for bill in chosen))  # they meet under that
                        or (whole.document_type == ORDER and _is_billed_by(whole, chosen))
                    ):
                        continue
                    kinds = [_kind(bill, whole, settings) for bill in chosen]
                    if any(kind in _RELATED for kind in kinds):
                        continue  # they meet under the number
                    split = _Split(_verdict(whole, chosen, kinds), whole, chosen)
                    if whole.key not in best or _rank(split) > _rank(best[whole.key]):
                        best[whole.key] = split
    return _told(best.values())


class _Split(NamedTuple):
    verdict: Verdict
    whole: Bill
    parts: tuple[Bill, ...]


def _is_billed_by(order: Bill, parts: Sequence[Bill]) -> bool:
    """Whether bills name an order, or are as old as it: then they are what it asked for."""
    return any(bill.order == order.order or bill.created_at <= order.created_at for bill in parts)


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


def _best(whole: Bill, total: int, parts: list[_Part], settings: DuplicatesSection) -> _Split | None:
    kinds = {bill.key: _kind(bill, whole, settings) for bill, _ in parts}
    if len(parts) > _CHOICE:
        parts = sorted(parts, key=lambda part: kinds[part[0].key] not in _RELATED)[:_CHOICE]
        parts.sort(key=lambda part: _age(part[0]))
    best: _Split | None = None
    for chosen in _sums(parts, total, settings.split_window_days * DAY):
        bills = tuple(bill for bill, _ in chosen)
        verdict = _verdict(whole, bills, [kinds[bill.key] for bill in bills])
        if best is None or (verdict.score, -len(bills)) > (best.verdict.score, -len(best.parts)):
            best = _Split(verdict, whole, bills)
    return best


def _sums(parts: list[_Part], total: int, window: int) -> Iterator[tuple[_Part, ...]]:
    """Two to four of the parts (in order of entry) that come to a total, but for a cent each, within a window."""

    def more(chosen: tuple[_Part, ...], rest: int, at: int, until: int) -> Iterator[tuple[_Part, ...]]:
        size = len(chosen) + 1
        for n in range(at, len(parts)):
            part = parts[n]
            if part[0].created_at > until:
                return
            left = rest - part[1]
            if size > 1 and -size <= left <= size:
                yield (*chosen, part)
            if left > 0 and size < _PARTS:
                yield from more((*chosen, part), left, n + 1, until)

    for at, part in enumerate(parts):
        if part[1] < total:
            yield from more((part,), total - part[1], at + 1, part[0].created_at + window)


def _kind(part: Bill, whole: Bill, settings: DuplicatesSection) -> str:
    return like.compare_references(
        part.reference, whole.reference, settings.min_reference_length, settings.ignore_references
    )[0]


def _cents(bill: Bill) -> int:
    return int(bill.amount * 100) if bill.amount is not None else 0


def _verdict(whole: Bill, parts: tuple[Bill, ...], kinds: list[str]) -> Verdict:
    order = whole.document_type == ORDER
    found = [(0.0, "Same vendor.")]
    found.append(
        (0.0, "Together the bills come to an order that they do not name.")
        if order
        else (0.0, "Together the later bills are the earlier one.")
    )
    found.append((0.0, "They came within days of one another."))
    related = sum(kind in _RELATED for kind in kinds)
    if related == len(parts):
        found.append((3.5, "Their references are the earlier one's, or that with something after it."))
    elif related:
        found.append((0.85, "Some of their references are the earlier one's, or that with something after it."))
    else:
        if all(kind == like.MISSING for kind in kinds) and not (order and any(part.reference for part in parts)):
            found.append((0.8, "They have no reference of their own."))
        elif order:
            found.append((-0.6, "Each has a reference of its own."))
        elif _written(whole) not in {_written(part) for part in parts}:
            found.append((0.8, "Their references are written otherwise than the earlier one's."))
        else:
            found.append((-1.2, "Each has a reference of its own."))
        dated = [part.date for part in parts if part.date is not None]
        if whole.date is not None and dated:
            if whole.date in dated:
                found.append((0.7, "The document date of one of them is the earlier one's."))
            elif any(date < whole.date for date in dated):
                found.append((-1.5, "One of them is dated before the earlier one."))
        if whole.amount is not None and whole.amount % 10 == 0:
            found.append((-1.0, "It is a round amount."))  # what round amounts come to is round too
    if order and whole.posted:
        found.append((1.0, "Other bills come to the order already."))
    elif order:
        found.append((-0.4, "No other bills come to the order."))
    if whole.order:
        orders = {part.order for part in parts}
        if orders == {whole.order}:
            found.append((0.0, "They name the same order."))
        elif orders - {None, whole.order}:
            found.append((-3.0, "They name different orders."))
    score = 1 / (1 + exp(-sum(weight for weight, _ in found)))
    return Verdict(round(score, 4), "split", tuple(reason for _, reason in found))


def _written(bill: Bill) -> str:
    return shape(bill.reference) if bill.reference is not None else ""
