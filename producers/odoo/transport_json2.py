"""Odoo 19 and later over its JSON-2 API: `POST /json/2/<model>/<method>`, named arguments in, the plain result out.

Written to Odoo's documentation of the API and to its source, and run against the simulated Odoo, not yet against a
real Odoo 19 (docs/odoo-versions.md says what is which):
- an API key as bearer, never a password; keys live three months at most;
- the database in `X-Odoo-Database`; a name that the server does not know is answered by an HTML page with status 404,
  which is also what a server without this API answers;
- errors have HTTP statuses and an object with name, message, arguments, context and debug: `message` and `debug` may
  hold values, paths and SQL and are not passed on;
- `/web/version` and `/json/version` tell the version to anybody.

Connections are kept open between calls when the server or the proxy before it allows that.
"""

import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec
import urllib3
import urllib3.exceptions

from producers.odoo.errors import (
    AccessDenied,
    Malformed,
    OdooError,
    Refused,
    Unavailable,
    UnknownField,
    UnknownModel,
)
from producers.odoo.failures import by_name, by_status
from producers.odoo.transport import count_of, fields_of, ids_of, major_version, rows_of, server_date, server_of
from producers.odoo.values import Domain, Row

FIRST_JSON2_VERSION = 19
_VERSION_PATHS = ("/web/version", "/json/version")
_AGENT = "finwatch"


