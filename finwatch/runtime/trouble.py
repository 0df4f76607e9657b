"""What a process waits for, told once: patience must not be noise."""

from typing import Any

import structlog


class Trouble:
    """Logs a reason for waiting when it is new, not at every try, and the end of the waiting. For one thread."""

    def __init__(self, log: structlog.stdlib.BoundLogger) -> None:
        self._log = log
        self._said: tuple[str, dict[str, Any]] | None = None

    def tell(self, event: str, **fields: Any) -> None:
        """A try failed for this reason."""
        if self._said != (event, fields):
            self._said = (event, fields)
            self._log.warning(event, **fields)

    def over(self) -> None:
        """It works again, if it did not."""
        if self._said is not None:
            self._said = None
            self._log.info("everything answers again")
