"""Mappings that a configuration makes: of known models with more fields, and of models that finwatch does not know.

Both are made twice: once as they are configured, and, when a server has told what it has, as far as it has it.
"""

from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Literal

from finwatch.runtime.topics import CUSTOM
from producers.odoo.accounts import mask_ibans
from producers.odoo.mapping.extras import Available, Extra, custom_column, fitting, unfit, values
from producers.odoo.mapping.spec import STAMPS, Child, Document, Fields, Lines, Mapping, Source, stamps
from producers.odoo.values import Row, day, moment, number, ref, ref_name, text

Changes = Literal["stamped", "polled", "swept"]
"""How changes of a model show: its write_date moves; or it does not, and the model is read whole in every poll, or in
every round of the sweep."""
# Columns of a custom record, and the types that a field behind one may be of.
COLUMNS: MappingOf[str, tuple[str, ...]] = {
    "name": ("char", "text", "selection"),
    "company": ("many2one",),
    "partner": ("many2one",),
    "responsible": ("many2one",),
    "state": ("selection", "char", "many2one"),
    "date": ("date", "datetime"),
    "amount": ("monetary", "float", "integer"),
    "currency": ("many2one",),
}


@dataclass(frozen=True)
class Parent:
    """The document that a record belongs to: over which many2one, and which entity that is."""

    field: str
    entity: str


@dataclass(frozen=True)
class CustomLines:
    """Rows of a model that are lines of a custom record."""

    model: str
    parent: str
    extras: tuple[Extra, ...]


@dataclass(frozen=True)
class Extension:
    """A known model with more fields: its own, and those of its lines by their model."""

    base: Mapping
    extras: tuple[Extra, ...]
    of_lines: MappingOf[str, tuple[Extra, ...]] = field(default_factory=dict)

    def fit(self, available: Available) -> tuple[Mapping, list[str]]:
        """(the mapping with what the server has of it, what is wrong with the rest)."""
        model = self.base.model
        extras, problems = fitting(model, self.extras, available.get(model, {}))
        of_lines: dict[str, tuple[Extra, ...]] = {}
        for child, told in self.of_lines.items():
            found, more = fitting(child, told, available.get(child, {}))
            problems += more
            if found:
                of_lines[child] = found
        return self._made(extras, of_lines), problems

    def mapping(self) -> Mapping:
        """The mapping as it is configured."""
        return self._made(self.extras, self.of_lines)

    def described(self) -> list[dict[str, str]]:
        """What it adds, for people."""
        told = [_told(extra) for extra in self.extras]
        return told + [_told(extra, f"lines ({model})") for model, extras in self.of_lines.items() for extra in extras]

    def _made(self, extras: tuple[Extra, ...], of_lines: MappingOf[str, tuple[Extra, ...]]) -> Mapping:
        if not extras and not of_lines:
            return replace(self.base, configured=self)
        inner = self.base.map

        def document(row: Row, lines: Lines, source: Source) -> Document | None:
            found = inner(row, lines, source)
            if found is None:
                return None
            told = list(values(extras, row, source.hasher))
            for model, of_line in of_lines.items():
                for line in lines.get(model, ()):
                    # As lines are named where changes are told; a line that says nothing is not listed.
                    told += [
                        {"name": f"lines[{line['id']}].{one['name']}", "value": one["value"]}
                        for one in values(of_line, line, source.hasher)
                        if one["value"] is not None
                    ]
            found.body["custom"] = custom_column(told)
            return found

        children = tuple(
            replace(child, fields=_with(child.fields, of_lines[child.model])) if child.model in of_lines else child
            for child in self.base.children
        )
        shape = [self.base.shape] if self.base.shape else []
        shape += [one.shape for one in extras]
        shape += [f"{model}\x1f{one.shape}" for model, told in sorted(of_lines.items()) for one in told]
        return replace(
            self.base,
            fields=_with(self.base.fields, extras),
            children=children,
            map=document,
            entity_of=None,
            bodies={},
            shape="\n".join(sorted(shape)),
            configured=self,
        )


