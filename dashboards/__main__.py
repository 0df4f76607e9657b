"""`python -m dashboards build` writes every generated file; `check` says which ones are stale and exits with 1."""

from __future__ import annotations

import sys
from pathlib import Path

from dashboards.files import build, stale

ROOT = Path(__file__).resolve().parent.parent
USAGE = "usage: python -m dashboards build|check\n"


def main(arguments: list[str]) -> int:
    """Run one verb; returns the exit code (0 fine, 1 stale, 2 wrong use)."""
    if arguments == ["build"]:
        for path in build(ROOT):
            sys.stdout.write(f"wrote {path}\n")
        return 0
    if arguments == ["check"]:
        found = stale(ROOT)
        for path in found:
            sys.stderr.write(f"stale: {path} (run: python -m dashboards build)\n")
        return 1 if found else 0
    sys.stderr.write(USAGE)
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
