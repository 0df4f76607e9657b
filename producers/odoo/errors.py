"""What can go wrong with Odoo, as a few types that callers can act on.

Messages name models and fields, never values, server paths, SQL or secrets: Odoo's own texts may hold all four, so
none of them is passed on.
"""

from finwatch.runtime.exits import ExitCode


class OdooError(Exception):
    """Base of all errors of the source."""

    kind = "error"


class AccessDenied(OdooError):
    """The login or the key is wrong or was revoked: nothing can be read."""

    kind = "access_denied"
    exit_code = ExitCode.DENIED
    what_to_do = (
        "check FINWATCH_ODOO_USER and FINWATCH_ODOO_PASSWORD, or FINWATCH_ODOO_API_KEY (keys expire), and "
        "FINWATCH_ODOO_DATABASE"
    )


class AccessRefused(OdooError):
    """The service account may not read this model or field: that model stops, the others go on."""

    kind = "access_refused"


class UnknownModel(OdooError):
    """The model does not exist on this server: its module is not installed."""

    kind = "unknown_model"


class UnknownField(OdooError):
    """A field or method named in the request does not exist on this server."""

    kind = "unknown_field"


class Unavailable(OdooError):
    """No usable answer: not reachable, too slow, overloaded, database down. Worth another try.

    `retry_after`: seconds (0..3600) that the server asked to wait, None when it did not say.
    """

    kind = "unavailable"
    exit_code = ExitCode.UNAVAILABLE
    what_to_do = "check FINWATCH_ODOO_URL and FINWATCH_ODOO_DATABASE, and that Odoo is up"

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Malformed(OdooError):
    """An answer, or a row in it, is not what the API promises."""

    kind = "malformed"


class Refused(OdooError):
    """Odoo refused the request for another reason: a fault of the request, not worth another try."""

    kind = "refused"
