"""Makes a dictionary for the bodies of state rows (``streams.bodies``) out of rows of both stages.

    python -m benchmarks.row_dictionary --number 2 [--write streams/rows-2.zdict] [--bytes 4096]

Without --write it says what a dictionary would save and what the ones in use do. The rows are those of a generated
company (benchmarks/company.py) and of facts for the relations stage (tests/parts/relation_facts.py); a third of them
is kept apart and measured. A dictionary that was written with is never taken away: rows name it by its number.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import zstandard

from benchmarks.stage_pipeline import Pipeline, batches, partitions_of
from benchmarks.streams import told
from finwatch.runtime.policies import load_policies
from finwatch.runtime.topics import RELATION
from streams.agents.registry import stages
from streams.bodies import LEVEL, SMALLEST, pack_body
from streams.partition import Counts, Partition, Processor
from streams.rows import RowStore, unpack_row

LARGE = 3000


def bodies(events: int) -> list[bytes]:
    """Bodies of rows as the stages write them, in a fixed disorder; those that are kept as they are left out."""
    found: list[bytes] = []

    def keep(topic: str, value: bytes, key: bytes) -> None:
        if topic == "state":
            found.append(unpack_row(value)[2])

    values = partitions_of(events)
    documents = Pipeline(list(values), keep)
    for place, start, some in batches(values):
        documents.apply(place, start, documents.decode(some))
    documents.checkpoint()
    stage = stages(load_policies())["relations"]
    rows = RowStore(0)
    part = Partition(stage, (RELATION, 0), 1, rows, 0, lambda _: b"", lambda *_: None, Counts())
    processor = Processor(stage)
    told_facts = documents.decoder.decode([value for _, _, value, _ in told(events // 2)], processor.projections)
    processor.apply(part, told_facts, range(len(told_facts)), lambda _: (None, None, 0))
    found.extend(unpack_row(value)[2] for _, value in rows.take_changes(1))
    # The few large ones (a policy's text, counts) are one a partition, not one a document.
    found = sorted({body for body in found if SMALLEST <= len(body) < LARGE})
    random.Random(1).shuffle(found)
    return found


def measure(name: str, packs: list[tuple[bytes, bytes]], seconds: float) -> None:
    """Print what packing did to bodies."""
    before, after = (sum(map(len, side)) / len(packs) for side in zip(*packs, strict=True))
    print(f"{name}: {before:.0f} bytes a body become {after:.0f}, {seconds / len(packs) * 1e6:.1f} us each to pack")


def main() -> None:
    """Parse options, train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=2, help="the new dictionary's number")
    parser.add_argument("--bytes", type=int, default=4096)
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    found = bodies(options.events)
    apart, training = found[: len(found) // 3], found[len(found) // 3 :]
    trained = zstandard.train_dictionary(options.bytes, training, dict_id=options.number, level=LEVEL, threads=1)
    trained.precompute_compress(level=LEVEL)
    new = zstandard.ZstdCompressor(level=LEVEL, dict_data=trained)
    for name, compress in (("new", new.compress), ("in use", pack_body)):
        began = time.process_time()
        packed = [compress(body) for body in apart]
        measure(name, list(zip(apart, packed, strict=True)), time.process_time() - began)
    if options.write is not None:
        options.write.write_bytes(trained.as_bytes())


if __name__ == "__main__":
    main()