class Server:
    """HTTP to one Odoo: one connection, kept between requests. Not for several threads at a time.

    `url` is http(s)://host[:port]; `timeout` in seconds for the connection and for each wait for bytes. Raises
    ValueError for an url that cannot be one.
    """

    def __init__(self, url: str, *, timeout: float = 60.0, ca_file: str | None = None) -> None:
        scheme, host, port = server_of(url)
        self.name = f"{scheme}://{host}:{port}"
        self.time: datetime | None = None
        shown = f"[{host}]" if ":" in host else host
        self._base = f"{scheme}://{shown}:{port}"
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=1,
            retries=False,
            timeout=urllib3.Timeout(connect=timeout, read=timeout),
            ssl_context=ssl.create_default_context(cafile=ca_file) if scheme == "https" else None,
        )
        self._kept = False

    def request(
        self, what: str, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> urllib3.BaseHTTPResponse:
        """One request and its whole answer, of whatever status. Raises Unavailable, Refused."""
        kept, self._kept = self._kept, False
        try:
            answer = self._ask(what, method, path, headers, body)
        except Unavailable as failure:
            # A connection kept since the last call may have been closed by the server just now. The call is a read
            # and can be made again; on a new connection nothing is tried twice.
            if not kept or not isinstance(failure, _Broken):
                raise
            answer = self._ask(what, method, path, headers, body)
        self._kept = answer.headers.get("Connection", "").lower() != "close"
        self.time = server_date(answer.headers.get("Date")) or self.time
        return answer

    def _ask(
        self, what: str, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        failure: OdooError
        try:
            return self._pool.request(
                method, self._base + path, body=body, headers={"User-Agent": _AGENT, **headers}, redirect=False
            )
        except urllib3.exceptions.NewConnectionError:
            failure = Unavailable(f"{what}: not reachable")
        except urllib3.exceptions.TimeoutError:
            failure = Unavailable(f"{what}: no answer in time")
        except urllib3.exceptions.SSLError as error:
            if isinstance(error.args[0] if error.args else None, ssl.SSLCertVerificationError):
                failure = Refused(f"{what}: the server's certificate is not trusted")
            else:
                failure = _Broken(f"{what}: TLS failed")
        except (urllib3.exceptions.HTTPError, OSError) as error:
            failure = _Broken(f"{what}: connection broke ({type(error).__name__})")
        raise failure from None

    def close(self) -> None:
        """Close the connection; the next request opens one."""
        self._pool.clear()
        self._kept = False


class _Broken(Unavailable):
    """The connection broke before the answer was whole."""


def ask_version(server: Server) -> int | None:
    """Major version of an Odoo 19 or later; None when the server does not tell it this way, as 17 and 18 do not.

    Raises Unavailable, Refused (an untrusted certificate), Malformed.
    """
    for path in _VERSION_PATHS:
        what = "ask for the version"
        answer = server.request(what, "GET", path, {"Accept": "application/json"})
        if answer.status == 200:
            try:
                told = msgspec.json.decode(answer.data)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # some page of a proxy or of an older Odoo
            if isinstance(told, dict) and told.get("version"):
                return major_version(told["version"])
        elif answer.status not in (401, 403, 404, 405) and answer.status >= 400:
            failure = by_status(what, answer.status, answer.headers.get("Retry-After"))
            if isinstance(failure, Unavailable):
                raise failure
    return None


class Json2Transport:
    """Odoo 19 and later over JSON-2. One object for one thread at a time.

    `key` is an API key of the service account; `database` may be empty when the server tells it by the host's name.
    The key is tried on first use, once. Raises ValueError for an url, a database or a key that cannot be one.
    """

    api = "JSON-2 (/json/2)"

    def __init__(
        self,
        url: str,
        database: str,
        key: str,
        *,
        timeout: float = 60.0,
        ca_file: str | None = None,
        server: Server | None = None,
    ) -> None:
        for name, text in (("API key", key), ("database", database)):
            if not text.isascii() or not text.isprintable():
                raise ValueError(f"the {name} has characters that no header may hold")
        self._server = server or Server(url, timeout=timeout, ca_file=ca_file)
        self._database = database
        self._headers = {
            "Authorization": f"bearer {key}",
            "Content-Type": "application/json; charset=utf-8",
            "Accept": "application/json",
        }
        if database:
            self._headers["X-Odoo-Database"] = database
        self._accepted = False

    def __repr__(self) -> str:
        return f"Json2Transport({self._server.name}, {self._database})"

    def version(self) -> int:
        """Major version of the server, once the key is known to be accepted."""
        self._check_key()
        version = ask_version(self._server)
        if version is None:
            raise Malformed("the server does not tell its version")
        return version

    def server_time(self) -> datetime | None:
        """Time in the HTTP `Date` header of the last answer."""
        return self._server.time

    def search_read(
        self,
        model: str,
        domain: Domain,
        fields: Sequence[str],
        *,
        limit: int,
        order: str = "id",
        context: Mapping[str, Any] | None = None,
    ) -> list[Row]:
        """See Transport."""
        if not fields:
            raise ValueError("fields must be given")
        arguments = {"domain": list(domain), "fields": list(fields), "limit": limit, "order": order}
        return rows_of(model, self._call(model, "search_read", arguments, context))

    def search(
        self,
        model: str,
        domain: Domain,
        *,
        limit: int,
        order: str = "id",
        context: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """See Transport."""
        arguments = {"domain": list(domain), "limit": limit, "order": order}
        return ids_of(model, self._call(model, "search", arguments, context))

    def search_count(self, model: str, domain: Domain, *, context: Mapping[str, Any] | None = None) -> int:
        """See Transport."""
        return count_of(model, self._call(model, "search_count", {"domain": list(domain)}, context))

    def fields_get(
        self,
        model: str,
        attributes: Sequence[str],
        *,
        fields: Sequence[str] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> dict[str, dict[str, Any]]:
        """See Transport."""
        arguments: dict[str, Any] = {"attributes": list(attributes)}
        if fields is not None:
            arguments["allfields"] = list(fields)
        return fields_of(model, self._call(model, "fields_get", arguments, context))

    def may(self, model: str, operation: str) -> bool:
        """See Transport."""
        return bool(self._call(model, "has_access", {"ids": [], "operation": operation}, None))

    def close(self) -> None:
        """Close the connection; the next call opens one."""
        self._server.close()

    def _check_key(self) -> None:
        """Whether the key is accepted: what any user may ask about oneself."""
        if not self._accepted:
            self._ask("log in", "res.users", "context_get", {})
            self._accepted = True

    def _call(self, model: str, method: str, arguments: dict[str, Any], context: Mapping[str, Any] | None) -> Any:
        if context:
            arguments["context"] = dict(context)
        answer = self._ask(f"{method} on {model}", model, method, arguments)
        self._accepted = True
        return answer

    def _ask(self, what: str, model: str, method: str, arguments: dict[str, Any]) -> Any:
        path = f"/json/2/{quote(model, safe='')}/{quote(method, safe='')}"
        answer = self._server.request(what, "POST", path, self._headers, msgspec.json.encode(arguments))
        if answer.status != 200:
            raise _failure(what, answer) from None
        try:
            return msgspec.json.decode(answer.data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # An answer cut in the middle, or a proxy's page instead of Odoo's answer: the next try may be whole.
            raise Unavailable(f"{what}: the answer is not JSON") from None


def _failure(what: str, answer: urllib3.BaseHTTPResponse) -> OdooError:
    """The error for an answer that is no success."""
    status, retry_after = answer.status, answer.headers.get("Retry-After")
    try:
        told = msgspec.json.decode(answer.data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = None
    name = told.get("name") if isinstance(told, dict) else None
    if not isinstance(name, str) or not isinstance(told, dict):
        if status == 404:
            return Unavailable(
                f"{what}: HTTP 404 without a word of Odoo's API: the database is not there or not up, or this server "
                f"is older than Odoo {FIRST_JSON2_VERSION}"
            )
        return by_status(what, status, retry_after)
    return refusal(what, status, name, str(told.get("message", "")), retry_after)


def refusal(what: str, status: int, name: str, message: str, retry_after: str | None = None) -> OdooError:
    """The error for an error object of JSON-2: HTTP status, dotted name of the exception, its text."""
    if status == 401 or name.endswith(".SessionExpiredException"):
        return AccessDenied(f"{what}: Odoo does not accept this key")
    if not name.startswith("werkzeug."):
        return by_name(what, name, message)
    # What Odoo's own routing says: the model and the method are looked up before anything is called.
    if status == 404 and message.startswith("the model ") and message.endswith("does not exist"):
        return UnknownModel(f"{what}: no such model on this server")
    if status == 404 and message.startswith("The method "):
        return UnknownField(f"{what}: a method does not exist on this server")
    return by_status(what, status, retry_after)
