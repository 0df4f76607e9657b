"""What every command of the CLI owes whoever types it: examples in its help, and a clear answer to wrong options."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from finwatch.cli.app import app
from finwatch.runtime.exits import ExitCode


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Each command that does something, with its help."""
    below = getattr(command, "commands", {})
    if not below or (path and command.invoke_without_command):
        yield " ".join(path), command.help or ""
    for name, one in below.items():
        yield from commands(one, (*path, name))


def test_each_command_has_an_example_that_names_it() -> None:
    told = dict(commands(typer.main.get_command(app)))
    assert len(told) > 20
    poor = [name for name, text in told.items() if "Example" not in text or f"finwatch {name}" not in text]
    assert not poor
    assert not [name for name, text in told.items() if "Exit code" not in text]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("findings --since soon", "7d"),
        ("findings --since 2026-13-01", "2026-03-01"),
        ("findings --since 7d --limit 0", "greater than or equal to 1"),
        ("findings --limit 100001", "less than or equal to 100000"),
        ("findings --status nope", "dismissed"),
        ("findings --severity nope", "critical"),
        ("approvals --limit x", "integer"),
        ("approvals --by colour", "amount_band"),
        ("policy test default --days 0", "greater than or equal to 1"),
        ("findngs", "findings"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_asked(arguments: str, says: str) -> None:
    answer = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments.split())
    assert answer.exit_code == ExitCode.USAGE
    assert says in answer.output
