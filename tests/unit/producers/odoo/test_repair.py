"""Capturing again: the same events as the first time, deletions only of what is gone, nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import structlog

from finwatch.domain.reconciliation import Difference, Reference
from finwatch.runtime.clock import ManualClock
from producers.odoo.accounts import AccountHasher
from producers.odoo.capture import Capture, CaptureSettings
from producers.odoo.mapping import BY_MODEL
from producers.odoo.mapping.spec import Source
from producers.odoo.reader import Reader
from producers.odoo.repair import Repair
from tests.unit.producers.odoo.fakes import FakeBroker, FakeOdoo, encode

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
VENDORS = BY_MODEL["res.partner"]


def odoo() -> FakeOdoo:
    found = FakeOdoo(NOW)
    for number in (1, 2, 3):
        found.put(
            "res.partner",
            {"id": number, "name": f"P{number}", "active": True, "create_uid": [2, "x"], "write_uid": [2, "x"],
             "create_date": "2026-10-01 10:00:00"},
            NOW - timedelta(hours=number),
        )  # fmt: skip
    return found


def repair(found: FakeOdoo, broker: FakeBroker, **given: object) -> Repair:
    source = Source("erp", "fin", 18, AccountHasher(b"k" * 32))
    reader = Reader(found, source, 10, (), lambda *_: None, lambda *_: None, structlog.get_logger())
    return Repair(reader, broker.publisher(), encode, **given)  # type: ignore[arg-type]


def vendor(number: int, kind: str) -> Difference:
    return Difference(Reference("vendor", number), kind, (), f"last-{number}")  # type: ignore[arg-type]


def captured(found: FakeOdoo, broker: FakeBroker) -> Capture:
    settings = CaptureSettings("erp", "fin", b"k" * 32, models=("res.partner",), partitions=1, read_ahead=False)
    capture = Capture(found, broker.publisher(), ManualClock(NOW), settings, encode=encode)
    capture.snapshot()
    return capture


def test_an_event_that_was_lost_comes_again_under_its_id() -> None:
    found, broker = odoo(), FakeBroker()
    captured(found, broker)
    before = {
        content["record_id"]: content["event_id"] for name, content in broker.records() if name != "finwatch.Transition"
    }
    again = FakeBroker()
    done = repair(found, again).apply(VENDORS, [vendor(1, "missing"), vendor(3, "changed")], NOW)
    assert (done.states, done.deletions) == (2, 0)
    assert {content["record_id"]: content["event_id"] for _, content in again.records()} == {
        "1": before["1"],
        "3": before["3"],
    }
    assert {content["op"] for _, content in again.records()} == {"r"}


def test_a_deletion_is_published_once_it_is_sure_and_with_the_captures_own_id() -> None:
    found, broker = odoo(), FakeBroker()
    capture = captured(found, broker)
    assert capture._memory is not None
    hashes = capture._memory.hashes["res.partner"]
    del found.tables["res.partner"][2]
    again = FakeBroker()
    # 3 is there after all: somebody looked while it was away.
    done = repair(found, again, last_hash=lambda _model, number: hashes.get(number)).apply(
        VENDORS, [vendor(2, "gone"), vendor(3, "gone")], NOW
    )
    assert (done.states, done.deletions) == (1, 1)
    [deleted] = [content for _, content in again.records() if content["op"] == "d"]
    capture.delete("res.partner", [2], NOW)
    [own] = [content for _, content in broker.records() if content["op"] == "d"]
    assert deleted["event_id"] == own["event_id"]
    # Without the capture's memory the id is of the state that the store had last: the same at every try.
    twice = FakeBroker()
    for _ in range(2):
        repair(found, twice).apply(VENDORS, [vendor(2, "gone")], NOW)
    assert len({content["event_id"] for _, content in twice.records()}) == 1


def test_what_the_store_holds_for_deleted_comes_back_without_its_stamp() -> None:
    again = FakeBroker()
    deleted = {Reference("vendor", 1)}
    repair(odoo(), again).apply(VENDORS, [vendor(1, "missing"), vendor(2, "missing")], NOW, deleted)
    stamps = {content["record_id"]: content["source_write_date"] for _, content in again.records()}
    assert stamps == {"1": None, "2": NOW - timedelta(hours=2)}
