"""Streaming: what changed since the last poll, from the tracking log and from the documents' own stamps."""

from collections.abc import Iterable
from datetime import datetime

from producers.odoo import tracking, windows
from producers.odoo.events import Mode
from producers.odoo.mapping import BY_MODEL
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


class Streaming:
    """Reads windows that reach back by the overlap, and publishes what is new in them."""

    def __init__(
        self,
        reader: Reader,
        memory: Memory,
        publishing: Publishing,
        models: Models,
        times: Times,
        settings: CaptureSettings,
    ) -> None:
        self._reader = reader
        self._memory = memory
        self._publishing = publishing
        self._models = models
        self._times = times
        self._settings = settings
        self._polls = 0

    def start_log(self) -> None:
        """The log is streamed from the moment at which the first snapshot began; what is older comes with it."""
        if self._memory.progress(LOG) is None:
            self._memory.move(LOG, windows.snapshot_read(windows.begin(self._times.begin())))

    def poll(self) -> tuple[list[Mapping], datetime | None]:
        """One window of everything: (the mappings read wholly, source time when reading began)."""
        complete: list[Mapping] = []
        # 1. The log first: who did it stands on the topic before what it led to.
        self.start_log()
        began = self._times.of_source()
        if LOG not in self._models.stopped:
            with self._models.guarded(LOG):
                self._poll_log(began)
        # 2. Documents by their own stamp, then by their lines'.
        for mapping in self._models.active():
            progress = self._memory.progress(mapping.model)
            if progress is None or not progress.snapshot_done or self._polls % mapping.poll_every:
                continue
            with self._models.guarded(mapping.model):
                self._poll_model(mapping, progress)
                complete.append(mapping)
        self._polls += 1
        return complete, began

    def _poll_log(self, began: datetime | None) -> None:
        progress = self._memory.progress(LOG)
        if progress is None:
            return
        newest: datetime | None = None
        since = windows.window_start(progress, self._settings.overlap)
        for ids, changes in self._reader.log_window(since, self._memory.log.__contains__):
            newest = max([change.at for change in changes] + ([newest] if newest is not None else []), default=None)
            self.publish_log(ids, changes, "window")
            self._publishing.settle(force=False)
        self._memory.move(LOG, windows.window_read(progress, began, newest))

    def publish_log(self, ids: Iterable[int], changes: Iterable[Tracked], mode: Mode) -> None:
        """Publish changes of the log, each with its document, and remember the rows as seen."""
        by_model: dict[str, dict[int, list[Tracked]]] = {}
        left: set[int] = set()
        for change in changes:
            by_model.setdefault(change.model, {}).setdefault(change.record_id, []).append(change)
        for model, by_record in by_model.items():
            mapping = BY_MODEL[model]
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

    def _poll_model(self, mapping: Mapping, progress: windows.Progress) -> None:
        since = windows.window_start(progress, self._settings.overlap)
        began = self._times.of_source()
        newest: datetime | None = None
        read: set[int] = set()
        for batch in self._reader.window(mapping, since):
            stamps = [one for row in batch.rows if (one := moment(row, "write_date")) is not None]
            newest = max(stamps, default=newest) if newest is None else max([newest, *stamps])
            read.update(row["id"] for row in batch.rows)
            self._publishing.batch(mapping, batch, "window")
            self._publishing.settle(force=False)
        for child in mapping.children:
            for parents in self._reader.parents_of_changed(mapping, child, since):
                for batch in self._reader.by_ids(mapping, parents - read):
                    self._publishing.batch(mapping, batch, "window")
                read |= parents
        self._memory.move(mapping.model, windows.window_read(progress, began, newest))
