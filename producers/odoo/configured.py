"""The file of custom fields and models: what is captured of a source beside what comes with finwatch, and what is not.

Owns: the file's words and its checks, all of them before anything is read from Odoo. Does not own: what a server has of
it (producers.odoo.mapping.custom, fitted when it is known), and how values are read (producers.odoo.mapping.extras).
"""

import re
from collections.abc import Iterator
from collections.abc import Mapping as MappingOf
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from finwatch.runtime.config import ConfigError, OdooSettings
from finwatch.runtime.topics import CUSTOM, ENTITIES
from producers.odoo import tracking
from producers.odoo.mapping import SHIPPED, Mapping, Mappings
from producers.odoo.mapping.custom import Changes, CustomLines, CustomModel, Extension, Parent
from producers.odoo.mapping.extras import TEXTS, Extra, FieldType
from producers.yaml_model import parse_model, read_text

EXAMPLE = "custom.yaml"
_SECRET = re.compile(
    r"passw|passphrase|(^|_)pwd|secret|token|api_?key|private_?key|credential|otp_|(^|_)otp|(^|_)pin$|cvv|(^|_)salt$"
)
_ACCOUNT = re.compile(r"acc(oun)?t?_?(number|no|nr)$|(^|_)iban(_|$)|sanitized_acc")
_PERSONAL = re.compile(
    r"e?mail|phone|mobile|street|(^|_)zip$|birth|gender|marital|passport|ssnid|sinid|(^|_)ssn|salary|(^|_)wage|"
    r"identification|religion|health|children|contact|address"
)
SECRET_MODELS = frozenset(
    {
        *(
            "ir.config_parameter",
            "ir.mail_server",
            "fetchmail.server",
            "mail.mail",
            "payment.provider",
            "payment.token",
        ),
        *("res.users.apikeys", "auth.oauth.provider", "auth_totp.device", "certificate.key", "certificate.certificate"),
        *("res.users.log", "ir.logging", "ir.attachment"),
    }
)
"""Models that hold credentials, letters or files: never captured."""


class CustomFileError(ConfigError):
    """The file cannot be used; the message says file, line, key and what is wrong, a line each."""

    what_to_do = "run: finwatch capture check FILE"


