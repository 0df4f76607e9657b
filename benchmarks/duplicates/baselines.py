"""What others do, from their public descriptions, on the same bills.

- Odoo 17 and 18 (``account.move``, ``_fetch_duplicate_reference``): same company, commercial partner and type, equal
  ``ref``, same year of the bill date or one missing. Neither mark nor score: a warning on the form.
- Celonis, "Default duplicate invoice patterns" (docs.celonis.com): reference, date, value and vendor name are equal, or
  three of them are and the fourth is alike. Vendor: only letters and digits, without company words, alike by a string
  metric above a threshold. Reference: only letters and digits, and 0 to 3 extra characters in one of the two. What the
  page's public text does not fix is taken kindly here: the metric is difflib's ratio at 0.9; values are alike within
  1 % or with two neighbouring digits swapped; dates within 7 days, with day and month swapped, or a year off.
  No score is published for the patterns, so they rank in the page's order. Its model of confidence is not public.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from difflib import SequenceMatcher
from itertools import combinations

from benchmarks.duplicates.bills import EPOCH, Bill, World

Found = dict[tuple[str, ...], float]
"""Groups of bills (keys in ascending order) and how surely each is one bill."""
_COMPANY = re.compile(
    r"\b(bv|nv|gmbh|ltd|sa|sarl|inc|llc|ag|spa|se|corp|corporation|company|co|limited|group)\b", re.IGNORECASE
)
_OTHER = re.compile(r"[^A-Za-z0-9]+")


def _year(day: int) -> int:
    return (EPOCH + timedelta(day)).year


def _group(one: Bill, other: Bill) -> tuple[str, ...]:
    return tuple(sorted((one.key, other.key)))


def _pairs(world: World, key: Callable[[Bill], object]) -> Iterator[tuple[Bill, Bill]]:
    blocks: dict[object, list[Bill]] = defaultdict(list)
    for bill in world.bills:
        found = key(bill)
        if found is not None:
            blocks[found].append(bill)
    for bills in blocks.values():
        yield from combinations(bills, 2)


def odoo(world: World) -> Found:
    """Odoo's rule."""
    pairs = _pairs(
        world, lambda b: (b.company, b.vendor, b.type, b.reference) if b.reference and b.type != "expense" else None
    )
    return {_group(a, b): 1.0 for a, b in pairs if _year(a.date) == _year(b.date) and a.key not in (b.reverses,)}


def celonis(world: World) -> Found:
    """The five patterns. Debit and credit are not paired: groups that net to zero are hidden by default."""
    names = {vendor.id: vendor.name for vendor in world.vendors.values()}
    bare = {key: _OTHER.sub("", _COMPANY.sub("", name)).lower() for key, name in names.items()}
    found: Found = {}

    def take(pairs: Iterator[tuple[Bill, Bill]], alike: Callable[[Bill, Bill], bool], score: float) -> None:
        for a, b in pairs:
            group = _group(a, b)
            if group not in found and (a.type == "in_refund") == (b.type == "in_refund") and alike(a, b):
                found[group] = score

    def vendor(a: Bill, b: Bill) -> bool:
        x, y = bare[a.vendor], bare[b.vendor]
        return x == y or SequenceMatcher(None, x, y).ratio() >= 0.9

    take(_pairs(world, lambda b: (b.reference, b.date, b.amount, names[b.vendor])), lambda a, b: True, 1.0)
    take(_pairs(world, lambda b: (b.reference, b.date, b.amount)), vendor, 0.9)
    take(_pairs(world, lambda b: (b.date, b.amount, names[b.vendor])), _references, 0.8)
    take(_pairs(world, lambda b: (b.reference, b.amount, names[b.vendor])), _dates, 0.7)
    take(_pairs(world, lambda b: (b.reference, b.date, names[b.vendor])), _values, 0.6)
    return found


def _references(a: Bill, b: Bill) -> bool:
    if not a.reference or not b.reference:
        return False
    short, long = sorted((_OTHER.sub("", a.reference), _OTHER.sub("", b.reference)), key=len)
    rest = iter(long)
    return bool(short) and len(long) - len(short) <= 3 and all(c in rest for c in short)


def _dates(a: Bill, b: Bill) -> bool:
    if abs(a.date - b.date) <= 7:
        return True
    x, y = EPOCH + timedelta(a.date), EPOCH + timedelta(b.date)
    swapped = x.year == y.year and (x.day, x.month) == (y.month, y.day)
    return swapped or (abs(x.year - y.year) == 1 and (x.month, x.day) == (y.month, y.day))


def _values(a: Bill, b: Bill) -> bool:
    if abs(a.amount - b.amount) <= max(a.amount, b.amount) // 100:
        return True
    x, y = str(a.amount), str(b.amount)
    apart = [n for n in range(len(x)) if x[n] != y[n]] if len(x) == len(y) else []
    return len(apart) == 2 and apart[1] - apart[0] == 1 and x[apart[0]] == y[apart[1]] and x[apart[1]] == y[apart[0]]
