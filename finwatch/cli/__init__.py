"""The `finwatch` command: one file a command.

Owns: options, help, tables and JSON for people and programs, exit codes, the wording of errors.
Does not own: any work; each command calls the package that does it. Heavy imports happen inside the commands, so that
`finwatch --help` answers at once.
"""

import sys

from finwatch.cli.app import app
from finwatch.cli.output import explain_failure


def main() -> None:
    """Entry point: runs the command, and turns every failure into one message and an exit code."""
    try:
        app()
    except Exception as error:
        sys.exit(explain_failure(error))
