"""How two references, names, amounts and dates stand to one another. Every function here is symmetrical.

Nothing is decided here: ``evidence`` weighs what these say.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from unicodedata import normalize

from finwatch.domain.duplicates.references import reference, usable

MAX_DISTANCE = 2
EXACT, NORMALISED, PREFIXED, SUFFIXED, FUZZY = "exact", "normalised", "prefixed", "suffixed", "fuzzy"
RUNNING, SHORT, DIFFERENT, MISSING = "running", "short", "different", "missing"
EQUAL, CLOSE, NET, CONVERTED, DIFFER, UNKNOWN = "equal", "close", "net", "converted", "differ", "unknown"
SAME, NEAR, SWAPPED, OTHER_YEAR, FAR = "same", "near", "swapped", "other_year", "far"

_EPOCH = date(1970, 1, 1)
_DIGITS = re.compile(r"\d+")
_WORDS = re.compile(r"[^\W_]+")
_CONFUSED = str.maketrans({"o": "0", "i": "1", "l": "1", "s": "5", "b": "8"})
# What people write before a number: "No. 17", "Invoice 17".
_LABEL = re.compile(
    r"^\s*(?:invoice|inv|number|no|nr|n°|facture|factuur|fact|rechnung|rg|bill|ref)[\s.:#/-]+(?=.*\d)", re.IGNORECASE
)
_INSIDE = re.compile(r"(?<=\d)[oilsb]+(?=\d)")
_YEARS = range(1990, 2050)
_RUNNING_STEP = 20  # numbers that a vendor gives out within days of one another
_SHORT, _LONGER = 4, 6  # a reference this short shows nothing by one, or by two, differing characters
_EXTRA = 3  # more than what is typed by mistake: characters put before or after
# fmt: off
_LEGAL_FORMS = frozenset((
    "ab", "ag", "aps", "as", "asa", "bv", "bvba", "co", "company", "corp", "corporation", "cv", "eurl", "gmbh", "inc",
    "incorporated", "kft", "kg", "limited", "llc", "llp", "lp", "ltd", "nv", "oy", "plc", "pty", "sa", "sarl", "sas",
    "sasu", "se", "sl", "spa", "sprl", "srl", "sro", "ug", "vof",
))
# fmt: on


def distance(one: str, other: str, limit: int = MAX_DISTANCE) -> int:
    """Damerau-Levenshtein distance (optimal string alignment), or ``limit + 1`` when it is more than ``limit``.

    Insertions, deletions, substitutions and swaps of neighbours count one each. Only a band of ``limit`` around the
    diagonal is looked at.
    """
    if one == other:
        return 0
    if abs(len(one) - len(other)) > limit:
        return limit + 1
    # What both begin and end with changes nothing.
    begin = 0
    shorter = min(len(one), len(other))
    while begin < shorter and one[begin] == other[begin]:
        begin += 1
    end = 0
    while end < shorter - begin and one[-1 - end] == other[-1 - end]:
        end += 1
    one, other = one[begin : len(one) - end], other[begin : len(other) - end]
    far = limit + 1
    before: list[int] = []
    row = [min(n, far) for n in range(len(other) + 1)]
    for i, c in enumerate(one, 1):
        before, last, row = row, before, [far] * (len(other) + 1)
        if i <= limit:
            row[0] = i
        for j in range(max(1, i - limit), min(len(other), i + limit) + 1):
            cost = min(before[j - 1] + (c != other[j - 1]), before[j] + 1, row[j - 1] + 1)
            if i > 1 and j > 1 and c == other[j - 2] and one[i - 2] == other[j - 1]:
                cost = min(cost, last[j - 2] + 1)
            row[j] = min(cost, far)
        if min(row) >= far and min(before) >= far:
            return far
    return row[-1]


@lru_cache(maxsize=65_536)
def unlabelled(printed: str) -> str:
    """A reference without a word such as "No." before it."""
    return _LABEL.sub("", printed)


@lru_cache(maxsize=65_536)
def number(printed: str) -> str:
    """The longest run of digits of a reference, without leading zeros: what stays of it when people add and drop words.

    A year is passed over when there is another run. Look-alike letters count as digits between digits.
    Empty when there is no digit.
    """
    text = unlabelled(printed)
    text = text.lower() if text.isascii() else normalize("NFKC", text).casefold()
    runs = _DIGITS.findall(_INSIDE.sub(lambda found: found[0].translate(_CONFUSED), text))
    runs = [run for run in runs if len(run) != 4 or int(run) not in _YEARS] or runs
    found = ""
    for run in runs:
        if len(run) >= len(found):
            found = run
    return found.lstrip("0") or found[:1]


@lru_cache(maxsize=65_536)
def structured(printed: str) -> bool | None:
    """Whether the check digits of a structured payment reference hold; None when it is none.

    Belgian (``+++123/4567/89012+++``: ten digits and their remainder by 97) and ISO 11649 (``RF18...``) references.
    """
    text = "".join(_WORDS.findall(printed)).upper()
    if printed.strip().startswith(("+++", "***")) and len(text) == 12 and text.isdecimal():
        return (int(text[:10]) % 97 or 97) == int(text[10:])
    if text.startswith("RF") and 5 <= len(text) <= 25 and text.isascii():
        return text[2:4].isdigit() and int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1
    return None


def compare_references(
    one: str | None, other: str | None, min_length: int = 3, ignored: Collection[str] = (), slips: bool = True
) -> tuple[str, int]:
    """How two references stand, and their distance (0 when it does not matter). Without ``slips`` those that only
    slips could make one are different.
    """
    if one is None or other is None or not usable(one, min_length, ignored) or not usable(other, min_length, ignored):
        return MISSING, 0
    if one > other:
        one, other = other, one
    found = _written_alike(one, other)
    if found is None:
        return _compare(one, other) if slips else (DIFFERENT, 0)
    return found


@lru_cache(maxsize=65_536)
def _written_alike(one: str, other: str) -> tuple[str, int] | None:
    """None when only a slip could make one of the two."""
    if one.strip() == other.strip():
        return EXACT, 0
    one, other = unlabelled(one), unlabelled(other)
    a, b = reference(one), reference(other)
    if a.joined == b.joined or a.padded == b.padded:
        return NORMALISED, 0
    if structured(one) and structured(other):
        return DIFFERENT, 0  # both are as their vendor made them
    short, long = (a.joined, b.joined) if len(a.joined) < len(b.joined) else (b.joined, a.joined)
    extra = len(long) - len(short)
    if len(short) >= _SHORT and 0 < extra <= _EXTRA + 2 and long.endswith(short) and not long[:extra].isdigit():
        return PREFIXED, extra
    if (
        min(a.distinct, b.distinct) >= 3
        and 0 < extra <= _EXTRA
        and long.startswith(short)
        and not _continues(one, other)
    ):
        return SUFFIXED, extra
    return None


@lru_cache(maxsize=65_536)
def _compare(one: str, other: str) -> tuple[str, int]:
    one, other = unlabelled(one), unlabelled(other)
    a, b = reference(one), reference(other)
    found = distance(a.whole, b.whole)
    if found and (a.whole != a.joined or b.whole != b.joined):
        found = min(found, distance(a.joined, b.joined))
    if found > MAX_DISTANCE:
        return DIFFERENT, 0
    letters = min(a.distinct, b.distinct)
    if letters < (_SHORT if found == 1 else _LONGER):
        return (SHORT, found) if found < letters else (DIFFERENT, 0)
    if structured(one) is not False and structured(other) is not False and _running(one, other):
        return RUNNING, found
    return FUZZY, found


def _continues(one: str, other: str) -> bool:
    """Whether the longer of two references goes on with a digit right after the digits of the shorter."""
    short, long = (one, other) if len(one) < len(other) else (other, one)
    n = len(short)
    return long.startswith(short) and short[-1:].isdigit() and long[n : n + 1].isdigit()


def _running(one: str, other: str) -> bool:
    """Whether one run of digits differs, and by little: the next numbers of one vendor. Swapped digits are not, and a
    year beside a number is none.
    """
    a, b = _DIGITS.findall(one), _DIGITS.findall(other)
    if len(a) != len(b) or _DIGITS.sub("#", one) != _DIGITS.sub("#", other):
        return False
    apart = [(x, y) for x, y in zip(a, b, strict=True) if x != y]
    if len(apart) != 1:
        return False
    x, y = apart[0]
    years = len(a) > 1 and len(x) == len(y) and _year(x) and _year(y)
    if years and (len(x) == 4 or any(len(run) > 2 for run in a if run != x)):
        return False  # the year, not the number
    step = abs(int(x) - int(y))
    return step <= _RUNNING_STEP and not (step >= 9 and len(x) == len(y) and sorted(x) == sorted(y))


def _year(digits: str) -> bool:
    """Whether digits may be a year, of two digits or four."""
    return (len(digits) == 4 and int(digits) in _YEARS) or (len(digits) == 2 and 2000 + int(digits) in _YEARS)


def words_of(text: str) -> list[str]:
    """The words of a text without case and punctuation."""
    return _WORDS.findall(normalize("NFKC", text).casefold().replace(".", ""))


@lru_cache(maxsize=16_384)
def bare_name(name: str) -> str:
    """A firm's name without case, punctuation and legal form; as it is when nothing else would be left."""
    words = words_of(name)
    return " ".join([word for word in words if word not in _LEGAL_FORMS] or words)


