"""`finwatch sim`: the simulated Odoo alone, to try a client or a policy against."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from finwatch.cli.output import Failed, err
from finwatch.runtime.exits import ExitCode

app = typer.Typer(no_args_is_help=True, help="The simulated Odoo.")


class Version(StrEnum):
    """Odoo versions the simulation speaks."""

    v17 = "17.0"
    v18 = "18.0"
    v19 = "19.0"


@app.command()
def odoo(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 8069,
    version: Annotated[Version, typer.Option(help="Odoo version to speak as.")] = Version.v18,
    rows: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Serve captured rows from DIR/odoo17 or DIR/odoo18 instead of the company."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the generated company.")] = 7,
    weeks: Annotated[int, typer.Option(min=1, max=52, help="Weeks of activity the company has behind it.")] = 4,
    json_rpc: Annotated[
        bool, typer.Option(help="Whether 19.0 still answers the deprecated /jsonrpc; newer versions tell 404.")
    ] = True,
    studio: Annotated[
        bool, typer.Option("--studio", help="With fields and models that its administrator added: cost centers, loans.")
    ] = False,
) -> None:
    """Serve a simulated Odoo until stopped: over JSON-RPC, and as 19.0 over JSON-2.

    The company's last weeks lie behind it and the present goes on by the wall clock.
    Examples: [bold]finwatch sim odoo[/], [bold]finwatch sim odoo --version 17.0 --rows ./data[/],
    [bold]finwatch sim odoo --version 19.0 --no-json-rpc[/].
    Exit codes: 0 stopped, 2 the port or the folder cannot be used.
    Log in to database [bold]sim[/] as [bold]svc_cdc[/] with password [bold]svc_cdc[/]; its API key is 40 times c.
    """
    from finwatch.cli.serving import stop_on_signals
    from finwatch.sim import Company, SimulatedOdoo, captured, customise

    stop = stop_on_signals()
    company = None
    if rows is not None:
        try:
            database = captured("odoo" + version.value.removesuffix(".0"), rows)
        except (FileNotFoundError, ValueError) as error:
            raise Failed(str(error), "give the folder that holds odoo17/ and odoo18/", ExitCode.USAGE) from None
    else:
        now = datetime.now(UTC).replace(microsecond=0)
        company = Company(seed=seed, start=now - timedelta(weeks=weeks), weeks=weeks + 52, version=version.value)
        with err.status("making the company's last weeks"):
            company.advance(now)
        database = company.db
    if studio:
        customise(database)
    try:
        server = SimulatedOdoo(database, port=port, deprecated_services=json_rpc).start()
    except OSError as error:
        raise Failed(
            f"port {port} cannot be used: {error.strerror}", "choose another with --port", ExitCode.USAGE
        ) from None
    try:
        err.print(f"simulated Odoo {version.value} at {server.url}, database {database.name}; Ctrl-C stops it")
        while not stop.wait(1.0):
            if company is not None:
                company.advance(datetime.now(UTC))
    finally:
        server.stop()
