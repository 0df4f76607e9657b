"""account.move with its lines: vendor bills, customer invoices and journal entries.

The move of a bank statement line is left out: it is the bank line's own (Odoo's `_inherits`) and would count twice.
"""

from typing import Any

from producers.odoo.accounts import mask_ibans
from producers.odoo.mapping.flat import flat
from producers.odoo.mapping.spec import STAMPS, Child, Document, Fields, Joined, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, day, flag, number, ref, ref_name, refs, text

BILL_TYPES = ("in_invoice", "in_refund", "in_receipt")
INVOICE_TYPES = ("out_invoice", "out_refund", "out_receipt")

LINE = Child(
    model="account.move.line",
    parent="move_id",
    fields=Fields(
        (
            "move_id",
            "display_type",
            "name",
            "product_id",
            "account_id",
            "quantity",
            "product_uom_id",
            "price_unit",
            "discount",
            "tax_ids",
            "price_subtotal",
            "price_total",
            "debit",
            "credit",
            "amount_currency",
            "partner_id",
            "purchase_line_id",  # only with the purchase app
            "purchase_order_id",  # related over the former, not stored
            "sale_line_ids",  # only with the sales app
            "write_date",
        )
    ),
    domain=(("display_type", "not in", ["line_section", "line_note", "payment_term"]),),
)


def entity_of(move_type: object) -> str | None:
    """Entity of a move type; None for an unknown one."""
    if move_type in BILL_TYPES:
        return "bill"
    if move_type in INVOICE_TYPES:
        return "invoice"
    return "entry" if move_type == "entry" else None


@flat
def line(row: Row) -> dict[str, Any]:
    """A line of a bill, invoice or entry."""
    return {
        "line_id": str(row["id"]),
        "product_id": ref(row, "product_id"),
        "label": mask_ibans(text(row, "name")),
        "account_id": ref(row, "account_id"),
        "quantity": number(row, "quantity"),
        "unit": ref_name(row, "product_uom_id"),
        "price_unit": number(row, "price_unit"),
        "subtotal": number(row, "price_subtotal"),
        "total": number(row, "price_total"),
        "debit": number(row, "debit"),
        "credit": number(row, "credit"),
        "purchase_line_id": ref(row, "purchase_line_id"),
        "partner_id": ref(row, "partner_id"),
        "unit_id": ref(row, "product_uom_id"),
        "discount": number(row, "discount"),
        "tax_ids": refs(row, "tax_ids"),
        "amount_currency": number(row, "amount_currency"),
    }


@flat
def invoice_line(row: Row) -> dict[str, Any]:
    """A line of a customer invoice."""
    return {**line(row), "sale_line_ids": refs(row, "sale_line_ids")}


@flat
def bill_line(row: Row, source: Source) -> dict[str, Any]:
    """A line of a bill: it names the order that it bills."""
    order = ref(row, "purchase_order_id")
    return {**line(row), "purchase_order_key": source.key("purchase_order", order) if order else None}


def _checked(row: Row, source: Source) -> bool | None:
    """Whether somebody reviewed it: 18 has `checked`, 17 the inverse `to_check`."""
    if source.version >= 18:
        return flag(row, "checked")
    to_check = flag(row, "to_check")
    return None if to_check is None else not to_check


def _report(row: Row, source: Source) -> str | None:
    """Expense report that a bill reimburses: 17 and 18 name it, from 19 on expenses name their receipt.

    A receipt may be of several expenses of one employee: the first stands for all.
    """
    if source.version < 19:
        return ref(row, "expense_sheet_id")
    return next(iter(refs(row, "expense_ids")), None)


def printed_number(row: Row, field: str = "name") -> str | None:
    """Printed number; a draft's is empty (18) or `/` (17)."""
    name = text(row, field)
    return None if name == "/" else name


