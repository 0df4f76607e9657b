"""The sink's shell: reads the compacted KPI topic from its beginning, keeps the parts, serves the gauges."""

import threading
from collections.abc import Callable
from typing import Any

from finwatch.domain.kpis import CATALOGUE
from finwatch.domain.records import Kpi
from finwatch.runtime.clock import Clock, SystemClock, to_micros
from finwatch.runtime.config import Settings
from finwatch.runtime.health import Health, HealthServer
from finwatch.runtime.logging import get_logger
from finwatch.runtime.metrics import Metrics
from finwatch.runtime.retry import backoff
from finwatch.runtime.topics import KPI
from finwatch.runtime.trouble import Trouble
from schemas.decode import Decoder
from schemas.registry import RegistryUnavailable, open_registry
from sinks.log_reader import LogChanged, LogReader, LogUnavailable, OutOfRange, Partition
from sinks.prometheus.gauges import LARGEST, Gauges
from sinks.prometheus.merge import Parts

GROUP = "sink-prometheus"
TOPOLOGY_SECONDS = 30.0
COMMIT_SECONDS = 0.5


class Sink:
    """One Prometheus sink; any number may run, each has all figures. `run` returns when `stop` is set."""

    def __init__(
        self,
        settings: Settings,
        stop: threading.Event,
        *,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
        reader: Callable[[], LogReader] | None = None,
    ) -> None:
        self.metrics = metrics or Metrics()
        self._settings = settings
        self._stop = stop
        self._clock = clock or SystemClock()
        self._log = get_logger("sink-prometheus")
        self._trouble = Trouble(self._log)
        self._new_reader = reader or (lambda: LogReader(settings.kafka, (KPI,), settings.incarnation, GROUP))
        self._decoder: Decoder | None = None
        self._lock = threading.Lock()
        self._parts = Parts(LARGEST)
        self._next: dict[Partition, int] = {}
        self._targets: dict[Partition, int] = {}
        self._loaded = False
        self._ready = False
        self._incarnations: dict[str, str] = {}
        self.metrics.registry.register(
            Gauges(lambda: self._parts, self._lock, lambda: self._loaded, lambda: to_micros(self._clock.now()))
        )

    def health(self) -> Health:
        """Healthy once the topic was read to its end, and while the broker answers."""
        return Health(self._loaded and self._ready, {"loaded": self._loaded, "parts": len(self._parts)})

    def run(self) -> None:
        """Read until stopped. Raises RegistryError, which retrying cannot mend."""
        reader = self._new_reader()
        waits = backoff(most=5.0)
        try:
            while not self._stop.is_set():
                try:
                    self._begin(reader)
                    waits = backoff(most=5.0)
                    self._trouble.over()
                    self._follow(reader)
                except (LogChanged, OutOfRange) as error:
                    self._ready = False
                    self._log.warning("KPI topic changed, reading it anew", detail=str(error))
                    self._clock.wait(next(waits), self._stop)
                except (LogUnavailable, RegistryUnavailable) as error:
                    self._ready = False
                    self._trouble.tell("not ready", detail=str(error), what_to_do=error.what_to_do)
                    self._clock.wait(next(waits), self._stop)
        finally:
            reader.close()

    def _begin(self, reader: LogReader) -> None:
        if self._decoder is None:
            self._decoder = Decoder(open_registry(self._settings.registry))
        incarnations = reader.incarnations()
        partitions = reader.partitions()
        targets = {partition: reader.watermarks(partition) for partition in partitions}
        with self._lock:
            # Figures of a former life of the topic say nothing any more.
            self._parts = Parts(LARGEST)
            self._loaded = False
        self._incarnations = incarnations
        self._next = {partition: low for partition, (low, _) in targets.items()}
        self._targets = {partition: high for partition, (_, high) in targets.items()}
        reader.assign(dict.fromkeys(partitions, 0))
        self._ready = True
        self._log.info("reading", partitions=len(partitions), records=sum(h - low for low, h in targets.values()))

    def _follow(self, reader: LogReader) -> None:
        committed = checked = self._clock.monotonic()
        while not self._stop.is_set():
            self._take(reader.poll(5000, 0.2))
            if not self._loaded:
                self._loaded = all(
                    max(self._next[partition], reader.next_offset(partition)) >= high
                    for partition, high in self._targets.items()
                )
                if self._loaded:
                    self._log.info("loaded", parts=len(self._parts))
            now = self._clock.monotonic()
            if now - committed >= COMMIT_SECONDS:
                committed = now
                reader.commit(self._next)
                self.metrics.gauge("kpi_lag_records").set(sum(reader.lags(self._next).values()))
                self.metrics.gauge("kpi_parts").set(len(self._parts))
            if now - checked >= TOPOLOGY_SECONDS:
                checked = now
                if reader.incarnations() != self._incarnations or set(reader.partitions()) != set(self._next):
                    raise LogChanged("the topic was made anew, or has other partitions")

    def _take(self, messages: list[Any]) -> None:
        if not messages:
            return
        assert self._decoder is not None
        records = self._decoder.decode([message.value() for message in messages], {"finwatch.Kpi": Kpi})
        outcomes: dict[str, int] = {}
        with self._lock:
            for message, record in zip(messages, records, strict=True):
                outcome = self._apply(message, record)
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
        for message in messages:
            self._next[message.topic(), message.partition()] = message.offset() + 1
        for outcome, count in outcomes.items():
            self.metrics.counter("kpi_records").labels(outcome).inc(count)

    def _apply(self, message: Any, record: object) -> str:
        key = message.key() or b""
        if message.value() is None:
            self._parts.forget(key)
            return "withdrawn"
        if not isinstance(record, Kpi):
            return "unreadable"
        if record.kpi not in CATALOGUE:
            return "unknown"
        try:
            newer = self._parts.apply(key, record, message.timestamp()[1] * 1000)
        except ValueError:
            return "unreadable"
        return "taken" if newer else "outdated"


def run(settings: Settings, stop: threading.Event) -> None:
    """See `sinks.prometheus.run`."""
    sink = Sink(settings, stop)
    server = HealthServer(sink.metrics.registry, sink.health, settings.http.host, settings.http.port).start()
    get_logger("sink-prometheus").info("serving", address=server.address, paths="/metrics /health")
    try:
        sink.run()
    finally:
        server.stop()
