"""The slow sweep: every id and stamp of the source against what was published, a bounded slice at a time.

It finds what no window can: transactions that committed later than the overlap, records created inside ids that were
swept before, deletions, and missed rows of the tracking log. One pass over all models is a round.

Guarantee: what is committed when a round begins is published when that round ends. Its limit: two versions of a
record whose transactions began within the same second have the same stamp over RPC. Records written since the model's
last whole reading began, and within `recent` before that, are therefore read whole whatever their stamp. What that
reading did not see committed after it began; so only a commit more than `recent` later than its transaction's start,
which shares its second with the version already read, stays unseen, however far apart the rounds are.

Does not own: reading (reader), publishing and its order (capture).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Protocol, TypeAlias

from producers.odoo import tracking
from producers.odoo.mapping.spec import Lines, Mapping
from producers.odoo.memory import Memory, SweepPosition
from producers.odoo.reader import Batch, Reader
from producers.odoo.seen import STAMP_BYTES
from producers.odoo.tracking import Tracked
from producers.odoo.values import Row, odoo_moment

LOG = tracking.VALUE_MODEL
WHOLE_COST = 10
"""What reading a document whole costs, in stamps (5,000 against 65,000 rows a second on a running server)."""
LINES_EACH = 4
"""How many lines a document is expected to have, when a slice of documents is cut to the budget."""
FEW = 20
"""So many missing at once are never suspicious."""


@lru_cache(maxsize=256)
def stamp_names(columns: tuple[str, ...]) -> tuple[str, ...]:
    """Which columns of a row are its time stamps and those of what it is joined with, sorted."""
    return tuple(name for name in sorted(columns) if name.endswith("write_date"))


Stamps: TypeAlias = tuple[list[tuple[str, Any]], list[tuple[str, int, Any]]]
"""Time stamps of a document as the source gives them: its own by column, its lines' by model and id."""


def stamps_of(row: Row, lines: Lines) -> Stamps:
    """The time stamps of a document."""
    own = [(name, row[name]) for name in stamp_names(tuple(row))]
    return own, [(model, line["id"], line.get("write_date")) for model in sorted(lines) for line in lines[model]]


def fingerprint(row: Row, lines: Lines) -> bytes:
    """8 bytes over when a document, what it is joined with and each of its lines was written, and which lines it has.

    The same for a document read whole and for its stamps alone. Never all zero.
    """
    return fingerprint_of(stamps_of(row, lines))


def fingerprint_of(stamps: Stamps) -> bytes:
    """As `fingerprint`, of stamps that are at hand."""
    digest = blake2b(repr(stamps).encode(), digest_size=STAMP_BYTES).digest()
    return digest if any(digest) else b"\x01" * STAMP_BYTES


def suspicious(missing: int, known: int, share: float) -> bool:
    """Whether so many are missing of those known that a lost right or another database is likelier than deletions."""
    return missing > FEW and missing > share * known


class Findings(Protocol):
    """What the sweep hands over. Each publishes before it returns, or raises; none moves a position."""

    def swept(self, mapping: Mapping, batch: Batch) -> None:
        """Documents that may have been missed, whole."""
        ...

    def swept_log(self, ids: list[int], changes: list[Tracked]) -> None:
        """Rows of the tracking log that were not seen before, and the changes in them."""
        ...

    def gone(self, model: str, ids: Iterable[int]) -> None:
        """Records that were published and that the source no longer has."""
        ...

    def withheld(self, model: str, missing: int, known: int) -> None:
        """So many are missing that nothing is published of it."""
        ...


@dataclass(frozen=True)
class SweepLimits:
    """`page`: documents read whole at most in one slice; `recent`, `deletions`: see the settings of the capture."""

    page: int
    recent: timedelta
    deletions: float


