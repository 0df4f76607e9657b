"""Restoring a million open documents: from a worker's start to being caught up, and the memory it takes.

The state topic is filled with rows of real kinds: the documents that a generated company leaves open
(benchmarks/company.py), copied under other record ids to the number wanted, as one checkpoint of each partition. Then
new events wait on the input. Measured is a worker in a process of its own: from its start until every partition is
restored and every event is in a checkpoint; beside it a bare loop that reads the same state topic and holds its rows in
a dict.

    python -m benchmarks.restore [--documents 1000000] [--events 10000] [--partitions 4] [--bootstrap HOST:PORT]

Without --bootstrap it starts a Kafka 4.1 broker of its own (Java and Maven needed).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any
from zlib import crc32

import confluent_kafka as ck

from benchmarks.company import encoded, records
from benchmarks.streams import LATENESS_SECONDS, ROOT, broker, make_topics

TOPIC = "finance.bill.v1"
_SHIFT = 1_000_000_000


def open_rows() -> list[tuple[str, bytes]]:
    """Rows of bills that one company leaves open, in stored form, with their timers."""
    from finwatch.runtime.config import load_settings
    from schemas.codec import Decoder
    from schemas.registry import EmbeddedRegistry
    from streams.app import stages_of
    from streams.partition import Counts, Partition, Processor
    from streams.rows import RowStore, unpack_row

    (stage,) = stages_of(["documents"], load_settings())
    processor, decoder = Processor(stage), Decoder(EmbeddedRegistry())
    rows = RowStore(LATENESS_SECONDS * 1_000_000)
    part = Partition(stage, (TOPIC, 0), 1, rows, 0, lambda record: b"", lambda topic, value, key: None, Counts())
    values = [value for topic, _, value, _ in records(encoded(30_000)) if topic == TOPIC]
    for start in range(0, len(values), 5000):
        run = values[start : start + 5000]
        events = decoder.decode(run, processor.projections)
        processor.apply(part, events, range(len(run)), lambda index: (b"", b"", 0))
    found = [(key, value) for key, value in rows.take_changes(1) if key.startswith("d:")]
    return [(key, value) for key, value in found if unpack_row(value)[1] is not None]


def copies(rows: list[tuple[str, bytes]], number: int) -> Iterator[tuple[str, bytes]]:
    """That many rows, each under a document of its own."""
    for copy in range(-(-number // len(rows))):
        for key, value in rows[: number - copy * len(rows)]:
            head, _, record = key.rpartition(":")
            yield f"{head}:{int(record) + copy * _SHIFT}", value


def fill(bootstrap: str, partitions: int, documents: int, events: int) -> int:
    """Write the state and the waiting events; return the bytes of the state."""
    import msgspec

    from finwatch.runtime.topics import state_topic
    from streams.checkpoint import Branch
    from streams.rows import TIMES_KEY, pack_row
    from streams.timeline import SourceTimes

    producer = ck.Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "queue.buffering.max.messages": 1_000_000})

    def send(topic: str, key: bytes, value: bytes, partition: int) -> None:
        while True:
            try:
                producer.produce(topic, value, key, partition)
                return
            except BufferError:
                producer.poll(0.1)

    state, size = state_topic("documents"), 0
    branches = [Branch(TOPIC, checkpoint=1) for _ in range(partitions)]
    counts = [0] * partitions
    for key, value in copies(open_rows(), documents):
        partition = crc32(key.encode()) % partitions
        counts[partition] += 1
        for record_key, record in branches[partition].row_records([(key, value)]):
            size += len(record_key) + len(record)
            send(state, record_key, record, partition)
    times = pack_row(1, None, msgspec.msgpack.encode(SourceTimes({"demo": 1}, [])))
    for partition, branch in enumerate(branches):
        for record_key, record in branch.row_records([(TIMES_KEY, times)]):
            send(state, record_key, record, partition)
        send(state, *branch.commit_record(0, counts[partition] + 1), partition)
    bills = (record for record in records(encoded(30_000)) if record[0] == TOPIC)
    for number, (topic, key, value, _) in zip(range(events), bills, strict=False):
        send(topic, key, value, number % partitions)
    producer.flush()
    return size


def bare(bootstrap: str) -> Mapping[str, Any]:
    """Read the state topic into a dict."""
    from finwatch.runtime.topics import state_topic
    from streams.loader import StateReader

    reader = StateReader({"bootstrap.servers": bootstrap}, state_topic("documents"))
    partitions = ck.Consumer({"bootstrap.servers": bootstrap, "group.id": "bare"}).list_topics(state_topic("documents"))
    began = time.perf_counter()
    held = {
        key: value for _, key, value, _ in reader.read(list(partitions.topics[state_topic("documents")].partitions))
    }
    return {
        "seconds": time.perf_counter() - began,
        "rows": len(held),
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def stage(bootstrap: str, events: int) -> Mapping[str, Any]:
    """Start a worker and wait until it has restored everything and taken in what waited."""
    from finwatch.runtime.config import load_settings
    from finwatch.runtime.logging import configure_logging
    from finwatch.runtime.topics import TOPICS
    from streams.app import Worker, stages_of

    configure_logging("warning", "json")
    settings = load_settings(kafka={"bootstrap": bootstrap}, stream={"lateness_seconds": LATENESS_SECONDS})
    worker = Worker(stages_of(["documents"], settings), settings)
    shell = worker.shells[0]
    result: dict[str, Any] = {}

    async def main() -> None:
        worker.app.finalize()
        began, cpu = time.perf_counter(), time.process_time()
        await worker.app.start()
        while not any(topic == TOPIC for topic, _ in shell.partitions):
            await asyncio.sleep(0.01)
        result["restored"] = time.perf_counter() - began
        while sum(part.saved for (topic, _), part in shell.partitions.items() if topic == TOPIC) < events:
            await asyncio.sleep(0.01)
        result.update(seconds=time.perf_counter() - began, cpu=time.process_time() - cpu)
        result.update(
            rows=sum(len(part.rows) for part in shell.partitions.values()),
            timers=sum(len(part.rows.timeline) for part in shell.partitions.values()),
            mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        )
        await worker.app.stop()

    assert TOPIC in {spec.name for spec in TOPICS}
    asyncio.run(main())
    return result


def arm(name: str, bootstrap: str, events: int) -> dict[str, Any]:
    """Run one arm in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.restore", "--arm", name, "--bootstrap", bootstrap]
    done = subprocess.run(
        [*command, "--events", str(events)], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=1200
    )
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Parse options; run an arm, or both and the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=5_000, help="events that wait (at most some 8,000)")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--arm", choices=("bare", "stage"))
    options = parser.parse_args()
    if options.arm == "bare":
        print(json.dumps(bare(options.bootstrap)))
        return
    if options.arm == "stage":
        print(json.dumps(stage(options.bootstrap, options.events)))
        return
    with broker(options.bootstrap) as bootstrap:
        make_topics(bootstrap, options.partitions)
        size = fill(bootstrap, options.partitions, options.documents, options.events)
        print(f"{options.documents:,} open documents, {size / options.documents:.0f} bytes each in the state topic")
        plain = arm("bare", bootstrap, options.events)
        print(f"bare loop        {plain['seconds']:6.1f} s to read {plain['rows']:,} records, {plain['mb']:,} MB")
        full = arm("stage", bootstrap, options.events)
        print(
            f"documents stage  {full['restored']:6.1f} s restored, {full['seconds']:6.1f} s caught up with "
            f"{options.events:,} events, {full['rows']:,} rows, {full['timers']:,} timers, {full['mb']:,} MB "
            f"({full['mb'] * 1024 * 1024 / options.documents:,.0f} bytes a document)"
        )
        print(f"ratio            {full['seconds'] / plain['seconds']:.2f}")


if __name__ == "__main__":
    main()
