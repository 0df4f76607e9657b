"""Records with their event header and deterministic ids. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from finwatch.domain.identity import deterministic_id
from finwatch.runtime.clock import to_micros
from finwatch.runtime.topics import CUSTOM, ENTITIES, WATCHED_ENTITIES, entity_record
from producers.odoo.contents import encoded
from producers.odoo.correlation import correlation
from producers.odoo.mapping.spec import Document, Source
from producers.odoo.tracking import Tracked, transition_body

Op = Literal["c", "u", "d", "r"]
Mode = Literal["snapshot", "window", "late", "sweep", "deleted", "tracking", "webhook"]
TRANSITION = "finwatch.Transition"
HEARTBEAT = "finwatch.Heartbeat"
HASH_BYTES = 16


class Event(NamedTuple):
    """One record to publish: its topic's entity, its Avro full name, key and content."""

    entity: str
    record: str
    key: str
    content: Mapping[str, Any]


class Sighting(NamedTuple):
    """How a record was found, common to all events of one read.

    `epoch`: how often another database was accepted for the source. It goes into the ids of what is known by a number
    that the other database gave again.
    """

    op: Op
    mode: Mode
    timeline: Literal["wall", "log"]
    observed_at: datetime
    epoch: int = 0


_NONE: tuple[Mapping[str, Any], ...] = ()  # changes of an event that changed no column
_RECORD = {entity: entity_record(entity) for entity in ENTITIES}
_FIRST = {entity: bytes((number,)) for number, entity in enumerate(ENTITIES, start=1)}


def content_hash(document: Document) -> bytes:
    """16 bytes over what a document says, apart from when and by whom it was last written: see `digest`."""
    return digest(document.entity, encoded(document))


def digest(entity: str, content: bytes) -> bytes:
    """16 bytes for an encoded content.

    The first byte is the entity's (never 0), so that a record that is gone can still be named: see `entity_of`.
    """
    return _FIRST[entity] + blake2b(content, digest_size=HASH_BYTES - 1).digest()


def held_digest(entity: str, event_id: str) -> bytes:
    """Stands for the content hash of a state that only somebody else remembers, by the id of its event."""
    return _FIRST[entity] + blake2b(event_id.encode(), digest_size=HASH_BYTES - 1).digest()


def entity_of(digest: bytes) -> str:
    """Entity of the document that a content hash was made of."""
    return ENTITIES[digest[0] - 1]


def record_name(model: str, entity: str, record_id: int) -> str:
    """Identity of a record within its entity: Odoo's id; custom records are of many models, so it begins theirs."""
    return f"{model}/{record_id}" if entity == CUSTOM else str(record_id)


def header_of(source: Source, model: str, entity: str, record_id: str, seen: Sighting) -> dict[str, Any]:
    """The columns that all events of a record have in common."""
    key = source.key(entity, record_id)
    return {
        "document_key": key,
        "source": source.name,
        "entity": entity,
        "record_id": record_id,
        "op": seen.op,
        "mode": seen.mode,
        "timeline": seen.timeline,
        "observed_at": seen.observed_at,
        "correlation_id": key,
        "source_database": source.database,
        "source_model": model,
        "snapshot": seen.mode == "snapshot",
        "changes": [],
    }


def state_event(
    source: Source,
    model: str,
    record_id: int,
    document: Document,
    digest: bytes,
    written_at: datetime,
    seen: Sighting,
    changes: Sequence[Mapping[str, Any]] = (),
    returned: int | str = 0,
    turn: int = 0,
) -> Event:
    """The state of a document after an event. `changes`: what it changed, where that is known.

    Its id covers the content and when it was written: a later return to an earlier content is a new event, a second
    read of the same one is not. `turn`: how often it said something else as of `written_at` before, where no stamp
    tells them apart. `returned`: how often it was told as deleted before, or the id of the event that told so last. The
    source knows no stamp of its coming back, so that is when it was seen: its own would be older than the deletion.
    """
    entity, body, name = document.entity, document.body, source.name
    named = f"{model}/{record_id}" if entity == CUSTOM else str(record_id)  # as `record_name`, without the call
    by, key = body.get("written_by"), f"{name}:{entity}:{named}"
    # One literal for all of it: most of an event's cost is copying what another one holds already.
    content = {
        "event_id": deterministic_id(
            f"state\x1f{name}\x1f{entity}\x1f{record_id}\x1f{digest.hex()}\x1f{to_micros(written_at)}"
            + (f"\x1f{returned}" if returned else f"\x1f+{turn}" if turn else "")
        ),
        "document_key": key,
        "source": name,
        "entity": entity,
        "record_id": named,
        "company_id": document.company_id,
        "op": seen.op,
        "mode": seen.mode,
        "timeline": seen.timeline,
        "occurred_at": seen.observed_at if returned else written_at,
        "observed_at": seen.observed_at,
        "actor": by,
        "correlation_id": correlation(entity, body, key),
        "source_database": source.database,
        "source_model": model,
        "source_write_date": None if returned else written_at,
        "snapshot": seen.mode == "snapshot",
        # Odoo stamps all that one transaction writes with the transaction's start.
        "transaction_hint": f"write:{written_at.isoformat()[:19]}:{by or ''}",
        "changes": list(changes),
        **body,
    }
    return Event(entity, _RECORD[entity], key, content)