@dataclass(frozen=True)
class CustomModel:
    """A model that finwatch does not know. `columns`: fields behind the columns of a custom record (`COLUMNS`)."""

    model: str
    kind: str
    columns: MappingOf[str, str] = field(default_factory=dict)
    extras: tuple[Extra, ...] = ()
    changes: Changes = "stamped"
    archived: bool = False
    parent: Parent | None = None
    lines: tuple[CustomLines, ...] = ()

    def fit(self, available: Available) -> tuple[Mapping, list[str]]:
        """(the mapping with what the server has of it, what is wrong with the rest)."""
        has = available.get(self.model, {})
        extras, problems = fitting(self.model, self.extras, has)
        columns = dict(self.columns)
        for column, name in self.columns.items():
            told = [unfit(self.model, name, kind, has) for kind in COLUMNS[column]]
            if all(told):
                problems.append(f"{told[0]}: {column} stays empty")
                del columns[column]
        parent = self.parent
        if parent is not None and (problem := unfit(self.model, parent.field, "many2one", has)):
            problems.append(f"{problem}: the parent stays empty")
            parent = None
        lines: list[CustomLines] = []
        for one in self.lines:
            of_line = available.get(one.model, {})
            if problem := unfit(one.model, one.parent, "many2one", of_line):
                problems.append(f"{problem}: its lines are left out")
                continue
            found, more = fitting(one.model, one.extras, of_line)
            problems += more
            lines.append(replace(one, extras=found))
        return replace(self, columns=columns, extras=extras, parent=parent, lines=tuple(lines))._made(self), problems

    def mapping(self) -> Mapping:
        """The mapping as it is configured."""
        return self._made(self)

    def described(self) -> list[dict[str, str]]:
        """What is read of it, for people."""
        told = [
            {"key": column, "field": name, "type": " or ".join(COLUMNS[column])}
            for column, name in self.columns.items()
        ]
        if self.parent is not None:
            told.append({"key": f"parent ({self.parent.entity})", "field": self.parent.field, "type": "many2one"})
        told += [_told(extra) for extra in self.extras]
        return told + [_told(extra, f"lines ({one.model})") for one in self.lines for extra in one.extras]

    def _made(self, configured: "CustomModel") -> Mapping:
        wanted = [*self.columns.values(), *(name for extra in self.extras for name in extra.fields)]
        if self.parent is not None:
            wanted.append(self.parent.field)
        return Mapping(
            model=self.model,
            entities=(CUSTOM,),
            fields=Fields(tuple(dict.fromkeys([*wanted, *STAMPS]))),
            children=tuple(
                Child(one.model, one.parent, _with(Fields((one.parent, "write_date")), one.extras))
                for one in self.lines
            ),
            context={"active_test": False} if self.archived else {},
            stamped=self.changes == "stamped",
            poll_whole=self.changes == "polled",
            map=self._document,
            shape=self._shape(),
            configured=configured,
        )

    def _document(self, row: Row, lines: Lines, source: Source) -> Document:
        columns, parent = self.columns, self.parent
        above = None if parent is None else ref(row, parent.field)
        body = {
            "model": self.model,
            "name": mask_ibans(_of(text, row, columns.get("name"))),
            **stamps(row),
            "custom": custom_column(values(self.extras, row, source.hasher)),
            "kind": self.kind,
            "state": _of(_state, row, columns.get("state")),
            "partner_id": _of(ref, row, columns.get("partner")),
            "responsible": _of(ref, row, columns.get("responsible")),
            "date": _of(_date, row, columns.get("date")),
            "currency": _of(ref_name, row, columns.get("currency")),
            "amount": _of(number, row, columns.get("amount")),
            "parent_key": source.key(parent.entity, above) if parent is not None and above else None,
            "lines": [
                {
                    "line_id": str(line["id"]),
                    "model": one.model,
                    "custom": custom_column(values(one.extras, line, source.hasher)),
                }
                for one in self.lines
                for line in lines.get(one.model, ())
            ],
        }
        return Document(CUSTOM, _of(ref, row, columns.get("company")), body)

    def _shape(self) -> str:
        parts: list[object] = [self.kind, sorted(self.columns.items()), self.archived, self.parent]
        parts += sorted(one.shape for one in self.extras)
        parts += [(one.model, one.parent, sorted(extra.shape for extra in one.extras)) for one in self.lines]
        return "\n".join(str(part) for part in parts)


def _told(extra: Extra, where: str = "") -> dict[str, str]:
    """A field, for people."""
    key = f"{where} {extra.key}" if where else extra.key
    more = "".join(f", {word}" for word, said in (("named", extra.named), ("hashed", extra.hashed)) if said)
    return {"key": key, "field": " + ".join(extra.fields), "type": f"{extra.type}{more}"}


def _with(fields: Fields, extras: Sequence[Extra]) -> Fields:
    more = (name for extra in extras for name in extra.fields)
    return replace(fields, common=tuple(dict.fromkeys((*fields.common, *more))))


def _of(read: Any, row: Row, name: str | None) -> Any:
    return None if name is None else read(row, name)


def _state(row: Row, name: str) -> str | None:
    """A selection's key, or the id of a stage."""
    return ref(row, name) if isinstance(row.get(name), list) else text(row, name)


def _date(row: Row, name: str) -> date | None:
    """A date, or the UTC day of a datetime."""
    value = row.get(name)
    if isinstance(value, str) and len(value) > len("2026-01-31"):
        at = moment(row, name)
        return None if at is None else at.date()
    return day(row, name)
