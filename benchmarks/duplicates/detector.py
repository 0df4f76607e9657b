"""Runs the detector's pure functions over the bills in the order of entry, block by block in memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

import msgspec
from msgspec import Struct

from benchmarks.duplicates.baselines import Found
from benchmarks.duplicates.bills import World
from benchmarks.duplicates.counterparts import Claim, Counterparts, Order
from finwatch.domain.calendar import DAY
from finwatch.domain.duplicates import evidence
from finwatch.domain.duplicates.blocks import AMOUNT, VENDOR
from finwatch.domain.duplicates.book import RETRACTED, Book, Fact
from finwatch.domain.policy import DuplicatesSection

R = TypeVar("R", bound=Struct)


@dataclass(slots=True)
class Run:
    """What was found, by whom (rule), and what it cost."""

    found: Found
    rules: dict[tuple[str, ...], str]
    seconds: float
    blocks: int
    rows: int
    dropped: int
    state_bytes: int


class Shelf:
    """Rows in memory, as objects: what a stage's view does, without its bookkeeping."""

    def __init__(self) -> None:
        self.rows: dict[str, Struct] = {}

    def get(self, key: str, type: type[R]) -> R | None:
        """The row, or None."""
        return self.rows.get(key)  # type: ignore[return-value]

    def put(self, key: str, row: Struct, due: int | None = None) -> None:
        """Keep a row, for ever."""
        self.rows[key] = row

    def delete(self, key: str) -> None:
        """Forget a row."""
        self.rows.pop(key, None)


def run(world: World, beside: Counterparts, settings: DuplicatesSection, least: float = 0.2) -> Run:
    """All groups that score ``least`` or more at the end. A split by its bills, the others by their pair."""
    shelf = Shelf()
    books = {side: Book(shelf, "world", side, settings, least) for side in (VENDOR, AMOUNT)}
    standing: dict[tuple[str, ...], tuple[float, str]] = {}
    entered = [_order(order) for order in beside.orders] + [_claim(claim) for claim in beside.claims]
    for bill in world.bills:
        if bill.key in beside.claimed:
            entered.append(_claim(beside.claimed[bill.key]))
            continue
        vendor = world.vendors[bill.vendor]
        entered.append(
            Fact(
                evidence.Bill(
                    bill.key,
                    1,
                    bill.company,
                    bill.type,
                    bill.vendor,
                    bill.reference,
                    bill.date,
                    Decimal(bill.amount).scaleb(-2),
                    bill.currency,
                    bill.created * DAY,
                    vendor.vat,
                    vendor.bank,
                    vendor.name,
                    Decimal(bill.net).scaleb(-2),
                    bill.order,
                    bill.reverses,
                ),
                True,
            )
        )
    entered.sort(key=lambda fact: fact.bill.created_at)  # as it is: those of one day stay in their order
    begin = time.process_time()
    for fact in entered:
        vendor_side, amount_side = fact.bill.vendor is not None, fact.bill.document_type != evidence.ORDER
        for book in [books[VENDOR]] * vendor_side + [books[AMOUNT]] * amount_side:
            for said in book.take(fact) or ():
                group = said.standing.keys
                if said.standing.status == RETRACTED:
                    standing.pop(group, None)
                else:
                    standing[group] = said.standing.score, said.standing.rule
    seconds = time.process_time() - begin
    size = sum(len(key) + len(msgspec.msgpack.encode(row)) for key, row in shelf.rows.items())
    return Run(
        {group: score for group, (score, _) in standing.items()},
        {group: rule for group, (_, rule) in standing.items()},
        seconds,
        sum(key.startswith("b:") for key in shelf.rows),
        len(shelf.rows),
        sum(book.dropped for book in books.values()),
        size,
    )


def _claim(claim: Claim) -> Fact:
    amount = Decimal(claim.amount).scaleb(-2)
    bill = evidence.Bill(
        claim.key, 1, claim.company, evidence.EXPENSE, claim.vendor, None, claim.date, amount, claim.currency,
        claim.created * DAY, text=claim.text,
    )  # fmt: skip
    return Fact(bill, True)


def _order(order: Order) -> Fact:
    amount = Decimal(order.amount).scaleb(-2)
    bill = evidence.Bill(
        order.key, 1, order.company, evidence.ORDER, order.vendor, None, None, amount, order.currency,
        order.created * DAY, order=order.name,
    )  # fmt: skip
    return Fact(bill, True)
