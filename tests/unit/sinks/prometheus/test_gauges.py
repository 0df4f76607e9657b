"""The KPI gauges as Prometheus reads them."""

from __future__ import annotations

import json
import threading

from prometheus_client import CollectorRegistry, generate_latest

from finwatch.domain.kpis import CATALOGUE
from finwatch.domain.records import Kpi
from sinks.prometheus.gauges import Gauges
from sinks.prometheus.merge import Parts


def exposed(parts: Parts, *, loaded: bool = True, now: int = 0) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Gauges(lambda: parts, threading.Lock(), lambda: loaded, lambda: now))
    return registry


def labels(**given: str | None) -> str:
    return json.dumps(given, sort_keys=True)


def test_every_kpi_of_the_catalogue_has_its_help() -> None:
    text = generate_latest(exposed(Parts())).decode()
    for spec in CATALOGUE.values():
        assert f"# HELP finwatch_{spec.name} {spec.help}\n" in text


def test_a_figure_carries_the_labels_of_the_catalogue_and_no_others() -> None:
    parts = Parts()
    given = labels(source="odoo", policy="bill_approval", company=None, status="running", person="7")
    parts.apply(b"a", Kpi("clocks_open", given, "t", 0, 1, 0, 4.0), 0)
    registry = exposed(parts)
    wanted = {"source": "odoo", "policy": "bill_approval", "company": "", "status": "running"}
    assert registry.get_sample_value("finwatch_clocks_open", wanted) == 4.0
    assert "person" not in generate_latest(registry).decode()


def test_nothing_is_shown_before_all_parts_were_read() -> None:
    parts = Parts()
    parts.apply(b"a", Kpi("documents_open", labels(source="odoo"), "t", 0, 1, 0, 4.0), 0)
    assert generate_latest(exposed(parts, loaded=False)) == b""


def test_a_rate_over_nothing_and_a_withdrawn_part_have_no_sample_not_a_zero() -> None:
    parts = Parts()
    parts.apply(b"a", Kpi("clock_breach_rate", labels(source="odoo", policy="p"), "t", 0, 1, 0, None, 0.0, 0.0), 0)
    parts.apply(b"b", Kpi("documents_open", labels(source="odoo"), "t", 0, 1, 0, 3.0), 0)
    parts.apply(b"b", Kpi("documents_open", labels(source="odoo"), "t", 0, 2, 0), 0)
    text = generate_latest(exposed(parts)).decode()
    assert "finwatch_clock_breach_rate{" not in text
    assert "finwatch_documents_open{" not in text


def test_a_silent_partition_shows_as_stale_and_the_figure_stays() -> None:
    parts = Parts()
    parts.apply(b"a", Kpi("documents_open", labels(source="odoo"), "finance.bill.v1", 2, 1, 0, 4.0), 0)
    registry = exposed(parts, now=600_000_000)
    age = registry.get_sample_value("finwatch_kpi_part_age_seconds", {"topic": "finance.bill.v1", "partition": "2"})
    assert age == 600.0
    assert registry.get_sample_value("finwatch_kpi_stale", {"kpi": "documents_open"}) == 1.0
    place = {"source": "odoo", "entity": "", "company": ""}
    assert registry.get_sample_value("finwatch_documents_open", place) == 4.0
