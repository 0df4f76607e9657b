"""How people and scanners get a reference, a date or a name wrong.

Sources:
- F. J. Damerau, "A technique for computer detection and correction of spelling errors", CACM 7(3), 1964: over 80 % of
  wrong words hold a single error: a wrong, a missing or an extra character, or two neighbours swapped. Hence one error
  in 80 % of the mistyped references and two in the rest.
- J. Verhoeff, "Error Detecting Decimal Codes", Mathematical Centre Tracts 29, 1969: of people's errors in numbers
  60-95 % are one wrong digit, 10-20 % two neighbours swapped, 10-20 % a digit left out or added. Hence ``KINDS``.
- K. Kukich, "Techniques for automatically correcting words in text", ACM Computing Surveys 24(4), 1992: what is typed
  wrong is mostly a neighbour on the keyboard, what is read wrong by machine a look-alike. Hence the two tables. Their
  shares (60 to 40) are ours: bills are both typed and scanned.
"""

from __future__ import annotations

from random import Random

SINGLE_ERROR = 0.80
KINDS = (("substitute", 0.70), ("transpose", 0.12), ("delete", 0.10), ("insert", 0.08))
TYPED = 0.60

_ROWS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")
_KEYPAD = ("789", "456", "123")
_LOOK_ALIKE = {
    "0": "O86", "1": "Il7", "2": "Z7", "3": "8", "4": "9", "5": "S6", "6": "G8b", "7": "1", "8": "B3", "9": "g4",
    "O": "0Q", "I": "1l", "l": "1I", "S": "5", "B": "8", "Z": "2", "G": "6C", "Q": "O", "D": "O", "E": "F", "F": "E",
    "U": "V", "V": "U", "N": "M", "M": "N", "C": "G",
}  # fmt: skip


def _neighbours() -> dict[str, str]:
    near: dict[str, set[str]] = {}
    for rows in (_ROWS, _KEYPAD):
        for y, row in enumerate(rows):
            for x, key in enumerate(row):
                for other_y in (y - 1, y, y + 1):
                    if not 0 <= other_y < len(rows):
                        continue
                    for other_x in (x - 1, x, x + 1):
                        if 0 <= other_x < len(rows[other_y]) and rows[other_y][other_x] != key:
                            near.setdefault(key, set()).add(rows[other_y][other_x])
    return {key: "".join(sorted(others)) for key, others in near.items()}


_NEAR = _neighbours()


def _wrong(character: str, random: Random) -> str:
    table = _NEAR if random.random() < TYPED else _LOOK_ALIKE
    others = table.get(character) or table.get(character.lower()) or _NEAR.get(character.lower(), "0")
    found = random.choice(others)
    return found.upper() if character.isupper() else found


def mistyped(reference: str, random: Random) -> str:
    """The reference with one error, or two; never the same text."""
    found = reference
    while found == reference:
        found = reference
        for _ in range(1 if random.random() < SINGLE_ERROR else 2):
            places = [n for n, c in enumerate(found) if c.isalnum()]
            n = random.choice(places)
            kind = random.choices([k for k, _ in KINDS], [w for _, w in KINDS])[0]
            if kind == "substitute":
                found = found[:n] + _wrong(found[n], random) + found[n + 1 :]
            elif kind == "transpose" and n + 1 < len(found):
                found = found[:n] + found[n + 1] + found[n] + found[n + 2 :]
            elif kind == "delete" and len(places) > 2:
                found = found[:n] + found[n + 1 :]
            else:
                found = found[:n] + (found[n] if random.random() < 0.5 else _wrong(found[n], random)) + found[n:]
    return found


def reformatted(reference: str, random: Random) -> str:
    """The same reference as somebody else writes it; never the same text."""
    ways = ("separators", "no separators", "spaces", "zeros", "case", "letters", "prefix")
    found = reference
    while found == reference:
        found = reference
        for way in random.sample(ways, random.choice((1, 1, 2))):
            if way == "separators":
                new = random.choice("-/. ")
                found = "".join(c if c.isalnum() else new for c in found)
            elif way == "no separators":
                found = "".join(c for c in found if c.isalnum())
            elif way == "spaces":
                n = random.randrange(len(found) + 1)
                found = found[:n] + " " + found[n:]
            elif way == "zeros":
                digits = next((n for n, c in enumerate(found) if c.isdigit()), 0)
                found = found[:digits] + (found[digits:].lstrip("0") if found[digits] == "0" else "00" + found[digits:])
            elif way == "case":
                found = found.lower() if found != found.lower() else found.upper()
            elif way == "letters":
                for right, wrong in (("0", "O"), ("1", "l"), ("5", "S"), ("8", "B")):
                    if right in found and random.random() < 0.5:
                        found = found.replace(right, wrong, 1)
            else:
                prefix = random.choice(("INV ", "No. ", "FACT ", "Nr "))
                found = prefix + found
    return found
