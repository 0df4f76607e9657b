"""PromQL over the catalogues: names and labels that do not exist are an error here, not an empty panel."""

from __future__ import annotations

import re

from finwatch.domain.kpis import CATALOGUE


def kpi(name: str, *conditions: str) -> str:
    """Selector of a KPI with label conditions such as `status="breached"`.

    Every copy of the Prometheus sink publishes all figures; `max without` leaves one of them.
    Raises KeyError for a KPI, ValueError for a label that the catalogue does not have.
    """
    spec = CATALOGUE[name]
    for condition in conditions:
        label = re.match(r"\w+", condition)
        if label is None or label[0] not in spec.labels:
            raise ValueError(f"{name} has no label for {condition!r}: {', '.join(spec.labels)}")
    selector = f"{{{', '.join(conditions)}}}" if conditions else ""
    return f"max without (instance, job, service) (finwatch_{name}{selector})"
