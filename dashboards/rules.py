"""Recording and alert rules of Prometheus.

An alert is about the business (`kind: business`) or about finwatch itself (`kind: pipeline`). Texts name the source,
the kind of document and counts; never a document, a person or an amount. `about` names what the alert is about, so that
of two levels of one thing only the higher one is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dashboards.links import runbook
from dashboards.promql import kpi
from dashboards.text import generated_yaml

SOURCE = "dashboards/rules.py"


@dataclass(frozen=True)
class Recording:
    """A figure that is worked out once, for panels and alerts: level:metric:operation."""

    name: str
    expr: str

    def rule(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        return {"record": self.name, "expr": _one_line(self.expr)}


@dataclass(frozen=True)
class Alert:
    """One alert. `page` is its runbook, docs/runbooks/<page>.md; `after` its `for`."""

    name: str
    expr: str
    after: str
    severity: Literal["info", "warning", "critical"]
    kind: Literal["business", "pipeline"]
    about: str
    page: str
    summary: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def rule(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": _one_line(self.expr),
            "for": self.after,
            "labels": {"severity": self.severity, "kind": self.kind, "about": self.about, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": runbook(self.page),
            },
        }


def _one_line(expr: str) -> str:
    return " ".join(expr.split())


RECORDINGS: tuple[Recording, ...] = (
    Recording(
        "finwatch:exceptions_per_open_document:ratio",
        f"""sum by (source, entity, company) ({kpi("exceptions_open")})
        / sum by (source, entity, company) ({kpi("documents_open")})""",
    ),
    Recording("finwatch:stream_lag_seconds:max", "max by (stage) (finwatch_stream_lag_seconds)"),
    Recording("finwatch:stream_lag_records:sum", "sum by (stage) (finwatch_stream_lag_records)"),
    Recording("finwatch:stream_applied:rate5m", "sum by (stage) (rate(finwatch_stream_applied_total[5m]))"),
)

ALERTS: tuple[Alert, ...] = (
    # ---- the four kinds ---------------------------------------------------------------------------------------
    Alert(
        name="FinwatchApprovalsAgeing",
        expr=f"""{kpi("approvals_open", 'band="5-10"')} > 0""",
        after="15m",
        severity="warning",
        kind="business",
        about="approval_ageing",
        page="approvals-ageing",
        summary="Approvals wait for more than five business days",
        description="{{ $value }} {{ $labels.entity }} approvals of {{ $labels.source }} (company "
        "{{ $labels.company }}) have waited with role {{ $labels.role }} for five to ten business days.",
    ),
    Alert(
        name="FinwatchApprovalsStuck",
        expr=f"""{kpi("approvals_open", 'band=">10"')} > 0""",
        after="15m",
        severity="critical",
        kind="business",
        about="approval_ageing",
        page="approvals-ageing",
        summary="Approvals wait for more than ten business days",
        description="{{ $value }} {{ $labels.entity }} approvals of {{ $labels.source }} (company "
        "{{ $labels.company }}) have waited with role {{ $labels.role }} for more than ten business days.",
    ),
    Alert(
        # Small numbers raise no alert: a rate over fewer than thirty documents says little.
        name="FinwatchExceptionRateHigh",
        expr=f"""{kpi("exception_rate_stock")} > 0.4
        and on (source, entity, company) {kpi("documents_open")} >= 30""",
        after="30m",
        severity="warning",
        kind="business",
        about="exception_rate",
        page="exception-rate-high",
        summary="Many open documents have the same exception",
        description="{{ $value | humanizePercentage }} of the open {{ $labels.entity }} documents of "
        "{{ $labels.source }} (company {{ $labels.company }}) have the exception {{ $labels.type }}.",
    ),
    Alert(
        name="FinwatchCriticalExceptions",
        expr=f"""{kpi("exceptions_open", 'severity="critical"')} > 0""",
        after="5m",
        severity="critical",
        kind="business",
        about="critical_exceptions",
        page="critical-exceptions",
        summary="Exceptions of critical severity are open",
        description="{{ $value }} open {{ $labels.type }} exceptions on {{ $labels.entity }} documents of "
        "{{ $labels.source }} (company {{ $labels.company }}).",
    ),
    Alert(
        name="FinwatchExceptionsOverdue",
        # Under one alert a type counts once, also where two policies give it two severities.
        expr=f"""sum by (source, entity, company, type) ({kpi("exceptions_overdue")}) > 0""",
        after="15m",
        severity="warning",
        kind="business",
        about="exceptions_overdue",
        page="exceptions-overdue",
        summary="Exceptions are open past their service level",
        description="{{ $value }} open {{ $labels.type }} exceptions on {{ $labels.entity }} documents of "
        "{{ $labels.source }} (company {{ $labels.company }}) were to be resolved by now.",
    ),
    Alert(
        name="FinwatchDuplicatesOpen",
        expr=f"""sum by (source, rule) ({kpi("findings_open", 'detector="duplicates"')}) > 0""",
        after="5m",
        severity="warning",
        kind="business",
        about="duplicates",
        page="duplicates-open",
        summary="Bills look like duplicates of others",
        description="{{ $value }} open findings of rule {{ $labels.rule }} in {{ $labels.source }}: hold the payment "
        "until somebody has compared them.",
    ),
    Alert(
        name="FinwatchClocksBreached",
        expr=f"""{kpi("clocks_open", 'status="breached"')} > 0""",
        after="1m",
        severity="critical",
        kind="business",
        about="service_levels",
        page="clocks-breached",
        summary="A service level is broken",
        description="{{ $value }} documents of {{ $labels.source }} (company {{ $labels.company }}) are past the "
        "deadline of {{ $labels.policy }}.",
    ),
    Alert(
        name="FinwatchBreachRateHigh",
        expr=f"{kpi('clock_breach_rate')} > 0.2",
        after="1h",
        severity="warning",
        kind="business",
        about="breach_rate",
        page="clocks-breached",
        summary="A service level is broken too often",
        description="{{ $value | humanizePercentage }} of the clocks of {{ $labels.policy }} in {{ $labels.source }} "
        "had breached when they stopped.",
    ),
    # ---- finwatch itself --------------------------------------------------------------------------------------
    Alert(
        name="FinwatchProcessDown",
        expr='up{job="finwatch"} == 0',
        after="2m",
        severity="critical",
        kind="pipeline",
        about="process",
        page="process-down",
        summary="A finwatch process does not answer",
        description="{{ $labels.service }} at {{ $labels.instance }} has not answered for two minutes.",
    ),
    Alert(
        name="FinwatchNothingRuns",
        expr='absent(up{job="finwatch"})',
        after="5m",
        severity="critical",
        kind="pipeline",
        about="process",
        page="process-down",
        summary="No finwatch process is known to Prometheus",
        description="Not one process of the job finwatch has been found for five minutes.",
    ),
    Alert(
        name="FinwatchStreamBehind",
        expr="finwatch:stream_lag_seconds:max > 60",
        after="5m",
        severity="warning",
        kind="pipeline",
        about="stream",
        page="stream-behind",
        summary="A stream stage is behind",
        description="Stage {{ $labels.stage }} is {{ $value | humanizeDuration }} behind its topics.",
    ),
    Alert(
        name="FinwatchStreamStalled",
        expr="finwatch:stream_lag_records:sum > 0 and on (stage) finwatch:stream_applied:rate5m == 0",
        after="5m",
        severity="critical",
        kind="pipeline",
        about="stream",
        page="stream-behind",
        summary="A stream stage has records to read and reads none",
        description="Stage {{ $labels.stage }} has {{ $value }} records waiting and has applied none for five minutes.",
    ),
    Alert(
        name="FinwatchCheckpointOld",
        expr="max by (stage, service) (finwatch_stream_checkpoint_age_seconds) > 60",
        after="2m",
        severity="critical",
        kind="pipeline",
        about="checkpoint",
        page="checkpoint-old",
        summary="A stream stage does not save its state",
        description="The last checkpoint of stage {{ $labels.stage }} is {{ $value | humanizeDuration }} old.",
    ),
    Alert(
        name="FinwatchDeadLetters",
        expr="sum by (stage, topic, reason) (increase(finwatch_stream_dead_total[15m])) > 0",
        after="0m",
        severity="warning",
        kind="pipeline",
        about="dead_letters",
        page="dead-letters",
        summary="Records cannot be processed",
        description="Stage {{ $labels.stage }} has set aside records of {{ $labels.topic }} for {{ $labels.reason }}.",
    ),
    Alert(
        # The worker stops by itself at its limits (1,000, or a fifth of the last thousand); this is well before.
        name="FinwatchDeadLettersMany",
        expr="""sum by (stage) (increase(finwatch_stream_dead_total[15m]))
        / sum by (stage) (increase(finwatch_stream_applied_total[15m]) + increase(finwatch_stream_repeated_total[15m]))
        > 0.05""",
        after="5m",
        severity="critical",
        kind="pipeline",
        about="dead_letters",
        page="dead-letters",
        summary="Many records cannot be processed",
        description="{{ $value | humanizePercentage }} of the records of stage {{ $labels.stage }} are set aside; at "
        "its limit the worker stops.",
    ),
    Alert(
        name="FinwatchStoreBehind",
        expr="max by (service) (finwatch_sink_lag_seconds) > 60",
        after="5m",
        severity="critical",
        kind="pipeline",
        about="store",
        page="store-behind",
        summary="The store is behind the topics",
        description="What ClickHouse shows is {{ $value | humanizeDuration }} old. Nothing is lost: the sink goes on "
        "from its position in the store.",
    ),
    Alert(
        name="FinwatchStoreRetries",
        expr="sum by (service, part) (increase(finwatch_sink_retries_total[10m])) > 3",
        after="5m",
        severity="warning",
        kind="pipeline",
        about="store",
        page="store-behind",
        summary="Writing to the store keeps failing",
        description="The sink has begun again {{ $value }} times in ten minutes after failures of {{ $labels.part }}.",
    ),
    Alert(
        name="FinwatchCaptureBehind",
        expr="max by (source, model) (finwatch_capture_seconds_behind_source) > 120",
        after="5m",
        severity="critical",
        kind="pipeline",
        about="capture",
        page="capture-behind",
        summary="Capture is behind its source",
        description="{{ $labels.model }} of {{ $labels.source }} was read up to {{ $value | humanizeDuration }} ago. "
        "Nothing is lost: capture goes on from its position.",
    ),
    Alert(
        name="FinwatchCaptureDisconnected",
        expr="max by (source) (finwatch_capture_connected) == 0",
        after="2m",
        severity="critical",
        kind="pipeline",
        about="capture",
        page="capture-behind",
        summary="The source does not answer",
        description="{{ $labels.source }} has not answered for two minutes.",
    ),
    Alert(
        name="FinwatchCaptureModelStopped",
        expr="max by (source, model) (finwatch_capture_model_stopped) == 1",
        after="1m",
        severity="critical",
        kind="pipeline",
        about="capture_model",
        page="capture-behind",
        summary="A kind of record is no longer captured",
        description="{{ $labels.model }} of {{ $labels.source }} is no longer read: rights, a missing module or field.",
    ),
    Alert(
        name="FinwatchStoreDrift",
        expr="sum by (source, entity) (finwatch_reconcile_drift) > 0",
        after="10m",
        severity="warning",
        kind="pipeline",
        about="drift",
        page="store-drift",
        summary="Odoo and the store do not hold the same",
        description="{{ $value }} documents of kind {{ $labels.entity }} of {{ $labels.source }} differ between the "
        "source and the store.",
    ),
    Alert(
        name="FinwatchStoreLogDrift",
        expr="sum by (source, entity) (finwatch_reconcile_log_missing) > 0",
        after="10m",
        severity="warning",
        kind="pipeline",
        about="drift",
        page="store-drift",
        summary="The store lacks decisions that Odoo has logged",
        description="The tracking log of {{ $labels.source }} has {{ $value }} changes of kind {{ $labels.entity }} "
        "that are not in the store.",
    ),
    Alert(
        name="FinwatchReconcileSilent",
        expr="time() - max by (source) (finwatch_reconcile_finished_timestamp_seconds) > 86400",
        after="10m",
        severity="warning",
        kind="pipeline",
        about="reconciliation",
        page="store-drift",
        summary="Odoo and the store have not been compared for a day",
        description="The last whole comparison of {{ $labels.source }} is {{ $value | humanizeDuration }} old.",
    ),
    Alert(
        name="FinwatchFiguresStale",
        expr="max by (kpi) (finwatch_kpi_stale) == 1",
        after="5m",
        severity="warning",
        kind="pipeline",
        about="figures",
        page="figures-stale",
        summary="A figure may be out of date",
        description="A partition of the streams has been silent for two minutes or longer: {{ $labels.kpi }} is not to "
        "be trusted until it speaks again.",
    ),
    Alert(
        name="FinwatchFiguresMissing",
        expr="absent(finwatch_kpi_parts) or sum(finwatch_kpi_parts) == 0",
        after="10m",
        severity="critical",
        kind="pipeline",
        about="figures",
        page="figures-stale",
        summary="No figures are published",
        description="The Prometheus sink holds no KPI: it is down, or the streams have never published any.",
    ),
    Alert(
        name="FinwatchAlertingWorks",
        expr="vector(1)",
        after="0m",
        severity="info",
        kind="pipeline",
        about="alerting",
        page="alerting-works",
        summary="Alerting works",
        description="Always on. Its receiver raises the alarm when it stops coming.",
    ),
)


def _groups(name: str, rules: Iterable[Recording | Alert]) -> dict[str, Any]:
    return {"name": name, "interval": "15s", "rules": [rule.rule() for rule in rules]}


def recording_yaml() -> str:
    """Content of recording.rules.yml."""
    return generated_yaml(SOURCE, {"groups": [_groups("finwatch-figures", RECORDINGS)]})


def alerts_yaml() -> str:
    """Content of alerts.rules.yml: a group for each kind."""
    return generated_yaml(
        SOURCE,
        {
            "groups": [
                _groups("finwatch-business", (alert for alert in ALERTS if alert.kind == "business")),
                _groups("finwatch-pipeline", (alert for alert in ALERTS if alert.kind == "pipeline")),
            ]
        },
    )
