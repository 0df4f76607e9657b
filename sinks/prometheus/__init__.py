"""The Prometheus sink: KPI gauges, merged from the parts of the partitions.

Owns: which part of a KPI counts, how parts add up, and how a figure that cannot be trusted shows (as stale or absent,
never as 0).
Does not own: what a KPI means (`finwatch.domain.kpis`), nor when the streams publish parts.
"""

import threading

from finwatch.runtime.config import Settings


def run(settings: Settings, stop: threading.Event) -> None:
    """Serve the KPIs at /metrics until `stop` is set; usable as a process or as a thread."""
    from sinks.prometheus.sink import run as run_sink

    run_sink(settings, stop)
