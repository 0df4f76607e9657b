"""The store as a command meets it: opened where it is, and its refusals in words."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finwatch.cli.output import Failed
from finwatch.runtime.exits import ExitCode

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from finwatch.runtime.config import Settings

_UNKNOWN_NAME = (47, 60, 81)


@contextmanager
def open_store(
    embedded: Path | None, *, database: bool = True, session: Mapping[str, Any] | None = None
) -> Iterator[tuple["Client", "Settings"]]:
    """A client of the configured store, or of an embedded directory's, closed at the end; and the settings.

    Raises StoreUnavailable (also for a directory that another process has open) and ConfigError.
    """
    from finwatch.local.access import settings_for
    from finwatch.runtime.store import connect

    settings = settings_for(embedded)
    with ExitStack() as opened:
        if settings.embedded is not None and settings.clickhouse.path is not None:
            client = _open_directory(opened, settings, database, session or {})
        else:
            client = connect(settings.clickhouse, database=database, session=session)
        opened.callback(client.close)
        yield client, settings


def _open_directory(opened: ExitStack, settings: "Settings", database: bool, session: Mapping[str, Any]) -> "Client":
    """Open the engine of an embedded directory that no stack runs on, as the stack itself would."""
    from finwatch.local.files import DirectoryInUse
    from finwatch.local.store import Store
    from finwatch.runtime.store import STORE_ERRORS, StoreUnavailable, first_line

    assert settings.embedded is not None
    try:
        store = opened.enter_context(Store(settings.embedded))
        client: Client = store.client(settings.clickhouse.database if database else None, **session)
    except DirectoryInUse as error:
        raise StoreUnavailable(str(error), "wait for it, or end it") from None
    except STORE_ERRORS as error:
        raise StoreUnavailable(
            f"the store in {settings.embedded} cannot be opened: {first_line(error)}", "run: finwatch store migrate"
        ) from None
    return client


def refusal(error: Exception) -> Failed:
    """The store's refusal in its own words, and what to look at."""
    from finwatch.runtime.store import error_code, first_line

    code = error_code(error)
    what_to_do = {
        62: "correct the statement",
        164: "finwatch query only reads; finwatch store migrate sets the store up",
        497: "this user may not do that",
        241: "ask for less at once: a WHERE or a LIMIT",
    }.get(code or 0, "")
    if code in _UNKNOWN_NAME:
        what_to_do = 'see what there is: finwatch query "SHOW TABLES", finwatch query "DESCRIBE events"'
    return Failed(f"the store refuses: {first_line(error)}", what_to_do, ExitCode.FAILED)
