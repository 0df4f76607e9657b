"""What people do in Odoo, as changes inside a transaction: order, receive, bill, post, pay, reconcile, report
expenses.

Amounts are floats rounded to two places, because that is what Odoo stores and puts on the wire. Who may do it is
not checked here. Differences between 17, 18 and 19 live in this module and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from finwatch.sim.errors import user_error
from finwatch.sim.store import Database, Row, Transaction

COMPANY = 1
SISTER = 2
"""Another company of the group, in the same database: it has bills of the same vendors."""
SALES_JOURNAL, BILLS_JOURNAL, MISC_JOURNAL, BANK_JOURNAL = 1, 2, 3, 6
RECEIVABLE, PAYABLE, EXPENSES, INCOME, TAX_PAID, TAX_DUE, SUSPENSE, BANK, OUTSTANDING_OUT, OUTSTANDING_IN = range(1, 11)
VENDOR_LOCATION, STOCK_LOCATION, RECEIPTS_TYPE, DELIVERIES_TYPE = 4, 8, 1, 2
TAX_RATE = 0.21
TAX, LOW_TAX = 1, 2
TAX_RATES = {TAX: TAX_RATE, LOW_TAX: 0.09}
"""Taxes by their ids."""
APPROVAL_THRESHOLD = 5000.0
"""Orders of this amount or more need a second person (purchase.po_double_validation)."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an order or a bill; `order_line` links a bill's line to its order's."""

    product: int | None
    name: str
    quantity: float
    price: float
    order_line: int | None = None

    @property
    def subtotal(self) -> float:
        """Net amount."""
        return money(self.quantity * self.price)


def money(value: float) -> float:
    """Rounded to cents."""
    return round(value + 0.0, 2)


def known(tx: Transaction, model: str, values: dict[str, Any]) -> dict[str, Any]:
    """The values whose fields this version of Odoo has."""
    return {name: value for name, value in values.items() if tx.db.has(model, name)}


def _currency(tx: Transaction) -> int:
    return int(tx.row("res.company", COMPANY)["currency_id"])


# Purchase orders and receipts


def create_order(tx: Transaction, vendor: int, lines: list[Line], planned: str, origin: str | None = None) -> int:
    """A request for quotation of the acting buyer. `planned` is a stored datetime."""
    untaxed = money(sum(line.subtotal for line in lines))
    tax = money(untaxed * TAX_RATE)
    currency = _currency(tx)
    values = {
        "name": f"P{tx.db.counter('purchase.order'):05d}",
        "state": "draft",
        "partner_id": vendor,
        "user_id": tx.uid,
        "company_id": COMPANY,
        "currency_id": currency,
        "currency_rate": 1.0,
        "amount_untaxed": untaxed,
        "amount_tax": tax,
        "amount_total": money(untaxed + tax),
        "amount_total_cc": money(untaxed + tax),
        "date_order": tx.stamp,
        "date_planned": planned,
        "date_calendar_start": tx.stamp,
        "invoice_status": "no",
        "picking_type_id": RECEIPTS_TYPE,
        "priority": "0",
        "origin": origin,
        "picking_ids": [],
        "invoice_ids": [],
    }
    order = tx.create("purchase.order", known(tx, "purchase.order", values))
    for position, line in enumerate(lines):
        line_values = {
            "order_id": order,
            "product_id": line.product,
            "name": line.name,
            "product_qty": line.quantity,
            "product_uom_qty": line.quantity,
            "product_uom": 1,
            "product_uom_id": 1,
            "price_unit": line.price,
            "price_subtotal": line.subtotal,
            "price_tax": money(line.subtotal * TAX_RATE),
            "price_total": money(line.subtotal * (1 + TAX_RATE)),
            "date_planned": planned,
            "partner_id": vendor,
            "company_id": COMPANY,
            "currency_id": currency,
            "state": "draft",
            "sequence": 10 + position,
            "taxes_id": [1],
            "tax_ids": [1],
            "propagate_cancel": True,
            "qty_received_method": "stock_moves" if _storable(tx, line.product) else "manual",
        }
        tx.create("purchase.order.line", known(tx, "purchase.order.line", line_values))
    tx.post("purchase.order", order, body="<p>Purchase Order created</p>")
    return order


def _storable(tx: Transaction, product: int | None) -> bool:
    row = tx.get("product.product", product) if product else None
    return bool(row) and not str((row or {}).get("name")).startswith("Service")


def confirm_order(tx: Transaction, order: int, *, manager: bool = False) -> None:
    """`button_confirm`: a manager's own confirmation skips the approval at any amount."""
    row = tx.row("purchase.order", order)
    if row["state"] not in ("draft", "sent"):
        return
    if manager or row["amount_total"] < APPROVAL_THRESHOLD:
        approve_order(tx, order)
    else:
        tx.write("purchase.order", order, {"state": "to approve"})
        _mirror_order_state(tx, order, "to approve")


def approve_order(tx: Transaction, order: int) -> None:
    """`button_approve`: the order stands, and its receipt is created."""
    tx.write("purchase.order", order, {"state": "purchase", "date_approve": tx.stamp, "invoice_status": "to invoice"})
    _mirror_order_state(tx, order, "purchase")
    _create_receipt(tx, order, _open_quantities(tx, order), backorder_of=None)


