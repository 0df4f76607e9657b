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
from producers.odoo.tracking import FIELD_FIELDS, FIELD_MODEL, MESSAGE_FIELDS, MESSAGE_MODEL, VALUE_FIELDS, VALUE_MODEL
from producers.signals import Held, SnapshotRequest
from tests.unit.producers.odoo.fakes import (
    PARTNER_FIELDS,
    BrokerState,
    Crash,
    FakeBroker,
    FakeOdoo,
    FakePublisher,
    encode,
)
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


def test_a_hint_is_read_between_two_models_of_a_poll() -> None:
    """A poll of all models can take seconds, which a hint does not wait for; nothing is told twice by it."""
    fields = {
        MODEL: PARTNER_FIELDS,
        "purchase.order": ("name", "state", "write_date"),
        "purchase.order.line": ("order_id", "write_date"),
    }
    odoo, broker, clock = FakeOdoo(START, fields), FakeBroker(), ManualClock(START)
    odoo.put(MODEL, partner(2, "P2"), START - timedelta(hours=1))
    subject = capture(odoo, broker, clock, models=(MODEL, "purchase.order"))
    subject.snapshot()
    polling: list[bool] = []

    def between() -> None:
        odoo.put(MODEL, partner(2, "changed"), START)
        polling.append(subject.work_hints([hint(2)]) == 1)

    before = len(states(broker))
    subject.poll(between=between)
    assert polling == [True]
    assert subject.poll() == 0  # the next window finds it as it is known
    assert [(one["name"], one["mode"]) for one in states(broker)[before:]] == [("changed", "webhook")]


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


def test_a_change_does_not_end_a_hint_and_a_deletion_does() -> None:
    """An older change may have been found, or a record that was deleted before its lines were read."""
    odoo, broker, clock, subject = started()
    for number, wait in enumerate(WAITS[:-1]):
        clock.wait(wait + 0.01, threading.Event())
        odoo.put(MODEL, partner(1, f"older {number}"), START)
        odoo.put(MODEL, partner(2, f"older {number}"), START)
        assert subject.work_hints([hint(1), hint(2)] if number == 0 else ()) == 2
    odoo.put(MODEL, partner(1, "hinted"), START)
    del odoo.tables[MODEL][2]
    clock.wait(WAITS[-1] + 0.01, threading.Event())
    assert subject.work_hints() == 2
    assert [(one["name"], one["op"]) for one in states(broker)[-2:]] == [
        ("hinted", "u"),
        (f"older {len(WAITS) - 2}", "d"),
    ]
    calls = odoo.calls
    clock.wait(60.0, threading.Event())
    assert subject.work_hints() == 0
    assert odoo.calls == calls  # nothing waits any more


@pytest.mark.parametrize("commits_after", [0.05, 0.31, 0.72, 1.35, 1.95, 2.55, 3.0])
def test_what_commits_within_three_seconds_of_its_hint_is_read_within_less_than_one(commits_after: float) -> None:
    odoo, _, clock, subject = started()
    told, now = subject.work_hints([hint(2)]), 0.0
    while now < commits_after:
        clock.wait(0.01, threading.Event())
        now += 0.01
        told += subject.work_hints()
    assert told == 0
    odoo.put(MODEL, partner(2, "changed"), START)
    while not subject.work_hints():
        clock.wait(0.01, threading.Event())
        now += 0.01
    assert now - commits_after <= 0.85


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


def test_a_domain_that_odoo_would_leave_out_reads_nothing() -> None:
    """Odoo does not refuse a term on a field that cannot be searched for: it answers every record."""
    odoo, broker, _, subject = started()
    odoo.unsearchable.add((MODEL, "name"))
    before = len(broker.records())
    asked = [request(domain=["|", ["active", "=", True], ["name", "=", "P1"]]), request("r2", domain=[["id", "=", 1]])]
    subject.take_requests(asked, [], 1)
    assert subject.work_requests()
    assert len(broker.records()) == before
    work_off(subject)
    assert [one["name"] for one in states(broker)[3:]] == ["P1"]


def deletions(broker: FakeBroker) -> list[tuple[str, str, str]]:
    return [(one["record_id"], one["op"], one["event_id"]) for one in states(broker) if one["op"] == "d"]


def test_what_somebody_holds_that_the_source_lacks_is_told_deleted_again() -> None:
    """The deletion was published, and lost behind the topics: the producer remembers nothing of the record."""
    metrics = Metrics()
    odoo, broker, _, subject = started(3, metrics=metrics)
    del odoo.tables[MODEL][2]
    subject.take_requests([request(ids=[2], held=[Held("vendor", 2, "e" * 32)])], [], 1)
    work_off(subject)
    [own] = deletions(broker)  # as it would have been without the asking: from what is remembered
    subject.take_requests([request("r2", ids=[2])], [], 2)
    work_off(subject)
    assert deletions(broker) == [own]  # nobody holds it
    for name in ("r3", "r4"):
        subject.take_requests([request(name, ids=[2, 3], held=[Held("vendor", 2, "e" * 32)])], [], 3)
        work_off(subject)
    told = deletions(broker)[1:]
    assert [one[:2] for one in told] == [("2", "d")] * 2
    assert len({one[2] for one in told}) == 1  # the same at every try
    recaptured = "finwatch_capture_recaptured_total"
    count = metrics.registry.get_sample_value
    assert count(recaptured, {"source": "erp", "kind": "deletion"}) == 3
    assert count(recaptured, {"source": "erp", "kind": "state"}) == 2


