"""What can be wrong with the file of hooks, and with a request. Messages name places, never values."""

from finwatch.runtime.exits import ExitCode


class HooksError(Exception):
    """The file of hooks cannot be used; one line a problem, each with its place and what to do."""

    exit_code = ExitCode.CONFIG
    what_to_do = "mend the file that FINWATCH_WEBHOOK_HOOKS names; docs/webhooks.md explains every key"


class Refused(Exception):
    """A request that gets no 202: its status, the reason its sender is told, and when to come again (seconds)."""

    def __init__(self, status: int, reason: str, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after
