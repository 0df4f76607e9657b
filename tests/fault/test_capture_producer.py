"""The producer as a process on a real broker: killed, stopped and woken, replaced (invariants I1, I2, I4).

What readers of committed records see is judged: every document's last state and every deletion are the source's, and
no event id is there twice.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

import confluent_kafka as ck
import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from finwatch.runtime.exits import ExitCode
from finwatch.runtime.topics import CAPTURE_STATE
from finwatch.sim import actions, captured
from finwatch.sim.actions import Line
from finwatch.sim.store import Database
from producers.odoo.state import partition_of
from tests.fault.test_capture_seeds import COUNTED, Oracle
from tests.parts.capture import Capturing
from tests.parts.kafka import Kafka
from tests.parts.pipeline import Command, eventually

PARTITIONS = 2
FEWEST_ORDERS = 5
"""So many are left to be written to."""
IGNORED = frozenset({"written_by", *COUNTED})

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture
def database(data_dir: Path) -> Database:
    return captured("odoo18", data_dir)


@pytest.fixture
def capturing(tmp_path: Path, kafka: Kafka, database: Database) -> Iterator[Capturing]:
    # Small pages, so that there is a snapshot to be killed in.
    settings = {"odoo_page_size": "5", "odoo_poll_interval": "0.3", "odoo_sweep_seconds": "3"}
    with Capturing(tmp_path, kafka.bootstrap, database, PARTITIONS, **settings) as subject:
        yield subject


class People:
    """Somebody who works in the database while the producer is killed."""

    def __init__(self, database: Database, random: Random) -> None:
        self._database, self._random = database, random

    def work(self) -> None:
        """A few transactions: writes, a deletion now and then."""
        random, tables = self._random, self._database.tables
        for _ in range(random.randrange(1, 5)):
            with self._database.lock:
                tx = self._database.begin()
                tx.write("purchase.order", random.choice(tables["purchase.order"].ids), {"partner_ref": _word(random)})
                bills = [
                    one for one in tables["account.move"].ids if tables["account.move"].rows[one]["state"] == "draft"
                ]
                if bills:
                    tx.write("account.move", random.choice(bills), {"ref": _word(random)})
                tx.commit()
        if random.random() < 0.3:
            with self._database.lock:
                orders = [one for one in tables["purchase.order"].ids if one not in self._referred()]
                if len(orders) > FEWEST_ORDERS:
                    tx = self._database.begin()
                    tx.unlink("purchase.order", random.choice(orders))
                    tx.commit()
        if random.random() < 0.3:
            with self._database.lock:
                tx = self._database.begin()
                vendor = tables["purchase.order"].rows[random.choice(tables["purchase.order"].ids)]["partner_id"]
                actions.create_order(tx, vendor, [Line(1, _word(random), 2.0, 10.5)], tx.stamp)
                tx.commit()

    def _referred(self) -> set[int]:
        return {
            row["purchase_id"] for row in self._database.tables["stock.picking"].rows.values() if row.get("purchase_id")
        }


def _word(random: Random) -> str:
    return f"W{random.randrange(10**6)}"


def is_whole(capturing: Capturing) -> None:
    """The topics tell what the source is, and no id twice."""
    capturing.captured.to_the_end()
    assert capturing.captured.differences(Oracle(capturing.database).everything(), IGNORED) == set()
    assert capturing.captured.repeats() == {}


def kill_again_and_again(capturing: Capturing, times: int, seed: int = 7) -> Counter[str]:
    """Kill it `times` times at any point; how often in its snapshot and how often while it streamed."""
    random = Random(seed)
    people = People(capturing.database, random)
    killed: Counter[str] = Counter()

    def streams(producer: Command) -> bool:
        return any(line["event"] == "streaming" for line in producer.lines())

    for number in range(times):
        producer = capturing.start()
        if times > 5 and number >= times // 2:  # the other half of the kills is while it streams
            eventually(partial(streams, producer), why=producer.said)
        until = time.monotonic() + random.uniform(0, 1.5)
        while time.monotonic() < until:
            people.work()
            time.sleep(random.uniform(0, 0.3))  # when it is killed is what is random here
        producer.kill()
        killed["streaming" if streams(producer) else "snapshot"] += 1
        capturing.captured.read()
        assert not capturing.captured.repeats()
    last = capturing.start()
    people.work()
    truth = Oracle(capturing.database).everything()

    def same() -> bool:
        capturing.captured.read()
        return not capturing.captured.differences(truth, IGNORED)

    eventually(same, why=lambda: f"{sorted(capturing.captured.differences(truth, IGNORED))[:5]}\n{last.said()[-3000:]}")
    assert last.stop() == 0
    is_whole(capturing)
    return killed


def test_killed_again_and_again(capturing: Capturing) -> None:
    kill_again_and_again(capturing, 5)


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(4))
def test_killed_a_hundred_times(capturing: Capturing, seed: int) -> None:
    """Four times twenty-five, each time from the first snapshot on."""
    killed = kill_again_and_again(capturing, 25, seed)
    print(f"\nkilled {killed['snapshot']} times in the snapshot, {killed['streaming']} times while it streamed")
    assert killed["snapshot"] > 0
    assert killed["streaming"] > 0


AT_ONCE = {
    "segment.ms": "200",
    "min.cleanable.dirty.ratio": "0.0",
    "delete.retention.ms": "100",
    "min.compaction.lag.ms": "0",
}
"""The log cleaner takes every segment that is not written to any more, each time it looks (every second)."""


FEWEST_CLEANED = 10


def compact_at_once(kafka: Kafka) -> None:
    """Have the broker's log cleaner compact the capture's state as fast as it can."""
    entries = [ConfigEntry(name, to, incremental_operation=AlterConfigOpType.SET) for name, to in AT_ONCE.items()]
    admin = kafka.admin()
    resource = ConfigResource(ResourceType.TOPIC, CAPTURE_STATE, incremental_configs=entries)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)


def state_log(kafka: Kafka) -> dict[int, bytes]:
    """What the log of the capture's state holds: keys by offset."""
    consumer = ck.Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": "state",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    where, found = ck.TopicPartition(CAPTURE_STATE, partition_of("erp", PARTITIONS), 0), dict[int, bytes]()
    try:
        consumer.assign([where])
        while True:
            message = consumer.poll(30)
            assert message is not None, "the log of the state is not read to its end"
            error = message.error()
            if error is not None:
                assert error.code() == ck.KafkaError._PARTITION_EOF, error.str()
                return found
            offset, key = message.offset(), message.key()
            assert offset is not None and isinstance(key, bytes)
            found[offset] = key
    finally:
        consumer.close()


