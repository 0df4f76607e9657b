"""base.automation. The address part of an incoming webhook (`webhook_uuid`) is a secret and is not read."""

from producers.odoo.mapping.spec import REFERENCE_POLLS, STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, flag, moment, refs, text


def document(row: Row, _lines: Lines, _source: Source) -> Document:
    """An automation rule; it belongs to no company."""
    body = {
        "name": text(row, "name"),
        "model": text(row, "model_name"),
        "trigger": text(row, "trigger"),
        "action_ids": refs(row, "action_server_ids"),
        "last_run_at": moment(row, "last_run"),
        "active": flag(row, "active"),
        **stamps(row),
    }
    return Document("automation_rule", None, body)


MAPPING = Mapping(
    model="base.automation",
    entities=("automation_rule",),
    fields=Fields(("name", "model_name", "trigger", "action_server_ids", "last_run", "active", *STAMPS)),
    context={"active_test": False},
    poll_every=REFERENCE_POLLS,
    map=document,
)
