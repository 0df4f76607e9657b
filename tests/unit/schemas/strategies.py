"""Hypothesis strategies for records of any Avro schema, and fastavro beside them as the reference."""

import datetime as dt
import io
from decimal import Decimal
from typing import Any

import fastavro
import msgspec
from hypothesis import strategies as st

from schemas.catalogue import Schema, current, parse
from schemas.registry import EmbeddedRegistry
from schemas.tree import Node, tree

TEXT = st.text(max_size=12) | st.sampled_from(["", "\x00", "é", "\u202eabc", "x" * 70, "y" * 5000])
MOMENTS = st.datetimes(
    dt.datetime(1, 1, 2),  # noqa: DTZ001  (hypothesis wants naive bounds)
    dt.datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.just(dt.UTC),
)


def values(node: Node) -> st.SearchStrategy[Any]:
    """Values of a type as fastavro takes them: datetime, date, Decimal, dict, list."""
    inner = _values(node)
    return st.none() | inner if node.nullable else inner


def _values(node: Node) -> st.SearchStrategy[Any]:
    match node.kind:
        case "string":
            return TEXT
        case "bytes":
            return st.binary(max_size=20)
        case "boolean":
            return st.booleans()
        case "int":
            return st.integers(-(2**31), 2**31 - 1)
        case "long":
            return st.integers(-(2**63), 2**63 - 1)
        case "double":
            return st.floats(allow_nan=False)
        case "float":
            return st.floats(allow_nan=False, width=32)
        case "timestamp":
            return MOMENTS
        case "date":
            return st.dates()
        case "decimal":
            return st.integers(-(10**node.precision) + 1, 10**node.precision - 1).map(
                lambda unscaled: Decimal(f"{unscaled}e-{node.scale}")
            )
        case "array":
            assert node.item is not None
            return st.lists(values(node.item), max_size=3)
        case "map":
            assert node.item is not None
            return st.dictionaries(st.text(max_size=4), values(node.item), max_size=3)
        case "record":
            return st.fixed_dictionaries({column.name: values(column.type) for column in node.columns})
        case "fixed":
            return st.binary(min_size=node.size, max_size=node.size)
        case "enum":
            return st.sampled_from(node.symbols)
    raise AssertionError(node.kind)


def annotation(node: Node, struct: bool) -> Any:
    """What a Struct field for a column is annotated with."""
    plain: dict[str, Any] = {
        "string": str, "bytes": bytes, "boolean": bool, "int": int, "long": int, "double": float, "float": float,
        "timestamp": dt.datetime, "date": dt.date, "decimal": Decimal, "fixed": bytes, "enum": str,
    }  # fmt: skip
    if node.kind == "array":
        assert node.item is not None
        form: Any = list[annotation(node.item, struct)]  # type: ignore[misc]
    elif node.kind == "map":
        assert node.item is not None
        form = dict[str, annotation(node.item, struct)]  # type: ignore[misc]
    elif node.kind == "record":
        form = struct_of(node) if struct else dict
    else:
        form = plain[node.kind]
    return form | None if node.nullable else form


def struct_of(node: Node, only: list[str] | None = None) -> type[msgspec.Struct]:
    """A Struct with the columns of a record."""
    return msgspec.defstruct(
        node.name.rpartition(".")[2],
        [
            (column.name, annotation(column.type, struct=True))
            for column in node.columns
            if only is None or column.name in only
        ],
    )


def build(form: Any, value: Any) -> Any:
    """A Struct of that type from a plain dict, nested ones too (an independent way: msgspec's convert)."""
    return msgspec.convert(value, form, builtin_types=(bytes, dt.datetime, dt.date, Decimal))


def body(schema: Schema, record: dict[str, Any]) -> bytes:
    """fastavro's encoding."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(dict(schema.definition)), record)
    return stream.getvalue()


def header(registry: EmbeddedRegistry, schema: Schema) -> bytes:
    return b"\x00" + registry.schema_id(schema).to_bytes(4, "big")


#: Every kind of type at once, with branches in both orders.
ODD = parse(
    """{"type": "record", "name": "finwatch.Odd", "fields": [
    {"name": "a", "type": ["string", "null"]},
    {"name": "b", "type": "boolean"},
    {"name": "c", "type": ["null", "boolean"]},
    {"name": "i", "type": "int"},
    {"name": "j", "type": ["long", "null"]},
    {"name": "f", "type": "float"},
    {"name": "d", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    {"name": "t", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
    {"name": "e", "type": {"type": "int", "logicalType": "date"}},
    {"name": "x", "type": {"type": "fixed", "name": "Three", "size": 3}},
    {"name": "l", "type": ["null", {"type": "array", "items": ["null", "string"]}]},
    {"name": "r", "type": {"type": "record", "name": "In", "fields": [
        {"name": "k", "type": "string"}, {"name": "q", "type": ["null", "bytes"]}]}},
    {"name": "n", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
        {"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "o", "type": "boolean"},
        {"name": "m", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 28, "scale": 6}]}]}}}
    ]}"""
)
#: What only the reader of single records can do.
RARE = parse(
    """{"type": "record", "name": "finwatch.Rare", "fields": [
    {"name": "m", "type": {"type": "map", "values": ["null", "long"]}},
    {"name": "e", "type": {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}}]}"""
)
SCHEMAS = [*current().values(), ODD, RARE]
REGISTRY = EmbeddedRegistry((*current().values(), ODD, RARE))
TREES = {schema.full_name: tree(schema) for schema in SCHEMAS}
