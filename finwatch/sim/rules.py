"""Odoo's rules about what hangs together: one2many inverses, ownership, what a write touches, message subtypes.

Source: full-row comparisons before and after each action on running servers of both versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finwatch.sim.store import Transaction


@dataclass(frozen=True, slots=True)
class Inverse:
    """How a one2many is kept: records of `model` whose `field` points back; `only` narrows it by (field, values)."""

    model: str
    field: str
    only: tuple[str, frozenset[str]] | None = None
    newest_first: bool = False

    def admits(self, row: Mapping[str, Any]) -> bool:
        """True when the row belongs to the one2many."""
        return self.only is None or row.get(self.only[0]) in self.only[1]


_INVOICE_LINES = ("display_type", frozenset({"product", "line_section", "line_note"}))
_CHATTER = (
    "account.move",
    "account.payment",
    "purchase.order",
    "stock.picking",
    "hr.expense.sheet",
    "hr.expense",
    "res.partner",
    "res.partner.bank",
)

INVERSES: dict[tuple[str, str], Inverse] = {
    ("account.move", "line_ids"): Inverse("account.move.line", "move_id"),
    ("account.move", "invoice_line_ids"): Inverse("account.move.line", "move_id", _INVOICE_LINES),
    ("account.move", "reversal_move_ids"): Inverse("account.move", "reversed_entry_id"),
    ("account.move.line", "matched_debit_ids"): Inverse("account.partial.reconcile", "credit_move_id"),
    ("account.move.line", "matched_credit_ids"): Inverse("account.partial.reconcile", "debit_move_id"),
    ("account.move", "payment_ids"): Inverse("account.payment", "move_id"),
    ("purchase.order", "order_line"): Inverse("purchase.order.line", "order_id"),
    ("purchase.order.line", "invoice_lines"): Inverse("account.move.line", "purchase_line_id"),
    ("purchase.order.line", "move_ids"): Inverse("stock.move", "purchase_line_id"),
    ("sale.order", "order_line"): Inverse("sale.order.line", "order_id"),
    ("stock.picking", "move_ids"): Inverse("stock.move", "picking_id"),
    ("stock.picking", "move_ids_without_package"): Inverse("stock.move", "picking_id"),
    ("stock.picking", "backorder_ids"): Inverse("stock.picking", "backorder_id"),
    ("hr.expense.sheet", "expense_line_ids"): Inverse("hr.expense", "sheet_id"),
    ("hr.expense.sheet", "account_move_ids"): Inverse("account.move", "expense_sheet_id"),
    ("account.move", "expense_ids"): Inverse("hr.expense", "account_move_id"),
    ("res.partner", "bank_ids"): Inverse("res.partner.bank", "partner_id"),
    ("res.partner", "child_ids"): Inverse("res.partner", "parent_id"),
    ("mail.message", "tracking_value_ids"): Inverse("mail.tracking.value", "mail_message_id"),
} | {(model, "message_ids"): Inverse("mail.message", "res_id", newest_first=True) for model in _CHATTER}

OWNED: dict[str, tuple[str, ...]] = {
    "account.move": ("line_ids",),
    "purchase.order": ("order_line",),
    "stock.picking": ("move_ids",),
    "mail.message": ("tracking_value_ids",),
}
"""What is deleted with its owner."""

_ORDER_LINE_MIRRORS = frozenset({"state", "partner_id", "company_id", "currency_id"})


def touched_by(
    tx: Transaction, model: str, row: Mapping[str, Any], values: Mapping[str, Any]
) -> Iterator[tuple[str, list[int]]]:
    """Records whose write_date moves along with a write."""
    if model == "account.move":  # stored fields of the lines mirror the entry, even for a write of the same value
        yield "account.move.line", tx.children(model, row["id"], "line_ids")
    elif model == "account.move.line":
        yield "account.move", [row["move_id"]]
    elif model == "purchase.order" and not _ORDER_LINE_MIRRORS.isdisjoint(values):
        yield "purchase.order.line", tx.children(model, row["id"], "order_line")
    elif model == "purchase.order.line" and set(values) - {"name"}:  # a label moves the line only
        yield "purchase.order", [row["order_id"]]
    elif model == "stock.move":
        yield "stock.picking", [row["picking_id"]]
    elif model == "account.bank.statement.line":  # _inherits account.move: both rows move
        yield "account.move", [row["move_id"]]


def subtype_of(model: str, row: Mapping[str, Any], changes: Mapping[str, tuple[Any, Any]]) -> str:
    """Name of the message subtype that announces the changes (field -> old, new)."""
    state = changes.get("state")
    if model == "purchase.order" and state:
        if state[1] == "purchase":
            return "RFQ Approved" if state[0] == "to approve" else "RFQ Confirmed"
        return "RFQ Confirmed" if state[1] == "to approve" else "Note"
    if model == "account.move":
        paid = changes.get("payment_state")
        if paid and paid[1] == "paid":
            return "Paid"
        if state and state[1] == "posted" and str(row.get("move_type", "")).startswith("out_"):
            return "Validated"
    if state and (model, state[1]) in (("hr.expense.sheet", "approve"), ("hr.expense", "approved")):
        return "Approved"
    return "Note"
