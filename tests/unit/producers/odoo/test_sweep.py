"""The sweep: what no window can find, in bounded slices, and nothing twice."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from finwatch.runtime.clock import ManualClock
from finwatch.runtime.metrics import Metrics
from producers.odoo.capture import Capture, CaptureSettings
from producers.odoo.errors import AccessRefused
from producers.odoo.mapping import BY_MODEL, MAPPINGS, Mappings
from producers.odoo.sweep import FEW, fingerprint, suspicious
from tests.unit.producers.odoo.fakes import PARTNER_FIELDS, BrokerState, Crash, FakeBroker, FakeOdoo, encode

START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
LINE_FIELDS = ("order_id", "name", "price_unit", "write_date")
ORDER_FIELDS = ("name", "state", "partner_id", "create_uid", "create_date", "write_uid", "write_date")


def partner(record_id: int, name: str) -> dict[str, Any]:
    return {
        "id": record_id,
        "name": name,
        "active": True,
        "create_uid": [7, "Ana"],
        "create_date": "2026-11-02 07:00:00",
        "write_uid": [7, "Ana"],
    }


def capture(odoo: FakeOdoo, broker: FakeBroker, clock: ManualClock, **given: Any) -> Capture:
    publisher = broker.publisher(given.pop("dies_at", None))
    metrics = given.pop("metrics", None)
    options: dict[str, Any] = {
        "models": ("res.partner",),
        "partitions": 1,
        "languages": ("en_US",),
        "sweep_interval": 0.0,
        "sweep_recent": timedelta(0),  # stamps alone, so that the tests are of them
        "heartbeat_interval": 1e9,
    }
    return Capture(
        odoo,
        publisher,
        clock,
        CaptureSettings(source="erp", database="db", account_key=b"k" * 32, **(options | given)),
        encode=encode,
        state=BrokerState(broker, publisher),
        metrics=metrics,
    )


def found(broker: FakeBroker, since: int = 0) -> list[tuple[str, str, str]]:
    """(record id, op, mode) of the states published."""
    return [
        (content["record_id"], content["op"], content["mode"])
        for record, content in broker.records()[since:]
        if record != "finwatch.Transition"
    ]


@pytest.fixture
def odoo() -> FakeOdoo:
    """Thirty partners, written long ago."""
    made = FakeOdoo(START)
    for number in range(1, 31):
        made.put("res.partner", partner(number, f"P{number}"), START - timedelta(days=2, hours=number))
    return made


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


def test_a_commit_beyond_the_overlap_is_found(odoo: FakeOdoo, broker: FakeBroker, clock: ManualClock) -> None:
    subject = capture(odoo, broker, clock)
    subject.snapshot()
    odoo.now = START + HOUR
    subject.poll()
    before = len(broker.records())
    odoo.put("res.partner", partner(7, "late"), START + timedelta(seconds=5))
    odoo.put("res.partner", partner(40, "late and new"), START + timedelta(seconds=5))
    assert subject.poll() == 0  # the window does not see them
    assert subject.sweep() == 3  # with the creation of the new one
    assert found(broker, before) == [("7", "u", "sweep"), ("40", "c", "sweep")]
    assert subject.sweep() == 0


def test_a_record_created_inside_swept_ids_is_found(odoo: FakeOdoo, broker: FakeBroker, clock: ManualClock) -> None:
    del odoo.tables["res.partner"][12]
    subject = capture(odoo, broker, clock)
    subject.snapshot()
    subject.sweep()
    odoo.now = START + HOUR
    subject.poll()
    odoo.put("res.partner", partner(12, "id taken early"), START + timedelta(seconds=5))
    subject.sweep()
    assert found(broker)[-1] == ("12", "c", "sweep")


def test_deletions_are_found_once(odoo: FakeOdoo, broker: FakeBroker, clock: ManualClock) -> None:
    subject = capture(odoo, broker, clock, page_size=4)
    subject.snapshot()
    before = len(broker.records())
    for gone in (1, 15, 30):  # the first, one within, the last
        del odoo.tables["res.partner"][gone]
    assert subject.sweep() == 3
    assert found(broker, before) == [("1", "d", "deleted"), ("15", "d", "deleted"), ("30", "d", "deleted")]
    assert subject.sweep() == 0
    again = capture(odoo, broker, clock)
    assert again.snapshot() + again.sweep() == 0


def test_what_was_told_as_deleted_comes_back(odoo: FakeOdoo, broker: FakeBroker, clock: ManualClock) -> None:
    """A right taken away and given back, or a row put back as it was: its stamp is older than the deletion."""

    def states() -> list[dict[str, Any]]:
        return [content for record, content in broker.records() if record != "finwatch.Transition"]

    subject = capture(odoo, broker, clock)
    subject.snapshot()
    (first,) = [one for one in states() if one["record_id"] == "7"]
    row = odoo.tables["res.partner"].pop(7)
    clock.wait(60, threading.Event())
    odoo.now = clock.now()
    subject.sweep()
    odoo.tables["res.partner"][7] = row
    clock.wait(60, threading.Event())
    odoo.now = clock.now()
    again = capture(odoo, broker, clock)  # it is known across a restart too
    again.sweep()
    deleted, back = states()[-2:]
    assert (deleted["op"], back["op"], back["mode"]) == ("d", "c", "sweep")
    assert back["name"] == first["name"] and back["event_id"] != first["event_id"]
    assert back["source_write_date"] is None and back["occurred_at"] == back["observed_at"] > deleted["occurred_at"]
    assert again.sweep() == 0
    # Each time over is another event, or readers that know ids would stay with the first.
    odoo.tables["res.partner"].pop(7)
    again.sweep()
    odoo.tables["res.partner"][7] = row
    again.sweep()
    assert len({one["event_id"] for one in states()[-4:]}) == 4


def test_everything_deleted_is_withheld_and_said(odoo: FakeOdoo, broker: FakeBroker, clock: ManualClock) -> None:
    """A lost right, or another database: it looks like a deletion of all."""
    metrics = Metrics()
    subject = capture(odoo, broker, clock, metrics=metrics)
    subject.snapshot()
    kept = dict(odoo.tables["res.partner"])
    odoo.tables["res.partner"].clear()
    assert subject.sweep() == 0
    withheld = {"source": "erp", "kind": "deletions_withheld"}
    assert metrics.registry.get_sample_value("finwatch_capture_errors_total", withheld) == 1
    odoo.tables["res.partner"].update(kept)
    assert subject.sweep() == 0  # nothing was forgotten
    odoo.tables["res.partner"].clear()
    assert capture(odoo, broker, clock, sweep_deletions=1.0).sweep() == 30


def test_an_archived_record_is_not_deleted() -> None:
    assert all(
        mapping.context.get("active_test") is False for mapping in MAPPINGS if "active" in {*mapping.fields.common}
    )  # else the slice would not have it, and only the second search would


def test_a_slice_a_poll(odoo: FakeOdoo, broker: FakeBroker, clock: ManualClock) -> None:
    subject = capture(odoo, broker, clock, sweep_interval=600.0, sweep_rows=10)
    subject.snapshot()
    odoo.now = START + HOUR
    del odoo.tables["res.partner"][28]
    published = []
    for _ in range(4):
        published.append(subject.poll())
    assert published == [0, 0, 1, 0]  # ten ids a poll: 28 is in the third
    del odoo.tables["res.partner"][29]
    assert subject.poll() == 0  # the round is over, the next is not due
    clock.set(START + timedelta(seconds=601))
    assert [subject.poll() for _ in range(3)] == [0, 0, 1]


def test_a_restart_goes_on_where_the_sweep_was(odoo: FakeOdoo, broker: FakeBroker, clock: ManualClock) -> None:
    settings: dict[str, Any] = {"sweep_interval": 600.0, "sweep_rows": 10}
    subject = capture(odoo, broker, clock, **settings)
    subject.snapshot()
    subject.poll()
    subject.poll()
    del odoo.tables["res.partner"][28]
    assert capture(odoo, broker, clock, **settings).poll() == 1


def test_what_is_read_whole_in_a_slice_is_bounded(odoo: FakeOdoo, broker: FakeBroker, clock: ManualClock) -> None:
    subject = capture(odoo, broker, clock, page_size=4)
    subject.snapshot()
    odoo.now = START + HOUR
    subject.poll()
    before = len(broker.records())
    for number in range(1, 31):
        odoo.put("res.partner", partner(number, "late"), START)
    assert subject.sweep() == 30
    assert [record_id for record_id, _, _ in found(broker, before)] == [str(number) for number in range(1, 31)]


@pytest.mark.parametrize("dies_at", range(1, 12))
def test_a_deletion_has_one_id_across_a_crash(
    odoo: FakeOdoo, broker: FakeBroker, clock: ManualClock, dies_at: int
) -> None:
    """Also when the state that ended was published and not remembered yet."""
    capture(odoo, broker, clock).snapshot()
    odoo.now = START + HOUR
    odoo.put("res.partner", partner(5, "changed"), odoo.now)
    subject = capture(odoo, broker, clock, dies_at=dies_at, settle_interval=1e9)
    try:
        subject.poll()
        del odoo.tables["res.partner"][5]
        subject.sweep()
    except Crash:
        odoo.tables["res.partner"].pop(5, None)
    subject = capture(odoo, broker, clock)
    subject.poll()
    subject.sweep()
    gone = [content["event_id"] for _, content in broker.records() if content["op"] == "d"]
    assert gone
    assert len(set(gone)) == 1


def test_same_second_within_recent_is_read_whole(odoo: FakeOdoo, broker: FakeBroker, clock: ManualClock) -> None:
    """Two transactions that began in one second have the same stamp over RPC; the later commit is found."""
    subject = capture(odoo, broker, clock, sweep_recent=HOUR)
    odoo.put("res.partner", partner(3, "first"), START + timedelta(milliseconds=100))
    subject.snapshot()
    odoo.now = START + timedelta(minutes=10)
    subject.poll()
    odoo.put("res.partner", partner(3, "second"), START + timedelta(milliseconds=900))
    assert subject.poll() == 0
    assert subject.sweep() == 1
    assert found(broker)[-1] == ("3", "u", "sweep")


def test_same_second_is_read_whole_however_late_the_round(
    odoo: FakeOdoo, broker: FakeBroker, clock: ManualClock
) -> None:
    """The commit is within `recent` of its transaction's start, the next round comes hours later, by a new process."""
    subject = capture(odoo, broker, clock, sweep_recent=HOUR)
    odoo.put("res.partner", partner(3, "first"), START + timedelta(milliseconds=100))
    subject.snapshot()
    odoo.now = START + timedelta(minutes=49)
    subject.poll()
    odoo.put("res.partner", partner(3, "second"), START + timedelta(milliseconds=900))
    odoo.now = START + 5 * HOUR
    subject = capture(odoo, broker, clock, sweep_recent=HOUR)
    subject.snapshot()
    assert subject.poll() == 0
    odoo.calls = 0
    assert subject.sweep() == 1
    assert found(broker)[-1] == ("3", "u", "sweep")
    # That pass counts: in the next one the stamp tells again, and the document is not read whole.
    asked, odoo.calls = odoo.calls, 0
    assert subject.sweep() == 0
    assert odoo.calls == asked - 1


