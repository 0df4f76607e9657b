"""Reading whole documents: rows by pages of id, with their lines, what other records hold of them, and their log.

Every read is by explicit fields, by keyset on id and with a limit: the server sets none of its own.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

import structlog

from producers.odoo import tracking
from producers.odoo.errors import (
    AccessRefused,
    Malformed,
    OdooError,
    Refused,
    Unavailable,
    UnknownField,
    UnknownModel,
)
from producers.odoo.mapping import SHIPPED
from producers.odoo.mapping.registry import Mappings
from producers.odoo.mapping.spec import Child, Fields, Joined, Mapping, Source
from producers.odoo.politeness import PoliteTransport
from producers.odoo.tracking import Labels, Tracked, TrackedField
from producers.odoo.transport import Transport
from producers.odoo.values import Domain, Row, odoo_moment, ref, ref_id, refs

CHILD_PAGE = 5000
ALWAYS_THERE = ("id", "display_name")
NO_SUCH = (AccessRefused, UnknownModel, UnknownField, Refused)


@dataclass
class Batch:
    """Documents as read: rows in order of id, children by model and parent id, changes by row id in order."""

    rows: list[Row]
    lines: dict[int, dict[str, list[Row]]] = field(default_factory=dict)
    changes: dict[int, list[Tracked]] = field(default_factory=dict)


class Page(NamedTuple):
    """A page of documents with all that was read for it: `Reader.batch` puts it together and asks nothing again."""

    mapping: Mapping
    rows: list[Row]
    children: list[tuple[Child, list[Row], list[tuple[Joined, dict[int, Row]]]]]
    joined: list[tuple[Joined, dict[int, Row]]]
    log: tuple[dict[int, Row], list[Row]] | None
    """Messages by id, and the values under them."""


class Reader:
    """Reads one database. Not for several threads at a time, as its transport is not: see `turn`.

    `scanned(model, rows)` is told of every row read; `malformed(model, error)` of rows that are left out.
    """

    def __init__(
        self,
        transport: Transport,
        source: Source,
        page_size: int,
        languages: Sequence[str],
        scanned: Callable[[str, int], None],
        malformed: Callable[[str, Exception], None],
        log: structlog.stdlib.BoundLogger,
        mappings: Mappings = SHIPPED,
    ) -> None:
        self.source = source
        self.mappings = mappings
        self._transport = transport
        self._page_size = page_size
        self._languages = tuple(languages)
        self._scanned = scanned
        self._malformed = malformed
        self._log = log
        self._available: dict[str, dict[str, str]] = {}
        self._labels = Labels()
        self._fields: dict[int, TrackedField] = {}
        self._picking_types: frozenset[str] | None = None
        self.log_failure: OdooError | None = None
        self.turn = threading.RLock()
        """Held by whoever reads while a page may be read ahead: the page, or what is read between two pages."""

    # -- what the server has ------------------------------------------------------------------------------------

    def prepare(self, mapping: Mapping) -> tuple[Mapping, list[str]]:
        """Learn which fields this server has for a mapping. Raises UnknownModel, AccessRefused.

        Returns the mapping as it is read from now on, and what of its configuration this server cannot serve.
        """
        self._wanted(mapping.model, mapping.fields)
        for child in mapping.children:
            try:
                self._wanted(child.model, child.fields)
                if child.optional:
                    self._transport.search_read(child.model, child.domain, [child.parent], limit=1)
            except (AccessRefused, UnknownModel):
                if not child.optional:
                    raise
                self._available[child.model] = {}
        for joined in mapping.joined:
            if not joined.optional:
                self._wanted(joined.model, joined.fields)
        beside = [one for one in mapping.joined if one.optional]
        for joined in (*beside, *(one for child in mapping.children for one in child.joined)):
            try:
                self._wanted(joined.model, joined.fields)
                self._transport.search_read(joined.model, [], ["id"], limit=1)
            except (AccessRefused, UnknownModel):
                self._available[joined.model] = {}
        if mapping.model == "stock.picking":
            self._read_picking_types()
        if mapping.configured is None:
            return mapping, []
        fitted, problems = mapping.configured.fit(self._available)
        self.mappings = self.mappings.having(fitted)
        return fitted, problems

    def forget(self, mapping: Mapping) -> None:
        """Learn anew, with the next `prepare`, which fields this server has for a mapping."""
        parts = [mapping.model, *(child.model for child in mapping.children), *(one.model for one in mapping.joined)]
        parts += [one.model for child in mapping.children for one in child.joined]
        for model in parts:
            self._available.pop(model, None)

    def probe_log(self) -> None:
        """Try whether the tracking log and what decodes it can be read. Raises AccessRefused, UnknownModel."""
        for model, fields in (
            (tracking.VALUE_MODEL, tracking.VALUE_FIELDS),
            (tracking.MESSAGE_MODEL, tracking.MESSAGE_FIELDS),
            (tracking.FIELD_MODEL, tracking.FIELD_FIELDS),
        ):
            self._transport.search_read(model, [], fields, limit=1)

    def _wanted(self, model: str, fields: Fields) -> list[str]:
        """The fields to read that the server has; those it lacks (an app that is not installed) stay None."""
        wanted = fields.of(self.source.version)
        if not wanted:
            return []
        if model not in self._available:
            told = self._transport.fields_get(model, ("type",))
            self._available[model] = {name: str(about.get("type")) for name, about in told.items()}
        available = self._available[model]
        return [name for name in dict.fromkeys(wanted) if name in available or name in ALWAYS_THERE]

    def languages(self) -> tuple[str, ...]:
        """Codes of the installed languages, English first: those given, else the server's."""
        if not self._languages:
            try:
                rows = self._transport.search_read("res.lang", [("active", "=", True)], ["code"], limit=200)
                codes = [str(row["code"]) for row in rows if row.get("code")]
            except NO_SUCH as error:
                self._log.warning("languages not readable, English labels only", kind=error.kind)
                codes = []
            self._languages = tuple(dict.fromkeys(["en_US", *codes]))
        return self._languages

    def _read_picking_types(self) -> None:
        try:
            rows = self._transport.search_read(
                "stock.picking.type",
                [("code", "in", ["incoming", "outgoing"])],
                ["code"],
                limit=CHILD_PAGE,
                context={"active_test": False},
            )
        except NO_SUCH as error:
            # Without the types a picking counts as what an order line asked for one of its moves.
            self._log.warning("picking types not readable", kind=error.kind)
            self.source = replace(self.source, incoming_types=None, outgoing_types=None)
            return
        incoming, outgoing = (
            frozenset(str(row["id"]) for row in rows if row.get("code") == code) for code in ("incoming", "outgoing")
        )
        self.source = replace(self.source, incoming_types=incoming, outgoing_types=outgoing)

    # -- rows ---------------------------------------------------------------------------------------------------

    def pages(
        self,
        model: str,
        domain: Domain,
        fields: Sequence[str],
        *,
        after: int = 0,
        limit: int | None = None,
        most: int | None = None,
        context: Any = None,
    ) -> Iterator[list[Row]]:
        """All rows that match, in pages in order of id, from the first id above `after`.

        Pages are of `limit` rows when it is given; else of as many as the server gives in good time, `most` (default:
        the size of a page) at most.
        """
        last = after
        while True:
            size = limit or self._size(model, most or self._page_size)
            try:
                rows = self._transport.search_read(
                    model, [*domain, ("id", ">", last)], fields, limit=size, order="id", context=context or None
                )
            except Unavailable:
                if limit is None and self._size(model, most or self._page_size) < size:
                    continue  # too much for the server in good time: fewer rows may not be
                raise
            self._scanned(model, len(rows))
            if rows:
                if rows[0]["id"] <= last or rows[-1]["id"] < rows[0]["id"]:
                    raise Malformed(f"search_read on {model} does not keep the order of id")
                last = rows[-1]["id"]
                yield rows
            if len(rows) < size:
                return

    def _size(self, model: str, most: int) -> int:
        return self._transport.page_size(model, most) if isinstance(self._transport, PoliteTransport) else most

    def snapshot(self, mapping: Mapping, after: int, with_log: bool) -> Iterator[Batch]:
        """All documents of a model above an id, whole, with their log when asked."""
        return map(self.batch, self.snapshot_pages(mapping, after, with_log))

    def snapshot_pages(self, mapping: Mapping, after: int, with_log: bool) -> Iterator[Page]:
        """As `snapshot`, each to be put together by `batch`: what asks the server then has nothing else to do."""
        for rows in self._document_pages(mapping, (), after):
            yield self._read(mapping, rows, with_log)

    def window(self, mapping: Mapping, since: datetime, *, after: int = 0) -> Iterator[Batch]:
        """Documents above an id written since a moment, by their own stamp; all of them where no stamp tells."""
        domain: Domain = ()
        if not mapping.poll_whole:
            written = [(name, ">=", odoo_moment(since)) for name in mapping.stamps]
            domain = (*("|",) * (len(written) - 1), *written)
        for rows in self._document_pages(mapping, domain, after):
            yield self._complete(mapping, rows, with_log=False)

    def by_ids(self, mapping: Mapping, ids: Iterable[int], *, with_log: bool = False) -> Iterator[Batch]:
        """Given documents, whole, with their log when asked; those that do not exist are not in it."""
        wanted = sorted(set(ids))
        for start in range(0, len(wanted), self._page_size):
            chunk = wanted[start : start + self._page_size]
            for rows in self._document_pages(mapping, (("id", "in", chunk),), 0):
                yield self._complete(mapping, rows, with_log=with_log)

    def chunk(self, mapping: Mapping, domain: Domain, after: int, *, with_log: bool) -> Batch:
        """One page of the documents that match, above an id, whole; no rows: there are no more."""
        rows = next(self._document_pages(mapping, domain, after), [])
        return self._complete(mapping, rows, with_log) if rows else Batch([])

    def check_searchable(self, model: str, domain: Domain) -> None:
        """Raises Refused for a domain that names a field which cannot be searched for: Odoo does not refuse such a
        term, it leaves it out and answers every record.
        """
        names = {str(term[0]).partition(".")[0] for term in domain if isinstance(term, list | tuple)}
        if names:
            told = self._transport.fields_get(model, ("type", "searchable"), fields=sorted(names))
            unsearchable = sorted(name for name in names if told.get(name, {}).get("searchable") is False)
            if unsearchable:
                raise Refused(f"{', '.join(unsearchable)} of {model} cannot be searched for: Odoo answers every record")

    def newest_id(self, model: str) -> int:
        """The largest id that the source has of a model, archived or not; 0 for none."""
        ids = self._transport.search(model, [], limit=1, order="id desc", context={"active_test": False})
        return ids[0] if ids else 0

    def parents_of(self, child: Child, ids: Iterable[int]) -> set[int]:
        """Documents that lines belong to; lines that do not exist have none."""
        if child.parent not in self._wanted(child.model, child.fields):
            return set()
        domain = (*child.domain, ("id", "in", sorted(ids)))
        pages = self.pages(child.model, domain, [child.parent], limit=CHILD_PAGE)
        return {parent for rows in pages for row in rows if (parent := ref_id(row, child.parent)) is not None}

    def slice(self, mapping: Mapping, after: int, limit: int) -> Batch:
        """At most `limit` documents above an id: their stamps only, or whole where stamps do not tell of changes."""
        if not mapping.stamped:
            fields = self._wanted(mapping.model, mapping.fields)
            return self._complete(mapping, self._page(mapping, after, fields, limit), with_log=False)
        joined = [one for one in mapping.joined if "write_date" in self._wanted(one.model, one.fields)]
        rows = self._page(mapping, after, ["write_date", *dict.fromkeys(one.via for one in joined)], limit)
        batch = Batch(rows, {row["id"]: {} for row in rows})
        ids = [row["id"] for row in rows]
        for child in mapping.children:
            stamps = self._children(replace(child, fields=Fields((child.parent, "write_date"))), ids)
            _add_children(batch, child, stamps)
        for one in joined:
            _join(rows, one, self._others(rows, replace(one, fields=Fields(("write_date",)))))
        return batch

    def _page(self, mapping: Mapping, after: int, fields: Sequence[str], limit: int) -> list[Row]:
        pages = self.pages(mapping.model, mapping.domain, fields, after=after, limit=limit, context=mapping.context)
        return next(pages, [])

    def existing(self, model: str, ids: Iterable[int]) -> set[int]:
        """Which of the ids the source still has, archived or not."""
        wanted, found = sorted(ids), set[int]()
        for start in range(0, len(wanted), self._page_size):
            chunk = wanted[start : start + self._page_size]
            answer = self._transport.search(
                model, [("id", "in", chunk)], limit=len(chunk), context={"active_test": False}
            )
            found.update(answer)
        return found

    def parents_of_changed(self, mapping: Mapping, child: Child, since: datetime) -> Iterator[set[int]]:
        """Ids of documents with a line written since a moment: some changes stamp the line alone."""
        if child.parent not in self._wanted(child.model, child.fields):
            return
        domain = (*child.domain, ("write_date", ">=", odoo_moment(since)))
        for rows in self.pages(child.model, domain, [child.parent], most=CHILD_PAGE):
            yield {parent for row in rows if (parent := ref_id(row, child.parent)) is not None}

    def _document_pages(self, mapping: Mapping, domain: Domain, after: int) -> Iterator[list[Row]]:
        fields = self._wanted(mapping.model, mapping.fields)
        return self.pages(mapping.model, [*mapping.domain, *domain], fields, after=after, context=mapping.context)

    def _complete(self, mapping: Mapping, rows: list[Row], with_log: bool) -> Batch:
        return self.batch(self._read(mapping, rows, with_log))

    def _read(self, mapping: Mapping, rows: list[Row], with_log: bool) -> Page:
        """All that belongs to a page of documents."""
        ids = [row["id"] for row in rows]
        children = []
        for child in mapping.children:
            lines = self._children(child, ids)
            children.append((child, lines, [(one, self._others(lines, one)) for one in child.joined]))
        joined: list[tuple[Joined, dict[int, Row]]] = []
        for one in mapping.joined:
            through = "." in one.via  # it begins at what one before it reads
            via = [other for _, others in joined for other in others.values()] if through else rows
            joined.append((one, self._others(via, one)))
        if mapping.model == "stock.picking" and self._has_new_picking_type(rows):
            self._read_picking_types()
        log = None
        if with_log and self.log_failure is None:
            try:
                log = self._log_of(mapping.model, ids)
            except NO_SUCH as error:
                self.log_failure = error  # the log stops, the documents go on
        return Page(mapping, rows, children, joined, log)

    def batch(self, page: Page) -> Batch:
        """A page put together; its rows are changed. Any thread may, while another one reads the next page.

        What it asks the server for is only what decodes the log, once a field; the page that is being read comes first.
        """
        mapping, rows = page.mapping, page.rows
        if mapping.stamps != ("write_date",):
            for row in rows:  # the latest of its dates stands for the stamp it lacks
                row["write_date"] = max((one for name in mapping.stamps if (one := row.get(name))), default=False)
        batch = Batch(rows, {row["id"]: {} for row in rows})
        for child, lines, joined_of_lines in page.children:
            for joined, others in joined_of_lines:
                _join(lines, joined, others)
            _add_children(batch, child, lines)
        for joined, others in page.joined:
            _join(rows, joined, others)
        if page.log is not None:
            try:
                messages, values = page.log
                for change in sorted(self._decoded(values, messages), key=lambda one: (one.at, one.value_id)):
                    batch.changes.setdefault(change.record_id, []).append(change)
            except NO_SUCH as error:
                self.log_failure = error
        return batch

    def _children(self, child: Child, ids: list[int]) -> list[Row]:
        fields = self._wanted(child.model, child.fields)
        if child.parent not in fields:
            return []
        pages = self.pages(child.model, [(child.parent, "in", ids), *child.domain], fields, most=CHILD_PAGE)
        return [row for rows in pages for row in rows]

    def _others(self, rows_via: list[Row], joined: Joined) -> dict[int, Row]:
        """What rows hold in another record, by its id and under the columns that they have it in."""
        fields = self._wanted(joined.model, joined.fields)
        if not fields:
            return {}
        ids = sorted({one for row in _concerned(rows_via, joined) for one in _led_to(row, joined.via)})
        found: dict[int, Row] = {}
        for start in range(0, len(ids), self._page_size):
            chunk = ids[start : start + self._page_size]
            for rows in self.pages(joined.model, [("id", "in", chunk)], fields, context={"active_test": False}):
                found.update((row["id"], {f"{joined.via}.{name}": row.get(name) for name in fields}) for row in rows)
        return found

    def _has_new_picking_type(self, rows: list[Row]) -> bool:
        """Whether a type shows up for the first time: it may be one made since the types were read."""
        types = frozenset(one for row in rows if (one := ref(row, "picking_type_id")) is not None)
        known = self._picking_types
        self._picking_types = types if known is None else known | types
        return known is not None and self.source.incoming_types is not None and not types <= known

    # -- the tracking log ---------------------------------------------------------------------------------------

    def log_window(
        self, since: datetime, seen: Callable[[int], bool], *, after: int = 0
    ) -> Iterator[tuple[int, list[int], list[Tracked]]]:
        """Changes logged since a moment: pages of (last id, ids of all rows not `seen` before, the changes in them)."""
        domain = [("create_date", ">=", odoo_moment(since))]
        for rows in self.pages(tracking.VALUE_MODEL, domain, tracking.VALUE_FIELDS, after=after, most=CHILD_PAGE):
            fresh = [row for row in rows if not seen(row["id"])]
            yield rows[-1]["id"], [row["id"] for row in fresh], self._decoded(fresh, self._messages(fresh))

    def log_ids(self, after: int, limit: int) -> list[int]:
        """At most `limit` ids of the log above an id, ascending. Raises Malformed."""
        ids = self._transport.search(tracking.VALUE_MODEL, [("id", ">", after)], limit=limit)
        self._scanned(tracking.VALUE_MODEL, len(ids))
        if ids and (ids[0] <= after or ids != sorted(ids)):
            raise Malformed(f"search on {tracking.VALUE_MODEL} does not keep the order of id")
        return ids

    def log_rows(self, ids: Sequence[int]) -> tuple[list[int], list[Tracked]]:
        """Given rows of the log: (those that still exist, the changes in them)."""
        rows: list[Row] = []
        for start in range(0, len(ids), CHILD_PAGE):
            domain = [("id", "in", list(ids[start : start + CHILD_PAGE]))]
            for page in self.pages(tracking.VALUE_MODEL, domain, tracking.VALUE_FIELDS, most=CHILD_PAGE):
                rows += page
        return [row["id"] for row in rows], self._decoded(rows, self._messages(rows))

    def _messages(self, values: list[Row]) -> dict[int, Row]:
        ids = sorted({one for row in values if (one := ref_id(row, "mail_message_id")) is not None})
        messages: dict[int, Row] = {}
        for start in range(0, len(ids), self._page_size):
            chunk = ids[start : start + self._page_size]
            for rows in self.pages(tracking.MESSAGE_MODEL, [("id", "in", chunk)], tracking.MESSAGE_FIELDS):
                messages.update((row["id"], row) for row in rows)
        return messages

    def _log_of(self, model: str, ids: list[int]) -> tuple[dict[int, Row], list[Row]]:
        messages: dict[int, Row] = {}
        domain = [("model", "=", model), ("res_id", "in", ids)]
        for rows in self.pages(tracking.MESSAGE_MODEL, domain, tracking.MESSAGE_FIELDS, most=CHILD_PAGE):
            messages.update((row["id"], row) for row in rows)
        message_ids = sorted(messages)
        values: list[Row] = []
        for start in range(0, len(message_ids), CHILD_PAGE):
            chunk = message_ids[start : start + CHILD_PAGE]
            for rows in self.pages(
                tracking.VALUE_MODEL, [("mail_message_id", "in", chunk)], tracking.VALUE_FIELDS, most=CHILD_PAGE
            ):
                values += rows
        return messages, values

    def _decoded(self, values: list[Row], messages: dict[int, Row]) -> list[Tracked]:
        self._learn_fields(values)
        changes = []
        served: dict[str, Mapping | None] = {}
        for value in values:
            message = messages.get(ref_id(value, "mail_message_id") or 0)
            known = self._fields.get(ref_id(value, "field_id") or 0)
            if message is None or known is None:
                continue
            model = str(message.get("model"))
            if model not in served:
                served[model] = self._served(model)
            mapping = served[model]
            if mapping is None:
                continue
            try:
                if known.kind == "selection" and not tracking.is_twin(mapping.model, known.model):
                    self._learn_labels(known)
                change = tracking.decode(value, message, known, self._labels, mapping.child_models)
            except Malformed as error:
                self._malformed(tracking.VALUE_MODEL, error)
                continue
            if change is not None:
                changes.append(change)
        return changes

    def _served(self, model: str) -> Mapping | None:
        mapping = self.mappings.by_model.get(model)
        return mapping if mapping is not None and mapping.serves(self.source.version) else None

    def _learn_fields(self, values: list[Row]) -> None:
        ids = {one for row in values if (one := ref_id(row, "field_id")) is not None} - self._fields.keys()
        if not ids:
            return
        with self.turn:
            for rows in self.pages(tracking.FIELD_MODEL, [("id", "in", sorted(ids))], tracking.FIELD_FIELDS):
                for row in rows:
                    self._fields[row["id"]] = tracking.tracked_field(row)

    def _learn_labels(self, known: TrackedField) -> None:
        if self._labels.knows(known.model, known.name):
            return
        with self.turn:
            for language in self.languages():
                try:
                    answer = self._transport.fields_get(
                        known.model, ("selection",), fields=(known.name,), context={"lang": language}
                    )
                except NO_SUCH as error:
                    self._log.warning("labels not readable", model=known.model, field=known.name, kind=error.kind)
                    answer = {}
                self._labels.add(known.model, known.name, answer.get(known.name, {}).get("selection") or ())


