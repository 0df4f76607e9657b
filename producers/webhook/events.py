"""From a payload to an event, as the file of hooks says. Pure."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, DecimalException
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import Struct

from finwatch.domain.identity import deterministic_id
from finwatch.domain.identity import document_key as make_document_key
from finwatch.runtime.clock import to_micros
from finwatch.runtime.topics import entity_topic
from producers.hints import Hint
from producers.webhook.errors import Refused
from producers.webhook.hooks import Moment, OdooHook, Place, SignedHook

TRANSITION = "finwatch.Transition"
MAX_TEXT = 512
MAX_RECORD_ID = 256
AHEAD = timedelta(days=1)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_MODEL = re.compile(r"[a-z][a-z0-9_.]{0,127}", re.ASCII)
_DECISIONS = {"approved": "approved", "final_approved": "approved", "rejected": "rejected"}
_TEXTS = ("company_id", "actor", "responsible", "field", "old_value", "new_value")
_CODES = ("step", "role")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, Decimal),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}
_MISSING = object()


class TransitionRecord(Struct, gc=False):
    """The columns of finwatch.Transition that a webhook can fill; the others keep their defaults."""

    event_id: str
    document_key: str
    source: str
    entity: str
    record_id: str
    company_id: str | None
    op: str
    mode: str
    timeline: str
    occurred_at: int
    observed_at: int
    actor: str | None
    correlation_id: str
    source_model: str | None
    snapshot: bool
    activity: str
    label: str
    field: str | None
    old_value: str | None
    new_value: str | None
    step: str | None
    role: str | None
    decision: str | None
    responsible: str | None
    amount: Decimal | None
    currency: str | None


class Mapped(NamedTuple):
    """An event and where it goes."""

    topic: str
    record: TransitionRecord


def parse_json(body: bytes) -> dict[str, Any]:
    """An object; numbers with a point or an exponent are Decimals. Raises Refused (400)."""
    try:
        payload = _json.decode(body.decode())
    except (ValueError, RecursionError, DecimalException):
        raise Refused(400, "the body is not JSON in UTF-8") from None
    if not isinstance(payload, dict):
        raise Refused(400, "the body is not a JSON object")
    return payload


def _no_constant(name: str) -> Any:
    raise ValueError(name)


_json = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_constant)


class Mapper:
    """Makes events of the payloads of one hook."""

    def __init__(self, name: str, hook: SignedHook) -> None:
        self._name = name
        self._source = hook.source or name
        self._event = hook.event
        self._only = hook.only
        self._payload = tuple((path, tuple(path.split(".")), kind) for path, kind in hook.payload.items())
        event = hook.event
        self._texts = tuple((column, place) for column in _TEXTS if (place := getattr(event, column)) is not None)
        self._codes = tuple((column, place) for column in _CODES if (place := getattr(event, column)) is not None)

    def __call__(self, payload: dict[str, Any], signed_at: int, now: datetime) -> Mapped | None:
        """The event of a payload; None when it is one that is not wanted. Raises Refused (400) naming the path.

        `signed_at` (seconds since 1970) is when it happened where the payload has no time.
        """
        if self._only is not None and _find(payload, self._only.path) not in self._only.values:
            return None
        for path, parts, kind in self._payload:
            found = _walk(payload, parts)
            fits = isinstance(found, _TYPES[kind]) and (kind == "boolean" or not isinstance(found, bool))
            if not fits:
                raise Refused(400, f"{path} must be there, of type {kind}")
        event = self._event
        entity = _wanted(payload, event.entity, "entity")
        record_id = _wanted(payload, event.record_id, "record_id", MAX_RECORD_ID)
        activity = _wanted(payload, event.activity, "activity")
        label = _text(payload, event.label, "label") if event.label is not None else None
        if label is None:
            label = _raw(payload, event.activity) or activity
        texts = {column: _text(payload, place, column) for column, place in self._texts}
        codes = {column: _code(payload, place, column) for column, place in self._codes}
        amount, currency = _amount(payload, event.amount), _currency(payload, event.currency)
        moment = _moment(payload, event.occurred_at, now) if event.occurred_at is not None else None
        key = make_document_key(self._source, entity, record_id)
        own = _text(payload, event.event_id, "event_id") if event.event_id is not None else None
        if own is None and moment is None:
            raise Refused(400, "event_id is missing")
        # Times of sending and receiving are no content: a repeat that is signed anew is the same event.
        content: tuple[object, ...] = (
            ("own", own)
            if own is not None
            else (activity, label, moment, sorted(texts.items()), sorted(codes.items()), amount, currency)
        )
        correlation = _text(payload, event.correlation_id, "correlation_id") if event.correlation_id else None
        record = TransitionRecord(
            event_id=deterministic_id("webhook", self._source, self._name, entity, record_id, *content),
            document_key=key,
            source=self._source,
            entity=entity,
            record_id=record_id,
            company_id=texts.get("company_id"),
            op="c" if activity == "created" else "u",
            mode="webhook",
            timeline="wall",
            occurred_at=signed_at * 1_000_000 if moment is None else moment,
            observed_at=to_micros(now),
            actor=texts.get("actor"),
            correlation_id=correlation or key,
            source_model=self._name,
            snapshot=False,
            activity=activity,
            label=label,
            field=texts.get("field"),
            old_value=texts.get("old_value"),
            new_value=texts.get("new_value"),
            step=codes.get("step"),
            role=codes.get("role"),
            decision=_DECISIONS.get(activity),
            responsible=texts.get("responsible"),
            amount=amount,
            currency=currency,
        )
        return Mapped(entity_topic(entity), record)


def read_hint(name: str, hook: OdooHook, payload: dict[str, Any], now: datetime) -> Hint | None:
    """What Odoo's webhook points at; None for a model that is not listed. Raises Refused (400)."""
    model, record_id = payload.get("_model"), payload.get("_id")
    if not isinstance(model, str) or not _MODEL.fullmatch(model):
        raise Refused(400, "_model must be the name of a model")
    if not isinstance(record_id, int) or isinstance(record_id, bool) or not 0 < record_id < 2**31:
        raise Refused(400, "_id must be a record's id")
    if hook.models is not None and model not in hook.models:
        return None
    return Hint(hook.source or name, model, record_id, now)