def created_event(source: Source, model: str, record_id: int, document: Document, seen: Sighting) -> Event | None:
    """The creation of a document, which Odoo does not track; None when it does not say when.

    None too for what no stage reads: who created it and when stand in its state.
    """
    at, entity = document.body.get("created_at"), document.entity
    if not isinstance(at, datetime) or entity not in WATCHED_ENTITIES:
        return None
    key = f"{source.name}:{entity}:{record_id}"
    content = {
        "event_id": deterministic_id(f"created\x1f{source.name}\x1f{entity}\x1f{record_id}\x1f{to_micros(at)}"),
        "document_key": key,
        "source": source.name,
        "entity": entity,
        "record_id": str(record_id),
        "company_id": document.company_id,
        "op": "r" if seen.mode == "snapshot" else "c",
        "mode": seen.mode,
        "timeline": seen.timeline,
        "occurred_at": at,
        "observed_at": seen.observed_at,
        "actor": document.body.get("created_by"),
        "correlation_id": correlation(entity, document.body, key),
        "source_database": source.database,
        "source_model": model,
        "source_write_date": None,
        "snapshot": seen.mode == "snapshot",
        "transaction_hint": None,
        "changes": _NONE,
        "activity": "created",
        "label": "Created",
        "field": None,
        "old_value": None,
        "new_value": None,
        "step": None,
        "role": None,
        "decision": None,
        "responsible": None,
        "amount": None,
        "currency": None,
        "review": None,
    }
    return Event(entity, TRANSITION, key, content)


def transition_event(source: Source, change: Tracked, document: Document, seen: Sighting) -> Event:
    """A change from the tracking log."""
    entity, record_id = document.entity, change.record_id
    named = record_name(change.model, entity, record_id)
    key = f"{source.name}:{entity}:{named}"
    content = {
        "event_id": deterministic_id(
            f"tracking\x1f{source.name}\x1f{entity}\x1f{record_id}\x1f{change.value_id}"
            + (f"\x1f{seen.epoch}" if seen.epoch else "")
        ),
        "document_key": key,
        "source": source.name,
        "entity": entity,
        "record_id": named,
        "company_id": document.company_id,
        "op": "r" if seen.mode == "snapshot" else "u",
        "mode": seen.mode if seen.mode in ("snapshot", "sweep") else "tracking",
        "timeline": seen.timeline,
        "occurred_at": change.at,
        "observed_at": seen.observed_at,
        "actor": change.actor,
        "correlation_id": correlation(entity, document.body, key),
        "source_database": source.database,
        "source_model": change.model,
        "source_write_date": None,
        "snapshot": seen.mode == "snapshot",
        "transaction_hint": f"message:{change.message_id}",
        "changes": _NONE,
        **transition_body(change, entity, document.body.get("responsible")),
    }
    return Event(entity, TRANSITION, key, content)


def deleted_event(
    source: Source,
    model: str,
    record_id: int,
    digest: bytes,
    seen: Sighting,
    company_id: str | None = None,
    body: Mapping[str, Any] = MappingProxyType({}),
    returned: int = 0,
) -> Event:
    """The deletion of a document: its last content where that is known, with op d. Odoo keeps no trace of who or when.

    `digest` is of its last state; `seen.observed_at` is when it was noticed missing. The id is of the state that
    ended, so noticing it twice is one event. `returned`: how often it was told as deleted, and came back, before.
    """
    entity = entity_of(digest)
    header = header_of(source, model, entity, record_name(model, entity, record_id), seen._replace(op="d"))
    if entity == CUSTOM:
        header["model"] = model  # what else it was may be forgotten
    content = header | {
        "event_id": deterministic_id(
            "deleted", source.name, entity, record_id, digest.hex(), *([returned] if returned else ())
        ),
        "company_id": company_id,
        "occurred_at": seen.observed_at,
        "actor": None,
        "source_write_date": None,
        "transaction_hint": None,
        "correlation_id": correlation(entity, body, header["document_key"]),
        **body,
    }
    return Event(entity, _RECORD[entity], content["document_key"], content)


def heartbeat(source: Source, at: datetime, timeline: Literal["wall", "log"]) -> Mapping[str, Any]:
    """Content of a Heartbeat: everything of the source up to `at` has been published."""
    return {"source": source.name, "at": at, "timeline": timeline, "final": False}
