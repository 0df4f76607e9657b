"""The loop: a snapshot that hands over to polling, each in the order read, publish, deliver, remember.

Order is the guarantee (see `Capture._settle`): what is remembered was delivered, so a crash at any point repeats
identical events at most and loses none.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from finwatch.runtime.clock import Clock
from finwatch.runtime.logging import get_logger
from finwatch.runtime.metrics import Metrics
from finwatch.runtime.publisher import Publisher
from finwatch.runtime.retry import backoff
from finwatch.runtime.topics import ENTITIES, WATCHED_ENTITIES, entity_topic
from producers.odoo import events, tracking, windows
from producers.odoo.accounts import AccountHasher
from producers.odoo.ahead import ahead
from producers.odoo.errors import Malformed, OdooError, Unavailable
from producers.odoo.events import HEARTBEAT, Event, Mode, Op, Sighting
from producers.odoo.mapping import BY_MODEL, MAPPINGS
from producers.odoo.mapping.spec import Document, Mapping, Source
from producers.odoo.memory import Memory
from producers.odoo.reader import NO_SUCH, Batch, Reader
from producers.odoo.state import MemoryState, StateStore
from producers.odoo.sweep import Stamps, Sweep, SweepLimits, fingerprint_of, stamps_of
from producers.odoo.tracking import Tracked
from producers.odoo.transport import Transport
from producers.odoo.values import Row, moment, parse_moment

LOG = tracking.VALUE_MODEL
RETRY_STOPPED_SECONDS = 600.0
_TOPIC = {entity: entity_topic(entity) for entity in ENTITIES}
Encode = Callable[[str, Any], bytes]
"""(Avro full name, content by field name) -> Confluent wire format."""


@dataclass(frozen=True)
class CaptureSettings:
    """What one capture does.

    `source` names the database in document keys. `timeline`: `wall` for a live Odoo; `log` where a simulated clock
    governs, whose time is then the source's too. `account_key`: 16 bytes or more, kept for good: another key gives
    other hashes. `models`: a part of the mapped ones; empty for all. `languages`: empty to ask the server.
    `sweep_interval`: seconds between the beginnings of two rounds of the sweep, 0 for none; `sweep_rows`: how many rows
    a poll spends on it; `sweep_recent`: see producers.odoo.sweep; `sweep_deletions`: share of a slice that may be
    missing before deletions are withheld.
    """

    source: str
    database: str
    account_key: bytes = field(repr=False)
    overlap: timedelta = timedelta(seconds=180)
    page_size: int = 1000
    poll_interval: float = 5.0
    timeline: Literal["wall", "log"] = "wall"
    partitions: int = 12
    heartbeat_interval: float = 2.0
    settle_interval: float = 1.0
    models: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    read_ahead: bool = True
    sweep_interval: float = 600.0
    sweep_rows: int = 5000
    sweep_recent: timedelta = timedelta(hours=1)
    sweep_deletions: float = 0.1

    def __post_init__(self) -> None:
        if not self.source or ":" in self.source or "/" in self.source:
            raise ValueError("the source's name must be given and hold no colon and no slash")
        if self.overlap < timedelta(0) or self.page_size < 1 or self.partitions < 1:
            raise ValueError("overlap, page size and partitions must be positive")
        if self.sweep_interval < 0 or self.sweep_rows < 1 or not 0 <= self.sweep_deletions <= 1:
            raise ValueError("the sweep's interval and rows must be positive, its share of deletions within 0 and 1")
        unknown = set(self.models) - BY_MODEL.keys()
        if unknown:
            raise ValueError(f"no mapping for {', '.join(sorted(unknown))}")


class Capture:
    """Captures one Odoo database. One thread at a time.

    `snapshot()` reads all there is (from where a former one stopped) and is needed before `poll()`, which reads what
    changed since; `run(stop)` does both for ever. `encode` makes the bytes of a record; `state` remembers between
    lives (default: this object's life only).
    """

    def __init__(
        self,
        transport: Transport,
        publisher: Publisher,
        clock: Clock,
        settings: CaptureSettings,
        *,
        encode: Encode,
        state: StateStore | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._transport = transport
        self._publisher = publisher
        self._clock = clock
        self._settings = settings
        self._encode = encode
        self._state = state or MemoryState()
        self._metrics = metrics or Metrics()
        self._log = get_logger("capture").bind(source=settings.source)
        self._reader: Reader | None = None
        self._memory: Memory | None = None
        self._sweep: Sweep | None = None
        self._round_began: float | None = None
        self._mappings = [one for one in MAPPINGS if not settings.models or one.model in settings.models]
        self._stopped: dict[str, str] = {}  # model -> kind of error that stopped it
        self._last_settled = clock.monotonic()
        self._last_retry = clock.monotonic()
        self._last_heartbeat: dict[str, float] = {}
        self._last_event: datetime | None = None
        self._now: datetime | None = None
        self._published = 0
        self._polls = 0
        self._tally: Counter[tuple[str, str, str]] = Counter()  # (entity, op, mode) of events not in the metric yet
        if settings.overlap < windows.SAFE_OVERLAP:
            self._log.warning(
                "overlap below Odoo's limit of a transaction: late commits may be lost",
                overlap_seconds=settings.overlap.total_seconds(),
                safe_seconds=windows.SAFE_OVERLAP.total_seconds(),
            )

    @property
    def stopped_models(self) -> dict[str, str]:
        """Models that are not captured, and the kind of error that stopped each."""
        return dict(self._stopped)

    @property
    def published(self) -> int:
        """Events published by this object."""
        return self._published

    # -- public steps -------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Log in, learn what the server has, and load what is remembered. Repeats nothing once it succeeded.

        Raises AccessDenied, Unavailable, StateUnavailable.
        """
        if self._reader is not None:
            return
        version = self._transport.version()
        chosen = self._settings.models
        self._mappings = [one for one in MAPPINGS if one.serves(version) and (not chosen or one.model in chosen)]
        source = Source(
            self._settings.source, self._settings.database, version, AccountHasher(self._settings.account_key)
        )
        reader = Reader(
            self._transport,
            source,
            self._settings.page_size,
            self._settings.languages,
            self._count_rows,
            self._malformed,
            self._log,
        )
        for mapping in self._mappings:
            with self._guarded(mapping.model):
                reader.prepare(mapping)
        with self._guarded(LOG):
            reader.probe_log()
        if self._memory is None:
            self._memory = Memory.load(self._state, [one.model for one in self._mappings])
        self._reader = reader
        limits = SweepLimits(self._settings.page_size, self._settings.sweep_recent, self._settings.sweep_deletions)
        # The log first, as in a poll.
        order = [LOG, *(one.model for one in self._mappings)]
        self._sweep = Sweep(reader, self._memory, self, limits, order)
        self._gauge("capture_connected", 1)
        self._log.info("connected", version=version, models=len(self._active()), stopped=sorted(self._stopped))

    def retry_stopped(self) -> None:
        """Try the stopped models again: rights may have been given, apps installed."""
        reader, _ = self._ready()
        stopped, self._stopped = self._stopped, {}
        reader.log_failure = None
        for model in stopped:
            with self._guarded(model):
                if model == LOG:
                    reader.probe_log()
                else:
                    reader.prepare(BY_MODEL[model])
                self._gauge("capture_model_stopped", 0, model)
        self._last_retry = self._clock.monotonic()

    def snapshot(self) -> int:
        """Read every model that was not read wholly before, from where that stopped; number of events published."""
        reader, memory = self._ready()
        before = self._published
        self._start_log()
        for mapping in self._active():
            progress = memory.progress(mapping.model)
            if progress is not None and progress.snapshot_done:
                continue
            # 1. The time from which streaming goes on is taken before the first page is read.
            if progress is None:
                progress = windows.begin(self._begin_time())
                memory.move(mapping.model, progress)
            self._gauge("capture_snapshot_running", 1, mapping.model)
            with self._guarded(mapping.model):
                batches = reader.snapshot(mapping, progress.last_id, with_log=LOG not in self._stopped)
                for batch in self._ahead(batches):
                    if reader.log_failure is not None and LOG not in self._stopped:
                        self.stop_model(LOG, reader.log_failure)
                    # 2. Publish a page whole; 3. move the cursor past it; 4. settle both, events first.
                    self._publish_batch(mapping, batch, "snapshot", progress)
                    progress = windows.page_read(progress, batch.rows[-1]["id"])
                    memory.move(mapping.model, progress)
                    self._settle(force=False)
                memory.move(mapping.model, windows.snapshot_read(progress))
                self._gauge("capture_snapshot_running", 0, mapping.model)
                self._log.info("snapshot read", model=mapping.model, last_id=progress.last_id)
        self._settle(force=True)
        return self._published - before

    def poll(self, now: datetime | None = None) -> int:
        """Read what changed since the last poll; number of events published.

        `now` is the time of observation (aware; default: the clock's). Needs a whole snapshot of each model: those
        without one are left to `snapshot()`.
        """
        if now is not None and now.tzinfo is None:
            raise ValueError("a naive datetime may not cross a module border")
        reader, memory = self._ready()
        before, started = self._published, self._clock.monotonic()
        self._now = now
        try:
            complete: list[Mapping] = []
            # 1. The log first: who did it stands on the topic before what it led to.
            self._start_log()
            began = self._source_time()
            if LOG not in self._stopped:
                with self._guarded(LOG):
                    self._poll_log(reader, memory, began)
            # 2. Documents by their own stamp, then by their lines'.
            for mapping in self._active():
                progress = memory.progress(mapping.model)
                if progress is None or not progress.snapshot_done or self._polls % mapping.poll_every:
                    continue
                with self._guarded(mapping.model):
                    self._poll_model(reader, memory, mapping, progress)
                    complete.append(mapping)
            # 3. A slice of the sweep: what no window can find.
            if self._sweep_due():
                self._sweep_slices(self._settings.sweep_rows)
            # 4. Deliver and remember; 5. only then say how far the source was seen.
            self._settle(force=True)
            self._polls += 1
            self._heartbeats(complete, began or self._observed())
            self._publisher.flush()
        finally:
            self._now = None
        self._metrics.histogram("capture_poll_seconds").labels(self._settings.source).observe(
            self._clock.monotonic() - started
        )
        self._report_age()
        return self._published - before

    def sweep(self, now: datetime | None = None) -> int:
        """A whole round of the sweep, from its beginning, at once; number of events published.

        What is committed before it starts is published when it ends. `now` as for `poll`.
        """
        if now is not None and now.tzinfo is None:
            raise ValueError("a naive datetime may not cross a module border")
        sweep, before = self._sweeping(), self._published
        self._now = now
        try:
            self._begin_round()
            while sweep.running:
                self._sweep_slices(self._settings.sweep_rows)
            self._settle(force=True)
        finally:
            self._now = None
        return self._published - before

    def delete(self, model: str, record_ids: Iterable[int], now: datetime | None = None) -> int:
        """Publish the deletion of records that the source no longer has; number of events published.

        For whoever notices that they are missing: ids that were never published, or were deleted already, are left
        out. `SeenHashes.ids` lists the candidates. Ends with a settle.
        """
        reader, memory = self._ready()
        before, hashes = self._published, memory.hashes[model]
        at = now if now is not None else self._observed()
        # 1. The state that ends is remembered: found again after a crash, its deletion has the same id.
        self._settle(force=True)
        # 2. Publish the deletions; 3. settle them.
        for record_id in record_ids:
            digest = hashes.get(record_id)
            if digest is not None:
                deleted = events.deleted_event(reader.source, model, record_id, digest, at, self._settings.timeline)
                self._publish_all([deleted])
                hashes.forget(record_id)
                memory.stamps[model].forget(record_id)
        self._settle(force=True)
        return self._published - before

    def run(self, stop: threading.Event) -> None:
        """Snapshot, then poll until `stop` is set. Waits out what passes; raises what does not (AccessDenied)."""
        waits = backoff()
        while not stop.is_set():
            try:
                self.connect()
                if self._stopped and self._clock.monotonic() - self._last_retry > RETRY_STOPPED_SECONDS:
                    self.retry_stopped()
                self.snapshot()
                self.poll()
            except (Unavailable, Malformed) as error:
                self._failed(error)
                wait = next(waits)
                self._log.warning("Odoo gives no usable answer", error=str(error), retry_seconds=round(wait, 1))
            else:
                waits = backoff()
                self._gauge("capture_connected", 1)
                wait = self._settings.poll_interval
            if self._clock.wait(wait, stop):
                break
        if self._reader is not None:
            self._settle(force=True)

    # -- polling ------------------------------------------------------------------------------------------------

    def _start_log(self) -> None:
        """The log is streamed from the moment at which the first snapshot began; what is older comes with it."""
        _, memory = self._ready()
        if memory.progress(LOG) is None:
            memory.move(LOG, windows.snapshot_read(windows.begin(self._begin_time())))

    def _poll_log(self, reader: Reader, memory: Memory, began: datetime | None) -> None:
        progress = memory.progress(LOG)
        if progress is None:
            return
        newest: datetime | None = None
        since = windows.window_start(progress, self._settings.overlap)
        for ids, changes in reader.log_window(since, memory.log.__contains__):
            newest = max([change.at for change in changes] + ([newest] if newest is not None else []), default=None)
            self._publish_log(ids, changes, "window")
            self._settle(force=False)
        memory.move(LOG, windows.window_read(progress, began, newest))

    def _publish_log(self, ids: list[int], changes: list[Tracked], mode: Mode) -> None:
        """Publish changes of the log, each with its document, and remember the rows as seen."""
        reader, memory = self._ready()
        by_model: dict[str, dict[int, list[Tracked]]] = {}
        left: set[int] = set()
        for change in changes:
            by_model.setdefault(change.model, {}).setdefault(change.record_id, []).append(change)
        for model, by_record in by_model.items():
            mapping = BY_MODEL[model]
            of_model = memory.progress(model)
            if mapping not in self._active() or of_model is None or not of_model.snapshot_done:
                # Its snapshot will bring them, so they do not count as seen.
                left.update(change.value_id for of_record in by_record.values() for change in of_record)
                continue
            # A right that is missing on the documents stops them and not the log, which tells of others too.
            with self._guarded(model):
                for batch in reader.by_ids(mapping, by_record):
                    batch.changes = by_record
                    self._publish_batch(mapping, batch, mode, of_model)
            if model in self._stopped:
                left.update(change.value_id for of_record in by_record.values() for change in of_record)
        for value_id in ids:
            if value_id not in left:
                memory.log.add(value_id)

    def _poll_model(self, reader: Reader, memory: Memory, mapping: Mapping, progress: windows.Progress) -> None:
        since = windows.window_start(progress, self._settings.overlap)
        began = self._source_time()
        newest: datetime | None = None
        read: set[int] = set()
        for batch in reader.window(mapping, since):
            newest = max([one for row in batch.rows if (one := _stamp(row)) is not None], default=newest)
            read.update(row["id"] for row in batch.rows)
            self._publish_batch(mapping, batch, "window", progress)
            self._settle(force=False)
        for child in mapping.children:
            for parents in reader.parents_of_changed(mapping, child, since):
                for batch in reader.by_ids(mapping, parents - read):
                    self._publish_batch(mapping, batch, "window", progress)
                read |= parents
        memory.move(mapping.model, windows.window_read(progress, began, newest))

    # -- the sweep ----------------------------------------------------------------------------------------------

    def _sweeping(self) -> Sweep:
        self._ready()
        assert self._sweep is not None
        return self._sweep

    def _sweepable(self, model: str) -> bool:
        """Whether a round may read a model now: not a stopped one, nor one whose snapshot is not whole."""
        _, memory = self._ready()
        progress = memory.progress(model)
        return model not in self._stopped and progress is not None and progress.snapshot_done

    def _sweep_due(self) -> bool:
        """Whether a round is under way, or begins now."""
        if not self._settings.sweep_interval:
            return False
        if not self._sweeping().running:
            began = self._round_began
            if began is not None and self._clock.monotonic() - began < self._settings.sweep_interval:
                return False
            self._begin_round()
        return bool(self._sweeping().running)

    def _begin_round(self) -> None:
        self._round_began = self._clock.monotonic()
        self._sweeping().begin()

    def _sweep_slices(self, budget: int) -> None:
        """Slices until the budget of rows is spent or the round is over."""
        sweep, (_, memory) = self._sweeping(), self._ready()
        while budget > 0 and (model := sweep.running):
            if not self._sweepable(model):
                sweep.skip()
                continue
            with self._guarded(model):
                mapping = None if model == LOG else BY_MODEL[model]
                budget -= sweep.step(mapping, budget, self._source_time() or self._observed())
            self._settle(force=False)
        if not sweep.running:
            self._round_over(memory)

    def _round_over(self, memory: Memory) -> None:
        self._metrics.counter("capture_sweep_rounds").labels(self._settings.source).inc()
        if self._round_began is None:
            return  # it was begun by a former life of this process
        seconds = self._clock.monotonic() - self._round_began
        self._gauge("capture_sweep_round_seconds", seconds)
        if seconds > max(self._settings.sweep_interval, 1.0) * 2 and self._settings.timeline == "wall":
            self._log.warning(
                "the sweep's round takes longer than its interval",
                seconds=round(seconds),
                what_to_do="raise FINWATCH_ODOO_SWEEP_ROWS or FINWATCH_ODOO_SWEEP_SECONDS",
            )

    def swept(self, mapping: Mapping, batch: Batch) -> None:
        """For the sweep: publish what changed of these documents."""
        _, memory = self._ready()
        progress = memory.progress(mapping.model)
        assert progress is not None
        self._publish_batch(mapping, batch, "sweep", progress)

    def swept_log(self, ids: list[int], changes: list[Tracked]) -> None:
        """For the sweep: publish missed changes of the log."""
        self._publish_log(ids, changes, "sweep")

    def gone(self, model: str, ids: Iterable[int]) -> None:
        """For the sweep: publish deletions."""
        self.delete(model, ids)

    def withheld(self, model: str, missing: int, known: int) -> None:
        """For the sweep: say loudly that too much is missing to be believed."""
        self._count_error("deletions_withheld")
        self._log.error(
            "so many records are missing at once that no deletion is published: a lost right, or another database?",
            model=model,
            missing=missing,
            known=known,
            what_to_do="run `finwatch doctor`; if they were deleted, raise FINWATCH_ODOO_SWEEP_DELETIONS for a round",
        )

    # -- publishing ---------------------------------------------------------------------------------------------

    def _publish_batch(self, mapping: Mapping, batch: Batch, mode: Mode, progress: windows.Progress) -> None:
        """Publish what is new of a batch.

        Step by step over the whole batch, not document by document: the same few functions run in a row, which is
        measurably faster. What is remembered here counts only once the batch was published whole and settled.
        """
        reader, memory = self._ready()
        stamps, source, observed = memory.stamps[mapping.model], reader.source, self._observed()
        found: list[tuple[int, Document, datetime]] = []
        for row in batch.rows:
            record_id = row["id"]
            lines = batch.lines.get(record_id, {})
            written = stamps_of(row, lines)
            try:
                document = mapping.map(row, lines, source)
                written_at = _version_time(written)
            except Malformed as error:
                self._malformed(mapping.model, error)
                continue
            if document is not None:
                found.append((record_id, document, written_at))
            stamp = fingerprint_of(written)
            if stamps.get(record_id) != stamp:
                stamps.put(record_id, stamp)
        told: list[Event] = []
        for record_id, document, written_at in found:
            told += self._events(mapping, record_id, document, written_at, batch, mode, progress, observed)
        self._publish_all(told)

    def _events(
        self,
        mapping: Mapping,
        record_id: int,
        document: Document,
        written_at: datetime,
        batch: Batch,
        mode: Mode,
        progress: windows.Progress,
        observed: datetime,
    ) -> list[Event]:
        """What is new of a document, in its own order: created, decided, then the state it is in."""
        reader, memory = self._ready()
        seen, model, source = memory.hashes[mapping.model], mapping.model, reader.source
        known, digest = seen.get(record_id), events.content_hash(document)
        if mode == "window" and windows.is_late(written_at, progress):
            mode = "late"
        op: Op = "r" if mode == "snapshot" else "c" if known is None else "u"
        sighting = Sighting(op, mode, self._settings.timeline, observed)
        told: list[Event] = []
        if known is None:
            created = events.created_event(source, model, record_id, document, sighting)
            if created is not None:
                told.append(created)
        for change in batch.changes.get(record_id, ()):
            if change.value_id not in memory.log:
                told.append(events.transition_event(source, change, document, sighting))
                memory.log.add(change.value_id)
                if change.unknown_label:
                    self._metrics.counter("capture_unknown_labels").labels(self._settings.source).inc()
        if known == digest:
            # Read again inside the overlap, or saved as it was: only the stamp moved.
            self._metrics.counter("capture_unchanged").labels(self._settings.source, document.entity).inc()
            return told
        told.append(events.state_event(source, model, record_id, document, digest, written_at, sighting))
        seen.put(record_id, digest)
        return told

    def _publish_all(self, told: Iterable[Event]) -> None:
        encode, publish, tally = self._encode, self._publisher.publish, self._tally
        for event in told:
            content = event.content
            publish(_TOPIC[event.entity], event.key, encode(event.record, content))
            self._published += 1
            tally[event.entity, content["op"], content["mode"]] += 1
            occurred = content["occurred_at"]
            if isinstance(occurred, datetime) and (self._last_event is None or occurred > self._last_event):
                self._last_event = occurred

    def _settle(self, *, force: bool) -> None:
        """Make what was published safe, then remember it; at most once a settle interval unless forced."""
        if not force and self._clock.monotonic() - self._last_settled < self._settings.settle_interval:
            return
        _, memory = self._ready()
        # 1. Every event so far is delivered, or this raises and nothing is remembered.
        self._publisher.flush()
        for labels, events_of in self._tally.items():
            self._metrics.counter("capture_events").labels(self._settings.source, *labels).inc(events_of)
        self._tally.clear()
        # 2. What was published, then the positions that rest on it, in one partition in this order.
        if memory.save(self._state):
            self._publisher.flush()
        self._last_settled = self._clock.monotonic()

    def _heartbeats(self, complete: Iterable[Mapping], at: datetime) -> None:
        """Tell every partition of each wholly read entity that nothing up to `at` is missing but late commits."""
        moved = self._clock.monotonic()
        for mapping in complete:
            for entity in mapping.entities:
                last = self._last_heartbeat.get(entity)
                if (
                    self._settings.timeline == "wall"
                    and last is not None
                    and moved - last < self._settings.heartbeat_interval
                ):
                    continue
                self._last_heartbeat[entity] = moved
                content = events.heartbeat(self._ready()[0].source, at, self._settings.timeline)
                value = self._encode(HEARTBEAT, content)
                # No stage reads what is only kept: one partition is enough to say how far it was seen.
                for partition in range(self._settings.partitions if entity in WATCHED_ENTITIES else 1):
                    self._publisher.publish(entity_topic(entity), self._settings.source, value, partition=partition)

    # -- time, errors, figures ----------------------------------------------------------------------------------

    def _observed(self) -> datetime:
        return self._now if self._now is not None else self._clock.now()

    def _source_time(self) -> datetime | None:
        """The source's time, not later than the reading that follows; None when it does not tell.

        A simulated clock is the source's own. A live server tells it with each answer; its Date header is the web
        server's clock, which the overlap must cover where the database's differs.
        """
        return self._observed() if self._settings.timeline == "log" else self._transport.server_time()

    def _begin_time(self) -> datetime:
        """Where streaming starts: the source's time, or this machine's less an overlap for its being ahead."""
        told = self._source_time()
        return told if told is not None else self._clock.now() - self._settings.overlap

    def _ready(self) -> tuple[Reader, Memory]:
        if self._reader is None or self._memory is None:
            self.connect()
        assert self._reader is not None and self._memory is not None
        return self._reader, self._memory

    def _active(self) -> list[Mapping]:
        return [one for one in self._mappings if one.model not in self._stopped]

    def _ahead(self, batches: Iterable[Batch]) -> Iterable[Batch]:
        return ahead(batches) if self._settings.read_ahead else batches

    def _guarded(self, model: str) -> "_Guard":
        return _Guard(self, model)

    def stop_model(self, model: str, error: OdooError) -> None:
        """Leave a model out from now on, loudly; the others go on."""
        self._stopped[model] = error.kind
        self._count_error(error.kind)
        self._gauge("capture_model_stopped", 1, model)
        if error.kind == "unknown_model":
            self._log.info("model is not installed", model=model)
        else:
            self._log.error("model is not captured", model=model, kind=error.kind, error=str(error))

    def _failed(self, error: OdooError) -> None:
        self._count_error(error.kind)
        self._gauge("capture_connected", 0)

    def _malformed(self, model: str, error: Exception) -> None:
        self._count_error("malformed")
        self._log.error("row left out", model=model, error=str(error))

    def _count_error(self, kind: str) -> None:
        self._metrics.counter("capture_errors").labels(self._settings.source, kind).inc()

    def _count_rows(self, model: str, rows: int) -> None:
        self._metrics.counter("capture_rows_scanned").labels(self._settings.source, model).inc(rows)

    def _gauge(self, name: str, value: float, *labels: str) -> None:
        self._metrics.gauge(name).labels(self._settings.source, *labels).set(value)

    def _report_age(self) -> None:
        now, (_, memory) = self._observed(), self._ready()
        if self._last_event is not None:
            self._gauge("capture_seconds_since_last_event", max(0.0, (now - self._last_event).total_seconds()))
        for mapping in self._active():
            progress = memory.progress(mapping.model)
            if progress is not None and progress.snapshot_done:
                behind = max(0.0, (now - progress.position).total_seconds())
                self._gauge("capture_seconds_behind_source", behind, mapping.model)


class _Guard:
    """Stops one model on errors that only concern it."""

    def __init__(self, capture: Capture, model: str) -> None:
        self._capture, self._model = capture, model

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, NO_SUCH):
            self._capture.stop_model(self._model, error)
            return True
        return False


def _stamp(row: Row) -> datetime | None:
    """When a row was last written."""
    return moment(row, "write_date")


def _version_time(written: Stamps) -> datetime:
    """When a document was last written: the newest stamp of its row, of what it is joined with, and of its lines.

    Odoo's stamps sort as text, so one of them is read. Raises Malformed.
    """
    own, of_lines = written
    known = [one[-1] for one in (*own, *of_lines) if isinstance(one[-1], str)]
    if not known:
        raise Malformed("write_date is empty")
    return parse_moment(max(known), "write_date")
