"""What may stand at a place of a policy file, in words: read from the sections' own types."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import inspect

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_EXPECTED = re.compile(r"Expected `([a-z]+)")
_WRITE = {
    "str": 'write text, in quotes where it looks like something else: "1"',
    "array": "write a list, in brackets or one item a line behind a dash",
    "object": "write names with their values, one a line beneath it",
    "int": "write a whole number without quotes",
    "bool": "write true or false",
}


def what_to_write(root: type, path: str, message: str) -> str:
    """What to do about an error of ``msgspec.convert`` at a path of the content; empty where the message says it.

    ``path`` as ``$.clocks[0].severity``; ``root``: the type of the whole content.
    """
    unknown = "unknown field" in message
    kinds = list(_at(inspect.type_info(root), path.rpartition(".")[0] if unknown else path))
    if unknown or "missing required" in message:
        names = sorted(
            {field.encode_name for kind in kinds if isinstance(kind, inspect.StructType) for field in kind.fields}
        )
        return f"the names here are {', '.join(names)}" if names else ""
    if "Invalid enum" in message:
        values = [str(value) for kind in kinds if isinstance(kind, inspect.LiteralType) for value in kind.values]
        return f"write one of {', '.join(values)}" if values else ""
    expected = _EXPECTED.search(message)
    return _WRITE.get(expected[1], "") if expected else ""


def _at(kind: inspect.Type, path: str) -> Iterator[inspect.Type]:
    """The types that may stand at a path."""
    kinds = list(_each(kind))
    for name, index in _STEP.findall(path):
        kinds = [below for above in kinds for one in _below(above, name, index) for below in _each(one)]
    yield from kinds


def _each(kind: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from _each(one)
    else:
        yield kind


def _below(kind: inspect.Type, name: str, index: str) -> Iterator[inspect.Type]:
    if isinstance(kind, inspect.StructType) and name:
        yield from (field.type for field in kind.fields if field.encode_name == name)
    elif isinstance(kind, inspect.DictType) and name:
        yield kind.value_type
    elif isinstance(kind, inspect.CollectionType) and index:
        yield kind.item_type
