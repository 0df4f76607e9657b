"""All that is wrong with a policy file at once, where reading it stops at the first.

What is wrong is told, then taken out or put right in a copy, and the copy is read again. An error that is only there
because of what was taken out is not told: better one too few than one that the file does not have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from finwatch.domain.policy.compiled import parse_policy
from finwatch.domain.policy.section import PolicyError

MOST = 100
"""A file with more wrong than this is another kind of file: the rest is told when these are mended."""

_STEP = re.compile(r"\.[^.\[\]]+|\[\d+\]")
_MISSING = re.compile(r"missing required field `([^`]+)`")
_ONE_OF = re.compile(r"(?:write one of|; known:) ([^,;]+)")
_OUT = object()


def mistakes(raw: object) -> list[PolicyError]:
    """Everything that is wrong with the content of a policy file (plain dicts and lists), as it was found.

    Paths are those of the content. Empty for a policy that can be used; of one that cannot there is at least one.
    """
    found: list[PolicyError] = []
    put: dict[str, Any] = {}  # by path of the content: what stands there instead, or _OUT
    while len(found) < MOST:
        places: dict[str, str] = {}
        try:
            parse_policy(_copy(raw, put, "$", "$", places))
        except PolicyError as error:
            path = _written(error.path, places)
            if not _follows(path, error.message, put):
                found.append(PolicyError(path, error.message))
            if not _mend(raw, path, error.message, put):
                break
        else:
            break
    return found


def _mend(raw: Any, path: str, message: str, put: dict[str, Any]) -> bool:
    """Put something right, or out, so that the same error does not come again. False when nothing is left to do."""
    steps = _STEP.findall(path)
    while steps:
        place = "$" + "".join(steps)
        there, value = _at(raw, steps)
        if there and put.get(place) is not _OUT:
            put[place] = _OUT if place in put else _instead(value, message)
            return True
        steps.pop()
    missing = _MISSING.search(message)
    if missing is not None and missing[1] in ("policy", "version") and f"$.{missing[1]}" not in put:
        put[f"$.{missing[1]}"] = "x"  # the file's own name: all else can be read without it
        return True
    return False


def _instead(value: Any, message: str) -> Any:
    """A value of the right kind where one is easily had: what it stands in is then read on."""
    if "duration" in message or "plain hours" in message:
        return "8 hours"
    if "Expected `str" in message and isinstance(value, int | float):
        return str(value)
    one = _ONE_OF.search(message) if isinstance(value, str) else None
    return _OUT if one is None else one[1].strip()


def _follows(path: str, message: str, put: Mapping[str, Any]) -> bool:
    """Whether an error may be there only because of what stands otherwise in the copy."""
    if path in put:
        return True
    if "no calendar is named" in message and any(place.startswith("$.calendars") for place in put):
        return True
    inherited = re.match(r"\$\.companies\.[^.\[\]]+(\.[^.\[\]]+)", path)
    if inherited is not None and any(place.startswith("$" + inherited[1]) for place in put):
        return True
    missing = _MISSING.search(message)
    if missing is not None:
        return f"{path}.{missing[1]}" in put
    parent, wrong = path.rpartition(".")[0], message.partition(";")[0]  # behind it stands what else there could be
    return any(
        place.startswith((f"{path}.", f"{path}["))
        or (place.startswith(f"{parent}.") and re.split(r"[.\[]", place[len(parent) + 1 :])[0] in wrong)
        for place in put
    )


def _copy(node: Any, put: Mapping[str, Any], here: str, there: str, places: dict[str, str]) -> Any:
    """The content with what stands instead; ``places``: items of lists by their paths in the copy, to their own."""
    if here in put:
        return put[here]
    if isinstance(node, dict):
        found = {name: _copy(value, put, f"{here}.{name}", f"{there}.{name}", places) for name, value in node.items()}
        if here == "$":
            found |= {name: put[f"$.{name}"] for name in ("policy", "version") if f"$.{name}" in put}
        return {name: value for name, value in found.items() if value is not _OUT}
    if isinstance(node, list):
        kept: list[Any] = []
        for i, item in enumerate(node):
            place = f"{there}[{len(kept)}]"
            part = _copy(item, put, f"{here}[{i}]", place, places)
            if part is not _OUT:
                kept.append(part)
                places[place] = f"{here}[{i}]"
        return kept
    return node


def _written(path: str, places: Mapping[str, str]) -> str:
    """A path of the copy, as a path of the content."""
    copy = here = "$"
    for step in _STEP.findall(path):
        copy += step
        here = places.get(copy, here + step)
    return here


def _at(node: Any, steps: list[str]) -> tuple[bool, Any]:
    """Whether something stands at a path of the content, and what."""
    for step in steps:
        if step.startswith("["):
            if not isinstance(node, list) or int(step[1:-1]) >= len(node):
                return False, None
            node = node[int(step[1:-1])]
        else:
            found = [value for name, value in node.items() if str(name) == step[1:]] if isinstance(node, dict) else []
            if not found:
                return False, None
            node = found[0]
    return True, node
