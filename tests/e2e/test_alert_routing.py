"""Alerts reach the webhook through a real Alertmanager, and those that another one explains do not."""

from __future__ import annotations

import http.server
import json
import queue
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from dashboards import files
from tests.parts.monitoring import Alertmanager

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.prometheus, pytest.mark.slow]


@pytest.fixture
def webhook() -> Iterator[tuple[str, queue.Queue[dict[str, Any]]]]:
    """A receiver: its address, and what it was sent."""
    received: queue.Queue[dict[str, Any]] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test's output free of requests."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", received
    server.shutdown()
    server.server_close()


@pytest.fixture
def send(
    tmp_path: Path, run_alertmanager: Callable[[Path], Alertmanager], webhook: tuple[str, queue.Queue[dict[str, Any]]]
) -> Callable[..., None]:
    """Post alerts, given as label sets, to an Alertmanager with the generated routing and no waiting."""
    text = (ROOT / files.GENERATED / "alertmanager" / "alertmanager.yml").read_text()
    text = re.sub(r"url_file: \S+", f"url: {webhook[0]}", text)
    text = re.sub(r"group_wait: \S+", "group_wait: 1s", text)
    config = tmp_path / "alertmanager.yml"
    config.write_text(text)
    alertmanager = run_alertmanager(config)

    def post(*alerts: dict[str, str]) -> None:
        body = [{"labels": labels, "annotations": {"summary": "s"}} for labels in alerts]
        httpx2.post(f"{alertmanager.url}/api/v2/alerts", json=body).raise_for_status()

    return post


def names(received: queue.Queue[dict[str, Any]], until: str) -> set[str]:
    """Names of the alerts received, up to and with the one that ends the test."""
    found: set[str] = set()
    while until not in found:
        message = received.get(timeout=30)
        found |= {alert["labels"]["alertname"] for alert in message["alerts"]}
    return found


def alert(name: str, severity: str, kind: str, **labels: str) -> dict[str, str]:
    return {"alertname": name, "severity": severity, "kind": kind, **labels}


LAST = alert("Last", "critical", "pipeline", about="end of the test", source="elsewhere")


def test_an_alert_reaches_the_webhook_with_its_link(send: Any, webhook: Any) -> None:
    send(alert("FinwatchDuplicatesOpen", "warning", "business", about="duplicates", source="odoo"))
    message = webhook[1].get(timeout=30)
    assert message["receiver"] == "finwatch-webhook"
    assert [sent["labels"]["source"] for sent in message["alerts"]] == ["odoo"]


def test_of_two_levels_of_one_thing_the_higher_is_sent(send: Any, webhook: Any) -> None:
    where = {"about": "approval_ageing", "source": "odoo", "company": "1", "entity": "bill", "role": "ap"}
    send(
        alert("FinwatchApprovalsStuck", "critical", "business", **where, band=">10"),
        alert("FinwatchApprovalsAgeing", "warning", "business", **where, band="5-10"),
        alert("FinwatchExceptionRateHigh", "warning", "business", about="exception_rate", source="odoo"),
    )
    send(LAST)
    seen = names(webhook[1], "Last")
    while not {"FinwatchApprovalsStuck", "FinwatchExceptionRateHigh"} <= seen:
        seen |= {sent["labels"]["alertname"] for sent in webhook[1].get(timeout=30)["alerts"]}
    assert "FinwatchApprovalsAgeing" not in seen


def test_another_role_is_not_held_back(send: Any, webhook: Any) -> None:
    where = {"about": "approval_ageing", "source": "odoo", "company": "1", "entity": "bill"}
    send(
        alert("FinwatchApprovalsStuck", "critical", "business", **where, role="ap", band=">10"),
        alert("FinwatchApprovalsAgeing", "warning", "business", **where, role="manager", band="5-10"),
    )
    assert "FinwatchApprovalsAgeing" in names(webhook[1], "FinwatchApprovalsAgeing")


def test_a_process_that_is_down_explains_its_lag_and_stale_figures_hold_back_the_business(
    send: Any, webhook: Any
) -> None:
    send(
        alert("FinwatchProcessDown", "critical", "pipeline", about="process", service="stream-documents"),
        alert("FinwatchCheckpointOld", "critical", "pipeline", about="checkpoint", service="stream-documents"),
        alert("FinwatchFiguresStale", "warning", "pipeline", about="figures", kpi="approvals_open"),
        alert("FinwatchClocksBreached", "critical", "business", about="service_levels", source="odoo"),
        alert("FinwatchStoreBehind", "critical", "pipeline", about="store", service="sink-clickhouse"),
    )
    send(LAST)
    seen = names(webhook[1], "Last")
    while not {"FinwatchProcessDown", "FinwatchFiguresStale", "FinwatchStoreBehind"} <= seen:
        seen |= {sent["labels"]["alertname"] for sent in webhook[1].get(timeout=30)["alerts"]}
    assert not seen & {"FinwatchCheckpointOld", "FinwatchClocksBreached"}