def _word(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", value, re.ASCII):
        raise ValueError("a key is lower-case letters, digits and underscores, a letter first")
    return _not_secret(value)


def _field(value: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", value, re.ASCII):
        raise ValueError("not a field of Odoo: give its technical name (no path over several fields)")
    return _not_secret(value)


def _not_secret(value: str) -> str:
    if _SECRET.search(value):
        raise ValueError("this looks like a secret: what is captured stays in the log for good, so it is refused")
    return value


def _not_account(value: str) -> str:
    if _ACCOUNT.search(value):
        raise ValueError("account numbers are published as keyed hashes only: give it under `fields`, `hashed: true`")
    return value


def _model(value: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]*(\.[a-z0-9_]+)*", value, re.ASCII):
        raise ValueError("not a model of Odoo: give its technical name, as x_loan or account.asset")
    if value in SECRET_MODELS:
        raise ValueError("this model holds credentials, letters or files: it is never captured")
    return value


def _known(value: str) -> str:
    if value not in SHIPPED and value not in SHIPPED.by_child:
        raise ValueError("finwatch does not capture this model by itself: describe it under `models`")
    return value


def _switchable(value: str) -> str:
    if value not in SHIPPED:
        raise ValueError(f"no model that is captured; one of: {', '.join(sorted(SHIPPED.by_model))}")
    return value


def _unknown(value: str) -> str:
    if value in SHIPPED or value in SHIPPED.by_child:
        raise ValueError("finwatch captures this model by itself: give its further fields under `fields`")
    if value in (tracking.VALUE_MODEL, tracking.MESSAGE_MODEL, tracking.FIELD_MODEL):
        raise ValueError("finwatch reads this model for its log: it is no document")
    return value


Key = Annotated[str, AfterValidator(_word)]
FieldName = Annotated[str, AfterValidator(_field)]
ColumnName = Annotated[str, AfterValidator(_field), AfterValidator(_not_account)]
KnownModel = Annotated[str, AfterValidator(_known)]
Switchable = Annotated[str, AfterValidator(_switchable)]
UnknownModel = Annotated[str, AfterValidator(_model), AfterValidator(_unknown)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldEntry(_Strict):
    """A field: its name in Odoo (default: its key) and its type there."""

    field: FieldName | None = None
    type: FieldType
    currency: FieldName | None = None
    named: bool = False
    hashed: bool = False

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        if (self.type == "monetary") != (self.currency is not None):
            raise ValueError("a monetary has a `currency` (the field of its currency), and nothing else has one")
        if self.named and self.type != "many2one":
            raise ValueError("`named` is for a many2one: it adds the name that Odoo shows")
        if self.hashed and self.type not in TEXTS:
            raise ValueError("`hashed` is for text: it is published as a keyed hash")
        return self


def _accounts_are_hashed(fields: dict[str, FieldEntry]) -> dict[str, FieldEntry]:
    for key, one in fields.items():
        if _ACCOUNT.search(one.field or key) and not one.hashed:
            raise ValueError(f"{key}: account numbers are published as keyed hashes only: add `hashed: true`")
    return fields


Fields = Annotated[dict[Key, FieldEntry], AfterValidator(_accounts_are_hashed)]


class LinesEntry(_Strict):
    """Rows of another model that are lines of a custom record."""

    parent: FieldName
    fields: Fields = Field(default_factory=dict)


class ParentEntry(_Strict):
    """The document that a custom record belongs to: over which many2one, and which entity it is."""

    field: FieldName
    entity: str

    @model_validator(mode="after")
    def _is_an_entity(self) -> Self:
        if self.entity not in ENTITIES or self.entity == CUSTOM:
            raise ValueError(f"no entity {self.entity}; one of: {', '.join(one for one in ENTITIES if one != CUSTOM)}")
        return self


class ModelEntry(_Strict):
    """A model that finwatch does not know: which of its fields stand behind which column, and its further fields."""

    kind: Key
    name: ColumnName | None = None
    company: ColumnName | None = None
    partner: ColumnName | None = None
    responsible: ColumnName | None = None
    state: ColumnName | None = None
    date: ColumnName | None = None
    amount: ColumnName | None = None
    currency: FieldName | None = None
    changes: Changes = "stamped"
    archived: bool = False
    parent: ParentEntry | None = None
    fields: Fields = Field(default_factory=dict)
    lines: dict[UnknownModel, LinesEntry] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _amount_has_a_currency(self) -> Self:
        if (self.amount is None) != (self.currency is None):
            raise ValueError("`amount` and `currency` go together: an amount without its currency says nothing")
        return self


class SourceEntry(_Strict):
    """What is captured of one source."""

    only: tuple[Switchable, ...] = ()
    without: tuple[Switchable, ...] = ()
    fields: dict[KnownModel, Fields] = Field(default_factory=dict)
    models: dict[UnknownModel, ModelEntry] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_way_to_choose(self) -> Self:
        if self.only and self.without:
            raise ValueError("`only` and `without` exclude each other")
        lines = [name for entry in self.models.values() for name in entry.lines]
        twice = sorted({name for name in lines if name in self.models or lines.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)}: lines of one model, or a model by itself, not several of them")
        off = self.switched_off()
        for name in self.fields:
            parents = [one.model for one, _ in SHIPPED.by_child.get(name, ())] or [name]
            if set(parents) <= off:
                raise ValueError(f"{name} has fields here and is switched off")
        return self

    def switched_off(self) -> frozenset[str]:
        """Models that are not captured."""
        if self.only:
            return frozenset(SHIPPED.by_model) - set(self.only)
        return frozenset(self.without)


class CustomFile(_Strict):
    """The whole file: what each source has, by the name of the source (FINWATCH_ODOO_SOURCE)."""

    version: Literal[1]
    sources: dict[str, SourceEntry] = Field(min_length=1)

    def mappings(self, source: str) -> Mappings:
        """The models of a source; what comes with finwatch where the file does not name it."""
        entry = self.sources.get(source)
        return SHIPPED if entry is None else _mappings(entry)


def read_file(path: Path) -> CustomFile:
    """The file, checked. Raises CustomFileError."""
    return parse_file(read_text(path, CustomFileError), str(path))


def parse_file(text: str, name: str) -> CustomFile:
    """The text of the file `name`, checked. Raises CustomFileError."""
    return parse_model(CustomFile, text, name, CustomFileError)


def example() -> str:
    """A file to begin with."""
    return resources.files("producers.odoo").joinpath("examples", EXAMPLE).read_text(encoding="utf-8")


def configured(odoo: OdooSettings) -> Mappings:
    """The models of the configured source (FINWATCH_ODOO_CUSTOM). Raises CustomFileError."""
    return SHIPPED if odoo.custom is None else read_file(odoo.custom).mappings(odoo.source)


def personal(entry: SourceEntry) -> Iterator[tuple[str, str]]:
    """(model, field) of what looks like personal data and is not hashed: it goes to the log as it is."""
    for model, fields in _all_fields(entry):
        for key, one in fields.items():
            name = one.field or key
            if not one.hashed and (_PERSONAL.search(name) or _PERSONAL.search(key)):
                yield model, name


def _all_fields(entry: SourceEntry) -> Iterator[tuple[str, Fields]]:
    yield from entry.fields.items()
    for model, described in entry.models.items():
        yield model, described.fields
        for child, lines in described.lines.items():
            yield child, lines.fields


def _mappings(entry: SourceEntry) -> Mappings:
    off = entry.switched_off()
    known = tuple(_extended(mapping, entry.fields) for mapping in SHIPPED if mapping.model not in off)
    return Mappings((*known, *(_made(model, one) for model, one in entry.models.items())), off)


def _extended(mapping: Mapping, fields: MappingOf[str, Fields]) -> Mapping:
    of_lines = {child.model: _extras(fields[child.model]) for child in mapping.children if child.model in fields}
    extras = _extras(fields.get(mapping.model, {}))
    return Extension(mapping, extras, of_lines).mapping() if extras or of_lines else mapping


def _made(model: str, entry: ModelEntry) -> Mapping:
    columns = ("name", "company", "partner", "responsible", "state", "date", "amount", "currency")
    return CustomModel(
        model,
        entry.kind,
        {name: value for name in columns if (value := getattr(entry, name)) is not None},
        _extras(entry.fields),
        entry.changes,
        entry.archived,
        None if entry.parent is None else Parent(entry.parent.field, entry.parent.entity),
        tuple(CustomLines(name, lines.parent, _extras(lines.fields)) for name, lines in entry.lines.items()),
    ).mapping()


def _extras(fields: Fields) -> tuple[Extra, ...]:
    return tuple(
        Extra(key, one.field or key, one.type, one.currency, one.named, one.hashed) for key, one in fields.items()
    )
