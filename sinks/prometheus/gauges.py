"""Merged KPIs as Prometheus gauges, named and labelled as the catalogue says."""

import threading
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from finwatch.domain.kpis import CATALOGUE, KpiSpec
from sinks.prometheus.merge import Parts

STALE_SECONDS = 120.0
"""Silence of an input partition after which the figures it is part of show as stale."""

LARGEST = frozenset(spec.name for spec in CATALOGUE.values() if spec.merge == "max")


class Gauges(Collector):
    """A custom collector over `parts`, which the sink's thread changes under `lock`.

    Shows nothing until `loaded` is true: half the parts would be a wrong figure, and a wrong figure is worse than none.
    A rate over nothing has no sample. `now`: epoch microseconds.
    """

    def __init__(
        self,
        parts: Callable[[], Parts],
        lock: threading.Lock,
        loaded: Callable[[], bool],
        now: Callable[[], int],
        catalogue: Mapping[str, KpiSpec] = CATALOGUE,
        stale_after: float = STALE_SECONDS,
    ) -> None:
        self._parts, self._lock, self._loaded, self._now = parts, lock, loaded, now
        self._catalogue = catalogue
        self._stale_after = stale_after

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry shall not collect while it registers."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """One family a KPI, and how far they can be trusted."""
        if not self._loaded():
            return
        now = self._now()
        with self._lock:
            parts = self._parts()
            figures = list(parts.figures())
            ages = parts.ages(now)
            stale = parts.stale(now, self._stale_after)
        families = {
            name: GaugeMetricFamily(f"finwatch_{name}", spec.help, labels=spec.labels)
            for name, spec in self._catalogue.items()
        }
        for figure in sorted(figures, key=lambda f: (f.kpi, sorted(f.labels.items()))):
            spec = self._catalogue.get(figure.kpi)
            if spec is None or figure.value is None:
                continue
            families[figure.kpi].add_metric([figure.labels.get(label, "") for label in spec.labels], figure.value)
        yield from families.values()

        age = GaugeMetricFamily(
            "finwatch_kpi_part_age_seconds",
            "Time since an input partition published any part of a KPI.",
            labels=("topic", "partition"),
        )
        for (topic, partition), seconds in sorted(ages.items()):
            age.add_metric((topic, str(partition)), seconds)
        yield age
        old = GaugeMetricFamily(
            "finwatch_kpi_stale",
            "1 when a partition that a KPI has a part from is silent: the figure may be out of date.",
            labels=("kpi",),
        )
        for kpi, is_stale in sorted(stale.items()):
            old.add_metric((kpi,), float(is_stale))
        yield old
