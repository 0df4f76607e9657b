"""From the commit of a change in Odoo to its event on the topic, as a reader of committed records sees it.

    python -m benchmarks.capture_latency [--changes 200] [--poll-interval 2]
    python -m benchmarks.capture_latency --hinted [--changes 200]

The source is the simulated Odoo with captured rows, the broker a real one, the producer `finwatch capture` as a process
with its sweep running. Changes are single transactions at random moments; each is timed from its commit to the moment
at which this process has read its event. Exits with 1 unless the 99th percentile is within the poll interval and 1 s.

With --hinted each change is hinted at as Odoo's webhooks do, up to 0.3 s before its commit, while polls come once in a
minute; the 99th percentile must then be within 1 s.
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
from datetime import UTC, datetime
from pathlib import Path

from finwatch.runtime.publisher import KafkaPublisher
from finwatch.runtime.topics import HINTS
from finwatch.sim import Transaction, captured
from producers.hints import Hint, encode_hint

MODEL = "purchase.order"


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description="Seconds from commit to topic.")
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--poll-interval", type=float, default=None)
    parser.add_argument("--hinted", action="store_true", help="with a hint before each commit, and polls far apart")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    options = parser.parse_args()
    interval = options.poll_interval or (60.0 if options.hinted else 2.0)
    limit = 1.0 if options.hinted else interval + 1.0
    gap = 0.5 if options.hinted else interval / 2
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
            with Capturing(folder, kafka.bootstrap, database, 4, odoo_poll_interval=str(interval)) as capturing:
                producer = capturing.start()
                eventually(lambda: any(line["event"] == "streaming" for line in producer.lines()), why=producer.said)
                capturing.captured.to_the_end()
                hints = KafkaPublisher({"bootstrap.servers": kafka.bootstrap})
                committed: dict[str, float] = {}
                open_ones: list[tuple[float, str, Transaction]] = []
                begun, at = time.monotonic(), 0.0
                number = 0
                while number < options.changes or committed or open_ones:
                    if number < options.changes and time.monotonic() - begun >= at:
                        reference, order = f"LATENCY-{number}", orders[number % len(orders)]
                        with database.lock:
                            tx = database.begin()
                            tx.write(MODEL, order, {"partner_ref": reference})
                        if options.hinted:
                            hint = Hint("erp", MODEL, order, datetime.now(UTC))
                            hints.publish(HINTS, hint.key(), encode_hint(hint))
                            hints.flush()
                        wait = chance.uniform(0, 0.3) if options.hinted else 0.0
                        open_ones.append((time.monotonic() + wait, reference, tx))
                        number += 1
                        at += chance.uniform(1.0, 2.0) * gap
                    for one in [one for one in open_ones if one[0] <= time.monotonic()]:
                        open_ones.remove(one)
                        with database.lock:
                            one[2].commit()
                        committed[one[1]] = time.monotonic()
                    before = len(capturing.captured.events)
                    capturing.captured.read(0.01)
                    now = time.monotonic()
                    for event in capturing.captured.events[before:]:
                        for value in event.content.values():
                            if isinstance(value, str) and value in committed:
                                seconds.append(now - committed.pop(value))
                    late = [one for one in committed.values() if now - one > 60 + interval]
                    if late or not producer.running:
                        sys.stderr.write(
                            f"{len(late)} changes are a minute later than they should be\n{producer.said()}"
                        )
                        return 1
        finally:
            kafka.stop()
    seconds.sort()
    p99 = seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    how = f"poll interval {interval:g} s{', hinted at' if options.hinted else ''}"
    print(f"{len(seconds)} changes, {how}: median {statistics.median(seconds):.3f} s")
    print(f"p99 {p99:.3f} s, most {seconds[-1]:.3f} s; wanted at p99: {limit:g} s")
    return 0 if p99 <= limit else 1


if __name__ == "__main__":
    raise SystemExit(main())