def _add_children(batch: Batch, child: Child, lines: list[Row]) -> None:
    """Lines to their documents."""
    name, documents = child.parent, batch.lines
    for line in lines:
        parent: Any = line.get(name)
        written_out = parent.__class__ is list and parent and parent[0].__class__ is int
        of_parent = documents.get(parent[0] if written_out else ref_id(line, name) or 0)
        if of_parent is not None:
            of_parent.setdefault(child.model, []).append(line)


def _concerned(rows_via: list[Row], joined: Joined) -> list[Row]:
    return rows_via if joined.wanted is None else [row for row in rows_via if joined.wanted(row)]


def _join(rows_via: list[Row], joined: Joined, others: dict[int, Row]) -> None:
    """Columns of other records to the rows that hold them."""
    if others:
        for row in _concerned(rows_via, joined):
            found = [others[one] for one in _led_to(row, joined.via) if one in others]
            if _several(row, joined.via):
                for name in found[0] if found else ():
                    row[name] = [one[name] for one in found]
            elif found:
                row.update(found[0])


def _several(row: Row, field: str) -> bool:
    """Whether a field leads to any number of records: their ids alone, where a many2one has a name too."""
    value = row.get(field)
    return isinstance(value, list) and not (len(value) == 2 and isinstance(value[1], str))


def _led_to(row: Row, field: str) -> list[int]:
    """Ids of the records that a field leads to."""
    if _several(row, field):
        return [int(one) for one in refs(row, field)]
    one = ref_id(row, field)
    return [] if one is None else [one]
