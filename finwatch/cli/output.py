"""What commands say: tables and messages for people, JSON for programs, one clear message for a failure."""

import json
import os
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table

from finwatch.runtime.config import ConfigError
from finwatch.runtime.exits import ExitCode

# Where nobody looks (a pipe, a file), lines are long rather than folded.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False)


class Failed(Exception):
    """A command cannot do its work. `what_to_do` is shown on a line of its own; `code` is the exit code."""

    def __init__(self, message: str, what_to_do: str = "", code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.what_to_do = what_to_do
        self.code = code


def show_json(value: Any) -> None:
    """Print `value` as JSON (decimals and times as text)."""
    sys.stdout.write(json.dumps(value, default=str, ensure_ascii=False, indent=2) + "\n")


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """Print a table; columns named in `right` are set to the right, those in `whole` are never broken.

    Missing values show as a dash.
    """
    table = Table(title=title or None, title_justify="left", header_style="bold", pad_edge=False, box=None)
    for column in columns:
        justify: JustifyMethod = "right" if column in right else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=column in whole)
    for row in rows:
        table.add_row(*("–" if cell is None or cell == "" else str(cell) for cell in row))
    out.print(table)


def show_mapping(rows: Mapping[str, Any]) -> None:
    """Print names and values, aligned."""
    width = max((len(name) for name in rows), default=0)
    for name, value in rows.items():
        out.print(f"  {name.ljust(width)}  {value}")


def explain_failure(error: Exception) -> int:
    """Say what went wrong, and what to do, on standard error; the exit code to leave with."""
    if isinstance(error, Failed):
        err.print(f"[bold red]finwatch:[/] {escape(str(error))}", soft_wrap=True)
        if error.what_to_do:
            err.print(f"[bold]what to do:[/] {escape(error.what_to_do)}", soft_wrap=True)
        return error.code
    if isinstance(error, ConfigError):
        err.print(f"[bold red]finwatch:[/] {escape(str(error))}", soft_wrap=True)
        err.print("[bold]what to do:[/] correct the variables above; docs/operations.md lists them all", soft_wrap=True)
        return ExitCode.CONFIG
    if isinstance(error, BrokenPipeError):
        sys.stderr.close()
        return ExitCode.OK
    known = getattr(error, "exit_code", None)
    if isinstance(known, int):
        err.print(f"[bold red]finwatch:[/] {escape(str(error))}", soft_wrap=True)
        what_to_do = getattr(error, "what_to_do", "")
        if what_to_do:
            err.print(f"[bold]what to do:[/] {escape(str(what_to_do))}", soft_wrap=True)
        return known
    if os.environ.get("FINWATCH_LOGLEVEL", "").lower() == "debug":
        traceback.print_exception(error)
    err.print(f"[bold red]finwatch:[/] unexpected {type(error).__name__}: {escape(str(error))}", soft_wrap=True)
    err.print("[bold]what to do:[/] run again with FINWATCH_LOGLEVEL=debug to see where", soft_wrap=True)
    return ExitCode.SOFTWARE