def cancel_order(tx: Transaction, order: int) -> None:
    """`button_cancel`."""
    row = tx.row("purchase.order", order)
    for picking in row.get("picking_ids") or ():
        if tx.row("stock.picking", picking)["state"] != "done":
            tx.write("stock.picking", picking, {"state": "cancel"})
    tx.write("purchase.order", order, {"state": "cancel", "invoice_status": "no"})
    _mirror_order_state(tx, order, "cancel")


def _mirror_order_state(tx: Transaction, order: int, state: str) -> None:
    for line in tx.children("purchase.order", order, "order_line"):
        tx.raw("purchase.order.line", line, {"state": state})  # a related stored field; the write above moved the dates


def _open_quantities(tx: Transaction, order: int) -> dict[int, float]:
    quantities = {}
    for line in tx.children("purchase.order", order, "order_line"):
        row = tx.row("purchase.order.line", line)
        remaining = row["product_qty"] - (row.get("qty_received") or 0.0)
        if row.get("qty_received_method") == "stock_moves" and remaining > 0:
            quantities[line] = remaining
    return quantities


def _create_receipt(tx: Transaction, order: int, quantities: dict[int, float], backorder_of: int | None) -> int | None:
    if not quantities:
        return None
    row = tx.row("purchase.order", order)
    name = f"WH/IN/{tx.db.counter('stock.picking'):05d}"
    values = {
        "name": name,
        "state": "assigned",
        "partner_id": row["partner_id"],
        "company_id": COMPANY,
        "origin": row["name"],
        "date": tx.stamp,
        "scheduled_date": row["date_planned"],
        "date_deadline": row["date_planned"],
        "location_id": VENDOR_LOCATION,
        "location_dest_id": STOCK_LOCATION,
        "picking_type_id": RECEIPTS_TYPE,
        "move_type": "direct",
        "priority": "0",
        "is_locked": True,
        "backorder_id": backorder_of,
    }
    picking = tx.create("stock.picking", known(tx, "stock.picking", values))
    for line, quantity in quantities.items():
        order_line = tx.row("purchase.order.line", line)
        move_values = {
            "picking_id": picking,
            "name": order_line["name"],
            "product_id": order_line["product_id"],
            "product_uom": 1,
            "product_uom_qty": quantity,
            "product_qty": quantity,
            "quantity": quantity,
            "price_unit": order_line["price_unit"],
            "purchase_line_id": line,
            "partner_id": row["partner_id"],
            "company_id": COMPANY,
            "origin": row["name"],
            "reference": name,
            "date": row["date_planned"],
            "date_deadline": row["date_planned"],
            "location_id": VENDOR_LOCATION,
            "location_dest_id": STOCK_LOCATION,
            "picking_type_id": RECEIPTS_TYPE,
            "procure_method": "make_to_stock",
            "state": "assigned",
            "sequence": 10,
            "priority": "0",
        }
        tx.create("stock.move", known(tx, "stock.move", move_values))
    tx.raw("purchase.order", order, {"picking_ids": [*(row.get("picking_ids") or ()), picking]})
    _receipt_status(tx, order)
    return picking


def receive(tx: Transaction, picking: int, share: float = 1.0) -> int | None:
    """`button_validate`: receive everything, or a `share` of each line and leave a backorder, whose id is returned."""
    done: dict[int, float] = {}
    order: int | None = None
    for move in tx.children("stock.picking", picking, "move_ids"):
        row = tx.row("stock.move", move)
        quantity = row["product_uom_qty"] if share >= 1 else max(1.0, float(int(row["product_uom_qty"] * share)))
        tx.write(
            "stock.move",
            move,
            known(tx, "stock.move", {"state": "done", "quantity": quantity, "picked": True, "date": tx.stamp}),
        )
        done[row["purchase_line_id"]] = quantity
    tx.write("stock.picking", picking, {"state": "done", "date_done": tx.stamp, "date": tx.stamp})
    for line, quantity in done.items():
        order_line = tx.row("purchase.order.line", line)
        order = order_line["order_id"]
        received = (order_line.get("qty_received") or 0.0) + quantity
        tx.write("purchase.order.line", line, {"qty_received": received})
    if order is None:
        return None
    tx.write("purchase.order", order, {"effective_date": tx.stamp})
    remaining = _open_quantities(tx, order)
    backorder = _create_receipt(tx, order, remaining, backorder_of=picking) if remaining else None
    _receipt_status(tx, order)
    return backorder


