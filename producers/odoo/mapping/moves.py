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
OF_PRODUCTS = ("product", None, False)
"""Display types of lines that are bought or sold."""

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
    return {**line(row), "purchase_order_key": _billed(row, source) if row.get("purchase_order_id") else None}


def _billed(row: Row, source: Source) -> str | None:
    order = ref(row, "purchase_order_id")
    return source.key("purchase_order", order) if order else None


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


def _address_hash(row: Row, source: Source) -> str | None:
    """An address says nothing but whether two are the same, so it is hashed as account numbers are."""
    street, *place = [text(row, f"commercial_partner_id.{name}") or "" for name in ("street", "zip", "city")]
    return source.hasher.hash(" ".join([street, *place])) if street and any(place) else None


def _account_hash(row: Row, source: Source) -> str | None:
    """The account's number stands before its bank's name in the account's display name."""
    account = ref_name(row, "partner_bank_id")
    return source.hasher.hash(account.split(" - ")[0]) if account else None


def _is_bill(row: Row) -> bool:
    return row.get("move_type") in BILL_TYPES


def _reversed(row: Row, source: Source, entity: str) -> str | None:
    """A credit note reverses a document of its own side, so it is of the same entity."""
    reversed_id = ref(row, "reversed_entry_id")
    return source.key(entity, reversed_id) if reversed_id else None


def _reimbursed(row: Row, source: Source) -> str | None:
    report = _report(row, source)
    return source.key("expense_report", report) if report else None


@flat
def _said(row: Row) -> dict[str, Any]:
    """What bills, invoices and entries have in common."""
    return {
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
    }


@flat
def bill(row: Row, lines: Lines, source: Source) -> dict[str, Any]:
    """A bill, without the lines of taxes and balances; and who the vendor was when it was read: what shows that two
    vendor records are one firm.
    """
    return {
        **_said(row),
        "reversed_key": _reversed(row, source, "bill") if row.get("reversed_entry_id") else None,
        "posted_before": flag(row, "posted_before"),
        "checked": _checked(row, source),
        **stamps(row),
        "lines": [
            bill_line(one, source) for one in lines.get(LINE.model, ()) if one.get("display_type") in OF_PRODUCTS
        ],
        "payment_term_id": ref(row, "invoice_payment_term_id"),
        "expense_report_key": _reimbursed(row, source),
        "vendor_name": text(row, "commercial_partner_id.name"),
        "vendor_vat": text(row, "commercial_partner_id.vat"),
        "vendor_address_hash": _address_hash(row, source),
        "bank_account_hash": _account_hash(row, source),
    }


@flat
def invoice(row: Row, lines: Lines, source: Source) -> dict[str, Any]:
    """A customer invoice, without the lines of taxes and balances."""
    return {
        **_said(row),
        "reversed_key": _reversed(row, source, "invoice") if row.get("reversed_entry_id") else None,
        "posted_before": flag(row, "posted_before"),
        "checked": _checked(row, source),
        **stamps(row),
        "lines": [invoice_line(one) for one in lines.get(LINE.model, ()) if one.get("display_type") in OF_PRODUCTS],
        "payment_term_id": ref(row, "invoice_payment_term_id"),
    }


@flat
def entry(row: Row, lines: Lines, source: Source) -> dict[str, Any]:
    """A journal entry with all of its lines."""
    return {
        **_said(row),
        "reversed_key": _reversed(row, source, "entry") if row.get("reversed_entry_id") else None,
        "posted_before": flag(row, "posted_before"),
        "checked": _checked(row, source),
        **stamps(row),
        "lines": [line(one) for one in lines.get(LINE.model, ())],
    }


BODIES = {"bill": bill, "invoice": invoice, "entry": entry}


def captured_as(row: Row) -> str | None:
    """Entity of a move; None for what is captured otherwise, or of an unknown type."""
    return None if row.get("statement_line_id") else entity_of(row.get("move_type"))


def document(row: Row, lines: Lines, source: Source) -> Document | None:
    """A bill, invoice or entry."""
    entity = captured_as(row)
    return None if entity is None else Document(entity, ref(row, "company_id"), BODIES[entity](row, lines, source))


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
    entity_of=captured_as,
    bodies=BODIES,
)
