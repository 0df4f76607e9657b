"""A whole import: read and map every file, put the events into time order, publish them, say that the log ends.

1. Everything is read, mapped and encoded before the first record is published: a log that is wrong anywhere changes
   nothing.
2. Events are published in time order across all cases and files (external sort, equal times keep the order in the
   file). A consumer's deadlines then fire as they would have fired live, and old history never looks late.
3. A final heartbeat on every partition of the topics used, after all events are acknowledged.
4. Ids are made of what the log says, so importing again publishes the same ids; no position is kept.
"""

import gzip
import json
import struct
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, DecimalException
from pathlib import Path
from typing import IO, Literal, cast
from zoneinfo import ZoneInfo

from msgspec import Struct

from finwatch.domain.identity import deterministic_id
from finwatch.runtime.publisher import Publisher
from finwatch.runtime.topics import entity_topic
from producers.eventlog.csv_log import read_csv
from producers.eventlog.errors import LogError
from producers.eventlog.events import LogEvent
from producers.eventlog.mapping import Mapping, Meaning
from producers.eventlog.sorting import ExternalSort
from producers.eventlog.xes import read_xes
from schemas.codec import EncodeError, Encoder
from schemas.registry import Registry

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SIX_PLACES = Decimal("0.000001")
_LARGEST = Decimal(10) ** 22
_EVERY = 2000
_MAX_COUNTED = 1_000_000
_HEAD = struct.Struct("<HH")  # place of the topic in the list, bytes of the key
MAX_TEXT = 4096
"""Characters of one value that are taken over; a longer one is no identity, activity or amount."""


class Stopped(Exception):
    """The import was asked to stop; what was published so far stays, importing again completes it."""


@dataclass(frozen=True)
class Progress:
    """Where an import is. Bytes are those of the files as they lie on disk (compressed)."""

    phase: Literal["read", "publish"]
    bytes_read: int
    bytes_total: int
    events: int
    events_total: int | None


@dataclass
class ImportSummary:
    """What an import did. `activities` counts finwatch's codes, `skipped` the log's own words."""

    files: int = 0
    events: int = 0
    documents: int | None = 0
    """Distinct document keys; None for a log with more than a million of them."""
    heartbeats: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    topics: Counter[str] = field(default_factory=Counter)
    activities: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)


class TransitionRecord(Struct, gc=False):
    """The columns of finwatch.Transition that a log can fill; the others keep their defaults."""

    event_id: str
    document_key: str
    source: str
    entity: str
    record_id: str
    company_id: str | None
    op: str
    mode: str
    timeline: str
    occurred_at: int
    observed_at: int
    actor: str | None
    correlation_id: str
    source_model: str | None
    snapshot: bool
    activity: str
    label: str
    step: str | None
    role: str | None
    decision: str | None
    responsible: str | None
    amount: Decimal | None
    currency: str | None


class HeartbeatRecord(Struct, gc=False):
    """finwatch.Heartbeat."""

    source: str
    at: int
    timeline: str
    final: bool


