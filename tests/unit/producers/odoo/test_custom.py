"""Custom fields and models captured: their values, a change of what is configured, what a server lacks of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from finwatch.runtime.clock import ManualClock
from finwatch.runtime.metrics import Metrics
from producers.odoo.accounts import AccountHasher
from producers.odoo.capture import Capture, CaptureSettings
from producers.odoo.configured import parse_file
from producers.odoo.errors import UnknownField
from producers.odoo.mapping import BY_MODEL, Mappings
from producers.odoo.mapping.extras import Extra, values
from producers.odoo.mapping.spec import Source
from tests.unit.producers.odoo.fakes import PARTNER_FIELDS, BrokerState, FakeBroker, FakeOdoo, encode

START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
PARTNER, LOAN, LINE = "res.partner", "x_loan", "x_loan_line"
STAMPS = ("create_uid", "create_date", "write_uid", "write_date")
LOANS = """
    models:
      x_loan:
        kind: loan
        name: x_name
        partner: x_partner_id
        amount: x_amount
        currency: x_currency_id
        parent: {field: x_bill_id, entity: bill}
        fields:
          rate: {field: x_rate, type: float}
        lines:
          x_loan_line: {parent: x_loan_id, fields: {due: {field: x_due, type: date}}}
"""
REGION = """
    fields:
      res.partner:
        region: {field: x_region, type: char}
