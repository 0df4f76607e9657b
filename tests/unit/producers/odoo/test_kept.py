"""How models that no stage reads are captured: seldom, whole where no stamp tells, and with few heartbeats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from finwatch.runtime.clock import ManualClock
from finwatch.runtime.metrics import Metrics
from producers.odoo.capture import Capture, CaptureSettings
from producers.odoo.errors import AccessRefused
from producers.odoo.mapping import BY_MODEL, MAPPINGS
from producers.odoo.mapping.spec import REFERENCE_POLLS
from tests.unit.producers.odoo.fakes import BrokerState, FakeBroker, FakeOdoo, encode

START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
UNIT, CRON, JOB = "uom.uom", "ir.cron", "queue.job"


def fake() -> FakeOdoo:
    fields = {one: ("create_date", *BY_MODEL[one].fields.of(18)) for one in (UNIT, CRON, JOB)}
    fields[JOB] = fields[JOB][1:]  # the model keeps no stamps
    return FakeOdoo(START, fields)


def capture(odoo: FakeOdoo, broker: FakeBroker, *models: str, **given: Any) -> Capture:
    publisher = broker.publisher(None, 0)
    options: dict[str, Any] = {"models": models, "partitions": 3, "languages": ("en_US",), "sweep_interval": 0.0}
    return Capture(
        odoo,
        publisher,
        ManualClock(START),
        CaptureSettings(source="erp", database="db", account_key=b"k" * 32, **(options | given)),
        encode=encode,
        state=BrokerState(broker, publisher),
    )


def states(broker: FakeBroker, record: str) -> list[dict[str, Any]]:
    return [content for name, content in broker.records() if name == f"finwatch.{record}"]


def test_reference_data_is_read_in_every_so_many_polls_and_loses_nothing() -> None:
    odoo, broker = fake(), FakeBroker()
    unit = {"id": 1, "name": "Units", "factor": 1.0, "create_date": "2026-11-01 08:00:00"}
    odoo.put(UNIT, unit, START - timedelta(days=1))
    subject = capture(odoo, broker, UNIT)
    subject.snapshot()
    subject.poll()
    odoo.put(UNIT, unit | {"name": "Pieces"}, START + timedelta(seconds=1))
    odoo.now = START + timedelta(minutes=30)  # far beyond an overlap
    published = [subject.poll() for _ in range(REFERENCE_POLLS)]
    assert published == [0] * (REFERENCE_POLLS - 1) + [1]
    assert [state["name"] for state in states(broker, "Unit")] == ["Units", "Pieces"]


def test_a_scheduled_action_is_read_whole_for_its_stamp_says_nothing() -> None:
    odoo, broker = fake(), FakeBroker()
    row = {"id": 4, "cron_name": "Feed", "failure_count": 0, "nextcall": "2026-11-02 09:00:00"}
    odoo.put(CRON, row, START - timedelta(days=90))
    subject = capture(odoo, broker, CRON)
    subject.snapshot()
    odoo.put(CRON, row | {"failure_count": 1}, START - timedelta(days=90))  # by SQL: the stamp stays
    assert subject.poll() == 1
    assert subject.poll() == 0  # as it was: nothing is published of it
    assert [state["failures"] for state in states(broker, "ScheduledAction")] == [0, 1]


def test_a_model_without_stamps_is_read_by_its_own_dates() -> None:
    odoo, broker = fake(), FakeBroker()
    job = {"id": 9, "state": "enqueued", "date_created": "2026-11-02 07:00:00", "date_enqueued": "2026-11-02 07:00:01"}
    odoo.put(JOB, job, START)
    del odoo.tables[JOB][9]["write_date"]
    subject = capture(odoo, broker, JOB)
    subject.snapshot()
    done = job | {"state": "done", "date_done": "2026-11-02 08:00:05"}
    odoo.put(JOB, done, START)
    del odoo.tables[JOB][9]["write_date"]
    odoo.now = START + timedelta(seconds=10)
    assert subject.poll() == 1
    assert [state["state"] for state in states(broker, "QueueJob")] == ["enqueued", "done"]
    last = states(broker, "QueueJob")[-1]
    assert last["source_write_date"] == START + timedelta(seconds=5)  # the latest of its dates


def test_what_no_stage_reads_has_one_heartbeat_and_no_event_of_its_creation() -> None:
    odoo, broker = fake(), FakeBroker()
    odoo.put(UNIT, {"id": 1, "name": "Units", "factor": 1.0, "create_date": "2026-11-01 08:00:00"}, START)
    subject = capture(odoo, broker, UNIT)
    subject.snapshot()
    subject.poll()
    assert len(broker.heartbeats()) == 1
    assert {name for name, _ in broker.records()} == {"finwatch.Unit"}


def test_a_model_that_is_not_installed_is_told_once_and_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = Metrics()
    publisher = FakeBroker().publisher(None, 0)
    settings = CaptureSettings(source="erp", database="db", account_key=b"k" * 32, models=("planning.slot",))
    subject = Capture(fake(), publisher, ManualClock(START), settings, encode=encode, metrics=metrics)
    subject.connect()
    subject.retry_stopped()
    assert subject.stopped_models["planning.slot"] == "unknown_model"
    told = [line for line in capsys.readouterr().out.splitlines() if "not installed" in line and "planning" in line]
    assert len(told) == 1
    stopped = metrics.registry.get_sample_value(
        "finwatch_capture_model_stopped", {"source": "erp", "model": "planning.slot"}
    )
    assert not stopped
    assert not metrics.registry.get_sample_value(
        "finwatch_capture_errors_total", {"source": "erp", "kind": "unknown_model"}
    )


def test_time_whose_project_is_taken_away_is_still_somebodys_time() -> None:
    lines = "account.analytic.line"
    odoo, broker = FakeOdoo(START, {lines: ("create_date", *BY_MODEL[lines].fields.of(18))}), FakeBroker()
    line = {"id": 1, "employee_id": [7, "E"], "project_id": [3, "P"], "create_date": "2026-11-01 08:00:00"}
    odoo.put(lines, line, START - timedelta(days=1))
    odoo.put(lines, {"id": 2, "amount": -9.0}, START - timedelta(days=1))  # a cost, of nobody and of no project
    subject = capture(odoo, broker, lines)
    subject.snapshot()
    odoo.now = START + timedelta(seconds=5)
    odoo.put(lines, line | {"project_id": False}, odoo.now)
    subject.poll()
    subject.sweep()
    assert [(one["record_id"], one["op"], one["project_id"]) for one in states(broker, "Timesheet")] == [
        ("1", "r", "3"),
        ("1", "u", None),
    ]


GROUP_FIELDS = ("name", "full_name", "implied_ids", "share", "category_id", "create_date", "write_date")
NAME_FIELDS = ("res_id", "model", "module", "name", "write_date")


@pytest.mark.parametrize("readable", [True, False])
def test_a_group_has_the_name_that_code_knows_it_by_where_it_may_be_read(readable: bool) -> None:
    groups, names = "res.groups", "ir.model.data"
    odoo, broker = FakeOdoo(START, {groups: GROUP_FIELDS, names: NAME_FIELDS}), FakeBroker()
    for number, told in ((1, "Settings"), (2, "Made by hand")):
        odoo.put(groups, {"id": number, "name": told, "create_date": "2026-01-01 08:00:00"}, START - timedelta(days=9))
    told_by = {"res_id": 1, "module": "base", "name": "group_system"}
    odoo.put(names, {"id": 5, "model": groups, **told_by}, START - timedelta(days=9))
    odoo.put(names, {"id": 6, "model": "res.users", **told_by, "res_id": 2}, START - timedelta(days=9))
    if not readable:
        odoo.failures[names] = AccessRefused("search_read on ir.model.data")
    subject = capture(odoo, broker, groups)
    subject.snapshot()
    assert subject.poll() + subject.sweep() == 0
    assert groups not in subject.stopped_models
    assert [(one["name"], one["technical_name"]) for one in states(broker, "Group")] == [
        ("Settings", "base.group_system" if readable else None),
        ("Made by hand", None),
    ]


def test_what_is_watched_is_polled_each_time() -> None:
    from finwatch.runtime.topics import WATCHED_ENTITIES

    assert all(one.poll_every == 1 for one in MAPPINGS if set(one.entities) & set(WATCHED_ENTITIES))
