"""How the columns of a schema become Python values, for a batch (polars columns) and for one record (fastavro).

Both readers are given the same *physical* schema (dates, timestamps, ints as long; booleans as one byte; text that
nobody wants as bytes) and the same conversions and range checks follow, so a record decodes alike whichever way it
went. Only the decimals of a frame differ: polars reads them into 128 bits, where all others are handed over as bytes.

Whatever goes through polars' expressions costs tenths of a millisecond a column, however few its values are: batches
are made of groups of a few hundred records, so there is one such call a column of lists, and none for other columns.
"""

import datetime as dt
import types
import typing
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from typing import Any

import msgspec
import polars as pl

from schemas.tree import Column, Node

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
EPOCH_DAY = dt.date(1970, 1, 1).toordinal()
_FIRST_MICROS = -62_135_596_800_000_000
_LAST_MICROS = 253_402_300_799_999_999
_FIRST_DAY = dt.date.min.toordinal() - EPOCH_DAY
_LAST_DAY = dt.date.max.toordinal() - EPOCH_DAY
_EXACT = Context(prec=60)
_LENGTHS = pl.first().list.len().implode().alias("lengths")
_ITEMS = pl.first().filter(pl.first().list.len() > 0).explode().implode().alias("items")
_BOOLEANS: dict[Any, bool | None] = {b"\x00": False, b"\x01": True, False: False, True: True, None: None}


class Malformed(Exception):
    """A record that is no valid value of its schema; the message carries no values."""


class ProjectionError(Exception):
    """A projection does not fit its schema; the message names the field and what to write instead."""


class Reader:
    """Values of one column. `one` takes fastavro's physical value, `many` a polars column; both raise Malformed."""

    item: "Reader | None" = None

    def one(self, raw: Any) -> Any:
        """The value of one record."""
        return raw

    def many(self, column: pl.Series) -> list[Any]:
        """The values of all records."""
        return column.to_list()

    def check(self, column: pl.Series) -> None:
        """Raise Malformed when a value of the column is out of its range."""


class _Boolean(Reader):
    def one(self, raw: Any) -> Any:
        try:
            return _BOOLEANS[raw]
        except KeyError:
            raise Malformed("a boolean is neither 0 nor 1") from None

    def many(self, column: pl.Series) -> list[Any]:
        try:
            return [_BOOLEANS[raw] for raw in column.to_list()]
        except KeyError:
            raise Malformed("a boolean is neither 0 nor 1") from None

    def check(self, column: pl.Series) -> None:
        self.many(column)


class _Number(Reader):
    """Integers within bounds, multiplied, then made into what the annotation asks for."""

    def __init__(self, least: int, most: int, what: str, factor: int, make: Callable[[int], Any] | None) -> None:
        self._least, self._most, self._what, self._factor, self._make = least, most, what, factor, make

    def one(self, raw: Any) -> Any:
        if raw is None:
            return None
        if not self._least <= raw <= self._most:
            raise Malformed(f"{self._what} is out of range")
        number = raw * self._factor
        return number if self._make is None else self._make(number)

    def check(self, column: pl.Series) -> None:
        least = typing.cast("int | None", column.min())
        if least is not None and (least < self._least or typing.cast(int, column.max()) > self._most):
            raise Malformed(f"{self._what} is out of range")

    def many(self, column: pl.Series) -> list[Any]:
        self.check(column)
        numbers = column.to_list()
        if self._factor != 1:
            numbers = [None if number is None else number * self._factor for number in numbers]
        make = self._make
        return numbers if make is None else [None if number is None else make(number) for number in numbers]


