"""Alertmanager's routing: one webhook receiver, grouped so that a bad day is a few messages and not hundreds.

Payloads carry names, labels and a link to the runbook; no document's data is in them. The receiver's address is a
secret and is read from a file.
"""

from __future__ import annotations

from dashboards.text import generated_yaml

SOURCE = "dashboards/alertmanager.py"
RECEIVER = "finwatch-webhook"
URL_FILE = "/run/secrets/alert_webhook_url"


def as_yaml(url_file: str = URL_FILE) -> str:
    """Content of alertmanager.yml; `url_file` names the file that holds the receiver's URL."""
    return generated_yaml(
        SOURCE,
        {
            "global": {"resolve_timeout": "5m"},
            "route": {
                "receiver": RECEIVER,
                "group_by": ["alertname", "source"],
                "group_wait": "30s",
                "group_interval": "5m",
                "repeat_interval": "12h",
                "routes": [
                    # A silent heartbeat would be the alarm: it goes out every few minutes, on its own.
                    {
                        "receiver": RECEIVER,
                        "matchers": ['alertname="FinwatchAlertingWorks"'],
                        "group_wait": "0s",
                        "group_interval": "5m",
                        "repeat_interval": "5m",
                    },
                    {"receiver": RECEIVER, "matchers": ['severity="critical"'], "repeat_interval": "2h"},
                ],
            },
            "inhibit_rules": [
                # A process that is down explains its own lag, age and staleness.
                {
                    "source_matchers": ['alertname="FinwatchProcessDown"'],
                    "target_matchers": ['kind="pipeline"', 'alertname!="FinwatchProcessDown"'],
                    "equal": ["service"],
                },
                # Of two levels of one thing, the higher one is said.
                {
                    "source_matchers": ['severity="critical"'],
                    "target_matchers": ['severity="warning"'],
                    "equal": ["about", "source", "company", "entity", "role", "stage"],
                },
                # While figures are stale, what they say is not news; that they are stale is.
                {
                    "source_matchers": ['alertname="FinwatchFiguresStale"'],
                    "target_matchers": ['kind="business"'],
                    "equal": [],
                },
            ],
            "receivers": [
                {
                    "name": RECEIVER,
                    "webhook_configs": [{"url_file": url_file, "send_resolved": True, "max_alerts": 100}],
                }
            ],
        },
    )
