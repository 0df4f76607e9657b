"""What analysts see: the views, their columns, a comment on each, and the words of the schemas."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dashboards.overview import POLICY_CHANGES
from dashboards.panels import Sql
from finwatch.domain.kpis import CATALOGUE, KpiSpec, wilson
from finwatch.runtime.config import ClickHouseSettings
from finwatch.runtime.store import connect
from finwatch.runtime.topics import KEPT_ENTITIES, entity_record
from schemas.catalogue import current
from sinks.clickhouse.entity_views import view_name
from sinks.clickhouse.migrations import migrate
from sinks.clickhouse.plan import RAW
from sinks.clickhouse.rows import ORDER
from sinks.clickhouse.table_store import TableStore
from tests.parts.panels import expand

COORDINATES = {"topic", "partition", "offset", "incarnation", "kafka_timestamp", "ingested_at"}


def fields(record: str) -> set[str]:
    return {field["name"] for field in current()[f"finwatch.{record}"].definition["fields"]}


HEADER = fields("EventHeader")
# View -> columns that must be there; the words are the schemas'.
VIEWS = {
    "events": HEADER | fields("Transition") | COORDINATES | {"record"},
    "documents": (HEADER - {"timeline", "correlation_id", "source_database", "source_model", "snapshot"})
    - {"transaction_hint", "changes"}
    | COORDINATES
    | {"deleted", "payload"}
    | set().union(
        *(
            fields(entity) - HEADER - {"lines", "custom"}
            for entity in (
                "Bill",
                "Invoice",
                "Entry",
                "PurchaseOrder",
                "Receipt",
                "Payment",
                "ExpenseReport",
                "Vendor",
                "BankAccount",
                "BankLine",
            )
        )
    ),
    "steps": fields("Step") | COORDINATES,
    "clocks": fields("Clock") | COORDINATES,
    "exceptions": fields("Exception") | COORDINATES,
    "findings": fields("Finding") | COORDINATES,
    "finding_versions": fields("Finding") | COORDINATES,
    "exception_rates": {"source", "entity", "type", "window_start", "window_end", "status", "numerator", "denominator"}
    | {"rate", "low", "high", "corrections", "parts"},
    "kpis": {"kpi", "labels", "label", "value", "numerator", "denominator", "parts", "at"},
    "dead_letters": fields("DeadLetter"),
    "policy_changes": fields("PolicyChange") | COORDINATES,
    **{
        view_name(entity): (fields(entity_record(entity).rpartition(".")[2]) - HEADER)
        | {"document_key", "source", "record_id", "company_id", "deleted", "op", "occurred_at", "observed_at"}
        for entity in KEPT_ENTITIES
    },
    "correlations": {"document_key", "source", "entity", "comes_from", "correlation_id"},
    "custom_fields": {"document_key", "source", "entity", "record_id", "company_id", "deleted", "name", "value"},
    "approval_ageing": {
        "step_id",
        "person",
        "asked_first",
        "role",
        "company_id",
        "entity",
        "document_type",
        "amount_band",
    }
    | {"band", "wall_seconds", "seen_at", "route"},
    "approval_ageing_by": {"source", "dimension", "value", "steps", "p50_seconds", "p95_seconds", "oldest_seconds"}
    | {"days_0_1", "days_1_3", "days_3_5", "days_5_10", "days_over_10", "p50_band", "p95_band", "oldest_band"},
    "policy_uses": {"policy_version", "published_at", "reason", "changes", "steps", "clocks", "exceptions", "findings"},
    "exception_ageing": {
        "exception_id",
        "type",
        "owner_role",
        "company_id",
        "entity",
        "severity",
        "opened_at",
        "due_at",
    }
    | {"band", "late", "wall_seconds", "seen_at", "document_key", "source", "amount", "currency", "next_action"},
    "captures": {"source", "entity", "events", "last_occurred_at", "last_observed_at", "last_ingested_at"}
    | {"capture_seconds", "publish_seconds", "store_seconds", "heartbeat_at"},
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path: Path = tmp_path_factory.mktemp("views") / "store"
    opened = connect(ClickHouseSettings(path=path), database=False)
    migrate(opened, "finwatch")
    yield opened
    opened.close()


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_exists_with_its_columns(client: Any, view: str) -> None:
    found = client.query(
        "SELECT name FROM system.columns WHERE database = 'finwatch' AND table = {v:String}", parameters={"v": view}
    ).result_rows
    assert VIEWS[view] <= {name for (name,) in found}
    assert client.query(f"SELECT * FROM finwatch.{view}").result_rows == []


def test_a_view_spreads_out_what_is_kept_as_json(client: Any) -> None:
    payload = (
        '{"date":"2026-11-20","quantity":"7.500000","amount":"-312.000000","employee_id":"7","validated":null,'
        '"sale_order_key":"erp:sale_order:3","created_at":"2026-11-20T17:00:00.250000+00:00"}'
    )
    client.command(
        "INSERT INTO finwatch.document_states (document_key, source, entity, record_id, payload) VALUES "
        f"('erp:timesheet:1', 'erp', 'timesheet', '1', '{payload}'), "
        """('erp:task:2', 'erp', 'task', '2', '{"assignees":["3","9"],"active":true}')"""
    )
    found = client.query(
        "SELECT date, quantity, amount, employee_id, validated, sale_order_key, created_at FROM finwatch.timesheets"
    ).result_rows
    at = datetime(2026, 11, 20, 17, 0, 0, 250000, tzinfo=UTC)
    row = (date(2026, 11, 20), Decimal("7.5"), Decimal(-312), "7", None, "erp:sale_order:3", at.replace(tzinfo=None))
    assert found == [row]
    assert client.query("SELECT assignees, active, deadline_at FROM finwatch.tasks").result_rows == [
        (["3", "9"], True, None)
    ]
    client.command("TRUNCATE TABLE finwatch.document_states")


def test_custom_fields_are_rows_of_any_entity(client: Any) -> None:
    payload = '{"state":"posted","custom":[{"name":"cost_center","value":"7"},{"name":"note","value":null}],"lines":[]}'
    client.command(
        "INSERT INTO finwatch.document_states (document_key, source, entity, record_id, payload) VALUES "
        f"""('erp:bill:1', 'erp', 'bill', '1', '{payload}'), ('erp:bill:2', 'erp', 'bill', '2', '{{"custom":[]}}'), """
        """('erp:custom_record:x_loan/3', 'erp', 'custom_record', 'x_loan/3',
            '{"model":"x_loan","kind":"loan","amount":"1200.500000","date":"2027-07-01","custom":[]}')"""
    )
    assert client.query("SELECT entity, name, value FROM finwatch.custom_fields ORDER BY name").result_rows == [
        ("bill", "cost_center", "7"),
        ("bill", "note", None),
    ]
    assert client.query("SELECT model, kind, amount, date FROM finwatch.custom_records").result_rows == [
        ("x_loan", "loan", Decimal("1200.5"), date(2027, 7, 1))
    ]
    client.command("TRUNCATE TABLE finwatch.document_states")


def test_a_payment_is_followed_to_the_order_of_its_bill(client: Any) -> None:
    chain = (("purchase_order:7", "purchase_order:7"), ("bill:4", "purchase_order:7"), ("payment:9", "bill:4"))
    for number, (document, above) in enumerate((*chain, ("vendor:2", "vendor:2"), ("payment:8", "bill:99"))):
        client.command(
            "INSERT INTO finwatch.event_log (event_id, source, entity, document_key, correlation_id, observed_at, op) "
            f"VALUES ('c{number}', 'linked', '{document.split(':')[0]}', 'linked:{document}', 'linked:{above}', now(), "
            "'u')"
        )
    client.command(
        "INSERT INTO finwatch.event_log (event_id, source, entity, document_key, correlation_id, observed_at, op) "
        "VALUES ('gone', 'linked', 'bill', 'linked:bill:4', 'linked:bill:4', now() + 9, 'd')"  # and forgotten
    )
    found = client.query("SELECT document_key, correlation_id FROM finwatch.correlations WHERE source = 'linked'")
    assert dict(found.result_rows) == {
        "linked:purchase_order:7": "linked:purchase_order:7",
        "linked:bill:4": "linked:purchase_order:7",
        "linked:payment:9": "linked:purchase_order:7",
        "linked:vendor:2": "linked:vendor:2",
        "linked:payment:8": "linked:bill:99",  # its bill is not here (yet)
    }


def test_every_table_view_and_column_has_a_comment(client: Any) -> None:
    bare = "comment = '' AND database = 'finwatch'"
    assert client.query(f"SELECT table, name FROM system.columns WHERE {bare}").result_rows == []
    assert client.query(f"SELECT name FROM system.tables WHERE {bare}").result_rows == []
    assert client.query("SELECT count() FROM system.tables WHERE database = 'finwatch'").result_rows[0][0] >= 20


def test_the_database_is_atomic(client: Any) -> None:
    assert client.query("SELECT engine FROM system.databases WHERE name = 'finwatch'").result_rows == [("Atomic",)]


def test_the_sink_knows_a_type_for_every_column_it_fills(client: Any) -> None:
    types = TableStore(client, "finwatch").types((*ORDER, RAW))
    assert set(types) == {*ORDER, RAW}


@pytest.mark.parametrize("spec", CATALOGUE.values(), ids=lambda spec: spec.name)
def test_a_figure_in_sql_is_merged_as_the_catalogue_says(client: Any, spec: KpiSpec) -> None:
    parts = ((0, 3.0, 1.0, 4.0), (1, 5.0, 2.0, 4.0))
    rate = bool(spec.denominator)
    for partition, value, numerator, denominator in parts:
        figures = f"NULL, {numerator}, {denominator}" if rate else f"{value}, NULL, NULL"
        client.command(
            "INSERT INTO finwatch.kpi_parts "
            "(kpi, labels, topic, partition, position, seq, value, numerator, denominator) "
            f"VALUES ('{spec.name}', '{{}}', 't', {partition}, 1, 1, {figures})"
        )
    found = client.query("SELECT value, parts FROM finwatch.kpis WHERE kpi = {k:String}", parameters={"k": spec.name})
    assert found.result_rows == [(3 / 8 if rate else 5.0 if spec.merge == "max" else 8.0, 2)]


def test_parts_of_a_rate_are_added_and_carry_wilsons_interval(client: Any) -> None:
    for part, status, numerator, denominator in (("a/0", "final", 1, 10), ("a/1", "provisional", 2, 30)):
        client.command(
            "INSERT INTO finwatch.rate_states "
            "(rate_id, version, source, entity, type, window_start, window_end, status, numerator, denominator, part) "
            f"VALUES ('{part}', 1, 's', 'bill', 'overdue', '2026-03-02 00:00:00', '2026-03-03 00:00:00', '{status}', "
            f"{numerator}, {denominator}, '{part}')"
        )
    columns = "numerator, denominator, rate, low, high, status, parts"
    (row,) = client.query(f"SELECT {columns} FROM finwatch.exception_rates").result_rows
    assert row[:3] == (3, 40, 3 / 40)
    assert row[3:5] == pytest.approx(wilson(3, 40))
    assert row[5:] == ("provisional", 2)


def test_a_policy_change_shows_once_and_is_drawn_beside_the_figures(client: Any) -> None:
    for partition in (0, 1):  # the same change, from two partitions
        client.command(
            "INSERT INTO finwatch.policy_log (change_id, policy, version, label, effective_at, published_at, reason, "
            f"changes, partition, ingested_at) VALUES ('c', 'default', '2', 'default@2+ab', '2026-11-22 10:00:00', "
            f"'2026-11-22 10:00:00', 'why', ['clock x: taken out'], {partition}, '2026-11-22 10:00:0{partition}')"
        )
    assert client.query("SELECT count() FROM finwatch.policy_changes").result_rows == [(1,)]
    sql = expand(Sql(POLICY_CHANGES).sql, everything=True).replace("FROM policy_", "FROM finwatch.policy_")
    ((_, title, text, tags),) = client.query(sql).result_rows
    assert (title, text, tags) == ("Policy default@2+ab", "why\nclock x: taken out", "default")


def test_open_approvals_are_as_old_as_their_source_says(client: Any) -> None:
    client.command(
        "INSERT INTO finwatch.step_states (step_id, version, document_key, source, entity, company_id, step, role, "
        "person, asked_first, started_at, amount_band, ages_at) VALUES ('s1', 1, 'aged:bill:1', 'aged', 'bill', '1', "
        "'validation', 'clerk', '7', '5', '2026-03-02 09:00:00', '0-1000', ['2026-03-03 09:00:00', "
        "'2026-03-05 09:00:00', '2026-03-09 09:00:00', '2026-03-16 09:00:00'])"
    )
    client.command(
        "INSERT INTO finwatch.event_log (event_id, source, observed_at) VALUES ('e', 'aged', '2026-03-04 10:00:00')"
    )
    columns = "person, asked_first, amount_band, band, wall_seconds"
    asked = f"SELECT {columns} FROM finwatch.approval_ageing WHERE source = 'aged'"
    assert client.query(asked).result_rows == [("7", "5", "0-1000", "1-3", 49 * 3600.0)]
    client.command(
        "INSERT INTO finwatch.heartbeats (source, at, topic, partition) VALUES ('aged', '2026-03-20 09:00:00', 't', 0)"
    )
    assert client.query(asked).result_rows[0][3] == ">10", "time goes on without events"


def test_what_waits_is_counted_by_everything_that_is_asked(client: Any) -> None:
    """Three bills of two persons, whose ages at 14 March lie in three bands."""
    waits = (
        ("1", "7", "2026-03-13 09:00:00", ["2026-03-16 09:00:00"], "0-1000", 900),
        ("2", "7", "2026-03-10 09:00:00", ["2026-03-11 09:00:00", "2026-03-13 09:00:00"], "1000-10000", 2_000),
        ("3", None, "2026-02-02 09:00:00", [f"2026-02-{day:02} 09:00:00" for day in (3, 5, 9, 16)], None, None),
    )
    for number, person, since, ages, amounts, amount in waits:
        client.command(
            "INSERT INTO finwatch.step_states (step_id, version, document_key, source, entity, company_id, step, role, "
            "person, started_at, amount_band, amount, currency, ages_at) VALUES ({id:String}, 1, {key:String}, 'by', "
            "'bill', '1', 'validation', 'clerk', {person:Nullable(String)}, {since:String}, {band:Nullable(String)}, "
            "{amount:Nullable(Int32)}, 'EUR', {ages:Array(String)})",
            parameters={"id": f"by{number}", "key": f"by:bill:{number}", "person": person, "since": since}
            | {"band": amounts, "amount": amount, "ages": ages},
        )
    client.command(
        "INSERT INTO finwatch.step_states (step_id, version, document_key, source, entity, role, started_at, "
        "decided_at) VALUES ('by4', 1, 'by:bill:4', 'by', 'bill', 'clerk', '2026-01-01', '2026-01-09')"  # waits no more
    )
    client.command(
        "INSERT INTO finwatch.document_states (document_key, source, entity, record_id, move_type) VALUES "
        "('by:bill:2', 'by', 'bill', '2', 'in_refund')"
    )
    client.command(
        "INSERT INTO finwatch.event_log (event_id, source, observed_at) VALUES ('by', 'by', '2026-03-14 09:00:00')"
    )
    bands = "[days_0_1, days_1_3, days_3_5, days_5_10, days_over_10]"
    found = client.query(
        f"SELECT dimension, value, steps, {bands}, p50_band, oldest_band, intDiv(p50_seconds, 86400), "
        "intDiv(p95_seconds, 86400), intDiv(oldest_seconds, 86400) FROM finwatch.approval_ageing_by WHERE source = 'by'"
    ).result_rows
    table = {(row[0], row[1]): tuple(row[2:]) for row in found}
    everything = (3, [1, 0, 1, 0, 1], "3-5", ">10", 4, 40, 40)
    assert table[("all", "all")] == table[("role", "clerk")] == table[("company", "1")] == everything
    assert table[("person", "7")] == (2, [1, 0, 1, 0, 0], "0-1", "3-5", 1, 4, 4)
    assert table[("person", "nobody named")][:2] == (1, [0, 0, 0, 0, 1])
    assert table[("document_type", "bill")][0] == 2
    assert table[("document_type", "bill in_refund")][0] == 1
    assert {value for way, value in table if way == "amount_band"} == {"0-1000 EUR", "1000-10000 EUR", "no amount"}


def test_a_policy_tells_what_stands_by_it(client: Any) -> None:
    client.command(
        "INSERT INTO finwatch.policy_log (change_id, policy, label, effective_at, published_at, reason, changes) "
        "VALUES ('u', 'uses', 'uses@2+cd', '2026-11-22 10:00:00', '2026-11-22 09:00:00', 'why', ['clock x: taken out'])"
    )
    for table in ("step", "clock", "exception", "finding"):
        for label in ("uses@1+ab", "uses@2+cd"):
            client.command(
                f"INSERT INTO finwatch.{table}_states ({table}_id, version, policy_version, updated_at) VALUES "
                f"('{label}', 1, '{label}', '2026-11-22 11:00:00')"
            )
    columns = "policy_version, isNull(published_at), reason, changes, steps, clocks, exceptions, findings"
    assert client.query(
        f"SELECT {columns} FROM finwatch.policy_uses WHERE startsWith(policy_version, 'uses') ORDER BY policy_version"
    ).result_rows == [
        ("uses@1+ab", 1, None, [], 1, 1, 1, 1),
        ("uses@2+cd", 0, "why", ["clock x: taken out"], 1, 1, 1, 1),
    ]


def test_open_exceptions_are_as_old_and_as_late_as_their_source_says(client: Any) -> None:
    row = (
        "('{}', 1, 'old:bill:1', 'old', 'bill', '1', 'over_billed', '{}', "
        "'2026-03-02 09:00:00', '2026-03-05 09:00:00', ['2026-03-03 09:00:00', '2026-03-05 09:00:00', "
        "'2026-03-09 09:00:00', '2026-03-16 09:00:00'])"
    )
    client.command(
        "INSERT INTO finwatch.exception_states (exception_id, version, document_key, source, entity, company_id, type, "
        f"status, opened_at, due_at, ages_at) VALUES {row.format('x1', 'open')}, {row.format('x2', 'resolved')}"
    )
    for moment, expected in (
        ("2026-03-04 10:00:00", ("x1", "1-3", False, 49 * 3600.0)),
        ("2026-03-05 10:00:00", ("x1", "3-5", True, 73 * 3600.0)),
    ):
        client.command(
            f"INSERT INTO finwatch.heartbeats (source, at, topic, partition) VALUES ('old', '{moment}', 't', 0)"
        )
        asked = "SELECT exception_id, band, late, wall_seconds FROM finwatch.exception_ageing WHERE source = 'old'"
        assert client.query(asked).result_rows == [expected]


def test_what_is_at_risk_is_told_in_the_companys_currency(client: Any) -> None:
    client.command(
        "INSERT INTO finwatch.document_states (document_key, source, entity, record_id, payload) VALUES "
        """('risk:company:1', 'risk', 'company', '1', '{"currency":"EUR"}')"""
    )
    for table in ("finding_states", "finding_log"):
        client.command(
            f"INSERT INTO finwatch.{table} (finding_id, version, source, company_id, amount_at_risk, currency, "
            "company_amount) VALUES ('r1', 1, 'risk', '1', 260, 'USD', 236.36), ('r2', 1, 'risk', '2', 5, 'GBP', NULL)"
        )
    for view in ("findings", "finding_versions"):
        columns = "amount_at_risk, currency, company_amount, company_currency, company_id"
        found = client.query(
            f"SELECT {columns} FROM finwatch.{view} WHERE source = 'risk' ORDER BY finding_id"
        ).result_rows
        assert found == [
            (Decimal(260), "USD", Decimal("236.36"), "EUR", "1"),
            (Decimal(5), "GBP", None, None, "2"),
        ]
