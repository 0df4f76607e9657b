"""The capture's guarantees: nothing lost, nothing twice, and after a death only identical ids again."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finwatch.runtime.clock import ManualClock
from finwatch.runtime.metrics import Metrics
from producers.odoo.capture import Capture, CaptureSettings
from producers.odoo.errors import AccessDenied, AccessRefused, Unavailable
from tests.unit.producers.odoo.fakes import PARTNER_FIELDS, BrokerState, Crash, FakeBroker, FakeOdoo, encode

START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
OVERLAP = 180


def partner(record_id: int, name: str, uid: int = 7) -> dict[str, Any]:
    return {
        "id": record_id,
        "name": name,
        "active": True,
        "is_company": True,
        "supplier_rank": 1,
        "create_uid": [7, "Ana"],
        "create_date": "2026-11-02 07:00:00",
        "write_uid": [uid, "Ana"],
    }


def capture(
    odoo: FakeOdoo, broker: FakeBroker, clock: ManualClock, *, dies_at: int | None = None, left: int = 0, **given_: Any
) -> Capture:
    publisher, metrics = broker.publisher(dies_at, left), given_.pop("metrics", None)
    options: dict[str, Any] = {"models": ("res.partner",), "page_size": 2, "partitions": 1, "languages": ("en_US",)}
    return Capture(
        odoo,
        publisher,
        clock,
        CaptureSettings(source="erp", database="db", account_key=b"k" * 32, **(options | given_)),
        encode=encode,
        state=BrokerState(broker, publisher),
        metrics=metrics,
    )


def names(broker: FakeBroker) -> dict[str, str]:
    """Last published name of each partner."""
    return {
        content["record_id"]: content["name"] for record, content in broker.records() if record == "finwatch.Vendor"
    }


def visible(odoo: FakeOdoo) -> dict[str, str]:
    return {str(key): row["name"] for key, row in odoo.tables["res.partner"].items()}


def test_a_snapshot_reads_every_page_and_says_who_created() -> None:
    odoo, broker, clock = FakeOdoo(START), FakeBroker(), ManualClock(START)
    for number in range(1, 6):
        odoo.put("res.partner", partner(number, f"P{number}"), START - timedelta(hours=number))
    assert capture(odoo, broker, clock).snapshot() == 10
    assert names(broker) == visible(odoo)
    created = [content for record, content in broker.records() if record == "finwatch.Transition"]
    assert [(one["activity"], one["actor"]) for one in created] == [("created", "7")] * 5
    assert {content["op"] for _, content in broker.records()} == {"r"}
    assert all(content["snapshot"] for _, content in broker.records())


def test_saving_a_record_as_it_was_is_no_event() -> None:
    odoo, broker, clock = FakeOdoo(START), FakeBroker(), ManualClock(START)
    odoo.put("res.partner", partner(1, "P1"), START)
    subject = capture(odoo, broker, clock)
    subject.snapshot()
    odoo.now = START + timedelta(seconds=10)
    odoo.put("res.partner", partner(1, "P1", uid=9), odoo.now)
    assert subject.poll() == 0
    odoo.put("res.partner", partner(1, "P1 Ltd", uid=9), odoo.now)
    assert subject.poll() == 1


def test_a_return_to_an_earlier_content_is_a_new_event() -> None:
    odoo, broker, clock = FakeOdoo(START), FakeBroker(), ManualClock(START)
    subject = capture(odoo, broker, clock)
    subject.snapshot()
    for second, name in enumerate(("A", "B", "A"), start=1):
        odoo.now = START + timedelta(seconds=second)
        odoo.put("res.partner", partner(1, name), odoo.now)
        subject.poll()
    states = [content for record, content in broker.records() if record == "finwatch.Vendor"]
    assert [one["name"] for one in states] == ["A", "B", "A"]
    assert len({one["event_id"] for one in states}) == 3
    assert [one["op"] for one in states] == ["c", "u", "u"]


def test_a_late_commit_is_found_and_named_so() -> None:
    odoo, broker, clock = FakeOdoo(START), FakeBroker(), ManualClock(START)
    subject = capture(odoo, broker, clock)
    subject.snapshot()
    odoo.now = START + timedelta(seconds=100)
    subject.poll()
    odoo.now = START + timedelta(seconds=130)
    odoo.put("res.partner", partner(1, "slow"), START + timedelta(seconds=20))
    odoo.put("res.partner", partner(2, "fast"), odoo.now)
    subject.poll()
    found = {content["name"]: content["mode"] for record, content in broker.records() if record == "finwatch.Vendor"}
    assert found == {"slow": "late", "fast": "window"}


def test_without_overlap_the_same_commit_is_lost() -> None:
    """The test above proves something only if a narrower window does lose it."""
    odoo, broker, clock = FakeOdoo(START), FakeBroker(), ManualClock(START)
    subject = capture(odoo, broker, clock, overlap=timedelta(seconds=5))
    subject.snapshot()
    odoo.now = START + timedelta(seconds=100)
    subject.poll()
    odoo.put("res.partner", partner(1, "slow"), START + timedelta(seconds=20))
    assert subject.poll() == 0


def test_a_refused_model_stops_alone() -> None:
    fields = {"res.partner": PARTNER_FIELDS, "purchase.order": ("name", "state"), "purchase.order.line": ("order_id",)}
    odoo, broker, clock = FakeOdoo(START, fields), FakeBroker(), ManualClock(START)
    odoo.failures["purchase.order"] = AccessRefused("fields_get on purchase.order")
    odoo.put("res.partner", partner(1, "P1"), START)
    metrics = Metrics()
    publisher = broker.publisher()
    subject = Capture(
        odoo,
        publisher,
        clock,
        CaptureSettings(
            source="erp", database="db", account_key=b"k" * 32, models=("res.partner", "purchase.order"), partitions=1
        ),
        encode=encode,
        metrics=metrics,
    )
    subject.snapshot()
    assert names(broker) == {"1": "P1"}
    assert subject.stopped_models["purchase.order"] == "access_refused"
    stopped = metrics.registry.get_sample_value(
        "finwatch_capture_model_stopped", {"source": "erp", "model": "purchase.order"}
    )
    assert stopped == 1


@pytest.mark.parametrize("readable", [True, False])
def test_a_line_of_an_order_says_its_products_category_where_products_may_be_read(readable: bool) -> None:
    fields = {
        "purchase.order": ("name", "state", "write_date"),
        "purchase.order.line": ("order_id", "product_id", "write_date"),
        "product.product": ("categ_id", "write_date"),
        "res.partner": PARTNER_FIELDS,
    }
    odoo, broker, clock = FakeOdoo(START, fields), FakeBroker(), ManualClock(START)
    odoo.put("purchase.order", {"id": 1, "name": "P1", "state": "purchase"}, START)
    for line, product in ((1, [5, "Rod"]), (2, [6, "Bar"]), (3, False)):
        odoo.put("purchase.order.line", {"id": line, "order_id": [1, "P1"], "product_id": product}, START)
    odoo.put("product.product", {"id": 5, "categ_id": [4, "Steel"]}, START)
    odoo.put("product.product", {"id": 6, "categ_id": [9, "Other"]}, START)
    if not readable:
        odoo.failures["product.product"] = AccessRefused("search_read on product.product")
    capture(odoo, broker, clock, models=("purchase.order",)).snapshot()
    [order] = [content for record, content in broker.records() if record == "finwatch.PurchaseOrder"]
    categories = [one["category_id"] for one in order["lines"]]
    assert categories == (["4", "9", None] if readable else [None, None, None])


@pytest.mark.parametrize("readable", [True, False])
def test_an_order_says_what_accounts_its_vendor_is_paid_to_where_they_may_be_read(readable: bool) -> None:
    fields = {
        "purchase.order": ("name", "state", "partner_id", "write_date"),
        "purchase.order.line": ("order_id", "write_date"),
        "res.partner": ("vat", "commercial_partner_id", "bank_ids", "write_date"),
        "res.partner.bank": ("acc_number", "write_date"),
    }
    odoo, broker, clock = FakeOdoo(START, fields), FakeBroker(), ManualClock(START)
    for order, vendor in ((1, [5, "Two"]), (2, [6, "None"]), (3, [7, "One of them"]), (4, False)):
        odoo.put("purchase.order", {"id": order, "name": f"P{order}", "state": "purchase", "partner_id": vendor}, START)
    for vendor, accounts in ((5, [21, 22]), (6, []), (7, [23])):
        odoo.put("res.partner", {"id": vendor, "vat": False, "bank_ids": accounts}, START)
    for account, number in ((21, "NL01 BANK 1"), (22, "NL02 BANK 2"), (23, "nl02bank2")):
        odoo.put("res.partner.bank", {"id": account, "acc_number": number}, START)
    if not readable:
        odoo.failures["res.partner.bank"] = AccessRefused("search_read on res.partner.bank")
    capture(odoo, broker, clock, models=("purchase.order",)).snapshot()
    found = [content["vendor_account_hashes"] for name, content in broker.records() if name == "finwatch.PurchaseOrder"]
    assert [len(one) for one in found] == ([2, 0, 1, 0] if readable else [0, 0, 0, 0])
    if readable:
        assert set(found[2]) < set(found[0]), "one account, however its number is written"
        assert all(len(one) == 64 for one in found[0])


def test_a_stopped_model_is_tried_again() -> None:
    odoo, broker, clock = FakeOdoo(START), FakeBroker(), ManualClock(START)
    odoo.put("res.partner", partner(1, "P1"), START)
    odoo.failures["res.partner"] = AccessRefused("fields_get on res.partner")
    subject = capture(odoo, broker, clock)
    subject.snapshot()
    assert names(broker) == {}
    odoo.failures.clear()
    subject.retry_stopped()
    subject.snapshot()
    assert names(broker) == {"1": "P1"}


class Turns(ManualClock):
    """A clock whose every wait changes what the server answers next; `stop` is set when nothing is left to answer."""

    def __init__(self, odoo: FakeOdoo, answers: list[Exception | None]) -> None:
        super().__init__(START)
        self.odoo, self.answers, self.stop = odoo, iter(answers), threading.Event()
        self.waits: list[float] = []

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        self.waits.append(seconds)
        try:
            failure = next(self.answers)
        except StopIteration:
            self.stop.set()
            failure = None
        self.odoo.failures.clear()
        if failure is not None:
            self.odoo.failures["res.partner"] = failure
        return super().wait(seconds, stop)


def run_through(odoo: FakeOdoo, broker: FakeBroker, answers: list[Exception | None]) -> tuple[Capture, Turns]:
    clock = Turns(odoo, answers)
    subject = Capture(
        odoo,
        broker.publisher(),
        clock,
        CaptureSettings(source="erp", database="db", account_key=b"k" * 32, models=("res.partner",), partitions=1),
        encode=encode,
    )
    subject.run(clock.stop)
    return subject, clock


def test_running_waits_out_an_absent_server() -> None:
    odoo, broker = FakeOdoo(START), FakeBroker()
    odoo.put("res.partner", partner(1, "P1"), START)
    run_through(odoo, broker, [Unavailable("down"), Unavailable("down"), None, None])
    assert names(broker) == {"1": "P1"}
    ids = [content["event_id"] for _, content in broker.records()]
    assert len(ids) == len(set(ids))


def test_a_login_refused_later_is_said_once_and_tried_again_until_it_is_accepted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    odoo, broker = FakeOdoo(START), FakeBroker()
    odoo.put("res.partner", partner(1, "P1"), START)
    denied: list[Exception | None] = [AccessDenied("refused")] * 3

    subject, clock = run_through(odoo, broker, [None, *denied, None, None])
    assert names(broker) == {"1": "P1"}
    assert not subject.denied
    assert clock.waits.count(60.0) == 3
    assert capsys.readouterr().out.count("no longer accepts the login") == 1


def test_a_login_that_was_never_accepted_ends_it() -> None:
    odoo, broker = FakeOdoo(START), FakeBroker()
    odoo.failures["res.partner"] = AccessDenied("refused")
    with pytest.raises(AccessDenied):
        run_through(odoo, broker, [])


class Leisurely(FakeOdoo):
    """A second for every answer."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(START)
        self.clock = clock

    def search_read(self, *args: Any, **options: Any) -> Any:
        rows = super().search_read(*args, **options)
        self.clock.wait(1.0, threading.Event())
        self.now = self.clock.now()
        return rows


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=12), st.sampled_from([1.0, 4.0, 9.0]))
def test_a_poll_keeps_its_time_and_what_does_not_fit_goes_on_in_the_next(
    changed: list[tuple[int, bool]], budget: float
) -> None:
    clock = ManualClock(START)
    odoo, broker = Leisurely(clock), FakeBroker()
    odoo.put("res.partner", partner(1, "P1"), START)
    subject = capture(odoo, broker, clock, poll_budget=budget, read_ahead=False, sweep_interval=0.0)
    subject.snapshot()
    for number in range(1, 31):
        odoo.put("res.partner", partner(number, f"new {number}"), clock.now())
    changes = iter(changed)
    for _ in range(60):
        began = clock.monotonic()
        subject.poll()
        assert clock.monotonic() - began <= budget + 4  # the page under way, the log's
        record_id, while_cut = next(changes, (0, False))
        if record_id and while_cut:  # behind the cut as well as before it
            odoo.put("res.partner", partner(record_id, f"changed at {clock.monotonic()}"), clock.now())
    assert names(broker) == visible(odoo)
    ids = [content["event_id"] for _, content in broker.records()]
    assert len(ids) == len(set(ids))