def compare_amounts(
    one: Decimal | None,
    other: Decimal | None,
    same_currency: bool,
    tolerance: Decimal,
    one_net: Decimal | None = None,
    other_net: Decimal | None = None,
) -> str:
    """How two amounts stand. ``tolerance`` is a fraction of the larger; a hundredth of the unit is always within."""
    if one is None or other is None:
        return UNKNOWN
    if not same_currency:
        return DIFFER
    if one == other:
        return EQUAL
    if abs(one - other) <= max(Decimal("0.01"), tolerance * max(abs(one), abs(other))):
        return CLOSE
    return NET if other in (one_net,) or one in (other_net,) else DIFFER


def compare_dates(one: int | None, other: int | None, window: int) -> str:
    """How two dates (days since 1970) stand. ``window`` in days."""
    if one is None or other is None:
        return UNKNOWN
    apart = abs(one - other)
    if apart == 0:
        return SAME
    if apart <= window:
        return NEAR
    if apart > 800:
        return FAR
    a, b = _EPOCH + timedelta(one), _EPOCH + timedelta(other)
    if a.year == b.year:
        return SWAPPED if (a.day, a.month) == (b.month, b.day) else FAR
    return OTHER_YEAR if abs(a.year - b.year) == 1 and (a.month, a.day) == (b.month, b.day) else FAR


def other_year(one: int | None, other: int | None) -> bool:
    """Whether two days (since 1970) are known and of different calendar years."""
    if one is None or other is None:
        return False
    return (_EPOCH + timedelta(one)).year != (_EPOCH + timedelta(other)).year
