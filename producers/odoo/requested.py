"""Snapshots asked for while streaming: a model, a domain of it, or given records, read again a page at a time.

A page is read between two polls by the thread that polls, so it is never older than what was published before it, and
what a window publishes after it is newer: no watermarks are needed. Requests and how far each came are kept with the
positions; a crash repeats a page at most, under the ids it had.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec
import structlog

from producers.odoo.errors import OdooError
from producers.odoo.events import held_digest
from producers.odoo.figures import Figures
from producers.odoo.mapping.spec import Mapping
from producers.odoo.memory import Memory
from producers.odoo.publishing import Publishing
from producers.odoo.reader import NO_SUCH, Reader
from producers.odoo.stopping import Models
from producers.odoo.streaming import LOG
from producers.odoo.times import Times
from producers.signals import SnapshotRequest

_NOTE = "request/"
_POSITION = "signals"


class Course(msgspec.Struct, frozen=True):
    """A request and how far it came: ids up to `after` of `last` were read, `rows` of them published."""

    request: SnapshotRequest
    taken_at: datetime
    after: int = 0
    last: int = 0
    rows: int = 0


class Requested:
    """The requests of one source, carried out in the order in which they came."""

    def __init__(
        self,
        reader: Reader,
        memory: Memory,
        publishing: Publishing,
        models: Models,
        times: Times,
        figures: Figures,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._reader = reader
        self._memory = memory
        self._publishing = publishing
        self._models = models
        self._times = times
        self._figures = figures
        self._log = log
        self._courses: dict[str, Course] = {}
        for name, value in memory.notes(_NOTE).items():
            self._courses[name] = msgspec.json.decode(value, type=Course)
        self._courses = dict(sorted(self._courses.items(), key=lambda item: item[1].taken_at))

    @property
    def position(self) -> int | None:
        """Offset of the next signal; None before the first life that knew of signals."""
        note = self._memory.note(_POSITION)
        return None if note is None else int(note)

    @property
    def waiting(self) -> int:
        """Requests that are not done."""
        return len(self._courses)

    def take(self, requests: Iterable[SnapshotRequest], refused: Iterable[str], position: int | None) -> None:
        """Requests that came, and the position behind them (None: they came another way).

        Kept by one settle, so that none is lost or taken twice.
        """
        for reason in refused:
            self._figures.count("capture_snapshot_requests", "refused")
            self._log.error("a signal cannot be read", reason=reason)
        for request in requests:
            name = f"{_NOTE}{request.id}"
            if name in self._courses:
                continue
            if request.model not in {one.model for one in self._models.active()}:
                self._figures.count("capture_snapshot_requests", "refused")
                self._log.error("a snapshot is asked for of a model that is not captured", model=request.model)
                continue
            self._keep(name, Course(request, self._times.observed()))
            self._log.info("a snapshot is asked for", model=request.model, request=request.id)
        if position is not None:
            self._memory.put_note(_POSITION, str(position).encode())
        self._publishing.settle(force=True)

    def work(self, *, anyway: bool = False) -> bool:
        """One page of the oldest request; False when there is none.

        A model's first snapshot is waited for; `anyway`: not by requests for given records.
        """
        for name, course in self._courses.items():
            mapping = next((one for one in self._models.active() if one.model == course.request.model), None)
            progress = self._memory.progress(course.request.model)
            if mapping is None:
                continue  # stopped for now
            if (progress is None or not progress.snapshot_done) and not (anyway and course.request.ids is not None):
                continue  # its first snapshot is not whole
            try:
                self._page(name, course, mapping)
            except NO_SUCH as error:
                # What was asked is at fault (a field that is not there, say), not the model: it goes on.
                self._drop(name, course, error)
            self._publishing.settle(force=True)
            return True
        return False

    def _page(self, name: str, course: Course, mapping: Mapping) -> None:
        request = course.request
        domain = list(request.domain) if request.ids is None else [["id", "in", request.ids]]
        if not course.last:
            self._reader.check_searchable(mapping.model, request.domain)
            newest = self._reader.newest_id(mapping.model)
            last = newest if request.ids is None else max(request.ids, default=0)
            course = msgspec.structs.replace(course, last=last)
        batch = self._reader.chunk(mapping, domain, course.after, with_log=LOG not in self._models.stopped)
        if batch.rows:
            revived = {one.id: one.event_id or "deleted" for one in request.held if one.deleted}
            again = self._publishing.again(mapping, batch, revived)
            if request.ids is not None:
                self._figures.count("capture_recaptured", "state", by=len(again))
            course = msgspec.structs.replace(course, after=batch.rows[-1]["id"], rows=course.rows + len(batch.rows))
            self._keep(name, course)
            self._tell(course)
            return
        if request.ids is not None:
            missing = set(request.ids) - self._reader.existing(mapping.model, request.ids)
            held = [
                (one.id, held_digest(one.entity, one.event_id))
                for one in request.held
                if one.id in missing and not one.deleted and one.entity in mapping.entities
            ]
            deleted = self._publishing.gone(mapping.model, sorted(missing), held=held)
            self._figures.count("capture_recaptured", "deletion", by=deleted)
        self._end(name)
        self._figures.count("capture_snapshot_requests", "done")
        self._tell(msgspec.structs.replace(course, after=course.last))
        self._log.info("a requested snapshot is read", model=mapping.model, request=request.id, rows=course.rows)

    def _drop(self, name: str, course: Course, error: OdooError) -> None:
        self._end(name)
        self._figures.count("capture_snapshot_requests", "refused")
        self._log.error(
            "a snapshot cannot be read as it was asked for",
            model=course.request.model,
            request=course.request.id,
            kind=error.kind,
            error=str(error),
        )

    def _keep(self, name: str, course: Course) -> None:
        self._courses[name] = course
        self._memory.put_note(name, msgspec.json.encode(course))
        self._figures.gauge("capture_requests_waiting", len(self._courses))

    def _end(self, name: str) -> None:
        del self._courses[name]
        self._memory.put_note(name, None)
        self._figures.gauge("capture_requests_waiting", len(self._courses))

    def _tell(self, course: Course) -> None:
        model = course.request.model
        running = course.after < course.last
        self._figures.gauge("capture_snapshot_running", 1 if running else 0, model)
        self._figures.gauge("capture_snapshot_remaining", max(0, course.last - course.after), model)
        seconds = (self._times.observed() - course.taken_at).total_seconds()
        self._figures.gauge("capture_snapshot_seconds", max(0.0, seconds), model)
