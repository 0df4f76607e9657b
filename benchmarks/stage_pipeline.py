"""A stage without a broker: decoding, logic, encoding and state rows, beside fastavro on the same records.

    python -m benchmarks.stage_pipeline [--stage documents|relations] [--events 60000] [--kinds] [--digest]

The records are those of benchmarks/streams.py. Both arms take turns at each thousand records, in CPU time. ``--kinds``
times each kind of event instead. ``--digest`` times nothing and prints hashes of all outputs (bytes and order, so
versions too), of the state rows and of the KPIs, for the stream as it is and for one with records out of order and
repeated: what only makes the stage faster must leave them as they are.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import random
import statistics
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import fastavro
from msgspec import Struct

from benchmarks.company import PARTITIONS, encoded, records
from benchmarks.streams import told
from finwatch.runtime.policies import load_policies
from schemas.codec import Decoder, Encoder
from schemas.registry import EmbeddedRegistry
from streams.agents.registry import documents_stage, relations_stage
from streams.app import RECORDS
from streams.partition import Counts, Partition, Processor
from streams.rows import HEADER, RowStore, unpack_row

BATCH = 1000
CHECKPOINT_EVERY = 20_000
LATENESS = 3_600_000_000
TopicPartition = tuple[str, int]
STAGES = {"documents": documents_stage, "relations": relations_stage}


def partitions_of(events: int, stage_name: str = "documents") -> dict[TopicPartition, list[bytes]]:
    """The values of each partition, in order."""
    found: dict[TopicPartition, list[bytes]] = {}
    for topic, key, value, partition in records(encoded(events)) if stage_name == "documents" else told(events):
        number = partition if partition >= 0 else zlib.crc32(key) % PARTITIONS
        found.setdefault((topic, number), []).append(value)
    return found


def disordered(values: list[bytes], seed: str) -> list[bytes]:
    """The same values, up to some forty places apart from where they were, and every 25th again later."""
    chance = random.Random(seed)
    placed = [(place + chance.random() * 40, value) for place, value in enumerate(values)]
    placed += [(place + chance.random() * 300, value) for place, value in enumerate(values) if chance.random() < 0.04]
    return [value for _, value in sorted(placed, key=lambda one: one[0])]


def batches(values: dict[TopicPartition, list[bytes]]) -> Iterator[tuple[TopicPartition, int, list[bytes]]]:
    """The partitions in turn, a thousand records each."""
    for start in range(0, max(map(len, values.values())), BATCH):
        for place, found in values.items():
            if start < len(found):
                yield place, start, found[start : start + BATCH]


class Pipeline:
    """The stage over all partitions; ``send`` gets what would go to Kafka, rows under the topic ``state``."""

    def __init__(
        self, places: list[TopicPartition], send: Callable[[str, bytes, bytes], None], stage_name: str = "documents"
    ) -> None:
        self.registry = EmbeddedRegistry()
        stage, encoder = STAGES[stage_name](load_policies()), Encoder(self.registry)
        writers = {kind: encoder.encoder(kind, name) for kind, name in RECORDS.items()}
        self.processor, self.decoder, self.send = Processor(stage), Decoder(self.registry), send
        self.partitions = {
            place: Partition(stage, place, 1, RowStore(LATENESS), 0, lambda r: writers[r.__class__](r), send, Counts())
            for place in places
        }
        self.since = 0

    def decode(self, values: list[bytes]) -> list[Struct]:
        """The events of some values."""
        return self.decoder.decode(values, self.processor.projections)

    def apply(self, place: TopicPartition, start: int, events: list[Struct]) -> None:
        """Apply events and make a checkpoint when it is time."""
        self.processor.apply(
            self.partitions[place], events, range(start, start + len(events)), lambda _: (None, None, 0)
        )
        self.since += len(events)
        if self.since >= CHECKPOINT_EVERY:
            self.since = 0
            self.checkpoint()

    def checkpoint(self) -> None:
        """Write the changed rows."""
        for partition in self.partitions.values():
            for key, value in partition.branch.row_records(partition.rows.take_changes(1)):
                self.send("state", value, key)


def digest(values: dict[TopicPartition, list[bytes]], stage_name: str) -> str:
    """Hashes of everything that comes out."""
    outputs, rows, kpis = sha256(), sha256(), sha256()

    def send(topic: str, value: bytes, key: bytes) -> None:
        if topic != "state":
            outputs.update(b"\0".join((topic.encode(), key, value)))

    pipeline = Pipeline(list(values), send, stage_name)
    for place, start, some in batches(values):
        pipeline.apply(place, start, pipeline.decode(some))
    for place in values:
        partition = pipeline.partitions[place]
        partition.rows.dirty.update(partition.rows.keys())
        for key, value in sorted(partition.rows.take_changes(2)):
            rows.update(key.encode() + value[: HEADER.size] + unpack_row(value)[2])
        for kpi in pipeline.processor.stage.kpis(partition, dict(partition.rows.timeline.now)):
            kpis.update(repr(kpi).encode())
    return f"outputs {outputs.hexdigest()[:16]} rows {rows.hexdigest()[:16]} kpis {kpis.hexdigest()[:16]}"


def compare(values: dict[TopicPartition, list[bytes]], stage_name: str) -> None:
    """Time fastavro and the stage, turn by turn."""
    pipeline = Pipeline(list(values), lambda *_: None, stage_name)
    parsed: dict[bytes, Any] = {}
    clock, spent = time.process_time, [0.0, 0.0, 0.0]
    count = 0
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    for place, start, some in batches(values):
        times = [clock()]
        for value in some:
            schema = parsed.get(value[:5])
            if schema is None:
                found = pipeline.registry.schema(int.from_bytes(value[1:5], "big"))
                schema = parsed[value[:5]] = fastavro.parse_schema(dict(found.definition))
            stream = io.BytesIO(value)
            stream.seek(5)
            fastavro.schemaless_reader(stream, schema, None)
        times.append(clock())
        events = pipeline.decode(some)
        times.append(clock())
        pipeline.apply(place, start, events)
        times.append(clock())
        for part in range(3):
            spent[part] += times[part + 1] - times[part]
        count += len(some)
    plain, decoding, logic = (one / count * 1e6 for one in spent)
    print(f"fastavro {plain:.1f} us; decoding {decoding:.1f} us, logic, outputs and rows {logic:.1f} us; "
          f"ratio {plain / (decoding + logic):.2f}")  # fmt: skip


def kinds(values: dict[TopicPartition, list[bytes]], stage_name: str) -> None:
    """Time each kind of event: median microseconds, decoding left out, encoding of outputs included."""
    emitted = 0

    def send(topic: str, value: bytes, key: bytes) -> None:
        nonlocal emitted
        emitted += topic != "state"

    pipeline = Pipeline(list(values), send, stage_name)
    taken: dict[tuple[str, str], list[float]] = defaultdict(list)
    outputs: dict[tuple[str, str], int] = defaultdict(int)
    apply, clock = pipeline.processor.stage.apply, time.perf_counter

    def timed(view: Any, event: Any, offset: int) -> bool | None:
        before, start = emitted, clock()
        result = apply(view, event, offset)
        end = clock()
        kind = (event.entity, getattr(event, "activity", None) or getattr(event, "relation", None) or "seen")
        taken[kind].append((end - start) * 1e6)
        outputs[kind] += emitted - before
        return result

    pipeline.processor.stage.apply = timed  # type: ignore[method-assign]
    for place, start, some in batches(values):
        pipeline.apply(place, start, pipeline.decode(some))
    weights = {kind: statistics.median(times) * len(times) for kind, times in taken.items()}
    for kind in sorted(taken, key=lambda kind: -weights[kind]):
        each, share = statistics.median(taken[kind]), weights[kind] / sum(weights.values())
        told = outputs[kind] / len(taken[kind])
        print(f"{kind[0]:16} {kind[1]:14} {len(taken[kind]):>7,} times {each:7.1f} us {told:5.2f} outputs {share:6.1%}")


def main() -> None:
    """Parse options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=tuple(STAGES), default="documents")
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--kinds", action="store_true")
    parser.add_argument("--digest", action="store_true")
    options = parser.parse_args()
    if options.digest and os.environ.get("PYTHONHASHSEED") != "0":  # a row holds a set: its order is the hash seed's
        again = [sys.executable, "-m", __spec__.name, *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, "PYTHONHASHSEED": "0"})
    values = partitions_of(options.events, options.stage)
    if options.digest:
        print("in order   ", digest(values, options.stage))
        mixed = {place: disordered(some, repr(place)) for place, some in values.items()}
        print("disordered ", digest(mixed, options.stage))
    elif options.kinds:
        kinds(values, options.stage)
    else:
        compare(values, options.stage)


if __name__ == "__main__":
    main()
