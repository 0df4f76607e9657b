"""A stage against a bare loop: events a second, wall and CPU, on a real broker.

The stage: this product's worker with all detectors, Avro decoding, timers, outputs and durable state (a checkpoint each
second, the last one included in the time). The bare loop: confluent-kafka and fastavro, decoding and dropping, the
usual way. Both read the same records, one after the other, in processes of their own.

    python -m benchmarks.streams [--stage documents|relations] [--storm] [--events 300000] [--partitions 4]
        [--bootstrap HOST:PORT] [--repeat 1]

For the documents stage the records are what the capture publishes of a generated company, multiplied
(benchmarks/company.py): every kind of event on every entity topic, in the proportions of the capture. For the relations
stage they are what the documents stage tells of orders, receipts, bills, payments and accounts
(tests/parts/relation_facts.py), by a company with 2,000 vendors and 52,000 orders a year. With --storm one with 60
vendors does all of it in a day: almost every payment falls under a rule on changed accounts, and a few rows grow large.

Without --bootstrap it starts a Kafka 4.1 broker of its own (Java and Maven needed). CPU time is the whole process's,
librdkafka's threads included.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import cProfile
import io
import itertools
import json
import os
import platform
import pstats
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import fastavro
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.company import PARTITIONS, encoded, records
from finwatch.runtime.topics import RELATION, WATCHED_TOPICS

ROOT = Path(__file__).resolve().parents[1]
LATENESS_SECONDS = 3600  # the company's capture looks once an hour
INPUTS = {"documents": WATCHED_TOPICS, "relations": (RELATION,)}


def told(events: int, storm: bool = False) -> Iterator[tuple[str, bytes, bytes, int]]:
    """Facts for the relations stage: topic, key, value, no partition."""
    from schemas.codec import Encoder
    from schemas.registry import EmbeddedRegistry
    from tests.parts.relation_facts import STORM, YEAR, facts

    encode = Encoder(EmbeddedRegistry()).encode
    for fact in itertools.islice(facts(STORM if storm else YEAR), events):
        yield RELATION, fact.relation_key.encode(), encode(fact, "finwatch.Relation"), -1


def fill(bootstrap: str, events: int, stage_name: str, storm: bool = False) -> int:
    """Produce the workload; return its bytes."""
    producer = ck.Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 50,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    size = 0
    stream = records(encoded(events)) if stage_name == "documents" else told(events, storm)
    for topic, key, value, partition in stream:
        size += len(value)
        while True:
            try:
                producer.produce(topic, value, key, partition)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    return size


def bare(bootstrap: str, partitions: int, events: int, stage_name: str = "documents") -> Mapping[str, Any]:
    """Consume and decode everything, keep nothing."""
    from schemas.registry import EmbeddedRegistry

    registry = EmbeddedRegistry()
    parsed: dict[int, Any] = {}
    consumer = ck.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bare",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "queued.min.messages": 20_000,
            "fetch.queue.backoff.ms": 10,
        }
    )
    consumer.assign([ck.TopicPartition(t, p, 0) for t in INPUTS[stage_name] for p in range(partitions)])
    done, wall, cpu = 0, 0.0, 0.0
    while done < events:
        messages = consumer.consume(1000, 0.1)
        if messages and not wall:
            wall, cpu = time.perf_counter(), time.process_time()
        for message in messages:
            value = message.value()
            assert value is not None
            number = int.from_bytes(value[1:5], "big")
            schema = parsed.get(number)
            if schema is None:
                schema = parsed[number] = fastavro.parse_schema(dict(registry.schema(number).definition))
            stream = io.BytesIO(value)
            stream.seek(5)
            fastavro.schemaless_reader(stream, schema, None)
            done += 1
    result = {"events": done, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    consumer.close()
    return result


def stage(bootstrap: str, events: int, profile: bool, stage_name: str = "documents") -> Mapping[str, Any]:
    """Run the worker until every event is in a checkpoint that counts."""
    from finwatch.runtime.config import load_settings
    from finwatch.runtime.logging import configure_logging
    from streams.app import Worker, stages_of

    configure_logging("warning", "json")
    settings = load_settings(kafka={"bootstrap": bootstrap}, stream={"lateness_seconds": LATENESS_SECONDS})
    worker = Worker(stages_of([stage_name], settings), settings)
    shell = worker.shells[0]
    result: dict[str, Any] = {}

    async def main() -> None:
        worker.app.finalize()
        await worker.app.start()
        while not shell.partitions:
            await asyncio.sleep(0.005)
        wall, cpu = time.perf_counter(), time.process_time()
        profiler = cProfile.Profile(time.thread_time) if profile else None
        if profiler is not None:
            profiler.enable()
        while sum(part.saved for part in shell.partitions.values()) < events:
            await asyncio.sleep(0.02)
        result.update(events=events, wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)
        result.update(
            rows=sum(len(part.rows) for part in shell.partitions.values()),
            rows_written=sum(part.rows.rows_written for part in shell.partitions.values()),
            timers=sum(len(part.rows.timeline) for part in shell.partitions.values()),
        )
        if profiler is not None:
            profiler.disable()
            pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(45)
        await worker.app.stop()

    asyncio.run(main())
    result["emitted"] = int(
        sum(
            sample.value
            for metric in worker.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == "finwatch_stream_emitted_total"
        )
    )
    with contextlib.suppress(ImportError):
        import resource

        result["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return result


def make_topics(bootstrap: str, partitions: int, stage_name: str = "documents", only_outputs: bool = False) -> None:
    """Make all topics of the product anew (inputs too, unless told otherwise)."""
    from finwatch.runtime.topics import TOPICS

    specs = [spec for spec in TOPICS if not only_outputs or spec.name not in INPUTS[stage_name]]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    present = admin.list_topics(timeout=30).topics
    old = [spec.name for spec in specs if spec.name in present]
    if old:
        for future in admin.delete_topics(old).values():
            future.result(30)
        while set(old) & set(admin.list_topics(timeout=30).topics):
            time.sleep(0.1)
    new = [NewTopic(spec.name, partitions, 1, config=spec.config()) for spec in specs]
    for future in admin.create_topics(new).values():
        future.result(30)


def arm(
    name: str, bootstrap: str, partitions: int, events: int, profile: bool = False, stage_name: str = "documents"
) -> dict[str, Any]:
    """Run one arm in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.streams", "--arm", name, "--bootstrap", bootstrap]
    command += ["--stage", stage_name, "--partitions", str(partitions), "--events", str(events)]
    command += ["--profile"] if profile else []
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=1200)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def per_second(result: Mapping[str, Any]) -> str:
    """Events a second, wall and CPU."""
    return (
        f"{result['events'] / result['wall']:>9,.0f} events/s wall, "
        f"{result['events'] / result['cpu']:>9,.0f} a CPU second"
    )