def test_the_state_is_compacted_and_a_producer_goes_on_from_it(capturing: Capturing, kafka: Kafka) -> None:
    """What the log cleaner leaves is enough: nothing is missed, and nothing is told again."""
    compact_at_once(kafka)
    random = Random(11)
    people = People(capturing.database, random)
    first = capturing.start()
    eventually(lambda: any(line["event"] == "streaming" for line in first.lines()), why=first.said)
    written = state_log(kafka)

    def older() -> tuple[int, int]:
        """(records written first that were replaced and are still there, those that are gone)."""
        left = state_log(kafka)
        last = {key: offset for offset, key in left.items()}
        still = sum(last[key] != offset for offset, key in left.items() if offset in written)
        return still, len(written.keys() - left.keys())

    def cleaned() -> bool:
        people.work()
        still, gone = older()
        return still == 0 and gone >= FEWEST_CLEANED

    eventually(cleaned, 60, why=lambda: f"of {len(written)} records (replaced and there, gone): {older()}")
    first.kill()
    for _ in range(5):
        people.work()
    truth = Oracle(capturing.database).everything()
    second = capturing.start()
    eventually(lambda: capturing.captured.read() or not capturing.captured.differences(truth, IGNORED))
    assert second.stop() == 0
    is_whole(capturing)


def test_a_producer_that_was_stopped_is_refused_when_it_wakes(capturing: Capturing) -> None:
    """Stopped in the middle of its snapshot, with records on their way; the second one does all of it."""
    first = capturing.start()
    eventually(lambda: capturing.captured.read() or capturing.captured.events)
    os.kill(first.process.pid, signal.SIGSTOP)
    for order in capturing.database.tables["purchase.order"].ids[:5]:
        with capturing.database.lock:
            tx = capturing.database.begin()
            tx.write("purchase.order", order, {"partner_ref": "while it slept"})
            tx.commit()
    second = capturing.start()
    truth = Oracle(capturing.database).everything()
    eventually(lambda: capturing.captured.read() or not capturing.captured.differences(truth, IGNORED))
    before = len(capturing.captured.events)
    os.kill(first.process.pid, signal.SIGCONT)
    assert first.wait(30) == ExitCode.FENCED, first.said()
    assert f"process {second.process.pid} on" in first.said()
    assert "Traceback" not in first.said()
    is_whole(capturing)
    assert len(capturing.captured.events) == before
    assert second.running
    assert second.stop() == 0
