"""Incoming stock.picking with its stock.move rows: goods receipts."""

from collections.abc import Sequence
from typing import Any

from producers.odoo.mapping.flat import flat
from producers.odoo.mapping.spec import Document, Source, stamps
from producers.odoo.values import Row, moment, number, ref, ref_name, text


@flat
def line(row: Row) -> dict[str, Any]:
    """A move: expected by the demand, done once the move is. `quantity` of an open move is only reserved."""
    done = number(row, "quantity") if row.get("state") == "done" else None
    return {
        "line_id": str(row["id"]),
        "product_id": ref(row, "product_id"),
        "quantity_expected": number(row, "product_uom_qty"),
        "quantity_done": done,
        "unit": ref_name(row, "product_uom"),
        "purchase_line_id": ref(row, "purchase_line_id"),
        "unit_id": ref(row, "product_uom"),
        "quantity_base": number(row, "product_qty"),
        "state": text(row, "state"),
        "moved_at": moment(row, "date"),
        "returned_line_id": ref(row, "origin_returned_move_id"),
    }


def incoming(row: Row, moves: Sequence[Row], source: Source) -> bool:
    """Whether a picking receives goods: by its type's code, else by a move that an order line asked for."""
    if source.incoming_types is not None:
        return ref(row, "picking_type_id") in source.incoming_types
    return any(one.get("purchase_line_id") for one in moves)


@flat
def receipt(row: Row, moves: Sequence[Row], source: Source) -> Document:
    """A receipt, of a vendor's goods or of what a customer sends back."""
    order_id, backorder_id, return_id = (ref(row, name) for name in ("purchase_id", "backorder_id", "return_id"))
    body = {
        "name": text(row, "name"),
        "state": text(row, "state"),
        "partner_id": ref(row, "partner_id"),
        "scheduled_at": moment(row, "scheduled_date"),
        "done_at": moment(row, "date_done"),
        "origin": text(row, "origin"),
        "purchase_order_key": source.key("purchase_order", order_id) if order_id else None,
        "responsible": ref(row, "user_id"),
        **stamps(row),
        "backorder_key": source.key("receipt", backorder_id) if backorder_id else None,
        # Goods received back were delivered before.
        "return_key": source.key("delivery", return_id) if return_id else None,
        "lines": [line(one) for one in moves],
    }
    return Document("receipt", ref(row, "company_id"), body)
