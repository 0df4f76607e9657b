"""What is published of documents: by the names of columns, or in bulk as the bytes that these become.

`ByName` is what events are: a content by column for each (`producers.odoo.events`), handed to whoever encodes it.
`InBulk` writes the same bytes without the contents in between: what the events of a page have in common is encoded
once a page, and what those of a document have in common once a document. Both are asked the same questions.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

from finwatch.runtime.clock import to_micros
from finwatch.runtime.topics import CUSTOM, WATCHED_ENTITIES, entity_record
from producers.odoo import events
from producers.odoo.contents import encoded
from producers.odoo.correlation import correlation
from producers.odoo.events import TRANSITION, Event, Sighting
from producers.odoo.mapping import quick
from producers.odoo.mapping.quick import Quick, body_node
from producers.odoo.mapping.spec import Document, Lines, Source
from producers.odoo.mapping.spec import Mapping as Mapped
from producers.odoo.records import RecordEncoder
from producers.odoo.tracking import Meaning, Tracked, meaning, told_value
from producers.odoo.values import Row
from schemas.catalogue import SchemaError
from schemas.encode import value_encoder
from schemas.encode_contents import compile_contents
from schemas.registry import newest
from schemas.tree import Node, tree

Encode = Callable[[str, Any], bytes]
"""(Avro full name, content by field name) -> Confluent wire format."""

HEADER = (
    "event_id", "document_key", "source", "entity", "record_id", "company_id", "op", "mode", "timeline", "occurred_at",
    "observed_at", "actor", "correlation_id", "source_database", "source_model", "source_write_date", "snapshot",
    "transaction_hint", "changes",
)  # fmt: skip
"""The columns that every event begins with, in order."""
_TRANSITION = (
    "activity", "label", "field", "old_value", "new_value", "step", "role", "decision", "responsible", "amount",
    "currency", "review",
)  # fmt: skip
_KEPT = 16_384


class Found(NamedTuple):
    """A document as read. `facts`: its body, or what of it the headers of events take.

    `body` is the body's Avro where it is made already; `document` is there where it is not.
    """

    record_id: int
    entity: str
    company_id: str | None
    content: bytes
    written_at: datetime
    facts: Mapping[str, Any]
    document: Document | None
    body: bytes | None = None


class Told(NamedTuple):
    """One record to publish. `how`: entity, op and mode, which it is counted by."""

    entity: str
    key: str
    value: bytes
    how: tuple[str, str, str]
    occurred_at: datetime


class Telling(Protocol):
    """How documents become records. A page begins with `begin`."""

    def begin(self, source: Source, model: str) -> None:
        """What follows is of this source and model."""
        ...

    def find(self, mapping: Mapped, row: Row, lines: Lines, written_at: datetime) -> Found | None:
        """A row as a document; None for what is none. Raises Malformed."""
        ...

    def created(self, found: Found, sighting: Sighting) -> Told | None:
        """See events.created_event."""
        ...

    def decided(self, found: Found, change: Tracked, sighting: Sighting) -> Told:
        """See events.transition_event."""
        ...

    def state(
        self,
        found: Found,
        digest: bytes,
        sighting: Sighting,
        changes: Sequence[Mapping[str, Any]] = (),
        *,
        returned: int | str = 0,
        turn: int = 0,
    ) -> Told:
        """See events.state_event."""
        ...

    def event(self, event: Event) -> Told:
        """An event that was made by name."""
        ...


def telling(encode: Encode) -> Telling:
    """In bulk where the records are Avro."""
    return InBulk(encode) if isinstance(encode, RecordEncoder) else ByName(encode)


class ByName:
    """Contents by column name, encoded one by one."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._source: Source
        self._model = ""

    def begin(self, source: Source, model: str) -> None:
        """See Telling."""
        self._source, self._model = source, model

    def find(self, mapping: Mapped, row: Row, lines: Lines, written_at: datetime) -> Found | None:
        """See Telling."""
        document = mapping.map(row, lines, self._source)
        if document is None:
            return None
        entity, company_id, body, _ = document
        return Found(row["id"], entity, company_id, encoded(document), written_at, body, document)

    def created(self, found: Found, sighting: Sighting) -> Told | None:
        """See Telling."""
        event = events.created_event(self._source, self._model, found.record_id, _document(found), sighting)
        return None if event is None else self.event(event)

    def decided(self, found: Found, change: Tracked, sighting: Sighting) -> Told:
        """See Telling."""
        return self.event(events.transition_event(self._source, change, _document(found), sighting))

    def state(
        self,
        found: Found,
        digest: bytes,
        sighting: Sighting,
        changes: Sequence[Mapping[str, Any]] = (),
        *,
        returned: int | str = 0,
        turn: int = 0,
    ) -> Told:
        """See Telling."""
        event = events.state_event(
            self._source,
            self._model,
            found.record_id,
            _document(found),
            digest,
            found.written_at,
            sighting,
            changes,
            returned,
            turn,
        )
        return self.event(event)

    def event(self, event: Event) -> Told:
        """See Telling."""
        content = event.content
        how = (event.entity, content["op"], content["mode"])
        return Told(event.entity, event.key, self._encode(event.record, content), how, content["occurred_at"])