def send_back(tx: Transaction, picking: int, share: float, *, refund: bool = True) -> int:
    """Return a `share` of each line of a done receipt to the vendor, at once done.

    `refund`: it lowers what the order received (Odoo's `to_refund`, the wizard's default); else it is exchanged.
    """
    row = tx.row("stock.picking", picking)
    name = f"WH/OUT/{tx.db.counter('stock.picking.out'):05d}"
    values = {
        "name": name,
        "state": "done",
        "partner_id": row["partner_id"],
        "company_id": COMPANY,
        "origin": f"Return of {row['name']}",
        "date": tx.stamp,
        "date_done": tx.stamp,
        "scheduled_date": tx.stamp,
        "location_id": STOCK_LOCATION,
        "location_dest_id": VENDOR_LOCATION,
        "picking_type_id": DELIVERIES_TYPE,
        "return_id": picking,
        "move_type": "direct",
        "priority": "0",
        "is_locked": True,
    }
    back = tx.create("stock.picking", known(tx, "stock.picking", values))
    order: int | None = None
    for move in tx.children("stock.picking", picking, "move_ids"):
        came = tx.row("stock.move", move)
        quantity = max(1.0, float(int(came["quantity"] * share)))
        line = tx.row("purchase.order.line", came["purchase_line_id"])
        order = line["order_id"]
        move_values = {
            "picking_id": back,
            "name": came.get("name"),
            "product_id": came["product_id"],
            "product_uom": 1,
            "product_uom_qty": quantity,
            "product_qty": quantity,
            "quantity": quantity,
            "picked": True,
            "price_unit": came.get("price_unit"),
            "purchase_line_id": line["id"],
            "origin_returned_move_id": move,
            "to_refund": refund,
            "partner_id": row["partner_id"],
            "company_id": COMPANY,
            "origin": values["origin"],
            "reference": name,
            "date": tx.stamp,
            "location_id": STOCK_LOCATION,
            "location_dest_id": VENDOR_LOCATION,
            "picking_type_id": DELIVERIES_TYPE,
            "procure_method": "make_to_stock",
            "state": "done",
            "sequence": 10,
            "priority": "0",
        }
        tx.create("stock.move", known(tx, "stock.move", move_values))
        if refund:
            tx.write("purchase.order.line", line["id"], {"qty_received": (line.get("qty_received") or 0.0) - quantity})
    if order is not None:
        pickings = tx.row("purchase.order", order).get("picking_ids") or ()
        tx.raw("purchase.order", order, {"picking_ids": [*pickings, back]})
    return back


def replace_returned(tx: Transaction, back: int) -> int | None:
    """The receipt of other goods for those of a return that are exchanged; not received yet."""
    quantities: dict[int, float] = {}
    for move in tx.children("stock.picking", back, "move_ids"):
        row = tx.row("stock.move", move)
        quantities[row["purchase_line_id"]] = row["quantity"]
    order = tx.row("purchase.order.line", next(iter(quantities)))["order_id"]
    return _create_receipt(tx, order, quantities, backorder_of=None)


def _receipt_status(tx: Transaction, order: int) -> None:
    lines = [tx.row("purchase.order.line", i) for i in tx.children("purchase.order", order, "order_line")]
    stocked = [row for row in lines if row.get("qty_received_method") == "stock_moves"]
    if not stocked:
        return
    if all((row.get("qty_received") or 0) >= row["product_qty"] for row in stocked):
        status = "full"
    elif any(row.get("qty_received") for row in stocked):
        status = "partial"
    else:
        status = "pending"
    tx.write("purchase.order", order, {"receipt_status": status})


# Journal entries, bills and invoices


def _sign(move_type: str) -> int:
    """Sign of amount_total_signed: vendor bills are negative, vendor refunds positive."""
    return -1 if move_type in ("in_invoice", "in_receipt", "out_refund") else 1


