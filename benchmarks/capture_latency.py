"""From the commit of a change in Odoo to its event on the topic, as a reader of committed records sees it.

    python -m benchmarks.capture_latency [--changes 200] [--poll-interval 2]

The source is the simulated Odoo with captured rows, the broker a real one, the producer `finwatch capture` as a process
with its sweep running. Changes are single transactions at random moments; each is timed from its commit to the moment
at which this process has read its event. Exits with 1 unless the 99th percentile is within the poll interval and 1 s.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from finwatch.sim import captured

MODEL = "purchase.order"


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description="Seconds from commit to topic.")
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--poll-interval", type=float, default=2.0)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    options = parser.parse_args()
    from tests.parts.capture import Capturing
    from tests.parts.kafka import Kafka
    from tests.parts.pipeline import eventually

    chance = random.Random(7)
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kafka = Kafka(folder / "kafka")
        kafka.start()
        try:
            database = captured("odoo18", options.data)
            orders = database.tables[MODEL].ids  # in turn: one written twice before it is read would be one change
            with Capturing(
                folder, kafka.bootstrap, database, 4, odoo_poll_interval=str(options.poll_interval)
            ) as capturing:
                producer = capturing.start()
                eventually(lambda: any(line["event"] == "streaming" for line in producer.lines()), why=producer.said)
                capturing.captured.to_the_end()
                committed: dict[str, float] = {}
                begun, at = time.monotonic(), 0.0
                number = 0
                while number < options.changes or committed:
                    if number < options.changes and time.monotonic() - begun >= at:
                        reference = f"LATENCY-{number}"
                        with database.lock:
                            tx = database.begin()
                            tx.write(MODEL, orders[number % len(orders)], {"partner_ref": reference})
                            tx.commit()
                        committed[reference] = time.monotonic()
                        number += 1
                        at += chance.uniform(1.0, 2.0) * options.poll_interval / 2
                    before = len(capturing.captured.events)
                    capturing.captured.read(0.01)
                    now = time.monotonic()
                    for event in capturing.captured.events[before:]:
                        for value in event.content.values():
                            if isinstance(value, str) and value in committed:
                                seconds.append(now - committed.pop(value))
                    late = [one for one in committed.values() if now - one > 60]
                    if late or not producer.running:
                        sys.stderr.write(
                            f"{len(late)} changes are not on their topic after a minute\n{producer.said()}"
                        )
                        return 1
        finally:
            kafka.stop()
    seconds.sort()
    p99 = seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))]
    limit = options.poll_interval + 1.0
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(
        f"{len(seconds)} changes, poll interval {options.poll_interval:g} s: median {statistics.median(seconds):.3f} s"
    )
    print(f"p99 {p99:.3f} s, most {seconds[-1]:.3f} s; wanted at p99: {limit:g} s")
    return 0 if p99 <= limit else 1


if __name__ == "__main__":
    raise SystemExit(main())