def _document(found: Found) -> Document:
    assert found.document is not None
    return found.document


class _Texts(dict[str | None, bytes]):
    """Encoded values of text columns that may be null, for texts that come again."""

    def __missing__(self, text: str | None) -> bytes:
        if len(self) >= _KEPT:
            self.clear()
        found = self[text] = _nullable(text)
        return found


class _Moments(dict[datetime, tuple[int, bytes, str]]):
    """(epoch microseconds, Avro, date and time to the second) of moments."""

    def __missing__(self, at: datetime) -> tuple[int, bytes, str]:
        if len(self) >= _KEPT:
            self.clear()
        found = self[at] = (to_micros(at), _moment(at), at.isoformat()[:19])
        return found


class _Meanings(dict[Meaning, tuple[bytes, bytes]]):
    """(activity; step, role and decision) of what changes mean, encoded."""

    def __missing__(self, one: Meaning) -> tuple[bytes, bytes]:
        made = self[one] = (_text(one.activity), _nullable(one.step) + _nullable(one.role) + _nullable(one.decision))
        return made


_text = value_encoder(Node("string"))
_nullable = value_encoder(Node("string", nullable=True))
_moment = value_encoder(Node("timestamp"))
_texts, _moments, _meanings = _Texts(), _Moments(), _Meanings()
_NULL, _EMPTY = b"\x00", b"\x00"
_ID = b"\x40"  # the length of an event's id: 32 characters


def _checked(name: str) -> Node:
    """The record's tree, if it begins with the header as it is written here. Raises SchemaError."""
    node = tree(newest(name))
    found = [(column.name, column.type.kind, column.type.nullable) for column in node.columns[: len(HEADER)]]
    kinds = {"occurred_at": "timestamp", "observed_at": "timestamp", "source_write_date": "timestamp",
             "snapshot": "boolean", "changes": "array"}  # fmt: skip
    nullable = {"company_id", "actor", "source_database", "source_model", "source_write_date", "transaction_hint"}
    if found != [(column, kinds.get(column, "string"), column in nullable) for column in HEADER]:
        raise SchemaError(f"{name} does not begin with the header of events")
    return node


class _Of(NamedTuple):
    """What the events of one entity have in common that were found in one way."""

    state: bytes  # the prefix of a state's value
    begun: bytes  # the prefix of a transition's value
    ids: str  # what ids are made of, behind their kind
    keys: str
    origin: bytes  # source and entity
    seen: bytes  # op, mode, timeline of a state
    created: bytes
    decided: bytes
    observed: bytes
    models: bytes  # database and model
    snapshot: bytes
    how: tuple[str, str, str]
    how_created: tuple[str, str, str]
    how_decided: tuple[str, str, str]
    watched: bool


class _Head(NamedTuple):
    """What the events of one document have in common."""

    of: _Of
    key: str
    front: bytes  # document_key to company_id
    correlation: bytes


