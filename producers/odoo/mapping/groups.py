"""res.groups. Members stand at the users (`group_ids`): a large group would make each of its changes large."""

from producers.odoo.mapping.spec import REFERENCE_POLLS, STAMPS, Child, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, flag, ref, refs, text

NAMES = Child(
    model="ir.model.data",
    parent="res_id",
    fields=Fields(("res_id", "module", "name", "write_date")),
    domain=(("model", "=", "res.groups"),),
    optional=True,  # administrators may read it, and the account that was given the right
)


def _technical_name(lines: Lines) -> str | None:
    """`module.name` of the first that names the group: several modules may."""
    for one in lines.get(NAMES.model, ()):
        module, name = text(one, "module"), text(one, "name")
        if module and name:
            return f"{module}.{name}"
    return None


def document(row: Row, lines: Lines, source: Source) -> Document:
    """A group; what it is listed under is a category up to 18, a privilege from 19 on."""
    body = {
        "name": text(row, "name"),
        "full_name": text(row, "full_name"),
        "category_id": ref(row, "privilege_id" if source.version >= 19 else "category_id"),
        "implied_ids": refs(row, "implied_ids"),
        "shared": flag(row, "share"),
        **stamps(row),
        "technical_name": _technical_name(lines),
    }
    return Document("group", None, body)


MAPPING = Mapping(
    model="res.groups",
    entities=("group",),
    fields=Fields(
        ("name", "full_name", "implied_ids", "share", *STAMPS),
        {17: ("category_id",), 18: ("category_id",), 19: ("privilege_id",)},
    ),
    children=(NAMES,),
    shape="technical_name",  # read again where it was read without
    poll_every=REFERENCE_POLLS,
    map=document,
)