class _Decimal(Reader):
    """Decimals: two's-complement bytes, from fastavro and from polars; in frames Decimal columns."""

    def __init__(self, node: Node, form: Any) -> None:
        self._scale, self._form, self._bound = node.scale, form, 10**node.precision
        self._divisor = 10**node.scale

    def one(self, raw: Any) -> Any:
        if raw is None:
            return None
        unscaled = int.from_bytes(raw, "big", signed=True)
        if not -self._bound < unscaled < self._bound:
            raise Malformed("a decimal has more digits than its precision")
        if self._form is int:
            return unscaled
        if self._form is float:
            return unscaled / self._divisor
        return _EXACT.scaleb(Decimal(unscaled), -self._scale)

    def check(self, column: pl.Series) -> None:
        unscaled = column.to_physical()
        least = typing.cast("int | None", unscaled.min())
        if least is not None and (least <= -self._bound or typing.cast(int, unscaled.max()) >= self._bound):
            raise Malformed("a decimal has more digits than its precision")

    def many(self, column: pl.Series) -> list[Any]:
        read, bound, values = int.from_bytes, self._bound, column.to_list()
        numbers = [None if raw is None else read(raw, "big", signed=True) for raw in values]
        present = numbers if not column.null_count() else [number for number in numbers if number is not None]
        if present and not (-bound < min(present) and max(present) < bound):  # type: ignore[type-var]
            raise Malformed("a decimal has more digits than its precision")
        if self._form is int:
            return numbers
        if self._form is float:
            return [None if number is None else number / self._divisor for number in numbers]
        places, scaled = -self._scale, _EXACT.scaleb
        return [None if number is None else scaled(Decimal(number), places) for number in numbers]


class _Array(Reader):
    """Lists (or tuples) of items; the items of all records are converted as one column."""

    def __init__(self, item: Reader, form: Callable[[list[Any]], Any]) -> None:
        self.item, self._item, self._form = item, item, form

    def one(self, raw: Any) -> Any:
        return None if raw is None else self._form([self._item.one(value) for value in raw])

    def _parts(self, column: pl.Series) -> tuple[list[int | None], pl.Series]:
        """The length of each list, and all items as one column."""
        parts = column.to_frame().select(_LENGTHS, _ITEMS)
        return parts["lengths"][0].to_list(), parts["items"][0]

    def check(self, column: pl.Series) -> None:
        items = self._parts(column)[1]
        if len(items):
            self._item.check(items)

    def many(self, column: pl.Series) -> list[Any]:
        counts, items = self._parts(column)
        values = self._item.many(items) if len(items) else []
        out: list[Any] = []
        start = 0
        for count in counts:
            if count is None:
                out.append(None)
            else:
                out.append(self._form(values[start : start + count]))
                start += count
        return out


class _Map(Reader):
    def __init__(self, item: Reader) -> None:
        self.item, self._item = item, item

    def one(self, raw: Any) -> Any:
        return None if raw is None else {key: self._item.one(value) for key, value in raw.items()}


class RecordReader(Reader):
    """Records: each wanted column by its own reader, then the Struct (or dict)."""

    def __init__(self, names: list[str], readers: list[Reader], make: Callable[..., Any]) -> None:
        self.names, self._readers, self._make = names, readers, make

    def reader(self, name: str) -> Reader:
        """The reader of a wanted column."""
        return self._readers[self.names.index(name)]

    def one(self, raw: Any) -> Any:
        """See Reader."""
        if raw is None:
            return None
        return self._make(*[reader.one(raw[name]) for name, reader in zip(self.names, self._readers, strict=True)])

    def check(self, column: pl.Series) -> None:
        """See Reader."""
        self.check_frame(column.drop_nulls().struct.unnest())

    def many(self, column: pl.Series) -> list[Any]:
        """See Reader."""
        made = self.frame(column.struct.unnest())
        if column.null_count():
            return [None if missing else value for missing, value in zip(column.is_null(), made, strict=True)]
        return made

    def check_frame(self, frame: pl.DataFrame) -> None:
        """Raise Malformed when a wanted value is out of its range."""
        for name, reader in zip(self.names, self._readers, strict=True):
            reader.check(frame[name])

    def frame(self, frame: pl.DataFrame) -> list[Any]:
        """One record a row."""
        if not self.names:
            return [self._make() for _ in range(frame.height)]
        columns = [reader.many(frame[name]) for name, reader in zip(self.names, self._readers, strict=True)]
        return list(map(self._make, *columns))


