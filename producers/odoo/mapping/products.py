"""product.product; what variants share comes through their template (Odoo's `_inherits`), its stamp included."""

from producers.odoo.mapping.flat import flat
from producers.odoo.mapping.spec import REFERENCE_POLLS, STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, flag, ref, text

_KINDS = {"consu": "goods", "product": "goods", "service": "service", "combo": "combo"}


def stocked(row: Row, source: Source) -> bool | None:
    """Whether stock is kept of it: a type of its own in 17, a flag of goods from 18 on. None without the stock app."""
    if source.version >= 18:
        return flag(row, "is_storable")
    kind = text(row, "detailed_type") or text(row, "type")
    return None if kind is None else kind == "product"


@flat
def document(row: Row, _lines: Lines, source: Source) -> Document:
    """A product."""
    kind = text(row, "type")
    body = {
        "name": text(row, "name"),
        "code": text(row, "default_code"),
        "kind": _KINDS.get(kind, kind) if kind else None,
        "stocked": stocked(row, source),
        "category_id": ref(row, "categ_id"),
        "unit_id": ref(row, "uom_id"),
        "purchase_unit_id": ref(row, "uom_po_id"),
        "bill_control": text(row, "purchase_method"),
        "invoice_policy": text(row, "invoice_policy"),
        "active": flag(row, "active"),
        **stamps(row),
    }
    return Document("product", ref(row, "company_id"), body)


MAPPING = Mapping(
    model="product.product",
    entities=("product",),
    fields=Fields(
        (
            "name",
            "default_code",
            "type",
            "categ_id",
            "uom_id",
            "purchase_method",  # only with the purchase app
            "invoice_policy",  # only with the sales app
            "active",
            "company_id",
            *STAMPS,
        ),
        {17: ("detailed_type", "uom_po_id"), 18: ("is_storable", "uom_po_id"), 19: ("is_storable",)},
    ),
    context={"active_test": False},
    poll_every=REFERENCE_POLLS,
    map=document,
)
