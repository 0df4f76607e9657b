"""ir.cron. Odoo writes runs and failures by plain SQL, which moves no stamp: it is always read whole.

17 keeps no sign of failure but the distance of its run times; 18 counts failures, and a run that fails moves `lastcall`
too.
"""

from datetime import datetime

from producers.odoo.mapping.spec import STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, flag, integer, moment, ref, text

NEVER = 2300
"""A run in this year or later means never: Odoo has no other way to say so, and the store keeps no later date."""


def _next_run(row: Row) -> datetime | None:
    at = moment(row, "nextcall")
    return None if at is not None and at.year >= NEVER else at


def document(row: Row, _lines: Lines, _source: Source) -> Document:
    """A scheduled action; it belongs to no company."""
    body = {
        "name": text(row, "cron_name"),
        "runs_as": ref(row, "user_id"),
        "interval_number": integer(row, "interval_number"),
        "interval_type": text(row, "interval_type"),
        "next_run_at": _next_run(row),
        "last_run_at": moment(row, "lastcall"),
        "failures": integer(row, "failure_count"),
        "failing_since": moment(row, "first_failure_date"),
        "runs_left": integer(row, "numbercall"),
        "server_action_id": ref(row, "ir_actions_server_id"),
        "run_order": integer(row, "priority"),
        "active": flag(row, "active"),
        **stamps(row),
    }
    return Document("scheduled_action", None, body)


MAPPING = Mapping(
    model="ir.cron",
    entities=("scheduled_action",),
    fields=Fields(
        (
            "cron_name",
            "user_id",
            "interval_number",
            "interval_type",
            "nextcall",
            "lastcall",
            "ir_actions_server_id",
            "priority",
            "active",
            *STAMPS,
        ),
        {17: ("numbercall",), 18: ("failure_count", "first_failure_date")},
    ),
    context={"active_test": False},
    stamped=False,
    poll_whole=True,
    map=document,
)