def _datetime(micros: int) -> dt.datetime:
    return EPOCH + dt.timedelta(microseconds=micros)


def _date(days: int) -> dt.date:
    return dt.date.fromordinal(days + EPOCH_DAY)


def _split(annotation: Any) -> tuple[Any, bool]:
    """An annotation without its None, and whether None was allowed."""
    if annotation is Any or annotation is object:
        return Any, True
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        arms = [arm for arm in typing.get_args(annotation) if arm is not type(None)]
        optional = len(arms) < len(typing.get_args(annotation))
        return (arms[0] if len(arms) == 1 else annotation), optional
    return annotation, False


def _refuse(where: str, wanted: str) -> ProjectionError:
    return ProjectionError(f"{where}: annotate it as {wanted}")


def reader_of(node: Node, annotation: Any, where: str) -> Reader:
    """The reader of a column for a Struct field's annotation. Raises ProjectionError when they do not fit."""
    form, optional = _split(annotation)
    if node.nullable and not optional:
        raise _refuse(where, f"{getattr(form, '__name__', form)} | None, the column may be null")
    if typing.get_origin(form) is typing.Literal:
        form = type(typing.get_args(form)[0])
    simple = {"string": str, "bytes": bytes, "fixed": bytes, "double": float, "float": float, "enum": str}
    if node.kind in simple:
        if form not in (Any, simple[node.kind]):
            raise _refuse(where, simple[node.kind].__name__)
        return Reader()
    if node.kind == "boolean":
        if form not in (Any, bool):
            raise _refuse(where, "bool")
        return _Boolean()
    if node.kind in ("int", "long"):
        if form not in (Any, int):
            raise _refuse(where, "int")
        bits = 31 if node.kind == "int" else 63
        return _Number(-(1 << bits), (1 << bits) - 1, "an integer", 1, None)
    if node.kind == "timestamp":
        if form not in (Any, int, dt.datetime):
            raise _refuse(where, "int (epoch microseconds) or datetime")
        first, last = -(-_FIRST_MICROS // node.micros), _LAST_MICROS // node.micros
        return _Number(first, last, "a timestamp", node.micros, None if form is int else _datetime)
    if node.kind == "date":
        if form not in (Any, int, dt.date):
            raise _refuse(where, "int (days since 1970) or date")
        return _Number(_FIRST_DAY, _LAST_DAY, "a date", 1, None if form is int else _date)
    if node.kind == "decimal":
        if form not in (Any, Decimal, float, int):
            raise _refuse(where, "Decimal, float or int (unscaled)")
        return _Decimal(node, Decimal if form is Any else form)
    return _nested(node, form, where)


def _nested(node: Node, form: Any, where: str) -> Reader:
    origin, arguments = typing.get_origin(form) or form, typing.get_args(form)
    if node.kind == "array" and node.item is not None:
        if origin not in (Any, list, tuple):
            raise _refuse(where, "list[...] or tuple[..., ...]")
        inner = arguments[0] if arguments else Any
        return _Array(reader_of(node.item, inner, where), tuple if origin is tuple else list)
    if node.kind == "map" and node.item is not None:
        if origin not in (Any, dict):
            raise _refuse(where, "dict[str, ...]")
        return _Map(reader_of(node.item, arguments[1] if arguments else Any, where))
    if node.kind == "record":
        if isinstance(form, type) and issubclass(form, msgspec.Struct):
            return record_reader(node, form, {})
        if origin not in (Any, dict):
            raise _refuse(where, "a Struct or dict")
        return dict_reader(node, where)
    if form is Any:
        return Reader()
    raise _refuse(where, "Any")


def dict_reader(node: Node, where: str) -> RecordReader:
    """Every column of a record, as a dict."""
    names = [column.name for column in node.columns]
    readers = [reader_of(column.type, Any, f"{where}.{column.name}") for column in node.columns]

    def make(*values: Any) -> dict[str, Any]:
        return dict(zip(names, values, strict=True))

    return RecordReader(names, readers, make)


def record_reader(node: Node, struct: type[msgspec.Struct], newest: Mapping[str, Column]) -> RecordReader:
    """A Struct's columns of a record.

    A field that the schema lacks takes the Struct's default, else the default in `newest` (the newest schema's
    columns). Raises ProjectionError when it has neither, or when an annotation does not fit its column.
    """
    hints = typing.get_type_hints(struct)
    known = {column.name: column for column in node.columns}
    names: list[str] = []
    readers: list[Reader] = []
    arguments: list[str] = []
    scope: dict[str, Any] = {"struct": struct}
    for field in msgspec.structs.fields(struct):
        where = f"{struct.__name__}.{field.name}"
        column = known.get(field.name)
        if column is not None:
            arguments.append(f"{field.name}=v{len(names)}")
            names.append(field.name)
            readers.append(reader_of(column.type, hints[field.name], where))
        elif field.required:
            fallback = newest.get(field.name)
            if fallback is None or not fallback.has_default:
                raise ProjectionError(f"{where}: {node.name} has no such column and there is no default for it")
            if fallback.default is None or isinstance(fallback.default, (str, bool, int)):
                scope[f"d_{field.name}"] = fallback.default
                arguments.append(f"{field.name}=d_{field.name}")
            elif isinstance(fallback.default, list) and not fallback.default:
                form = typing.get_origin(_split(hints[field.name])[0])
                arguments.append(f"{field.name}={'()' if form is tuple else '[]'}")
            else:
                raise ProjectionError(f"{where}: give it a default in the Struct")
    # __match_args__ holds the fields that may be given by position.
    if tuple(names) == struct.__struct_fields__ == struct.__match_args__:
        return RecordReader(names, readers, struct)
    parameters = ",".join(f"v{index}" for index in range(len(names)))
    make = eval(f"lambda {parameters}: struct({','.join(arguments)})", scope)  # noqa: S307  (names are Python identifiers)
    return RecordReader(names, readers, make)


def typed(frame: pl.DataFrame, node: Node) -> pl.DataFrame:
    """A frame of physical columns in the schema's types: Datetime("us", "UTC"), Date, Boolean, List(Struct), ..."""
    known = {column.name: column.type for column in node.columns}
    return frame.with_columns(_typed(frame[name], known[name]) for name in frame.columns)


def _typed(column: pl.Series, node: Node) -> pl.Series:
    if node.kind == "boolean":
        return pl.Series(column.name, [_BOOLEANS[raw] for raw in column.to_list()], dtype=pl.Boolean)
    if node.kind == "timestamp" and node.micros != 1:
        column = column * node.micros
    dtype = _dtype(node)
    return column if dtype is None or dtype == column.dtype else column.cast(dtype)


_DTYPES: dict[str, Any] = {
    "timestamp": pl.Datetime("us", "UTC"),
    "date": pl.Date,
    "int": pl.Int32,
    "long": pl.Int64,
    "boolean": pl.Boolean,
    "string": pl.String,
    "bytes": pl.Binary,
    "double": pl.Float64,
    "float": pl.Float32,
}


def _dtype(node: Node) -> Any:
    """Type of a column in a frame; None for one that stays as polars read it."""
    if node.kind == "decimal":
        return pl.Decimal(node.precision, node.scale)
    if node.kind == "array" and node.item is not None:
        inner = _dtype(node.item)
        return None if inner is None else pl.List(inner)
    if node.kind == "record":
        inner_types = {column.name: _dtype(column.type) for column in node.columns}
        return None if None in inner_types.values() else pl.Struct(inner_types)
    return _DTYPES.get(node.kind)


class _Branches(list[Any]):
    """The two branches of a nullable type as polars chooses them: branch 0 for the number 0, else branch 1.

    fastavro would refuse some of the numbers that a schema lacks and count others from the end. polars, and so every
    batch, cannot be told to, and a record must not decode differently when it comes alone. The length is 0 because
    fastavro's compiled reader adds the length to a negative number.
    """

    def __getitem__(self, number: Any) -> Any:
        return super().__getitem__(1 if number else 0)

    def __len__(self) -> int:
        return 0


def lenient(parsed: Any) -> Any:
    """A physical schema parsed by fastavro, its nullable types read as polars reads them."""
    if isinstance(parsed, list):
        branches = [lenient(branch) for branch in parsed]
        return _Branches(branches) if len(branches) == 2 and "null" in branches else branches
    if isinstance(parsed, dict):
        return {
            key: [{**field, "type": lenient(field["type"])} for field in value]
            if key == "fields"
            else lenient(value)
            if key in ("items", "values")
            else value
            for key, value in parsed.items()
        }
    return parsed


class Physical:
    """Builds the physical schema of a record for one of the two readers."""

    def __init__(self, for_polars: bool, for_frame: bool = False) -> None:
        self._for_polars = for_polars
        self._for_frame = for_frame
        self._depth = 0
        self._names = 0
        self.possible = True

    def record(self, node: Node, wanted: Reader | None) -> dict[str, Any]:
        """Avro definition of a record whose columns `wanted` reads (None: none of them)."""
        self._names += 1
        own = f"r{self._names}"
        fields = []
        self._depth += 1
        for column in node.columns:
            reader = None
            if isinstance(wanted, RecordReader) and column.name in wanted.names:
                reader = wanted.reader(column.name)
            fields.append({"name": column.name, "type": self.type(column.type, reader)})
        self._depth -= 1
        return {"type": "record", "name": own, "fields": fields}

    def type(self, node: Node, reader: Reader | None) -> Any:
        """Avro definition of a column."""
        inner = self._value(node, reader)
        if not node.nullable:
            return inner
        return ["null", inner] if node.null_branch == 0 else [inner, "null"]

    def _value(self, node: Node, reader: Reader | None) -> Any:
        kind = node.kind
        if kind in ("int", "long", "date", "timestamp"):
            return "long"
        if kind == "string":
            return "bytes" if reader is None else "string"
        if kind == "boolean":
            # One byte, so that a 2 is seen. Nested in a frame it must stay a boolean: a list's items cannot be mapped.
            return "boolean" if self._for_frame and self._depth > 1 else self._fixed(1)
        if kind == "decimal":
            if reader is None or not self._for_polars or not self._for_frame:
                return "bytes"
            return {"type": "bytes", "logicalType": "decimal", "precision": node.precision, "scale": node.scale}
        if kind in ("bytes", "double", "float", "null"):
            return kind
        if kind == "fixed":
            return self._fixed(node.size)
        if kind == "array" and node.item is not None:
            return {"type": "array", "items": self.type(node.item, reader and reader.item)}
        if kind == "record":
            return self.record(node, reader)
        return self._rare(node, reader)

    def _rare(self, node: Node, reader: Reader | None) -> Any:
        self.possible = False
        if node.kind == "enum":
            self._names += 1
            return {"type": "enum", "name": f"e{self._names}", "symbols": list(node.symbols)}
        if node.kind == "map" and node.item is not None:
            return {"type": "map", "values": self.type(node.item, reader and reader.item)}
        return [self.type(branch, reader) for branch in node.branches]

    def _fixed(self, size: int) -> dict[str, Any]:
        self._names += 1
        return {"type": "fixed", "name": f"f{self._names}", "size": size}
