"""Records as bytes: Structs made of the schemas themselves, so that no column can be misspelt or forgotten."""

from collections.abc import Mapping
from typing import Any

import msgspec

from schemas.codec import Encoder
from schemas.registry import Registry, newest
from schemas.tree import Node, tree


def _struct(node: Node) -> type[msgspec.Struct]:
    """A Struct with the columns of a record; columns with a default may be left out."""
    fields: list[Any] = []
    for column in node.columns:
        inner: Any = Any
        if column.type.kind == "array" and column.type.item is not None and column.type.item.kind == "record":
            inner = list[_struct(column.type.item)]  # type: ignore[misc]
        if not column.has_default:
            fields.append((column.name, inner))
        elif isinstance(column.default, list):
            fields.append((column.name, inner, msgspec.field(default_factory=list)))
        else:
            fields.append((column.name, inner, column.default))
    return msgspec.defstruct(node.name.rpartition(".")[2], fields, kw_only=True)


class RecordEncoder:
    """Encodes contents given by field name. Raises EncodeError; TypeError for a field that the schema does not have."""

    def __init__(self, registry: Registry) -> None:
        self._encoder = Encoder(registry)
        self._types: dict[str, tuple[type[msgspec.Struct], dict[str, type[msgspec.Struct]]]] = {}

    def __call__(self, full_name: str, content: Mapping[str, Any]) -> bytes:
        """One value in Confluent wire format, with the newest schema of that name."""
        known = self._types.get(full_name)
        if known is None:
            known = self._types[full_name] = self._made(full_name)
        record_type, nested = known
        values = dict(content)
        for name, item_type in nested.items():
            if name in values:
                values[name] = [item_type(**item) for item in values[name]]
        return self._encoder.encode(record_type(**values), full_name)

    @staticmethod
    def _made(full_name: str) -> tuple[type[msgspec.Struct], dict[str, type[msgspec.Struct]]]:
        record_type = _struct(tree(newest(full_name)))
        nested = {
            field.name: field.type.__args__[0] for field in msgspec.structs.fields(record_type) if field.type is not Any
        }
        return record_type, nested
