"""Errors as Odoo puts them on the wire: HTTP 200, `error.code` 200, the kind in `error.data.name`."""

from __future__ import annotations

from typing import Any


class OdooError(Exception):
    """An error that the caller of the RPC receives; `name` is the dotted name of the exception in Odoo."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message

    def body(self) -> dict[str, Any]:
        """The member `error` of the JSON-RPC answer."""
        not_found = self.name == "werkzeug.exceptions.NotFound"
        return {
            "code": 404 if not_found else 200,
            "message": self.message if not_found else "Odoo Server Error",
            "data": {
                "name": self.name,
                "debug": f"Traceback (most recent call last):\n{self.name}: {self.message}\n",
                "message": self.message,
                "arguments": [self.message],
                "context": {},
            },
        }


def access_denied() -> OdooError:
    """Wrong password or key on `object.execute`."""
    return OdooError("odoo.exceptions.AccessDenied", "Access Denied")


def access_error(message: str) -> OdooError:
    """A right is missing."""
    return OdooError("odoo.exceptions.AccessError", message)


def user_error(message: str) -> OdooError:
    """A business refusal."""
    return OdooError("odoo.exceptions.UserError", message)


def value_error(message: str) -> OdooError:
    """Unknown field, malformed domain, wrong value of a selection."""
    return OdooError("builtins.ValueError", message)


def unknown_model(model: str) -> OdooError:
    """The model is not installed."""
    return user_error(f"Object {model} doesn't exist")


def invalid_field(model: str, field: str) -> OdooError:
    """The model has no such field."""
    return value_error(f"Invalid field '{field}' on model '{model}'")


def missing_record(model: str, record_id: int, uid: int) -> OdooError:
    """Write or unlink of a record that is gone (a read answers [] instead)."""
    text = f"Record does not exist or has been deleted.\n(Record: {model}({record_id},), User: {uid})"
    return OdooError("odoo.exceptions.MissingError", text)


def database_missing(database: str) -> OdooError:
    """PostgreSQL has no such database."""
    text = f'connection to server at "127.0.0.1", port 5432 failed: FATAL:  database "{database}" does not exist\n'
    return OdooError("psycopg2.OperationalError", text)


def bad_datetime(table: str, column: str, operator: str, literal: str) -> OdooError:
    """PostgreSQL cannot read a literal as a timestamp."""
    text = (
        f'invalid input syntax for type timestamp: "{literal}"\n'
        f'LINE 1: ..."{table}" WHERE ("{table}"."{column}" {operator} \'{literal}\')...\n'
        "                                                             ^\n"
    )
    return OdooError("psycopg2.errors.InvalidDatetimeFormat", text)


def bad_number(kind: str, literal: str) -> OdooError:
    """PostgreSQL cannot read a literal as a number."""
    text = f'invalid input syntax for type {kind}: "{literal}"\n'
    return OdooError("psycopg2.errors.InvalidTextRepresentation", text)
