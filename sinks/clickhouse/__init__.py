"""The ClickHouse sink: every record of every finance topic, once, with the tables that analysts read.

Owns: the store's tables and views (`migrations/`), the order of inserts that makes them exact (`plan`), what a record
becomes in each table (`rows`), and the position: `max(offset) + 1` of `raw_log` in this life of the log.
Does not own: the topics, the schemas, the meaning of any record; Kafka's committed offsets are for lag displays and
for the embedded producers' back-pressure only, never the position.
"""

import threading
from collections.abc import Callable
from typing import Any

from finwatch.runtime.config import Settings


def run(settings: Settings, stop: threading.Event, client: Callable[[], Any] | None = None) -> None:
    """Run the sink until `stop` is set; usable as a process or as a thread of the process that owns the store.

    `client` makes clickhouse-connect clients where `settings.clickhouse` is not the way, as in the process that owns an
    embedded store.

    Raises SinkStopped (with an exit code and what to do) when it must not go on: records were deleted by the broker
    before they were stored, or the log is shorter than what the store holds.
    """
    from sinks.clickhouse.sink import run as run_sink

    run_sink(settings, stop, client)
