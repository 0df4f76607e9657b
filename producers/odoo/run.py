"""The process `finwatch capture`: settings in, a running capture out; and what is asked of one from outside."""

import gc
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
from confluent_kafka import KafkaException

from finwatch.runtime.clock import Clock, SystemClock
from finwatch.runtime.config import ConfigError, Settings
from finwatch.runtime.health import Health, HealthServer
from finwatch.runtime.logging import get_logger
from finwatch.runtime.metrics import Metrics
from finwatch.runtime.publisher import Fenced, Gate, KafkaPublisher, PublishFailed, TransactionalPublisher
from finwatch.runtime.retry import GaveUp
from finwatch.runtime.topics import ENTITY_TOPICS
from producers.hints import HintReader
from producers.odoo import fencing
from producers.odoo.accounts import MINIMUM_KEY_BYTES
from producers.odoo.capture import Capture, CaptureSettings
from producers.odoo.configured import configured
from producers.odoo.connect import open_transport
from producers.odoo.fencing import AlreadyRunning, Claim
from producers.odoo.identity import Identity
from producers.odoo.memory import Memory
from producers.odoo.politeness import Limits, Manners, PoliteTransport
from producers.odoo.readiness import check, wait_until_ready
from producers.odoo.records import RecordEncoder
from producers.odoo.state import KafkaState, MemoryState, StateStore, StateUnavailable, partition_of, read_state
from producers.signals import SignalReader, SnapshotRequest, ask, request_snapshot
from schemas.registry import Registry, open_registry


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
            poll_budget=odoo.poll_budget,
            poll_interval=odoo.poll_interval,
            partitions=settings.kafka.partitions,
            sweep_interval=odoo.sweep_seconds,
            sweep_rows=odoo.sweep_rows,
            sweep_recent=timedelta(seconds=odoo.sweep_recent),
            sweep_deletions=odoo.sweep_deletions,
            contents=odoo.contents_mb * 2**20,
            warm_rows=odoo.warm_rows,
            mappings=configured(odoo),
        )
    except ValueError as error:
        raise ConfigError(f"FINWATCH_ODOO_*: {error}") from None


SWITCH_SECONDS = 0.0005


def tune_process() -> None:
    """For a process that only captures; what is loaded by now is never looked at again by the collector of cycles.

    It looks seldom: rows and records hold no cycles, and are many and short-lived. Threads change places often: the
    one that reads ahead wants the interpreter at each packet for moments only, and had to wait 5 ms each time
    (Python's default) while documents are worked on, and the server for it.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


class _Leader:
    """Says in the state who leads a source, for people and for `finwatch capture snapshot`; renewed while it runs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.claim = fencing.claim(clock.now())
        self._noted: Claim | None = None

    def note(self, memory: Memory) -> None:
        """Before a settle: renew the claim when it is time."""
        now = self._clock.now()
        if self._noted is None or now - self._noted.at > fencing.RENEW:
            self._noted = self.claim = msgspec.structs.replace(self.claim, at=now)
            memory.put_note(fencing.NOTE, fencing.encode_claim(self.claim))

    def end(self) -> None:
        """This process stops by itself: the next settle says so."""
        self.claim, self._noted = msgspec.structs.replace(self.claim, ended=True), None


@dataclass
class _Process:
    """A capture that is the only one of its source, and what it stands on."""

    capture: Capture
    registry: Registry
    leader: _Leader
    publisher: KafkaPublisher

    def lead(self) -> None:
        """Take the source over, then connect. Raises PublishFailed and what `Capture.connect` raises.

        1. The identity: the broker refuses whatever the former producer still sends. 2. Only then is the state read:
        it is the last there is.
        """
        if isinstance(self.publisher, TransactionalPublisher):
            self.publisher.claim()