def test_a_window_that_was_cut_is_not_said_to_be_whole() -> None:
    clock = ManualClock(START)
    odoo, broker = Leisurely(clock), FakeBroker()
    odoo.put("res.partner", partner(1, "P1"), START)
    metrics = Metrics()
    options: dict[str, Any] = {
        "poll_budget": 2.0,
        "read_ahead": False,
        "sweep_interval": 0.0,
        "heartbeat_interval": 0.0,
    }
    subject = capture(odoo, broker, clock, metrics=metrics, **options)
    subject.snapshot()
    changed_at = clock.now()
    for number in range(1, 31):
        odoo.put("res.partner", partner(number, f"new {number}"), changed_at)
    while names(broker) != visible(odoo):
        subject.poll()
        if names(broker) != visible(odoo):
            assert all(content["at"] <= changed_at for content in broker.heartbeats())
    cut = metrics.registry.get_sample_value("finwatch_capture_polls_cut_total", {"source": "erp"}) or 0
    assert cut > 3
    # Every window of this server takes many polls: it is still said how far it was read.
    for _ in range(20):
        subject.poll()
    assert max(content["at"] for content in broker.heartbeats()) > changed_at


def test_heartbeats_follow_what_was_read() -> None:
    odoo, broker, clock = FakeOdoo(START), FakeBroker(), ManualClock(START)
    subject = capture(odoo, broker, clock, partitions=3)
    subject.snapshot()
    assert broker.heartbeats() == []
    odoo.now = START + timedelta(seconds=30)
    subject.poll()
    assert [one["at"] for one in broker.heartbeats()] == [START + timedelta(seconds=30)] * 3
    subject.poll()
    assert len(broker.heartbeats()) == 3  # not more often than the interval


