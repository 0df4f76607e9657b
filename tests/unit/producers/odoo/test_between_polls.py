"""Hints and requested snapshots: read between the polls, and what a crash, a rollback or a late commit does to them."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from finwatch.runtime.clock import ManualClock
from finwatch.runtime.metrics import Metrics
from producers.hints import Hint
from producers.odoo.capture import Capture, CaptureSettings
from producers.odoo.errors import UnknownField
from producers.odoo.hinted import WAITS
from producers.signals import SnapshotRequest
from tests.unit.producers.odoo.fakes import BrokerState, Crash, FakeBroker, FakeOdoo, encode
from tests.unit.producers.odoo.test_capture import START, capture, names, partner, visible

MODEL = "res.partner"


def hint(record_id: int, model: str = MODEL) -> Hint:
    return Hint("erp", model, record_id, START)


def request(name: str = "r1", model: str = MODEL, **what: Any) -> SnapshotRequest:
    return SnapshotRequest(name, "erp", model, START, **what)


def states(broker: FakeBroker) -> list[dict[str, Any]]:
    return [dict(content) for record, content in broker.records() if record == "finwatch.Vendor"]


def started(count: int = 3, **given: Any) -> tuple[FakeOdoo, FakeBroker, ManualClock, Capture]:
    odoo, broker, clock = FakeOdoo(START), FakeBroker(), ManualClock(START)
    for number in range(1, count + 1):
        odoo.put(MODEL, partner(number, f"P{number}"), START - timedelta(hours=1))
    subject = capture(odoo, broker, clock, **given)
    subject.snapshot()
    return odoo, broker, clock, subject


def test_a_hinted_change_is_published_at_once_and_counted_apart() -> None:
    odoo, broker, _, subject = started()
    odoo.put(MODEL, partner(2, "changed"), START)
    assert subject.work_hints([hint(2), hint(2)]) == 1
    assert (states(broker)[-1]["name"], states(broker)[-1]["mode"], states(broker)[-1]["op"]) == (
        "changed",
        "webhook",
        "u",
    )
    assert subject.poll() == 0  # the window finds it as it is known


def test_a_hint_before_the_commit_is_read_again_until_it_is_there() -> None:
    odoo, broker, clock, subject = started()
    assert subject.work_hints([hint(4), hint(2)]) == 0
    for wait in WAITS[1:4]:
        clock.wait(wait, threading.Event())
        assert subject.work_hints() == 0
    odoo.put(MODEL, partner(4, "new"), START)
    odoo.put(MODEL, partner(2, "changed"), START)
    clock.wait(WAITS[4], threading.Event())
    assert subject.work_hints() == 3  # created, and two states
    assert {(one["name"], one["op"], one["mode"]) for one in states(broker)[3:]} == {
        ("new", "c", "webhook"),
        ("changed", "u", "webhook"),
    }


def test_a_phantom_is_forgotten_and_costs_a_few_readings() -> None:
    odoo, broker, clock, subject = started()
    before, calls = len(broker.records()), odoo.calls
    subject.work_hints([hint(2), hint(99)])
    for wait in [*WAITS[1:], 60.0, 60.0]:
        clock.wait(wait, threading.Event())
        subject.work_hints()
    assert len(broker.records()) == before
    assert odoo.calls - calls <= 2 * len(WAITS)


def test_a_hint_of_a_deletion_asks_whether_the_record_is_there() -> None:
    odoo, broker, clock, subject = started()
    subject.work_hints([hint(2)])  # sent before the commit: still there
    del odoo.tables[MODEL][2]
    clock.wait(WAITS[1], threading.Event())
    assert subject.work_hints() == 1
    last = states(broker)[-1]
    assert (last["record_id"], last["op"], last["mode"], last["name"]) == ("2", "d", "webhook", "P2")
    assert subject.sweep() == 0  # and the sweep knows it


def test_hints_of_other_models_are_counted_and_left() -> None:
    metrics = Metrics()
    odoo, broker, clock = FakeOdoo(START), FakeBroker(), ManualClock(START)
    publisher = broker.publisher()
    settings = CaptureSettings(
        source="erp", database="db", account_key=b"k" * 32, models=(MODEL,), languages=("en_US",), partitions=1
    )
    subject = Capture(
        odoo, publisher, clock, settings, encode=encode, state=BrokerState(broker, publisher), metrics=metrics
    )
    subject.snapshot()
    subject.work_hints([hint(1, "calendar.event")])
    labels = {"source": "erp", "outcome": "other_model"}
    assert metrics.registry.get_sample_value("finwatch_capture_hints_total", labels) == 1


def work_off(subject: Capture) -> int:
    pages = 0
    while subject.work_requests():
        pages += 1
        assert pages < 100
    return pages


def test_a_requested_snapshot_publishes_all_again_under_the_same_ids() -> None:
    _, broker, _, subject = started(5)
    first = [content["event_id"] for _, content in broker.records()]
    subject.take_requests([request()], [], 7)
    assert work_off(subject) == 4  # three pages of two, and the end
    again = [content for _, content in broker.records()][len(first) :]
    assert [content["event_id"] for content in again] == first
    assert all(content["snapshot"] and content["op"] == "r" for content in again)
    assert subject.signal_position == 7


def test_a_domain_and_records_given() -> None:
    odoo, broker, _, subject = started(5)
    before = len(states(broker))
    subject.take_requests([request(domain=[["name", "=", "P4"]])], [], 1)
    work_off(subject)
    assert [one["name"] for one in states(broker)[before:]] == ["P4"]
    del odoo.tables[MODEL][3]
    subject.take_requests([request("r2", ids=[2, 3, 77])], [], 2)
    work_off(subject)
    assert [(one["record_id"], one["op"]) for one in states(broker)[before + 1 :]] == [("2", "r"), ("3", "d")]


def test_polls_go_on_between_the_pages() -> None:
    odoo, broker, _, subject = started(6)
    subject.take_requests([request()], [], 1)
    subject.work_requests()
    odoo.put(MODEL, partner(1, "while it ran"), START)
    odoo.put(MODEL, partner(6, "ahead of it"), START)
    subject.poll()
    work_off(subject)
    assert names(broker) == visible(odoo)


@pytest.mark.parametrize("dies_at", range(2, 26))
def test_killed_at_any_record_it_goes_on(dies_at: int) -> None:
    odoo, broker, clock, subject = started(6)
    subject.take_requests([request()], [], 9)
    before = len(broker.records())
    heir = capture(odoo, broker, clock, dies_at=dies_at, left=1)
    try:
        work_off(heir)
    except Crash:
        last = capture(odoo, broker, clock)
        assert last.signal_position == 9
        work_off(last)
    again = Counter(content["event_id"] for _, content in broker.records()[before:])
    assert set(again) == {content["event_id"] for _, content in broker.records()[:before]}
    assert max(again.values()) <= 2


def test_what_cannot_be_read_as_asked_is_dropped_and_the_model_goes_on() -> None:
    odoo, broker, _, subject = started()
    subject.take_requests([request(model="account.move"), request("r2", domain=[["nothing", "=", 1]])], ["junk"], 3)
    odoo.failures[MODEL] = UnknownField("search_read on res.partner")
    assert subject.work_requests()
    odoo.failures.clear()
    assert not subject.work_requests()
    assert MODEL not in subject.stopped_models
    odoo.put(MODEL, partner(1, "on"), START)
    assert subject.poll() == 1
    assert names(broker) == visible(odoo)