def create_move(
    tx: Transaction,
    move_type: str,
    partner: int,
    lines: list[Line],
    *,
    ref: str | None,
    invoice_date: date,
    due: date,
    origin: str | None = None,
    bank_account: int | None = None,
    expense_sheet: int | None = None,
    term: int | None = None,
    reverses: int | None = None,
    tax_id: int = TAX,
) -> int:
    """A draft bill, credit note or invoice with its product, tax and payment-term lines.

    `reverses`: the bill that a credit note takes from. `tax_id`: one of TAX_RATES.
    """
    untaxed = money(sum(line.subtotal for line in lines))
    rate = TAX_RATES[tax_id]
    tax = money(untaxed * rate)
    total = money(untaxed + tax)
    sign = _sign(move_type)
    purchase = move_type.startswith("in_")
    currency = _currency(tx)
    partner_row = tx.row("res.partner", partner)
    # 17 dates a draft with today and numbers it '/', 18 leaves the number empty
    values = {
        "move_type": move_type,
        "state": "draft",
        "name": None if tx.db.major >= 18 else "/",
        "ref": ref,
        "partner_id": partner,
        "commercial_partner_id": partner_row.get("commercial_partner_id") or partner,
        "partner_shipping_id": partner,
        "invoice_partner_display_name": partner_row["name"],
        "company_id": COMPANY,
        "currency_id": currency,
        "journal_id": BILLS_JOURNAL if purchase else SALES_JOURNAL,
        "date": invoice_date.isoformat() if not purchase else max(invoice_date, tx.at.date()).isoformat(),
        "invoice_date": invoice_date.isoformat(),
        "invoice_date_due": due.isoformat(),
        "invoice_payment_term_id": term,
        "invoice_origin": origin,
        "invoice_user_id": None if purchase else tx.uid,
        "invoice_currency_rate": 1.0,
        "partner_bank_id": bank_account,
        "expense_sheet_id": expense_sheet,
        "reversed_entry_id": reverses,
        "amount_untaxed": untaxed,
        "amount_untaxed_signed": money(sign * untaxed),
        "amount_untaxed_in_currency_signed": money(sign * untaxed),
        "amount_tax": tax,
        "amount_tax_signed": money(sign * tax),
        "amount_total": total,
        "amount_total_signed": money(sign * total),
        "amount_total_in_currency_signed": money(sign * total),
        "amount_residual": total,
        "amount_residual_signed": money(sign * total),
        "payment_state": "not_paid",
        "posted_before": False,
        "auto_post": "no",
        "is_manually_modified": True,
        "sequence_number": 0,
        "sequence_prefix": None,
    }
    move = tx.create("account.move", known(tx, "account.move", values))
    debit = -sign  # a bill's product lines are debits
    for line in lines:
        extra = {
            "display_type": "product",
            "product_id": line.product,
            "product_uom_id": 1 if line.product else None,
            "name": line.name,
            "quantity": line.quantity,
            "price_unit": line.price,
            "price_subtotal": line.subtotal,
            "price_total": money(line.subtotal * (1 + rate)),
            "purchase_line_id": line.order_line,
            "tax_ids": [tax_id],
            "sequence": 100,
        }
        _move_line(tx, move, EXPENSES if purchase else INCOME, money(debit * line.subtotal), extra)
    tax_values = {
        "display_type": "tax",
        "name": f"{rate:.0%}",
        "tax_line_id": tax_id,
        "tax_base_amount": untaxed,
        "sequence": 10000,
    }
    _move_line(tx, move, TAX_PAID if purchase else TAX_DUE, money(debit * tax), tax_values)
    balance = money(-debit * total)
    term_values = {
        "display_type": "payment_term",
        "date_maturity": due.isoformat(),
        "amount_residual": balance,
        "sequence": 12000,
    }
    _move_line(tx, move, PAYABLE if purchase else RECEIVABLE, balance, term_values)
    tx.post("account.move", move, body="<p>Vendor Bill Created</p>" if purchase else "<p>Invoice Created</p>")
    _bill_orders(tx, move, +1)
    return move


def _move_line(tx: Transaction, move: int, account: int, balance: float, extra: dict[str, Any]) -> int:
    row = tx.row("account.move", move)
    values = {
        "move_id": move,
        "move_name": row.get("name"),
        "parent_state": row["state"],
        "account_id": account,
        "partner_id": row.get("partner_id"),
        "company_id": COMPANY,
        "company_currency_id": row["currency_id"],
        "currency_id": row["currency_id"],
        "journal_id": row["journal_id"],
        "date": row["date"],
        "invoice_date": row.get("invoice_date"),
        "ref": row.get("ref"),
        "balance": balance,
        "amount_currency": balance,
        "debit": balance if balance > 0 else 0.0,
        "credit": -balance if balance < 0 else 0.0,
        "display_type": "product",
        "quantity": 0.0,
        "sequence": 100,
    } | extra
    values.setdefault("amount_residual", 0.0)
    values["amount_residual_currency"] = values["amount_residual"]
    return tx.create("account.move.line", known(tx, "account.move.line", values))


def _bill_orders(tx: Transaction, move: int, direction: int) -> None:
    """Keep the billed quantities and invoice_status of the orders behind a bill."""
    orders: dict[int, None] = {}
    sign = -direction if tx.row("account.move", move)["move_type"] == "in_refund" else direction
    for line in tx.children("account.move", move, "invoice_line_ids"):
        row = tx.row("account.move.line", line)
        if row.get("purchase_line_id"):
            order_line = tx.row("purchase.order.line", row["purchase_line_id"])
            billed = max(0.0, (order_line.get("qty_invoiced") or 0.0) + sign * row["quantity"])
            values = {"qty_invoiced": billed, "qty_to_invoice": max(0.0, order_line["product_qty"] - billed)}
            tx.write("purchase.order.line", order_line["id"], values)
            orders[order_line["order_id"]] = None
    for order in orders:
        order_row = tx.row("purchase.order", order)
        lines = [tx.row("purchase.order.line", i) for i in tx.children("purchase.order", order, "order_line")]
        complete = all((row.get("qty_invoiced") or 0.0) >= row["product_qty"] for row in lines)
        linked = [i for i in order_row.get("invoice_ids") or () if i != move] + ([move] if direction > 0 else [])
        status = {"invoice_status": "invoiced" if complete else "to invoice", "invoice_count": len(linked)}
        tx.write("purchase.order", order, status)
        tx.raw("purchase.order", order, {"invoice_ids": linked})


def _prefix(tx: Transaction, row: Row) -> str:
    code = tx.row("account.journal", row["journal_id"])["code"]
    year, month = str(row["date"])[:4], str(row["date"])[5:7]
    if code == "BILL":
        return f"BILL/{year}/{month}/"
    return f"{code}/{year}/"


def lock_books(tx: Transaction, day: date | None) -> None:
    """Set the date up to which nothing may be posted, or take it away."""
    tx.write("res.company", COMPANY, {"fiscalyear_lock_date": None if day is None else day.isoformat()})


