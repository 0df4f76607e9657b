"""Incoming stock.picking with its stock.move rows: goods receipts; and what goes back, with a minus (adr 23)."""

from collections.abc import Sequence
from typing import Any

from producers.odoo.mapping.flat import flat
from producers.odoo.mapping.spec import Document, Source, stamps
from producers.odoo.values import Row, flag, moment, number, ref, ref_name, text


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


def again(row: Row) -> dict[str, Any]:
    """A move that takes an earlier one back: whether the source counts it is told as well."""
    return {**line(row), "to_refund": flag(row, "to_refund")}


def sent(row: Row) -> dict[str, Any]:
    """A move of goods that go back: quantities with a minus. One that returns no other move is always counted."""
    found = again(row) if row.get("origin_returned_move_id") else line(row)
    for name in ("quantity_expected", "quantity_done", "quantity_base"):
        if found[name]:
            found[name] = -found[name]
    return found


def incoming(row: Row, moves: Sequence[Row], source: Source) -> bool:
    """Whether a picking receives goods: by its type's code, else by a move that an order line asked for."""
    if source.incoming_types is not None:
        return ref(row, "picking_type_id") in source.incoming_types
    return any(one.get("purchase_line_id") for one in moves)


def to_vendor(row: Row, source: Source) -> bool:
    """Whether a picking sends goods of an order back: one that delivers and comes of a purchase order.

    Odoo returns a receipt by a transfer of the type that the receipts' type names for it, by default the deliveries'.
    Told by the picking alone: what a document is may not hang on its lines (see ``compared``).
    """
    if source.outgoing_types is None:
        return False
    return ref(row, "picking_type_id") in source.outgoing_types and bool(row.get("purchase_id"))


def sent_back(row: Row, moves: Sequence[Row], source: Source) -> Document:
    """A return to a vendor: a receipt whose lines are negative."""
    document = receipt(row, (), source)
    return_id = ref(row, "return_id")
    document.body["return_key"] = source.key("receipt", return_id) if return_id else None
    document.body["lines"] = [sent(one) for one in moves]
    return document


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
        "lines": [again(one) if one.get("origin_returned_move_id") else line(one) for one in moves],
    }
    return Document("receipt", ref(row, "company_id"), body)
