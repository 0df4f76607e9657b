"""How Odoo is asked. `Transport` is what capture needs of any API; `OdooRpcTransport` is Odoo 17 and 18 by odoorpc.

Facts about the API (values, errors, odoorpc's quirks) were observed on running servers:
- an error comes as HTTP 200 with `error.data.name`; texts may hold paths and SQL and are not passed on;
- `fields` must always be given: reading all of account.move fails on 18, and a reader with few rights silently gets
  no rows at all;
- odoorpc writes the password into its DEBUG log, so what it logs below WARNING is dropped, whatever the process asks.
"""

import http.client
import json
import logging
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import odoorpc
import odoorpc.error

from producers.odoo.errors import (
    AccessDenied,
    AccessRefused,
    Malformed,
    OdooError,
    Refused,
    Unavailable,
    UnknownField,
    UnknownModel,
)
from producers.odoo.values import Domain, Row

T = TypeVar("T")


class Transport(Protocol):
    """Read access to one Odoo database. Every method may raise any of the errors of `producers.odoo.errors`."""

    def version(self) -> int:
        """Major version of the server: 17, 18, ..."""
        ...

    def server_time(self) -> datetime | None:
        """Server time (aware, UTC, whole seconds) when it sent its last answer; None when it does not say."""
        ...

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
        """At most `limit` rows that match, with `id` and `fields` (never empty) of each."""
        ...

    def search(
        self,
        model: str,
        domain: Domain,
        *,
        limit: int,
        order: str = "id",
        context: Mapping[str, Any] | None = None,
    ) -> list[int]:
        """At most `limit` ids that match."""
        ...

    def fields_get(
        self,
        model: str,
        attributes: Sequence[str],
        *,
        fields: Sequence[str] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> dict[str, dict[str, Any]]:
        """Attributes of the model's fields, by field name."""
        ...


class _DateHeader(urllib.request.BaseHandler):
    """Keeps the server's own time of each answer (HTTP `Date`)."""

    def __init__(self) -> None:
        self.last: datetime | None = None

    def http_response(self, _request: object, response: http.client.HTTPResponse) -> http.client.HTTPResponse:
        text = response.headers.get("Date")
        if text:
            try:
                moment = parsedate_to_datetime(text)
            except ValueError:
                return response  # a header nobody can read says nothing: the last one stays
            self.last = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return response

    https_response = http_response


class OdooRpcTransport:
    """Odoo 17 and 18 over `/jsonrpc` by odoorpc. One object for one thread at a time.

    `url` is http(s)://host[:port]; `secret` is the password or an API key. Logs in on first use and keeps the user id:
    the protocol is stateless, each call sends the secret again, and each login costs the server half a second.
    Raises ValueError for an url that cannot be one.
    """

    def __init__(
        self, url: str, database: str, user: str, secret: str, *, timeout: float = 60.0, ca_file: str | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError("the Odoo url must be http(s)://host[:port] without a path")
        if parts.username or parts.password:
            raise ValueError("the Odoo url must not hold a login")
        self._host = parts.hostname
        self._protocol = "jsonrpc+ssl" if parts.scheme == "https" else "jsonrpc"
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._database, self._user, self._secret = database, user, secret
        self._timeout = timeout
        self._date = _DateHeader()
        handlers: list[urllib.request.BaseHandler] = [self._date]
        if parts.scheme == "https":
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file)))
        self._opener = urllib.request.build_opener(*handlers)
        self._odoo: Any = None
        _hush()

    def __repr__(self) -> str:
        return f"OdooRpcTransport({self._protocol}://{self._host}:{self._port}, {self._database})"

    def version(self) -> int:
        """Major version of the server."""
        odoo = self._connected()
        try:
            return int(str(odoo.version).removeprefix("saas~").split(".")[0])
        except ValueError:
            raise Malformed("the server's version is not a number") from None

    def server_time(self) -> datetime | None:
        """Time in the HTTP `Date` header of the last answer."""
        return self._date.last

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
        kwargs: dict[str, Any] = {"fields": list(fields), "limit": limit, "order": order}
        if context:
            kwargs["context"] = dict(context)
        rows = self._call(model, "search_read", [list(domain)], kwargs)
        if not isinstance(rows, list) or not all(
            isinstance(row, dict) and isinstance(row.get("id"), int) for row in rows
        ):
            raise Malformed(f"search_read on {model} did not answer a list of rows")
        return rows

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
        kwargs: dict[str, Any] = {"limit": limit, "order": order}
        if context:
            kwargs["context"] = dict(context)
        ids = self._call(model, "search", [list(domain)], kwargs)
        if not isinstance(ids, list) or not all(isinstance(one, int) for one in ids):
            raise Malformed(f"search on {model} did not answer a list of ids")
        return ids

    def fields_get(
        self,
        model: str,
        attributes: Sequence[str],
        *,
        fields: Sequence[str] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> dict[str, dict[str, Any]]:
        """See Transport."""
        kwargs: dict[str, Any] = {"attributes": list(attributes)}
        if context:
            kwargs["context"] = dict(context)
        answer = self._call(model, "fields_get", [list(fields)] if fields is not None else [], kwargs)
        if not isinstance(answer, dict):
            raise Malformed(f"fields_get on {model} did not answer a mapping")
        return answer

    def _connected(self) -> Any:
        if self._odoo is None:

            def connect() -> Any:
                odoo = odoorpc.ODOO(self._host, self._protocol, self._port, timeout=self._timeout, opener=self._opener)
                odoo.login(self._database, self._user, self._secret)
                return odoo

            self._odoo = _translated("log in", connect)
        return self._odoo

    def _call(self, model: str, method: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        odoo = self._connected()
        return _translated(f"{method} on {model}", lambda: odoo.execute_kw(model, method, args, kwargs))


def _no_requests(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


def _hush() -> None:
    """Keep odoorpc from logging requests, which hold the secret, whatever level its loggers are set to, and when."""
    logger = logging.getLogger("odoorpc.rpc.jsonrpclib")
    if _no_requests not in logger.filters:
        logger.addFilter(_no_requests)


def _translated(what: str, call: Callable[[], T]) -> T:
    """Result of `call`, its failures as OdooError. The cause is dropped: its text may hold the server's data."""
    try:
        return call()
    except odoorpc.error.RPCError as error:
        failure = classify(what, str(error), error.info if isinstance(error.info, dict) else {})
    except odoorpc.error.InternalError:
        failure = AccessDenied(f"{what}: not logged in")
    except urllib.error.HTTPError as error:
        failure = _http_failure(what, error.code)
        error.close()
    except TimeoutError:
        failure = Unavailable(f"{what}: no answer in time")
    except urllib.error.URLError as error:
        reason = error.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            failure = Refused(f"{what}: the server's certificate is not trusted")
        else:
            failure = Unavailable(f"{what}: not reachable ({type(reason).__name__})")
    except (http.client.HTTPException, ConnectionError, OSError) as error:
        failure = Unavailable(f"{what}: connection broke ({type(error).__name__})")
    except (json.JSONDecodeError, UnicodeDecodeError):
        # An answer cut in the middle, or a proxy's page instead of Odoo's answer: the next try may be whole.
        failure = Unavailable(f"{what}: the answer is not JSON")
    except (KeyError, TypeError, AttributeError):
        failure = Malformed(f"{what}: the answer is not JSON-RPC")
    raise failure from None


def _http_failure(what: str, status: int) -> OdooError:
    if status in (401, 403):
        return AccessDenied(f"{what}: HTTP {status}")
    if status in (408, 425, 429) or status >= 500:
        return Unavailable(f"{what}: HTTP {status}")
    return Refused(f"{what}: HTTP {status}")


_DATABASE_TROUBLE = ("psycopg2.OperationalError", "psycopg2.InterfaceError", "psycopg2.errors.", "psycopg2.extensions.")
_DATABASE_FAULT_OF_REQUEST = ("InvalidDatetimeFormat", "InvalidRowCount", "InvalidTextRepresentation", "DatetimeField")


def classify(what: str, message: str, info: Mapping[str, Any]) -> OdooError:
    """The error for Odoo's answer: `info` is its `error` object, `message` its text, used only to tell kinds apart."""
    data = info.get("data")
    name = str(data.get("name", "")) if isinstance(data, Mapping) else ""
    short = name.rsplit(".", 1)[-1]
    if message == "Wrong login ID or password" or short == "AccessDenied":
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
