"""From settings to a transport."""

from finwatch.runtime.config import ConfigError, OdooSettings
from producers.odoo.transport import OdooRpcTransport


def open_transport(odoo: OdooSettings) -> OdooRpcTransport:
    """The transport that the settings name. Raises ConfigError for what is missing."""
    for name, value in (
        ("URL", odoo.url),
        ("DATABASE", odoo.database),
        ("USER", odoo.user),
        ("PASSWORD", odoo.password.get_secret_value()),
    ):
        if not value:
            raise ConfigError(f"FINWATCH_ODOO_{name} is not set")
    try:
        return OdooRpcTransport(
            odoo.url, odoo.database, odoo.user, odoo.password.get_secret_value(), timeout=odoo.timeout
        )
    except ValueError as error:
        raise ConfigError(f"FINWATCH_ODOO_URL: {error}") from None
