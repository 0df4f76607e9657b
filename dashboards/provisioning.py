"""Grafana's provisioning: the two data sources and the folder of dashboards.

Data sources have fixed ids, so that dashboards and links keep working. The ClickHouse user only reads; its password
comes from a file and is never in this one.
"""

from __future__ import annotations

from dashboards.text import generated_yaml

SOURCE = "dashboards/provisioning.py"
PROMETHEUS_UID = "finwatch-prometheus"
CLICKHOUSE_UID = "finwatch-clickhouse"


def datasources_yaml() -> str:
    """Content of provisioning/datasources."""
    return generated_yaml(
        SOURCE,
        {
            "apiVersion": 1,
            "prune": True,
            "datasources": [
                {
                    "name": "Finwatch Prometheus",
                    "uid": PROMETHEUS_UID,
                    "type": "prometheus",
                    "access": "proxy",
                    "url": "http://prometheus:9090",
                    "isDefault": True,
                    "editable": False,
                    "jsonData": {"httpMethod": "POST", "timeInterval": "15s"},
                },
                {
                    "name": "Finwatch ClickHouse",
                    "uid": CLICKHOUSE_UID,
                    "type": "grafana-clickhouse-datasource",
                    "access": "proxy",
                    "editable": False,
                    "jsonData": {
                        "version": "4.0.0",
                        "host": "clickhouse",
                        "port": 8123,
                        "protocol": "http",
                        "secure": False,
                        "username": "reader",
                        "defaultDatabase": "finwatch",
                        "dialTimeout": "10",
                        "queryTimeout": "60",
                    },
                    "secureJsonData": {"password": "$__file{/run/secrets/clickhouse_reader_password}"},
                },
            ],
        },
    )


def dashboards_yaml() -> str:
    """Content of provisioning/dashboards."""
    return generated_yaml(
        SOURCE,
        {
            "apiVersion": 1,
            "providers": [
                {
                    "name": "finwatch",
                    "folder": "Finwatch",
                    "type": "file",
                    "disableDeletion": True,
                    "allowUiUpdates": False,
                    "updateIntervalSeconds": 30,
                    "options": {"path": "/etc/grafana/finwatch"},
                }
            ],
        },
    )