def test_a_deletion_is_published_once_for_what_was_known() -> None:
    odoo, broker, clock = FakeOdoo(START), FakeBroker(), ManualClock(START)
    odoo.put("res.partner", partner(1, "P1"), START)
    subject = capture(odoo, broker, clock)
    subject.snapshot()
    assert subject.delete("res.partner", [1, 2]) == 1
    assert subject.delete("res.partner", [1]) == 0
    record, content = broker.records()[-1]
    assert (record, content["op"], content["mode"]) == ("finwatch.Vendor", "d", "deleted")
    assert (content["document_key"], content["occurred_at"]) == ("erp:vendor:1", START)


def test_a_simulated_clock_governs_the_source_time() -> None:
    odoo, broker, clock = FakeOdoo(START + timedelta(days=400)), FakeBroker(), ManualClock(START)
    odoo.put("res.partner", partner(1, "P1"), START)
    subject = capture(odoo, broker, clock, timeline="log")
    subject.snapshot()
    later = START + timedelta(hours=1)
    odoo.put("res.partner", partner(1, "P2"), later)
    subject.poll(later)
    last = [content for record, content in broker.records() if record == "finwatch.Vendor"][-1]
    assert (last["name"], last["observed_at"], last["timeline"]) == ("P2", later, "log")
    assert broker.heartbeats()[-1]["at"] == later


