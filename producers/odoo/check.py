"""What `finwatch doctor` asks of an Odoo: reachability, login, version, clock, and the right to read each model."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

from finwatch.runtime.config import ConfigError, OdooSettings
from producers.odoo.accounts import MINIMUM_KEY_BYTES
from producers.odoo.configured import configured
from producers.odoo.connect import open_transport
from producers.odoo.errors import AccessDenied, AccessRefused, OdooError, UnknownModel
from producers.odoo.mapping import SHIPPED, Mappings
from producers.odoo.mapping.spec import FIRST_VERSION, LAST_VERSION
from producers.odoo.rights import OWN_RECORDS, Right, rights
from producers.odoo.tracking import (
    FIELD_FIELDS,
    FIELD_MODEL,
    MESSAGE_FIELDS,
    MESSAGE_MODEL,
    VALUE_FIELDS,
    VALUE_MODEL,
)
from producers.odoo.transport import Transport
from producers.odoo.transport_json2 import FIRST_JSON2_VERSION
from producers.odoo.windows import SAFE_OVERLAP

Status = Literal["ok", "warning", "failed", "skipped"]
Result = tuple[str, Status, str, str]
"""(what was checked, outcome, what was found, what to do unless ok)"""
SKEW_SECONDS = 10.0
_LOG_FIELDS = {VALUE_MODEL: VALUE_FIELDS, MESSAGE_MODEL: MESSAGE_FIELDS, FIELD_MODEL: FIELD_FIELDS}


def check(settings: OdooSettings, transport: Transport | None = None) -> Iterator[Result]:
    """Check the configured Odoo, step by step; stops where the next step cannot work. Raises nothing of the source."""
    yield _key(settings)
    yield _overlap(settings)
    try:
        mappings = configured(settings)
    except ConfigError as error:
        yield "custom fields and models", "failed", str(error), "run: finwatch capture check FILE"
        mappings = SHIPPED
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
    mine = _companies(transport, settings)
    if mine is not None:
        yield mine
    installed = []
    for right in rights(version, mappings):
        result = _readable(transport, right, version, mappings)
        yield result
        if result[1] == "ok":
            installed.append(right.model)
    yield from _configured(transport, mappings, version)
    yield _writes(transport, installed)


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


def _companies(transport: Transport, settings: OdooSettings) -> Result | None:
    """Whether the account belongs to every company it can name; None when that cannot be told."""
    try:
        companies = set(transport.search("res.company", [], limit=10_000))
        rows = transport.search_read("res.users", [("login", "=", settings.user)], ["company_ids"], limit=1)
    except OdooError:
        return None  # the rights to read these are told below
    if not rows or not isinstance(rows[0].get("company_ids"), list):
        return None
    others = companies - set(rows[0]["company_ids"])
    if not others:
        return "companies", "ok", f"{len(companies)}, all of them the account's", ""
    what_to_do = "add them to the account's companies, or run: finwatch odoo setup"
    return "companies", "warning", f"records of {len(others)} of {len(companies)} are absent without a word", what_to_do


def _readable(transport: Transport, right: Right, version: int, mappings: Mappings) -> Result:
    """Whether rows of a model can be read, with which fields; an empty table may be one that is hidden by a rule."""
    model, what_to_do = right.model, f"without it is not seen: {right.without}. Run: finwatch odoo setup"
    wanted = [name for name in _fields(model, version, mappings) if name != "id"]
    try:
        has = transport.fields_get(model, ("type",))
        missing = sorted(set(wanted) - has.keys() - {"display_name"})
        # The stamp and one field that every version has: rows come, and in them what was asked for.
        rows = transport.search_read(model, [], [n for n in wanted if n in has] or ["display_name"], limit=1)
    except UnknownModel:
        if model not in SHIPPED and any(model == one.model for one in mappings):
            return model, "failed", "configured, and not there", "correct its name in FINWATCH_ODOO_CUSTOM"
        return model, "skipped", "not installed", ""
    except AccessRefused:
        return model, "failed", "no right to read it, or one of its fields", what_to_do
    except AccessDenied as error:
        return model, "failed", str(error), AccessDenied.what_to_do
    except OdooError as error:
        return model, "failed", str(error), "look at Odoo's log"
    found = "readable" if rows else "readable, no rows seen (none there, or hidden by a record rule)"
    return model, "ok", found + (f"; not on this server: {', '.join(missing)}" if missing else ""), ""


def _configured(transport: Transport, mappings: Mappings, version: int) -> Iterator[Result]:
    """Whether each configured field is there, of its type, and readable; for models that are there."""
    available: dict[str, dict[str, str]] = {}
    for mapping in mappings:
        if mapping.configured is None or not mapping.serves(version):
            continue
        for model in (mapping.model, *(child.model for child in mapping.children)):
            if model not in available:
                try:
                    told = transport.fields_get(model, ("type",))
                except OdooError:
                    told = {}  # said above, of the model
                available[model] = {name: str(about.get("type")) for name, about in told.items()}
        if not available[mapping.model]:
            continue
        fitted, problems = mapping.configured.fit(available)
        for problem in problems:
            what_to_do = "correct FINWATCH_ODOO_CUSTOM, or give the account the right to read it"
            yield f"{mapping.model} as configured", "failed", problem, what_to_do
        if not problems:
            yield f"{mapping.model} as configured", "ok", f"{len(fitted.fields.of(version))} fields", ""


def _fields(model: str, version: int, mappings: Mappings) -> list[str]:
    """Every field that is read of a model, by any mapping."""
    found: dict[str, None] = dict.fromkeys(_LOG_FIELDS.get(model, ()))
    for mapping in mappings:
        if not mapping.serves(version):
            continue
        parts = [(mapping.model, mapping.fields), *((one.model, one.fields) for one in mapping.children)]
        parts += [(one.model, one.fields) for one in mapping.joined]
        parts += [(one.model, one.fields) for child in mapping.children for one in child.joined]
        for name, fields in parts:
            if name == model:
                found |= dict.fromkeys(fields.of(version))
    return list(found)


def _writes(transport: Transport, models: list[str]) -> Result:
    """Whether the account could write what it reads. Nothing is written to find out."""
    wide: list[str] = []
    own: list[str] = []
    for model in models:
        try:
            granted = [one for one in ("write", "create", "unlink") if transport.may(model, one)]
        except OdooError as error:
            return "writes", "warning", f"{model}: {error}", "look at the account's groups: it needs no right to write"
        if granted:
            (own if model in OWN_RECORDS else wide).append(f"{model} ({', '.join(granted)})")
    if wide:
        what_to_do = "take these rights away: finwatch never writes. finwatch odoo setup makes an account without them"
        return "writes", "warning", f"allowed on {', '.join(wide)}", what_to_do
    ending = f"; own records of {', '.join(own)}, as every internal user" if own else ""
    return "writes", "ok", f"refused on all {len(models)} models{ending}", ""
