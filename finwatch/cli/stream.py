"""`finwatch stream`: the Faust workers."""

from enum import StrEnum
from typing import Annotated

import typer

from finwatch.cli.options import Embedded
from finwatch.cli.output import Failed
from finwatch.runtime.exits import ExitCode


class StageName(StrEnum):
    """Stages of the stream."""

    documents = "documents"
    relations = "relations"


def stream(
    stages: Annotated[list[StageName], typer.Argument(help="One stage or both in one process.", show_default=False)],
    embedded: Embedded = None,
) -> None:
    """Run Faust workers of one stage or both until stopped; more processes share the partitions.

    Examples: [bold]finwatch stream documents[/], [bold]finwatch stream documents relations --embedded ./data[/].
    The same workers run as [bold]faust -A streams.app worker[/] (stages from FINWATCH_STREAM_STAGES).
    Exit codes: 0 stopped, 70 an invariant broke, 76 too many dead letters, 78 configuration.
    """
    from finwatch.local.access import settings_for
    from finwatch.runtime.logging import configure_logging
    from streams.app import run

    settings = settings_for(embedded)
    configure_logging(settings.loglevel, settings.logformat)
    names = [stage.value for stage in stages]
    if settings.embedded is None:
        raise typer.Exit(run(names, settings))
    if not settings.incarnation:
        raise Failed(
            f"no embedded stack runs in {settings.embedded}",
            "start one (`finwatch demo`, `finwatch import`); both run the streams themselves",
            ExitCode.UNAVAILABLE,
        )
    from finwatch.local.stream_process import run_embedded

    raise typer.Exit(run_embedded(names, settings))
