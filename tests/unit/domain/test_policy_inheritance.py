"""A group's policy, what its companies have of their own, versions by date, and what differs in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finwatch.domain.calendar import HOUR
from finwatch.domain.policy import Policy, PolicyError, PolicySet, Version, parse_content, parse_policy, succession
from finwatch.domain.policy.differences import differences
from finwatch.runtime.policies import PolicyFileError, load_policy
from tests.unit.agents.world import at

GROUP = """
policy: group
version: "1"
calendars:
  office: {time_zone: Europe/Brussels, week: {monday: "08:00-16:00"}}
calendar: office
clocks:
  - name: approval
    entity: purchase_order
    target: 2 business days
    start: [{state: to approve}]
    stop: [{state: purchase}]
  - name: payment
    entity: bill
    target: due_date
    start: [{state: posted}]
    stop: [{payment_state: paid}]
exceptions:
  missing_order: {owner: procurement, severity: medium, next_action: Find it., entities: [bill], min_amount: 1000}
duplicates: {min_reference_length: 4}
companies:
  "2":
    calendars:
      madrid: {time_zone: Europe/Madrid, week: {monday: "09:00-18:00", friday: "09:00-14:00"}}
    calendar: madrid
    clocks:
      - {name: approval, target: 4 business hours, owner: director}
      - {name: payment, remove: true}
    exceptions:
      missing_order: {min_amount: 50}
    duplicates: {min_reference_length: 2}
  "3":
    exceptions:
      missing_order: {remove: true}
"""


def group(tmp_path: Path, text: str = GROUP) -> Policy:
    path = tmp_path / "group.yaml"
    path.write_text(text, encoding="utf-8")
    return load_policy(path)


def test_a_company_has_what_it_says_and_inherits_the_rest(tmp_path: Path) -> None:
    policy = group(tmp_path)
    two, three = policy.of_company("2"), policy.of_company("3")
    assert policy.of_company("1") is policy
    assert policy.of_company(None) is policy
    assert set(two.clocks) == {"approval"}
    assert two.clocks["approval"].target is not None
    assert two.clocks["approval"].target.fixed == 4 * HOUR
    assert two.clocks["approval"].section.start == policy.clocks["approval"].section.start
    assert two.clocks["approval"].levels[-1].owner == "director"
    assert policy.calendar_of("2").name == "madrid"
    assert policy.calendar_of("3").name == "office"
    assert two.exceptions_of("bill")["missing_order"].min_amount == 50
    assert two.exceptions_of("bill")["missing_order"].owner == "procurement"
    assert three.exceptions_of("bill") == {}
    assert (two.document.duplicates.min_reference_length, three.document.duplicates.min_reference_length) == (2, 4)
    # One governed set: all of it has one label, and any change of a company's part changes it.
    assert two.label == policy.label
    assert group(tmp_path, GROUP.replace("min_amount: 50", "min_amount: 60")).label != policy.label
    assert parse_content(policy.content).label == policy.label


@pytest.mark.parametrize(
    ("find", "put", "line", "says"),
    [
        ("target: 4 business hours", "target: soon", 27, "no duration"),
        ("{name: approval, target", "{target", 27, "name is missing"),
        ("name: payment, remove", "name: payments, remove", 28, "none with name 'payments'"),
        ("calendar: madrid", "calendar: paris", 25, "no calendar is named 'paris'"),
        ("min_amount: 50", "min_amount: much", 30, "Invalid decimal"),
        ("    duplicates: {min", "    version: {min", 31, "only the group"),
    ],
)
def test_errors_say_where_in_the_company(tmp_path: Path, find: str, put: str, line: int, says: str) -> None:
    assert find in GROUP
    with pytest.raises(PolicyFileError) as error:
        group(tmp_path, GROUP.replace(find, put))
    assert f"group.yaml:{line}:" in str(error.value), str(error.value)
    assert says in str(error.value)


def small(name: str, version: str, **fields: Any) -> Policy:
    return parse_policy(
        {
            "policy": name,
            "version": version,
            "calendars": {"c": {"time_zone": "Europe/Brussels", "week": {"monday": "08:00-16:00"}}},
            "calendar": "c",
            **fields,
        }
    )


def test_versions_follow_each_other_by_their_dates() -> None:
    old, new = small("a", "1"), small("a", "2", effective_from="2027-01-01")
    start = at("2026-12-31 23:00")
    assert PolicySet([new, old]).in_force("odoo") == (Version(0, old), Version(start, new))
    with pytest.raises(PolicyError, match="effective_from"):
        PolicySet([old, small("a", "3")])
    # The first is in force from the beginning, whatever it says: something has to be.
    assert PolicySet([new]).in_force("odoo") == (Version(0, new),)


def test_of_two_names_the_closer_one_wins_from_when_it_starts() -> None:
    wide, close = small("wide", "1"), small("close", "1", sources=["odoo*"])
    assert succession("odoo_fr", [Version(0, wide), Version(50, close)]) == [Version(0, wide), Version(50, close)]
    assert succession("sap", [Version(0, wide), Version(50, close)]) == [Version(0, wide)]
    later = small("wide", "2")
    assert succession("odoo_fr", [Version(0, wide), Version(50, close), Version(60, later)])[-1].policy is close
    with pytest.raises(PolicyError):
        succession("sap", [Version(0, close)])


def test_what_differs_is_said_in_words(tmp_path: Path) -> None:
    one = group(tmp_path)
    text = GROUP.replace("2 business days", "3 business days").replace("min_amount: 1000", "min_amount: 500")
    text = text.replace('version: "1"', 'version: "2"').replace('monday: "08:00-16:00"', 'monday: "08:00-17:00"')
    text = text.replace("name: payment\n", "name: settlement\n").replace(
        "name: payment, remove", "name: settlement, remove"
    )
    other = group(tmp_path, text)
    found = differences(one, other)
    assert "version: 2, before 1" in found
    assert "calendar office, week, monday: 08:00-17:00, before 08:00-16:00" in found
    assert "clock payment: taken out" in found
    assert "clock settlement: new (entity bill, target due_date, severity high)" in found
    assert "clock approval, target: 3 business days, before 2 business days" in found
    assert "exception missing_order, min_amount: 500, before 1000" in found
    assert differences(one, one) == []
