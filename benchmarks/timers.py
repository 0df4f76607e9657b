"""Open clocks with no traffic: how late deadlines fire, and what waiting costs.

    python -m benchmarks.timers [--clocks 100000] [--firing 1000] [--seconds 60] [--partitions 12] [--bootstrap H:P]

A real worker (`finwatch stream documents` in a process of its own) on a real broker. First the clocks are started: one
expense report each, in a live source. All have days to go but `--firing` of them, which come due one after the other in
`--seconds` of silence: nothing is produced from then on. Lateness is measured from the due time in the finding to the
broker's time stamp on it; it includes the second of lateness that is allowed to live sources. CPU is the whole worker's
(librdkafka's threads, checkpoints and KPIs included) over those seconds, as a share of one core.

Goals: p99 under 2 s, CPU under 10 % of a core. Without --bootstrap it starts a Kafka 4.1 broker of its own (Java).
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import confluent_kafka as ck

from benchmarks.streams import broker
from finwatch.runtime.topics import FINDING, entity_topic
from tests.parts.pipeline import Commands, described, eventually, new_topics, wait_stored
from tests.parts.records import transition

TARGET = timedelta(hours=1)
POLICY = f"""
policy: quick
version: "1"
sources: [live]
calendars:
  always: {{time_zone: UTC, business_day: 24 hours, week: {{monday: "00:00-24:00"}}}}
calendar: always
clocks:
  - name: quick
    entity: expense_report
    target: {TARGET.total_seconds():.0f} seconds
    warnings: []
    start: [{{activity: submitted}}]
    stop: [{{activity: approved}}]
"""
_TICK = os.sysconf("SC_CLK_TCK")


def start_clocks(bootstrap: str, first: int, dues: list[datetime]) -> None:
    """One report each, numbered from ``first``, submitted so long ago that it is due when it should be."""
    producer = ck.Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "linger.ms": 50,
            "queue.buffering.max.messages": 1_000_000,
            "log_level": 0,
        }
    )
    seen = datetime.now(UTC)
    topic = entity_topic("expense_report")
    for number, due in enumerate(dues, first):
        key = f"live:expense_report:{number}"
        value = transition(
            number, number, source="live", document_key=key, correlation_id=key, occurred_at=due - TARGET,
            observed_at=seen, timeline="wall", activity="submitted", step=None, role=None, decision=None,
        )  # fmt: skip
        producer.produce(topic, value, key.encode())
        producer.poll(0)
    if producer.flush(120):
        raise SystemExit("the broker did not take all clocks")


def cpu_seconds(pid: int) -> float:
    """CPU time of a process with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def measure(bootstrap: str, clocks: int, firing: int, seconds: float, partitions: int, folder: Path) -> dict[str, Any]:
    """Run the worker and return the figures."""
    folder.mkdir(parents=True)
    policy = folder / "quick.yaml"
    policy.write_text(POLICY)
    with Commands(folder, new_topics(bootstrap, partitions)) as commands:
        worker = commands.start("stream", "documents", policy=str(policy))
        far = datetime.now(UTC) + timedelta(minutes=55)
        began = time.monotonic()
        start_clocks(bootstrap, 0, [far + timedelta(milliseconds=n) for n in range(clocks - firing)])
        wait_stored(commands, groups=("documents",), seconds=600)
        loaded = time.monotonic() - began
        # Those that come due: a few seconds ahead, so that they are known before the first of them is.
        first = datetime.now(UTC) + timedelta(seconds=15)
        dues = [first + timedelta(seconds=seconds * n / firing) for n in range(firing)]
        start_clocks(bootstrap, clocks - firing, dues)
        wait_stored(commands, groups=("documents",), seconds=600)
        assert datetime.now(UTC) < first, "the clocks were not known in time: a slower machine needs a longer lead"
        time.sleep(max(0.0, (first - datetime.now(UTC)).total_seconds()))
        before, wall = cpu_seconds(worker.process.pid), time.monotonic()
        time.sleep(seconds)
        cpu = (cpu_seconds(worker.process.pid) - before) / (time.monotonic() - wall)

        def fired() -> list[dict[str, Any]]:
            found = [one for one in described(bootstrap, FINDING) if one["status"] == "open"]
            return found if len(found) >= firing else []

        found = eventually(fired, 60)
        late = sorted(one["$written"] - datetime.fromisoformat(one["due_at"]).timestamp() for one in found)
        return {
            "clocks": clocks,
            "fired": len(found),
            "loaded_seconds": loaded,
            "p50": statistics.median(late),
            "p99": late[int(len(late) * 0.99)],
            "max": late[-1],
            "cpu": cpu,
            "resident_mb": resident_mb(worker.process.pid),
        }


def main() -> None:
    """Parse options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clocks", type=int, default=100_000)
    parser.add_argument("--firing", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--bootstrap", default="")
    options = parser.parse_args()
    with broker(options.bootstrap) as bootstrap, tempfile.TemporaryDirectory(prefix="finwatch-timers-") as folder:
        found = measure(
            bootstrap, options.clocks, options.firing, options.seconds, options.partitions, Path(folder) / "run"
        )
    print(
        f"{found['clocks']:,} open clocks on {options.partitions} partitions, loaded in "
        f"{found['loaded_seconds']:.0f} s; {found['fired']:,} fired in {options.seconds:.0f} s of silence"
    )
    print(
        f"lateness   p50 {found['p50']:.2f} s, p99 {found['p99']:.2f} s, max {found['max']:.2f} s (goal: p99 under 2 s)"
    )
    print(f"CPU        {found['cpu']:.1%} of a core (goal: under 10 %)")
    print(f"memory     {found['resident_mb']:.0f} MB resident")


if __name__ == "__main__":
    main()
