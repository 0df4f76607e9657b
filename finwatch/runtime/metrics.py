"""The one catalogue of process metrics (KPIs of the business have their own: finwatch.domain.kpis).

Each metric is declared once here and made for a registry of one process by `Metrics`. Labels are of low cardinality
and never hold an amount, a name or an account number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True)
class MetricSpec:
    """One metric: name without `finwatch_` and without a counter's `_total`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""

    @property
    def full_name(self) -> str:
        """Name as Prometheus shows it."""
        return f"finwatch_{self.name}" + ("_total" if self.kind == "counter" else "")


CATALOGUE: tuple[MetricSpec, ...] = (
    # Every process.
    MetricSpec("build_info", "gauge", "1, with the version of this process.", ("version", "component")),
    MetricSpec("up_since_seconds", "gauge", "Unix time at which this process started.", (), "seconds"),
    # Streams: the shell.
    MetricSpec("stream_applied", "counter", "Events applied to state.", ("stage", "topic")),
    MetricSpec("stream_repeated", "counter", "Events seen before and skipped.", ("stage", "topic")),
    MetricSpec("stream_filtered", "counter", "Records that no agent of the stage wants.", ("stage", "topic")),
    MetricSpec("stream_dead", "counter", "Records sent to the dead-letter topic.", ("stage", "topic", "reason")),
    MetricSpec("stream_emitted", "counter", "Output records produced.", ("stage", "topic")),
    MetricSpec("stream_stale", "counter", "Records dropped because their lease had ended.", ("stage",)),
    MetricSpec("stream_fired", "counter", "Deadlines fired.", ("stage",)),
    MetricSpec("stream_lag_records", "gauge", "Records behind the end of the log.", ("stage", "topic", "partition")),
    MetricSpec(
        "stream_lag_seconds", "gauge", "Age of the last applied record while behind, else 0.", ("stage",), "seconds"
    ),
    MetricSpec("stream_checkpoint_seconds", "histogram", "Duration of a checkpoint.", ("stage",), "seconds"),
    MetricSpec(
        "stream_checkpoint_age_seconds", "gauge", "Time since the last checkpoint that stands.", ("stage",), "seconds"
    ),
    MetricSpec("stream_state_rows", "gauge", "Rows of state held.", ("stage",)),
    MetricSpec("stream_state_bytes", "gauge", "Bytes of undecoded state held.", ("stage",), "bytes"),
    MetricSpec("stream_rebalances", "counter", "Rebalances of the consumer group seen.", ("stage", "kind")),
    MetricSpec("stream_load_seconds", "histogram", "Time to load state after an assignment.", ("stage",), "seconds"),
    MetricSpec("stream_partitions", "gauge", "Partitions assigned.", ("stage",)),
    # The ClickHouse sink.
    MetricSpec("sink_rows", "counter", "Rows confirmed by the store.", ("table",)),
    MetricSpec("sink_batches", "counter", "Batches that stand: their records and their position are in the raw log."),
    MetricSpec(
        "sink_bad", "counter", "Records the sink could not read; stored, and listed as dead letters.", ("reason",)
    ),
    MetricSpec("sink_insert_seconds", "histogram", "Duration of one insert.", ("table",), "seconds"),
    MetricSpec("sink_decode_seconds", "histogram", "Duration of decoding a batch into rows.", (), "seconds"),
    MetricSpec(
        "sink_retries", "counter", "Failures after which the sink began again from the store's position.", ("part",)
    ),
    MetricSpec("sink_resumes", "counter", "Times the position was read from the store."),
    MetricSpec("sink_lag_records", "gauge", "Records behind the end of the log.", ("topic",)),
    MetricSpec("sink_lag_seconds", "gauge", "Age of the last stored record while behind, else 0.", (), "seconds"),
    MetricSpec(
        "sink_delay_seconds",
        "histogram",
        "From Kafka time stamp to the store, newest record of a batch.",
        (),
        "seconds",
    ),
    MetricSpec("sink_written_timestamp_seconds", "gauge", "Unix time of the last batch that stands.", (), "seconds"),
    # The Prometheus sink.
    MetricSpec("kpi_parts", "gauge", "Parts of KPIs held."),
    MetricSpec("kpi_records", "counter", "Records of the KPI topic by what became of them.", ("outcome",)),
    MetricSpec("kpi_lag_records", "gauge", "Records of the KPI topic not read yet."),
    MetricSpec(
        "kpi_part_age_seconds",
        "gauge",
        "Time since an input partition published any part of a KPI.",
        ("topic", "partition"),
        "seconds",
    ),
    MetricSpec(
        "kpi_stale",
        "gauge",
        "1 when a partition that a KPI has a part from is silent: the figure may be out of date.",
        ("kpi",),
    ),
    # Capture, in Debezium's vocabulary where it has a word.
    MetricSpec("capture_connected", "gauge", "1 while the source answers.", ("source",)),
    MetricSpec("capture_events", "counter", "Events published.", ("source", "entity", "op", "mode")),
    MetricSpec("capture_unchanged", "counter", "Records read again and found as they were.", ("source", "entity")),
    MetricSpec("capture_rows_scanned", "counter", "Rows read from the source.", ("source", "model")),
    MetricSpec("capture_errors", "counter", "Errors of the source, and rows left out.", ("source", "kind")),
    MetricSpec("capture_page_size", "gauge", "Rows that a model is asked for at once now.", ("source", "model")),
    MetricSpec(
        "capture_request_seconds",
        "histogram",
        "How long the source takes for a request, by method and by what became of it.",
        ("source", "method", "outcome"),
        "seconds",
    ),
    MetricSpec("capture_retries", "counter", "Requests made again, by what they failed with.", ("source", "kind")),
    MetricSpec(
        "capture_throttled_seconds",
        "counter",
        "Time waited for the source's sake: limits of this process, and its own wish (Retry-After, failures).",
        ("source",),
        "seconds",
    ),
    MetricSpec(
        "capture_clock_skew_seconds", "gauge", "The source's clock less this machine's.", ("source",), "seconds"
    ),
    MetricSpec("capture_unknown_labels", "counter", "Tracked values whose key is not known.", ("source",)),
    MetricSpec("capture_model_stopped", "gauge", "1 when a model is no longer read.", ("source", "model")),
    MetricSpec("capture_snapshot_running", "gauge", "1 while a model's snapshot is read.", ("source", "model")),
    MetricSpec(
        "capture_snapshot_completed", "gauge", "1 when a model's first snapshot was read wholly.", ("source", "model")
    ),
    MetricSpec(
        "capture_snapshot_remaining",
        "gauge",
        "Ids that a model's snapshot has not come to; rows at most, as ids have gaps.",
        ("source", "model"),
    ),
    MetricSpec(
        "capture_snapshot_seconds", "gauge", "How long a model's last snapshot took.", ("source", "model"), "seconds"
    ),
    MetricSpec("capture_snapshot_requests", "counter", "Requested snapshots, by outcome.", ("source", "outcome")),
    MetricSpec(
        "capture_recaptured", "counter", "Records published again because they were asked for.", ("source", "kind")
    ),
    MetricSpec("capture_requests_waiting", "gauge", "Requested snapshots that are not read wholly.", ("source",)),
    MetricSpec("capture_hints", "counter", "Hints, by what they led to.", ("source", "outcome")),
    MetricSpec("capture_epoch", "gauge", "How often another database was accepted for the source.", ("source",)),
    MetricSpec(
        "capture_seconds_behind_source",
        "gauge",
        "Age of the moment up to which a model was read.",
        ("source", "model"),
        "seconds",
    ),
    MetricSpec(
        "capture_seconds_since_last_event", "gauge", "Age of the newest event published.", ("source",), "seconds"
    ),
    MetricSpec("capture_sweep_rounds", "counter", "Rounds of the sweep over all models.", ("source",)),
    MetricSpec("capture_sweep_round_seconds", "gauge", "Duration of the sweep's last round.", ("source",), "seconds"),
    MetricSpec("capture_polls_cut", "counter", "Polls that left models to the next, for want of time.", ("source",)),
    MetricSpec("capture_poll_seconds", "histogram", "Duration of a poll of all models.", ("source",), "seconds"),
    # The reconciliation of source and store.
    MetricSpec("reconcile_documents", "gauge", "Documents compared, by side.", ("source", "entity", "side")),
    MetricSpec(
        "reconcile_drift", "gauge", "Documents on which the sides differ.", ("source", "entity", "company", "kind")
    ),
    MetricSpec("reconcile_in_flight", "gauge", "Documents too young to be compared.", ("source", "entity")),
    MetricSpec(
        "reconcile_store_behind_seconds",
        "gauge",
        "Age of the moment of the source up to which the store has everything.",
        ("source", "model"),
        "seconds",
    ),
    MetricSpec("reconcile_seconds", "gauge", "Duration of the last comparison.", ("source",), "seconds"),
    MetricSpec(
        "reconcile_finished_timestamp_seconds",
        "gauge",
        "Unix time of the last whole comparison.",
        ("source",),
        "seconds",
    ),
    MetricSpec(
        "reconcile_log_missing", "gauge", "Changes of the tracking log that the store lacks.", ("source", "entity")
    ),
    MetricSpec("reconcile_runs", "counter", "Comparisons: equal, drift, failed.", ("source", "outcome")),
    MetricSpec(
        "reconcile_repaired", "counter", "Documents and deletions asked to be captured again.", ("source", "kind")
    ),
    # The webhook ingress.
    MetricSpec("webhook_requests", "counter", "Requests answered, by hook and HTTP status.", ("source", "status")),
    MetricSpec(
        "webhook_seconds",
        "histogram",
        "From a request's head to its answer, the broker's acknowledgement included.",
        ("source",),
        "seconds",
    ),
    MetricSpec("webhook_unacknowledged", "gauge", "Events that are not committed yet."),
    MetricSpec("webhook_undelivered", "counter", "Events that were not committed; their senders were told 503."),
    MetricSpec("webhook_nonces", "gauge", "Nonces held to refuse replays.", ("source",)),
)


