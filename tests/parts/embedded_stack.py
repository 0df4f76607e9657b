"""The embedded stack alone, as a process that a test can kill: `python -m tests.parts.embedded_stack DIR [POLICY]`.

Runs until standard input is closed or SIGTERM; others reach it by its directory.
"""

from __future__ import annotations

import sys
from pathlib import Path

from finwatch.cli.serving import stop_on_signals
from finwatch.local.embedded import open_embedded


def main() -> int:
    """Open the directory and hold it open."""
    directory, *policy = (Path(argument) for argument in sys.argv[1:])
    stop = stop_on_signals()
    with open_embedded(directory, policy=policy[0] if policy else None) as (stack, _settings):
        stack.wait(stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
