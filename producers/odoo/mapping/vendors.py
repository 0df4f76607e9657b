"""res.partner: vendors and customers. Contact details (mail, phone, address) are not read: no control needs them."""

from producers.odoo.mapping.flat import flat
from producers.odoo.mapping.spec import STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, flag, integer, ref, ref_name, refs, text


@flat
def document(row: Row, _lines: Lines, _source: Source) -> Document:
    """A partner. The ranks are written by raw SQL in Odoo and may lag behind."""
    body = {
        "name": text(row, "name"),
        "commercial_partner_id": ref(row, "commercial_partner_id"),
        "parent_id": ref(row, "parent_id"),
        "vat": text(row, "vat"),
        "country": ref_name(row, "country_id"),
        "is_company": flag(row, "is_company"),
        "supplier_rank": integer(row, "supplier_rank"),
        "customer_rank": integer(row, "customer_rank"),
        "payment_term_id": ref(row, "property_supplier_payment_term_id"),
        "active": flag(row, "active"),
        **stamps(row),
        "kind": text(row, "type"),
        "code": text(row, "ref"),
        "category_ids": refs(row, "category_id"),
        "customer_payment_term_id": ref(row, "property_payment_term_id"),
        "responsible": ref(row, "user_id"),
        "buyer": ref(row, "buyer_id"),
        "purchase_warning": text(row, "purchase_warn"),
        "invoice_warning": text(row, "invoice_warn"),
        "sale_warning": text(row, "sale_warn"),
        "trust": text(row, "trust"),
    }
    return Document("vendor", ref(row, "company_id"), body)


MAPPING = Mapping(
    model="res.partner",
    entities=("vendor",),
    fields=Fields(
        (
            "name",
            "commercial_partner_id",
            "parent_id",
            "vat",
            "country_id",
            "is_company",
            "supplier_rank",
            "customer_rank",
            "property_supplier_payment_term_id",  # 17: not stored, a change there does not bump the partner
            "property_payment_term_id",  # as the one before
            "trust",  # as the one before
            "type",
            "ref",
            "category_id",
            "user_id",
            "buyer_id",  # only with the purchase app
            "active",
            "company_id",
            *STAMPS,
        ),
        dict.fromkeys((17, 18), ("purchase_warn", "invoice_warn", "sale_warn")),
    ),
    context={"active_test": False},
    map=document,
)
