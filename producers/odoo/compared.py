"""The source's side of a reconciliation: documents as Odoo has them now, mapped as the capture maps them.

Reads only, page by page in order of id, no faster than asked. Nothing is published and no position is moved.
"""

import threading
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from finwatch.domain.reconciled_log import Logged
from finwatch.domain.reconciliation import (
    CUSTOM_FIELDS,
    NOT_COMPARED,
    Item,
    Reference,
    canonical,
    custom_content,
    reference,
)
from finwatch.runtime.clock import Clock
from producers.odoo.errors import Malformed
from producers.odoo.mapping.spec import Document, Mapping
from producers.odoo.reader import Batch, Reader
from producers.odoo.values import Domain, Row, parse_moment

_DATE_FIELDS = {
    "account.move": "date",
    "account.payment": "date",
    "purchase.order": "date_order",
    "stock.picking": "scheduled_date",
    "hr.expense.sheet": "accounting_date",
}
"""The stored field behind `finwatch.domain.reconciliation.date_column`: a period can then be asked of the server."""
_DATETIMES = frozenset({"date_order", "scheduled_date"})


@dataclass(frozen=True)
class Part:
    """Documents with ids above `after` and up to `last` (None: to the end), by what names them."""

    after: int
    last: int | None
    items: dict[Reference, Item]


class SourceSide:
    """Reads one database for comparison. For one thread at a time, as its reader is.

    `whole`: lines too, else the documents' own columns only, which costs the server a fraction. `rows_per_second`
    bounds what is asked of it (0: as fast as it answers); `stop` ends the waiting.
    """

    def __init__(
        self, reader: Reader, clock: Clock, *, whole: bool, rows_per_second: float, stop: threading.Event
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._whole = whole
        self._rate = rows_per_second
        self._stop = stop
        self.malformed = 0

    def parts(self, mapping: Mapping, company: str | None = None, period: str | None = None) -> Iterator[Part]:
        """All documents of a model, in parts that leave no id out. Those of a company or a period are asked for where
        the server can tell them; the caller leaves out the others.
        """
        asked = replace(self._asked(mapping), domain=(*mapping.domain, *self._narrowed(mapping, company, period)))
        after = 0
        for batch in self._reader.snapshot(asked, 0, with_log=False):
            began = self._clock.monotonic()
            last = int(batch.rows[-1]["id"])
            yield Part(after, last, self._items(mapping, batch))
            after = last
            self._pace(len(batch.rows), began)
            if self._stop.is_set():
                return
        yield Part(after, None, {})

    def by_reference(self, mapping: Mapping, references: Iterable[Reference]) -> dict[Reference, Item]:
        """Given documents, whatever company and period they are of now; those that are gone are not in it."""
        found: dict[Reference, Item] = {}
        for batch in self._reader.by_ids(self._asked(mapping), {one.record_id for one in references}):
            found |= self._items(mapping, batch)
        return found

    def logged(self, models: AbstractSet[str], period: str | None = None) -> Iterator[dict[str, list[Logged]]]:
        """Changes in the tracking log of these models, by model, a page at a time; from a month on where one is given.

        What the capture leaves out of it (twins, unknown fields, other models) is left out. Raises what reading raises.
        """
        since = datetime(1970, 1, 1, tzinfo=UTC)
        if period is not None:
            first = month(period)[0]
            since = datetime(first.year, first.month, first.day, tzinfo=UTC)
        began = self._clock.monotonic()
        for _, rows, changes in self._reader.log_window(since, lambda _: False):
            found: dict[str, list[Logged]] = {}
            for change in changes:
                if change.model in models:
                    one = Logged(change.record_id, f"message:{change.message_id}", change.field, change.at)
                    found.setdefault(change.model, []).append(one)
            yield found
            self._pace(len(rows), began)
            if self._stop.is_set():
                return
            began = self._clock.monotonic()

    def _asked(self, mapping: Mapping) -> Mapping:
        if self._whole or self._tells_by_lines(mapping):
            return mapping
        return replace(mapping, children=())

    def _tells_by_lines(self, mapping: Mapping) -> bool:
        """Whether lines decide more than the lines: what a group is called in code, and whether a picking whose type
        cannot be read is a document.
        """
        return mapping.model == "res.groups" or (
            mapping.model == "stock.picking" and self._reader.source.incoming_types is None
        )

    def _narrowed(self, mapping: Mapping, company: str | None, period: str | None) -> Domain:
        """A part of the domain. A record without the date falls back to its creation, so those come along."""
        domain: list[Any] = []
        own = mapping.fields.of(self._reader.source.version)
        if company is not None and "company_id" in own and company.isdigit():
            domain.append(("company_id", "=", int(company)))
        dated = _DATE_FIELDS.get(mapping.model)
        if period is not None and dated is not None and dated in own and period[:4].isdigit():
            first, after = month(period)
            end = ("<", f"{after} 00:00:00") if dated in _DATETIMES else ("<", str(after))
            begin = (">=", f"{first} 00:00:00") if dated in _DATETIMES else (">=", str(first))
            domain += ["|", (dated, "=", False), "&", (dated, *begin), (dated, *end)]
        return domain

    def _items(self, mapping: Mapping, batch: Batch) -> dict[Reference, Item]:
        found: dict[Reference, Item] = {}
        for row in batch.rows:
            lines = batch.lines.get(row["id"], {})
            try:
                document = mapping.map(row, lines, self._reader.source)
                if document is None:
                    continue
                written = written_at(row, lines)
            except Malformed:
                # The capture leaves such a row out and says so; here it shows as missing in the store, if it is.
                self.malformed += 1
                continue
            named = reference(mapping.model, document.entity, row["id"])
            found[named] = Item(named, document.company_id or "", self._content(document), written)
        return found

    def _content(self, document: Document) -> dict[str, Any]:
        content = {
            name: canonical(value)
            for name, value in document.body.items()
            if name not in NOT_COMPARED and name != CUSTOM_FIELDS and (self._whole or not is_records(name, value))
        }
        return content | custom_content(document.body.get(CUSTOM_FIELDS), whole=self._whole)

    def _pace(self, rows: int, began: float) -> None:
        if self._rate > 0:
            left = rows / self._rate - (self._clock.monotonic() - began)
            if left > 0:
                self._clock.wait(left, self._stop)


def is_records(name: str, value: Any) -> bool:
    """Whether a column of a body holds records of its own (lines)."""
    return name == "lines" or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def month(period: str) -> tuple[date, date]:
    """First day of a period `YYYY-MM`, and of the next. Raises ValueError."""
    first = date.fromisoformat(f"{period}-01")
    if first.month == 12:
        return first, first.replace(year=first.year + 1, month=1)
    return first, first.replace(month=first.month + 1)


def written_at(row: Row, lines: Any) -> datetime:
    """When the row, what it is joined with, and what was read of its lines was last written. Raises Malformed."""
    stamps = [row[name] for name in row if name.endswith("write_date")]
    stamps += [line.get("write_date") for of_model in lines.values() for line in of_model]
    known = [stamp for stamp in stamps if isinstance(stamp, str)]
    if not known:
        raise Malformed("write_date is empty")
    return parse_moment(max(known), "write_date")
