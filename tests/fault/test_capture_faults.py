"""The capture against an Odoo that fails in every way the simulated one knows, at random points: nothing lost or twice.

Slow answers, 429 with Retry-After, 5xx, dropped connections, answers cut in the middle, a locked or upgrading database,
a right that is taken away and given back, while people go on working. Invariants: final states and the log equal the
source's, every event id is published once, and every request names the fields it wants.
"""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from finwatch.runtime.clock import ManualClock
from finwatch.runtime.metrics import Metrics
from finwatch.sim import SimulatedOdoo, actions
from finwatch.sim.actions import Line
from finwatch.sim.errors import OdooError as ServerError
from finwatch.sim.errors import access_error
from finwatch.sim.people import lay_foundations
from finwatch.sim.store import Database
from producers.odoo.capture import Capture, CaptureSettings
from producers.odoo.errors import Unavailable
from producers.odoo.politeness import Limits, Manners, PoliteTransport
from producers.odoo.transport import OdooRpcTransport
from tests.unit.producers.odoo.fakes import BrokerState, FakeBroker, encode

START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
KEY = b"k" * 32


class TroubledOdoo(SimulatedOdoo):
    """Fails with a share of the requests while `troubled`, each time in another way."""

    def __init__(self, db: Database, random: Random) -> None:
        super().__init__(db)
        self.random = random
        self.troubled = False
        self.refused: set[str] = set()
        self.met: Counter[str] = Counter()
        self.unnamed: list[str] = []

    def disturb(self) -> None:
        """Choose what the next requests meet, by the server's own faults."""
        if not self.troubled or self.random.random() > 0.3:
            return
        kind = self.random.choice(("status", "cut", "reset", "database"))
        self.met[kind] += 1
        if kind == "status":
            self.faults.next_statuses.append(self.random.choice((429, 500, 502, 503)))
        elif kind == "cut":
            self.faults.cut_next += 1
        elif kind == "reset":
            self.faults.reset_next += 1

    def _route(self, path: str, params: dict[str, Any]) -> Any:
        arguments = params.get("args") or []
        if params.get("service") == "object" and len(arguments) > 4:
            model, method = arguments[3], arguments[4]
            if method == "search_read" and not arguments[6].get("fields"):
                self.unnamed.append(model)
            if model in self.refused:
                self.met["refused"] += 1
                raise access_error("You are not allowed to access")
            if self.troubled and self.random.random() < 0.05:
                self.met["database"] += 1
                raise ServerError(
                    self.random.choice(("psycopg2.errors.LockNotAvailable", "psycopg2.OperationalError")),
                    "canceling statement due to lock timeout",
                )
            self.disturb()
        return super()._route(path, params)


