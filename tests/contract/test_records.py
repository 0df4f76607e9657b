"""Records and projections have the fields of their Avro schemas; the shipped policies are valid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from finwatch.domain.events import DOCUMENT_PROJECTIONS, RELATION_PROJECTIONS
from finwatch.domain.policy import ACTIVITIES
from finwatch.domain.records import AVRO_NAMES

AVRO = Path(__file__).resolve().parents[2] / "schemas" / "avro"


def schema(full_name: str) -> dict[str, Any]:
    for path in AVRO.glob("*.avsc"):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if f"{found['namespace']}.{found['name']}" == full_name:
            return found
    raise AssertionError(f"no schema {full_name}")


@pytest.mark.parametrize("record", AVRO_NAMES, ids=lambda record: record.__name__)
def test_outputs_have_exactly_the_fields_of_their_schema(record: type[Struct]) -> None:
    fields = schema(AVRO_NAMES[record])["fields"]
    assert [field.name for field in msgspec.structs.fields(record)] == [field["name"] for field in fields]
    for ours, theirs in zip(msgspec.structs.fields(record), fields, strict=True):
        nullable = isinstance(theirs["type"], list) and "null" in theirs["type"]
        assert nullable == ("None" in str(ours.type)), ours.name


@pytest.mark.parametrize("full_name", [*DOCUMENT_PROJECTIONS, *RELATION_PROJECTIONS])
def test_projections_want_only_what_their_schema_has(full_name: str) -> None:
    projection = {**DOCUMENT_PROJECTIONS, **RELATION_PROJECTIONS}[full_name]
    fields = {field["name"]: field for field in schema(full_name)["fields"]}
    for field in msgspec.structs.fields(projection):
        assert field.name in fields
        kind = fields[field.name]["type"]
        nullable = isinstance(kind, list) and "null" in kind
        assert not nullable or not field.required, f"{field.name} may be null and has no default"


def test_activities_are_those_of_the_transition() -> None:
    field = next(f for f in schema("finwatch.Transition")["fields"] if f["name"] == "activity")
    told = {word.strip(" .") for word in field["doc"].partition(":")[2].replace(".", ",").split(",")} - {""}
    assert told <= ACTIVITIES
