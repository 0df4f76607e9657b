"""Writes the shipped field definitions from captured metadata: `python -m finwatch.sim.fielddata DATA_DIR`.

DATA_DIR holds `odoo17` and `odoo18` with `meta.json`, `ir.model.fields.json.gz` and `mail.message.json.gz`. The
result is byte for byte reproducible; a contract test fails when the committed copy is stale.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

FOLDERS = {"17.0": "odoo17", "18.0": "odoo18"}


def build(folder: Path) -> bytes:
    """The gzipped JSON for one captured server."""
    meta = json.loads((folder / "meta.json").read_text("utf-8"))
    rows = _rows(folder, "ir.model.fields")
    subtypes = {}
    for message in _rows(folder, "mail.message"):
        if message["subtype_id"]:
            subtypes[message["subtype_id"][1]] = message["subtype_id"][0]
    data = {
        "version": meta["version"],
        "models": {name: model["fields"] for name, model in sorted(meta["models"].items())},
        "field_rows": rows,
        "subtypes": dict(sorted(subtypes.items())),
    }
    text = json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return gzip.compress(text.encode("utf-8"), compresslevel=9, mtime=0)


def _rows(folder: Path, model: str) -> list[dict[str, Any]]:
    with gzip.open(folder / f"{model}.json.gz", "rt", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = json.load(file)
    return rows


def main(arguments: list[str]) -> int:
    """Write both files beside this module."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m finwatch.sim.fielddata DATA_DIR\n")
        return 2
    target = Path(__file__).parent / "data"
    target.mkdir(exist_ok=True)
    for version, folder in FOLDERS.items():
        (target / f"fields_{version}.json.gz").write_bytes(build(Path(arguments[0]) / folder))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
