"""Computes again what a stage says of some documents, from the records of the log, with the code that ran live.

The documents stage first, over the records of the documents themselves. What it sends to the relations stage names the
blocks they meet others in; the relations stage runs over all records of those blocks, and sends nothing on (adr 9).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from finwatch.domain.identity import parse_document_key
from finwatch.domain.records import Finding
from finwatch.runtime.raw_log import LoggedRecord, Place
from finwatch.runtime.topics import FINDING, RELATION, entity_topic
from schemas.codec import Decoder
from streams.partition import Counts, Partition, Processor
from streams.rows import RowStore
from streams.stage import Stage

Records = Callable[[str, Collection[str]], Sequence[LoggedRecord]]
"""Topic and keys -> what the log has of them, and what moved the time of their partitions (`RawLog.records`)."""


class Recomputation:
    """What came out: every version of every finding, and the records that were read for it."""

    def __init__(self) -> None:
        self.findings: dict[str, list[Finding]] = defaultdict(list)
        self.read: dict[bytes, list[Place]] = defaultdict(list)
        """Key -> places of its records."""


def recompute(
    finding_id: str,
    document_keys: Iterable[str],
    stages: Mapping[str, Stage],
    records: Records,
    decoder: Decoder,
    lateness: int,
    until: Mapping[str, int],
) -> Recomputation:
    """Every version of a finding about ``document_keys``, and of what else is said on the way.

    ``lateness`` and ``until`` (source -> time to which its deadlines fire at the end) are microseconds. Raises
    RegistryUnavailable, and what ``records`` raises.
    """
    done = Recomputation()
    by_topic: dict[str, set[str]] = defaultdict(set)
    for key in document_keys:
        by_topic[entity_topic(parse_document_key(key)[1])].add(key)
    blocks: set[str] = set()
    for topic, keys in sorted(by_topic.items()):
        blocks |= _run(done, stages["documents"], records(topic, keys), keys, decoder, lateness, until)
    if blocks and finding_id not in done.findings:
        _run(done, stages["relations"], records(RELATION, blocks), blocks, decoder, lateness, until)
    return done


def _run(
    done: Recomputation,
    stage: Stage,
    logged: Sequence[LoggedRecord],
    keys: Collection[str],
    decoder: Decoder,
    lateness: int,
    until: Mapping[str, int],
) -> set[str]:
    """Run a stage over records; returns the keys of what it sends to the relations stage from those under ``keys``."""
    processor = Processor(stage)
    wanted = {key.encode() for key in keys}
    sent: set[str] = set()
    by_partition: dict[tuple[str, int], list[LoggedRecord]] = defaultdict(list)
    for one in logged:
        by_partition[one.place.topic, one.place.partition].append(one)
        if one.record.key in wanted:
            done.read[one.record.key].append(one.place)

    def send(topic: str, record: Any, key: bytes) -> None:
        if topic == FINDING:
            said = done.findings[record.finding_id]
            if not said or said[-1].version < record.version:
                said.append(record)
        elif topic == RELATION and record.document_key in keys:
            sent.add(key.decode())

    for tp, run in sorted(by_partition.items()):
        part = Partition(stage, tp, 1, RowStore(lateness), 0, _as_it_is, send, Counts())
        events = decoder.decode([one.record.value for one in run], processor.projections)
        processor.apply(part, events, range(len(run)), lambda index, run=run: run[index].record[:3])  # type: ignore[misc]
        for source, at in sorted(until.items()):
            part.rows.timeline.move(source, at, part.fire)
    return sent


def _as_it_is(record: Struct) -> Any:
    """Instead of encoding: nobody reads bytes here."""
    return record
