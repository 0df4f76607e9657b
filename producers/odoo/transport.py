"""How Odoo is asked. `Transport` is what capture needs of any API; `OdooRpcTransport` is Odoo 17 and 18 by odoorpc.

Odoo 19 and later are asked by `producers.odoo.transport_json2`; `producers.odoo.connect` chooses.

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

from producers.odoo.errors import AccessDenied, Malformed, Refused, Unavailable
from producers.odoo.failures import by_status, classify
from producers.odoo.proxy import use_proxy
from producers.odoo.values import Domain, Row

T = TypeVar("T")


class Transport(Protocol):
    """Read access to one Odoo database, by one thread at a time.

    Every method may raise any of the errors of `producers.odoo.errors`.
    """

    @property
    def api(self) -> str:
        """Name of the API that is spoken, for people."""
        ...

    def version(self) -> int:
        """Major version of the server: 17, 18, ... Asked for once it is known that the login is accepted."""
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

    def search_count(self, model: str, domain: Domain, *, context: Mapping[str, Any] | None = None) -> int:
        """How many records match."""
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

    def may(self, model: str, operation: str) -> bool:
        """Whether the user has the right to `read`, `write`, `create` or `unlink` records of a model."""
        ...

    def close(self) -> None:
        """Let go of connections; harmless when there are none. It may be used again afterwards."""
        ...


def server_of(url: str) -> tuple[str, str, int]:
    """(scheme, host, port) of an Odoo's url, http(s)://host[:port]. Raises ValueError for an url that cannot be one."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError("the Odoo url must be http(s)://host[:port] without a path")
    if parts.username or parts.password:
        raise ValueError("the Odoo url must not hold a login")
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def major_version(text: object) -> int:
    """17 of `17.0`, `17.0+e`, `saas~17.2`. Raises Malformed."""
    try:
        return int(str(text).removeprefix("saas~").split(".")[0])
    except ValueError:
        raise Malformed("the server's version is not a number") from None


def server_date(text: str | None) -> datetime | None:
    """Time of an HTTP `Date` header; None for a header nobody can read."""
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def rows_of(model: str, answer: object) -> list[Row]:
    """What search_read answered. Raises Malformed unless it is a list of rows, each with its id."""
    # Classes are collected, not rows looked at one by one: an answer has thousands.
    if not isinstance(answer, list) or {*map(type, answer)} - {dict} or {type(row.get("id")) for row in answer} - {int}:
        raise Malformed(f"search_read on {model} did not answer a list of rows")
    return answer


def ids_of(model: str, answer: object) -> list[int]:
    """What search answered. Raises Malformed unless it is a list of ids."""
    if not isinstance(answer, list) or not all(isinstance(one, int) for one in answer):
        raise Malformed(f"search on {model} did not answer a list of ids")
    return answer


def count_of(model: str, answer: object) -> int:
    """What search_count answered. Raises Malformed unless it is a number of records."""
    if not isinstance(answer, int) or isinstance(answer, bool) or answer < 0:
        raise Malformed(f"search_count on {model} did not answer a number")
    return answer


def fields_of(model: str, answer: object) -> dict[str, dict[str, Any]]:
    """What fields_get answered. Raises Malformed unless it is a mapping."""
    if not isinstance(answer, dict):
        raise Malformed(f"fields_get on {model} did not answer a mapping")
    return answer


class _DateHeader(urllib.request.BaseHandler):
    """Keeps the server's own time of each answer (HTTP `Date`)."""

    def __init__(self) -> None:
        self.last: datetime | None = None

    def http_response(self, _request: object, response: http.client.HTTPResponse) -> http.client.HTTPResponse:
        self.last = server_date(response.headers.get("Date")) or self.last
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
        scheme, self._host, self._port = server_of(url)
        self._protocol = "jsonrpc+ssl" if scheme == "https" else "jsonrpc"
        self._database, self._user, self._secret = database, user, secret
        self._timeout = timeout
        self._date = _DateHeader()
        handlers: list[urllib.request.BaseHandler] = [self._date]
        if scheme == "https":
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file)))
        self._opener = urllib.request.build_opener(*handlers)
        self._odoo: Any = None
        _hush()

    def __repr__(self) -> str:
        return f"OdooRpcTransport({self._protocol}://{self._host}:{self._port}, {self._database})"

    api = "JSON-RPC (/jsonrpc)"

    def version(self) -> int:
        """Major version of the server."""
        return major_version(self._connected().version)

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
        return rows_of(model, self._call(model, "search_read", [list(domain)], kwargs))

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
        return ids_of(model, self._call(model, "search", [list(domain)], kwargs))

    def search_count(self, model: str, domain: Domain, *, context: Mapping[str, Any] | None = None) -> int:
        """See Transport."""
        kwargs = {"context": dict(context)} if context else {}
        return count_of(model, self._call(model, "search_count", [list(domain)], kwargs))

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
        return fields_of(model, self._call(model, "fields_get", [list(fields)] if fields is not None else [], kwargs))

    def may(self, model: str, operation: str) -> bool:
        """See Transport. The method was renamed: 18 knows both names."""
        if self.version() >= 18:
            return bool(self._call(model, "has_access", [[], operation], {}))
        return bool(self._call(model, "check_access_rights", [operation], {"raise_exception": False}))

    def close(self) -> None:
        """Nothing to let go of: odoorpc opens a connection for each call."""

    def _connected(self) -> Any:
        if self._odoo is None:

            def connect() -> Any:
                odoo = odoorpc.ODOO(self._host, self._protocol, self._port, timeout=self._timeout, opener=self._opener)
                use_proxy(odoo)
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
        failure = by_status(what, error.code, error.headers.get("Retry-After"))
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
