"""Who bills an order: the vendor that it was given to, or another."""

from __future__ import annotations

from collections.abc import Iterator

from finwatch.domain.matching.chain import Bill, Order
from finwatch.domain.matching.units import in_company
from finwatch.domain.verdicts import Verdict, money

_MILLION = 1_000_000


def other_vendor(order: Order, bills: list[Bill]) -> Iterator[Verdict]:
    """Bills, credit notes included, of another vendor than the order's. At risk is what they bill of the order."""
    for bill in bills:
        if bill.vendor == order.vendor or not _differ(order, bill):
            continue
        billed = sum(round(line.quantity * line.price / _MILLION) for line in bill.lines)
        at_risk = money(-billed if bill.refund else billed)
        yield Verdict(
            "vendor_mismatch",
            (bill.key, order.key),
            [bill.key, order.key],
            "bill",
            order.company_id,
            bill.at,
            bill.at,
            ["The vendor that bills is not the one that the order was given to."],
            [order.event_id, bill.event_id],
            at_risk,
            bill.currency,
            company_amount=in_company(at_risk, bill.rate),
            entered=bill.at,
        )


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