@contextlib.contextmanager
def broker(bootstrap: str) -> Iterator[str]:
    """The given broker, or one of our own for the time of the run."""
    if bootstrap:
        yield bootstrap
        return
    from tests.parts.kafka import Kafka

    with tempfile.TemporaryDirectory(prefix="finwatch-bench-") as folder:
        server = Kafka(Path(folder))
        server.start()
        try:
            yield server.bootstrap
        finally:
            server.stop()


def main() -> None:
    """Parse options; run an arm, or both and the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=tuple(INPUTS), default="documents")
    parser.add_argument("--storm", action="store_true", help="relations: everything at once, on a few vendors")
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--partitions", type=int, default=PARTITIONS)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--arm", choices=("bare", "stage"))
    parser.add_argument("--profile", action="store_true", help="profile the stage (slows it down)")
    options = parser.parse_args()
    if options.arm == "bare":
        print(json.dumps(bare(options.bootstrap, options.partitions, options.events, options.stage)))
        return
    if options.arm == "stage":
        print(json.dumps(stage(options.bootstrap, options.events, options.profile, options.stage)))
        return
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    print(
        f"run {uuid.uuid4().hex[:8]} of {commit or 'no commit'} on {platform.machine()}, {os.cpu_count()} CPUs, "
        f"Python {platform.python_version()}, librdkafka {ck.libversion()[0]}, fastavro {fastavro.__version__}"
    )
    with broker(options.bootstrap) as bootstrap:
        make_topics(bootstrap, options.partitions, options.stage)
        size = fill(bootstrap, options.events, options.stage, options.storm)
        print(f"{options.events:,} events, {size / options.events:.0f} bytes each, {options.partitions} partitions")
        for _ in range(options.repeat):
            plain = arm("bare", bootstrap, options.partitions, options.events, stage_name=options.stage)
            full = arm("stage", bootstrap, options.partitions, options.events, options.profile, options.stage)
            print(f"bare loop        {per_second(plain)}")
            print(f"{options.stage} stage  {per_second(full)}; "
                  f"{full['rows']:,} rows held, {full['rows_written']:,} written, "
                  f"{full['emitted']:,} outputs, {full['timers']:,} timers, {full.get('rss_mb', 0)} MB")  # fmt: skip
            wall = plain["wall"] / full["wall"]
            cpu = plain["cpu"] / full["cpu"]
            print(f"ratio            {wall:.2f} wall, {cpu:.2f} a CPU second")
            make_topics(bootstrap, options.partitions, options.stage, only_outputs=True)


if __name__ == "__main__":
    main()
