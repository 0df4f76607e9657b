"""account.lock_exception (18 and later): who may post in a locked period, until when and why."""

from producers.odoo.accounts import mask_ibans
from producers.odoo.mapping.spec import STAMPS, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, day, flag, moment, ref, text


def document(row: Row, _lines: Lines, _source: Source) -> Document:
    """A lock exception. That it ended by time is not written anywhere: compare `ends_at`."""
    body = {
        "lock": text(row, "lock_date_field"),
        "lock_date": day(row, "lock_date"),
        "company_lock_date": day(row, "company_lock_date"),
        "person": ref(row, "user_id"),
        "reason": mask_ibans(text(row, "reason")),
        "ends_at": moment(row, "end_datetime"),
        "active": flag(row, "active"),
        **stamps(row),
    }
    return Document("lock_exception", ref(row, "company_id"), body)


MAPPING = Mapping(
    model="account.lock_exception",
    entities=("lock_exception",),
    fields=Fields(
        (
            "lock_date_field",
            "lock_date",
            "company_lock_date",
            "user_id",
            "reason",
            "end_datetime",
            "active",
            "company_id",
            *STAMPS,
        )
    ),
    context={"active_test": False},
    since=18,
    map=document,
)
