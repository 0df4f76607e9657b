"""The catalogue is the only source of process metrics, and health tells the truth."""

import json
import urllib.error
import urllib.request

import pytest
from prometheus_client.exposition import generate_latest

from finwatch.runtime.health import Health, HealthServer
from finwatch.runtime.metrics import CATALOGUE, Metrics


def test_names_are_unique_and_explained() -> None:
    names = [spec.full_name for spec in CATALOGUE]
    assert len(set(names)) == len(names)
    assert all(spec.help.endswith(".") for spec in CATALOGUE)


def test_every_declared_metric_can_be_made_under_its_full_name() -> None:
    metrics = Metrics()
    for spec in CATALOGUE:
        made = getattr(metrics, spec.kind)(spec.name)
        if spec.labels:
            made.labels(*("x" for _ in spec.labels))
    shown = generate_latest(metrics.registry).decode()
    for spec in CATALOGUE:
        assert f"# HELP {spec.full_name} " in shown


def test_an_undeclared_metric_and_a_wrong_kind_are_refused() -> None:
    with pytest.raises(KeyError):
        Metrics().counter("never_declared")
    with pytest.raises(KeyError, match="is a counter"):
        Metrics().gauge("stream_applied")


def test_health_and_metrics_are_served_on_loopback() -> None:
    metrics = Metrics()
    metrics.counter("stream_stale").labels("documents").inc(3)
    state = {"well": True}
    server = HealthServer(metrics.registry, lambda: Health(state["well"], {"age": 1})).start()
    try:
        assert server.address.startswith("127.0.0.1:")
        base = f"http://{server.address}"
        with urllib.request.urlopen(f"{base}/metrics") as answer:
            assert b'finwatch_stream_stale_total{stage="documents"} 3.0' in answer.read()
        with urllib.request.urlopen(f"{base}/health") as answer:
            assert json.load(answer) == {"healthy": True, "age": 1}
        state["well"] = False
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{base}/health")
        assert caught.value.code == 503
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{base}/table")
        assert caught.value.code == 404
    finally:
        server.stop()
