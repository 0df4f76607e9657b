"""What detectors publish in one way: facts for the relations stage, and findings with their counts.

Findings are those of detectors that keep what they said (``finwatch.domain.verdicts``).
"""

from __future__ import annotations

from collections.abc import Iterable

from finwatch.domain.policy import Policy
from finwatch.domain.records import Finding, Relation
from finwatch.domain.verdicts import LIVE, Said
from finwatch.runtime.topics import FINDING, RELATION
from streams.agents import tally
from streams.agents.detector import Change
from streams.agents.related import is_exception, publish_exception
from streams.stage import View


def tell(
    change: Change,
    relation: str,
    key: str,
    version: int,
    op: str,
    attributes: str | None,
    *,
    document_type: str | None,
    reference: str | None = None,
    event_id: str | None = None,
) -> None:
    """Emit a fact about a document under a relation key. ``event_id``: what it rests on, else the change itself."""
    content = change.content
    change.view.emit(
        RELATION,
        key,
        Relation(
            relation,
            key,
            version,
            op,
            *change.subject,
            change.timeline,
            change.occurred_at,
            change.observed_at,
            change.event_id if event_id is None else event_id,
            reference,
            content.partner_id,
            document_type,
            content.state,
            content.amount,
            content.currency,
            content.date,
            attributes,
        ),
    )


def publish(view: View, source: str, changed: Iterable[tuple[Said, Finding]], policy: Policy | None = None) -> None:
    """Emit findings and bring the count of open ones in line.

    ``policy``: from detectors with rules on the closed list of exceptions, which are told and counted as such besides.
    """
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
        if policy is not None and is_exception(said, finding, policy):
            if counts is None:
                counts = tally.tally_of(view, source)
            publish_exception(view, source, counts, said, finding, policy)
    if counts is not None:
        view.put(f"k:{source}", counts)