def post_move(tx: Transaction, move: int, *, past_lock: bool = False) -> None:
    """`action_post`. The number is the highest in use plus one, so a deleted one comes again.

    What is dated in a locked period is booked today instead, unless the person has an exception (`past_lock`).
    """
    row = tx.row("account.move", move)
    if row["state"] != "draft":
        raise user_error("The entry must be in draft to be posted.")
    lock = tx.row("res.company", COMPANY).get("fiscalyear_lock_date")
    if lock and str(row["date"]) <= str(lock) and not past_lock:
        tx.write("account.move", move, {"date": tx.at.date().isoformat()})
        row = tx.row("account.move", move)
    values: dict[str, Any] = {"state": "posted", "posted_before": True}
    if not row.get("sequence_number"):
        values |= _numbered(tx, row)
    values["checked" if tx.db.has("account.move", "checked") else "to_check"] = tx.db.has("account.move", "checked")
    tx.write("account.move", move, values)
    _mirror_move(tx, move)
    partner = row.get("partner_id")
    if partner:
        rank = "supplier_rank" if str(row["move_type"]).startswith("in_") else "customer_rank"
        tx.increment("res.partner", partner, rank)


def _numbered(tx: Transaction, row: Row) -> dict[str, Any]:
    prefix = _prefix(tx, row)
    number = tx.next_number("account.move", prefix)
    width = 4 if prefix.startswith("BILL/") else 5
    return {"name": f"{prefix}{number:0{width}d}", "sequence_prefix": prefix, "sequence_number": number}


def _mirror_move(tx: Transaction, move: int) -> None:
    row = tx.row("account.move", move)
    mirrored = {"parent_state": row["state"], "move_name": row.get("name"), "ref": row.get("ref")}
    for line in tx.children("account.move", move, "line_ids"):
        tx.raw("account.move.line", line, mirrored)  # related stored fields; the write before moved the dates


def draft_move(tx: Transaction, move: int) -> None:
    """`button_draft`: the number stays on the record."""
    row = tx.row("account.move", move)
    if row["state"] not in ("posted", "cancel"):
        raise user_error("Only posted/cancelled journal entries can be reset to draft.")
    tx.write("account.move", move, {"state": "draft"})
    _mirror_move(tx, move)


def cancel_move(tx: Transaction, move: int) -> None:
    """`button_cancel`: a posted entry goes through draft in the same transaction, and tracking shows one change."""
    tx.write("account.move", move, {"state": "cancel"})
    _mirror_move(tx, move)
    _bill_orders(tx, move, -1)


def delete_move(tx: Transaction, move: int) -> None:
    """`unlink` of a draft, mid-sequence or not: nothing remains."""
    if tx.row("account.move", move)["state"] == "posted":
        raise user_error("You can't delete a posted journal item.")
    _bill_orders(tx, move, -1)
    tx.unlink("account.move", move)


def _entry(
    tx: Transaction, journal: int, partner: int | None, on: date, ref: str | None, total: float, extra: Row
) -> int:
    values = {
        "move_type": "entry",
        "state": "posted",
        "posted_before": True,
        "partner_id": partner,
        "commercial_partner_id": partner,
        "company_id": COMPANY,
        "currency_id": _currency(tx),
        "journal_id": journal,
        "date": on.isoformat(),
        "ref": ref,
        "payment_state": "not_paid",
        "auto_post": "no",
        "always_tax_exigible": True,
        "amount_total": money(abs(total)),
        "amount_total_signed": money(abs(total)),
        "amount_total_in_currency_signed": money(abs(total)),
        "checked": True,
    } | extra
    row = known(tx, "account.move", values)
    row |= _numbered(tx, row) if "sequence_prefix" not in row else {}
    return tx.create("account.move", row)


def journal_entry(tx: Transaction, on: date, text: str, amount: float, partner: int | None = None) -> int:
    """A draft of a miscellaneous entry: expenses against what vendors are owed, of ``partner`` or of none."""
    draft = {"state": "draft", "posted_before": False, "name": None if tx.db.major >= 18 else "/"}
    entry = _entry(tx, MISC_JOURNAL, None, on, text, amount, {**draft, "sequence_prefix": None, "sequence_number": 0})
    of_whom = {"partner_id": partner, "name": text}
    _move_line(tx, entry, EXPENSES, money(-amount), {"partner_id": None, "name": text})
    _move_line(tx, entry, PAYABLE, money(amount), of_whom)
    return entry


# Payments and bank