def test_a_naive_time_is_refused() -> None:
    subject = capture(FakeOdoo(START), FakeBroker(), ManualClock(START))
    with pytest.raises(ValueError, match="naive"):
        subject.poll(datetime(2026, 11, 2))  # noqa: DTZ001


@pytest.mark.parametrize("bad", [{"source": "a:b"}, {"source": ""}, {"models": ("res.nobody",)}, {"page_size": 0}])
def test_settings_that_cannot_be_used_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        CaptureSettings(**({"source": "erp", "database": "db", "account_key": b"k" * 32} | bad))


# One step of the life of a database: let time pass, let a transaction begin, commit one, poll, or die.
steps = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(1, 60)),
        st.tuples(st.just("write"), st.integers(1, 7), st.sampled_from("abc")),
        st.tuples(st.just("commit"), st.integers(0, 3)),
        st.tuples(st.just("poll")),
        st.tuples(st.just("die"), st.integers(1, 14), st.integers(0, 8)),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_nothing_is_lost_and_nothing_is_twice(script: list[tuple[Any, ...]]) -> None:
    """Random transactions that commit late but inside the overlap, polls, and deaths between any two records."""
    odoo, broker, clock = FakeOdoo(START), FakeBroker(), ManualClock(START)
    subject = capture(odoo, broker, clock)
    subject.snapshot()
    open_transactions: list[tuple[datetime, int, str]] = []
    died = False

    def commit(index: int) -> None:
        began, record_id, name = open_transactions.pop(index)
        odoo.put("res.partner", partner(record_id, name), began)

    def look() -> None:
        subject.poll()
        # Nothing lost: after every poll, what was published last is what the database shows.
        assert names(broker) == visible(odoo)

    for step in script:
        if step[0] == "pass":
            odoo.now += timedelta(seconds=step[1], microseconds=137)
            while open_transactions and odoo.now - open_transactions[0][0] > timedelta(seconds=OVERLAP - 61):
                commit(0)
        elif step[0] == "write":
            odoo.now += timedelta(seconds=1)  # one second is the finest that RPC shows
            if all(record_id != step[1] for _, record_id, _ in open_transactions):  # a row lock
                open_transactions.append((odoo.now, step[1], step[2]))
        elif step[0] == "commit" and open_transactions:
            commit(step[1] % len(open_transactions))
        elif step[0] == "poll":
            look()
        elif step[0] == "die":
            subject = capture(odoo, broker, clock, dies_at=step[1], left=step[2])
            try:
                subject.snapshot()
                subject.poll()
            except Crash:
                died = True
            subject = capture(odoo, broker, clock)
            subject.snapshot()
    while open_transactions:
        commit(0)
    look()

    records = [content for _, content in broker.records()]
    counted = Counter(content["event_id"] for content in records)
    if not died:
        assert set(counted.values()) <= {1}
    # A repeat is the same event: apart from how and when it was found, the content is identical.
    by_id: dict[str, Any] = {}
    for content in records:
        told = {name: value for name, value in content.items() if name not in ("op", "mode", "snapshot", "observed_at")}
        assert by_id.setdefault(content["event_id"], told) == told


