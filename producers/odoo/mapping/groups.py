"""res.groups. Members stand at the users (`group_ids`): a large group would make each of its changes large."""

from producers.odoo.mapping.spec import REFERENCE_POLLS, STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, flag, ref, refs, text


def document(row: Row, _lines: Lines, source: Source) -> Document:
    """A group; what it is listed under is a category up to 18, a privilege from 19 on."""
    body = {
        "name": text(row, "name"),
        "full_name": text(row, "full_name"),
        "category_id": ref(row, "privilege_id" if source.version >= 19 else "category_id"),
        "implied_ids": refs(row, "implied_ids"),
        "shared": flag(row, "share"),
        **stamps(row),
    }
    return Document("group", None, body)


MAPPING = Mapping(
    model="res.groups",
    entities=("group",),
    fields=Fields(
        ("name", "full_name", "implied_ids", "share", *STAMPS),
        {17: ("category_id",), 18: ("category_id",), 19: ("privilege_id",)},
    ),
    poll_every=REFERENCE_POLLS,
    map=document,
)
