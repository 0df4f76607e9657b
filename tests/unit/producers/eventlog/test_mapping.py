"""Mappings are checked before they are used; a mistake is named with its line and what to do."""

from pathlib import Path

import pytest

from producers.eventlog import MappingError, load_mapping, packaged_mappings
from producers.eventlog.mapping import parse_mapping

GOOD = """source: travel
entity: expense_report
time_zone: Europe/Amsterdam
columns:
  actor: who
activities:
  Submit: {activity: submitted}
  Approve: {activity: approved, decision: approved, role: supervisor}
"""


def test_a_good_mapping() -> None:
    mapping = parse_mapping(GOOD, "m.yaml")
    assert mapping.activities["Approve"].role == "supervisor"
    assert mapping.columns.record_id == "case:concept:name"
    assert mapping.columns.used() == ["case:concept:name", "concept:name", "time:timestamp", "who"]


def test_the_shipped_mappings_are_good() -> None:
    assert packaged_mappings() == ["travel_declarations"]
    by_name = load_mapping(Path("travel_declarations"))
    assert by_name.source == "travel"
    assert {meaning.role for meaning in by_name.activities.values() if meaning.decision} == {
        "administration", "pre_approver", "budget_owner", "supervisor", "missing",
    }  # fmt: skip
    assert by_name.activities["Declaration REJECTED by EMPLOYEE"].decision is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("source: travel", "source: a:b", "m.yaml, line 1: source: String should match"),
        ("source: travel\n", "", "m.yaml, line 1: source: is missing; add it"),
        ("expense_report", "expenses", "m.yaml, line 2: entity: no such entity; there are bill"),
        ("Europe/Amsterdam", "Mars/Olympus", "m.yaml, line 3: time_zone: no such time zone"),
        ("  actor: who", "  aktor: who", "m.yaml, line 5: columns.aktor: no such key; check its spelling"),
        ("submitted}", "sent}", "m.yaml, line 7: activities.Submit.activity: Input should be 'created'"),
        (
            "decision: approved",
            "decision: rejected",
            "m.yaml, line 8: activities.Approve: decision rejected does not go",
        ),
        ("role: supervisor", "role: The Boss", "m.yaml, line 8: activities.Approve.role: String should match"),
        ("  Approve", "  Submit", "m.yaml, line 8: activities.Submit stands there twice"),
        ("  actor: who", "  actor: [", "m.yaml, line 7: not YAML"),
        ("actor: who", "actor: *x", "m.yaml, line 5: not YAML: aliases are not allowed"),
        (GOOD, "- a", "not a list of"),
        (GOOD, "", "empty"),
        (GOOD, "a: !!python/object/apply:os.system [x]", "not YAML"),
        (GOOD, "\x00", "not YAML"),
        ("activities:", "csv: {encoding: no-such}\nactivities:", "line 6: csv.encoding: Python knows no such"),
    ],
)
def test_a_mistake_is_named_with_its_line(old: str, new: str, message: str) -> None:
    with pytest.raises(MappingError) as refused:
        parse_mapping(GOOD.replace(old, new, 1), "m.yaml")
    assert message in str(refused.value)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(MappingError) as refused:
        parse_mapping(GOOD.replace("expense_report", "x").replace("Europe/Amsterdam", "y"), "m.yaml")
    assert len(str(refused.value).splitlines()) == 2


def test_an_absent_file_names_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="travel_declarations"):
        load_mapping(tmp_path / "none.yaml")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MappingError, match="not UTF-8"):
        load_mapping(tmp_path / "m.yaml")
