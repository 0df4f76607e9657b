"""Reviews: decisions that Odoo keeps as records of their own, as transitions of the document that is decided about.

A tier's review (OCA's tier validation) belongs to the document that it names by model and id; an approver's answer to
the approval request. The transition goes where the document's own go, under its key, and names the review.

When somebody was asked is what the record says of it; the moment of a decision is the record's own. Ids are of what is
told, so reading a review again tells nothing new. Pure: whose document it is, is the caller's to find out.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from finwatch.domain.identity import deterministic_id
from finwatch.runtime.clock import to_micros
from producers.odoo.events import TRANSITION, Event, Sighting, header_of
from producers.odoo.mapping.spec import Review, Source

ASKED, WITHDRAWN = "submitted", "withdrawn"


def told(
    source: Source,
    model: str,
    entity: str,
    record_id: str,
    company_id: str | None,
    review: Review,
    seen: Sighting,
    *,
    asked_before: bool,
) -> Iterator[Event]:
    """What a review as it stands tells of the document `entity`, `record_id`.

    `asked_before`: that somebody was asked was told already; then a decision is told alone.
    """
    told_by = (source, model, entity, record_id, company_id, review, seen)
    if review.asked_at is not None and (review.waits or (review.decision is not None and not asked_before)):
        asked = min(review.asked_at, review.decided_at or review.asked_at)
        yield _event(*told_by, activity=ASKED, at=asked, actor=review.asked_by, person=review.person)
    if review.decision is not None and review.decided_at is not None:
        yield _event(
            *told_by,
            activity=review.decision,
            at=review.decided_at,
            actor=review.decided_by,
            decision=review.decision,
        )
    elif review.ended and asked_before and review.decided_at is not None:
        yield _event(*told_by, activity=WITHDRAWN, at=review.decided_at, actor=None)


def gone(source: Source, model: str, entity: str, record_id: str, name: str, seen: Sighting) -> Event:
    """A review that waited is no longer there: whoever asked for it has taken that back, or begun anew."""
    ended = Review(name, name.partition(":")[0], ended=True)
    return _event(
        source, model, entity, record_id, None, ended, seen, activity=WITHDRAWN, at=seen.observed_at, actor=None
    )


def _event(
    source: Source,
    model: str,
    entity: str,
    record_id: str,
    company_id: str | None,
    review: Review,
    seen: Sighting,
    *,
    activity: str,
    at: datetime,
    actor: str | None,
    person: str | None = None,
    decision: str | None = None,
) -> Event:
    what: tuple[Any, ...] = (source.name, entity, record_id, review.name, activity, to_micros(at), actor, person)
    content = header_of(source, model, entity, record_id, seen) | {
        "op": "r" if seen.mode == "snapshot" else "u",
        "event_id": deterministic_id("review", *what, seen.epoch),
        "company_id": company_id,
        "occurred_at": at,
        "actor": actor,
        "source_write_date": None,
        "transaction_hint": None,
        "activity": activity,
        "label": review.label or review.step,
        "field": None,
        "old_value": None,
        "new_value": None,
        "step": review.step,
        "role": review.role,
        "decision": decision,
        "responsible": person,
        "amount": None,
        "currency": None,
        "review": review.name,
    }
    return Event(entity, TRANSITION, content["document_key"], content)
