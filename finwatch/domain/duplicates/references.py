"""Makes vendors' references comparable.

Odoo compares a reference character by character. People and scanners add and lose punctuation and leading zeros,
change case, and read O for 0, I or l for 1, S for 5, B for 8.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple
from unicodedata import normalize

_CONFUSED = str.maketrans({"o": "0", "i": "1", "l": "1", "s": "5", "b": "8"})
_SEPARATORS = re.compile(r"[\W_]+")
_PADDING = re.compile(r"(?<!\d)0+(?=\d)")
_DIGIT = re.compile(r"\d")
_DIGITS = re.compile(r"\d+")


class Reference(NamedTuple):
    """Forms of one reference: two are the same when any form of them is."""

    printed: str
    joined: str  # separators dropped, then the leading zeros of each run of digits
    padded: str  # leading zeros dropped between the separators, then the separators
    whole: str  # separators dropped, zeros kept
    block: str  # no zeros at all: equal whenever one of the others is, and so the key under which candidates meet
    distinct: int  # how many letters and digits it has; 0 when none is a digit


@lru_cache(maxsize=65_536)
def reference(printed: str) -> Reference:
    """The forms of a reference: NFKC, case folded, alphanumerics only, confused characters as digits."""
    # What is ASCII has no other forms, and most references are.
    folded = printed.lower() if printed.isascii() else normalize("NFKC", printed).casefold()
    text = folded.translate(_CONFUSED)
    whole = _SEPARATORS.sub("", text)
    zeros = "0" in whole
    return Reference(
        printed.strip(),
        _PADDING.sub("", whole) if zeros else whole,
        _SEPARATORS.sub("", _PADDING.sub("", text)) if zeros else whole,
        whole,
        whole.replace("0", "") or whole[:1],
        len(whole) if _DIGIT.search(folded) else 0,
    )


@lru_cache(maxsize=65_536)
def shape(printed: str) -> str:
    """How a reference is written: its letters and separators, with ``#`` for each run of digits."""
    return _DIGITS.sub("#", normalize("NFKC", printed).casefold().strip())


def usable(printed: str | None, min_length: int, ignored: Collection[str]) -> bool:
    """True when a reference can tell documents apart: long enough, with a digit, and not a filler."""
    if printed is None:
        return False
    return reference(printed).distinct >= max(min_length, 1) and printed.strip().casefold() not in ignored