class _Mapper:
    """Log events to records."""

    def __init__(self, mapping: Mapping, name: str, csv: bool) -> None:
        self._mapping = mapping
        self._columns = mapping.columns
        self._name = name
        self._zone = ZoneInfo(mapping.time_zone) if mapping.time_zone else None
        self._format = mapping.csv.timestamp_format if csv else None
        self._comma = csv and mapping.csv.decimal_comma
        self._anonymous = frozenset(mapping.anonymous_actors)
        self._prefix = {entity: f"{mapping.source}:{entity}:" for entity in _entities(mapping)}
        self._amounts: dict[str, Decimal] = {}

    def record(self, event: LogEvent, skipped: Counter[str]) -> TransitionRecord | None:
        """The record of an event, None for one that the mapping skips. Raises LogError."""
        mapping, columns = self._mapping, self._columns
        label = self._text(event, columns.activity)
        if label is None:
            raise self._error(event, f"no {columns.activity} (columns.activity)")
        meaning = mapping.activities.get(label) or self._other(event, label)
        if meaning is None:
            skipped[label] += 1
            return None
        record_id = self._text(event, columns.record_id)
        if record_id is None:
            raise self._error(event, f"no {columns.record_id} (columns.record_id)")
        entity = meaning.entity or mapping.entity
        at = self._instant(event)
        actor = self._text(event, columns.actor)
        if actor in self._anonymous:
            actor = None
        amount = self._amount(event)
        currency = self._text(event, columns.currency) or mapping.currency
        key = self._prefix[entity] + record_id
        role = meaning.role or _code(self._text(event, columns.role))
        responsible = self._text(event, columns.responsible)
        company = self._text(event, columns.company_id) or mapping.company_id
        own = self._text(event, columns.event_id)
        return TransitionRecord(
            # Without an id of its own an event is known by its place in the trace.
            event_id=deterministic_id(
                mapping.source, entity, record_id,
                *(("id", own) if own is not None else ("position", event.position)),
                label, at, actor, role, responsible, amount, currency, company,
            ),
            document_key=key,
            source=mapping.source,
            entity=entity,
            record_id=record_id,
            company_id=company,
            op="u",
            mode="log",
            timeline="log",
            occurred_at=at,
            observed_at=at,
            actor=actor,
            correlation_id=key,
            source_model="event_log",
            snapshot=False,
            activity=meaning.activity,
            label=label,
            step=meaning.step,
            role=role,
            decision=meaning.decision,
            responsible=responsible,
            amount=amount,
            currency=None if amount is None else currency,
        )  # fmt: skip

    def _other(self, event: LogEvent, label: str) -> Meaning | None:
        if self._mapping.other_activities == "refuse":
            raise LogError(
                self._name,
                event.line,
                f"the mapping does not know the activity {json.dumps(label[:100], ensure_ascii=False)}",
                "add it to `activities`, or set `other_activities: skip` (or `changed`)",
            )
        return Meaning(activity="changed") if self._mapping.other_activities == "changed" else None

    def _text(self, event: LogEvent, column: str | None) -> str | None:
        if column is None:
            return None
        value = event.get(column)
        if value is not None and len(value) > MAX_TEXT:
            raise self._error(event, f"{column} is longer than {MAX_TEXT} characters")
        return value

    def _instant(self, event: LogEvent) -> int:
        column = self._columns.timestamp
        text = self._text(event, column)
        if text is None:
            raise self._error(event, f"no {column} (columns.timestamp)")
        try:
            moment = datetime.strptime(text, self._format) if self._format else datetime.fromisoformat(text)  # noqa: DTZ007
            if moment.tzinfo is None:
                if self._zone is None:
                    raise LogError(
                        self._name, event.line, f"{column} has no time zone", "set `time_zone` in the mapping"
                    )
                moment = moment.replace(tzinfo=self._zone)
            return (moment - _EPOCH) // _MICROSECOND
        except (ValueError, OverflowError):
            wanted = f"the format {self._format}" if self._format else "ISO 8601"
            raise self._error(event, f"{column} is no time in {wanted} (csv.timestamp_format for CSV)") from None

    def _amount(self, event: LogEvent) -> Decimal | None:
        column = self._columns.amount
        text = self._text(event, column)
        if text is None:
            return None
        found = self._amounts.get(text)
        if found is None:
            plain = text.strip()
            if self._comma:
                plain = plain.replace(".", "").replace(",", ".")
            try:
                found = Decimal(plain)
                if not found.is_finite() or abs(found) >= _LARGEST:
                    raise self._error(event, f"{column} is no amount that finwatch can hold")
                # Money has six places everywhere; logs may carry the noise of floating point behind them.
                found = found.quantize(_SIX_PLACES, ROUND_HALF_EVEN)
            except DecimalException:
                raise self._error(event, f"{column} is no number (csv.decimal_comma for CSV)") from None
            if len(self._amounts) < 10_000:
                self._amounts[text] = found
        return found

    def _error(self, event: LogEvent, what: str) -> LogError:
        return LogError(self._name, event.line, what, "correct the log or the mapping")


def _entities(mapping: Mapping) -> list[str]:
    return sorted({mapping.entity, *(meaning.entity for meaning in mapping.activities.values() if meaning.entity)})


def _code(text: str | None) -> str | None:
    """A role as the log writes it, in lower snake case."""
    if text is None:
        return None
    code = "_".join("".join(c if c.isalnum() else " " for c in text.lower()).split())
    return code[:64] or None


class _Reading:
    """Bytes read so far, over all files."""

    def __init__(self, paths: Sequence[Path], told: Callable[[Progress], None]) -> None:
        self.total = 0
        for path in paths:
            try:
                self.total += path.stat().st_size
            except OSError as error:
                raise LogError(str(path), None, error.strerror or "cannot be read") from None
        self.done = 0
        self.events = 0
        self._told = told
        self._file: IO[bytes] | None = None

    @contextmanager
    def open(self, path: Path) -> Iterator[IO[bytes]]:
        """The file's content, unpacked when it is gzip."""
        try:
            with path.open("rb") as file:
                self._file = file
                packed = file.read(2) == b"\x1f\x8b"
                file.seek(0)
                content: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=file) if packed else file
                yield cast(IO[bytes], content)
                self._file = None
                self.done += path.stat().st_size
        except EOFError:
            raise LogError(str(path), None, "the compressed file ends early", "copy or download it again") from None
        except (gzip.BadGzipFile, zlib.error):
            raise LogError(str(path), None, "the compressed file is damaged", "copy or download it again") from None
        except OSError as error:
            raise LogError(str(path), None, error.strerror or "cannot be read") from None

    def tell(self) -> None:
        """Report the progress."""
        at = self.done + (self._file.tell() if self._file is not None else 0)
        self._told(Progress("read", min(at, self.total), self.total, self.events, None))


