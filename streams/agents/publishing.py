"""Publishes the findings of detectors that keep what they said (``finwatch.domain.verdicts``), and counts them."""

from __future__ import annotations

from collections.abc import Iterable

from finwatch.domain.records import Finding
from finwatch.domain.verdicts import LIVE, Said
from finwatch.runtime.topics import FINDING
from streams.agents import tally
from streams.stage import View


def publish(view: View, source: str, changed: Iterable[tuple[Said, Finding]]) -> None:
    """Emit findings and bring the count of open ones in line."""
    counts = None
    for said, finding in changed:
        view.emit(FINDING, finding.finding_id, finding)
        label = f"findings_open|{finding.detector}|{finding.rule}|{finding.severity}"
        now = label if finding.status in LIVE else ""
        if said.counted != now:
            if counts is None:
                counts = tally.tally_of(view, source)
            tally.move(counts, said.counted, now)
            said.counted = now
    if counts is not None:
        view.put(f"k:{source}", counts)
