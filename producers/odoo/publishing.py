"""From what was read to events on their topics, and the order of publishing and remembering.

Order is the guarantee (see `Publishing.settle`): what is remembered was delivered, so a crash at any point repeats
identical events at most and loses none.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Mapping as Named
from datetime import UTC, datetime
from math import ceil
from types import MappingProxyType

import structlog

from finwatch.runtime.publisher import Publisher
from finwatch.runtime.topics import ENTITIES, WATCHED_ENTITIES, entity_topic
from producers.odoo import events, reviews, windows
from producers.odoo.contents import Contents, Restored, changes
from producers.odoo.errors import Malformed
from producers.odoo.events import HEARTBEAT, Event, Mode, Op, Sighting
from producers.odoo.figures import Figures
from producers.odoo.mapping.spec import Document, Mapping
from producers.odoo.memory import TURNED, Memory
from producers.odoo.reader import Batch, Reader
from producers.odoo.seen import STAMP_BYTES
from producers.odoo.settings import CaptureSettings
from producers.odoo.state import StateStore
from producers.odoo.sweep import Stamps, fingerprint_of, stamps_of
from producers.odoo.telling import Encode, Found, Told, telling
from producers.odoo.times import Times
from producers.odoo.tracking import Tracked
from producers.odoo.values import parse_moment

_TOPIC = {entity: entity_topic(entity) for entity in ENTITIES}
WAITING = "waiting/"
"""Notes of reviews that wait: `waiting/<model>/<record id>/<review>` holds entity:id of the document it is about."""
DELETED = "deleted/"
"""Notes of records that were told as deleted: `deleted/<model>/<record id>` holds how often."""
OnSettle = Callable[[Memory], None]
"""Told before each settle: what it notes is remembered with it."""


class Publishing:
    """Publishes what is new of the documents it is given, and remembers it."""

    def __init__(
        self,
        publisher: Publisher,
        encode: Encode,
        state: StateStore,
        settings: CaptureSettings,
        reader: Reader,
        memory: Memory,
        times: Times,
        figures: Figures,
        log: structlog.stdlib.BoundLogger,
        *,
        atomic: bool,
        on_settle: OnSettle | None = None,
    ) -> None:
        self._publisher = publisher
        self._atomic = atomic
        self._on_settle = on_settle
        self._encode = encode
        self._state = state
        self._settings = settings
        self._reader = reader
        self._memory = memory
        self._times = times
        self._figures = figures
        self._log = log
        self._telling = telling(encode)
        self._contents = Contents(settings.contents)
        self._restored = Restored()
        self._last_settled = times.monotonic()
        self._last_heartbeat: dict[str, float] = {}
        self._revived: Named[int, str] = MappingProxyType({})
        self.epoch = 0
        """How often another database was accepted for this source."""

    def again(self, mapping: Mapping, batch: Batch, revived: Named[int, str] = MappingProxyType({})) -> set[int]:
        """Publish these documents whatever was published before, as a snapshot does; ids of those that are captured.

        `revived`: those that somebody holds for deleted, with the id of the event that told so. They are told as of
        now, under an id of their own: the source knows no stamp of their coming back, so whoever knows the id of their
        state, or goes by its stamp, would go on taking the deletion for the later word.
        """
        self._revived = revived
        try:
            return self.batch(mapping, batch, "snapshot", force=True)
        finally:
            self._revived = MappingProxyType({})

    def batch(self, mapping: Mapping, batch: Batch, mode: Mode, *, force: bool = False) -> set[int]:
        """Publish what is new of these documents; ids of those whose state was. `force`: all, new or not.

        Step by step over all of them, not document by document: the same few functions run in a row, which takes two
        thirds of the time. What is remembered here counts only once the batch was published whole and settled.
        """
        stamps, observed, model = self._memory.stamps[mapping.model], self._times.observed(), mapping.model
        telling = self._telling
        telling.begin(self._reader.source, model)
        lines = [batch.lines.get(row["id"], {}) for row in batch.rows]
        written = list(map(stamps_of, batch.rows, lines))
        fingerprints = list(map(fingerprint_of, written))
        found: list[Found] = []
        moved: list[tuple[int, bytes, datetime]] = []
        latest: dict[int, int] = {}
        for row, of_row, stamps_read, stamp in zip(batch.rows, lines, written, fingerprints, strict=True):
            try:
                at = _version_time(stamps_read)
                document = telling.find(mapping, row, of_row, at)
            except Malformed as error:
                self.malformed(model, error)
                continue
            if document is not None:
                found.append(document)
            record_id = row["id"]
            slot = stamps.get(record_id)
            if slot is not None:
                latest[record_id] = int.from_bytes(slot[STAMP_BYTES:], "big")
            if slot is None or slot[:STAMP_BYTES] != stamp:
                moved.append((record_id, stamp, at))
        digests = [events.digest(one.entity, one.content) for one in found]
        sightings = self._sightings(model, found, mode, observed)
        if not self._atomic and any(
            known is not None and known != digest and one.written_at.timestamp() <= latest.get(one.record_id, 0)
            for one, digest, (known, _) in zip(found, digests, sightings, strict=True)
        ):
            # Its id will count from what is remembered: repeated after a crash, it has to count from the same.
            self.settle(force=True)
        for record_id, stamp, at in moved:
            stamps.read(record_id, stamp, max(int(at.timestamp()), latest.get(record_id, 0)))
        told: list[Told] = []
        published: set[int] = set()
        put, seen = self._contents.put, self._memory.hashes[model]
        for one, digest, (known, sighting) in zip(found, digests, sightings, strict=True):
            # A document's own order: created, decided, its state, then what it tells of others.
            record_id = one.record_id
            if known is None or force:
                created = telling.created(one, sighting)
                if created is not None:
                    told.append(created)
            tracked = batch.changes.get(record_id)
            if tracked:
                self._decided(told, tracked, one, sighting, force)
            if known == digest and not force:
                # Read again inside the overlap, or saved as it was: only the stamp moved.
                self._figures.count("capture_unchanged", one.entity)
                continue
            # What it changed is for readers of changes: a snapshot tells states.
            before = self._contents.get(model, record_id) if sighting.op == "u" else None
            differing = changes(before, one.content) if before is not None else ()
            returned: int | str = self._revived.get(record_id) or (
                self._deletions(model, record_id) if known is None else 0
            )
            if returned:
                # It was told as deleted, whether this is remembered or not: the next deletion is another one.
                self._memory.put_note(
                    f"{DELETED}{model}/{record_id}", str(self._deletions(model, record_id) or 1).encode()
                )
                stamps.told(record_id, ceil(observed.timestamp()))
                told.append(telling.state(one, digest, sighting, differing, returned=returned))
            elif known is None:
                told.append(telling.state(one, digest, sighting, differing))
            else:
                as_of, turn = self._turn(model, one, latest.get(record_id, 0), digest, known == digest)
                told.append(telling.state(as_of, digest, sighting, differing, turn=turn))
            if one.document is not None and one.document.reviews:
                reviewed: list[Event] = []
                self._tell_reviews(reviewed, model, record_id, one.document, sighting)
                told += map(telling.event, reviewed)
            published.add(record_id)
            put(model, record_id, one.content)
            seen.put(record_id, digest)
        self._publish_told(told)
        return published

    def _turn(self, model: str, found: Found, latest: int, digest: bytes, repeated: bool) -> tuple[Found, int]:
        """A document as of when it is told, and how often it said something else as of then before.

        `latest`: the newest stamp it was seen with before. A stamp above it makes a new id; where none moved (what is
        joined, two writes within a second, an older copy of the database) content and stamp may be those of an earlier
        state, whose id readers know, so the turns are counted. `repeated`: the content is that of the last one told.
        """
        name = f"{TURNED}{model}/{found.record_id}"
        note, said = self._memory.note(name), digest.hex()[:16]
        as_of, count, last = (0, 0, "") if note is None else _read_turn(note)
        if last == said and (repeated or as_of == latest):
            return _as_of(found, as_of), count  # told before, and perhaps no more than this was remembered
        if repeated:
            return found, 0
        if found.written_at.timestamp() > latest:
            self._memory.put_note(name, None)
            return found, 0
        turn = count + 1 if as_of == latest else 1
        self._memory.put_note(name, f"{latest}:{turn}:{said}".encode())
        return _as_of(found, latest), turn

    def _sightings(
        self, model: str, found: Sequence[Found], mode: Mode, observed: datetime
    ) -> list[tuple[bytes | None, Sighting]]:
        """The last published content hash of each document, and how it is seen now."""
        seen, progress, timeline = self._memory.hashes[model], self._memory.progress(model), self._settings.timeline
        made: dict[tuple[Op, Mode], Sighting] = {}
        sightings: list[tuple[bytes | None, Sighting]] = []
        for one in found:
            known = seen.get(one.record_id)
            op: Op = "r" if mode == "snapshot" else "c" if known is None else "u"
            late = mode == "window" and progress is not None and windows.is_late(one.written_at, progress)
            how: tuple[Op, Mode] = (op, "late" if late else mode)
            sighting = made.get(how)
            if sighting is None:
                sighting = made[how] = Sighting(*how, timeline, observed, self.epoch)
            sightings.append((known, sighting))
        return sightings

    def _decided(
        self, told: list[Told], tracked: Iterable[Tracked], document: Found, sighting: Sighting, force: bool
    ) -> None:
        """Add transitions that were not told before."""
        log, decided = self._memory.log, self._telling.decided
        for change in tracked:
            if force or change.value_id not in log:
                told.append(decided(document, change, sighting))
                log.add(change.value_id)
                if change.unknown_label:
                    self._figures.count("capture_unknown_labels")

    def _publish_told(self, told: Sequence[Told]) -> None:
        publish = self._publisher.publish
        for entity, key, value, _, _ in told:
            publish(_TOPIC[entity], key, value)
        self._figures.told(told)

    def _tell_reviews(
        self, told: list[Event], model: str, record_id: int, document: Document, sighting: Sighting
    ) -> None:
        """Add what a record tells of the document that it decides about. What waits is noted: it may be deleted."""
        memory, prefix, present = self._memory, f"{WAITING}{model}/{record_id}/", set()
        for review in document.reviews:
            about: tuple[str, str] | None = (document.entity, str(record_id))
            if review.about is not None:
                about = self._about(*review.about)
            if about is None or about[0] not in WATCHED_ENTITIES:
                continue  # of a document that nobody watches, or that is gone
            note = prefix + review.name
            present.add(note)
            company = document.company_id if review.about is None else None
            asked = memory.note(note) is not None
            told += reviews.told(self._reader.source, model, *about, company, review, sighting, asked_before=asked)
            memory.put_note(note, ":".join(about).encode() if review.waits else None)
        self._withdraw(told, model, prefix, sighting, present)

    def _withdraw(
        self, told: list[Event], model: str, prefix: str, sighting: Sighting, present: Collection[str] = ()
    ) -> None:
        """Add that noted reviews which are not `present` are no longer asked for."""
        for note, about in self._memory.notes(prefix).items():
            if note not in present:
                entity, _, about_id = about.decode().partition(":")
                told.append(reviews.gone(self._reader.source, model, entity, about_id, note[len(prefix) :], sighting))
                self._memory.put_note(note, None)

    def _about(self, model: str, record_id: int) -> tuple[str, str] | None:
        """Entity and id of a document; asked of the source where it was not published yet. None: there is none."""
        mapping = self._reader.mappings.by_model.get(model)
        if mapping is None:
            return None
        if len(mapping.entities) == 1:
            return mapping.entities[0], str(record_id)
        digest = self._memory.hashes[model].get(record_id) if model in self._memory.hashes else None
        if digest is not None:
            return events.entity_of(digest), str(record_id)
        with self._reader.turn:  # a page may be on its way
            batches = list(self._reader.by_ids(mapping, [record_id]))
        for batch in batches:
            for row in batch.rows:
                document = mapping.map(row, batch.lines.get(record_id, {}), self._reader.source)
                if document is not None:
                    return document.entity, str(record_id)
        return None

    @property
    def room(self) -> bool:
        """Whether more contents can be held without others leaving."""
        return self._contents.room

    def holds(self, model: str, record_id: int) -> bool:
        """Whether it is known what a document said last."""
        return self._contents.get(model, record_id) is not None

    def hold(self, mapping: Mapping, batch: Batch) -> None:
        """Remember what these documents said last: those that read as what was published last, and no others."""
        seen, telling = self._memory.hashes[mapping.model], self._telling
        telling.begin(self._reader.source, mapping.model)
        for row in batch.rows:
            lines = batch.lines.get(row["id"], {})
            try:
                document = telling.find(mapping, row, lines, _version_time(stamps_of(row, lines)))
            except Malformed:
                continue  # the reading that publishes says so
            if document is not None and seen.get(row["id"]) == events.digest(document.entity, document.content):
                self._contents.put(mapping.model, row["id"], document.content)

    def gone(
        self,
        model: str,
        record_ids: Iterable[int],
        mode: Mode = "deleted",
        held: Collection[tuple[int, bytes]] = (),
    ) -> int:
        """Publish the deletion of records that the source no longer has; number of events published.

        Ids that were never published, or were deleted already, are left out, but for those that somebody holds: (id,
        content hash of what is held, see `events.held_digest`). Ends with a settle.
        """
        memory, before = self._memory, self._figures.published
        hashes = memory.hashes[model]
        # 1. The state that ends is remembered: found again after a crash, its deletion has the same id.
        self.settle(force=True)
        # 2. Publish the deletions; 3. settle them.
        sighting = Sighting("d", mode, self._settings.timeline, self._times.observed(), self.epoch)
        known = [(one, digest) for one in dict.fromkeys(record_ids) if (digest := hashes.get(one)) is not None]
        named = {(one, events.entity_of(digest)) for one, digest in known}
        known += [(one, digest) for one, digest in held if (one, events.entity_of(digest)) not in named]
        for record_id, digest in known:
            content = self._contents.get(model, record_id)
            company, body = (None, {}) if content is None else self._restored.body(events.entity_of(digest), content)
            source = self._reader.source
            # What only somebody else holds is told once more under one id, however often that is asked for.
            times, own = self._deletions(model, record_id), hashes.get(record_id) is not None
            told = [
                events.deleted_event(source, model, record_id, digest, sighting, company, body, times if own else 0)
            ]
            self._withdraw(told, model, f"{WAITING}{model}/{record_id}/", sighting)
            self._publish(told)
            memory.put_note(f"{DELETED}{model}/{record_id}", str(times + own or 1).encode())
            hashes.forget(record_id)
            memory.stamps[model].forget(record_id)
            self._contents.forget(model, record_id)
        self.settle(force=True)
        return self._figures.published - before

    def _deletions(self, model: str, record_id: int) -> int:
        """How often a record was told as deleted: a right that was away for a while, or a row put back, undoes it."""
        return int(self._memory.note(f"{DELETED}{model}/{record_id}") or 0)

    def heartbeats(self, complete: Iterable[Mapping], at: datetime) -> None:
        """Tell every partition of each wholly read entity that nothing up to `at` is missing but late commits."""
        moved = self._times.monotonic()
        for mapping in complete:
            for entity in mapping.entities:
                last = self._last_heartbeat.get(entity)
                if (
                    self._settings.timeline == "wall"
                    and last is not None
                    and moved - last < self._settings.heartbeat_interval
                ):
                    continue
                self._last_heartbeat[entity] = moved
                content = events.heartbeat(self._reader.source, at, self._settings.timeline)
                value = self._encode(HEARTBEAT, content)
                # No stage reads what is only kept: one partition is enough to say how far it was seen.
                for partition in range(self._settings.partitions if entity in WATCHED_ENTITIES else 1):
                    self._publisher.publish(entity_topic(entity), self._settings.source, value, partition=partition)
        self._publisher.flush()

    def settle(self, *, force: bool) -> None:
        """Make what was published safe, then remember it; at most once a settle interval unless forced.

        With an `atomic` publisher both are one: events and state become visible together, or neither does.
        """
        if not force and self._times.monotonic() - self._last_settled < self._settings.settle_interval:
            return
        if self._on_settle is not None:
            self._on_settle(self._memory)
        if not self._atomic:
            # 1. Every event so far is delivered, or this raises and nothing is remembered.
            self._publisher.flush()
        self._figures.tell()
        # 2. What was published, then the positions that rest on it, in one partition in this order.
        if self._memory.save(self._state) or self._atomic:
            self._publisher.flush()
        self._last_settled = self._times.monotonic()

    def malformed(self, model: str, error: Exception) -> None:
        """A row is left out."""
        self._figures.error("malformed")
        self._log.error("row left out", model=model, error=str(error))

    def _publish(self, told: Sequence[Event]) -> None:
        self._publish_told([self._telling.event(one) for one in told])


def _read_turn(note: bytes) -> tuple[int, int, str]:
    as_of, count, said = note.decode().split(":")
    return int(as_of), int(count), said


def _as_of(found: Found, seconds: int) -> Found:
    return found._replace(written_at=datetime.fromtimestamp(seconds, UTC))


def _version_time(written: Stamps) -> datetime:
    """When a document was last written: the newest stamp of its row, of what it is joined with, and of its lines.

    Odoo's stamps sort as text, so one of them is read. Raises Malformed.
    """
    own, of_lines = written
    known = [one[-1] for one in (*own, *of_lines) if isinstance(one[-1], str)]
    if not known:
        raise Malformed("write_date is empty")
    return parse_moment(max(known), "write_date")
