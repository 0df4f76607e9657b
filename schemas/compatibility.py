"""Offline checks of the committed schemas, and putting them into a registry.

The rule: every version of a schema can read, and can be read by, every other one (Confluent's FULL_TRANSITIVE). The
judge is Apache Avro's own checker. Whoever changes a schema adds the new version as `history/<full name>/<n>.avsc`; a
change that is not compatible needs a new topic version.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from finwatch.runtime.topics import TOPICS
from schemas.catalogue import FOLDER, HISTORY, Schema, SchemaError, current, read_current, read_history
from schemas.registry import Registry, SchemaNotRegistered, embedded_id

HEADER = "finwatch.EventHeader"


@dataclass(frozen=True)
class Problem:
    """Something about a schema that must be mended before it is published."""

    schema: str
    what: str


@dataclass(frozen=True)
class Change:
    """One schema on its way into a registry; `schema_id` is None when a dry run would have registered it."""

    full_name: str
    action: Literal["registered", "present"]
    schema_id: int | None


def published() -> tuple[str, ...]:
    """Full names of the records that topics carry, in the topics' order."""
    return tuple(dict.fromkeys(name for topic in TOPICS for name in topic.records))


def check(folder: Path = FOLDER, history: Path = HISTORY) -> list[Problem]:
    """All problems of the committed schemas; an empty list means that they may be published.

    Raises SchemaError for a file that is no schema, or when Apache Avro's package `avro` is not installed.
    """
    newest, versions = read_current(folder), read_history(history)
    return [
        *_missing(newest, versions),
        *_headers(newest),
        *_ids([*newest.values(), *(schema for known in versions.values() for schema in known)]),
        *(problem for name, known in versions.items() for problem in incompatible(name, known)),
    ]


def _missing(newest: Mapping[str, Schema], versions: Mapping[str, Sequence[Schema]]) -> Iterator[Problem]:
    for name in published():
        if name not in newest:
            yield Problem(name, "a topic carries it, but schemas/avro has no such schema")
    for name, schema in newest.items():
        known = versions.get(name, ())
        path = f"schemas/history/{name}/{len(known) + 1}.avsc"
        if not known or known[-1] != schema:
            yield Problem(name, f"the newest version is not in the history; add it as {path}")
        elif known[-1].definition != schema.definition:
            yield Problem(name, f"schemas/history/{name}/{len(known)}.avsc differs in docs or defaults; copy it anew")
    for name in versions.keys() - newest.keys():
        yield Problem(name, "has a history but is not in schemas/avro any more; old records need it")


def _headers(newest: Mapping[str, Schema]) -> Iterator[Problem]:
    """Every event schema (one with an event_id first) begins with the header's columns."""
    header = newest.get(HEADER)
    if header is None:
        return
    wanted = header.definition["fields"]
    for name, schema in newest.items():
        fields = schema.definition["fields"]
        if name != HEADER and fields and fields[0]["name"] == wanted[0]["name"] and fields[: len(wanted)] != wanted:
            yield Problem(name, f"does not begin with the columns of {HEADER}")


def _ids(schemas: Sequence[Schema]) -> Iterator[Problem]:
    seen: dict[int, Schema] = {}
    for schema in schemas:
        other = seen.setdefault(embedded_id(schema), schema)
        if other != schema:
            yield Problem(schema.full_name, f"has the same embedded id as a version of {other.full_name}")


def incompatible(name: str, versions: Sequence[Schema]) -> Iterator[Problem]:
    """A problem for each pair of versions of which one cannot read the other, by Apache Avro's checker."""
    try:
        from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
        from avro.errors import AvroException
        from avro.schema import parse
    except ModuleNotFoundError:
        raise SchemaError("checking compatibility needs Apache Avro's package; run: pip install avro") from None
    try:
        parsed = [parse(schema.text) for schema in versions]
    except AvroException as error:
        yield Problem(name, f"Apache Avro refuses it: {error}")
        return
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    for writer, written in enumerate(parsed):
        for reader, read in enumerate(parsed):
            if reader == writer:
                continue
            result = checker.get_compatibility(read, written)
            if result.compatibility is not SchemaCompatibilityType.compatible:
                direction = "backward" if reader > writer else "forward"
                why = "; ".join(sorted(set(result.messages))) or "the types differ"
                yield Problem(name, f"version {reader + 1} cannot read version {writer + 1} ({direction}): {why}")
    yield from _logical(name, versions)


def _logical(name: str, versions: Sequence[Schema]) -> Iterator[Problem]:
    """Avro's resolution rules ignore logical types; a new scale would silently change every amount."""
    kinds: dict[str, tuple[int, str]] = {}
    for number, schema in enumerate(versions, 1):
        for path, logical in _logical_types(schema.definition, ""):
            known_number, known = kinds.setdefault(path, (number, logical))
            if known != logical:
                yield Problem(name, f"{path}: {known} in version {known_number}, {logical} in version {number}")


def _logical_types(definition: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(definition, list):
        for branch in definition:
            yield from _logical_types(branch, path)
    elif isinstance(definition, Mapping):
        if definition["type"] == "record":
            for field in definition["fields"]:
                yield from _logical_types(field["type"], f"{path}.{field['name']}".lstrip("."))
        elif definition["type"] in ("array", "map"):
            yield from _logical_types(definition.get("items", definition.get("values")), f"{path}[]")
        elif not isinstance(definition["type"], str):
            yield from _logical_types(definition["type"], path)
        else:
            logical = definition.get("logicalType", "none")
            yield path, f"{logical} {definition.get('precision', '')} {definition.get('scale', '')}".strip()
    elif definition != "null":
        yield path, "none"


def apply(registry: Registry, dry_run: bool = False) -> list[Change]:
    """Register every published schema that the registry lacks, each under its full name. Idempotent.

    Raises RegistryError when the registry refuses one, RegistryUnavailable, SchemaError for a missing schema.
    """
    changes = []
    for name in published():
        if name not in current():
            raise SchemaError(f"{name}: a topic carries it, but schemas/avro has no such schema")
        schema = current()[name]
        try:
            changes.append(Change(name, "present", registry.schema_id(schema)))
        except SchemaNotRegistered:
            changes.append(Change(name, "registered", None if dry_run else registry.register(schema)))
    return changes
