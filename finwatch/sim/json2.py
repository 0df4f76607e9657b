"""The JSON-2 dialect of Odoo 19 and later: `POST /json/2/<model>/<method>`, as its documentation and source say.

Named arguments in the body (`ids` and `context` among them), the plain result out, HTTP statuses, and for errors an
object with name, message, arguments, context and debug. Nothing here was compared with a running server of 19.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from finwatch.sim.errors import OdooError
from finwatch.sim.faults import Faults
from finwatch.sim.rpc import Call
from finwatch.sim.store import Database
from finwatch.sim.users import User

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"
FIRST_VERSION = 19
VERSION_PATHS = ("/web/version", "/json/version")
NO_DATABASE = (
    b"<!DOCTYPE html>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>No database is selected and the requested "
    b"URL was not found in the server-wide controllers.</p>\n"
)
_BEARER = re.compile(r"^bearer\s+(.+)$", re.IGNORECASE)
_STATUSES = {
    "odoo.exceptions.AccessDenied": 403,
    "odoo.exceptions.AccessError": 403,
    "odoo.exceptions.MissingError": 404,
    "odoo.exceptions.LockError": 409,
    "odoo.exceptions.UserError": 422,
    "odoo.exceptions.ValidationError": 422,
}
# Methods of the model as a whole: given ids they refuse. The others work on the records that `ids` names.
_OF_MODEL = frozenset(
    {
        "search",
        "search_read",
        "search_count",
        "fields_get",
        "name_search",
        "create",
        "context_get",
        "check_access_rights",
    }
)

Answer = tuple[int, str, bytes]
"""(status, content type, body)"""


class _Refusal(Exception):
    """An HTTP error of Odoo's routing: its name in werkzeug, its status, its text."""

    def __init__(self, name: str, status: int, message: str) -> None:
        super().__init__(message)
        self.name = f"werkzeug.exceptions.{name}"
        self.status = status
        self.message = message


def version(db: Database) -> Answer:
    """`GET /web/version`, to anybody."""
    info = db.catalogue.version_info
    told = {"version_info": info["server_version_info"], "version": info["server_version"]}
    return 200, JSON, msgspec.json.encode(told)


def answer(db: Database, faults: Faults, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """One POST below `/json/2`; `headers` by lower-case name."""
    wanted = headers.get("x-odoo-database")
    if wanted is not None and wanted != db.name:
        return 404, HTML, NO_DATABASE
    if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        return 415, HTML, b"<!doctype html>\n<title>415 Unsupported Media Type</title>\n"
    try:
        return 200, JSON, msgspec.json.encode(_result(db, faults, path, headers, body))
    except _Refusal as refusal:
        arguments: list[Any] = [refusal.message, refusal.status]
        return _error(refusal.status, refusal.name, refusal.message, arguments)
    except OdooError as error:
        return _error(_STATUSES.get(error.name, 500), error.name, error.message, [error.message])
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        # As Odoo does: whatever a caller's arguments make the server raise goes back to the caller.
        return _error(500, f"builtins.{type(error).__name__}", str(error), [str(error)])


def _error(status: int, name: str, message: str, arguments: list[Any]) -> Answer:
    debug = f"Traceback (most recent call last):\n{name}: {message}\n"
    told = {"name": name, "message": message, "arguments": arguments, "context": {}, "debug": debug}
    return status, JSON, msgspec.json.encode(told)


def _result(db: Database, faults: Faults, path: str, headers: Mapping[str, str], body: bytes) -> Any:
    parts = path.strip("/").split("/")
    if len(parts) != 4:
        raise _Refusal("NotFound", 404, "Did you mean POST /json/2/<model>/<method>?")
    # 1. Who asks; 2. the body; 3. the model and the method; 4. the arguments; 5. only then are rights looked at.
    user = _user(db, faults, headers)
    try:
        arguments = msgspec.json.decode(body) if body else {}
    except msgspec.DecodeError as error:
        raise _Refusal("BadRequest", 400, f"could not parse the body as json: {error}") from None
    arguments = dict(arguments) if isinstance(arguments, dict) else {}
    ids, context = arguments.pop("ids", []), arguments.pop("context", {})
    model, method = parts[2], parts[3]
    if model not in db.tables:
        raise _Refusal("NotFound", 404, f"the model '{model}' does not exist")
    call = Call(db, user, model, context if isinstance(context, dict) else {})
    try:
        action = call.action(method)
    except OdooError as error:
        if error.name == "builtins.AttributeError":
            raise _Refusal("NotFound", 404, error.message) from None
        raise
    of_model = method in _OF_MODEL
    if of_model and ids:
        raise _Refusal("UnprocessableEntity", 422, f"cannot call {model}.{method} with ids")
    records = [] if of_model else [[int(one) for one in ([ids] if isinstance(ids, int) else ids)]]
    if method in ("search", "search_count") and "domain" not in arguments:
        raise _Refusal("UnprocessableEntity", 422, "missing a required argument: 'domain'")
    try:
        inspect.signature(action).bind(*records, **arguments)
    except TypeError as error:
        raise _Refusal("UnprocessableEntity", 422, str(error)) from None
    return action(*records, **arguments)


def _user(db: Database, faults: Faults, headers: Mapping[str, str]) -> User:
    given = _BEARER.match(headers.get("authorization", ""))
    if given is None:
        raise _Refusal("Unauthorized", 401, 'User not authenticated, use the "Authorization" header')
    key = given.group(1)
    user = next((one for one in db.users.values() if one.api_key and one.api_key == key), None)
    if user is None or faults.refuse_logins:
        raise _Refusal("Unauthorized", 401, "Invalid apikey")
    return user
