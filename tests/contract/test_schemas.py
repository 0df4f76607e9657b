"""The committed schemas: compatible with everything ever published, and described in the data dictionary."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.catalogue import FOLDER, HISTORY, SchemaError, parse, read_current, read_history
from schemas.compatibility import apply, check, incompatible, published
from schemas.dictionary import PATH, render
from schemas.registry import EmbeddedRegistry


def test_the_committed_schemas_may_be_published() -> None:
    assert check() == []


def test_the_data_dictionary_is_up_to_date() -> None:
    assert PATH.read_text(encoding="utf-8") == render(), "run: python -m schemas.dictionary"


def test_every_record_of_every_topic_has_a_schema() -> None:
    assert set(published()) <= set(read_current())


def heartbeat(change: Callable[[dict[str, Any]], object]) -> str:
    definition = json.loads((FOLDER / "heartbeat.avsc").read_text())
    change(definition)
    return json.dumps(definition)


def add(**field: Any) -> Callable[[dict[str, Any]], object]:
    return lambda definition: definition["fields"].append(field)


BREAKING = {
    "a column without a default": add(name="new", type="string"),
    "a column removed": lambda definition: definition["fields"].pop(),
    "a column renamed": lambda definition: definition["fields"][0].update(name="origin"),
    "another type": lambda definition: definition["fields"][3].update(type="string"),
    "a wider type (old readers cannot)": lambda definition: definition["fields"][0].update(type=["null", "string"]),
    "another unit of time": lambda definition: definition["fields"][1]["type"].update(logicalType="timestamp-millis"),
    "no unit of time": lambda definition: definition["fields"][1].update(type="long"),
}


@pytest.mark.parametrize("what", BREAKING)
def test_a_breaking_change_is_refused(what: str, tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "avro")
    shutil.copytree(HISTORY, tmp_path / "history")
    text = heartbeat(BREAKING[what])
    (tmp_path / "avro" / "heartbeat.avsc").write_text(text)
    assert [problem.schema for problem in check(tmp_path / "avro", tmp_path / "history")] == ["finwatch.Heartbeat"]
    (tmp_path / "history" / "finwatch.Heartbeat" / "2.avsc").write_text(text)
    problems = check(tmp_path / "avro", tmp_path / "history")
    assert problems and {problem.schema for problem in problems} == {"finwatch.Heartbeat"}


def test_a_nullable_column_with_a_default_is_no_breaking_change(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "avro")
    shutil.copytree(HISTORY, tmp_path / "history")
    text = heartbeat(add(name="new", type=["null", "string"], default=None))
    (tmp_path / "avro" / "heartbeat.avsc").write_text(text)
    (tmp_path / "history" / "finwatch.Heartbeat" / "2.avsc").write_text(text)
    assert check(tmp_path / "avro", tmp_path / "history") == []


def test_versions_are_compared_with_all_older_ones() -> None:
    one = parse(heartbeat(add(name="new", type="string", default="")))
    two = parse(heartbeat(lambda definition: None))
    three = parse(heartbeat(add(name="new", type="long", default=0)))
    assert {problem.what[:29] for problem in incompatible("finwatch.Heartbeat", (one, two, three))} == {
        "version 3 cannot read version",
        "version 1 cannot read version",
    }


def test_an_event_schema_begins_with_the_header(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "avro")
    definition = json.loads((tmp_path / "avro" / "transition.avsc").read_text())
    definition["fields"][2]["doc"] = "Something else."
    (tmp_path / "avro" / "transition.avsc").write_text(json.dumps(definition))
    problems = {problem.what for problem in check(tmp_path / "avro")}
    assert "does not begin with the columns of finwatch.EventHeader" in problems


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ('"string"', "must be a record"),
        ('{"type": "record"}', "not an Avro schema"),
        ('{"type": "record", "name": "X", "fields": [{"name": "a", "type": {"type": "no"}}]}', "unknown type no"),
    ],
)
def test_a_text_that_is_no_schema_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "odd.avsc").write_text(text)
    with pytest.raises(SchemaError, match=f"odd.avsc: .*{message}"):
        read_current(tmp_path)


def test_a_gap_in_the_history_is_refused(tmp_path: Path) -> None:
    shutil.copytree(HISTORY / "finwatch.Heartbeat", tmp_path / "finwatch.Heartbeat")
    (tmp_path / "finwatch.Heartbeat" / "1.avsc").rename(tmp_path / "finwatch.Heartbeat" / "2.avsc")
    with pytest.raises(SchemaError, match="versions must be numbered"):
        read_history(tmp_path)


def test_apply_registers_what_is_missing_once() -> None:
    registry = EmbeddedRegistry(())
    planned = apply(registry, dry_run=True)
    assert [change.full_name for change in planned] == list(published())
    assert all(change.action == "registered" and change.schema_id is None for change in planned)
    done = apply(registry)
    assert all(change.action == "registered" and change.schema_id for change in done)
    assert all(change.action == "present" for change in apply(registry))
