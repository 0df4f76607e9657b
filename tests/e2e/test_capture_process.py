"""`run`, the process behind `finwatch capture`, on the embedded broker and the simulated Odoo."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from finwatch.local.broker import MockBroker
from finwatch.runtime.config import Settings, load_settings
from finwatch.runtime.metrics import Metrics
from finwatch.sim import SimulatedOdoo, captured
from finwatch.sim.store import Database
from producers.odoo import run
from producers.odoo.errors import AccessDenied
from tests.parts.capture import Captured

PARTITIONS = 2


@pytest.fixture
def database(data_dir: Path) -> Database:
    return captured("odoo17", data_dir)


@pytest.fixture
def broker() -> Iterator[MockBroker]:
    with MockBroker() as started:
        started.create_topics(PARTITIONS)
        yield started


@pytest.fixture
def settings(database: Database, broker: MockBroker) -> Iterator[Settings]:
    with SimulatedOdoo(database) as odoo:
        yield load_settings(
            kafka={"bootstrap": broker.bootstrap, "partitions": PARTITIONS},
            odoo={
                "url": odoo.url,
                "database": "sim",
                "user": "svc_cdc",
                "password": "svc_cdc",
                "account_key": "k" * 32,
                "source": "erp",
                "poll_interval": 0.2,
            },
        )


def events(broker: MockBroker) -> list[Mapping[str, Any]]:
    """All events on the entity topics, heartbeats left out."""
    captured = Captured(broker.bootstrap, PARTITIONS)
    try:
        captured.to_the_end()
        return [event.content for event in captured.events]
    finally:
        captured.close()


def test_a_second_life_goes_on_from_the_topic(settings: Settings, broker: MockBroker, database: Database) -> None:
    published = run(settings, threading.Event(), once=True)
    found = events(broker)
    assert len(found) == published > 1000
    assert len({content["event_id"] for content in found}) == published
    # Nothing changed: nothing is published. Then one bill is posted while nobody runs.
    assert run(settings, threading.Event(), once=True) == 0
    draft = next(
        row["id"]
        for row in database.tables["account.move"].rows.values()
        if row["state"] == "draft" and row["move_type"] == "in_invoice"
    )
    with database.begin(uid=10) as transaction:
        transaction.write("account.move", draft, {"state": "posted"})
    assert run(settings, threading.Event(), once=True) == 2
    posted = [content for content in events(broker) if content["document_key"] == f"erp:bill:{draft}"][-2:]
    kinds = [(one["$schema"], one["op"], one.get("activity"), one["actor"]) for one in posted]
    assert kinds == [("finwatch.Transition", "u", "posted", "10"), ("finwatch.Bill", "u", None, "10")]


def test_it_polls_until_it_is_stopped(settings: Settings, broker: MockBroker, database: Database) -> None:
    stop, metrics = threading.Event(), Metrics()
    failures: list[BaseException] = []

    def body() -> None:
        try:
            run(settings, stop, metrics=metrics)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    polled = metrics.histogram("capture_poll_seconds").labels("erp")
    pause = threading.Event()
    for _ in range(600):
        count = metrics.registry.get_sample_value("finwatch_capture_poll_seconds_count", {"source": "erp"})
        if failures or (count or 0) >= 2:
            break
        pause.wait(0.05)
    stop.set()
    thread.join(30)
    assert not failures and not thread.is_alive()
    assert polled is not None
    sample = metrics.registry.get_sample_value
    assert sample("finwatch_capture_connected", {"source": "erp"}) == 1
    orders = {"source": "erp", "entity": "purchase_order", "op": "r", "mode": "snapshot"}
    created_and_state = 2 * len(database.tables["purchase.order"].rows)
    assert (sample("finwatch_capture_events_total", orders) or 0) > created_and_state
    counted = Counter(str(content["entity"]) for content in events(broker))
    assert counted["purchase_order"] == sample("finwatch_capture_events_total", orders)
    behind = sample("finwatch_capture_seconds_behind_source", {"source": "erp", "model": "account.move"})
    assert behind is not None


def test_a_wrong_password_ends_it_with_its_exit_code(settings: Settings) -> None:
    wrong = settings.model_copy(update={"odoo": settings.odoo.model_copy(update={"user": "nobody"})})
    with pytest.raises(AccessDenied) as error:
        run(wrong, threading.Event(), once=True)
    assert error.value.exit_code == 77
