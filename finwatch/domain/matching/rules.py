"""The rules of the matching, as they declare themselves."""

from __future__ import annotations

from finwatch.domain.rules import Rule, book

DETECTOR = "matching"
_LINES = ("purchase_order.lines", "bill.lines")

RULES = book(
    Rule(
        "price_above_order",
        DETECTOR,
        "Billed at a higher price than was ordered",
        "A bill's line asks for more a unit than the order line it bills, net of discounts and taxes, after conversion "
        "of unit and currency, beyond the tolerance.",
        _LINES,
        ("matching.default", "matching.tolerances", "matching.units"),
        "{line}: the billed price is {percent} above the order's.",
        "Ordered at 125 a unit, billed at 140: 12.0 % above; at risk is 15 times the billed quantity.",
    ),
    Rule(
        "price_below_order",
        DETECTOR,
        "Billed at a lower price than was ordered",
        "As above, with a lower price: the amount at risk is negative.",
        _LINES,
        ("matching.default", "matching.tolerances", "matching.units"),
        "{line}: the billed price is {percent} below the order's.",
        "Ordered at 125 a unit, billed at 100: 20.0 % below.",
    ),
    Rule(
        "over_billed",
        DETECTOR,
        "Billed more than was ordered",
        "With this bill, the bills of an order line come to more than its quantity; credit notes are taken off. Bills "
        "count in the order in which they began to bill.",
        _LINES,
        ("matching.default", "matching.tolerances", "matching.draft_bills"),
        "{line}: {percent} more than was ordered is billed.",
        "Ordered 16, billed 19: 18.8 % more; at risk are three at the billed price.",
    ),
    Rule(
        "over_received",
        DETECTOR,
        "Received more than was ordered",
        "With this receipt, more of an order line has come in than was ordered; what went back is taken off. It is "
        "resolved when the surplus goes back.",
        ("purchase_order.lines", "receipt.lines"),
        ("matching.default", "matching.tolerances"),
        "{line}: {percent} more than was ordered came in.",
        "Ordered 10, received 6 and 5: the second receipt is 10.0 % too much.",
    ),
    Rule(
        "billed_before_receipt",
        DETECTOR,
        "Billed before the goods came",
        "A bill's grace has ended, and less of an order line had come in than was billed and ordered. The grace begins "
        "when the bill does, and passes in business time. It is resolved when the goods come, or are credited.",
        ("purchase_order.lines", "receipt.lines", "bill.lines"),
        ("matching.receipt_grace", "matching.draft_bills", "calendars"),
        "{line}: {percent} of what is billed had not come in when its grace ended.",
        "Ordered and billed 10, received 7 within two business days: 30.0 % had not come in.",
    ),
    Rule(
        "paid_before_receipt",
        DETECTOR,
        "Paid before the goods came",
        "A bill was paid while less of an order line had come in than was billed and ordered. It is resolved when the "
        "goods come, or are credited.",
        ("purchase_order.lines", "receipt.lines", "bill.lines", "bill.payment_state"),
        ("matching.draft_bills",),
        "{line}: it was paid while {percent} of what is billed had not come in.",
        "Ordered and billed 10, received 7, paid: 30.0 % had not come in.",
    ),
    Rule(
        "billed_after_return",
        DETECTOR,
        "Billed more than was kept",
        "A bill came after goods of the order had gone back to the vendor, and with it more of an order line is billed "
        "than was kept, credit notes taken off. What had not come at all is another matter (billed before the goods "
        "came), and so are goods that are exchanged: the source does not count their return. It is resolved when a "
        "credit note or new goods come.",
        ("purchase_order.lines", "receipt.lines", "receipt.lines.to_refund", "bill.lines"),
        ("matching.draft_bills",),
        "{line}: {percent} of what is billed had gone back before.",
        "Received 10 on Wednesday, three go back that day, billed 10 on Thursday: 30.0 % had gone back.",
    ),
    Rule(
        "return_not_credited",
        DETECTOR,
        "Goods went back, and no credit note came",
        "Billed goods went back to the vendor, and when the grace of the return ended, what is billed, credit notes "
        "taken off, was still more than was kept. The grace begins when the goods go, and passes in business time. A "
        "credit note counts for the earliest return; a bill that came after the return is told by itself. It is "
        "resolved when the credit note comes, or new goods.",
        ("purchase_order.lines", "receipt.lines", "receipt.lines.to_refund", "bill.lines"),
        ("matching.refund_grace", "matching.draft_bills", "calendars"),
        "{line}: {percent} of what went back was not credited when the grace ended.",
        "Received and billed 10 at 125; four go back, and none is credited within ten business days: at risk are 500.",
    ),
    Rule(
        "unordered_line",
        DETECTOR,
        "A bill of an order has lines that nobody ordered",
        "Lines without an order line, freight, tax and rounding apart, come to more than the tolerance.",
        ("bill.lines",),
        (
            "matching.apart_products",
            "matching.apart_accounts",
            "matching.unordered_absolute",
            "matching.unordered_percent",
        ),
        "Lines that bill no order line come to {percent} of the bill.",
        "Of a bill of 1,000 for an order, a line of 400 bills no order line: 40.0 % of the bill.",
    ),
    Rule(
        "billed_cancelled_order",
        DETECTOR,
        "A cancelled order is billed",
        "A bill that counts bills an order that is cancelled.",
        ("purchase_order.state", "bill.lines"),
        ("matching.draft_bills",),
        "The order that it bills is cancelled.",
        "An order is cancelled; its bill is posted.",
    ),
    Rule(
        "vendor_mismatch",
        DETECTOR,
        "Billed by another vendor than the order's",
        "The commercial partner of a bill, draft or not as the policy counts it, or of a credit note, is not that of "
        "the order that its lines bill. Contacts of one commercial partner and records with one tax number are one "
        "vendor. An order that does not tell its commercial partner is compared by tax numbers alone.",
        (
            "purchase_order.partner_id",
            "purchase_order.commercial_partner_id",
            "purchase_order.vendor_vat",
            "bill.commercial_partner_id",
            "bill.vendor_vat",
            "bill.lines",
        ),
        ("matching.draft_bills",),
        "The vendor that bills is not the one that the order was given to.",
        "An order of 1,250 was given to vendor 8; vendor 7, with another tax number, bills it: at risk are 1,250.",
    ),
    Rule(
        "tax_mismatch",
        DETECTOR,
        "Billed with other taxes than were ordered",
        "A bill's line bears other taxes than the order line it bills, by the taxes' records, those alike by the "
        "policy apart. At risk is what it bears more than the order's taxes come to on what is billed; less is "
        "negative. A line whose taxes were not told is left out; credit notes are judged with their bills.",
        ("purchase_order.lines.tax_ids", "bill.lines.tax_ids", "purchase_order.lines.total", "bill.lines.total"),
        ("matching.alike_taxes", "matching.draft_bills"),
        "{line}: it is billed with other taxes than were ordered.",
        "Ten at 125 are ordered with 6 % of tax and billed with 21 %: at risk are 187.50.",
    ),
    Rule(
        "not_comparable",
        DETECTOR,
        "A bill's line cannot be compared with its order line",
        "Unit or currency differ, and neither the source's own conversions (an order's and a receipt's quantities in "
        "the product's unit, the rates the documents were booked with) nor the policy's units say how they convert. "
        "Nothing else is said of the line.",
        _LINES,
        ("matching.units",),
        "{line}: its {what} differs from the order's, and how they convert is not known.",
        "Ordered in dozens, billed in pieces, and no unit table: nothing is said of price and quantity.",
    ),
)