class InBulk:
    """The bytes that `ByName` would have `RecordEncoder` make."""

    def __init__(self, encode: RecordEncoder) -> None:
        self._encode = encode
        self._by_name = ByName(encode)
        self._source: Source
        self._model = ""
        self._of: dict[tuple[str, Sighting], _Of] = {}
        self._head: tuple[Found, Sighting, _Head] | None = None
        transition = _checked(TRANSITION)
        if tuple(column.name for column in transition.columns[len(HEADER) :]) != _TRANSITION:
            raise SchemaError("finwatch.Transition has other columns than are written here")
        self._changes = value_encoder(transition.columns[len(HEADER) - 1].type)
        self._created = _text("created") + _text("Created") + _NULL * (len(_TRANSITION) - 2)

    def begin(self, source: Source, model: str) -> None:
        """See Telling."""
        self._source, self._model = source, model
        self._by_name.begin(source, model)
        self._of.clear()
        self._head = None

    def find(self, mapping: Mapped, row: Row, lines: Lines, written_at: datetime) -> Found | None:
        """See Telling."""
        if mapping.entity_of is not None:
            try:
                entity = mapping.entity_of(row)
                if entity is None:
                    return None
                made = _quick(entity, mapping.bodies[entity])(row, lines, self._source)
                _, company, company_id = quick.company(row)
            except Exception:  # not as Odoo sends it: the mapping as written takes it, or says what is wrong with it
                return self._by_name.find(mapping, row, lines, written_at)
            content = b"\x92" + company + made.content
            return Found(row["id"], entity, company_id, content, written_at, made.kept, None, made.avro)
        return self._by_name.find(mapping, row, lines, written_at)

    def _common(self, entity: str, sighting: Sighting) -> _Of:
        source, mode = self._source, sighting.mode
        _checked(entity_record(entity))
        op_created = "r" if mode == "snapshot" else "c"
        op_decided = "r" if mode == "snapshot" else "u"
        mode_decided = mode if mode in ("snapshot", "sweep") else "tracking"
        timeline = _text(sighting.timeline)
        made = self._of[entity, sighting] = _Of(
            self._encode.prefix(entity_record(entity)),
            self._encode.prefix(TRANSITION),
            f"\x1f{source.name}\x1f{entity}\x1f",
            f"{source.name}:{entity}:",
            _text(source.name) + _text(entity),
            _text(sighting.op) + _text(mode) + timeline,
            _text(op_created) + _text(mode) + timeline,
            _text(op_decided) + _text(mode_decided) + timeline,
            _moment(sighting.observed_at),
            _nullable(source.database) + _nullable(self._model),
            b"\x01" if mode == "snapshot" else b"\x00",
            (entity, sighting.op, mode),
            (entity, op_created, mode),
            (entity, op_decided, mode_decided),
            entity in WATCHED_ENTITIES,
        )
        return made

    def _headed(self, found: Found, sighting: Sighting) -> _Head:
        """Asked for a document's events one after the other, so the last one is kept."""
        last = self._head
        if last is not None and last[0] is found and last[1] is sighting:
            return last[2]
        entity, record_id, facts = found.entity, found.record_id, found.facts
        of = self._of.get((entity, sighting)) or self._common(entity, sighting)
        named = f"{self._model}/{record_id}" if entity == CUSTOM else str(record_id)
        key = of.keys + named
        written = _text(key)
        above = correlation(entity, facts, key)
        head = _Head(
            of,
            key,
            written + of.origin + _text(named) + _texts[found.company_id],
            written if above is key else _text(above),
        )
        self._head = (found, sighting, head)
        return head

    def created(self, found: Found, sighting: Sighting) -> Told | None:
        """See Telling."""
        at = found.facts.get("created_at")
        if not isinstance(at, datetime):
            return None
        of, key, front, correlated = self._headed(found, sighting)
        if not of.watched:
            return None
        micros, occurred, _ = _moments[at]
        value = b"".join((
            of.begun, _ID, _event_id(f"created{of.ids}{found.record_id}\x1f{micros}"), front, of.created, occurred,
            of.observed, _texts[found.facts.get("created_by")], correlated, of.models, _NULL, of.snapshot, _NULL,
            _EMPTY, self._created,
        ))  # fmt: skip
        return Told(found.entity, key, value, of.how_created, at)

    def decided(self, found: Found, change: Tracked, sighting: Sighting) -> Told:
        """See Telling."""
        of, key, front, correlated = self._headed(found, sighting)
        meant = meaning(found.entity, change)
        activity, step = _meanings[meant]
        responsible = found.facts.get("responsible") if meant.activity == "submitted" else None
        epoch = f"\x1f{sighting.epoch}" if sighting.epoch else ""
        value = b"".join((
            of.begun, _ID, _event_id(f"tracking{of.ids}{found.record_id}\x1f{change.value_id}{epoch}"), front,
            of.decided, _moments[change.at][1], of.observed, _texts[change.actor], correlated, of.models, _NULL,
            of.snapshot, _nullable(f"message:{change.message_id}"), _EMPTY, activity, _text(change.label),
            _texts[change.field], _nullable(told_value(change, change.old)), _nullable(told_value(change, change.new)),
            step, _texts[responsible], _NULL, _NULL, _NULL,
        ))  # fmt: skip
        return Told(found.entity, key, value, of.how_decided, change.at)

    def state(
        self,
        found: Found,
        digest: bytes,
        sighting: Sighting,
        changes: Sequence[Mapping[str, Any]] = (),
        *,
        returned: int | str = 0,
        turn: int = 0,
    ) -> Told:
        """See Telling."""
        of, key, front, correlated = self._headed(found, sighting)
        body = found.body if found.body is not None else _body(found.entity)(_document(found).body)
        by = found.facts.get("written_by")
        micros, occurred, second = _moments[found.written_at]
        named, at = f"state{of.ids}{found.record_id}\x1f{digest.hex()}\x1f{micros}", found.written_at
        stamp = b"\x02" + occurred
        if returned:
            named, at, occurred, stamp = f"{named}\x1f{returned}", sighting.observed_at, of.observed, _NULL
        elif turn:
            named = f"{named}\x1f+{turn}"
        value = b"".join((
            of.state, _ID, _event_id(named), front, of.seen,
            occurred, of.observed, _texts[by], correlated, of.models, stamp,
            of.snapshot, _nullable(f"write:{second}:{by or ''}"), self._changes(changes) if changes else _EMPTY, body,
        ))  # fmt: skip
        return Told(found.entity, key, value, of.how, at)

    def event(self, event: Event) -> Told:
        """See Telling."""
        return self._by_name.event(event)


def _event_id(text: str) -> bytes:
    """See finwatch.domain.identity.deterministic_id."""
    return sha256(text.encode()).hexdigest()[:32].encode()


@lru_cache(256)
def _body(entity: str) -> Callable[[Mapping[str, Any]], bytes]:
    return compile_contents(body_node(entity), b"")


@lru_cache(256)
def _quick(entity: str, function: Callable[..., Any]) -> Callable[..., Quick]:
    return quick.quick(entity, function)