def test_what_is_held_for_deleted_comes_back_as_of_now() -> None:
    _, broker, _, subject = started(2)
    before = states(broker)
    subject.take_requests([request(ids=[1, 2], held=[Held("vendor", 1, "e" * 32, True)])], [], 1)
    work_off(subject)
    again = states(broker)[len(before) :]
    assert [one["source_write_date"] for one in again] == [None, before[1]["source_write_date"]]
    assert again[0]["occurred_at"] == again[0]["observed_at"]
    # Whoever knows the id of its state would drop it; of what is not held for deleted the id is the same.
    assert again[0]["event_id"] != before[0]["event_id"]
    assert again[1]["event_id"] == before[1]["event_id"]
    # Asked for once more, it is the same event.
    subject.take_requests([request("r1b", ids=[1], held=[Held("vendor", 1, "e" * 32, True)])], [], 1)
    work_off(subject)
    assert states(broker)[-1]["event_id"] == again[0]["event_id"]
    # Only what was asked for, and only then.
    subject.take_requests([request("r2", ids=[1])], [], 2)
    work_off(subject)
    assert states(broker)[-1]["source_write_date"] is not None


def test_given_records_may_be_asked_for_before_the_first_snapshot() -> None:
    odoo, broker, clock = FakeOdoo(START), FakeBroker(), ManualClock(START)
    for number in (1, 2, 3):
        odoo.put(MODEL, partner(number, f"P{number}"), START - timedelta(hours=1))
    subject = capture(odoo, broker, clock)
    subject.take_requests([request(ids=[2])], [], 1)
    assert not subject.work_requests()
    while subject.work_requests(anyway=True):
        pass
    assert [one["record_id"] for one in states(broker)] == ["2"]
    subject.snapshot()
    assert sorted(one["record_id"] for one in states(broker)) == ["1", "2", "3"]


