"""Who bills an order: the vendor that it was given to, or another."""

from __future__ import annotations

from collections.abc import Iterator

from finwatch.domain.matching.chain import Bill, Order
from finwatch.domain.matching.whole_bills import billed, of_bill
from finwatch.domain.verdicts import Verdict


def other_vendor(order: Order, bills: list[Bill]) -> Iterator[Verdict]:
    """Bills, credit notes included, of another vendor than the order's. At risk is what they bill of the order."""
    for bill in bills:
        if bill.vendor == order.vendor or not _differ(order, bill):
            continue
        amount = -billed(bill) if bill.refund else billed(bill)
        reason = "The vendor that bills is not the one that the order was given to."
        yield of_bill("vendor_mismatch", order, bill, amount, reason)


def _differ(order: Order, bill: Bill) -> bool:
    """Whether two vendors that are not one record are two firms; False where that is not known.

    Contacts of one firm have one commercial partner. Records with one tax number are one firm. An order that does not
    tell its commercial partner (it was read by an older version, or the source knows none) may name a contact: then
    tax numbers alone tell.
    """
    if bill.vendor is None or order.vendor is None:
        return False
    if bill.vat is not None and order.vat is not None:
        return bill.vat != order.vat
    return order.firm
