"""res.users with the groups that grant rights. Login and mail are not read.

Membership written on the group moves no stamp of the user, so the sweep reads users whole.
"""

from producers.odoo.mapping.spec import REFERENCE_POLLS, STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, flag, ref, refs, text


def _internal(row: Row) -> bool | None:
    share = flag(row, "share")
    return None if share is None else not share


def document(row: Row, _lines: Lines, source: Source) -> Document:
    """A user; up to 18 the groups hold the implied ones, 19 has those apart."""
    body = {
        "name": text(row, "name"),
        "partner_id": ref(row, "partner_id"),
        "company_ids": refs(row, "company_ids"),
        "group_ids": refs(row, "all_group_ids" if source.version >= 19 else "groups_id"),
        "internal": _internal(row),
        "active": flag(row, "active"),
        **stamps(row),
    }
    return Document("user", ref(row, "company_id"), body)


MAPPING = Mapping(
    model="res.users",
    entities=("user",),
    fields=Fields(
        ("name", "partner_id", "company_id", "company_ids", "share", "active", *STAMPS),
        {17: ("groups_id",), 18: ("groups_id",), 19: ("all_group_ids",)},
    ),
    context={"active_test": False},
    stamped=False,
    poll_every=REFERENCE_POLLS,
    map=document,
)