def pay(tx: Transaction, bills: Iterable[int], on: date, bank_account: int | None = None) -> int:
    """Register one payment of bills or invoices of one partner in full; created and posted in one transaction.

    Returns the account.payment. Nothing of it is tracked: who paid is its create_uid.
    """
    moves = list(bills)
    first = tx.row("account.move", moves[0])
    inbound = str(first["move_type"]).startswith("out_")
    partner, currency = first["partner_id"], first["currency_id"]
    amount = money(sum(tx.row("account.move", move)["amount_residual"] for move in moves))
    memo = ", ".join(str(tx.row("account.move", m).get("ref" if not inbound else "name") or "") for m in moves)
    prefix = f"PBNK1/{on.year}/"
    number = tx.next_number("account.move", prefix)
    name = f"{prefix}{number:05d}"
    entry = _entry(
        tx, BANK_JOURNAL, partner, on, memo, amount,
        {"name": name, "sequence_prefix": prefix, "sequence_number": number, "partner_bank_id": bank_account},
    )  # fmt: skip
    sign = 1 if inbound else -1
    counter_account = RECEIVABLE if inbound else PAYABLE
    liquidity = money(sign * amount)
    _move_line(
        tx,
        entry,
        OUTSTANDING_IN if inbound else OUTSTANDING_OUT,
        liquidity,
        {"amount_residual": liquidity, "name": f"Manual Payment: {memo}"},
    )
    counterpart = _move_line(
        tx,
        entry,
        counter_account,
        -liquidity,
        {"amount_residual": 0.0, "reconciled": True, "name": f"Manual Payment: {memo}"},
    )
    values = {
        "name": name,
        "state": "paid",
        "date": on.isoformat(),
        "memo": memo,
        "journal_id": BANK_JOURNAL,
        "company_id": COMPANY,
        "move_id": entry,
        "amount": amount,
        "amount_company_currency_signed": liquidity,
        "currency_id": currency,
        "partner_id": partner,
        "partner_type": "customer" if inbound else "supplier",
        "payment_type": "inbound" if inbound else "outbound",
        "partner_bank_id": bank_account,
        "payment_method_id": 1 if inbound else 2,
        "payment_method_line_id": 1 if inbound else 2,
        "destination_account_id": counter_account,
        "outstanding_account_id": OUTSTANDING_IN if inbound else OUTSTANDING_OUT,
        "is_reconciled": True,
        "invoice_ids": moves,
    }
    payment = tx.create("account.payment", known(tx, "account.payment", values))
    tx.raw("account.move", entry, {"origin_payment_id" if tx.db.major >= 18 else "payment_id": payment})
    tx.post("account.payment", payment, body="<p>Payment created</p>")
    for move in moves:
        _settle(tx, move, counterpart, payment, on)
    return payment


def _settle(tx: Transaction, move: int, counterpart: int, payment: int, on: date) -> None:
    row = tx.row("account.move", move)
    term = next(
        i for i in tx.children("account.move", move, "line_ids")
        if tx.row("account.move.line", i)["display_type"] == "payment_term"
    )  # fmt: skip
    inbound = str(row["move_type"]).startswith("out_")
    full = tx.create("account.full.reconcile", {"name": None})
    tx.create(
        "account.partial.reconcile",
        {
            "amount": row["amount_residual"],
            "debit_amount_currency": row["amount_residual"],
            "credit_amount_currency": row["amount_residual"],
            "debit_move_id": term if inbound else counterpart,
            "credit_move_id": counterpart if inbound else term,
            "debit_currency_id": row["currency_id"],
            "credit_currency_id": row["currency_id"],
            "company_id": COMPANY,
            "full_reconcile_id": full,
            "max_date": on.isoformat(),
        },
    )
    done = {
        "amount_residual": 0.0,
        "amount_residual_currency": 0.0,
        "reconciled": True,
        "full_reconcile_id": full,
        "matching_number": str(full),
    }
    tx.raw("account.move.line", term, done)
    tx.raw("account.move.line", counterpart, {"full_reconcile_id": full, "matching_number": str(full)})
    values: dict[str, Any] = {"amount_residual": 0.0, "amount_residual_signed": 0.0, "payment_state": "paid"}
    tx.write("account.move", move, values)  # moves write_date of the bill and its lines, write_uid is the payer
    if tx.db.has("account.move", "matched_payment_ids"):
        tx.raw("account.move", move, {"matched_payment_ids": [*(row.get("matched_payment_ids") or ()), payment]})


def reset_payment(tx: Transaction, payment: int) -> None:
    """`action_draft` of a payment: its bills are open again.

    In 18 the posted journal entry is deleted without trace, and its number is free again; in 17 it becomes a draft.
    """
    row = tx.row("account.payment", payment)
    entry = row.get("move_id")
    if not entry:
        raise user_error("The payment is a draft already.")
    for line in tx.children("account.move", entry, "line_ids"):
        for side, other in (("matched_credit_ids", "credit_move_id"), ("matched_debit_ids", "debit_move_id")):
            for partial in tx.children("account.move.line", line, side):
                _reopen(tx, partial, other)
    if tx.db.major >= 18:
        tx.write("account.payment", payment, {"state": "draft", "move_id": None, "is_reconciled": False})
        tx.unlink("account.move", entry)
    else:
        tx.write("account.payment", payment, {"is_reconciled": False})
        draft_move(tx, entry)


