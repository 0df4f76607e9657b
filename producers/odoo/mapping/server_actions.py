"""ir.actions.server. Its code is published as a hash: that it changed matters, what it says may hold secrets."""

from hashlib import sha256

from producers.odoo.mapping.spec import REFERENCE_POLLS, STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, ref, refs, text


def document(row: Row, _lines: Lines, source: Source) -> Document:
    """A server action; it belongs to no company."""
    code = text(row, "code") if row.get("state") == "code" else None
    body = {
        "name": text(row, "name"),
        "kind": text(row, "state"),
        "model": text(row, "model_name"),
        "usage": text(row, "usage"),
        "automation_rule_id": ref(row, "base_automation_id"),
        "code_hash": sha256(code.encode()).hexdigest() if code else None,
        "group_ids": refs(row, "group_ids" if source.version >= 19 else "groups_id"),
        **stamps(row),
    }
    return Document("server_action", None, body)


MAPPING = Mapping(
    model="ir.actions.server",
    entities=("server_action",),
    fields=Fields(
        (
            "name",
            "state",
            "model_name",
            "usage",
            "code",
            "base_automation_id",  # with the automation app
            *STAMPS,
        ),
        {17: ("groups_id",), 18: ("groups_id",), 19: ("group_ids",)},
    ),
    poll_every=REFERENCE_POLLS,
    map=document,
)
