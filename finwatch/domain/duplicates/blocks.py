"""Where bills meet: the relation keys that a bill is sent to, and the blocks that it stands in there.

A bill goes to two keys. Under its *vendor* it meets the bills of the same vendor, whatever their company, type and
amount; under its *amount* it meets bills of other vendors. So which of the two decides on a pair follows from the two
bills alone, and nobody else has a say in it: under the vendor when the vendors are the same, under the amount when not.
Within a key only bills of one block are compared.
"""

from __future__ import annotations

from decimal import Decimal

from finwatch.domain.duplicates import similarity as like
from finwatch.domain.duplicates.evidence import EXPENSE, ORDER, Bill, firms_named, has_reference
from finwatch.domain.duplicates.references import reference, shape
from finwatch.domain.policy import DuplicatesSection

RELATION = "duplicate_bill"
VENDOR, AMOUNT = "v", "a"
"""The two sides. What a bill's rows are kept under, so that a partition that has both keys keeps them apart."""
NUMBER_BLOCK, ORDER_BLOCK, BARE_BLOCK, AMOUNT_BLOCK, DATE_BLOCK, SHAPE_BLOCK = "n:", "o:", "w:", "m:", "y:", "s:"
ORDERED_BLOCK = "q:"
"""Orders of a vendor by amount: what bills may come to."""
GATHERED = (BARE_BLOCK, SHAPE_BLOCK)
"""Blocks whose bills are not compared with one another, but may together be another."""
_TELLING = 6  # letters and digits from which a reference tells by itself, whoever the vendor is


def relation_keys(source: str, vendor: str | None, amount: Decimal | None, currency: str | None) -> tuple[str, ...]:
    """The relation keys of a bill. None without a vendor or an amount: it can be nobody's duplicate."""
    if vendor is None or amount is None or not amount:
        return ()
    return (
        f"{RELATION}:{source}:{VENDOR}:{vendor}",
        f"{RELATION}:{source}:{AMOUNT}:{whole(amount)}:{currency or ''}",
    )


def side_of(relation_key: str) -> str:
    """Which side a relation key is of. Raises ValueError for another kind of key."""
    parts = relation_key.split(":", 3)
    if len(parts) != 4 or parts[0] != RELATION or parts[2] not in (VENDOR, AMOUNT):
        raise ValueError("not a key of duplicate bills")
    return parts[2]


def names(side: str, bill: Bill, settings: DuplicatesSection) -> tuple[str, ...]:
    """The blocks of a bill on a side, the most telling first."""
    if bill.document_type == EXPENSE:
        return _of_expense(side, bill, settings)
    if bill.document_type == ORDER:
        return (ordered(bill.vendor, bill.amount or Decimal(), bill.currency),) if side == VENDOR else ()
    found = []
    if side == VENDOR:
        if has_reference(bill, settings):
            assert bill.reference is not None
            found.append(f"{NUMBER_BLOCK}{bill.vendor}:{like.number(bill.reference)}")
            found.append(f"{SHAPE_BLOCK}{bill.vendor}:{shape(bill.reference)}")
        else:
            found.append(f"{BARE_BLOCK}{bill.vendor}")
        if bill.order:
            found.append(f"{ORDER_BLOCK}{bill.vendor}:{bill.order}")
        if bill.date is not None:
            found.append(f"{DATE_BLOCK}{bill.vendor}:{bill.date}")
        found.append(f"{AMOUNT_BLOCK}{bill.vendor}:{whole(bill.amount or Decimal())}:{bill.currency}")
        return tuple(found)
    if has_reference(bill, settings):
        assert bill.reference is not None
        forms = reference(like.unlabelled(bill.reference))
        if forms.distinct >= _TELLING:
            found.append(f"r:{forms.block}:{whole(bill.amount or Decimal())}:{bill.currency}")
    if not (bill.vat or bill.bank or bill.name or bill.address):
        return tuple(found)
    amount = f"{plain(bill.amount or Decimal())}:{bill.currency}"
    if bill.vat:
        found.append(f"t:{bill.vat}:{amount}")
    if bill.bank:
        found.append(f"b:{bill.bank}:{amount}")
    if bill.name:
        found.append(f"f:{like.bare_name(bill.name)}:{amount}")
    if bill.address:
        found.append(f"d:{bill.address}:{amount}")
    return tuple(found)


def _of_expense(side: str, expense: Bill, settings: DuplicatesSection) -> tuple[str, ...]:
    """With its vendor an expense meets bills of its day and amount; else those of the amount whose vendor it names.

    It is no part of a split.
    """
    if side == VENDOR:
        found = []
        if has_reference(expense, settings):
            assert expense.reference is not None
            found.append(f"{NUMBER_BLOCK}{expense.vendor}:{like.number(expense.reference)}")
        if expense.date is not None:
            found.append(f"{DATE_BLOCK}{expense.vendor}:{expense.date}")
        found.append(f"{AMOUNT_BLOCK}{expense.vendor}:{whole(expense.amount or Decimal())}:{expense.currency}")
        return tuple(found)
    amount = f"{plain(expense.amount or Decimal())}:{expense.currency}"
    return tuple(dict.fromkeys(f"f:{name}:{amount}" for name in firms_named(expense)))


def ordered(vendor: str | None, amount: Decimal, currency: str | None) -> str:
    """The block of a vendor's orders of an amount."""
    return f"{ORDERED_BLOCK}{vendor}:{whole(amount)}:{currency}"


def whole(amount: Decimal) -> str:
    """An amount without its cents: what is rounded otherwise is sent to the same key, but for one in a hundred."""
    return f"{Decimal(amount):.0f}"


def plain(amount: Decimal) -> str:
    """An amount as it is written in keys: 100 and 100.00 are one."""
    return f"{Decimal(amount).normalize():f}"
