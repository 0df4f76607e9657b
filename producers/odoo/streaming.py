"""Streaming: what changed since the last poll, from the tracking log and from the documents' own stamps."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from math import inf

from producers.odoo import tracking, windows
from producers.odoo.errors import Unavailable
from producers.odoo.events import Mode
from producers.odoo.figures import Figures
from producers.odoo.mapping.spec import Mapping
from producers.odoo.memory import Memory
from producers.odoo.publishing import Publishing
from producers.odoo.reader import Reader
from producers.odoo.settings import CaptureSettings
from producers.odoo.stopping import Models
from producers.odoo.times import Times
from producers.odoo.tracking import Tracked
from producers.odoo.values import moment

LOG = tracking.VALUE_MODEL


@dataclass
class Window:
    """A model's window that is being read: from when, by source time of its beginning, and how far."""

    since: datetime
    began: datetime | None
    after: int = 0
    newest: datetime | None = None
    read: set[int] = field(default_factory=set)
    continued: bool = False


class Streaming:
    """Reads windows that reach back by the overlap, and publishes what is new in them.

    A poll has a budget of time. What does not fit is left to the next one and never lost: a window that was cut goes
    on behind the last id read, and counts as of the moment when it was begun, so that the window after it reaches back
    to what changed behind the cut; models that had no turn are first in turn. The log is cut in the same way. A process
    that ends meanwhile begins such a window anew.
    """

    def __init__(
        self,
        reader: Reader,
        memory: Memory,
        publishing: Publishing,
        models: Models,
        times: Times,
        settings: CaptureSettings,
        figures: Figures,
    ) -> None:
        self._reader = reader
        self._memory = memory
        self._publishing = publishing
        self._models = models
        self._times = times
        self._settings = settings
        self._polls = 0
        self._figures = figures
        self._cut: dict[str, Window] = {}
        self._waiting: list[str] = []
        """Models that the last poll left to this one, in turn."""

    def start_log(self) -> None:
        """The log is streamed from the moment at which the first snapshot began; what is older comes with it."""
        if self._memory.progress(LOG) is None:
            self._memory.move(LOG, windows.snapshot_read(windows.begin(self._times.begin())))

    def poll(self, between: Callable[[], None] | None = None) -> dict[datetime | None, list[Mapping]]:
        """One window of everything: the mappings read wholly, by the source time up to which (None: it does not tell).

        `between` is called between two models, where all that was read is published. Raises Unavailable, Malformed,
        AccessDenied, and what `between` raises.
        """
        complete: dict[datetime | None, list[Mapping]] = {}
        until = self._times.monotonic() + self._settings.poll_budget if self._settings.poll_budget else inf
        # 1. The log first: who did it stands on the topic before what it led to.
        self.start_log()
        began = self._times.of_source()
        log: Window | None = None
        if LOG not in self._models.stopped:
            with self._models.guarded(LOG):
                log = self._poll_log(began, until)
        log_cut = LOG in self._cut and LOG not in self._models.stopped
        # 2. Documents by their own stamp, then by their lines'; at least a page of one model, whatever the log took.
        left: list[str] = []
        served = False
        for mapping in self._in_turn():
            progress = self._memory.progress(mapping.model)
            if progress is None or not progress.snapshot_done:
                continue
            if self._polls % mapping.poll_every and mapping.model not in self._waiting:
                continue
            if served and self._times.monotonic() > until:
                left.append(mapping.model)
                continue
            if served and between is not None:
                between()
            served = True
            with self._models.guarded(mapping.model):
                window = self._cut.pop(mapping.model, None) or Window(
                    windows.window_start(progress, self._settings.overlap), self._times.of_source()
                )
                try:
                    whole = self._poll_model(mapping, progress, window, until)
                except Unavailable:
                    self._keep(mapping.model, window)  # the next poll goes on behind what was published
                    raise
                if not whole:
                    self._keep(mapping.model, window)
                    left.append(mapping.model)
                    continue
                # Complete is what its own window and the log's have seen: behind a cut there is more to come.
                parts = [one for one in (window, log) if one is not None and one.continued]
                if log_cut or any(one.began is None for one in parts):
                    continue
                seen = [one.began for one in parts if one.began is not None]
                complete.setdefault(min(seen) if seen else began, []).append(mapping)
        self._waiting = left
        self._polls += 1
        if left or log_cut:
            self._figures.count("capture_polls_cut")
        return complete

    def _keep(self, model: str, window: Window) -> None:
        window.continued = True
        self._cut[model] = window

    def _in_turn(self) -> list[Mapping]:
        """The active models, those first that waited."""
        waited = {model: place for place, model in enumerate(self._waiting)}
        return sorted(self._models.active(), key=lambda mapping: waited.get(mapping.model, len(waited)))

    def _poll_log(self, began: datetime | None, until: float) -> Window:
        """Read the log's window on, by monotonic time `until`; what is left over is cut as a model's window is."""
        progress = self._memory.progress(LOG)
        assert progress is not None  # see start_log
        window = self._cut.pop(LOG, None) or Window(windows.window_start(progress, self._settings.overlap), began)
        try:
            for last, ids, changes in self._reader.log_window(
                window.since, self._memory.log.__contains__, after=window.after
            ):
                moments = [change.at for change in changes]
                window.newest = max(moments if window.newest is None else [window.newest, *moments], default=None)
                self.publish_log(ids, changes, "window")
                self._publishing.settle(force=False)
                window.after = last
                if self._times.monotonic() > until:
                    self._keep(LOG, window)
                    return window
        except Unavailable:
            self._keep(LOG, window)
            raise
        self._memory.move(LOG, windows.window_read(progress, window.began, window.newest))
        return window

    def publish_log(self, ids: Iterable[int], changes: Iterable[Tracked], mode: Mode) -> None:
        """Publish changes of the log, each with its document, and remember the rows as seen."""
        by_model: dict[str, dict[int, list[Tracked]]] = {}
        left: set[int] = set()
        for change in changes:
            by_model.setdefault(change.model, {}).setdefault(change.record_id, []).append(change)
        for model, by_record in by_model.items():
            mapping = self._reader.mappings[model]
            of_model = self._memory.progress(model)
            if mapping not in self._models.active() or of_model is None or not of_model.snapshot_done:
                # Its snapshot will bring them, so they do not count as seen.
                left.update(change.value_id for of_record in by_record.values() for change in of_record)
                continue
            # A right that is missing on the documents stops them and not the log, which tells of others too.
            with self._models.guarded(model):
                for batch in self._reader.by_ids(mapping, by_record):
                    batch.changes = by_record
                    self._publishing.batch(mapping, batch, mode)
            if model in self._models.stopped:
                left.update(change.value_id for of_record in by_record.values() for change in of_record)
        for value_id in ids:
            if value_id not in left:
                self._memory.log.add(value_id)

    def _poll_model(self, mapping: Mapping, progress: windows.Progress, window: Window, until: float) -> bool:
        """Read a window on; whether it was read wholly by monotonic time `until`."""
        for batch in self._reader.window(mapping, window.since, after=window.after):
            stamps = [one for row in batch.rows if (one := moment(row, "write_date")) is not None]
            window.newest = max(stamps if window.newest is None else [window.newest, *stamps], default=None)
            window.read.update(row["id"] for row in batch.rows)
            self._publishing.batch(mapping, batch, "window")
            self._publishing.settle(force=False)
            window.after = batch.rows[-1]["id"]
            if self._times.monotonic() > until:
                return False
        for child in mapping.children:
            for parents in self._reader.parents_of_changed(mapping, child, window.since):
                for batch in self._reader.by_ids(mapping, parents - window.read):
                    self._publishing.batch(mapping, batch, "window")
                window.read |= parents
        self._memory.move(mapping.model, windows.window_read(progress, window.began, window.newest))
        return True