"""
BOTH = REGION + "        tier: {field: x_tier, type: integer}\n"


def configured(text: str) -> Mappings:
    return parse_file(f"version: 1\nsources:\n  erp:\n{text}", "custom.yaml").mappings("erp")


def odoo(partners: int = 5) -> FakeOdoo:
    loan = ("x_name", "x_partner_id", "x_amount", "x_currency_id", "x_bill_id", "x_rate", *STAMPS)
    fields = {
        PARTNER: (*PARTNER_FIELDS, "x_region", "x_tier"),
        LOAN: loan,
        LINE: ("x_loan_id", "x_due", "write_date"),
    }
    made = FakeOdoo(START, fields)
    many2ones = [(LOAN, name) for name in ("x_partner_id", "x_currency_id", "x_bill_id")] + [(LINE, "x_loan_id")]
    made.types = dict.fromkeys(many2ones, "many2one") | {(PARTNER, "x_tier"): "integer", (LINE, "x_due"): "date"}
    made.types |= {(LOAN, "x_amount"): "monetary", (LOAN, "x_rate"): "float"}
    for number in range(1, partners + 1):
        row = {"id": number, "name": f"P{number}", "create_date": "2026-10-01 08:00:00", "x_region": f"R{number}"}
        made.put(PARTNER, row | {"x_tier": number}, START - timedelta(minutes=1))  # within the overlap
    loan_row = {"id": 3, "x_name": "First", "x_partner_id": [2, "P2"], "x_amount": 1200.5, "x_currency_id": [1, "EUR"]}
    made.put(LOAN, loan_row | {"x_bill_id": [9, "BILL/9"], "x_rate": 4.25}, START - timedelta(days=9))
    for line in (7, 8):
        made.put(LINE, {"id": line, "x_loan_id": [3, "First"], "x_due": f"2027-0{line}-01"}, START - timedelta(days=9))
    return made


def capture(source: FakeOdoo, broker: FakeBroker, mappings: Mappings, **given: Any) -> Capture:
    publisher = broker.publisher(None, 0)
    options: dict[str, Any] = {"partitions": 3, "languages": ("en_US",), "sweep_interval": 0.0, "read_ahead": False}
    metrics = given.pop("metrics", None)
    return Capture(
        source,
        publisher,
        given.pop("clock", None) or ManualClock(START),
        CaptureSettings(source="erp", database="db", account_key=b"k" * 32, mappings=mappings, **(options | given)),
        encode=encode,
        state=BrokerState(broker, publisher),
        metrics=metrics,
    )


def states(broker: FakeBroker, record: str, since: int = 0) -> list[Mapping[str, Any]]:
    return [content for name, content in broker.records()[since:] if name == f"finwatch.{record}"]


def custom(state: Mapping[str, Any]) -> dict[str, str | None]:
    return {one["name"]: one["value"] for one in state["custom"]}


HASHER = AccountHasher(b"k" * 32)
VALUES: dict[str, tuple[Extra, dict[str, Any], dict[str, str | None]]] = {
    "text": (Extra("a", "x", "char"), {"x": "North"}, {"a": "North"}),
    "empty text": (Extra("a", "x", "text"), {"x": False}, {"a": None}),
    "an IBAN in a text": (Extra("a", "x", "text"), {"x": "to DE89370400440532013000"}, {"a": "to ***3000"}),
    "hashed": (Extra("a", "x", "char", hashed=True), {"x": "DE89"}, {"a": HASHER.hash("DE89")}),
    "a selection": (Extra("a", "x", "selection"), {"x": "to approve"}, {"a": "to approve"}),
    "an integer": (Extra("a", "x", "integer"), {"x": 0}, {"a": "0"}),
    "a float": (Extra("a", "x", "float"), {"x": 0.1 + 0.2}, {"a": "0.300000"}),
    "a large amount": (
        Extra("a", "x", "monetary", currency="c"),
        {"x": 123456789012.34, "c": [1, "USD"]},
        {"a": "123456789012.34", "a.currency": "USD"},
    ),
    "true": (Extra("a", "x", "boolean"), {"x": True}, {"a": "true"}),
    "false": (Extra("a", "x", "boolean"), {"x": False}, {"a": "false"}),
    "a date": (Extra("a", "x", "date"), {"x": "2026-11-22"}, {"a": "2026-11-22"}),
    "a time": (Extra("a", "x", "datetime"), {"x": "2026-11-22 08:30:00"}, {"a": "2026-11-22T08:30:00+00:00"}),
    "a many2one": (Extra("a", "x", "many2one"), {"x": [7, "North"]}, {"a": "7"}),
    "a many2one with its name": (
        Extra("a", "x", "many2one", named=True),
        {"x": [7, "North"]},
        {"a": "7", "a.name": "North"},
    ),
    "an empty many2one": (Extra("a", "x", "many2one", named=True), {"x": False}, {"a": None, "a.name": None}),
    "a many2many": (Extra("a", "x", "many2many"), {"x": [9, 3]}, {"a": "3,9"}),
    "an empty many2many": (Extra("a", "x", "many2many"), {"x": []}, {"a": None}),
}


@pytest.mark.parametrize("what", VALUES)
def test_a_value_is_text(what: str) -> None:
    extra, row, told = VALUES[what]
    assert {one["name"]: one["value"] for one in values([extra], row, HASHER)} == told


def test_custom_fields_stand_in_their_column_and_their_changes_are_told() -> None:
    source, broker = odoo(), FakeBroker()
    subject = capture(source, broker, configured(BOTH))
    subject.snapshot()
    assert custom(states(broker, "Vendor")[1]) == {"region": "R2", "tier": "2"}
    row = source.tables[PARTNER][2] | {"x_region": "South"}
    source.now = START + timedelta(seconds=9)
    source.put(PARTNER, row, source.now)
    subject.poll()
    last = states(broker, "Vendor")[-1]
    assert custom(last) == {"region": "South", "tier": "2"} and last["mode"] == "window"
    assert last["changes"] == [{"field": "custom.region", "old": '"R2"', "new": '"South"'}]


def test_without_a_configuration_nothing_is_added() -> None:
    source, broker = odoo(), FakeBroker()
    capture(source, broker, Mappings((BY_MODEL[PARTNER],))).snapshot()
    assert all("custom" not in state for state in states(broker, "Vendor"))


def test_lines_of_a_known_model_carry_their_own() -> None:
    text = "    fields:\n      account.move.line:\n        cost_center: {field: x_cc, type: many2one}\n"
    mapping = configured(text)["account.move"]
    source = Source("erp", "db", 18, HASHER)
    stamp = {"write_date": "2026-11-02 08:00:00"}
    lines = {"account.move.line": [{"id": 5, "x_cc": [7, "North"], **stamp}, {"id": 6, "x_cc": False, **stamp}]}
    document = mapping.map({"id": 1, "move_type": "in_invoice", **stamp}, lines, source)
    assert document is not None and custom(document.body) == {"lines[5].cost_center": "7"}


def test_a_custom_model_is_captured_with_its_lines() -> None:
    source, broker = odoo(), FakeBroker()
    subject = capture(source, broker, configured(LOANS), models=(LOAN,))
    subject.snapshot()
    (state,) = states(broker, "CustomRecord")
    assert state["document_key"] == "erp:custom_record:x_loan/3" and state["record_id"] == "x_loan/3"
    told = ("model", "kind", "name", "partner_id", "currency", "parent_key")
    assert [state[name] for name in told] == [LOAN, "loan", "First", "2", "EUR", "erp:bill:9"]
    assert str(state["amount"]) == "1200.5" and custom(state) == {"rate": "4.25"}
    assert [(line["line_id"], custom(line)) for line in state["lines"]] == [
        ("7", {"due": "2027-07-01"}),
        ("8", {"due": "2027-08-01"}),
    ]
    # A change of a line is a change of its record; a deletion is found by the sweep.
    source.now = START + timedelta(seconds=9)
    source.put(LINE, source.tables[LINE][7] | {"x_due": "2028-01-01"}, source.now)
    assert subject.poll() == 1
    change = {"field": "lines[7].custom", "old": '[{"name":"due","value":"2027-07-01"}]'}
    assert change.items() <= states(broker, "CustomRecord")[-1]["changes"][0].items()
    del source.tables[LOAN][3]
    assert subject.sweep() == 1
    gone = states(broker, "CustomRecord")[-1]
    assert (gone["op"], gone["model"], gone["kind"]) == ("d", LOAN, "loan")


def test_a_deletion_of_what_is_forgotten_still_names_its_model() -> None:
    source, broker = odoo(), FakeBroker()
    capture(source, broker, configured(LOANS), models=(LOAN,)).snapshot()
    del source.tables[LOAN][3]
    capture(source, broker, configured(LOANS), models=(LOAN,)).sweep()  # another process
    gone = states(broker, "CustomRecord")[-1]
    assert (gone["op"], gone["model"], gone["record_id"]) == ("d", LOAN, "x_loan/3")


@pytest.mark.parametrize("changes", ["polled", "swept"])
def test_a_model_whose_changes_move_no_stamp_is_read_whole(changes: str) -> None:
    source, broker = odoo(), FakeBroker()
    text = f"    models:\n      x_loan: {{kind: loan, name: x_name, changes: {changes}}}\n"
    subject = capture(source, broker, configured(text), models=(LOAN,))
    subject.snapshot()
    source.tables[LOAN][3]["x_name"] = "by plain SQL"
    assert subject.poll() == (1 if changes == "polled" else 0)
    assert subject.sweep() == (0 if changes == "polled" else 1)
    assert [state["name"] for state in states(broker, "CustomRecord")] == ["First", "by plain SQL"]


def test_a_new_field_has_its_model_read_again_as_a_snapshot_and_nothing_is_called_late() -> None:
    source, broker = odoo(), FakeBroker()
    first = capture(source, broker, configured(REGION), models=(PARTNER,))
    first.snapshot()
    first.poll()
    first.sweep()
    before = len(broker.records())
    source.now = START + timedelta(minutes=2)
    source.put(PARTNER, source.tables[PARTNER][4] | {"name": "changed"}, source.now)
    second = capture(source, broker, configured(BOTH), models=(PARTNER,))
    second.snapshot()
    second.poll()
    second.sweep()
    told = states(broker, "Vendor", before)
    assert [(one["record_id"], one["op"], one["mode"], one["snapshot"]) for one in told] == [
        (str(number), "r", "snapshot", True) for number in range(1, 6)
    ]
    assert custom(told[3]) == {"region": "R4", "tier": "4"} and told[3]["name"] == "changed"
    assert {name for name, _ in broker.records()[before:]} == {"finwatch.Vendor"}  # created once, not again
    # Once read it is as any other model: the same configuration reads nothing again.
    third = capture(source, broker, configured(BOTH), models=(PARTNER,))
    assert third.snapshot() + third.poll() + third.sweep() == 0
    source.now += timedelta(seconds=5)
    source.put(PARTNER, source.tables[PARTNER][1] | {"x_tier": 9}, source.now)
    third.poll()
    assert states(broker, "Vendor")[-1]["mode"] == "window"


def test_a_field_that_is_taken_out_has_its_model_read_again_too() -> None:
    source, broker = odoo(), FakeBroker()
    capture(source, broker, configured(BOTH), models=(PARTNER,)).snapshot()
    before = len(broker.records())
    capture(source, broker, Mappings((BY_MODEL[PARTNER],)), models=(PARTNER,)).snapshot()
    assert [one["mode"] for one in states(broker, "Vendor", before)] == ["snapshot"] * 5


def test_what_is_read_again_goes_on_where_it_stopped_and_takes_turns() -> None:
    source, broker = odoo(), FakeBroker()
    source.fields[LOAN] = ()  # not configured here
    source.put(PARTNER, source.tables[PARTNER][1], START)
    capture(source, broker, configured(REGION), models=(PARTNER,)).snapshot()
    before = len(broker.records())

    class Slow(FakeOdoo):
        """Each answer takes a second."""

        def search_read(self, model: str, *args: Any, **given: Any) -> list[dict[str, Any]]:
            clock.set(clock.now() + timedelta(seconds=1))
            return super().search_read(model, *args, **given)

    clock = ManualClock(START)
    source.__class__ = Slow
    subject = capture(source, broker, configured(BOTH), models=(PARTNER,), page_size=2, clock=clock)
    subject.connect()
    read = []
    for _ in range(9):  # as run() does between polls
        subject._snapshot(0.5, None)
        read.append(len(states(broker, "Vendor", before)))
    assert read[0] < 5 and read[-1] == 5 and read == sorted(read)
    keys = [one["record_id"] for one in states(broker, "Vendor", before)]
    assert keys == ["1", "2", "3", "4", "5"]


def test_a_model_switched_off_is_left_alone_and_read_whole_when_it_is_back() -> None:
    source, broker = odoo(), FakeBroker()
    capture(source, broker, configured(REGION)).snapshot()
    known = len(states(broker, "Vendor"))
    off = capture(source, broker, configured("    without: [res.partner]\n"))
    source.now = START + timedelta(hours=3)
    source.put(PARTNER, source.tables[PARTNER][1] | {"name": "meanwhile"}, START + timedelta(hours=1))
    off.snapshot()
    off.poll()
    off.sweep()
    assert len(states(broker, "Vendor")) == known
    back = capture(source, broker, configured(REGION))
    back.snapshot()
    told = states(broker, "Vendor")[known:]
    assert [one["mode"] for one in told] == ["snapshot"] * 5  # all of it: what was logged meanwhile is told now
    assert told[0]["name"] == "meanwhile"
    again = capture(source, broker, configured(REGION))
    assert again.snapshot() == 0


def test_what_the_server_lacks_is_said_once_and_the_rest_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    source, broker, metrics = odoo(), FakeBroker(), Metrics()
    text = BOTH + "        gone: {field: x_gone, type: char}\n        odd: {field: x_tier, type: boolean}\n" + (
        "    models:\n      x_absent: {kind: absent}\n      x_loan: {kind: loan, name: x_title, state: x_rate}\n"
    )  # fmt: skip
    subject = capture(source, broker, configured(text), metrics=metrics)
    subject.snapshot()
    subject.retry_stopped()
    assert custom(states(broker, "Vendor")[0]) == {"region": "R1", "tier": "1"}
    assert states(broker, "CustomRecord")[0]["name"] is None
    assert subject.stopped_models["x_absent"] == "unknown_model"
    told = capsys.readouterr().out
    for problem in (
        "res.partner has no field x_gone",
        "res.partner.x_tier is of type integer, configured as boolean",
        "x_loan has no field x_title",
        "x_loan.x_rate is of type float, configured as selection",
        "a configured model is not there",
    ):
        assert told.count(problem) == 1, problem
    errors = {
        kind: metrics.registry.get_sample_value("finwatch_capture_errors_total", {"source": "erp", "kind": kind})
        for kind in ("configured_field", "configured_model")
    }
    assert errors == {"configured_field": 4.0, "configured_model": 1.0}


def test_a_field_that_goes_away_stops_its_model_until_it_is_learnt_anew() -> None:
    source, broker = odoo(), FakeBroker()
    subject = capture(source, broker, configured(BOTH), models=(PARTNER,))
    subject.snapshot()
    source.fields[PARTNER] = (*PARTNER_FIELDS, "x_region")
    source.failures[PARTNER] = UnknownField("Invalid field x_tier on res.partner")
    subject.poll()
    assert subject.stopped_models[PARTNER] == "unknown_field"
    source.failures.clear()
    before = len(broker.records())
    subject.retry_stopped()
    subject.snapshot()
    assert [custom(one) for one in states(broker, "Vendor", before)] == [{"region": f"R{n}"} for n in range(1, 6)]
    assert {one["mode"] for one in states(broker, "Vendor", before)} == {"snapshot"}
