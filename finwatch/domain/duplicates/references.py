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
_PADDING = re.compile(r"0+(?=\d)")
_RUN = re.compile(r"\d+")


class Reference(NamedTuple):
    """Forms of one reference: two are the same when any form of them is."""

    printed: str
    joined: str  # separators dropped, then the leading zeros of each run of digits
    padded: str  # leading zeros dropped between the separators, then the separators
    block: str  # no zeros at all: equal whenever one of the others is, and so the key under which candidates meet


@lru_cache(maxsize=65_536)
def reference(printed: str) -> Reference:
    """The forms of a reference: NFKC, case folded, alphanumerics only, confused characters as digits."""
    text = normalize("NFKC", printed).casefold()
    parts = [part.translate(_CONFUSED) for part in _SEPARATORS.split(text) if part]
    whole = "".join(parts)
    return Reference(
        printed.strip(), _unpadded(whole), "".join(map(_unpadded, parts)), whole.replace("0", "") or whole[:1]
    )


def usable(printed: str | None, min_length: int, ignored: Collection[str]) -> bool:
    """True when a reference can tell documents apart: long enough, with a digit, and not a filler."""
    if printed is None:
        return False
    text = printed.strip()
    if text.casefold() in ignored:
        return False
    forms = reference(printed)
    return len(forms.block) >= 1 and len(_SEPARATORS.sub("", text)) >= min_length and any(c.isdigit() for c in text)


def _unpadded(text: str) -> str:
    return _RUN.sub(lambda run: _PADDING.sub("", run[0], count=1), text)
