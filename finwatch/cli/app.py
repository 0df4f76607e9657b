"""The command tree. A new command is a new file and one line here."""

from typing import Annotated

import typer

from finwatch import __version__
from finwatch.cli import (
    approvals,
    capture,
    explain,
    feedback,
    findings,
    odoo,
    policy,
    query,
    schemas,
    sim,
    sink,
    store,
    topics,
)
from finwatch.cli.demo import demo
from finwatch.cli.doctor import doctor
from finwatch.cli.import_log import import_log
from finwatch.cli.reconcile import reconcile
from finwatch.cli.stream import stream
from finwatch.cli.webhook import webhook

app = typer.Typer(
    name="finwatch",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Watches the finance operations of an Odoo ERP as a stream: approval ageing, exceptions, duplicate bills and "
    "service levels, in seconds.\n\nTry [bold]finwatch demo[/]: it needs nothing but this package.",
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"finwatch {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of every command come after its name."""


app.command()(demo)
app.command("import")(import_log)
app.add_typer(capture.app, name="capture")
app.command()(webhook)
app.command()(stream)
app.add_typer(sink.app, name="sink")
app.command("query")(query.command)
app.add_typer(findings.app, name="findings")
findings.app.command("dismiss")(feedback.dismiss)
findings.app.command("reopen")(feedback.reopen)
app.command("approvals")(approvals.command)
app.command("explain")(explain.command)
app.command()(reconcile)
app.command()(doctor)
app.add_typer(odoo.app, name="odoo")
app.add_typer(topics.app, name="topics")
app.add_typer(policy.app, name="policy")
app.add_typer(schemas.app, name="schemas")
app.add_typer(store.app, name="store")
app.add_typer(sim.app, name="sim")
