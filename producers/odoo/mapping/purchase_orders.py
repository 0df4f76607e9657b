"""purchase.order with its lines."""

from decimal import Decimal
from typing import Any

from producers.odoo.mapping.flat import flat
from producers.odoo.mapping.spec import STAMPS, Child, Document, Fields, Joined, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, moment, number, real, ref, ref_name, refs, text

LINE = Child(
    model="purchase.order.line",
    parent="order_id",
    fields=Fields(
        (
            "order_id",
            "display_type",
            "name",
            "product_id",
            "product_qty",
            "product_uom_qty",
            "price_unit",
            "discount",
            "price_subtotal",
            "price_tax",
            "price_total",
            "qty_received",
            "qty_received_method",
            "qty_invoiced",
            "qty_to_invoice",
            "date_planned",
            "write_date",
        ),
        {17: ("product_uom", "taxes_id"), 18: ("product_uom", "taxes_id"), 19: ("product_uom_id", "tax_ids")},
    ),
    joined=(Joined("product.product", "product_id", Fields(("categ_id",))),),
)


def _received(row: Row) -> Decimal | None:
    """Received quantity; None for what no receipt is recorded of.

    A line of a service is of method `manual`: its quantity stays 0 unless somebody keeps it by hand.
    """
    quantity = number(row, "qty_received")
    recorded = row.get("qty_received_method", "stock_moves") == "stock_moves"
    return quantity if recorded or quantity else None


@flat
def line(row: Row) -> dict[str, Any]:
    """A line of an order. Its unit and taxes have other names from 19 on."""
    unit = "product_uom_id" if "product_uom_id" in row else "product_uom"
    return {
        "line_id": str(row["id"]),
        "product_id": ref(row, "product_id"),
        "label": text(row, "name"),
        "quantity": number(row, "product_qty"),
        "unit": ref_name(row, unit),
        "price_unit": number(row, "price_unit"),
        "subtotal": number(row, "price_subtotal"),
        "total": number(row, "price_total"),
        "quantity_received": _received(row),
        "quantity_billed": number(row, "qty_invoiced"),
        "planned_at": moment(row, "date_planned"),
        "unit_id": ref(row, unit),
        "quantity_base": number(row, "product_uom_qty"),
        "discount": number(row, "discount"),
        "tax": number(row, "price_tax"),
        "tax_ids": refs(row, "tax_ids" if "tax_ids" in row else "taxes_id"),
        "received_method": text(row, "qty_received_method"),
        "quantity_to_bill": number(row, "qty_to_invoice"),
        "category_id": ref(row, "product_id.categ_id"),
        "category": ref_name(row, "product_id.categ_id"),
    }


def _accounts(row: Row, source: Source) -> list[str]:
    """Keyed hashes of the vendor's account numbers: what shows that two vendors are paid to one account."""
    numbers = row.get("partner_id.bank_ids.acc_number") or ()
    return sorted({found for number in numbers if number and (found := source.hasher.hash(str(number))) is not None})


@flat
def document(row: Row, lines: Lines, source: Source) -> Document:
    """A purchase order; sections and notes are no lines."""
    body = {
        "name": text(row, "name"),
        "state": text(row, "state"),
        "partner_id": ref(row, "partner_id"),
        "commercial_partner_id": ref(row, "partner_id.commercial_partner_id"),  # not stored on the order
        "partner_name": ref_name(row, "partner_id"),
        "partner_reference": text(row, "partner_ref"),
        "buyer": ref(row, "user_id"),
        "ordered_at": moment(row, "date_order"),
        "approved_at": moment(row, "date_approve"),
        "planned_at": moment(row, "date_planned"),
        "currency": ref_name(row, "currency_id"),
        "amount_untaxed": number(row, "amount_untaxed"),
        "amount_tax": number(row, "amount_tax"),
        "amount_total": number(row, "amount_total"),
        "invoice_status": text(row, "invoice_status"),
        "receipt_status": text(row, "receipt_status"),
        "origin": text(row, "origin"),
        **stamps(row),
        "amount_total_company": number(row, "amount_total_cc"),
        "currency_rate": real(row, "currency_rate"),
        "payment_term_id": ref(row, "payment_term_id"),
        "received_at": moment(row, "effective_date"),
        "vendor_vat": text(row, "partner_id.vat"),  # a contact has its firm's
        "lines": [line(one) for one in lines.get(LINE.model, ()) if not one.get("display_type")],
        "vendor_account_hashes": _accounts(row, source),
    }
    return Document("purchase_order", ref(row, "company_id"), body)


MAPPING = Mapping(
    model="purchase.order",
    entities=("purchase_order",),
    fields=Fields(
        (
            "name",
            "state",
            "partner_id",
            "partner_ref",
            "user_id",
            "date_order",
            "date_approve",
            "date_planned",
            "currency_id",
            "amount_untaxed",
            "amount_tax",
            "amount_total",
            "invoice_status",
            "receipt_status",  # only with the stock app
            "origin",
            "currency_rate",
            "payment_term_id",
            "effective_date",  # only with the stock app
            "company_id",
            *STAMPS,
        ),
        {18: ("amount_total_cc",), 19: ("amount_total_cc",)},
    ),
    children=(LINE,),
    joined=(
        Joined("res.partner", "partner_id", Fields(("vat", "commercial_partner_id", "bank_ids"))),
        Joined("res.partner.bank", "partner_id.bank_ids", Fields(("acc_number",)), optional=True),
    ),
    map=document,
)