@contextmanager
def _process(settings: Settings, stop: threading.Event, gate: Gate | None, metrics: Metrics) -> Iterator[_Process]:
    """The capture of these settings, alone of its source; ends with nothing half published."""
    of_capture, odoo, clock = capture_settings(settings), settings.odoo, SystemClock()
    try:
        limits = Limits(odoo.rate, odoo.concurrency, odoo.page_least, odoo.page_seconds, odoo.patience)
    except ValueError as error:
        raise ConfigError(f"FINWATCH_ODOO_*: {error}") from None
    manners = Manners(limits, clock, odoo.source, metrics, stop)
    transport = PoliteTransport(open_transport(odoo), manners)
    client = settings.kafka.client_config({"log_level": 0})
    registry, leader = open_registry(settings.registry), _Leader(clock)
    state: StateStore
    publisher: KafkaPublisher
    with ExitStack() as held:
        if settings.embedded is not None:
            # The embedded broker forgets with its process: a snapshot follows, its events have the ids they had before.
            held.enter_context(fencing.alone_in(settings.embedded, of_capture.source))
            publisher = KafkaPublisher(client, gate=gate, gated=frozenset(ENTITY_TOPICS), stop=stop)
            state = MemoryState()
        else:
            publisher = TransactionalPublisher(client, fencing.identity_of(of_capture.source), stop=stop)
            state = KafkaState(publisher, client, of_capture.source, of_capture.partitions)
        capture = Capture(
            transport,
            publisher,
            clock,
            of_capture,
            encode=RecordEncoder(registry),
            state=state,
            metrics=metrics,
            atomic=settings.embedded is None,
            on_settle=leader.note,
        )
        try:
            yield _Process(capture, registry, leader, publisher)
            leader.end()
            capture.settle()
        except Fenced:
            raise _explained(settings, client, leader.claim) from None
        finally:
            publisher.close()


def _explained(settings: Settings, client: Mapping[str, Any], mine: Claim) -> PublishFailed:
    """Why the broker refuses this producer: another one leads, or the broker ended a transaction that stood still."""
    source, partitions = settings.odoo.source, settings.kafka.partitions
    try:
        other = fencing.claim_in(read_state(client, source, partition_of(source, partitions), read_seconds=10))
    except StateUnavailable:
        other = None
    if other is not None and other.id == mine.id:
        return PublishFailed(
            f"the broker ended a transaction of source {source} that stood still for too long (was this process "
            "paused?); nothing of it was published, and nothing is lost: start it again"
        )
    who = f"process {other.pid} on {other.host}" if other is not None else "another process"
    return Fenced(f"{who} captures source {source} now, so this one stops; nothing it had not delivered is published")


@contextmanager
def _listening(capture: Capture, settings: Settings) -> Iterator[tuple[HintReader | None, SignalReader | None]]:
    """Readers of hints and signals; None for a topic that the broker does not have."""
    client, source, log = settings.kafka.client_config({"log_level": 0}), settings.odoo.source, get_logger("capture")
    hints: HintReader | None = None
    signals: SignalReader | None = None
    with ExitStack() as opened:
        try:
            hints = HintReader(client, source)
            opened.callback(hints.close)
            signals = SignalReader(client, source, capture.signal_position)
            opened.callback(signals.close)
        except KafkaException:
            log.warning("no hints or no signals are read; run: finwatch topics apply, then start again")
        log.info("listening", hints=hints is not None, signals=signals is not None)
        yield hints, signals


def run(
    settings: Settings,
    stop: threading.Event,
    *,
    once: bool = False,
    gate: Gate | None = None,
    metrics: Metrics | None = None,
) -> int:
    """Capture until `stop` is set, or `once` through; number of events published.

    Raises ConfigError, AccessDenied, DatabaseChanged, PublishFailed (Fenced among them), AlreadyRunning,
    StateUnavailable. Odoo being away is waited out, and at start what is missing of broker, topics, registry and
    schemas; with `once` each raises (Unavailable, BrokerUnavailable, NotReady, RegistryUnavailable).
    """
    metrics = metrics or Metrics()
    with _process(settings, stop, gate, metrics) as process:
        capture = process.capture

        def health() -> Health:
            return Health(
                not capture.denied
                and (not capture.stopped_models or set(capture.stopped_models.values()) == {"unknown_model"}),
                {"stopped_models": capture.stopped_models, "login_refused": capture.denied},
            )

        server = HealthServer(metrics.registry, health, settings.http.host, settings.http.port).start()
        get_logger("capture").info("serving metrics and health", address=server.address)
        try:
            if once:
                check(settings.kafka, process.registry)
                process.lead()
                published = capture.snapshot()
                return published + capture.poll()
            try:
                wait_until_ready(settings.kafka, process.registry, stop, SystemClock())
            except GaveUp:
                return 0  # told to stop while waiting
            process.lead()
            if not capture.connect_patiently(stop):
                return 0
            with _listening(capture, settings) as (hints, signals):
                capture.run(stop, hints=hints, signals=signals)
            return capture.published
        finally:
            server.stop()