def orders() -> FakeOdoo:
    made = FakeOdoo(
        START,
        {"res.partner": PARTNER_FIELDS, "purchase.order": ORDER_FIELDS, "purchase.order.line": LINE_FIELDS},
    )
    long_ago = START - timedelta(days=2)
    stamps = {"create_uid": [7, "Ana"], "create_date": "2026-10-30 07:00:00", "write_uid": [7, "Ana"]}
    made.put("purchase.order", {"id": 1, "name": "P1", "state": "draft", **stamps}, long_ago)
    for number in (1, 2):
        made.put("purchase.order.line", {"id": number, "order_id": [1, "P1"], "name": f"L{number}"}, long_ago)
    return made


@pytest.mark.parametrize("change", ["deleted", "late", "added"])
def test_a_line_changes_its_parent(change: str, broker: FakeBroker, clock: ManualClock) -> None:
    """Whatever happens to a line shows as a change of its document, with no stamp of the document itself."""
    odoo = orders()
    subject = capture(odoo, broker, clock, models=("purchase.order",))
    subject.snapshot()
    odoo.now = START + HOUR
    subject.poll()
    if change == "deleted":
        del odoo.tables["purchase.order.line"][2]
    else:
        row = {"id": 2 if change == "late" else 3, "order_id": [1, "P1"], "name": "other"}
        odoo.put("purchase.order.line", row, START)
    assert subject.poll() == 0
    assert subject.sweep() == 1
    assert found(broker)[-1] == ("1", "u", "sweep")
    lines = [line["label"] for line in broker.records()[-1][1]["lines"]]
    assert lines == {"deleted": ["L1"], "late": ["L1", "other"], "added": ["L1", "L2", "other"]}[change]


