"""Which transaction a document belongs to: the document that it comes from, as far as its own row says. Pure.

A chain begins with an order: its receipts, deliveries, bills and time carry the order's key. A payment names its bill,
and the store's view `correlations` follows such links to their beginning; the capture reads nothing more for it.
Printed origins (`invoice_origin`) are no keys: Odoo gives numbers again.
"""

from collections.abc import Callable, Mapping
from typing import Any

Body = Mapping[str, Any]


def _first(*columns: str) -> Callable[[Body], str | None]:
    def above(body: Body) -> str | None:
        for name in columns:
            found: str | None = body.get(name)
            if found is not None:
                return found
        return None

    return above


_bill_without_order = _first("expense_report_key", "reversed_key")


def _bill(body: Body) -> str | None:
    """The order of the first line that bills one; else the expense report, else what it reverses."""
    for line in body.get("lines") or ():
        order: str | None = line.get("purchase_order_key")
        if order is not None:
            return order
    return _bill_without_order(body)


def _payment(body: Body) -> str | None:
    """The first of the documents that it pays."""
    keys = body.get("bill_keys")
    return keys[0] if keys else None


_ABOVE: Mapping[str, Callable[[Body], str | None]] = {
    "bill": _bill,
    "invoice": _first("reversed_key"),
    "entry": _first("reversed_key"),
    "payment": _payment,
    "receipt": _first("purchase_order_key", "return_key", "backorder_key"),
    "delivery": _first("sale_order_key", "return_key", "backorder_key"),
    "project": _first("sale_order_key"),
    "task": _first("sale_order_key"),
    "ticket": _first("sale_order_key"),
    "timesheet": _first("sale_order_key", "invoice_key"),
    "custom_record": _first("parent_key"),
}


def correlation(entity: str, body: Body, key: str) -> str:
    """Key of the document that one comes from; its own `key` where it comes from none that it names."""
    above = _ABOVE.get(entity)
    return key if above is None else above(body) or key
