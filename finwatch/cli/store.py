"""`finwatch store`: set the store up and look after it."""

from typing import Annotated

import typer

from finwatch.cli.opening import open_store, refusal
from finwatch.cli.options import Embedded, Json
from finwatch.cli.output import Failed, out, show_json, show_table
from finwatch.runtime.exits import ExitCode

app = typer.Typer(no_args_is_help=True, help="The store: its tables and views, and what it holds.")


@app.command()
def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be applied, change nothing.")] = False,
    embedded: Embedded = None,
    as_json: Json = False,
) -> None:
    """Make the store's tables and views, or bring them up to this version. Safe to repeat.

    Examples: [bold]finwatch store migrate --dry-run[/], [bold]finwatch store migrate[/].
    Exit codes: 0 done, 69 no store answers, 77 not allowed, 78 the store and this version do not fit.
    """
    from finwatch.runtime.store import STORE_ERRORS
    from sinks.clickhouse.migrations import migrate as apply

    with open_store(embedded, database=False) as (client, settings):
        try:
            done = apply(client, settings.clickhouse.database, dry_run=dry_run)
        except STORE_ERRORS as error:
            raise refusal(error) from None
    if as_json:
        show_json({"dry_run": dry_run, "migrations": [m.name for m in done]})
        return
    if done:
        show_table("", ("migration", "state"), ((m.name, "to apply" if dry_run else "applied") for m in done))
    else:
        out.print(f"database {settings.clickhouse.database} is up to date")


@app.command()
def status(embedded: Embedded = None, as_json: Json = False) -> None:
    """Show what the store holds: rows of each table and view, size, the last record stored.

    Example: [bold]finwatch store status[/]
    Exit codes: 0 answered, 69 no store answers, 77 not allowed.
    """
    from finwatch.runtime.store import STORE_ERRORS
    from sinks.clickhouse.migrations import pending

    with open_store(embedded) as (client, settings):
        database = settings.clickhouse.database
        try:
            lacking = [migration.name for migration in pending(client, database)]
            tables = client.query(
                "SELECT name, ifNull(total_rows, 0), ifNull(total_bytes, 0), comment FROM system.tables "
                "WHERE database = {d:String} AND engine LIKE '%MergeTree' ORDER BY name",
                parameters={"d": database},
            ).result_rows
            last = client.query("SELECT max(ingested_at) FROM raw_log").result_rows[0][0]
        except STORE_ERRORS as error:
            raise refusal(error) from None
    if as_json:
        show_json(
            {
                "database": database,
                "migrations_to_apply": lacking,
                "last_stored_at": last,
                "tables": [{"table": n, "rows": r, "bytes": b} for n, r, b, _ in tables],
            }
        )
        return
    show_table(
        f"database {database}",
        ("table", "rows", "MB", "holds"),
        ((name, f"{rows:,}", f"{size / 1e6:,.1f}", comment) for name, rows, size, comment in tables),
        right=("rows", "MB"),
    )
    out.print(f"last record stored at {last:%Y-%m-%d %H:%M:%S} UTC" if last and last.year > 1970 else "nothing stored")
    if lacking:
        out.print(f"[yellow]to apply:[/] {', '.join(lacking)} (finwatch store migrate)")


@app.command("accept-loss")
def accept_loss(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only show what is lost.")] = False,
    embedded: Embedded = None,
    as_json: Json = False,
) -> None:
    """Let the sink go on although the broker deleted records before they were stored.

    The sink stops when that happens. This shows which records are gone, and with --yes has the sink go on from the
    first that is left. What was lost is remembered in the table accepted_gaps.

    Examples: [bold]finwatch store accept-loss[/], [bold]finwatch store accept-loss --yes[/]
    Exit codes: 0 nothing is lost, or it was accepted; 1 something is lost; 69 a server is missing.
    """
    from finwatch.runtime.clock import SystemClock
    from finwatch.runtime.topics import STORED_TOPICS
    from sinks.clickhouse.sink import GROUP, lost_partitions
    from sinks.clickhouse.table_store import TableStore
    from sinks.log_reader import LogReader

    with open_store(embedded) as (client, settings):
        store = TableStore(client, settings.clickhouse.database)
        reader = LogReader(settings.kafka, STORED_TOPICS, settings.incarnation, GROUP)
        try:
            lost, incarnations = lost_partitions(reader, store)
        finally:
            reader.close()
        if lost and yes:
            gaps = {partition: low for partition, (_, low) in lost.items()}
            store.accept_gaps(gaps, incarnations, SystemClock().now())
    rows = [(topic, number, position, low - 1, low - position) for (topic, number), (position, low) in lost.items()]
    if as_json:
        names = ("topic", "partition", "first", "last", "records")
        show_json({"accepted": bool(lost and yes), "lost": [dict(zip(names, row, strict=True)) for row in rows]})
        return
    if not lost:
        out.print("nothing is lost")
        return
    show_table("lost", ("topic", "partition", "first", "last", "records"), rows, right=("first", "last", "records"))
    if not yes:
        raise Failed(
            f"{sum(row[4] for row in rows):,} records were deleted by the broker before they were stored",
            "restore them, or go on without them: finwatch store accept-loss --yes",
            ExitCode.FAILED,
        )
    out.print("the sink goes on from the first records that are left")
