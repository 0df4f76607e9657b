"""The committed schemas: `avro/<name>.avsc` (newest) and `history/<full name>/<n>.avsc` (every published version).

A schema's identity is the SHA-256 of its canonical form: Avro's Parsing Canonical Form (specification 1.12,
"Transforming into Parsing Canonical Form") with the logical types kept, because two schemas that differ only in a
decimal's scale decode the same bytes to different money.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

FOLDER = Path(__file__).parent / "avro"
HISTORY = Path(__file__).parent / "history"
PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_LOGICAL = ("logicalType", "precision", "scale")


class SchemaError(Exception):
    """A schema text cannot be used; the message names the schema and what is wrong with it."""


@dataclass(frozen=True)
class Schema:
    """One version of one record schema. Equal when the canonical forms are equal."""

    full_name: str
    canonical: str
    definition: Mapping[str, Any] = field(compare=False, hash=False, repr=False)

    @property
    def text(self) -> str:
        """The whole definition as compact JSON, docs included: what a registry stores."""
        return json.dumps(self.definition, ensure_ascii=False, separators=(",", ":"))

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical form, 32 bytes."""
        return hashlib.sha256(self.canonical.encode()).digest()


def parse(text: str, origin: str = "schema") -> Schema:
    """A record schema from its JSON text. Raises SchemaError naming `origin`."""
    try:
        definition = json.loads(text)
    except ValueError as error:
        raise SchemaError(f"{origin}: not JSON: {error}") from None
    if not isinstance(definition, dict) or definition.get("type") != "record":
        raise SchemaError(f"{origin}: the top of a schema must be a record")
    try:
        canonical = json.dumps(_canonical(definition, ""), ensure_ascii=False, separators=(",", ":"))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SchemaError(f"{origin}: not an Avro schema ({type(error).__name__}: {error})") from None
    return Schema(full_name(definition, ""), canonical, definition)


def full_name(definition: Mapping[str, Any], namespace: str) -> str:
    """Full name of a named type inside `namespace`."""
    name: str = definition["name"]
    inner = definition.get("namespace", namespace)
    return name if "." in name or not inner else f"{inner}.{name}"


def _canonical(definition: Any, namespace: str) -> Any:
    if isinstance(definition, str):
        return (
            definition
            if definition in PRIMITIVES or "." in definition or not namespace
            else f"{namespace}.{definition}"
        )
    if isinstance(definition, list):
        return [_canonical(branch, namespace) for branch in definition]
    kind = definition["type"]
    if not isinstance(kind, str):
        return _canonical(kind, namespace)
    out: dict[str, Any] = {}
    if kind in ("record", "enum", "fixed"):
        name = full_name(definition, namespace)
        namespace = name.rpartition(".")[0]
        out["name"] = name
    out["type"] = kind
    if kind == "record":
        out["fields"] = [
            {"name": field["name"], "type": _canonical(field["type"], namespace)} for field in definition["fields"]
        ]
    elif kind == "enum":
        out["symbols"] = definition["symbols"]
    elif kind == "array":
        out["items"] = _canonical(definition["items"], namespace)
    elif kind == "map":
        out["values"] = _canonical(definition["values"], namespace)
    elif kind == "fixed":
        out["size"] = int(definition["size"])
    elif kind not in PRIMITIVES:
        raise KeyError(f"unknown type {kind}")
    out |= {key: definition[key] for key in _LOGICAL if key in definition}
    return kind if len(out) == 1 and kind in PRIMITIVES else out


def read(path: Path) -> Schema:
    """The schema in a file. Raises SchemaError naming the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(f"{path.name}: cannot be read: {error}") from None
    return parse(text, path.name)


def read_current(folder: Path = FOLDER) -> dict[str, Schema]:
    """The newest version of every schema in `folder`, by full name. Raises SchemaError, also for one name twice."""
    found: dict[str, Schema] = {}
    for path in sorted(folder.glob("*.avsc")):
        schema = read(path)
        if schema.full_name in found:
            raise SchemaError(f"{path.name}: {schema.full_name} is defined twice")
        found[schema.full_name] = schema
    return found


def read_history(folder: Path = HISTORY) -> dict[str, tuple[Schema, ...]]:
    """Published versions by full name, oldest first. Raises SchemaError for a gap in the numbers or a wrong name."""
    found: dict[str, tuple[Schema, ...]] = {}
    for directory in sorted(path for path in folder.glob("*") if path.is_dir()):
        numbers = sorted(int(path.stem) for path in directory.glob("*.avsc") if path.stem.isdigit())
        if numbers != list(range(1, len(numbers) + 1)):
            raise SchemaError(f"history/{directory.name}: versions must be numbered 1, 2, 3 ..., found {numbers}")
        versions = tuple(read(directory / f"{number}.avsc") for number in numbers)
        for number, schema in enumerate(versions, 1):
            if schema.full_name != directory.name:
                raise SchemaError(f"history/{directory.name}/{number}.avsc: defines {schema.full_name}")
        found[directory.name] = versions
    return found


@cache
def current() -> Mapping[str, Schema]:
    """The newest committed schemas by full name, read once."""
    return MappingProxyType(read_current())


@cache
def history() -> Mapping[str, tuple[Schema, ...]]:
    """The committed versions by full name, oldest first, read once."""
    return MappingProxyType(read_history())


def every_version() -> Iterator[Schema]:
    """All committed schemas, published versions before the newest ones."""
    for versions in history().values():
        yield from versions
    yield from current().values()
