"""What stands beside the bills: honest expenses of employees, expense claims of what was billed too, and orders.

Drawn from a random source of their own, so that the bills of a seed are the same with and without them. Nothing here
was chosen from what a detector can find.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from benchmarks.duplicates.bills import DAYS, EPOCH, FIRST_DAY, Bill, Vendor, World

HONEST_EXPENSES = 0.02  # as a share of the bills
NEAR_A_BILL = 0.2  # of the honest expenses: at a vendor that billed something else on that day or near it
NAMES_ITS_VENDOR = 0.3  # of those: the vendor is chosen from the list; else its name is in the text
NAMES_NOBODY = 0.25  # of the honest expenses
_FOR = ("Taxi", "Hotel", "Lunch with a client", "Parking", "Train", "Office supplies", "Books", "Conference")


@dataclass(slots=True)
class Claim:
    """An expense. Amount in cents, days since 1970; ``vendor``: record id, where it was chosen."""

    key: str
    company: str
    vendor: str | None
    text: str
    date: int
    created: int
    amount: int
    currency: str


@dataclass(slots=True)
class Order:
    """An order, by its name; amount in cents, ``created`` in days since 1970. ``case``: that of the bill it is for."""

    key: str
    company: str
    vendor: str
    name: str
    created: int
    amount: int
    currency: str
    case: int = -1


@dataclass(slots=True)
class Counterparts:
    """``claims``: honest expenses; ``claimed``: the duplicates that are expenses, as employees write them, by key."""

    claims: list[Claim]
    claimed: dict[str, Claim]
    orders: list[Order]


def make(world: World, seed: int) -> Counterparts:
    """Make what stands beside the bills of a world. Deterministic."""
    random = Random(f"{seed}:counterparts")
    papers = [bill for bill in world.bills if bill.type == "in_invoice"]
    claims = [_honest(n, random, world, random.choice(papers)) for n in range(round(len(papers) * HONEST_EXPENSES))]
    copies = [bill for bill in world.bills if bill.type == "expense"]
    claimed = {copy.key: _claim(random, copy, world.vendors[copy.vendor]) for copy in copies}
    orders: dict[tuple[str, str], Order] = {}
    for bill in papers:
        if bill.order is None:
            continue
        known = orders.get((bill.vendor, bill.order))
        if known is None:
            day = min(bill.date, bill.created) - random.randint(3, 40)
            orders[bill.vendor, bill.order] = Order(
                f"order {bill.vendor} {bill.order}", bill.company, bill.vendor, bill.order, day, bill.amount,
                bill.currency, bill.case,
            )  # fmt: skip
        elif bill.case < 0 or not world.cases[bill.case].duplicate:
            known.amount += bill.amount  # deliveries of one order
    return Counterparts(claims, claimed, list(orders.values()))


def _honest(number: int, random: Random, world: World, bill: Bill) -> Claim:
    vendor = world.vendors[bill.vendor]
    first = (FIRST_DAY - EPOCH).days
    day = first + random.randrange(DAYS)
    if vendor.prices:
        amount = random.choice(vendor.prices)
    else:
        amount = max(100, round(100 * random.lognormvariate(min(vendor.level, 5.0), 1.0)))
    if random.random() < NEAR_A_BILL:
        day = bill.date + random.randint(-4, 4)
        if not vendor.prices:
            amount = max(100, round(bill.amount * random.uniform(0.1, 1.5)))
    if random.random() < NAMES_NOBODY:
        chosen, text = None, random.choice(_FOR)
    else:
        chosen, text = _written(random, vendor)
    return Claim(
        f"claim {number}", bill.company, chosen, text, day, day + random.randint(0, 45), amount, bill.currency
    )  # fmt: skip


def _claim(random: Random, copy: Bill, vendor: Vendor) -> Claim:
    """What an employee claims of a bill: no reference, the vendor chosen or named."""
    chosen, text = _written(random, vendor)
    return Claim(copy.key, copy.company, chosen, text, copy.date, copy.created, copy.amount, copy.currency)


def _written(random: Random, vendor: Vendor) -> tuple[str | None, str]:
    text = random.choice(_FOR)
    if random.random() < NAMES_ITS_VENDOR:
        return vendor.id, text
    name = vendor.name.rsplit(" ", 1)[0]
    written = random.choice((vendor.name, name, name.lower(), name.upper()))
    return None, random.choice((f"{text} {written}", written, f"{written}, {text}"))