def leader(settings: Settings) -> Claim | None:
    """Who captures the source of these settings at this time, as far as the state tells; None: nobody.

    Raises StateUnavailable; on an embedded stack AlreadyRunning stands for a claim.
    """
    source = settings.odoo.source
    if settings.embedded is not None:
        with fencing.alone_in(settings.embedded, source):
            return None
    client = settings.kafka.client_config({"log_level": 0})
    found = fencing.claim_in(read_state(client, source, partition_of(source, settings.kafka.partitions)))
    return found if found is not None and found.alive(SystemClock().now()) else None


def ask_for_snapshot(settings: Settings, model: str, domain: Sequence[Any]) -> str:
    """Have the running producer read a model, or a domain of it, again; id of the request. Raises PublishFailed."""
    publisher = KafkaPublisher(settings.kafka.client_config({"log_level": 0}))
    source, at = settings.odoo.source, SystemClock().now()
    return request_snapshot(publisher, settings.kafka.partitions, source, model, domain, at)


def take_snapshot(
    settings: Settings, stop: threading.Event, model: str, domain: Sequence[Any], *, gate: Gate | None = None
) -> int:
    """Read a model, or a domain of it, again in this process, which takes the source over; events published.

    What was not read at the first snapshot is read as well. Stopped or killed in between, the next producer goes on.
    Raises what `run` raises with `once`.
    """
    with _process(settings, stop, gate, Metrics()) as process:
        check(settings.kafka, process.registry)
        process.lead()
        capture = process.capture
        capture.snapshot()
        source, at = settings.odoo.source, SystemClock().now()
        capture.take_requests([SnapshotRequest(uuid4().hex, source, model, at, list(domain))], [], None)
        while not stop.is_set() and capture.work_requests():
            pass
        return capture.published


def recapture(
    settings: Settings, stop: threading.Event, requests: Sequence[SnapshotRequest], *, gate: Gate | None = None
) -> bool:
    """Have given records captured again: by the producer that runs, else by this process, which takes the source over.

    True when it was done here and is delivered; False when the running producer was asked, which may take its time and
    is carried out after a crash too. A producer that starts meanwhile is asked instead. Raises what `run` raises with
    `once`, Fenced and AlreadyRunning left out.
    """
    try:
        runs = leader(settings) is not None
    except AlreadyRunning:
        runs = True
    if not runs:
        try:
            with _process(settings, stop, gate, Metrics()) as process:
                check(settings.kafka, process.registry)
                process.lead()
                process.capture.take_requests(requests, [], None)
                while not stop.is_set() and process.capture.work_requests(anyway=True):
                    pass
                return True
        except (Fenced, AlreadyRunning):
            get_logger("capture").info("a producer started meanwhile: it is asked")
    publisher = KafkaPublisher(settings.kafka.client_config({"log_level": 0}))
    try:
        ask(publisher, settings.kafka.partitions, requests)
    finally:
        publisher.close()
    return False


def accept_database(settings: Settings) -> Identity:
    """Take the database behind the source for what it is from now on; see `Capture.accept_database`.

    Raises ConfigError for an embedded stack, whose capture keeps no state; else as `run` with `once`.
    """
    if settings.embedded is not None:
        raise ConfigError("on an embedded stack the capture keeps no state: there is nothing to accept, start it")
    with _process(settings, threading.Event(), None, Metrics()) as process:
        check(settings.kafka, process.registry)
        process.lead()
        return process.capture.accept_database()
