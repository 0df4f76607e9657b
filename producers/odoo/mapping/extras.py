"""Fields that a configuration adds: what is read of them, and the text that stands for a value. Pure.

Values are text, whatever their type, because a schema cannot know the fields of one database:

| type | text |
|---|---|
| char, text, html, selection, reference | as it is, IBANs in it masked; with `hashed` its keyed hash |
| integer, float, monetary | decimal digits; of a monetary also its currency, as `<key>.currency` |
| boolean | `true` or `false` |
| date, datetime | ISO 8601, a datetime in UTC with `+00:00` |
| many2one | the id; with `named` also the name shown, as `<key>.name` |
| many2many | ids in ascending order, separated by commas |

An empty value is null, but for booleans and numbers, which are never empty in Odoo.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import astuple, dataclass
from typing import Any, Literal, get_args

from producers.odoo.accounts import AccountHasher, mask_ibans
from producers.odoo.values import Row, day, flag, integer, moment, number, ref, ref_name, refs, text

FieldType = Literal[
    "char",
    "text",
    "html",
    "selection",
    "reference",
    "integer",
    "float",
    "monetary",
    "boolean",
    "date",
    "datetime",
    "many2one",
    "many2many",
]
TYPES: tuple[FieldType, ...] = get_args(FieldType)
TEXTS = frozenset({"char", "text", "html", "selection", "reference"})
# Types of a server that may be read as the one that is configured: the value on the wire is of one kind.
_AS_GOOD = dict.fromkeys(TEXTS, TEXTS) | {
    "integer": frozenset({"integer", "many2one_reference"}),
    "float": frozenset({"float", "monetary"}),
    "monetary": frozenset({"float", "monetary"}),
}
Available = MappingOf[str, MappingOf[str, str]]
"""Types of the fields that a server lets the account read, by name, by model."""


@dataclass(frozen=True)
class Extra:
    """One field more: its name in Odoo, its type there, and the key under which it stands in the column `custom`."""

    key: str
    field: str
    type: FieldType
    currency: str | None = None  # many2one to the currency of a monetary
    named: bool = False
    hashed: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields that are read for it."""
        return (self.field,) if self.currency is None else (self.field, self.currency)

    @property
    def shape(self) -> str:
        """Text that differs when the same row would give another value."""
        return "\x1f".join(str(one) for one in astuple(self))


def values(extras: Iterable[Extra], row: Row, hasher: AccountHasher) -> Iterator[dict[str, str | None]]:
    """Names and values of these fields, as they stand in the column `custom`. Raises Malformed."""
    for extra in extras:
        value = _text(extra, row)
        yield {"name": extra.key, "value": hasher.hash(value) if extra.hashed else value}
        if extra.currency is not None:
            yield {"name": f"{extra.key}.currency", "value": ref_name(row, extra.currency)}
        if extra.named:
            yield {"name": f"{extra.key}.name", "value": mask_ibans(ref_name(row, extra.field))}


def _text(extra: Extra, row: Row) -> str | None:
    name, kind = extra.field, extra.type
    if kind in TEXTS:
        found = text(row, name)
        return found if extra.hashed else mask_ibans(found)
    if kind in ("float", "monetary"):
        amount = number(row, name)
        return None if amount is None else format(amount, "f")
    if kind == "integer":
        whole = integer(row, name)
        return None if whole is None else str(whole)
    if kind == "boolean":
        said = flag(row, name)
        return None if said is None else "true" if said else "false"
    if kind == "date":
        on = day(row, name)
        return None if on is None else on.isoformat()
    if kind == "datetime":
        at = moment(row, name)
        return None if at is None else at.isoformat()
    if kind == "many2one":
        return ref(row, name)
    return ",".join(refs(row, name)) or None


def fitting(model: str, extras: Sequence[Extra], available: MappingOf[str, str]) -> tuple[tuple[Extra, ...], list[str]]:
    """(those that the server has as they are configured, what is wrong with the others)."""
    fitted: list[Extra] = []
    problems: list[str] = []
    for extra in extras:
        problem = unfit(model, extra.field, extra.type, available)
        if problem is None and extra.currency is not None:
            problem = unfit(model, extra.currency, "many2one", available)
        if problem is None:
            fitted.append(extra)
        else:
            problems.append(f"{problem}: {extra.key} is left out")
    return tuple(fitted), problems


def unfit(model: str, name: str, kind: str, available: MappingOf[str, str]) -> str | None:
    """Why a field cannot be read as it is configured; None when it can."""
    found = available.get(name)
    if found is None:
        return f"{model} has no field {name}, or the account may not read it"
    if found not in _AS_GOOD.get(kind, {kind}):
        return f"{model}.{name} is of type {found}, configured as {kind}"
    return None


def custom_column(told: Iterable[dict[str, str | None]]) -> list[dict[str, Any]]:
    """The column `custom`, in order of name."""
    return sorted(told, key=lambda one: one["name"] or "")
