"""What a company of a group inherits, and what it has of its own.

A policy file holds for the whole group. Under ``companies``, by the company's id in the source, stands what differs: a
field replaces the group's, mappings are merged name by name, clocks are merged by ``name`` and approvals by
``entity``. ``remove: true`` takes a clock, an approval or an exception type of the group away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finwatch.domain.policy.section import PolicyError

_GROUP_ONLY = frozenset({"policy", "version", "sources", "effective_from", "companies", "company_calendars"})
_LISTS = {"clocks": "name", "approvals": "entity"}
_OFF = "remove"


def inherit(group: Mapping[str, Any], own: Mapping[str, Any], path: str) -> tuple[dict[str, Any], dict[str, str]]:
    """A company's whole document, and where in the file its parts stand.

    ``group`` and ``own``: plain dicts and lists. The second answer maps paths of the result that differ (as
    ``$.clocks[2]``) to where they are written (``$.companies.2.clocks[0]``). Raises PolicyError.
    """
    found = {name: value for name, value in group.items() if name not in ("companies", "company_calendars")}
    written: dict[str, str] = {}
    for name, value in own.items():
        here = f"{path}.{name}"
        if name in _GROUP_ONLY:
            raise PolicyError(here, "only the group as a whole has this; take it out here")
        written[f"$.{name}"] = here
        if name in _LISTS:
            found[name] = _lists(found.get(name) or [], value, _LISTS[name], f"$.{name}", here, written)
        else:
            found[name] = _merged(found.get(name), value)
        if name == "calendars" and isinstance(value, Mapping):
            for calendar, section in value.items():
                if isinstance(section, Mapping) and "countries" in section:
                    found[name][calendar].pop("country_days", None)  # the group's: to be looked up anew
    return found, written


def written_at(path: str, written: Mapping[str, str]) -> str:
    """Where a path of a company's document stands in the file."""
    best = max((place for place in written if path.startswith(place)), key=len, default=None)
    return path if best is None else written[best] + path[len(best) :]


def _lists(
    group: list[Any], own: Any, identity: str, place: str, here: str, written: dict[str, str]
) -> list[dict[str, Any]]:
    if not isinstance(own, list) or not all(isinstance(one, Mapping) for one in own):
        raise PolicyError(here, f"a list wanted, each with its {identity}")
    found = [dict(one) for one in group]
    for i, one in enumerate(own):
        name = one.get(identity)
        if name is None:
            raise PolicyError(f"{here}[{i}]", f"{identity} is missing: it says which of the group's this changes")
        at = next((k for k, known in enumerate(found) if known.get(identity) == name), None)
        if one.get(_OFF) is True:
            if at is None:
                raise PolicyError(f"{here}[{i}]", f"the group has none with {identity} {name!r} to take away")
            del found[at]
            continue
        if at is None:
            found.append(dict(one))
            at = len(found) - 1
        else:
            found[at] = {**found[at], **one}
        written[f"{place}[{at}]"] = f"{here}[{i}]"
    return found


def _merged(group: Any, own: Any) -> Any:
    if not isinstance(group, Mapping) or not isinstance(own, Mapping):
        return own
    found = dict(group)
    for name, value in own.items():
        if isinstance(value, Mapping) and value.get(_OFF) is True:
            found.pop(name, None)
        else:
            found[name] = _merged(found.get(name), value)
    return found
