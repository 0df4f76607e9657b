"""Run a service in the foreground until a signal asks it to stop."""

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from finwatch.runtime.config import Settings


def stop_on_signals() -> threading.Event:
    """An event that SIGINT and SIGTERM set; a second SIGINT ends the process at once."""
    stop = threading.Event()

    def ask(number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    signal.signal(signal.SIGINT, ask)
    signal.signal(signal.SIGTERM, ask)
    return stop


def serve(run: Callable[[Settings, threading.Event], None], embedded: Path | None) -> None:
    """Configure logging and run `run(settings, stop)` until it returns or a signal comes."""
    from finwatch.local.access import settings_for
    from finwatch.runtime.logging import configure_logging

    settings = settings_for(embedded)
    configure_logging(settings.loglevel, settings.logformat)
    run(settings, stop_on_signals())
