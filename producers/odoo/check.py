"""What `finwatch doctor` asks of an Odoo: reachability, login, version, clock, and the right to read each model."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

from finwatch.runtime.config import ConfigError, OdooSettings
from producers.odoo.accounts import MINIMUM_KEY_BYTES
from producers.odoo.connect import open_transport
from producers.odoo.errors import AccessDenied, AccessRefused, OdooError, UnknownModel
from producers.odoo.mapping import MAPPINGS
from producers.odoo.mapping.spec import FIRST_VERSION, LAST_VERSION
from producers.odoo.tracking import FIELD_MODEL, MESSAGE_MODEL, VALUE_MODEL
from producers.odoo.transport import Transport
from producers.odoo.transport_json2 import FIRST_JSON2_VERSION
from producers.odoo.windows import SAFE_OVERLAP

Status = Literal["ok", "warning", "failed", "skipped"]
Result = tuple[str, Status, str, str]
"""(what was checked, outcome, what was found, what to do unless ok)"""
SKEW_SECONDS = 10.0


def check(settings: OdooSettings, transport: Transport | None = None) -> Iterator[Result]:
    """Check the configured Odoo, step by step; stops where the next step cannot work. Raises nothing of the source."""
    yield _key(settings)
    yield _overlap(settings)
    try:
        transport = transport or open_transport(settings)
        version = transport.version()
    except ConfigError as error:
        yield "configuration", "failed", str(error), "set it, or its _FILE"
        return
    except OdooError as error:
        yield "login", "failed", str(error), getattr(error, "what_to_do", "look at Odoo's log")
        return
    yield "login", "ok", f"user of database {settings.database}", ""
    if version >= FIRST_JSON2_VERSION and not transport.api.startswith("JSON-2"):
        what_to_do = "set FINWATCH_ODOO_TRANSPORT to auto, and FINWATCH_ODOO_API_KEY"
        yield "transport", "warning", f"{transport.api}: deprecated, and gone with Odoo 22", what_to_do
    else:
        yield "transport", "ok", transport.api, ""
    if FIRST_VERSION <= version <= LAST_VERSION:
        yield "version", "ok", str(version), ""
    else:
        what_to_do = f"use {FIRST_VERSION} to {LAST_VERSION}; others are read as the nearest of them"
        yield "version", "warning", f"{version} is not tested", what_to_do
    yield _skew(transport)
    for model in dict.fromkeys((*_models(version), VALUE_MODEL, MESSAGE_MODEL, FIELD_MODEL)):
        yield _readable(transport, model)


def _models(version: int) -> Iterator[str]:
    for mapping in MAPPINGS:
        if not mapping.serves(version):
            continue
        yield mapping.model
        yield from (child.model for child in mapping.children)


def _key(settings: OdooSettings) -> Result:
    if len(settings.account_key.get_secret_value().encode()) >= MINIMUM_KEY_BYTES:
        return "account key", "ok", "set", ""
    what_to_do = "make one with `openssl rand -hex 32`, keep it, and give it as FINWATCH_ODOO_ACCOUNT_KEY_FILE"
    return "account key", "failed", f"missing, or shorter than {MINIMUM_KEY_BYTES} bytes", what_to_do


def _overlap(settings: OdooSettings) -> Result:
    if settings.overlap >= SAFE_OVERLAP.total_seconds():
        return "overlap", "ok", f"{settings.overlap:.0f} s", ""
    what_to_do = (
        f"set FINWATCH_ODOO_OVERLAP to {SAFE_OVERLAP.total_seconds():.0f} or more: transactions may take as long"
    )
    return "overlap", "warning", f"{settings.overlap:.0f} s: late commits may be lost", what_to_do


def _skew(transport: Transport) -> Result:
    told = transport.server_time()
    if told is None:
        return "clock", "warning", "the server does not say its time", "let the proxy pass the Date header on"
    skew = (told - datetime.now(UTC)).total_seconds()
    if abs(skew) <= SKEW_SECONDS:
        return "clock", "ok", f"{skew:+.0f} s", ""
    return "clock", "warning", f"{skew:+.0f} s", "synchronise the clocks (NTP) of both machines"


def _readable(transport: Transport, model: str) -> Result:
    """Whether rows of a model can be read; of documents an empty table may also be one that is hidden by a rule."""
    try:
        rows = transport.search_read(model, [], ["write_date" if model != FIELD_MODEL else "name"], limit=1)
    except UnknownModel:
        return model, "skipped", "not installed", ""
    except AccessRefused:
        return (
            model,
            "failed",
            "no right to read",
            "give the service account a read right on it",
        )
    except AccessDenied as error:
        return model, "failed", str(error), AccessDenied.what_to_do
    except OdooError as error:
        return model, "failed", str(error), "look at Odoo's log"
    return model, "ok", "readable" if rows else "readable, no rows seen", ""
