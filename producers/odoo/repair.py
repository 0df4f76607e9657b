"""Capturing again what the store lost or never had: given documents, read now and published whatever was before.

An event has the id it would have had the first time, so what reads the topics takes a repeat as one.
Does not own: finding out what differs (finwatch.domain.reconciliation), the capture's own memory, which is not touched.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, Literal

from finwatch.domain.reconciliation import Difference, Reference
from finwatch.runtime.publisher import Publisher
from finwatch.runtime.topics import ENTITIES, entity_topic
from producers.odoo import events
from producers.odoo.compared import written_at
from producers.odoo.errors import Malformed
from producers.odoo.events import HASH_BYTES, Event, Sighting
from producers.odoo.mapping.spec import Mapping
from producers.odoo.reader import Reader

Encode = Callable[[str, Any], bytes]
LastHash = Callable[[str, int], bytes | None]
"""(model, record id) -> content hash of the state that the capture published last; None when it does not know one."""


@dataclass(frozen=True)
class Repaired:
    """What became of the differences: documents published again, and deletions published."""

    states: int
    deletions: int


class Repair:
    """Publishes to the topics that the capture writes. For one thread at a time.

    `timeline`: as the capture's (`CaptureSettings.timeline`). `last_hash`: makes the id of a deletion the one that the
    capture itself would give it.
    """

    def __init__(
        self,
        reader: Reader,
        publisher: Publisher,
        encode: Encode,
        *,
        timeline: Literal["wall", "log"] = "wall",
        last_hash: LastHash | None = None,
    ) -> None:
        self._reader = reader
        self._publisher = publisher
        self._encode = encode
        self._timeline = timeline
        self._last_hash = last_hash

    def apply(
        self,
        mapping: Mapping,
        differences: Iterable[Difference],
        now: datetime,
        deleted: Collection[Reference] = (),
    ) -> Repaired:
        """Read the documents of these differences and publish what they are now; delivered when it returns.

        `deleted`: those that the store holds for deleted, although the source has them. Their state is published
        without the source's stamp, or the store would go on taking the deletion for the later word.
        Raises PublishFailed and what the source raises.
        """
        wanted = {one.reference: one for one in differences}
        states, found = 0, set[int]()
        # 1. What the source has, whole, with its lines.
        for batch in self._reader.by_ids(mapping, {one.record_id for one in wanted}):
            for row in batch.rows:
                found.add(row["id"])
                lines = batch.lines.get(row["id"], {})
                try:
                    document = mapping.map(row, lines, self._reader.source)
                    stamp = written_at(row, lines)
                except Malformed:
                    continue  # the capture leaves it out as well, and says so
                if document is None or Reference(document.entity, row["id"]) not in wanted:
                    continue
                seen = Sighting("r", "snapshot", self._timeline, now)
                digest = events.content_hash(document)
                event = events.state_event(self._reader.source, mapping.model, row["id"], document, digest, stamp, seen)
                if Reference(document.entity, row["id"]) in deleted:
                    event = Event(event.entity, event.record, event.key, {**event.content, "source_write_date": None})
                self._send(event)
                states += 1
        # 2. What it has no longer. Asked once more: a deletion is not taken back easily.
        gone = [one for one in wanted.values() if one.kind == "gone" and one.reference.record_id not in found]
        existing = self._reader.existing(mapping.model, [one.reference.record_id for one in gone]) if gone else set()
        deletions = 0
        for one in gone:
            if one.reference.record_id in existing:
                continue
            digest = self._hash(mapping.model, one)
            seen = Sighting("d", "deleted", self._timeline, now)
            self._send(events.deleted_event(self._reader.source, mapping.model, one.reference.record_id, digest, seen))
            deletions += 1
        # 3. Nothing is called repaired before the broker has it.
        self._publisher.flush()
        return Repaired(states, deletions)

    def _send(self, event: Event) -> None:
        self._publisher.publish(entity_topic(event.entity), event.key, self._encode(event.record, event.content))

    def _hash(self, model: str, difference: Difference) -> bytes:
        """The hash of the state that ended: the capture's own, else one of the event that the store has last."""
        entity, record_id = difference.reference
        mark = ENTITIES.index(entity) + 1
        known = self._last_hash(model, record_id) if self._last_hash is not None else None
        if known is not None and known[0] == mark:
            return known
        return bytes((mark,)) + blake2b(difference.event_id.encode(), digest_size=HASH_BYTES - 1).digest()
