"""`finwatch query`: ask the store in SQL."""

import re
import sys
from typing import Annotated

import typer

from finwatch.cli.opening import open_store, refusal
from finwatch.cli.options import Embedded
from finwatch.cli.output import Failed
from finwatch.runtime.exits import ExitCode

_OWN_FORMAT = re.compile(r"\bFORMAT\s+[A-Za-z]\w*\s*;?\s*$", re.IGNORECASE)


def command(
    sql: Annotated[str, typer.Argument(help="One statement; '-' reads it from standard input.", show_default=False)],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="NAME",
            help="Output format, as ClickHouse names it: Pretty, CSVWithNames, JSON, JSONEachRow, Markdown ... "
            "Default: PrettyCompactMonoBlock on a terminal, TabSeparatedWithNames elsewhere.",
            show_default=False,
        ),
    ] = "",
    embedded: Embedded = None,
) -> None:
    """Ask the store; nothing can be changed this way.

    Examples: [bold]finwatch query "SELECT entity, count() FROM documents GROUP BY entity"[/],
    [bold]finwatch query --format CSVWithNames "SELECT * FROM findings"[/], [bold]finwatch query "SHOW TABLES"[/].
    Exit codes: 0 answered, 1 refused by the store, 69 no store answers, 77 not allowed.
    """
    from finwatch.runtime.store import STORE_ERRORS

    statement = (sys.stdin.read() if sql == "-" else sql).strip().rstrip(";").strip()
    if not statement:
        raise Failed("there is no statement", 'give one: finwatch query "SHOW TABLES"', ExitCode.USAGE)
    if form and not re.fullmatch(r"[A-Za-z]\w*", form):
        raise Failed(f"{form!r} is no format's name", "see SELECT name FROM system.formats", ExitCode.USAGE)
    wanted = form or ("PrettyCompactMonoBlock" if sys.stdout.isatty() else "TabSeparatedWithNames")
    with open_store(embedded, session={"readonly": 2}) as (client, _settings):
        try:
            answer = client.raw_query(statement, fmt=None if _OWN_FORMAT.search(statement) else wanted)
        except STORE_ERRORS as error:
            raise refusal(error) from None
    sys.stdout.flush()
    sys.stdout.buffer.write(answer)
    if answer and not answer.endswith(b"\n") and sys.stdout.isatty():
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
