"""Odoo's refusals as the errors of `producers.odoo.errors`, the same for every transport.

Only the name of the exception, the HTTP status and fixed words of the text tell kinds apart; the text itself may hold
the server's data, paths or SQL and goes no further.
"""

import math
from collections.abc import Mapping
from typing import Any

from producers.odoo.errors import (
    AccessDenied,
    AccessRefused,
    OdooError,
    Refused,
    Unavailable,
    UnknownField,
    UnknownModel,
)

_DATABASE_TROUBLE = ("psycopg2.OperationalError", "psycopg2.InterfaceError", "psycopg2.errors.", "psycopg2.extensions.")
_DATABASE_FAULT_OF_REQUEST = ("InvalidDatetimeFormat", "InvalidRowCount", "InvalidTextRepresentation", "DatetimeField")
_BUSY = (408, 425, 429)
_LONGEST_RETRY_AFTER = 3600.0


def classify(what: str, message: str, info: Mapping[str, Any]) -> OdooError:
    """The error for an answer of JSON-RPC: `info` is its `error` object, `message` its text."""
    data = info.get("data")
    name = str(data.get("name", "")) if isinstance(data, Mapping) else ""
    if message == "Wrong login ID or password":
        return AccessDenied(f"{what}: Odoo does not accept this login")
    if name == "werkzeug.exceptions.NotFound":
        return Refused(f"{what}: this server answers JSON-RPC no more; set FINWATCH_ODOO_TRANSPORT to auto or json2")
    return by_name(what, name, message)


def by_name(what: str, name: str, message: str) -> OdooError:
    """The error for an exception of Odoo with this dotted name."""
    short = name.rsplit(".", 1)[-1]
    if short == "AccessDenied":
        return AccessDenied(f"{what}: Odoo does not accept this login")
    if short == "AccessError":
        return AccessRefused(f"{what}: the service account may not read this")
    if short == "UserError" and message.startswith("Object ") and "doesn't exist" in message:
        return UnknownModel(f"{what}: no such model on this server")
    if short == "KeyError" and " on " in what and what.rsplit(" on ", 1)[1] in message:
        return UnknownModel(f"{what}: no such model on this server")
    if short == "ValueError" and "nvalid field" in message:
        return UnknownField(f"{what}: a field does not exist on this server")
    if short == "AttributeError":
        return UnknownField(f"{what}: a method does not exist on this server")
    if name.startswith(_DATABASE_TROUBLE) and not any(word in name for word in _DATABASE_FAULT_OF_REQUEST):
        return Unavailable(f"{what}: the database behind Odoo gives {short}")
    return Refused(f"{what}: Odoo answered {short or 'an error without a name'}")


def by_status(what: str, status: int, retry_after: str | None = None) -> OdooError:
    """The error for an HTTP status without an error object of Odoo: a proxy's answer, or Odoo's before it has one."""
    if status in (401, 403):
        return AccessDenied(f"{what}: HTTP {status}")
    if status in _BUSY or status >= 500:
        return Unavailable(f"{what}: HTTP {status}", retry_after=seconds(retry_after))
    return Refused(f"{what}: HTTP {status}")


def seconds(retry_after: str | None) -> float | None:
    """Seconds of a `Retry-After` header, an hour at most; None for none, a date, or nonsense."""
    try:
        told = float(retry_after or "")
    except ValueError:
        return None
    return min(max(told, 0.0), _LONGEST_RETRY_AFTER) if math.isfinite(told) else None
