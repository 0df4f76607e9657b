"""Applying records: positions, dead letters, timers before events, outputs the store has already."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec import Struct

from finwatch.runtime.history import digest
from finwatch.runtime.topics import DEAD_LETTER
from schemas.codec import Bad, Encoder, Skipped
from schemas.registry import EmbeddedRegistry
from streams.app import RECORDS
from streams.partition import Counts, Heartbeat, Partition, Processor, StageFailed
from streams.rows import RowStore
from tests.parts.counting import EVERY, PERIOD, Count, CountingStage, Seen

SECOND = 1_000_000
_encoder = Encoder(EmbeddedRegistry())


def encode(record: Struct) -> bytes:
    return _encoder.encode(record, RECORDS[type(record)])


class Bench:
    """One partition of the counting stage and what it sent."""

    def __init__(self, seen: frozenset[bytes] = frozenset(), topic: str = "in") -> None:
        self.stage = CountingStage("counting", (topic,), "out")
        self.sent: list[tuple[str, bytes, bytes]] = []
        self.counts = Counts()
        self.part = Partition(
            self.stage, (topic, 0), 1, RowStore(0), 0, encode, lambda *sent: self.sent.append(sent), self.counts, seen
        )
        self.processor = Processor(self.stage)

    def apply(self, events: Sequence[Struct], first: int = 0) -> int:
        return self.processor.apply(
            self.part, events, range(first, first + len(events)), lambda index: (b"key", b"raw%d" % index, 7)
        )

    def count(self, key: str) -> Count:
        row = self.part.get(key, Count)
        assert row is not None
        return row


def seen(number: int, at: int, label: str = "x", document: str = "log:bill:1") -> Seen:
    return Seen(f"{number:032x}", document, "log", "log", at, label)


def test_position_and_rows_move_together() -> None:
    bench = Bench()
    bench.apply([seen(n, n) for n in range(5)], first=40)
    assert bench.part.next == 45
    assert bench.count("d:log:bill:1").events == bench.count("total").events == 5
    assert bench.counts.applied == {"in": 5}


def test_what_cannot_be_processed_becomes_a_dead_letter_and_the_rest_goes_on() -> None:
    bench = Bench()
    dead = bench.apply(
        [seen(0, 0), Bad("malformed_avro", "cut"), seen(1, 1, "bad"), Skipped("finwatch.Other"), seen(2, 2)]
    )
    assert dead == 2
    assert bench.count("total").events == 2
    assert [(topic, key) for topic, _, key in bench.sent] == [(DEAD_LETTER, b"in:0:1"), (DEAD_LETTER, b"in:0:2")]
    assert b"raw1" in bench.sent[0][1]
    assert bench.counts.dead == {("in", "malformed_avro"): 1, ("in", "invalid_event"): 1}
    assert bench.counts.filtered == {"in": 1}
    assert bench.part.next == 5


def test_a_record_of_another_topic_is_a_dead_letter_whether_or_not_the_stage_reads_it() -> None:
    bench = Bench(topic="finance.relation.v1")  # carries relations, no transitions and no bills
    dead = bench.apply([seen(0, 0), Skipped("finwatch.Bill"), Skipped("finwatch.Relation")])
    assert dead == 2
    assert bench.part.get("total", Count) is None
    assert bench.counts.dead == {("finance.relation.v1", "unexpected_record"): 2}
    assert bench.counts.filtered == {"finance.relation.v1": 1}
    assert bench.part.next == 3
    bench = Bench(topic="finance.bill.v1")
    assert bench.apply([seen(0, 0), Skipped("finwatch.Bill"), Skipped("finwatch.Vendor")]) == 1
    assert bench.count("total").events == 1


def test_timers_fire_before_the_event_that_passes_them() -> None:
    bench = Bench()
    bench.apply([seen(0, 0, "due"), seen(1, PERIOD - 1, document="log:bill:2")])
    assert bench.counts.fired == 0
    bench.apply([seen(2, PERIOD, document="log:bill:2")], first=2)
    assert bench.counts.fired == 1
    assert bench.count("d:log:bill:1").fired == 1


def test_a_final_heartbeat_lets_everything_due_fire() -> None:
    bench = Bench()
    bench.apply([seen(0, 0, "due"), Heartbeat("log", PERIOD, "log", True)])
    assert bench.count("d:log:bill:1").fired == 1
    assert bench.part.next == 2


def test_a_spent_timer_does_not_come_back_with_its_row() -> None:
    bench = Bench()
    bench.apply([seen(0, 0, "due")])
    stored = dict(bench.part.rows.take_changes(1))
    bench.apply([Heartbeat("log", PERIOD, "log", True)], first=1)
    stored |= dict(bench.part.rows.take_changes(2))
    assert len(RowStore(0, stored).timeline) == 0


def test_outputs_that_the_store_has_are_not_sent_again() -> None:
    first = Bench()
    first.apply([seen(n, n) for n in range(3 * EVERY)])
    assert len(first.sent) == 3
    known = frozenset(digest(topic, key, value) for topic, value, key in first.sent[:2])
    again = Bench(known)
    again.apply([seen(n, n) for n in range(3 * EVERY)])
    assert again.sent == first.sent[2:]


def test_a_failing_stage_is_named_with_its_place_and_no_value() -> None:
    bench = Bench()
    bench.stage.output = "out"
    with pytest.raises(StageFailed, match=r"stage counting failed at in:0 offset 1 \(ValueError\)"):
        bench.apply([seen(0, 0), *[seen(n, n, document="secret") for n in range(EVERY)]], first=1 - EVERY)
