"""Rows captured from real servers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from producers.odoo.accounts import AccountHasher
from producers.odoo.mapping.spec import Source

VERSIONS = {"odoo17": 17, "odoo18": 18}


class Captured:
    """The rows of one server."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.version = VERSIONS[folder.name]
        self._folder = folder
        self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())["models"]
        self.source = Source("erp", "fin", self.version, AccountHasher(b"k" * 32))

    def has(self, model: str) -> bool:
        """Whether rows of a model were captured."""
        return (self._folder / f"{model}.json.gz").exists()

    def rows(self, model: str) -> list[dict[str, Any]]:
        """All rows of a model, in order of id."""
        with gzip.open(self._folder / f"{model}.json.gz", "rt", encoding="utf-8") as file:
            return sorted(json.load(file), key=lambda row: row["id"])


@pytest.fixture(scope="session", params=sorted(VERSIONS))
def server(request: pytest.FixtureRequest, data_dir: Path) -> Captured:
    """Each captured server in turn."""
    return Captured(data_dir / request.param)