def _reopen(tx: Transaction, partial: int, other: str) -> None:
    """Take one reconciliation back: the counterpart's entry is unpaid by its amount again."""
    reconciliation = tx.row("account.partial.reconcile", partial)
    amount = reconciliation["amount"]
    counterpart = tx.row("account.move.line", reconciliation[other])
    move = tx.row("account.move", counterpart["move_id"])
    residual = money((move.get("amount_residual") or 0.0) + amount)
    tx.unlink("account.partial.reconcile", partial)
    if reconciliation.get("full_reconcile_id") and tx.get(
        "account.full.reconcile", reconciliation["full_reconcile_id"]
    ):
        tx.unlink("account.full.reconcile", reconciliation["full_reconcile_id"])
    open_again = {"reconciled": False, "full_reconcile_id": None, "matching_number": None}
    balance = money(amount if counterpart["balance"] > 0 else -amount)
    tx.raw("account.move.line", counterpart["id"], open_again | {"amount_residual": balance})
    total = move.get("amount_total") or 0.0
    values = {
        "amount_residual": residual,
        "amount_residual_signed": money(_sign(str(move["move_type"])) * residual),
        "payment_state": "not_paid" if residual >= total else "partial",
    }
    tx.write("account.move", move["id"], values)


def bank_line(tx: Transaction, on: date, amount: float, label: str, partner: int | None = None) -> int:
    """A line of a bank statement, with the journal entry it delegates to; not reconciled yet."""
    currency = _currency(tx)
    entry = _entry(tx, BANK_JOURNAL, partner, on, None, amount, {})
    _move_line(tx, entry, BANK, amount, {"name": label})
    _move_line(tx, entry, SUSPENSE, -amount, {"name": label, "amount_residual": -amount})
    values = {
        "move_id": entry,
        "amount": amount,
        "amount_residual": -amount,
        "payment_ref": label,
        "partner_id": partner,
        "partner_name": None,
        "currency_id": currency,
        "company_id": COMPANY,
        "journal_id": BANK_JOURNAL,
        "is_reconciled": False,
        "sequence": 1,
    }
    line = tx.create("account.bank.statement.line", known(tx, "account.bank.statement.line", values))
    tx.raw("account.bank.statement.line", line, {"internal_index": f"{on:%Y%m%d}2147483646{line:010d}"})
    tx.raw("account.move", entry, {"statement_line_id": line})
    return line


def reconcile_bank_line(tx: Transaction, line: int, partner: int, *, inbound: bool) -> None:
    """Match a bank line: its suspense line takes the outstanding account, which is tracked on the entry."""
    row = tx.row("account.bank.statement.line", line)
    for item in tx.children("account.move", row["move_id"], "line_ids"):
        if tx.row("account.move.line", item)["account_id"] == SUSPENSE:
            account = OUTSTANDING_IN if inbound else OUTSTANDING_OUT
            tx.write("account.move.line", item, {"account_id": account, "amount_residual": 0.0, "reconciled": True})
    tx.write(
        "account.bank.statement.line", line, {"is_reconciled": True, "amount_residual": 0.0, "partner_id": partner}
    )


# Expenses. Up to 18 a report (hr.expense.sheet) gathers expenses; from 19 on each expense stands for itself.


def report_model(db: Database) -> str:
    """Model of what an employee submits and a manager decides."""
    return "hr.expense" if db.major >= 19 else "hr.expense.sheet"


def create_report(
    tx: Transaction, employee: int, manager_user: int, title: str, items: list[tuple[str, float]], on: date
) -> int:
    """A draft expense report with its expenses; `items` are (name, gross amount). From 19 on one expense of the sum."""
    total = money(sum(amount for _, amount in items))
    net = money(total / (1 + TAX_RATE))
    currency = _currency(tx)
    if tx.db.major >= 19:
        values = _expense(employee, title, total, on, currency) | {"state": "draft", "manager_id": manager_user}
        expense_id = tx.create("hr.expense", known(tx, "hr.expense", values))
        tx.post("hr.expense", expense_id, body="<p>Expense created</p>")
        return expense_id
    values = {
        "name": title,
        "state": "draft",
        "payment_state": "not_paid",
        "employee_id": employee,
        "user_id": manager_user,
        "company_id": COMPANY,
        "currency_id": currency,
        "journal_id": BILLS_JOURNAL,
        "employee_journal_id": BILLS_JOURNAL,
        "total_amount": total,
        "untaxed_amount": net,
        "total_tax_amount": money(total - net),
    }
    sheet = tx.create("hr.expense.sheet", known(tx, "hr.expense.sheet", values))
    for name, amount in items:
        expense = _expense(employee, name, amount, on, currency) | {"state": "reported", "sheet_id": sheet}
        tx.create("hr.expense", known(tx, "hr.expense", expense))
    tx.post("hr.expense.sheet", sheet, body="<p>Expense Report created</p>")
    return sheet


def _expense(employee: int, name: str, amount: float, on: date, currency: int) -> dict[str, Any]:
    net = money(amount / (1 + TAX_RATE))
    return {
        "name": name,
        "employee_id": employee,
        "company_id": COMPANY,
        "currency_id": currency,
        "date": on.isoformat(),
        "payment_mode": "own_account",
        "quantity": 1.0,
        "price_unit": amount,
        "total_amount": amount,
        "total_amount_currency": amount,
        "untaxed_amount": net,
        "untaxed_amount_currency": net,
        "tax_amount": money(amount - amount / (1 + TAX_RATE)),
        "tax_amount_currency": money(amount - amount / (1 + TAX_RATE)),
        "account_id": EXPENSES,
    }


