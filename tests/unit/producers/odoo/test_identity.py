"""A restored or replaced database stops the capture; accepted, everything is read again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finwatch.runtime.clock import ManualClock
from producers.odoo.identity import MANY, DatabaseChanged, Identity, completed, differs, ran_backwards
from tests.unit.producers.odoo.fakes import PARTNER_FIELDS, FakeBroker, FakeOdoo
from tests.unit.producers.odoo.test_capture import START, capture, partner

FIELDS: Mapping[str, Any] = {
    "res.partner": PARTNER_FIELDS,
    "res.partner.bank": (*PARTNER_FIELDS, "acc_number", "partner_id"),
    "res.company": ("create_date",),
    "ir.config_parameter": ("key", "value"),
}
MODELS = ("res.partner", "res.partner.bank")


def database(uuid: str = "one", born: str = "2020-01-01 00:00:00", count: int = 30) -> FakeOdoo:
    odoo = FakeOdoo(START, FIELDS)
    odoo.put("res.company", {"id": 1, "create_date": born}, START)
    odoo.put("ir.config_parameter", {"id": 1, "key": "database.uuid", "value": uuid}, START)
    for number in range(1, count + 1):
        odoo.put("res.partner", partner(number, f"P{number}"), START - timedelta(hours=1))
        account = {**partner(number, ""), "acc_number": f"NL{number}", "partner_id": [number, "P"]}
        odoo.put("res.partner.bank", account, START - timedelta(hours=1))
    return odoo


def first_life(odoo: FakeOdoo, broker: FakeBroker) -> None:
    subject = capture(odoo, broker, ManualClock(START), models=MODELS)
    subject.snapshot()
    subject.poll()


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (database(uuid="two"), "uuid"),
        (database(uuid="", born="2021-01-01 00:00:00"), "company"),
        (database(count=15), "records of 2 models"),
    ],
)
def test_another_database_is_refused_before_anything_is_published(other: FakeOdoo, why: str) -> None:
    broker = FakeBroker()
    first_life(database(), broker)
    before = len(broker.log)
    with pytest.raises(DatabaseChanged, match=why) as error:
        capture(other, broker, ManualClock(START), models=MODELS).snapshot()
    assert "accept-database" in error.value.what_to_do
    assert len(broker.log) == before


def test_a_restore_while_it_runs_is_noticed_by_the_next_round_of_the_sweep() -> None:
    odoo, broker, clock = database(), FakeBroker(), ManualClock(START)
    subject = capture(odoo, broker, clock, models=MODELS)
    subject.snapshot()
    subject.poll()
    for model in MODELS:
        for record_id in range(11, 31):
            del odoo.tables[model][record_id]
    before = len(broker.records())
    with pytest.raises(DatabaseChanged):
        subject.sweep()
    assert len(broker.records()) == before


def test_the_same_database_goes_on() -> None:
    broker = FakeBroker()
    first_life(database(), broker)
    odoo = database()
    for record_id in range(25, 31):
        del odoo.tables["res.partner.bank"][record_id]
    subject = capture(odoo, broker, ManualClock(START), models=MODELS)
    subject.snapshot()
    assert subject.sweep() == 6


def test_an_accepted_database_is_read_whole_and_what_it_lacks_is_deleted() -> None:
    broker = FakeBroker()
    first_life(database(), broker)
    other = database(uuid="two", count=8)
    other.put("res.partner", partner(3, "somebody else"), START)
    clock = ManualClock(START)
    assert capture(other, broker, clock, models=MODELS).accept_database().epoch == 1
    before = len(broker.records())
    subject = capture(other, broker, clock, models=MODELS, sweep_interval=0.0)
    subject.snapshot()
    # What is as it was is not published again; the former content of what is not is the other database's.
    told = [content for record, content in broker.records()[before:] if record == "finwatch.Vendor"]
    assert [(one["record_id"], one["name"]) for one in told] == [("3", "somebody else")]
    subject.sweep()
    gone = {content["document_key"] for record, content in broker.records()[before:] if content["op"] == "d"}
    assert len(gone) == 2 * 22
    assert subject.sweep() == 0
    # Once: what goes the same way later is doubted again.
    for number in range(9, 40):
        other.put("res.partner", partner(number, "new"), START)
        other.put("res.partner.bank", {**partner(number, ""), "acc_number": "A", "partner_id": False}, START)
    subject.sweep()
    for model in MODELS:
        other.tables[model].clear()
    with pytest.raises(DatabaseChanged):
        subject.sweep()


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 60)))
def test_one_model_alone_never_means_another_database(above: dict[str, int]) -> None:
    behind = [count for count in above.values() if count]
    expected = sum(behind) >= MANY and len(behind) >= max(2, min(3, len(above)))
    assert (ran_backwards(above) is not None) == expected


def test_what_cannot_be_read_shows_nothing() -> None:
    known, unknown = Identity("u", "b", epoch=3), Identity()
    assert differs(known, unknown) is None and differs(unknown, known) is None
    assert completed(unknown, known) == Identity("u", "b")
    assert completed(known, Identity("x", "y")) == known
