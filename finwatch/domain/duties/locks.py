"""What was posted into a period after it had been locked. Days since the epoch; instants in epoch microseconds UTC.

A source refuses that, or moves the document to an open day; so where it happened, somebody was let past the lock, or
the period was opened for it and locked again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType

from msgspec import Struct

from finwatch.domain.documents import CREATED, STATE, Content, Fact
from finwatch.domain.policy.duties import DutiesSection
from finwatch.domain.verdicts import Said, Verdict

LOCKS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "fiscalyear_lock_date": frozenset({"bill", "invoice", "entry"}),
        "hard_lock_date": frozenset({"bill", "invoice", "entry"}),
        "period_lock_date": frozenset({"bill", "invoice", "entry"}),
        "purchase_lock_date": frozenset({"bill"}),
        "sale_lock_date": frozenset({"invoice"}),
        "tax_lock_date": frozenset({"bill"}),
    }
)
"""Lock dates of a company (Odoo 17 to 19) and what each holds for. That of tax returns holds for what bears tax: known
of bills."""
TAX_LOCK = "tax_lock_date"


class Lock(Struct, array_like=True, gc=False):
    """A lock date was moved to ``day`` (None: taken away), at ``at`` at the latest."""

    at: int
    name: str
    day: int | None
    event_id: str


class Pass(Struct, array_like=True):
    """A lock exception: from ``at`` on somebody may post behind the lock ``name``, where it would hold.

    ``person``: who may; None: everybody. ``by``: who granted it. ``until``: when it ends; 0: not, as far as is known.
    """

    version: int
    name: str
    at: int
    until: int
    person: str | None
    by: str | None
    event_id: str


class Posted(Struct, array_like=True):
    """A document that was posted on a later day than the one it is booked on."""

    version: int
    live: bool
    entity: str
    at: int
    event_id: str
    amount: Decimal | None
    currency: str | None
    company_id: str | None
    company_amount: Decimal | None
    person: str | None = None  # who posted it, as far as the log tells
    taxed: bool = False


class BookedDay(Struct, array_like=True):
    """What is known of one day of a company's books, and what was said."""

    version: int = 0  # of the locks
    locks: list[Lock] = []
    documents: dict[str, Posted] = {}
    said: dict[str, Said] = {}
    passes: dict[str, Pass] = {}


def taxed(content: Content) -> bool:
    """Whether a bill bears tax."""
    paper = content.paper
    return paper is not None and paper.net is not None and paper.net != content.amount


def posted_at(facts: Sequence[Fact], content: Content) -> tuple[int, str, str | None]:
    """When a document was posted, at the earliest, and by whom: as the log tells, else when it was made. 0: not known.

    What is posted in the transaction that makes it leaves no row in the log.
    """
    for fact in reversed(facts):
        if fact.tracked and fact.field == STATE and fact.after == "posted":
            return fact.at, fact.event_id, fact.actor
    made = facts[0] if facts and facts[0].activity == CREATED else None
    return (0, "", None) if made is None else (made.at, made.event_id, made.actor)


def judge(day: int, books: BookedDay, settings: DutiesSection) -> Iterator[Verdict]:
    """Everything that was posted on this day of the books after it had been locked."""
    for key, one in books.documents.items():
        if not one.live:
            continue
        # The first that locked the day. Whether it was opened again since changes nothing of what is said: lock dates
        # and documents come on different topics, and what the one says of the other must not be corrected by the next.
        closed = next(
            (
                lock
                for lock in books.locks
                if lock.at < one.at
                and lock.day is not None
                and lock.day >= day
                and one.entity in LOCKS.get(lock.name, ())
                and lock.name in settings.locks
                and (one.taxed or lock.name != TAX_LOCK)
            ),
            None,
        )
        if closed is None:
            continue
        reasons, evidence = ["It was posted into a period that had been locked."], [closed.event_id, one.event_id]
        let = _let_past(books, closed.name, one)
        own = False
        if let is not None:
            evidence.insert(1, let.event_id)
            own = settings.one_hand(let.by, one.person)
            reasons.append(
                "Whoever posted it had granted the lock exception that let it past."
                if own
                else "A lock exception let it past."
            )
        yield Verdict(
            "posted_after_lock",
            (key,),
            [key],
            one.entity,
            one.company_id,
            one.at,
            one.at,
            reasons,
            evidence,
            one.amount,
            one.currency,
            severity="critical" if own else None,
            company_amount=one.company_amount,
        )


def _let_past(books: BookedDay, lock: str, one: Posted) -> Pass | None:
    """The lock exception that held for a document when it was posted: of several the one granted last."""
    held = [
        let
        for let in books.passes.values()
        if let.name == lock
        and let.at <= one.at
        and (let.until == 0 or one.at < let.until)
        and (let.person is None or one.person is None or let.person == one.person)
    ]
    return max(held, key=lambda let: (let.at, let.event_id), default=None)