def test_a_model_without_stamps_is_read_whole(odoo: FakeOdoo, broker: FakeBroker, clock: ManualClock) -> None:
    whole = Mappings((replace(BY_MODEL["res.partner"], stamped=False),))
    stamped, unstamped = capture(odoo, broker, clock), capture(odoo, broker, clock, mappings=whole)
    stamped.snapshot()
    odoo.tables["res.partner"][9]["name"] = "by plain SQL"
    assert stamped.poll() + stamped.sweep() == 0
    assert unstamped.sweep() == 1
    assert found(broker)[-1] == ("9", "u", "sweep")


def test_a_model_that_is_refused_does_not_hold_the_others(broker: FakeBroker, clock: ManualClock) -> None:
    odoo = orders()
    odoo.put("res.partner", partner(1, "P1"), START - timedelta(days=1))
    subject = capture(odoo, broker, clock, models=("res.partner", "purchase.order"))
    subject.snapshot()
    odoo.failures["res.partner"] = AccessRefused("search_read on res.partner")
    del odoo.tables["purchase.order"][1]
    assert subject.sweep() == 1
    assert subject.stopped_models["res.partner"] == "access_refused"


def test_the_fingerprint_tells_lines_and_stamps_apart() -> None:
    row, line = {"write_date": "a"}, {"id": 1, "write_date": "a"}
    prints = {
        fingerprint(row, {}),
        fingerprint({"write_date": "b"}, {}),
        fingerprint(row, {"l": [line]}),
        fingerprint(row, {"l": [line | {"id": 2}]}),
        fingerprint(row, {"l": [line | {"write_date": "b"}]}),
        fingerprint({**row, "move_id.write_date": "a"}, {}),
    }
    assert len(prints) == 6
    assert fingerprint({**row, "name": "x"}, {"l": [line | {"name": "y"}]}) == fingerprint(row, {"l": [line]})


def test_few_missing_are_believed() -> None:
    assert not suspicious(FEW, FEW, 0.1)
    assert suspicious(FEW + 1, FEW + 1, 0.1)
    assert not suspicious(100, 1000, 0.1)
