"""An Avro schema as a tree that encoder and decoder are generated from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from schemas.catalogue import PRIMITIVES, Schema, SchemaError, full_name

Kind = Literal[
    "null",
    "boolean",
    "int",
    "long",
    "float",
    "double",
    "bytes",
    "string",
    "date",
    "timestamp",
    "decimal",
    "array",
    "map",
    "record",
    "enum",
    "fixed",
    "union",
]
_TIMESTAMPS = {"timestamp-micros": 1, "timestamp-millis": 1000}


@dataclass(frozen=True)
class Column:
    """One field of a record."""

    name: str
    type: "Node"
    has_default: bool
    default: Any
    doc: str


@dataclass(frozen=True)
class Node:
    """A type. A union of null and one other type is that type with `nullable`; any other union is kind `union`."""

    kind: Kind
    name: str = ""
    nullable: bool = False
    null_branch: int = 0
    precision: int = 0
    scale: int = 0
    micros: int = 1
    size: int = 0
    item: "Node | None" = None
    columns: tuple[Column, ...] = ()
    symbols: tuple[str, ...] = ()
    branches: tuple["Node", ...] = ()


def tree(schema: Schema) -> Node:
    """The record's tree. Raises SchemaError for a recursive schema or one that names an unknown type."""
    return _node(schema.definition, "", {}, schema.full_name)


def _node(definition: Any, namespace: str, known: dict[str, Node | None], where: str) -> Node:
    if isinstance(definition, str):
        if definition in PRIMITIVES:
            return Node(definition)  # type: ignore[arg-type]
        name = definition if "." in definition or not namespace else f"{namespace}.{definition}"
        found = known.get(name)
        if found is None:
            raise SchemaError(f"{where}: {name} is {'recursive' if name in known else 'not defined'}")
        return found
    if isinstance(definition, list):
        return _union(definition, namespace, known, where)
    kind = definition["type"]
    if not isinstance(kind, str):
        return _node(kind, namespace, known, where)
    if kind in ("record", "enum", "fixed"):
        return _named(definition, kind, namespace, known, where)
    if kind == "array":
        return Node("array", item=_node(definition["items"], namespace, known, where))
    if kind == "map":
        return Node("map", item=_node(definition["values"], namespace, known, where))
    return _primitive(definition, kind, where)


def _primitive(definition: Mapping[str, Any], kind: str, where: str) -> Node:
    if kind not in PRIMITIVES:
        raise SchemaError(f"{where}: unknown type {kind}")
    logical = definition.get("logicalType")
    if kind == "bytes" and logical == "decimal":
        return Node("decimal", precision=int(definition["precision"]), scale=int(definition.get("scale", 0)))
    if kind == "long" and logical in _TIMESTAMPS:
        return Node("timestamp", micros=_TIMESTAMPS[logical])
    if kind == "int" and logical == "date":
        return Node("date")
    return Node(kind)  # type: ignore[arg-type]


def _named(definition: Mapping[str, Any], kind: str, namespace: str, known: dict[str, Node | None], where: str) -> Node:
    name = full_name(definition, namespace)
    if name in known:
        raise SchemaError(f"{where}: {name} is defined twice")
    known[name] = None
    if kind == "enum":
        node = Node("enum", name=name, symbols=tuple(definition["symbols"]))
    elif kind == "fixed":
        node = Node("fixed", name=name, size=int(definition["size"]))
    else:
        inner = name.rpartition(".")[0]
        node = Node(
            "record",
            name=name,
            columns=tuple(
                Column(
                    field["name"],
                    _node(field["type"], inner, known, where),
                    "default" in field,
                    field.get("default"),
                    field.get("doc", ""),
                )
                for field in definition["fields"]
            ),
        )
    known[name] = node
    return node


def _union(branches: list[Any], namespace: str, known: dict[str, Node | None], where: str) -> Node:
    nodes = [_node(branch, namespace, known, where) for branch in branches]
    kinds = [node.kind for node in nodes]
    if len(nodes) == 2 and kinds.count("null") == 1:
        null_branch = kinds.index("null")
        value = nodes[1 - null_branch]
        if value.kind != "union":
            return Node(**{**value.__dict__, "nullable": True, "null_branch": null_branch})
    return Node("union", branches=tuple(nodes))