class Metrics:
    """The metrics of one process, made from the catalogue on first use.

    `metrics.counter("stream_applied").labels(...)`; asking for an undeclared name raises KeyError, so nothing is
    published that the documentation does not list.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._specs: Mapping[str, MetricSpec] = {spec.name: spec for spec in CATALOGUE}
        self._made: dict[str, Counter | Gauge | Histogram] = {}

    def _make(self, name: str, kind: str) -> Counter | Gauge | Histogram:
        made = self._made.get(name)
        if made is None:
            spec = self._specs[name]
            if spec.kind != kind:
                raise KeyError(f"{name} is a {spec.kind}, not a {kind}")
            full = f"finwatch_{name}"
            if spec.kind == "counter":
                made = Counter(full, spec.help, spec.labels, registry=self.registry)
            elif spec.kind == "gauge":
                made = Gauge(full, spec.help, spec.labels, registry=self.registry)
            else:
                made = Histogram(full, spec.help, spec.labels, buckets=SECONDS, registry=self.registry)
            self._made[name] = made
        return made

    def counter(self, name: str) -> Counter:
        """Counter `name` of the catalogue. Raises KeyError when it is not declared as one."""
        made = self._make(name, "counter")
        assert isinstance(made, Counter)
        return made

    def gauge(self, name: str) -> Gauge:
        """Gauge `name` of the catalogue. Raises KeyError when it is not declared as one."""
        made = self._make(name, "gauge")
        assert isinstance(made, Gauge)
        return made

    def histogram(self, name: str) -> Histogram:
        """Histogram `name` of the catalogue. Raises KeyError when it is not declared as one."""
        made = self._make(name, "histogram")
        assert isinstance(made, Histogram)
        return made
