"""The capture's metrics, bound to its source."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from finwatch.runtime.metrics import Metrics
from producers.odoo.telling import Told


class Figures:
    """Counts and gauges of one source."""

    def __init__(self, metrics: Metrics, source: str) -> None:
        self._metrics = metrics
        self._source = source
        self._tally: Counter[tuple[str, str, str]] = Counter()  # (entity, op, mode) of events not in the metric yet
        self.published = 0
        """Events published."""
        self.last_event: datetime | None = None
        """Newest `occurred_at` of them."""

    def told(self, told: Sequence[Told]) -> None:
        """Events were handed over: counted now, in the metric with the next `tell`."""
        if not told:
            return
        self.published += len(told)
        self._tally.update([one.how for one in told])
        newest = max([one.occurred_at for one in told])
        if self.last_event is None or newest > self.last_event:
            self.last_event = newest

    def tell(self) -> None:
        """Put the events counted into the metric."""
        for labels, events_of in self._tally.items():
            self.count("capture_events", *labels, by=events_of)
        self._tally.clear()

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Raise a counter of the catalogue."""
        self._metrics.counter(name).labels(self._source, *labels).inc(by)

    def gauge(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge of the catalogue."""
        self._metrics.gauge(name).labels(self._source, *labels).set(value)

    def observe(self, name: str, seconds: float) -> None:
        """Add to a histogram of the catalogue."""
        self._metrics.histogram(name).labels(self._source).observe(seconds)

    def error(self, kind: str) -> None:
        """Count an error of the source."""
        self.count("capture_errors", kind)

    def rows(self, model: str, rows: int) -> None:
        """Count rows read."""
        self.count("capture_rows_scanned", model, by=rows)
