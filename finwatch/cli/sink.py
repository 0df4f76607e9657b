"""`finwatch sink`: from the topics to the store and to Prometheus."""

import typer

from finwatch.cli.options import Embedded
from finwatch.cli.serving import serve

app = typer.Typer(no_args_is_help=True, help="Sinks: from the topics to ClickHouse and Prometheus.")


@app.command()
def clickhouse(embedded: Embedded = None) -> None:
    """Write every event and result to ClickHouse, exactly once, until stopped.

    Example: [bold]finwatch sink clickhouse[/] (FINWATCH_CLICKHOUSE_URL, ..._USER, ..._PASSWORD_FILE)
    Exit codes: 0 stopped; 69 a server is not reachable; 70 an invariant broke, records that were never stored are gone
    among them; 77 not allowed; 78 configuration, or the store is of another version.
    """
    from sinks.clickhouse import run

    serve(run, embedded)


@app.command()
def prometheus(embedded: Embedded = None) -> None:
    """Serve the KPIs at /metrics for Prometheus until stopped.

    Example: [bold]FINWATCH_HTTP_PORT=9104 finwatch sink prometheus[/]
    Exit codes: 0 stopped, 69 the broker is not reachable, 78 configuration.
    """
    from sinks.prometheus import run

    serve(run, embedded)
