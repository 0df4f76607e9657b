"""The process `finwatch capture`: settings in, a running capture out."""

import gc
import threading
from datetime import timedelta

from finwatch.runtime.clock import SystemClock
from finwatch.runtime.config import ConfigError, Settings
from finwatch.runtime.health import Health, HealthServer
from finwatch.runtime.logging import get_logger
from finwatch.runtime.metrics import Metrics
from finwatch.runtime.publisher import Gate, KafkaPublisher
from finwatch.runtime.retry import GaveUp
from finwatch.runtime.topics import ENTITY_TOPICS
from producers.odoo.accounts import MINIMUM_KEY_BYTES
from producers.odoo.capture import Capture, CaptureSettings
from producers.odoo.connect import open_transport
from producers.odoo.politeness import Limits, Manners, PoliteTransport
from producers.odoo.readiness import check, wait_until_ready
from producers.odoo.records import RecordEncoder
from producers.odoo.state import KafkaState, MemoryState, StateStore
from schemas.registry import open_registry


def capture_settings(settings: Settings) -> CaptureSettings:
    """What the capture takes from the settings. Raises ConfigError for a missing or short key of account hashes."""
    odoo = settings.odoo
    key = odoo.account_key.get_secret_value().encode()
    if len(key) < MINIMUM_KEY_BYTES:
        raise ConfigError(
            f"FINWATCH_ODOO_ACCOUNT_KEY must have {MINIMUM_KEY_BYTES} bytes or more: account numbers are published as "
            "keyed hashes only; make one with `openssl rand -hex 32`, keep it, and give it as "
            "FINWATCH_ODOO_ACCOUNT_KEY_FILE"
        )
    try:
        return CaptureSettings(
            source=odoo.source,
            database=odoo.database,
            account_key=key,
            overlap=timedelta(seconds=odoo.overlap),
            page_size=odoo.page_size,
            poll_interval=odoo.poll_interval,
            partitions=settings.kafka.partitions,
            sweep_interval=odoo.sweep_seconds,
            sweep_rows=odoo.sweep_rows,
            sweep_recent=timedelta(seconds=odoo.sweep_recent),
            sweep_deletions=odoo.sweep_deletions,
        )
    except ValueError as error:
        raise ConfigError(f"FINWATCH_ODOO_*: {error}") from None


def tune_memory() -> None:
    """Let the collector of cycles look seldom: rows and records hold none, and are many and short-lived.

    For a process that only captures; what is loaded by now is never looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def run(
    settings: Settings,
    stop: threading.Event,
    *,
    once: bool = False,
    gate: Gate | None = None,
    metrics: Metrics | None = None,
) -> int:
    """Capture until `stop` is set, or `once` through; number of events published.

    Raises ConfigError, AccessDenied, PublishFailed, StateUnavailable. Odoo being away is waited out, and at start what
    is missing of broker, topics, registry and schemas; with `once` each raises (Unavailable, BrokerUnavailable,
    NotReady, RegistryUnavailable).
    """
    of_capture, odoo = capture_settings(settings), settings.odoo
    metrics = metrics or Metrics()
    try:
        limits = Limits(odoo.rate, odoo.concurrency, odoo.page_least, odoo.page_seconds, odoo.patience)
    except ValueError as error:
        raise ConfigError(f"FINWATCH_ODOO_*: {error}") from None
    manners = Manners(limits, SystemClock(), odoo.source, metrics, stop)
    transport = PoliteTransport(open_transport(odoo), manners)
    log = get_logger("capture")
    client = settings.kafka.client_config({"log_level": 0})
    registry = open_registry(settings.registry)
    publisher = KafkaPublisher(client, gate=gate, gated=frozenset(ENTITY_TOPICS), stop=stop)
    state: StateStore
    if settings.embedded is not None:
        # The embedded broker forgets with its process: a snapshot follows, its events have the ids they had before.
        state = MemoryState()
    else:
        state = KafkaState(publisher, client, of_capture.source, of_capture.partitions)
    capture = Capture(
        transport,
        publisher,
        SystemClock(),
        of_capture,
        encode=RecordEncoder(registry),
        state=state,
        metrics=metrics,
    )

    def health() -> Health:
        return Health(
            not capture.stopped_models or set(capture.stopped_models.values()) == {"unknown_model"},
            {
                "stopped_models": capture.stopped_models,
            },
        )

    server = HealthServer(metrics.registry, health, settings.http.host, settings.http.port).start()
    log.info("serving metrics and health", address=server.address)
    try:
        if once:
            check(settings.kafka, registry)
            capture.connect()
            published = capture.snapshot()
            return published + capture.poll()
        try:
            wait_until_ready(settings.kafka, registry, stop, SystemClock())
        except GaveUp:
            return 0  # told to stop while waiting
        capture.run(stop)
        return capture.published
    finally:
        server.stop()
        publisher.close()
