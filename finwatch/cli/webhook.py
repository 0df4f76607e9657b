"""`finwatch webhook`: the ingress for events that other systems push."""

from pathlib import Path
from typing import Annotated

import typer


def webhook(
    hooks: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The file of hooks; default: FINWATCH_WEBHOOK_HOOKS.", show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port; 0: a free one. Default: FINWATCH_WEBHOOK_PORT.", show_default=False),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check the file and its secrets, then exit.")] = False,
) -> None:
    """Take in webhooks: signed events of other systems, and Odoo's unsigned ones as hints to poll.

    A sender hears 202 only after the broker acknowledged its event. Listens on loopback; needs a real broker.
    docs/webhooks.md explains the file of hooks and how to sign.

    Examples: [bold]finwatch webhook --hooks hooks.yaml --check[/], [bold]finwatch webhook --hooks hooks.yaml[/].
    Exit codes: 0 stopped, or checked; 78 configuration.
    """
    from finwatch.cli.serving import stop_on_signals
    from finwatch.runtime.config import load_settings
    from finwatch.runtime.logging import configure_logging
    from producers.webhook import run
    from producers.webhook.run import hooks_of

    settings = load_settings()
    given = {name: value for name, value in (("hooks", hooks), ("port", port)) if value is not None}
    settings = settings.model_copy(update={"webhook": settings.webhook.model_copy(update=given)})
    if check:
        names = hooks_of(settings).hooks
        typer.echo(f"good: {', '.join(sorted(names))}")
        return
    configure_logging(settings.loglevel, settings.logformat)
    run(settings, stop_on_signals())
