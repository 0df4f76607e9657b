"""Outgoing stock.picking with its stock.move rows: deliveries. Returns to a vendor are receipts (``receipts``)."""

from collections.abc import Sequence
from typing import Any

from producers.odoo.mapping.spec import Document, Source, stamps
from producers.odoo.values import Row, moment, number, ref, ref_name, text


def line(row: Row) -> dict[str, Any]:
    """A move: demanded, and delivered once it is done. `quantity` of an open move is only reserved."""
    return {
        "line_id": str(row["id"]),
        "product_id": ref(row, "product_id"),
        "quantity_expected": number(row, "product_uom_qty"),
        "quantity_done": number(row, "quantity") if row.get("state") == "done" else None,
        "unit": ref_name(row, "product_uom"),
        "unit_id": ref(row, "product_uom"),
        "quantity_base": number(row, "product_qty"),
        "sale_line_id": ref(row, "sale_line_id"),
        "purchase_line_id": ref(row, "purchase_line_id"),
        "state": text(row, "state"),
        "moved_at": moment(row, "date"),
        "returned_line_id": ref(row, "origin_returned_move_id"),
    }


def outgoing(row: Row, moves: Sequence[Row], source: Source) -> bool:
    """Whether a picking delivers goods: by its type's code, else by a move that a sale order's line asked for."""
    if source.outgoing_types is not None:
        return ref(row, "picking_type_id") in source.outgoing_types
    return any(one.get("sale_line_id") for one in moves)


def delivery(row: Row, moves: Sequence[Row], source: Source) -> Document:
    """A delivery."""
    order_id, backorder_id, return_id = (ref(row, name) for name in ("sale_id", "backorder_id", "return_id"))
    body = {
        "name": text(row, "name"),
        "state": text(row, "state"),
        "partner_id": ref(row, "partner_id"),
        "scheduled_at": moment(row, "scheduled_date"),
        "done_at": moment(row, "date_done"),
        "origin": text(row, "origin"),
        "sale_order_key": source.key("sale_order", order_id) if order_id else None,
        "responsible": ref(row, "user_id"),
        "backorder_key": source.key("delivery", backorder_id) if backorder_id else None,
        # What goes back to a vendor was received before.
        "return_key": source.key("receipt", return_id) if return_id else None,
        **stamps(row),
        "lines": [line(one) for one in moves],
    }
    return Document("delivery", ref(row, "company_id"), body)
