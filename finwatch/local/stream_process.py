"""The streams of an embedded directory, both stages in one process: `python -m finwatch.local.stream_process`.

Differs from `finwatch stream` in what the embedded broker asks for: state is rebuilt from the raw log of the store,
and outputs wait for the slowest reader. Settings come from the environment that the stack gives.
"""

import sys
from collections.abc import Sequence

from finwatch.local.backpressure import Gate, readers
from finwatch.local.child import follow_parent
from finwatch.local.rebuild import open_history
from finwatch.runtime.config import Settings, load_settings
from finwatch.runtime.logging import configure_logging
from streams.app import run

STAGES = ("documents", "relations")
GROUPS = (*STAGES, "sink-clickhouse")
"""Groups that embedded producers wait for; a Prometheus sink may lag, as it reads a compacted topic's newest values."""


def run_embedded(stages: Sequence[str], settings: Settings) -> int:
    """Run these stages on the embedded stack that `settings` name, until told to stop; the exit code."""
    gate = Gate(settings.kafka.client_config({"log_level": 0}), readers(GROUPS))
    return run(stages, settings, history=open_history(settings), gate=gate)


def main() -> int:
    """Run both stages with the settings of the environment."""
    settings = load_settings()
    configure_logging(settings.loglevel, settings.logformat)
    follow_parent()
    return run_embedded(STAGES, settings)


if __name__ == "__main__":
    sys.exit(main())
