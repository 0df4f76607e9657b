"""From settings to a transport, and the choice between them by the server's version."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from finwatch.runtime.config import ConfigError, OdooSettings
from producers.odoo.errors import AccessDenied
from producers.odoo.transport import OdooRpcTransport, Transport, server_of
from producers.odoo.transport_json2 import FIRST_JSON2_VERSION, Json2Transport, Server, ask_version
from producers.odoo.values import Domain, Row


def open_transport(odoo: OdooSettings) -> Transport:
    """The transport that the settings name; nothing is sent yet. Raises ConfigError for what is missing or wrong."""
    user, password, key = odoo.user, odoo.password.get_secret_value(), odoo.api_key.get_secret_value()
    needed = [("URL", odoo.url), ("DATABASE", odoo.database)]
    if odoo.transport == "jsonrpc" or (odoo.transport == "auto" and not key):
        needed.append(("USER", user))  # an API key alone is enough for Odoo 19 and later
    needed.append(("PASSWORD (or FINWATCH_ODOO_API_KEY)", password or key))
    for name, value in needed:
        if not value:
            raise ConfigError(f"FINWATCH_ODOO_{name} is not set")
    ca_file = str(odoo.ssl_ca) if odoo.ssl_ca else None

    def jsonrpc() -> Transport:
        # An API key stands in for the password.
        return OdooRpcTransport(odoo.url, odoo.database, user, password or key, timeout=odoo.timeout, ca_file=ca_file)

    def json2(server: Server) -> Transport:
        return Json2Transport(odoo.url, odoo.database, key or password, server=server)

    try:
        server_of(odoo.url)
    except ValueError as error:
        raise ConfigError(f"FINWATCH_ODOO_URL: {error}") from None
    try:
        if odoo.transport == "jsonrpc":
            return jsonrpc()
        server = Server(odoo.url, timeout=odoo.timeout, ca_file=ca_file)
        if odoo.transport == "json2":
            return json2(server)
    except ValueError as error:
        raise ConfigError(f"FINWATCH_ODOO_*: {error}") from None
    except OSError as error:
        raise ConfigError(f"FINWATCH_ODOO_SSL_CA cannot be read: {error.strerror or 'no certificate'}") from None
    return AutomaticTransport(server, json2, jsonrpc if user else None)


class AutomaticTransport:
    """JSON-2 for Odoo 19 and later, JSON-RPC for 17 and 18. The server is asked on first use, and at each `version()`:
    a server may be upgraded.

    `jsonrpc` is None when the settings name no user, which JSON-RPC needs.
    """

    def __init__(
        self, server: Server, json2: Callable[[Server], Transport], jsonrpc: Callable[[], Transport] | None
    ) -> None:
        self._server = server
        self._make_json2 = json2
        self._make_jsonrpc = jsonrpc
        self._json2: Transport | None = None
        self._jsonrpc: Transport | None = None
        self._chosen: Transport | None = None

    def __repr__(self) -> str:
        return f"AutomaticTransport({self._chosen!r})"

    @property
    def api(self) -> str:
        """Name of the API that was chosen."""
        return self._chosen.api if self._chosen is not None else "not chosen yet"

    def _choose(self) -> Transport:
        version = ask_version(self._server)
        if version is not None and version >= FIRST_JSON2_VERSION:
            if self._json2 is None:
                try:
                    self._json2 = self._make_json2(self._server)
                except ValueError as error:  # a password of an older Odoo, say: no key looks like it
                    raise AccessDenied(f"this Odoo is asked over JSON-2: {error}") from None
            return self._json2
        if self._make_jsonrpc is None:
            raise AccessDenied("this Odoo is older than 19 and asked over JSON-RPC, which needs FINWATCH_ODOO_USER")
        if self._jsonrpc is None:
            self._jsonrpc = self._make_jsonrpc()
        return self._jsonrpc

    def _transport(self) -> Transport:
        if self._chosen is None:
            self._chosen = self._choose()
        return self._chosen

    def version(self) -> int:
        """See Transport."""
        self._chosen = self._choose()
        return self._chosen.version()

    def server_time(self) -> datetime | None:
        """See Transport."""
        return self._chosen.server_time() if self._chosen is not None else None

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
        return self._transport().search_read(model, domain, fields, limit=limit, order=order, context=context)

    def search(
        self, model: str, domain: Domain, *, limit: int, order: str = "id", context: Mapping[str, Any] | None = None
    ) -> list[int]:
        """See Transport."""
        return self._transport().search(model, domain, limit=limit, order=order, context=context)

    def search_count(self, model: str, domain: Domain, *, context: Mapping[str, Any] | None = None) -> int:
        """See Transport."""
        return self._transport().search_count(model, domain, context=context)

    def fields_get(
        self,
        model: str,
        attributes: Sequence[str],
        *,
        fields: Sequence[str] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> dict[str, dict[str, Any]]:
        """See Transport."""
        return self._transport().fields_get(model, attributes, fields=fields, context=context)

    def may(self, model: str, operation: str) -> bool:
        """See Transport."""
        return self._transport().may(model, operation)

    def close(self) -> None:
        """See Transport."""
        self._server.close()
        if self._jsonrpc is not None:
            self._jsonrpc.close()
