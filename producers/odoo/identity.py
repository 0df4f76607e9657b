"""Which database this is: a restored or replaced one gives its ids and numbers again, and is never taken for the same.

Two signs: its identity (Odoo's `database.uuid`, where the service account may read it, and when its first company was
made), and its counters. An id that PostgreSQL gave once is not given again, so records that are published and lie above
the largest id of their model were deleted, or the database is an older one: the latter when there are many of them
in several models at once.
"""

from collections.abc import Mapping

import msgspec

from finwatch.runtime.exits import ExitCode
from producers.odoo.errors import Malformed
from producers.odoo.reader import NO_SUCH
from producers.odoo.transport import Transport

NOTE = "identity"
MANY = 20
"""Records above the largest id, over all models, that are more than somebody's deletions."""
SEVERAL = 3
"""Models in which there must be some; two where only two have records. Within one model it may be a mass deletion."""


class DatabaseChanged(Exception):
    """The source is not the database that was captured before: it is left alone until that is settled."""

    exit_code = ExitCode.SOFTWARE
    what_to_do = (
        "if FINWATCH_ODOO_DATABASE names the wrong database, set it right; if it was restored or replaced on purpose, "
        "run: finwatch capture accept-database"
    )


class Identity(msgspec.Struct, frozen=True):
    """What tells a database from another.

    `uuid`, `born`: None where they cannot be read. `epoch`: how often another database was accepted. `accepting`: the
    first sweep after that is still to come; it believes every deletion.
    """

    uuid: str | None = None
    born: str | None = None
    epoch: int = 0
    accepting: bool = False


def read_identity(transport: Transport) -> Identity:
    """The identity of the database behind `transport`, as far as the service account may see it. Raises Unavailable."""
    uuid = born = None
    try:
        rows = transport.search_read("ir.config_parameter", [("key", "=", "database.uuid")], ["value"], limit=1)
        uuid = str(rows[0]["value"]) if rows and rows[0].get("value") else None
    except (*NO_SUCH, Malformed):
        pass  # only administrators may read it, and the service account is none: the other signs remain
    try:
        rows = transport.search_read("res.company", [], ["create_date"], limit=1, order="id")
        born = f"{rows[0]['id']}@{rows[0]['create_date']}" if rows and rows[0].get("create_date") else None
    except (*NO_SUCH, Malformed):
        pass  # as above
    return Identity(uuid, born)


def differs(known: Identity, found: Identity) -> str | None:
    """What shows that the databases are two; None when nothing does. What one side does not know shows nothing."""
    if known.uuid and found.uuid and known.uuid != found.uuid:
        return "its database.uuid is another one"
    if known.born and found.born and known.born != found.born:
        return "its first company was made at another time"
    return None


def completed(known: Identity, found: Identity) -> Identity:
    """`known`, with what it did not know filled in."""
    return msgspec.structs.replace(known, uuid=known.uuid or found.uuid, born=known.born or found.born)


def ran_backwards(above: Mapping[str, int]) -> str | None:
    """What shows that the database is an older one, from the records above the largest id, by model with records."""
    behind = {model: count for model, count in above.items() if count}
    if sum(behind.values()) >= MANY and len(behind) >= max(2, min(SEVERAL, len(above))):
        return f"{sum(behind.values())} records of {len(behind)} models lie above the ids it has given"
    return None
