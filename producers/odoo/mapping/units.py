"""uom.uom: units of measure, by family and by how many of the family's reference unit one of them is.

Up to 18 a family is a category and `factor` says how many of the unit make one reference unit; from 19 on a family is
a tree of units and `factor` says the inverse.
"""

from producers.odoo.errors import Malformed
from producers.odoo.mapping.flat import flat
from producers.odoo.mapping.spec import REFERENCE_POLLS, STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, flag, real, ref, text


def factor(row: Row, source: Source) -> float | None:
    """How many of the family's reference unit one of the unit is. Raises Malformed for a factor of zero."""
    value = real(row, "factor")
    if value is None or source.version >= 19:
        return value
    if value == 0:
        raise Malformed("factor is zero")
    return 1 / value


def family(row: Row, source: Source) -> str | None:
    """What the unit converts within: its category, from 19 on the root of its tree."""
    if source.version < 19:
        return ref(row, "category_id")
    path = text(row, "parent_path")
    return path.partition("/")[0] if path else str(row["id"])


@flat
def document(row: Row, _lines: Lines, source: Source) -> Document:
    """A unit; units belong to no company."""
    body = {
        "name": text(row, "name"),
        "family_id": family(row, source),
        "factor": factor(row, source),
        "rounding": real(row, "rounding"),
        "active": flag(row, "active"),
        **stamps(row),
    }
    return Document("unit", None, body)


MAPPING = Mapping(
    model="uom.uom",
    entities=("unit",),
    fields=Fields(
        ("name", "factor", "rounding", "active", *STAMPS),
        {17: ("category_id",), 18: ("category_id",), 19: ("parent_path",)},
    ),
    context={"active_test": False},
    poll_every=REFERENCE_POLLS,
    map=document,
)
