"""Every panel's query runs on the real engines, over a store with a row of each kind and a scrape of all metrics.

A panel that asks for a column, label, status or metric that does not exist shows nothing here, and the test fails.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from dashboards.rules import RECORDINGS
from finwatch.domain.kpis import BANDS, CATALOGUE, COHORTS
from finwatch.runtime.config import ClickHouseSettings
from finwatch.runtime.metrics import CATALOGUE as PROCESS_METRICS
from finwatch.runtime.metrics import Metrics
from finwatch.runtime.store import connect
from sinks.clickhouse.migrations import migrate
from tests.parts.monitoring import Prometheus
from tests.parts.panels import ROOT, SQL_SOURCE, Target, expand, for_all_sources, instant, scraping, targets

SQL = targets(SQL_SOURCE)
PROMQL = targets("prometheus")


def name_of(target: Target) -> str:
    return target.panel


# ---- ClickHouse ----------------------------------------------------------------------------------------------------


HEAD = "'odoo:bill:7', 'odoo', 'bill', '7', '1'"
AT = "'2026-03-02 09:00:00'"
LATER = "'2026-03-03 09:00:00'"
ROWS = {
    "event_log (record, event_id, document_key, source, entity, record_id, company_id, occurred_at, observed_at, "
    "kafka_timestamp, ingested_at)": [f"'finwatch.Bill', 'e1', {HEAD}, {AT}, {AT}, {AT}, {LATER}"],
    "step_states (step_id, version, document_key, source, entity, record_id, company_id, step, role, person, "
    "started_at, decided_at, decision, business_seconds, retracted)": [
        f"'s1', 1, {HEAD}, 'bill_validation', 'accounts_payable', '5', {AT}, NULL, NULL, NULL, false",
        f"'s2', 1, {HEAD}, 'bill_validation', 'accounts_payable', '5', {AT}, {LATER}, 'rejected', 28800, false",
    ],
    "clock_states (clock_id, version, document_key, source, entity, record_id, company_id, policy, started_at, due_at, "
    "breached_at, status)": [
        f"'c1', 1, {HEAD}, 'bill_validation', {AT}, {LATER}, NULL, 'running'",
        f"'c2', 1, {HEAD}, 'order_approval', {AT}, {LATER}, {LATER}, 'breached'",
    ],
    "exception_states (exception_id, version, document_key, source, entity, record_id, company_id, type, severity, "
    "status, opened_at, owner_role, next_action)": [
        f"'x1', 1, {HEAD}, 'missing_order', 'high', 'open', {AT}, 'accounts_payable', 'Ask for the order.'"
    ],
    "finding_states (finding_id, version, status, detector, rule, severity, document_keys, source, entity, company_id, "
    "reasons, amount_at_risk, currency, opened_at)": [
        "'f1', 1, 'open', 'duplicates', 'exact', 'high', ['odoo:bill:7', 'odoo:bill:3'], 'odoo', 'bill', '1', "
        f"['Same vendor and reference.'], 120.5, 'EUR', {AT}"
    ],
    "dead_letter_log (stage, topic, partition, offset, reason, value_size, timestamp)": [
        f"'documents', 'finance.bill.v1', 0, 5, 'malformed_avro', 17, {AT}"
    ],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    settings = ClickHouseSettings(path=tmp_path_factory.mktemp("panels") / "store", database="finwatch")
    with_database = connect(settings, database=False)
    migrate(with_database, settings.database)
    with_database.command(f"USE {settings.database}")
    for table, rows in ROWS.items():
        with_database.command(f"INSERT INTO {table} VALUES {', '.join(f'({row})' for row in rows)}")
    yield with_database
    with_database.close()


@pytest.mark.parametrize("everything", [True, False], ids=["all", "chosen"])
@pytest.mark.parametrize("target", SQL, ids=name_of)
def test_sql_of_every_panel_finds_the_sample_rows(store: Any, target: Target, everything: bool) -> None:
    result = store.query(expand(target.query, everything=everything))
    assert result.result_rows, target.query
    if "toStartOf" in target.query:
        assert result.column_names[0] == "time", "a series over time needs its time first"


def test_a_source_that_is_not_chosen_is_not_shown(store: Any) -> None:
    for target in SQL:
        if "${source" in target.query:
            sql = expand(target.query, everything=False).replace("'odoo','other'", "'other'")
            assert store.query(sql).result_rows == [], target.panel


def test_an_open_step_waits_since_its_start_at_the_last_event_of_its_source(store: Any) -> None:
    (longest,) = [target for target in SQL if target.panel == "Longest waiting"]
    rows = store.query(expand(longest.query, everything=True))
    assert [dict(zip(rows.column_names, row, strict=True))["waited"] for row in rows.result_rows] == [0]


def test_sql_of_the_runbooks_runs(store: Any) -> None:
    found = 0
    for page in sorted((ROOT / "docs" / "runbooks").glob("*.md")):
        for sql in re.findall(r'finwatch query "(.*?)"', page.read_text(), re.DOTALL):
            store.query(sql.replace("\\\n", "\n"))
            found += 1
    assert found >= 5


# ---- Prometheus ----------------------------------------------------------------------------------------------------

VALUES = {
    "source": ["odoo"],
    "entity": ["bill"],
    "company": ["1"],
    "role": ["accounts_payable"],
    "band": [name for name, _ in BANDS],
    "policy": ["bill_validation"],
    "status": ["running", "paused", "breached"],
    "type": ["missing_order"],
    "severity": ["low", "critical"],
    "window": [name for name, _ in COHORTS],
    "detector": ["approvals", "sla", "exceptions", "duplicates"],
    "rule": ["exact"],
}


def exposition(counted: int) -> bytes:
    """Every metric of both catalogues with sample labels; counters stand at `counted`."""
    metrics = Metrics()
    for spec in PROCESS_METRICS:
        labels = [f"a-{label}" for label in spec.labels]
        made: Any = getattr(metrics, spec.kind)(spec.name)
        child = made.labels(*labels) if labels else made
        if spec.kind == "counter":
            child.inc(counted)
        elif spec.kind == "histogram":
            child.observe(0.1)
        else:
            child.set(1)
    kpis = CollectorRegistry()
    for kpi in CATALOGUE.values():
        gauge = Gauge(f"finwatch_{kpi.name}", kpi.help, kpi.labels, registry=kpis)
        for values in itertools.product(*(VALUES[label] for label in kpi.labels)):
            gauge.labels(*values).set(0.5 if kpi.denominator else 3)
    return generate_latest(metrics.registry) + generate_latest(kpis)


@pytest.fixture
def scraped(run_prometheus: Callable[[str], Prometheus]) -> Iterator[Prometheus]:
    """A Prometheus that has scraped all metrics several times and evaluated the recording rules."""
    scrapes = itertools.count(1)
    with scraping(run_prometheus, lambda: exposition(next(scrapes))) as prometheus:
        yield prometheus


@pytest.mark.prometheus
@pytest.mark.slow
def test_promql_of_every_panel_and_recording_finds_the_sample_metrics(scraped: Prometheus) -> None:
    wanted = {target.panel: target.query for target in PROMQL}
    wanted |= {recording.name: recording.expr for recording in RECORDINGS}
    wanted = {name: for_all_sources(expr) for name, expr in wanted.items()}
    assert len(wanted) >= 25
    deadline = time.monotonic() + 60
    empty = wanted
    while empty:
        empty = {name: expr for name, expr in empty.items() if not instant(scraped, expr)}
        if empty:
            assert time.monotonic() < deadline, f"no data for {empty}"
            time.sleep(0.5)  # a rate needs two scrapes; asked again until the deadline
    for name, expr in wanted.items():
        figures = [sample["value"][1] for sample in instant(scraped, expr)]
        assert "NaN" not in figures, f"{name}: {figures}"


@pytest.mark.prometheus
@pytest.mark.slow
def test_a_second_copy_of_the_sink_does_not_double_a_figure(scraped: Prometheus) -> None:
    (waiting,) = [target.query for target in PROMQL if target.panel == "Approvals waiting"]
    expr = for_all_sources(waiting)
    deadline = time.monotonic() + 30
    while not instant(scraped, expr):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    doubled = expr.replace(
        "finwatch_approvals_open{",
        'label_replace(finwatch_approvals_open, "instance", "b", "", "") or finwatch_approvals_open{',
    )
    assert doubled != expr
    assert instant(scraped, doubled)[0]["value"][1] == instant(scraped, expr)[0]["value"][1] == str(3 * len(BANDS))
