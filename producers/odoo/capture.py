"""The loop: a snapshot that hands over to polling, with hints and requested snapshots between the polls.

The parts: `snapshots`, `streaming`, `rounds` (the sweep), `hinted`, `requested`; what all of them publish goes through
`publishing`, which holds the order of delivering and remembering.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Protocol

import msgspec

from finwatch.domain.identity import deterministic_id
from finwatch.runtime.clock import Clock
from finwatch.runtime.logging import get_logger
from finwatch.runtime.metrics import Metrics
from finwatch.runtime.publisher import Publisher
from finwatch.runtime.retry import backoff
from producers.hints import Hint
from producers.odoo import identity, windows
from producers.odoo.accounts import AccountHasher
from producers.odoo.errors import AccessDenied, Malformed, Unavailable
from producers.odoo.figures import Figures
from producers.odoo.hinted import Hinted
from producers.odoo.identity import DatabaseChanged, Identity
from producers.odoo.mapping.spec import Mapping, Source
from producers.odoo.memory import Memory
from producers.odoo.publishing import OnSettle, Publishing
from producers.odoo.reader import Reader
from producers.odoo.requested import Requested
from producers.odoo.rounds import Rounds
from producers.odoo.settings import CaptureSettings
from producers.odoo.snapshots import Snapshots
from producers.odoo.state import MemoryState, StateStore
from producers.odoo.stopping import Models
from producers.odoo.streaming import LOG, Streaming
from producers.odoo.telling import Encode
from producers.odoo.times import Times
from producers.odoo.transport import Transport
from producers.odoo.warming import Warming
from producers.signals import SnapshotRequest

RETRY_STOPPED_SECONDS = 600.0
RETRY_DENIED_SECONDS = 60.0
"""A refused login costs the server half a second, and some lock accounts after many."""
_MOMENT = 0.001  # less than that is no wait: clocks count microseconds, and a rest of one would be waited for for ever
LISTEN_SECONDS = 0.2
"""How long hints are waited for before signals and the stop are looked at."""

_SHAPE = "shape/"
"""Notes of the configuration under which a model was read last, by model; none where nothing is configured."""
_SWITCHED_OFF = b"off"

__all__ = ["Capture", "CaptureSettings", "Encode"]


def _noted(shape: str) -> bytes:
    """What is kept of a configuration; empty for none."""
    return deterministic_id(shape).encode() if shape else b""


class Hints(Protocol):
    """Where hints come from: see producers.hints."""

    def read(self, seconds: float) -> list[Hint]:
        """Wait up to `seconds` for some."""
        ...


class Signals(Protocol):
    """Where requests come from: see producers.signals."""

    position: int

    def read(self, seconds: float) -> tuple[list[SnapshotRequest], list[str]]:
        """Requests that came, and what is wrong with records that are none."""
        ...


@dataclass
class _Parts:
    """What there is once the source has answered."""

    reader: Reader
    memory: Memory
    publishing: Publishing
    snapshots: Snapshots
    streaming: Streaming
    rounds: Rounds
    hinted: Hinted
    requested: Requested
    warming: Warming


class Capture:
    """Captures one Odoo database. One thread at a time.

    `snapshot()` reads all there is (from where a former one stopped) and is needed before `poll()`, which reads what
    changed since; `run(stop)` does both for ever. `encode` makes the bytes of a record; `state` remembers between
    lives (default: this object's life only). `atomic`: the publisher's flush commits all since the last one.
    `on_settle` may note what is to be remembered with the next settle.
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
        atomic: bool = False,
        on_settle: OnSettle | None = None,
    ) -> None:
        self._transport = transport
        self._publisher = publisher
        self._clock = clock
        self._settings = settings
        self._encode = encode
        self._state = state or MemoryState()
        self._atomic = atomic
        self._on_settle = on_settle
        self._log = get_logger("capture").bind(source=settings.source)
        self._figures = Figures(metrics or Metrics(), settings.source)
        self._times = Times(clock, transport, settings)
        self._models = Models([], self._figures, self._log)
        self._memory: Memory | None = None
        self._parts: _Parts | None = None
        self._told: set[str] = set()
        self._last_retry = clock.monotonic()
        self.denied = False
        """Whether the login is refused that was accepted before."""
        if settings.overlap < windows.SAFE_OVERLAP:
            self._log.warning(
                "overlap below Odoo's limit of a transaction: late commits may be lost",
                overlap_seconds=settings.overlap.total_seconds(),
                safe_seconds=windows.SAFE_OVERLAP.total_seconds(),
            )

    @property
    def stopped_models(self) -> dict[str, str]:
        """Models that are not captured, and the kind of error that stopped each."""
        return dict(self._models.stopped)

    @property
    def published(self) -> int:
        """Events published by this object."""
        return self._figures.published

    # -- public steps -------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Log in, learn what the server has, and load what is remembered. Repeats nothing once it succeeded.

        Raises AccessDenied, Unavailable, StateUnavailable, DatabaseChanged.
        """
        if self._parts is None:
            parts = self._connected()
            self._check_identity(parts)
            self._parts = parts
            parts.publishing.settle(force=True)

    def _connected(self) -> _Parts:
        version = self._transport.version()
        self._models.take(self._wanted(version))
        settings, times, figures, log, models = self._settings, self._times, self._figures, self._log, self._models
        source = Source(settings.source, settings.database, version, AccountHasher(settings.account_key))

        def malformed(model: str, error: Exception) -> None:
            figures.error("malformed")
            log.error("row left out", model=model, error=str(error))

        reader = Reader(
            self._transport, source, settings.page_size, settings.languages, figures.rows, malformed, log,
            settings.mappings,
        )  # fmt: skip
        for mapping in models.all:
            self._prepare(reader, mapping)
        with models.guarded(LOG):
            reader.probe_log()
        if self._memory is None:
            self._memory = Memory.load(self._state, [one.model for one in models.all])
        memory = self._memory
        publishing = Publishing(
            self._publisher, self._encode, self._state, settings, reader, memory, times, figures, log,
            atomic=self._atomic, on_settle=self._on_settle,
        )  # fmt: skip
        streaming = Streaming(reader, memory, publishing, models, times, settings, self._figures)
        parts = _Parts(
            reader,
            memory,
            publishing,
            Snapshots(reader, memory, publishing, models, times, settings, figures, log),
            streaming,
            Rounds(reader, memory, publishing, streaming, models, times, settings, figures, log),
            Hinted(reader, memory, publishing, models, times, figures),
            Requested(reader, memory, publishing, models, times, figures, log),
            Warming(reader, memory, publishing, models, settings.warm_rows),
        )
        self._renew(memory)
        figures.gauge("capture_connected", 1)
        log.info("connected", version=version, models=len(models.active()), stopped=sorted(models.stopped))
        return parts

    def _prepare(self, reader: Reader, mapping: Mapping) -> None:
        """Take a mapping as far as the server serves it; what it does not serve of a configuration is said once."""
        with self._models.guarded(mapping.model):
            fitted, problems = reader.prepare(mapping)
            self._models.use(fitted)
            for problem in problems:
                if problem not in self._told:
                    self._told.add(problem)
                    self._figures.error("configured_field")
                    self._log.error(
                        "a configured field is not captured",
                        reason=problem,
                        what_to_do="correct FINWATCH_ODOO_CUSTOM or give the right (finwatch odoo setup), then restart",
                    )

    def _renew(self, memory: Memory) -> None:
        """Have models read again whose configuration is another one than when they were read."""
        for mapping in self._models.active():
            note, shape = f"{_SHAPE}{mapping.model}", _noted(mapping.shape)
            known = memory.note(note) or b""
            if known == shape:
                continue
            progress = memory.progress(mapping.model)
            again = windows.OFF if known == _SWITCHED_OFF else windows.CHANGED
            if progress is not None or again == windows.OFF:
                began = self._times.begin()
                memory.move(mapping.model, windows.begin(began, again))
                memory.put_passed(mapping.model, began)
                self._log.warning("the configuration of a model changed: it is read again", model=mapping.model)
            memory.put_note(note, shape or None)
        for model in sorted(self._settings.mappings.off):
            if memory.note(f"{_SHAPE}{model}") != _SWITCHED_OFF:
                memory.put_note(f"{_SHAPE}{model}", _SWITCHED_OFF)
                self._log.info("model is switched off", model=model)

    def _wanted(self, version: int) -> list[Mapping]:
        chosen = self._settings.models
        return [one for one in self._settings.mappings if one.serves(version) and (not chosen or one.model in chosen)]

    def retry_stopped(self) -> None:
        """Try the stopped models again: rights may have been given, apps installed."""
        parts = self._ready()
        reader = parts.reader
        stopped, self._models.stopped = self._models.stopped, {}
        reader.log_failure = None
        for model in stopped:
            if model == LOG:
                with self._models.guarded(model):
                    reader.probe_log()
            else:
                configured = self._settings.mappings[model]
                reader.forget(configured)  # a field may have come, or gone
                self._prepare(reader, configured)
            if model not in self._models.stopped:
                self._figures.gauge("capture_model_stopped", 0, model)
        self._renew(parts.memory)
        self._last_retry = self._clock.monotonic()

    def snapshot(self, between: Callable[[], None] | None = None) -> int:
        """Read every model that was not read wholly before, from where that stopped; number of events published.

        `between` is called now and then between two pages.
        """
        return self._snapshot(inf, between)

    def _snapshot(self, seconds_again: float, between: Callable[[], None] | None) -> int:
        parts, before = self._ready(), self.published
        parts.streaming.start_log()
        parts.snapshots.read(seconds_again, between)
        return self.published - before

    def poll(self, now: datetime | None = None, between: Callable[[], None] | None = None) -> int:
        """Read what changed since the last poll; number of events published.

        `now` is the time of observation (aware; default: the clock's). `between` is called between two models. Needs a
        whole snapshot of each model: those without one are left to `snapshot()`. Raises DatabaseChanged.
        """
        parts, before, started = self._ready(), self.published, self._clock.monotonic()
        with self._times.at(now):
            # 1. Windows: the log, then the documents.
            complete = parts.streaming.poll(between)
            # 2. A slice of the sweep: what no window can find.
            if parts.rounds.due():
                self._sweep_slices(parts)
            # 3. Deliver and remember; 4. only then say how far the source was seen.
            parts.publishing.settle(force=True)
            for until, mappings in complete.items():
                parts.publishing.heartbeats(mappings, until or self._times.observed())
            self._figures.observe("capture_poll_seconds", self._clock.monotonic() - started)
            self._report_age(parts)
        return self.published - before

    def sweep(self, now: datetime | None = None) -> int:
        """A whole round of the sweep, from its beginning, at once; number of events published.

        What is committed before it starts is published when it ends. `now` as for `poll`. Raises DatabaseChanged.
        """
        parts, before = self._ready(), self.published
        with self._times.at(now):
            parts.memory.move_sweep(type(parts.memory.sweep)())
            self._sweep_slices(parts)
            while parts.rounds.running:
                self._sweep_slices(parts)
            parts.publishing.settle(force=True)
        return self.published - before

    def delete(self, model: str, record_ids: Iterable[int], now: datetime | None = None) -> int:
        """Publish the deletion of records that the source no longer has; number of events published.

        For whoever notices that they are missing: ids that were never published, or were deleted already, are left
        out. `SeenHashes.ids` lists the candidates. Ends with a settle.
        """
        parts = self._ready()
        with self._times.at(now):
            return parts.publishing.gone(model, record_ids)

    def take_requests(self, requests: Sequence[SnapshotRequest], refused: Sequence[str], position: int | None) -> None:
        """Keep requests for snapshots, and the position of signals behind them (None: they came another way)."""
        self._ready().requested.take(requests, refused, position)

    def work_requests(self, *, anyway: bool = False) -> bool:
        """Read one page of what was asked for; False when nothing is left to read.

        A model's first snapshot is waited for; `anyway`: not by requests for given records.
        """
        return self._ready().requested.work(anyway=anyway)

    def work_hints(self, hints: Iterable[Hint] = ()) -> int:
        """Take hints, read what is due, deliver it; number of events published."""
        parts, before = self._ready(), self.published
        parts.hinted.take(hints)
        if parts.hinted.work():
            parts.publishing.settle(force=True)
        return self.published - before

    @property
    def signal_position(self) -> int | None:
        """Offset of the next signal to read; None when none was ever read."""
        return self._ready().requested.position

    # -- which database -----------------------------------------------------------------------------------------

    def accept_database(self) -> Identity:
        """Take the source as it is for the database from now on: everything is read again, what is gone is deleted.

        For a database that was restored or replaced. Writes a new epoch and returns it; the next `snapshot` and the
        sweep after it do the work. Raises as `connect`, DatabaseChanged left out.
        """
        parts = self._parts or self._connected()
        note = parts.memory.note(identity.NOTE)
        epoch = msgspec.json.decode(note, type=Identity).epoch + 1 if note else 1
        accepted = msgspec.structs.replace(identity.read_identity(self._transport), epoch=epoch, accepting=True)
        # What was published stays known, or what the database lacks could not be deleted; how far it was read, and
        # which rows of the log were seen, belongs to the other database.
        parts.memory.begin_anew()
        parts.memory.put_note(identity.NOTE, msgspec.json.encode(accepted))
        parts.publishing.settle(force=True)
        self._parts = None
        self._log.warning("another database is accepted for this source", epoch=epoch)
        return accepted

    def _check_identity(self, parts: _Parts) -> None:
        found, note = identity.read_identity(self._transport), parts.memory.note(identity.NOTE)
        known = msgspec.json.decode(note, type=Identity) if note else Identity()
        reason = identity.differs(known, found)
        if reason is None and not known.accepting:
            reason = identity.ran_backwards(self._above(parts))
        if reason is not None:
            self._figures.error("database_changed")
            raise DatabaseChanged(
                f"the database behind source {self._settings.source} was restored or replaced: {reason}"
            )
        parts.memory.put_note(identity.NOTE, msgspec.json.encode(identity.completed(known, found)))
        parts.publishing.epoch = known.epoch
        parts.rounds.believe(known.accepting)
        self._figures.gauge("capture_epoch", known.epoch)

    def _above(self, parts: _Parts) -> dict[str, int]:
        """Records published that lie above the largest id of their model, by model with any; the log among them."""
        above: dict[str, int] = {}
        for mapping in self._models.active():
            progress, hashes = parts.memory.progress(mapping.model), parts.memory.hashes[mapping.model]
            if progress is not None and progress.snapshot_done and next(hashes.ids(), None) is not None:
                with self._models.guarded(mapping.model):
                    above[mapping.model] = hashes.above(parts.reader.newest_id(mapping.model))
        if LOG not in self._models.stopped and parts.memory.log.above(0):
            with self._models.guarded(LOG):
                above[LOG] = parts.memory.log.above(parts.reader.newest_id(LOG))
        return above

    def _sweep_slices(self, parts: _Parts) -> None:
        if not parts.rounds.running:
            self._check_identity(parts)
            parts.rounds.begin()
        parts.rounds.slices()
        note = parts.memory.note(identity.NOTE)
        if note and not parts.rounds.running:
            known = msgspec.json.decode(note, type=Identity)
            if known.accepting:
                parts.memory.put_note(
                    identity.NOTE, msgspec.json.encode(msgspec.structs.replace(known, accepting=False))
                )
                parts.rounds.believe(False)

    # -- for ever -----------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Deliver and remember all that was published."""
        if self._parts is not None:
            self._parts.publishing.settle(force=True)

    def connect_patiently(self, stop: threading.Event) -> bool:
        """Connect, waiting while the source is away; False when `stop` was set meanwhile. Raises as `connect`."""
        waits = backoff()
        while not stop.is_set():
            try:
                self.connect()
            except (Unavailable, Malformed) as error:
                self._wait_out(error, max(next(waits), getattr(error, "retry_after", None) or 0.0), stop)
            else:
                return True
        return False

    def run(self, stop: threading.Event, *, hints: Hints | None = None, signals: Signals | None = None) -> None:
        """Snapshot, then poll until `stop` is set; between the polls what hints and signals ask for.

        Waits out what passes, and a login that is refused after it was accepted (a password that was changed, a key
        that expired): it is said once, and tried again until it is accepted. Raises what does not pass: AccessDenied
        before anything was read, DatabaseChanged, PublishFailed.
        """
        waits, said = backoff(), False
        while not stop.is_set():
            try:
                self.connect()
                if self._models.stopped and self._clock.monotonic() - self._last_retry > RETRY_STOPPED_SECONDS:
                    self.retry_stopped()
                self._snapshot(
                    self._settings.poll_interval,
                    None if hints is None and signals is None else lambda: self._between_pages(hints, signals),
                )
                self.poll(between=None if hints is None else lambda: self._hinted_meanwhile(hints))
                waits = backoff()
                self._figures.gauge("capture_connected", 1)
                if not said:
                    self._log.info("streaming", poll_interval_seconds=self._settings.poll_interval)
                    said = True
                self.denied = False
                self._between_polls(stop, hints, signals)
            except AccessDenied as error:
                if not said:
                    raise
                self.settle()
                self._wait_denied(error, stop)
            except (Unavailable, Malformed) as error:
                # What was published until now is remembered, so that no transaction stays open over the waiting.
                self.settle()
                self._wait_out(error, max(next(waits), getattr(error, "retry_after", None) or 0.0), stop)
        self.settle()

    def _wait_denied(self, error: AccessDenied, stop: threading.Event) -> None:
        self._figures.error(error.kind)
        self._figures.gauge("capture_connected", 0)
        if not self.denied:
            self.denied = True
            self._log.error(
                "Odoo no longer accepts the login: nothing is captured until it does",
                error=str(error),
                what_to_do=error.what_to_do,
                retry_seconds=RETRY_DENIED_SECONDS,
            )
        self._clock.wait(RETRY_DENIED_SECONDS, stop)

    def _wait_out(self, error: Unavailable | Malformed, wait: float, stop: threading.Event) -> None:
        self._figures.error(error.kind)
        self._figures.gauge("capture_connected", 0)
        self._log.warning("Odoo gives no usable answer", error=str(error), retry_seconds=round(wait, 1))
        self._clock.wait(wait, stop)

    def _between_pages(self, hints: Hints | None, signals: Signals | None) -> None:
        """During a first snapshot, what others ask for of what is behind it; waits for nothing."""
        if signals is not None:
            self._take_signals(signals)
            self.work_requests()
        if hints is not None:
            self.work_hints(hints.read(0))

    def _hinted_meanwhile(self, hints: Hints) -> None:
        """During a poll, which takes seconds where much has changed, what is hinted at; waits for nothing."""
        self.work_hints(hints.read(0))

    def _take_signals(self, signals: Signals) -> None:
        requests, refused = signals.read(0)
        if requests or refused or self.signal_position is None:
            self.take_requests(requests, refused, signals.position)

    def _between_polls(self, stop: threading.Event, hints: Hints | None, signals: Signals | None) -> None:
        """Until the next poll is due: hints at once, a page of what was asked for, of what is lacked, then waiting."""
        until = self._clock.monotonic() + self._settings.poll_interval
        hinted = self._ready().hinted
        while not stop.is_set() and (left := until - self._clock.monotonic()) >= _MOMENT:
            if signals is not None:
                self._take_signals(signals)
            self._ready().publishing.settle(force=False)
            working = self.work_requests() or self._ready().warming.work()
            soonest = hinted.due_in()
            wait = 0.0 if working else min(left, left if soonest is None else soonest)
            if hints is not None:
                self.work_hints(hints.read(min(wait, LISTEN_SECONDS)))
            elif wait > 0:
                self._clock.wait(min(wait, LISTEN_SECONDS) if signals is not None else wait, stop)

    # -- figures ------------------------------------------------------------------------------------------------

    def _ready(self) -> _Parts:
        self.connect()
        assert self._parts is not None
        return self._parts

    def _report_age(self, parts: _Parts) -> None:
        now = self._times.observed()
        last = self._figures.last_event
        if last is not None:
            self._figures.gauge("capture_seconds_since_last_event", max(0.0, (now - last).total_seconds()))
        for mapping in self._models.active():
            progress = parts.memory.progress(mapping.model)
            if progress is not None and progress.snapshot_done:
                behind = max(0.0, (now - progress.position).total_seconds())
                self._figures.gauge("capture_seconds_behind_source", behind, mapping.model)