def _walk(payload: Any, parts: tuple[str, ...]) -> Any:
    found = payload
    for part in parts:
        if found.__class__ is dict:
            found = found.get(part, _MISSING)
        elif isinstance(found, list) and part.isascii() and part.isdigit() and len(part) < 7 and int(part) < len(found):
            found = found[int(part)]
        else:
            return _MISSING
    return found


@lru_cache(4096)
def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def _find(payload: Any, path: str) -> Any:
    return _walk(payload, _parts(path))


def _clean(value: Any, where: str, most: int = MAX_TEXT) -> str | None:
    """Text of a JSON string or whole number; None for null, an empty string and nothing at all."""
    if value.__class__ is str and value and value.isascii() and value.isprintable() and len(value) <= most:
        return str(value)  # nearly all there are
    if value is None or value is _MISSING or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise Refused(400, f"{where} must be text or a whole number")
    if len(value) > most:
        raise Refused(400, f"{where} has more than {most} characters")
    if _CONTROL.search(value):
        raise Refused(400, f"{where} has control characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Refused(400, f"{where} is not valid Unicode") from None
    return value


def _raw(payload: Any, place: Place) -> str | None:
    return place.value if place.path is None else _clean(_find(payload, place.path), place.path)


def _text(payload: Any, place: Place, column: str, most: int = MAX_TEXT) -> str | None:
    if place.path is None:
        return place.value
    found = _clean(_find(payload, place.path), place.path, most)
    if found is None:
        return place.default
    if place.values is None:
        return found
    if found not in place.values:
        raise Refused(400, f"{place.path} has a value that is not mapped to {column}")
    return place.values[found]


def _wanted(payload: Any, place: Place, column: str, most: int = MAX_TEXT) -> str:
    found = _text(payload, place, column, most)
    if found is None:
        raise Refused(400, f"{place.path} is missing ({column})")
    return found


def _code(payload: Any, place: Place, column: str) -> str | None:
    found = _text(payload, place, column)
    if found is not None and not _CODE.fullmatch(found):
        raise Refused(400, f"{place.path or column} must be a code: small letters, digits and _")
    return found


def _currency(payload: Any, place: Place | None) -> str | None:
    found = _text(payload, place, "currency") if place is not None else None
    if found is not None and not _CURRENCY.fullmatch(found):
        raise Refused(400, f"{(place and place.path) or 'currency'} must be a currency code like EUR")
    return found


def _amount(payload: Any, place: Place | None) -> Decimal | None:
    """An amount that decimal(28,6) holds exactly; JSON numbers and numbers as text."""
    if place is None:
        return None
    found: Any = place.value if place.path is None else _find(payload, place.path)
    if found is None or found is _MISSING or found == "":
        found = place.default
    if found is None:
        return None
    bad = Refused(400, f"{place.path or 'amount'} must be a number with at most 22 digits before and 6 after the point")
    if isinstance(found, bool) or not isinstance(found, (int, Decimal, str)) or len(str(found)) > 64:
        raise bad
    try:
        amount = Decimal(found)
    except DecimalException:
        raise bad from None
    if not amount.is_finite():
        raise bad
    # A small literal can be a huge number: look at its exponent before computing with it.
    _, digits, exponent = amount.as_tuple()
    assert isinstance(exponent, int)
    while len(digits) > 1 and digits[-1] == 0:
        digits, exponent = digits[:-1], exponent + 1
    if digits == (0,):
        return Decimal(0)
    if exponent < -6 or amount.adjusted() > 21:
        raise bad
    return amount.normalize()  # 12.5 and 12.50 are one content


def _moment(payload: Any, place: Moment, now: datetime) -> int:
    """Epoch microseconds."""
    found = _find(payload, place.path)
    if place.format == "iso":
        bad = Refused(400, f"{place.path} must be a time in ISO 8601 with an offset")
        if not isinstance(found, str) or len(found) > 40:
            raise bad
        try:
            moment = datetime.fromisoformat(found)
            if moment.tzinfo is None:
                raise bad
            micros = to_micros(moment.astimezone(UTC))
        except (ValueError, OverflowError):
            raise bad from None
    else:
        bad = Refused(400, f"{place.path} must be {place.format} since 1970 as a number")
        scale = 1_000_000 if place.format == "seconds" else 1000
        if isinstance(found, bool) or not isinstance(found, (int, Decimal)) or not 0 < found < 10**17 // scale:
            raise bad
        micros = int(found * scale)
    if micros <= 0 or micros > to_micros(now + AHEAD):
        raise Refused(400, f"{place.path} is before 1970, or more than a day ahead")
    return micros