class Case:
    """One seed: a server, people, and a capture that is polite to it."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = START
        self.db = Database("sim", "18.0", clock=lambda: self.now)
        self.staff, self.vendors, _ = lay_foundations(self.db, START - timedelta(days=9), Random(seed))
        self.odoo = TroubledOdoo(self.db, Random(f"{seed}:faults"))
        self.broker = FakeBroker()
        self.clock = ManualClock(START)
        self.metrics = Metrics()

    def work(self) -> None:
        """People do something; it is committed at once."""
        for _ in range(self.random.randrange(1, 5)):
            person = self.random.choice(self.staff.clerks)
            tx = self.db.begin(self.now, uid=person.uid)
            drafts = [key for key, row in self.db.tables["account.move"].rows.items() if row.get("state") == "draft"]
            if drafts and self.random.random() < 0.5:
                actions.post_move(tx, self.random.choice(drafts))
            else:
                vendor = self.random.choice(self.vendors)
                lines = [Line(1, "Item", float(self.random.randrange(1, 9)), 10.5)]
                today = self.now.date()
                actions.create_move(
                    tx, "in_invoice", vendor.partner, lines, ref=vendor.reference(), invoice_date=today, due=today
                )
            tx.commit(self.now)
        self.now += timedelta(seconds=self.random.choice((1, 7, 40)))
        self.clock.set(max(self.now, self.clock.now()))
        self.now = self.clock.now()

    def capture(self) -> Capture:
        publisher = self.broker.publisher()
        transport = PoliteTransport(
            OdooRpcTransport(self.odoo.url, "sim", "svc_cdc", "svc_cdc"),
            Manners(Limits(page_least=5, patience=20.0), self.clock, "erp", self.metrics),
        )
        settings = CaptureSettings(
            source="erp", database="sim", account_key=KEY, partitions=1, page_size=20, languages=("en_US",),
            sweep_interval=0.0, heartbeat_interval=1e9,
            models=("res.partner", "account.move", "purchase.order"),
        )  # fmt: skip
        return Capture(
            transport,
            publisher,
            self.clock,
            settings,
            encode=encode,
            state=BrokerState(self.broker, publisher),
            metrics=self.metrics,
        )

    def patiently(self, step: Any) -> None:
        """A step of the capture as its loop does it: again after what passes."""
        for _ in range(50):
            try:
                step()
            except Unavailable:
                self.clock.wait(1.0, threading.Event())
                self.now = self.clock.now()
            else:
                return
        raise AssertionError("the capture never got through")

    def published(self) -> dict[str, Any]:
        """Last state by (model, id)."""
        return {
            (content["source_model"], int(content["record_id"])): content
            for record, content in self.broker.records()
            if record != "finwatch.Transition"
        }

    def check(self) -> None:
        """The invariants."""
        states = self.published()
        for model in ("account.move", "res.partner"):
            for record_id, row in self.db.tables[model].rows.items():
                told = states.get((model, record_id))
                assert told is not None, f"{model} {record_id} is missing"
                if model == "account.move":
                    assert told["state"] == row["state"]
                    assert told["name"] == (row.get("name") if row.get("name") != "/" else None)
                    lines = self.db.children("account.move", record_id, "line_ids")
                    products = [one for one in lines if self.db.tables["account.move.line"].rows[one].get("display_type") == "product"]  # fmt: skip # noqa: E501
                    assert len(told["lines"]) == len(products)
        repeated = Counter(content["event_id"] for _, content in self.broker.records())
        assert [one for one, times in repeated.items() if times > 1] == []
        logged = Counter(
            content["transaction_hint"]
            for record, content in self.broker.records()
            if record == "finwatch.Transition" and content["mode"] != "snapshot" and content["transaction_hint"]
        )
        hints = {f"message:{row['mail_message_id']}" for row in self.db.tables["mail.tracking.value"].rows.values()}
        told_of = {
            content["transaction_hint"] for record, content in self.broker.records() if record == "finwatch.Transition"
        }
        assert hints <= told_of
        assert logged.keys() <= hints
        assert self.odoo.unnamed == []


@pytest.mark.parametrize("seed", range(6))
def test_faults_at_random_points_lose_and_double_nothing(seed: int) -> None:
    case = Case(seed)
    for _ in range(10):
        case.work()
    with case.odoo:
        case.odoo.troubled = True
        subject = case.capture()
        case.patiently(subject.snapshot)
        for turn in range(12):
            case.work()
            if turn == 4:
                case.odoo.refused = {"account.move"}
            if turn == 7:
                case.odoo.refused = set()
                case.patiently(subject.retry_stopped)
            case.patiently(subject.poll)
            if 4 < turn < 7:
                assert subject.stopped_models == {"account.move": "access_refused"}
        case.odoo.troubled = False
        case.patiently(subject.snapshot)
        case.patiently(subject.poll)
        case.patiently(subject.sweep)
        assert subject.stopped_models == {}
    case.check()
    assert sum(case.odoo.met.values()) > 20, case.odoo.met
    assert case.metrics.registry.get_sample_value("finwatch_capture_throttled_seconds_total", {"source": "erp"})


def test_the_kinds_of_fault_were_all_met() -> None:
    """The seeds above are few: together they must have met everything."""
    met: Counter[str] = Counter()
    for seed in range(6):
        random = Random(f"{seed}:faults")
        odoo = TroubledOdoo(Database("sim", "18.0"), random)
        odoo.troubled = True
        for _ in range(100):
            odoo.disturb()
        met += odoo.met
    assert set(met) == {"status", "cut", "reset", "database"}
