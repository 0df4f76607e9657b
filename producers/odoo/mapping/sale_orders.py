"""sale.order with its lines."""

from typing import Any

from producers.odoo.accounts import mask_ibans
from producers.odoo.mapping.spec import STAMPS, Child, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, day, flag, moment, number, real, ref, ref_name, refs, text

LINE = Child(
    model="sale.order.line",
    parent="order_id",
    fields=Fields(
        (
            "order_id",
            "display_type",
            "name",
            "product_id",
            "product_uom_qty",
            "price_unit",
            "discount",
            "price_subtotal",
            "price_tax",
            "price_total",
            "qty_delivered",
            "qty_delivered_method",
            "qty_invoiced",
            "qty_to_invoice",
            "invoice_status",
            "task_id",  # with the project app, as the one that follows
            "project_id",
            "write_date",
        ),
        {17: ("product_uom", "tax_id"), 18: ("product_uom", "tax_id"), 19: ("product_uom_id", "tax_ids")},
    ),
)


def line(row: Row) -> dict[str, Any]:
    """A line of an order. Its unit and taxes have other names from 19 on."""
    unit = "product_uom_id" if "product_uom_id" in row else "product_uom"
    return {
        "line_id": str(row["id"]),
        "product_id": ref(row, "product_id"),
        "label": mask_ibans(text(row, "name")),
        "quantity": number(row, "product_uom_qty"),
        "unit": ref_name(row, unit),
        "unit_id": ref(row, unit),
        "price_unit": number(row, "price_unit"),
        "discount": number(row, "discount"),
        "subtotal": number(row, "price_subtotal"),
        "tax": number(row, "price_tax"),
        "total": number(row, "price_total"),
        "tax_ids": refs(row, "tax_ids" if "tax_ids" in row else "tax_id"),
        "quantity_delivered": number(row, "qty_delivered"),
        "delivered_method": text(row, "qty_delivered_method"),
        "quantity_invoiced": number(row, "qty_invoiced"),
        "quantity_to_invoice": number(row, "qty_to_invoice"),
        "invoice_status": text(row, "invoice_status"),
        "task_id": ref(row, "task_id"),
        "project_id": ref(row, "project_id"),
    }


def document(row: Row, lines: Lines, source: Source) -> Document:
    """A quotation or order; sections and notes are no lines."""
    lead = ref(row, "opportunity_id")
    body = {
        "name": text(row, "name"),
        "state": text(row, "state"),
        "locked": flag(row, "locked"),
        "partner_id": ref(row, "partner_id"),
        "partner_name": ref_name(row, "partner_id"),
        "partner_reference": mask_ibans(text(row, "client_order_ref")),
        "invoice_partner_id": ref(row, "partner_invoice_id"),
        "responsible": ref(row, "user_id"),
        "team_id": ref(row, "team_id"),
        "ordered_at": moment(row, "date_order"),
        "promised_at": moment(row, "commitment_date"),
        "valid_until": day(row, "validity_date"),
        "delivered_at": moment(row, "effective_date"),
        "signed_at": moment(row, "signed_on"),
        "currency": ref_name(row, "currency_id"),
        "currency_rate": real(row, "currency_rate"),
        "amount_untaxed": number(row, "amount_untaxed"),
        "amount_tax": number(row, "amount_tax"),
        "amount_total": number(row, "amount_total"),
        "invoice_status": text(row, "invoice_status"),
        "delivery_status": text(row, "delivery_status"),
        "payment_term_id": ref(row, "payment_term_id"),
        "origin": text(row, "origin"),
        "lead_key": source.key("lead", lead) if lead else None,
        "project_id": ref(row, "project_id"),
        **stamps(row),
        "lines": [line(one) for one in lines.get(LINE.model, ()) if not one.get("display_type")],
    }
    return Document("sale_order", ref(row, "company_id"), body)


MAPPING = Mapping(
    model="sale.order",
    entities=("sale_order",),
    fields=Fields(
        (
            "name",
            "state",
            "locked",
            "partner_id",
            "client_order_ref",
            "partner_invoice_id",
            "user_id",
            "team_id",
            "date_order",
            "commitment_date",
            "validity_date",
            "effective_date",  # with the stock app, as the one that follows
            "delivery_status",
            "signed_on",
            "currency_id",
            "currency_rate",
            "amount_untaxed",
            "amount_tax",
            "amount_total",
            "invoice_status",
            "payment_term_id",
            "origin",
            "opportunity_id",  # with the CRM app
            "project_id",  # with the project app
            "company_id",
            *STAMPS,
        )
    ),
    children=(LINE,),
    map=document,
)
