"""The whole embedded product on one directory: broker, store with its sink, both stages; and when it has caught up."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from finwatch.local.access import settings_for
from finwatch.local.backpressure import Gate, Positions, backlog, readers
from finwatch.local.services import CLICKHOUSE_SINK
from finwatch.local.stack import Child, EmbeddedStack
from finwatch.runtime.config import Settings

GROUPS = ("documents", "relations", "sink-clickhouse")
PAUSE = 0.1


@contextmanager
def open_embedded(
    directory: Path, *, partitions: int | None = None, policy: Path | None = None, lateness: float | None = None
) -> Iterator[tuple[EmbeddedStack, Settings]]:
    """The stack of `directory` with sink and streams, running until the block ends.

    `policy`: a policy file for the streams; `lateness`: allowed lateness in seconds, other than the configured one.
    Raises DirectoryInUse, StackError, BrokerUnavailable; see `finwatch.local.stack`.
    """
    environment = {"FINWATCH_POLICY": str(policy.resolve())} if policy is not None else {}
    if lateness is not None:
        environment["FINWATCH_STREAM_LATENESS_SECONDS"] = str(lateness)
    streams = Child("streams", _python("finwatch.local.stream_process"), order=20, environment=environment)
    with EmbeddedStack(directory, services=(CLICKHOUSE_SINK,), children=(streams,), partitions=partitions) as stack:
        yield stack, settings_for(directory)


def producer_gate(settings: Settings) -> Gate:
    """Back-pressure for a producer of entity topics on the embedded broker."""
    return Gate(settings.kafka.client_config({"log_level": 0}), readers(GROUPS))


def wait_until_stored(
    stack: EmbeddedStack,
    settings: Settings,
    stop: threading.Event,
    progress: Callable[[str, int], None] | None = None,
) -> bool:
    """Wait until every stage has applied, and the store holds, all that was published; False when stopped.

    `progress(group, records)` is told whom it waits for. Nothing may be produced meanwhile. Raises StackError when a
    part of the stack ends.
    """
    positions = Positions(settings.kafka.client_config({"log_level": 0}))
    try:
        while not stop.is_set():
            stack.check()
            behind = backlog(positions, GROUPS)
            if behind is None:
                return True
            if progress is not None:
                progress(*behind)
            stop.wait(PAUSE)
        return False
    finally:
        positions.close()


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module)
