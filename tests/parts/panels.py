"""The queries of the committed dashboards, as Grafana sends them, and a Prometheus that scrapes a text."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from dashboards import files
from tests.parts.monitoring import Prometheus

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = sorted((ROOT / files.GENERATED / "grafana").glob("*.json"))
SQL_SOURCE = "grafana-clickhouse-datasource"


@dataclass(frozen=True)
class Target:
    """One query of a panel, as Grafana would send it."""

    panel: str
    kind: str
    query: str


def targets(kind: str) -> list[Target]:
    found = []
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                query = target.get("rawSql") or target.get("expr")
                found.append(Target(panel["title"], panel["datasource"]["type"], query))
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                found.append(Target(f"variable {variable['name']}", variable["datasource"]["type"], variable["query"]))
    return [target for target in found if target.kind == kind]


def expand(sql: str, *, everything: bool) -> str:
    """What Grafana's ClickHouse data source makes of macros and variables; `everything`: all sources are chosen."""
    condition = r"\1" if not everything else "1=1"
    sql = re.sub(r"\$__conditionalAll\((.*?\))\s*, \$source\)", condition, sql)
    sql = sql.replace("${source:singlequote}", "'odoo','other'")
    sql = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 >= toDateTime(1760000000) AND \1 <= toDateTime(2000000000)", sql)
    assert "$" not in sql, sql
    return sql


def for_all_sources(expr: str) -> str:
    """What Grafana's Prometheus data source makes of variables when all sources are chosen."""
    return expr.replace("$source", ".*").replace("$__rate_interval", "1m")


@contextmanager
def scraping(run_prometheus: Callable[[str], Prometheus], exposition: Callable[[], bytes]) -> Iterator[Prometheus]:
    """A Prometheus with the product's recording rules that scrapes `exposition` each second."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exposition()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test's output free of requests."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    recordings = re.sub(
        r"interval: \S+", "interval: 1s", (ROOT / files.GENERATED / "prometheus/recording.rules.yml").read_text()
    )
    config = f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [recording.rules.yml]
scrape_configs:
  - job_name: finwatch
    static_configs: [{{targets: ["127.0.0.1:{server.server_port}"], labels: {{service: sink-prometheus}}}}]
"""
    try:
        prometheus = run_prometheus(config)
        (prometheus.folder / "recording.rules.yml").write_text(recordings)
        httpx2.post(f"{prometheus.url}/-/reload").raise_for_status()
        yield prometheus
    finally:
        server.shutdown()
        server.server_close()


def instant(prometheus: Prometheus, expr: str) -> list[dict[str, Any]]:
    """The samples of an instant query."""
    answer = httpx2.get(f"{prometheus.url}/api/v1/query", params={"query": expr}).json()
    assert answer["status"] == "success", f"{expr}: {answer.get('error')}"
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found
