"""The sweep's rounds: when they begin, how much a poll spends on them, what becomes of their findings."""

from collections.abc import Iterable

import structlog

from producers.odoo.figures import Figures
from producers.odoo.mapping.spec import Mapping
from producers.odoo.memory import Memory
from producers.odoo.publishing import Publishing
from producers.odoo.reader import Batch, Reader
from producers.odoo.settings import CaptureSettings
from producers.odoo.stopping import Models
from producers.odoo.streaming import LOG, Streaming
from producers.odoo.sweep import Sweep, SweepLimits
from producers.odoo.times import Times
from producers.odoo.tracking import Tracked


class Rounds:
    """Runs the sweep in slices. `believe`: every deletion is believed, however many there are at once."""

    def __init__(
        self,
        reader: Reader,
        memory: Memory,
        publishing: Publishing,
        streaming: Streaming,
        models: Models,
        times: Times,
        settings: CaptureSettings,
        figures: Figures,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._reader = reader
        self._memory = memory
        self._publishing = publishing
        self._streaming = streaming
        self._models = models
        self._times = times
        self._settings = settings
        self._figures = figures
        self._log = log
        self._began: float | None = None
        self._sweep = self._made(settings.sweep_deletions)

    def _made(self, deletions: float) -> Sweep:
        limits = SweepLimits(self._settings.page_size, self._settings.sweep_recent, deletions)
        # The log first, as in a poll.
        order = [LOG, *(one.model for one in self._models.all)]
        return Sweep(self._reader, self._memory, self, limits, order)

    def believe(self, everything: bool) -> None:
        """Whether a round may publish however many deletions: once, after another database was accepted."""
        self._sweep = self._made(1.0 if everything else self._settings.sweep_deletions)

    @property
    def running(self) -> bool:
        """Whether a round is under way."""
        return bool(self._sweep.running)

    def due(self) -> bool:
        """Whether a round is under way, or is to begin now."""
        if not self._settings.sweep_interval:
            return False
        if self._sweep.running:
            return True
        return self._began is None or self._times.monotonic() - self._began >= self._settings.sweep_interval

    def begin(self) -> None:
        """Start a round."""
        self._began = self._times.monotonic()
        self._sweep.begin()

    def slices(self) -> None:
        """Slices until the budget of rows is spent or the round is over."""
        budget = self._settings.sweep_rows
        while budget > 0 and (model := self._sweep.running):
            if not self._sweepable(model):
                self._sweep.skip()
                continue
            with self._models.guarded(model):
                mapping = None if model == LOG else self._reader.mappings[model]
                budget -= self._sweep.step(mapping, budget, self._times.of_source() or self._times.observed())
            self._publishing.settle(force=False)
        if not self._sweep.running:
            self._over()

    def _sweepable(self, model: str) -> bool:
        """Whether a round may read a model now: not a stopped one, nor one whose snapshot is not whole."""
        progress = self._memory.progress(model)
        return model not in self._models.stopped and progress is not None and progress.snapshot_done

    def _over(self) -> None:
        self._figures.count("capture_sweep_rounds")
        if self._began is None:
            return  # it was begun by a former life of this process
        seconds = self._times.monotonic() - self._began
        self._figures.gauge("capture_sweep_round_seconds", seconds)
        if seconds > max(self._settings.sweep_interval, 1.0) * 2 and self._settings.timeline == "wall":
            self._log.warning(
                "the sweep's round takes longer than its interval",
                seconds=round(seconds),
                what_to_do="raise FINWATCH_ODOO_SWEEP_ROWS or FINWATCH_ODOO_SWEEP_SECONDS",
            )

    # -- what the sweep hands over: see sweep.Findings ------------------------------------------------------------

    def swept(self, mapping: Mapping, batch: Batch) -> None:
        """Publish what changed of these documents."""
        self._publishing.batch(mapping, batch, "sweep")

    def swept_log(self, ids: list[int], changes: list[Tracked]) -> None:
        """Publish missed changes of the log."""
        self._streaming.publish_log(ids, changes, "sweep")

    def gone(self, model: str, ids: Iterable[int]) -> None:
        """Publish deletions."""
        self._publishing.gone(model, ids)

    def withheld(self, model: str, missing: int, known: int) -> None:
        """Say loudly that too much is missing to be believed."""
        self._figures.error("deletions_withheld")
        self._log.error(
            "so many records are missing at once that no deletion is published: a lost right, or another database?",
            model=model,
            missing=missing,
            known=known,
            what_to_do="run `finwatch doctor`; if they were deleted, raise FINWATCH_ODOO_SWEEP_DELETIONS for a round",
        )
