"""A ClickHouse sink in a process of its own that may kill itself at any insert.

Arguments: BOOTSTRAP PATH SEED CHANCE.
CHANCE: probability of SIGKILL just before, and just after, each insert. Prints `ready` once the sink reads.
"""

import os
import random
import signal
import sys
import threading
from pathlib import Path

from finwatch.runtime.config import load_settings
from finwatch.runtime.logging import configure_logging
from sinks.clickhouse.rows import Insert
from sinks.clickhouse.sink import Sink
from sinks.clickhouse.table_store import TableStore


def main() -> None:
    bootstrap, path, seed, chance = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    draw = random.Random(seed)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    insert = TableStore.insert

    def deadly(store: TableStore, what: Insert) -> None:
        if draw.random() < chance:
            os.kill(os.getpid(), signal.SIGKILL)
        insert(store, what)
        if draw.random() < chance:
            os.kill(os.getpid(), signal.SIGKILL)

    TableStore.insert = deadly  # type: ignore[method-assign]
    configure_logging("warning", "json")
    settings = load_settings(
        kafka={"bootstrap": bootstrap},
        clickhouse={"path": path},
        # Small batches: many inserts to die in.
        sink={"linger_seconds": 0.02, "max_rows": 250},
        incarnation="life-1",
    )
    sink = Sink(settings, stop)

    def announce() -> None:
        while sink.metrics.registry.get_sample_value("finwatch_sink_resumes_total") is None:
            stop.wait(0.01)
        print("ready", flush=True)

    threading.Thread(target=announce, daemon=True).start()
    sink.run()


if __name__ == "__main__":
    main()