class Sweep:
    """Moves through the models of `order` (the tracking log among them, under its model), wherever it stopped."""

    def __init__(
        self, reader: Reader, memory: Memory, findings: Findings, limits: SweepLimits, order: list[str]
    ) -> None:
        self._reader = reader
        self._memory = memory
        self._findings = findings
        self._limits = limits
        self._order = order

    @property
    def running(self) -> str:
        """Model whose turn it is; empty between rounds."""
        return self._memory.sweep.model

    def begin(self) -> None:
        """Start a round."""
        self._memory.move_sweep(SweepPosition(self._order[0]))

    def skip(self) -> None:
        """Leave the model whose turn it is, for this round."""
        following = self._order[self._order.index(self.running) + 1 :] if self.running in self._order else []
        self._memory.move_sweep(SweepPosition(following[0]) if following else SweepPosition())

    def step(self, mapping: Mapping | None, budget: int, now: datetime) -> int:
        """One slice of the running model (`mapping` None: the log), of `budget` rows at most; what it cost in rows."""
        after = self._memory.sweep.after
        began = now if not after else self._memory.sweep.began
        last, cost = self._log(after, budget) if mapping is None else self._documents(mapping, after, budget, now)
        if last is not None:
            self._memory.move_sweep(SweepPosition(self.running, last, began))
            return max(1, cost)
        if began is not None and mapping is not None:
            self._memory.put_passed(mapping.model, began)
        self.skip()
        return max(1, cost)

    def _documents(self, mapping: Mapping, after: int, budget: int, now: datetime) -> tuple[int | None, int]:
        model, stamps = mapping.model, self._memory.stamps[mapping.model]
        limit = max(1, budget // (1 + LINES_EACH * len(mapping.children)))
        if not mapping.stamped:
            limit = min(limit, self._limits.page)
        # 1. What the source has.
        batch = self._reader.slice(mapping, after, limit)
        last = batch.rows[-1]["id"] if len(batch.rows) == limit else None
        cost = len(batch.rows) + sum(len(rows) for lines in batch.lines.values() for rows in lines.values())
        # 2. What is new or has other stamps, and what was written so lately that its stamp proves nothing. A stamp is
        # shown without its fraction, so the whole second counts.
        if mapping.stamped:
            since = min(now, self._memory.passed(model) or now) - self._limits.recent
            recent = odoo_moment(since)[:19]
            changed = [
                row["id"]
                for row in batch.rows
                if stamps.fingerprint(row["id"]) != fingerprint(row, batch.lines[row["id"]])
                or _newest(row, batch.lines[row["id"]]) >= recent
            ]
            if len(changed) > self._limits.page:
                changed = changed[: self._limits.page]
                last = changed[-1]
            for found in self._reader.by_ids(mapping, changed):
                self._findings.swept(mapping, found)
            cost += WHOLE_COST * len(changed)
        else:
            self._findings.swept(mapping, batch)
            cost += WHOLE_COST * len(batch.rows)
        # 3. What was published and is not in the slice; a second search has the last word.
        known = set(self._memory.hashes[model].between(after, last))
        missing = known - {row["id"] for row in batch.rows}
        if missing:
            missing -= self._reader.existing(model, missing)
            cost += len(missing)
        if suspicious(len(missing), len(known), self._limits.deletions):
            self._findings.withheld(model, len(missing), len(known))
        elif missing:
            self._findings.gone(model, sorted(missing))
        return last, cost

    def _log(self, after: int, budget: int) -> tuple[int | None, int]:
        ids = self._reader.log_ids(after, budget)
        last = ids[-1] if len(ids) == budget else None
        unseen = [one for one in ids if one not in self._memory.log]
        if len(unseen) > self._limits.page:
            unseen = unseen[: self._limits.page]
            last = unseen[-1]
        if unseen:
            self._findings.swept_log(*self._reader.log_rows(unseen))
        return last, len(ids) + WHOLE_COST * len(unseen)


def _newest(row: Row, lines: Lines) -> str:
    """When a document was last written, as Odoo shows it (text order is time order); the far future for no stamp."""
    stamps = [row[name] for name in row if name.endswith("write_date")]
    stamps += [line.get("write_date") for of_model in lines.values() for line in of_model]
    return max((stamp for stamp in stamps if isinstance(stamp, str)), default="9999")
