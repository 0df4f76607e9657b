"""stock.picking with its stock.move rows: receipts and deliveries. Internal transfers are no documents.

A return to a vendor is a receipt with a minus: it belongs to the order that it takes from.
"""

from producers.odoo.mapping.deliveries import delivery, outgoing
from producers.odoo.mapping.receipts import incoming, receipt, sent_back, to_vendor
from producers.odoo.mapping.spec import STAMPS, Child, Document, Fields, Lines, Mapping, Source
from producers.odoo.values import Row

LINE = Child(
    model="stock.move",
    parent="picking_id",
    fields=Fields(
        (
            "picking_id",
            "product_id",
            "product_uom_qty",
            "product_qty",
            "quantity",
            "product_uom",
            "picked",
            "state",
            "date",
            "origin_returned_move_id",
            "to_refund",  # with the stock and accounting apps
            "purchase_line_id",  # only with the purchase app
            "sale_line_id",  # only with the sales app
            "write_date",
        )
    ),
)


def document(row: Row, lines: Lines, source: Source) -> Document | None:
    """A receipt or a delivery; None for an internal transfer."""
    moves = lines.get(LINE.model, ())
    if incoming(row, moves, source):
        return receipt(row, moves, source)
    if to_vendor(row, source):
        return sent_back(row, moves, source)
    return delivery(row, moves, source) if outgoing(row, moves, source) else None


MAPPING = Mapping(
    model="stock.picking",
    entities=("receipt", "delivery"),
    fields=Fields(
        (
            "name",
            "state",
            "partner_id",
            "picking_type_id",
            "scheduled_date",
            "date_done",
            "origin",
            "purchase_id",  # related, with the purchase and stock apps
            "sale_id",  # with the sales and stock apps
            "user_id",
            "backorder_id",
            "return_id",
            "company_id",
            *STAMPS,
        )
    ),
    children=(LINE,),
    map=document,
    shape="returns",  # read again where returns to vendors were taken for deliveries
)
