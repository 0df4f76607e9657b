"""res.currency.rate: what a currency was worth from a day on."""

from producers.odoo.mapping.flat import flat
from producers.odoo.mapping.spec import REFERENCE_POLLS, STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, day, real, ref, ref_name


@flat
def document(row: Row, _lines: Lines, _source: Source) -> Document:
    """A rate; without a company it is every company's."""
    body = {
        "currency": ref_name(row, "currency_id"),
        "currency_id": ref(row, "currency_id"),
        "date": day(row, "name"),
        "rate": real(row, "rate"),
        **stamps(row),
    }
    return Document("currency_rate", ref(row, "company_id"), body)


MAPPING = Mapping(
    model="res.currency.rate",
    entities=("currency_rate",),
    fields=Fields(("currency_id", "name", "rate", "company_id", *STAMPS)),
    poll_every=REFERENCE_POLLS,
    map=document,
)
