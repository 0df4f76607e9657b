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
    }
)
"""Lock dates of a company (Odoo 17 to 19) and what each holds for. That of tax returns is left out: whether it holds
for a document depends on its taxes."""


class Lock(Struct, array_like=True, gc=False):
    """A lock date was moved to ``day`` (None: taken away), at ``at`` at the latest."""

    at: int
    name: str
    day: int | None
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


class BookedDay(Struct, array_like=True):
    """What is known of one day of a company's books, and what was said."""

    version: int = 0  # of the locks
    locks: list[Lock] = []
    documents: dict[str, Posted] = {}
    said: dict[str, Said] = {}


def posted_at(facts: Sequence[Fact], content: Content) -> tuple[int, str]:
    """When a document was posted, at the earliest: as the log tells, else when it was made. 0: not known.

    What is posted in the transaction that makes it leaves no row in the log.
    """
    for fact in reversed(facts):
        if fact.tracked and fact.field == STATE and fact.after == "posted":
            return fact.at, fact.event_id
    made = facts[0] if facts and facts[0].activity == CREATED else None
    return (0, "") if made is None else (made.at, made.event_id)


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
            ),
            None,
        )
        if closed is None:
            continue
        yield Verdict(
            "posted_after_lock",
            (key,),
            [key],
            one.entity,
            one.company_id,
            one.at,
            one.at,
            ["It was posted into a period that had been locked."],
            [closed.event_id, one.event_id],
            one.amount,
            one.currency,
            company_amount=one.company_amount,
        )
