"""queue.job (OCA). The model keeps no create or write stamps: it is always read whole, by its own dates."""

from producers.odoo.mapping.spec import Document, Fields, Lines, Mapping, Source
from producers.odoo.values import Row, integer, moment, ref, text


def document(row: Row, _lines: Lines, _source: Source) -> Document:
    """A job. Of an error its class is told only: the message may hold data."""
    body = {
        "name": None,  # free text about what is done with which record
        "state": text(row, "state"),
        "model": text(row, "model_name"),
        "method": text(row, "method_name"),
        "channel": text(row, "channel"),
        "run_order": integer(row, "priority"),
        "retries": integer(row, "retry"),
        "retries_allowed": integer(row, "max_retries"),
        "next_run_at": moment(row, "eta"),
        "enqueued_at": moment(row, "date_enqueued"),
        "started_at": moment(row, "date_started"),
        "ended_at": moment(row, "date_done"),
        "error": text(row, "exc_name"),
        "created_by": ref(row, "user_id"),
        "created_at": moment(row, "date_created"),
        "written_by": None,
    }
    return Document("queue_job", ref(row, "company_id"), body)


DATES = ("date_created", "date_enqueued", "date_started", "date_done", "date_cancelled")
MAPPING = Mapping(
    model="queue.job",
    entities=("queue_job",),
    fields=Fields(
        (
            "state",
            "model_name",
            "method_name",
            "channel",
            "priority",
            "retry",
            "max_retries",
            "eta",
            *DATES,
            "exc_name",
            "user_id",
            "company_id",
        )
    ),
    stamped=False,
    stamps=DATES,
    map=document,
)
