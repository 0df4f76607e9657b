"""Structured logs on standard error: one line an event; JSON where no person is looking.

Values of documents, account numbers, names and secrets never go into a log: log ids, counts and positions.
`_redact` is the last net under that rule, not a licence.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog

SECRET_WORDS = (
    "password",
    "secret",
    "token",
    "api_key",
    "apikey",
    "authorization",
    "account_number",
    "acc_number",
    "iban",
)


def _redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in event:
        if any(word in name.lower() for word in SECRET_WORDS):
            event[name] = "***"
    return event


class _StandardError:
    """Standard error as it is at the time of writing: it may be another one than when the logging was set up."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure_logging(level: str = "info", form: str = "auto") -> None:
    """Set up logging of this process. `form`: json, console, or auto (console on a terminal)."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    numeric = getattr(logging, level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact,
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.PrintLoggerFactory(file=cast(TextIO, _StandardError())),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(_StandardError())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=max(numeric, logging.INFO), handlers=[handler], force=True)
    for noisy in ("aiohttp.access", "httpx", "httpx2", "mode", "faust"):
        logging.getLogger(noisy).setLevel(max(numeric, logging.WARNING))
    # It tells of every attempt to connect; who calls says what is away, once. (clickhouse-connect sets its parent.)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    # odoorpc prints every request at DEBUG, the password with it: never below WARNING, whatever the level asked for.
    logging.getLogger("odoorpc").setLevel(logging.WARNING)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that carries the component's name."""
    return cast(structlog.stdlib.BoundLogger, structlog.get_logger(component=name))
