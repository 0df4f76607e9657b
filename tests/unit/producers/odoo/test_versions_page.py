"""docs/odoo-versions.md: the fields that it says are read of some versions only are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from producers.odoo.mapping import MAPPINGS
from producers.odoo.mapping.spec import FIRST_VERSION, LAST_VERSION

VERSIONS = range(FIRST_VERSION, LAST_VERSION + 1)
PAGE = Path(__file__).resolve().parents[4] / "docs" / "odoo-versions.md"


def in_code() -> dict[str, tuple[frozenset[str], ...]]:
    """By model: what is read of each version and not of all of those that have the model."""
    found: dict[str, tuple[frozenset[str], ...]] = {}
    for mapping in MAPPINGS:
        parts = [(f"`{mapping.model}`", mapping.fields)]
        parts += [
            (f"`{one.model}`" + (f" in `{mapping.model}`" if mapping.until else ""), one.fields)
            for one in mapping.children
        ]
        parts += [(f"`{one.model}` of `{mapping.model}`", one.fields) for one in mapping.joined]
        for name, fields in parts:
            read = {version: frozenset(fields.of(version)) for version in VERSIONS if mapping.serves(version)}
            every = frozenset.intersection(*read.values())
            if any(one - every for one in read.values()):
                found[name] = tuple(read.get(version, every) - every for version in VERSIONS)
    return found


def in_page() -> dict[str, tuple[frozenset[str], ...]]:
    rows = [line.strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return {
        cells[0].strip(): tuple(frozenset(re.findall(r"`([^`]+)`", cell)) for cell in cells[1:4])
        for cells in rows
        if len(cells) == 5
    }


def test_the_page_names_every_field_of_some_versions_only() -> None:
    assert in_page() == in_code()
    assert len(in_code()) > 10
