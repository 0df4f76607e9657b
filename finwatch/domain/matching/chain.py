"""What is known of one order and the documents that name its lines. Instants in epoch microseconds UTC.

Quantities, prices and amounts of lines are millionths (``int``), as they are stored.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from finwatch.domain.duties.acts import Act
from finwatch.domain.verdicts import Said


class OrderLine(Struct, array_like=True, gc=False):
    """What was agreed. ``received``: receipts are recorded of it (goods, not services).

    ``base``: the quantity in the product's own unit, as the source converts it; None when it is not told. ``taxes``:
    ids in the source, sorted, with commas between; None when not told. ``tax``: how much they are on one of net.
    ``category``: of the product, by its id; ``category_name``: with those above it, as the source prints it.
    """

    line_id: str
    product: str | None
    unit: str | None
    quantity: int
    price: int  # net, a unit
    received: bool
    base: int | None = None
    taxes: str | None = None
    tax: int | None = None
    category: str | None = None
    category_name: str | None = None


class ReceiptLine(Struct, array_like=True, gc=False):
    """What came in; negative: what went back. ``base``: the same in the product's own unit.

    ``exchanged``: the source does not count it in what the order received, neither the way out nor the way in.
    """

    order_line: str
    unit: str | None
    quantity: int
    base: int | None = None
    exchanged: bool = False


class BillLine(Struct, array_like=True, gc=False):
    """What is billed of an order line. ``taxes`` and ``tax`` as on an order line."""

    order_line: str
    unit: str | None
    quantity: int
    price: int  # net, a unit
    taxes: str | None = None
    tax: int | None = None


class ExtraLine(Struct, array_like=True, gc=False):
    """A line of a bill that bills no order line."""

    product: str | None
    account: str | None
    amount: int


class Order(Struct, array_like=True):
    """The order as it stands. ``rate``: units of its currency for one of the company's, as a decimal text.

    ``firm``: whether ``vendor`` is the commercial partner; else it is whom the order names, maybe a contact. ``vat``:
    the vendor's tax number, letters and digits only.
    """

    key: str
    version: int
    live: bool
    state: str | None
    company_id: str | None
    vendor: str | None
    currency: str | None
    rate: str | None
    created_at: int
    event_id: str
    lines: list[OrderLine]
    acts: dict[str, Act]
    firm: bool = False
    vat: str | None = None


class Receipt(Struct, array_like=True):
    """A receipt that was done, or a return. ``at``: when; ``entered``: when it was made; ``waited``: as of a bill."""

    key: str
    version: int
    live: bool
    at: int
    event_id: str
    lines: list[ReceiptLine]
    acts: dict[str, Act]
    entered: int = 0
    waited: int = 0


class Bill(Struct, array_like=True):
    """A bill (``refund``: a credit note). ``at``: since when it bills; ``net``: of all its lines.

    ``waited``: the end of its grace, once the time of its source has passed that; 0 before. ``vendor``: the commercial
    partner that it is of; ``vat``: its tax number, letters and digits only.
    """

    key: str
    version: int
    live: bool
    draft: bool
    refund: bool
    date: int | None  # on the document, days since the epoch
    currency: str | None
    rate: str | None
    at: int
    event_id: str
    net: int
    total: Decimal | None  # gross
    lines: list[BillLine]
    extras: list[ExtraLine]  # of a bill of several orders: told to the first of them only
    acts: dict[str, Act]
    waited: int = 0
    vendor: str | None = None
    vat: str | None = None


class Chain(Struct, array_like=True):
    """An order's documents, and what was said of them."""

    order: Order | None = None
    receipts: dict[str, Receipt] = {}
    bills: dict[str, Bill] = {}
    said: dict[str, Said] = {}

    def counted_bills(self, drafts: bool) -> list[Bill]:
        """The bills that count, in the order in which they began to bill."""
        if not self.bills:
            return []
        found = [bill for bill in self.bills.values() if bill.live and (drafts or not bill.draft)]
        if len(found) > 1:
            found.sort(key=_began)
        return found

    def done_receipts(self) -> list[Receipt]:
        """The receipts, in the order in which they were done."""
        if not self.receipts:
            return []
        found = [receipt for receipt in self.receipts.values() if receipt.live]
        if len(found) > 1:
            found.sort(key=_began)
        return found


def _began(one: Bill | Receipt) -> tuple[int, str]:
    return one.at, one.key