def submit_report(tx: Transaction, report: int) -> None:
    """`action_submit_sheet`, from 19 on `action_submit`."""
    if tx.db.major >= 19:
        tx.write("hr.expense", report, {"state": "submitted", "approval_state": "submitted"})
        return
    tx.write("hr.expense.sheet", report, {"state": "submit", "approval_state": "submit"})
    _expense_state(tx, report, "submitted")


def approve_report(tx: Transaction, report: int) -> None:
    """`action_approve_expense_sheets`, from 19 on `action_approve`; the approval date is stored as midnight.

    From 19 on the manager becomes who approved.
    """
    midnight = f"{tx.stamp[:10]} 00:00:00.000000"
    if tx.db.major >= 19:
        decided = {"state": "approved", "approval_state": "approved", "approval_date": midnight, "manager_id": tx.uid}
        tx.write("hr.expense", report, decided)
        return
    tx.write("hr.expense.sheet", report, {"state": "approve", "approval_state": "approve", "approval_date": midnight})
    _expense_state(tx, report, "approved")


def refuse_report(tx: Transaction, report: int, reason: str) -> None:
    """`refuse_sheet`, from 19 on the refusal's wizard: the reason goes into the chatter."""
    model = report_model(tx.db)
    if tx.db.major >= 19:
        tx.write(model, report, {"state": "refused", "approval_state": "refused"})
    else:
        tx.write(model, report, {"state": "cancel", "approval_state": "cancel"})
        _expense_state(tx, report, "refused")
    tx.post(model, report, body=f"<p>Reason: {reason}</p>")


def post_report(tx: Transaction, report: int, partner: int, on: date) -> int:
    """Post the report: a posted bill to the employee, from 19 on a receipt, which names it. Returns the bill."""
    row = tx.row(report_model(tx.db), report)
    if tx.db.major >= 19:
        lines = [Line(None, row["name"], 1.0, row["untaxed_amount_currency"])]
        receipt = create_move(tx, "in_receipt", partner, lines, ref=row["name"], invoice_date=on, due=on)
        post_move(tx, receipt)
        tx.write("hr.expense", report, {"state": "posted", "account_move_id": receipt})
        return receipt
    lines = []
    for expense in tx.children("hr.expense.sheet", report, "expense_line_ids"):
        item = tx.row("hr.expense", expense)
        lines.append(Line(None, item["name"], 1.0, item["untaxed_amount_currency"]))
    bill = create_move(
        tx, "in_invoice", partner, lines, ref=row["name"], invoice_date=on, due=on, expense_sheet=report
    )  # fmt: skip
    post_move(tx, bill)
    tx.write("hr.expense.sheet", report, {"state": "post", "accounting_date": on.isoformat()})
    return bill


def close_report(tx: Transaction, report: int) -> None:
    """The report is paid back."""
    if tx.db.major >= 19:
        tx.write("hr.expense", report, {"state": "paid"})
        return
    tx.write("hr.expense.sheet", report, {"state": "done", "payment_state": "paid", "amount_residual": 0.0})
    _expense_state(tx, report, "done")


def _expense_state(tx: Transaction, sheet: int, state: str) -> None:
    for expense in tx.children("hr.expense.sheet", sheet, "expense_line_ids"):
        tx.write("hr.expense", expense, {"state": state})


# Vendors' bank accounts


def create_bank_account(tx: Transaction, partner: int, number: str, *, trusted: bool) -> int:
    """A bank account of a partner; does not move the partner's write_date."""
    return tx.create(
        "res.partner.bank",
        {
            "partner_id": partner,
            "acc_number": number,
            "sanitized_acc_number": number,
            "acc_holder_name": tx.row("res.partner", partner)["name"],
            "allow_out_payment": trusted,
            "sequence": 10,
        },
    )


def set_trust(tx: Transaction, account: int, trusted: bool) -> None:
    """Allow or forbid payments to the account."""
    tx.write("res.partner.bank", account, {"allow_out_payment": trusted})


def change_number(tx: Transaction, account: int, number: str) -> None:
    """Change the number; a trusted account refuses."""
    if tx.row("res.partner.bank", account)["allow_out_payment"]:
        raise user_error("You cannot modify the account number or partner of an account that has been trusted.")
    tx.write("res.partner.bank", account, {"acc_number": number, "sanitized_acc_number": number})


METHODS: dict[tuple[str, str], Callable[[Transaction, int], Any]] = {
    ("account.move", "action_post"): post_move,
    ("account.move", "button_draft"): draft_move,
    ("account.move", "button_cancel"): cancel_move,
    ("account.payment", "action_draft"): reset_payment,
    ("purchase.order", "button_confirm"): confirm_order,
    ("purchase.order", "button_approve"): approve_order,
    ("purchase.order", "button_cancel"): cancel_order,
    ("stock.picking", "button_validate"): receive,
    ("hr.expense.sheet", "action_submit_sheet"): submit_report,
    ("hr.expense.sheet", "action_approve_expense_sheets"): approve_report,
    ("hr.expense", "action_submit"): submit_report,
    ("hr.expense", "action_approve"): approve_report,
}
"""Business methods that may be called over RPC."""