def _vendor(row: Row, source: Source) -> dict[str, Any]:
    """Who the vendor was when the bill was read: what shows that two vendor records are one firm.

    An address says nothing but whether two are the same, so it is hashed as account numbers are. The account's number
    stands before its bank's name in the account's display name.
    """
    address = [text(row, f"commercial_partner_id.{name}") or "" for name in ("street", "zip", "city")]
    account = ref_name(row, "partner_bank_id")
    return {
        "vendor_name": text(row, "commercial_partner_id.name"),
        "vendor_vat": text(row, "commercial_partner_id.vat"),
        "vendor_address_hash": source.hasher.hash(" ".join(address))
        if address[0] and (address[1] or address[2])
        else None,
        "bank_account_hash": source.hasher.hash(account.split(" - ")[0]) if account else None,
    }


def _is_bill(row: Row) -> bool:
    return row.get("move_type") in BILL_TYPES


@flat
def document(row: Row, lines: Lines, source: Source) -> Document | None:
    """A bill, invoice or entry; lines without tax and balancing ones for bills and invoices, all of an entry."""
    if row.get("statement_line_id"):
        return None
    entity = entity_of(row.get("move_type"))
    if entity is None:
        return None
    reversed_id = ref(row, "reversed_entry_id")
    body = {
        "name": printed_number(row),
        "move_type": text(row, "move_type"),
        "state": text(row, "state"),
        "payment_state": text(row, "payment_state"),
        "reference": mask_ibans(text(row, "ref")),
        "payment_reference": mask_ibans(text(row, "payment_reference")),
        "partner_id": ref(row, "partner_id"),
        "commercial_partner_id": ref(row, "commercial_partner_id"),
        "partner_name": text(row, "invoice_partner_display_name") or ref_name(row, "partner_id"),
        "invoice_date": day(row, "invoice_date"),
        "due_date": day(row, "invoice_date_due"),
        "accounting_date": day(row, "date"),
        "currency": ref_name(row, "currency_id"),
        "amount_untaxed": number(row, "amount_untaxed"),
        "amount_tax": number(row, "amount_tax"),
        "amount_total": number(row, "amount_total"),
        "amount_residual": number(row, "amount_residual"),
        "amount_total_company": number(row, "amount_total_signed"),
        "journal_id": ref(row, "journal_id"),
        "origin": text(row, "invoice_origin"),
        "responsible": ref(row, "invoice_user_id"),
        "bank_account_id": ref(row, "partner_bank_id"),
        # A credit note reverses a document of its own side, so it is of the same entity.
        "reversed_key": source.key(entity, reversed_id) if reversed_id else None,
        "posted_before": flag(row, "posted_before"),
        "checked": _checked(row, source),
        **stamps(row),
        "lines": [
            bill_line(one, source) if entity == "bill" else invoice_line(one) if entity == "invoice" else line(one)
            for one in lines.get(LINE.model, ())
            if entity == "entry" or one.get("display_type") in ("product", None, False)
        ],
    }
    if entity != "entry":
        body["payment_term_id"] = ref(row, "invoice_payment_term_id")
    if entity == "bill":
        report = _report(row, source)
        body["expense_report_key"] = source.key("expense_report", report) if report else None
        body |= _vendor(row, source)
    return Document(entity, ref(row, "company_id"), body)


MAPPING = Mapping(
    model="account.move",
    entities=("bill", "invoice", "entry"),
    domain=(("statement_line_id", "=", False),),
    fields=Fields(
        (
            "name",
            "move_type",
            "state",
            "payment_state",
            "ref",
            "payment_reference",
            "partner_id",
            "commercial_partner_id",
            "invoice_partner_display_name",
            "invoice_date",
            "invoice_date_due",
            "date",
            "currency_id",
            "amount_untaxed",
            "amount_tax",
            "amount_total",
            "amount_residual",
            "amount_total_signed",
            "journal_id",
            "invoice_origin",
            "invoice_user_id",
            "partner_bank_id",
            "invoice_payment_term_id",
            "reversed_entry_id",
            "statement_line_id",
            "posted_before",
            "expense_sheet_id",  # only with the expenses app, up to 18
            "company_id",
            *STAMPS,
        ),
        {17: ("to_check",), 18: ("checked",), 19: ("checked", "expense_ids")},
    ),
    children=(LINE,),
    joined=(
        Joined("res.partner", "commercial_partner_id", Fields(("name", "vat", "street", "zip", "city")), _is_bill),
    ),
    map=document,
)
