"""Which models are captured, and which were left out because of an error that concerns only them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from finwatch.runtime.topics import CUSTOM
from producers.odoo.errors import OdooError
from producers.odoo.figures import Figures
from producers.odoo.mapping.spec import Mapping
from producers.odoo.reader import NO_SUCH


class Models:
    """The models to capture; those that an error stopped are left out, loudly, and the others go on."""

    def __init__(self, mappings: Sequence[Mapping], figures: Figures, log: structlog.stdlib.BoundLogger) -> None:
        self.all = list(mappings)
        self._asked_for: frozenset[str] = frozenset()
        self.stopped: dict[str, str] = {}
        """Kind of the error by model."""
        self._absent: set[str] = set()
        self._figures = figures
        self._log = log

    def take(self, mappings: Sequence[Mapping]) -> None:
        """The models to capture from now on."""
        self.all = list(mappings)
        # That an app of Odoo's own is not installed is nothing wrong; a model that somebody wrote down is.
        self._asked_for = frozenset(one.model for one in mappings if CUSTOM in one.entities)

    def use(self, mapping: Mapping) -> None:
        """Another mapping of one of the models."""
        self.all = [mapping if one.model == mapping.model else one for one in self.all]

    def active(self) -> list[Mapping]:
        """Those that are captured."""
        return [one for one in self.all if one.model not in self.stopped]

    @contextmanager
    def guarded(self, model: str) -> Iterator[None]:
        """Stop the model on what only concerns it (a right, an app); everything else is raised."""
        try:
            yield
        except NO_SUCH as error:
            self.stop(model, error)

    def stop(self, model: str, error: OdooError) -> None:
        """Leave a model out from now on."""
        self.stopped[model] = error.kind
        if error.kind == "unknown_model":
            # Most databases lack some apps: told once, no error, and nothing that an alert would fire on.
            if model in self._asked_for:
                if model not in self._absent:
                    self._absent.add(model)
                    self._figures.error("configured_model")
                    self._log.error(
                        "a configured model is not there",
                        model=model,
                        what_to_do="correct its name in FINWATCH_ODOO_CUSTOM, or take it out",
                    )
                self._figures.gauge("capture_model_stopped", 1, model)
            elif model not in self._absent:
                self._absent.add(model)
                self._log.info("model is not installed", model=model)
        else:
            self._figures.error(error.kind)
            self._figures.gauge("capture_model_stopped", 1, model)
            self._log.error("model is not captured", model=model, kind=error.kind, error=str(error))