class SlowBroker(FakeBroker):
    """Every record takes a while: time moves where the capture publishes, and not where a page is read ahead of it."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def publisher(self, dies_at: int | None = None, delivered_at_death: int = 0) -> FakePublisher:
        """One that takes its time."""
        made, clock = super().publisher(dies_at, delivered_at_death), self._clock
        publish = made.publish

        def slowly(topic: str, key: str, value: Any, partition: int | None = None) -> None:
            clock.wait(0.3, threading.Event())
            publish(topic, key, value, partition)

        made.publish = slowly  # type: ignore[method-assign]
        return made


@pytest.mark.parametrize("read_ahead", [False, True])
def test_hints_are_served_during_the_first_snapshot(read_ahead: bool) -> None:
    """Behind the cursor at once, before it when the cursor has passed; nothing older is published after the newer."""
    clock, odoo = ManualClock(START), FakeOdoo(START)
    broker = SlowBroker(clock)
    for number in range(1, 21):
        odoo.put(MODEL, partner(number, f"P{number}"), START - timedelta(hours=1))
    subject = capture(odoo, broker, clock, read_ahead=read_ahead)
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        told: list[Hint] = []
        for number in (1, 2 * looks, 2 * looks + 1, 2 * looks + 3, 20):  # behind the cursor, about it, at the end
            if number <= 20:
                odoo.put(MODEL, partner(number, f"new {looks}"), START)
                told.append(hint(number))
        subject.work_hints(told)
        last = {one["record_id"]: one for one in states(broker)}
        assert (last["1"]["name"], last["1"]["mode"]) == (f"new {looks}", "webhook")

    subject.snapshot(look)
    assert looks >= 8
    for _ in WAITS:
        clock.wait(10.0, threading.Event())
        subject.work_hints()
    assert names(broker) == visible(odoo)
    assert subject.poll() == 0
    ids = [content["event_id"] for _, content in broker.records()]
    assert len(ids) == len(set(ids))


class Chatty(FakeOdoo):
    """A server with a tracking log whose pages take a second each."""

    def __init__(self, clock: ManualClock) -> None:
        fields = {
            MODEL: PARTNER_FIELDS,
            VALUE_MODEL: (*VALUE_FIELDS, "create_date"),
            MESSAGE_MODEL: MESSAGE_FIELDS,
            FIELD_MODEL: FIELD_FIELDS,
        }
        super().__init__(START, fields)
        self.clock = clock
        field = {"id": 5, "name": "name", "model": MODEL, "ttype": "char", "field_description": "Name"}
        self.put(FIELD_MODEL, field, START)

    def chat(self, number: int, record_id: int) -> None:
        at = {"create_date": f"{self.now:%Y-%m-%d %H:%M:%S}", "create_uid": [7, "Ana"]}
        message = {"id": number, "model": MODEL, "res_id": record_id, "date": at["create_date"], **at}
        self.put(MESSAGE_MODEL, message, self.now)
        value = {"id": number, "field_id": [5, "Name"], "mail_message_id": [number, "m"], **at}
        self.put(VALUE_MODEL, {**value, "old_value_char": "a", "new_value_char": f"b{number}"}, self.now)

    def search_read(self, model: str, *given: Any, **options: Any) -> Any:
        if model == VALUE_MODEL:
            self.clock.wait(1.0, threading.Event())
            self.now = self.clock.now()
        return super().search_read(model, *given, **options)


def test_the_logs_window_keeps_the_budget_of_a_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.odoo.reader.CHILD_PAGE", 2)
    clock, broker, metrics = ManualClock(START), FakeBroker(), Metrics()
    odoo = Chatty(clock)
    odoo.put(MODEL, partner(1, "P1"), START)
    options: dict[str, Any] = {"sweep_interval": 0.0, "heartbeat_interval": 0.0, "read_ahead": False}
    subject = capture(odoo, broker, clock, poll_budget=2.0, metrics=metrics, **options)
    subject.snapshot()
    logged_at = odoo.now
    for number in range(1, 41):
        odoo.chat(number, 1)

    def told() -> list[str]:
        transitions = [content for name, content in broker.records() if name == "finwatch.Transition"]
        return [one["new_value"] for one in transitions if one["mode"] == "tracking"]

    polls = 0
    while len(told()) < 40:
        began = clock.monotonic()
        subject.poll()
        polls += 1
        assert clock.monotonic() - began <= 2.0 + 2.0  # the page under way
        if len(told()) < 40:  # what is behind the cut is not said to be there
            assert all(content["at"] <= logged_at for content in broker.heartbeats())
        if polls == 3:
            odoo.chat(41, 1)  # while it is cut: ahead of it
        assert polls < 30
    assert polls > 5
    for _ in range(30):
        subject.poll()
    assert told() == [f"b{number}" for number in range(1, 42)]  # each once, in order
    assert (metrics.registry.get_sample_value("finwatch_capture_polls_cut_total", {"source": "erp"}) or 0) > 5
    assert max(content["at"] for content in broker.heartbeats()) > logged_at


class Stopping:
    """Hints that never come; after a number of looks it is over."""

    def __init__(self, looks: int, stop: threading.Event) -> None:
        self._looks, self._stop = looks, stop

    def read(self, seconds: float) -> list[Hint]:
        self._looks -= 1
        if self._looks <= 0:
            self._stop.set()
        return []


def restarted(odoo: FakeOdoo, broker: FakeBroker, looks: int = 20, **given: Any) -> Capture:
    """A second life that has been between two polls for a while."""
    stop = threading.Event()
    subject = capture(odoo, broker, ManualClock(START), sweep_interval=0.0, **given)
    subject.run(stop, hints=Stopping(looks, stop))
    return subject


def test_after_a_restart_the_values_before_a_change_are_known() -> None:
    odoo, broker, _, _ = started(5)
    subject = restarted(odoo, broker)
    odoo.put(MODEL, partner(2, "changed"), START)
    del odoo.tables[MODEL][3]
    assert subject.work_hints([hint(2), hint(3)]) == 2
    by_id = {one["record_id"]: one for one in states(broker)}
    assert [(one["field"], one["old"], one["new"]) for one in by_id["2"]["changes"]] == [("name", '"P2"', '"changed"')]
    assert (by_id["3"]["op"], by_id["3"]["name"]) == ("d", "P3")


def test_what_changed_while_it_was_down_has_no_before_and_is_told_once() -> None:
    odoo, broker, _, _ = started(3)
    odoo.put(MODEL, partner(2, "while down"), START)
    subject = restarted(odoo, broker)
    told = [one for one in states(broker) if one["record_id"] == "2"]
    assert [one["name"] for one in told] == ["P2", "while down"]
    assert told[-1]["changes"] == []  # not known, and nothing is guessed
    assert subject.poll() == 0


@pytest.mark.parametrize("given", [{"warm_rows": 0}, {"contents": 0}])
def test_nothing_is_read_for_it_when_told_so(given: dict[str, Any]) -> None:
    odoo, broker, _, _ = started(5)
    calls: list[Any] = []
    original = odoo.search_read
    odoo.search_read = lambda *args, **options: calls.append(args) or original(*args, **options)  # type: ignore
    restarted(odoo, broker, **given)
    assert not [args for args in calls if args[0] == MODEL and any(term[:2] == ("id", "in") for term in args[1])]


def test_newest_first_and_no_more_than_told() -> None:
    odoo, broker, _, _ = started(6)
    subject = restarted(odoo, broker, warm_rows=2)
    for number in (6, 4):
        odoo.put(MODEL, partner(number, f"changed {number}"), START)
    subject.work_hints([hint(6), hint(4)])
    by_id = {one["record_id"]: one for one in states(broker)}
    assert by_id["6"]["changes"] and not by_id["4"]["changes"]