@pytest.mark.parametrize("dies_at", range(1, 40))
def test_a_snapshot_goes_on_where_it_died(dies_at: int) -> None:
    odoo, broker, clock = FakeOdoo(START), FakeBroker(), ManualClock(START)
    for number in range(1, 10):
        odoo.put("res.partner", partner(number, f"P{number}"), START - timedelta(hours=number))
    subject = capture(odoo, broker, clock, dies_at=dies_at, left=2, settle_interval=0.0)
    try:
        subject.snapshot()
    except Crash:
        subject = capture(odoo, broker, clock, settle_interval=0.0)
        subject.snapshot()
    assert names(broker) == visible(odoo)
    counted = Counter(content["event_id"] for _, content in broker.records())
    assert len(counted) == 18
    # At most the records of one unsettled page come again.
    assert sum(counted.values()) <= 18 + 4


def test_settled_records_do_not_come_again_after_a_restart() -> None:
    odoo, broker, clock = FakeOdoo(START), FakeBroker(), ManualClock(START)
    odoo.put("res.partner", partner(1, "P1"), START)
    capture(odoo, broker, clock).snapshot()
    before = len(broker.records())
    odoo.now = START + timedelta(seconds=30)
    odoo.put("res.partner", partner(1, "P1", uid=8), odoo.now)  # saved as it was while nobody looked
    again = capture(odoo, broker, clock)
    assert again.snapshot() + again.poll() == 0
    assert len(broker.records()) == before


def test_a_small_overlap_is_warned_about(capsys: pytest.CaptureFixture[str]) -> None:
    capture(FakeOdoo(START), FakeBroker(), ManualClock(START), overlap=timedelta(seconds=119))
    assert "overlap below" in capsys.readouterr().out + capsys.readouterr().err
    capture(FakeOdoo(START), FakeBroker(), ManualClock(START), overlap=timedelta(seconds=120))
    assert "overlap below" not in capsys.readouterr().out