def _events(stream: IO[bytes], path: Path, mapping: Mapping, csv: bool, told: Callable[[], None]) -> Iterable[LogEvent]:
    if csv:
        return read_csv(stream, str(path), mapping.csv, mapping.columns.used(), told)
    return read_xes(stream, str(path), told)


def _is_csv(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    kind = suffixes[-1] if suffixes else ""
    if kind in (".csv", ".tsv", ".txt"):
        return True
    if kind in (".xes", ".xml"):
        return False
    raise LogError(str(path), None, "neither .xes nor .csv", "name it .xes, .xes.gz, .csv or .csv.gz")


def import_log(
    paths: Sequence[Path],
    mapping: Mapping,
    publisher: Publisher,
    *,
    registry: Registry,
    partitions: Callable[[str], int],
    progress: Callable[[Progress], None] = lambda progress: None,
    stop: threading.Event | None = None,
    temporary: Path | None = None,
    memory: int = 64 * 1024 * 1024,
) -> ImportSummary:
    """Publish the events of the logs in time order, then a final heartbeat on every partition used; see the module.

    `partitions(topic)`: how many the topic has. `temporary`: where sorted runs are put beyond `memory` bytes. Raises
    LogError before anything is published; PublishFailed, RegistryError, RegistryUnavailable; Stopped once `stop` is
    set.
    """
    stop = stop or threading.Event()
    encoder = Encoder(registry)
    encode = encoder.encoder(TransitionRecord, "finwatch.Transition")
    beat = encoder.encoder(HeartbeatRecord, "finwatch.Heartbeat")
    summary = ImportSummary(files=len(paths))
    topics = {entity: entity_topic(entity) for entity in _entities(mapping)}
    names = list(topics.values())
    places = {entity: place for place, entity in enumerate(topics)}
    documents: set[bytes] | None = set()
    kinds = [_is_csv(path) for path in paths]
    reading = _Reading(paths, progress)

    def told() -> None:
        reading.tell()
        if stop.is_set():
            raise Stopped("stopped while reading; nothing was published")

    with ExternalSort(memory, temporary) as ordered:
        for path, csv in zip(paths, kinds, strict=True):
            mapper = _Mapper(mapping, str(path), csv)
            with reading.open(path) as stream:
                for event in _events(stream, path, mapping, csv, told):
                    record = mapper.record(event, summary.skipped)
                    if record is None:
                        continue
                    try:
                        value = encode(record)
                    except EncodeError as error:
                        raise LogError(str(path), event.line, str(error)) from None
                    reading.events += 1
                    summary.activities[record.activity] += 1
                    key = record.document_key.encode()
                    head = _HEAD.pack(places[record.entity], len(key))
                    ordered.add(record.occurred_at, b"".join((head, key, value)))
                    if documents is not None:
                        documents.add(key)
                        if len(documents) > _MAX_COUNTED:
                            documents = None
        reading.tell()
        summary.documents = None if documents is None else len(documents)
        last = _publish(ordered, names, publisher, reading, progress, stop, summary)
    if last is not None:
        # All events are acknowledged: only now may a partition hear that nothing older will follow.
        for topic in summary.topics:
            for partition in range(partitions(topic)):
                value = beat(HeartbeatRecord(mapping.source, last, "log", True))
                publisher.publish(topic, mapping.source, value, partition)
                summary.heartbeats += 1
        publisher.flush()
    return summary


def _publish(
    ordered: ExternalSort,
    names: list[str],
    publisher: Publisher,
    reading: _Reading,
    progress: Callable[[Progress], None],
    stop: threading.Event,
    summary: ImportSummary,
) -> int | None:
    """Publish in time order; the time of the last event."""
    at: int | None = None
    for at, payload in ordered:
        place, size = _HEAD.unpack_from(payload)
        topic = names[place]
        start = _HEAD.size + size
        publisher.publish(topic, payload[_HEAD.size : start].decode(), payload[start:])
        summary.topics[topic] += 1
        if summary.events == 0:
            summary.first_at = _EPOCH + timedelta(microseconds=at)
        summary.events += 1
        if summary.events % _EVERY == 0:
            progress(Progress("publish", reading.total, reading.total, summary.events, ordered.count))
            if stop.is_set():
                publisher.flush()
                raise Stopped(f"stopped after {summary.events} of {ordered.count} events; import again to complete it")
    publisher.flush()
    if at is not None:
        summary.last_at = _EPOCH + timedelta(microseconds=at)
    progress(Progress("publish", reading.total, reading.total, summary.events, ordered.count))
    return at
