"""What one version of a policy says otherwise than another, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from finwatch.domain.policy.compiled import Policy

_IDENTITY = {"clocks": "name", "approvals": "entity"}
_SINGULAR = {
    "clocks": "clock",
    "approvals": "approval of",
    "exceptions": "exception",
    "calendars": "calendar",
    "companies": "company",
    "closed": "closed",
    "company_calendars": "calendar of company",
}
_MOST = 60


def differences(old: Policy, new: Policy) -> list[str]:
    """One line for each thing that differs, in the order of the file; empty when nothing does."""
    one, other = (msgspec.to_builtins(policy.document, str_keys=True) for policy in (old, new))
    found: list[str] = []
    for name in new.document.__struct_fields__:
        before, after = one.get(name), other.get(name)
        if before == after:
            continue
        if name in _SINGULAR:
            found += _entries(_SINGULAR[name], _by_name(before, name), _by_name(after, name))
        else:
            found += _changed(name, before, after)
    return found


def _by_name(value: Any, section: str) -> Mapping[str, Any]:
    if isinstance(value, list):
        return {entry[_IDENTITY[section]]: entry for entry in value}
    return value or {}


def _entries(word: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in before:
        if name not in after:
            yield f"{word} {name}: taken out"
    for name, value in after.items():
        if name not in before:
            yield f"{word} {name}: new{_first(value)}"
        elif before[name] != value:
            yield from _changed(f"{word} {name}", before[name], value)


def _changed(path: str, before: Any, after: Any) -> Iterator[str]:
    """Differences of two values below ``path``."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in [*before, *(n for n in after if n not in before)]:
            if before.get(name) != after.get(name):
                yield from _changed(f"{path}, {name}", before.get(name), after.get(name))
    elif isinstance(before, list) and isinstance(after, list):
        gone = [one for one in before if one not in after]
        come = [one for one in after if one not in before]
        said = [f"without {_text(one)}" for one in gone] + [f"with {_text(one)}" for one in come]
        yield f"{path}: {', '.join(said)}" if said else f"{path}: in another order"
    elif before in (None, "", [], {}):
        yield f"{path}: {_text(after)}, where there was nothing"
    elif after in (None, "", [], {}):
        yield f"{path}: nothing, where there was {_text(before)}"
    else:
        yield f"{path}: {_text(after)}, before {_text(before)}"


def _first(value: Any) -> str:
    """What is most worth knowing of a new entry."""
    if isinstance(value, Mapping):
        said = [
            f"{name} {_text(value[name])}" for name in ("entity", "target", "severity", "time_zone") if name in value
        ]
        return f" ({', '.join(said)})" if said else ""
    return f" ({_text(value)})"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_text(v)}" for k, v in value.items() if v not in (None, "", [], {})) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_text(one) for one in value[:_MOST]) + (", ...]" if len(value) > _MOST else "]")
    return str(value).lower() if isinstance(value, bool) else str(value)
