"""Exit codes of every finwatch command, documented in docs/operations.md."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a finished process tells its supervisor."""

    OK = 0
    FAILED = 1  # the work itself failed: findings differ, a check is red, a query was refused
    USAGE = 2  # wrong options or arguments
    DRIFT = 3  # finwatch reconcile: source and store differ
    UNAVAILABLE = 69  # a dependency (broker, registry, store, Odoo) could not be reached in time
    SOFTWARE = 70  # an invariant broke; the process stopped rather than guess
    FENCED = 75  # another process took this one's place; a supervisor must not start it again by itself
    DEAD_LETTERS = 76  # more poison records than the limits allow
    DENIED = 77  # credentials or rights are missing
    CONFIG = 78  # configuration or policy is wrong
    INTERRUPTED = 130  # Ctrl-C
