"""Options that several commands share, so that they read and behave the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

Embedded = Annotated[
    Path | None,
    typer.Option(
        "--embedded",
        metavar="DIR",
        help="Run on the embedded stack whose data lives in DIR (also FINWATCH_EMBEDDED).",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
