"""Whether the difference between two references is one that hands and readers make.

A finger lands on a neighbouring key, of the keyboard or of the keypad; two neighbours are swapped; a character is left
out, doubled, or comes in with its neighbour's key; a reader takes one shape for another (Damerau 1964, Kukich 1992).
Numbers that a vendor gave to two bills differ in any digit alike.
"""

from __future__ import annotations

from functools import lru_cache

_ROWS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")
_KEYPAD = ("789", "456", "123")
_SHAPES = ("0o8d6q9", "1il7", "2z7", "38b", "49a", "5s6", "6gb", "ef", "uv", "nm", "cg", "vy", "pr", "hn", "17")


def _close() -> frozenset[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for rows in (_ROWS, _KEYPAD):
        places = {key: (x, y) for y, row in enumerate(rows) for x, key in enumerate(row)}
        for one, (x, y) in places.items():
            found.update((one, other) for other, (u, v) in places.items() if abs(x - u) <= 1 and abs(y - v) <= 1)
    found.update((one, other) for shape in _SHAPES for one in shape for other in shape)
    return frozenset((one, other) for one, other in found if one != other)


_CLOSE = _close()


@lru_cache(maxsize=65_536)
def likely(one: str, other: str) -> bool:
    """Whether two texts (case folded, letters and digits) differ as slips make them differ. Symmetrical."""
    begin = 0
    shorter = min(len(one), len(other))
    while begin < shorter and one[begin] == other[begin]:
        begin += 1
    end = 0
    while end < shorter - begin and one[-1 - end] == other[-1 - end]:
        end += 1
    a, b = one[begin : len(one) - end], other[begin : len(other) - end]
    if len(a) != len(b):
        return True  # something was left out, or came in
    if len(a) == 2 and a == b[::-1]:
        return True
    return all(x == y or (x, y) in _CLOSE for x, y in zip(a, b, strict=True))
