"""States that say again what they said before while no stamp moved forward: each is an event of its own, told in order.

A reader drops an id that it knows, and takes nothing that is older than what it has: so the last event of a record must
have an id of its own and a time no older than those before it.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest

from finwatch.runtime.clock import ManualClock
from finwatch.runtime.topics import CAPTURE_STATE
from producers.odoo.capture import Capture
from producers.odoo.seen import STAMP_BYTES, SeenStamps
from producers.signals import SnapshotRequest
from tests.unit.producers.odoo.fakes import PARTNER_FIELDS, Crash, FakeBroker, FakeOdoo, FakePublisher
from tests.unit.producers.odoo.test_sweep import LINE_FIELDS, ORDER_FIELDS, START, capture, partner

MODEL = "res.partner"
WRITTEN = START - timedelta(minutes=1)


class World:
    """A vendor and an order, and a reader that goes by ids and times as the stages do."""

    def __init__(self) -> None:
        self.clock, self.broker = ManualClock(START), FakeBroker()
        self.odoo = FakeOdoo(
            START,
            {MODEL: (*PARTNER_FIELDS, "vat"), "purchase.order": ORDER_FIELDS, "purchase.order.line": LINE_FIELDS},
        )
        self.vendor("A", WRITTEN)
        order = {"id": 4, "name": "P4", "state": "purchase", "partner_id": [7, "P7"]}
        self.odoo.put("purchase.order", {**partner(4, "P4"), **order}, WRITTEN)
        self.subject = self.started()

    def started(self, dies_at: int | None = None) -> Capture:
        return capture(
            self.odoo, self.broker, self.clock, models=(MODEL, "purchase.order"), dies_at=dies_at,
            sweep_recent=timedelta(days=1),
        )  # fmt: skip

    def vendor(self, vat: str, written: datetime) -> None:
        self.odoo.put(MODEL, {**partner(7, f"name {vat}"), "vat": vat}, written)

    def go_on(self, seconds: float = 5.0) -> None:
        self.clock.wait(seconds, threading.Event())
        self.odoo.now = self.clock.now()

    def states(self, entity: str) -> list[dict[str, Any]]:
        return [
            dict(content)
            for record, content in self.broker.records()
            if content["entity"] == entity and record != "finwatch.Transition"
        ]

    def taken(self, entity: str) -> dict[str, Any]:
        """What a reader holds in the end."""
        known, held = set[str](), dict[str, Any]()
        for one in self.states(entity):
            if one["event_id"] not in known and (not held or one["occurred_at"] >= held["occurred_at"]):
                held = one
            known.add(one["event_id"])
        return held


def test_what_is_joined_goes_there_and_back() -> None:
    """The order's stamp does not tell of its vendor's number."""
    world = World()
    world.subject.snapshot()
    for vat in ("B", "A", "B", "A"):
        world.go_on()
        world.vendor(vat, world.clock.now())
        world.subject.sweep()
        assert world.taken("purchase_order")["vendor_vat"] == vat
    told = world.states("purchase_order")
    assert len({one["event_id"] for one in told}) == len(told) == 5
    assert {one["occurred_at"] for one in told} == {WRITTEN}
    # Asked for again, by this process and by the next, it is told under the id it had.
    for name, subject in (("r1", world.subject), ("r2", world.started())):
        subject.take_requests([SnapshotRequest(name, "erp", "purchase.order", START, ids=[4])], [], None)
        while subject.work_requests():
            pass
        assert world.states("purchase_order")[-1]["event_id"] == told[-1]["event_id"]
    # Written itself, it is told as of then.
    world.go_on()
    world.odoo.put("purchase.order", {**world.odoo.tables["purchase.order"][4], "name": "P4b"}, world.clock.now())
    world.subject.poll()
    assert world.taken("purchase_order")["name"] == "P4b"
    assert world.states("purchase_order")[-1]["source_write_date"] == world.clock.now()


def test_two_writes_within_a_second() -> None:
    world = World()
    world.subject.snapshot()
    for vat, fraction in (("B", 0.2), ("A", 0.5), ("B", 0.9)):
        world.vendor(vat, WRITTEN + timedelta(seconds=fraction))
        world.go_on(0.1)
        world.subject.poll()
        assert world.taken("vendor")["vat"] == vat
    assert len({one["event_id"] for one in world.states("vendor")}) == 4


def test_a_stamp_that_went_back() -> None:
    """A line that was newer than its order is gone, or an older copy of the database is in place."""
    world = World()
    world.vendor("A", WRITTEN)
    world.subject.snapshot()
    world.go_on()
    newer = world.clock.now()
    world.vendor("B", newer)
    world.subject.poll()
    for vat in ("A", "C"):
        world.go_on()
        world.vendor(vat, WRITTEN)
        world.subject.sweep()
        assert world.taken("vendor")["vat"] == vat
        assert world.taken("vendor")["source_write_date"] == newer


def test_a_commit_that_began_before_its_record_was_seen_to_be_back() -> None:
    world = World()
    world.subject.snapshot()
    row = world.odoo.tables[MODEL].pop(7)
    world.go_on()
    world.subject.sweep()
    assert world.taken("vendor")["op"] == "d"
    world.odoo.tables[MODEL][7] = row
    world.go_on()
    began = world.clock.now() - timedelta(seconds=2)
    world.subject.sweep()
    assert world.taken("vendor")["op"] == "c"
    world.vendor("B", began)
    world.subject.sweep()
    assert world.taken("vendor")["vat"] == "B"


@pytest.mark.parametrize("delivered", [0, 1, 9])
def test_a_crash_repeats_the_id(delivered: int) -> None:
    """Whatever of it was delivered: the next life tells it under the id it had."""
    for dies_at in range(1, 30, 2):
        world = World()
        world.subject.snapshot()
        for number, vat in enumerate(("B", "A", "B")):
            world.vendor(vat, WRITTEN + timedelta(seconds=0.1 * (number + 1)))
            world.go_on(0.1)
            dying = world.started(dies_at)
            dying._publisher._delivered = delivered  # type: ignore[attr-defined]
            assert isinstance(dying._publisher, FakePublisher)
            try:
                dying.snapshot()
                dying.poll()
            except Crash:
                pass
            world.subject = world.started()
            world.subject.snapshot()
            world.subject.poll()
            assert world.taken("vendor")["vat"] == vat
        assert len({one["event_id"] for one in world.states("vendor")}) == 4


def test_stamps_of_a_former_version_are_taken() -> None:
    stamps = SeenStamps()
    slots = bytearray(SeenStamps.PER_BUCKET * STAMP_BYTES)
    slots[3 * STAMP_BYTES : 4 * STAMP_BYTES] = b"\x05" * STAMP_BYTES
    stamps.load(0, bytes(slots))
    assert stamps.fingerprint(3) == b"\x05" * STAMP_BYTES
    assert stamps.fingerprint(4) is None
    assert stamps.latest(3) == 0


def test_the_latest_outlives_the_fingerprint() -> None:
    stamps = SeenStamps()
    stamps.read(3, b"\x05" * STAMP_BYTES, 1_700_000_000)
    stamps.told(3, 1_600_000_000)
    stamps.told(4, 1_500_000_000)
    stamps.clear()
    again = SeenStamps()
    for number, bucket in stamps.take_dirty().items():
        again.load(number, bucket)
    for one in (stamps, again):
        assert [one.fingerprint(3), one.fingerprint(4)] == [None, None]
        assert [one.latest(3), one.latest(4), one.latest(5)] == [1_700_000_000, 1_500_000_000, 0]
    again.forget(3)
    assert again.latest(3) == 1_700_000_000


def test_what_is_counted_is_stored_and_forgotten_when_a_stamp_moves() -> None:
    world = World()
    world.subject.snapshot()

    def notes() -> dict[str, bytes | None]:
        return {key: value for topic, key, value in world.broker.log if topic == CAPTURE_STATE and "turned/res" in key}

    world.vendor("B", WRITTEN)
    world.subject.poll()
    (note,) = notes().values()
    assert note is not None and note.startswith(f"{int(WRITTEN.timestamp())}:1:".encode())
    world.go_on()
    world.vendor("C", world.clock.now())
    world.subject.poll()
    assert list(notes().values()) == [None]
