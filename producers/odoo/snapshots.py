"""The first reading of everything: by model and id, resumed where it stopped, handing over to streaming with no gap."""

from collections.abc import Generator, Iterable
from contextlib import closing
from math import inf

import structlog

from producers.odoo import windows
from producers.odoo.ahead import ahead
from producers.odoo.figures import Figures
from producers.odoo.mapping.spec import Mapping
from producers.odoo.memory import Memory
from producers.odoo.publishing import Publishing
from producers.odoo.reader import Batch, Reader
from producers.odoo.settings import CaptureSettings
from producers.odoo.stopping import Models
from producers.odoo.streaming import LOG
from producers.odoo.times import Times


class Snapshots:
    """Reads every model that was not read wholly before, and again those whose configuration changed."""

    def __init__(
        self,
        reader: Reader,
        memory: Memory,
        publishing: Publishing,
        models: Models,
        times: Times,
        settings: CaptureSettings,
        figures: Figures,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._reader = reader
        self._memory = memory
        self._publishing = publishing
        self._models = models
        self._times = times
        self._settings = settings
        self._figures = figures
        self._log = log

    def read(self, seconds_again: float = inf) -> None:
        """All models that lack one, each from where a former reading stopped.

        What is read again after a change of the configuration takes turns with the polls of the other models: after
        `seconds_again` it is left to the next call.
        """
        until = self._times.monotonic() + seconds_again
        for mapping in self._models.active():
            progress = self._memory.progress(mapping.model)
            if progress is not None and progress.snapshot_done:
                self._figures.gauge("capture_snapshot_completed", 1, mapping.model)
                continue
            again = progress is not None and bool(progress.again)
            if again and self._times.monotonic() > until:
                continue
            self._figures.gauge("capture_snapshot_completed", 0, mapping.model)
            self._figures.gauge("capture_snapshot_running", 1, mapping.model)
            with self._models.guarded(mapping.model):
                self._read_model(mapping, until if again else inf)
            self._figures.gauge("capture_snapshot_running", 0, mapping.model)
        self._publishing.settle(force=True)

    def _read_model(self, mapping: Mapping, until: float) -> None:
        model, started = mapping.model, self._times.monotonic()
        progress = self._memory.progress(model)
        # 1. The time from which streaming goes on is taken before the first page is read.
        if progress is None:
            progress = windows.begin(self._times.begin())
            self._memory.move(model, progress)
            self._memory.put_passed(model, progress.position)
        last = self._reader.newest_id(model)
        batches = self._reader.snapshot(mapping, progress.last_id, with_log=LOG not in self._models.stopped)
        with closing(self._ahead(batches)) as read:
            for batch in read:
                if self._reader.log_failure is not None and LOG not in self._models.stopped:
                    self._models.stop(LOG, self._reader.log_failure)
                # 2. Publish a page whole; 3. move the cursor past it; 4. settle both, events first.
                # What was logged while the model was off counts as seen and was not told: all is told then.
                self._publishing.batch(mapping, batch, "snapshot", force=progress.again == windows.OFF)
                progress = windows.page_read(progress, batch.rows[-1]["id"])
                self._memory.move(model, progress)
                self._publishing.settle(force=False)
                self._figures.gauge("capture_snapshot_remaining", max(0, last - progress.last_id), model)
                self._figures.gauge("capture_snapshot_seconds", self._times.monotonic() - started, model)
                if self._times.monotonic() > until:
                    return
        self._memory.move(model, windows.snapshot_read(progress))
        self._figures.gauge("capture_snapshot_remaining", 0, model)
        self._figures.gauge("capture_snapshot_completed", 1, model)
        self._log.info("snapshot read", model=model, last_id=progress.last_id)

    def _ahead(self, batches: Iterable[Batch]) -> Generator[Batch, None, None]:
        return ahead(batches) if self._settings.read_ahead else (batch for batch in batches)
