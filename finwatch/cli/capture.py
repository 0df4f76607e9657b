"""`finwatch capture`: the change-data producer for Odoo."""

from typing import Annotated

import typer

from finwatch.cli.options import Embedded, Json
from finwatch.cli.output import Failed, show_json


def capture(
    once: Annotated[bool, typer.Option("--once", help="Snapshot and one poll, then exit.")] = False,
    poll_interval: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.1, help="Between polls; default: FINWATCH_ODOO_POLL_INTERVAL."),
    ] = None,
    embedded: Embedded = None,
    json: Json = False,
) -> None:
    """Read an Odoo database (17 or 18), then follow its changes and its tracking log, into the entity topics.

    Odoo comes from FINWATCH_ODOO_URL, _DATABASE, _USER, _PASSWORD (or an API key) and _ACCOUNT_KEY; `_FILE` behind
    the last two names a file. Nothing is ever written to Odoo. A restart goes on where the last run stopped.
    Beside the polls a slow sweep finds deletions and commits later than the overlap: a round every
    FINWATCH_ODOO_SWEEP_SECONDS (default 600, 0 for none), FINWATCH_ODOO_SWEEP_ROWS rows a poll.

    Examples: [bold]finwatch capture[/], [bold]finwatch capture --once --json[/],
    [bold]finwatch capture --poll-interval 2 --embedded ./data[/].
    Exit codes: 0 stopped or, with --once, done; 69 a server is not reachable; 77 Odoo refuses the login;
    78 configuration.
    """
    from finwatch.cli.serving import stop_on_signals
    from finwatch.local.access import settings_for
    from finwatch.runtime.logging import configure_logging
    from producers.odoo import run
    from producers.odoo.run import tune_memory

    settings = settings_for(embedded)
    if poll_interval is not None:
        settings = settings.model_copy(
            update={"odoo": settings.odoo.model_copy(update={"poll_interval": poll_interval})}
        )
    configure_logging(settings.loglevel, settings.logformat)
    if json and not once:
        raise Failed("--json goes with --once", "add --once, or leave --json away")
    gate = None
    if settings.embedded is not None:
        if not settings.incarnation:
            raise Failed(
                f"no embedded stack runs on {settings.embedded}",
                "start one there first (`finwatch demo --embedded DIR`), or leave --embedded away for a real broker",
            )
        from finwatch.local.embedded import producer_gate

        gate = producer_gate(settings)
    tune_memory()
    published = run(settings, stop_on_signals(), once=once, gate=gate)
    if json:
        show_json({"source": settings.odoo.source, "events": published})
    elif once:
        typer.echo(f"{published} events published")
