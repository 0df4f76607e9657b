"""The first reading of everything: by model and id, resumed where it stopped, handing over to streaming with no gap."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from math import inf

import structlog

from producers.odoo import windows
from producers.odoo.ahead import ahead
from producers.odoo.figures import Figures
from producers.odoo.mapping.spec import Mapping
from producers.odoo.memory import Memory
from producers.odoo.publishing import Publishing
from producers.odoo.reader import Page, Reader
from producers.odoo.settings import CaptureSettings
from producers.odoo.stopping import Models
from producers.odoo.streaming import LOG
from producers.odoo.times import Times

BETWEEN = 0.2
"""Seconds between two looks at what others ask for."""


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
        self._between: Callable[[], None] | None = None
        self._looked = 0.0

    def read(self, seconds_again: float = inf, between: Callable[[], None] | None = None) -> None:
        """All models that lack one, each from where a former reading stopped.

        What is read again after a change of the configuration takes turns with the polls of the other models: after
        `seconds_again` it is left to the next call. `between` is called every `BETWEEN` seconds, between two pages: it
        may read and publish what is behind the cursors.
        """
        until = self._times.monotonic() + seconds_again
        self._between, self._looked = between, self._times.monotonic()
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
        pages = self._reader.snapshot_pages(mapping, progress.last_id, with_log=LOG not in self._models.stopped)
        with closing(self._ahead(pages)) as read:
            for page in read:
                batch = self._reader.batch(page)
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
                self._pause()
                if self._times.monotonic() > until:
                    return
        self._memory.move(model, windows.snapshot_read(progress))
        self._figures.gauge("capture_snapshot_remaining", 0, model)
        self._figures.gauge("capture_snapshot_completed", 1, model)
        self._log.info("snapshot read", model=model, last_id=progress.last_id)

    def _pause(self) -> None:
        if self._between is None or self._times.monotonic() - self._looked < BETWEEN:
            return
        with self._reader.turn:  # the page ahead first: a transport serves one thread at a time
            self._between()
        self._looked = self._times.monotonic()

    def _ahead(self, pages: Iterable[Page]) -> Generator[Page, None, None]:
        one_by_one = self._in_turn(iter(pages))
        return ahead(one_by_one) if self._settings.read_ahead else one_by_one

    def _in_turn(self, pages: Iterator[Page]) -> Generator[Page, None, None]:
        while True:
            with self._reader.turn:
                page = next(pages, None)
            if page is None:
                return
            yield page
