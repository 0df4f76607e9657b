"""Policies: what is refused, where, and what the shipped ones say."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from finwatch.domain.calendar import DAY, HOUR, instant
from finwatch.domain.policy import FactKind, PolicyError, PolicySet, parse_content, parse_duration, parse_policy
from finwatch.runtime.policies import PolicyFileError, load_policies, load_policy, mistakes_of, packaged_policy

GOOD = """
policy: small
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
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_small_policy(tmp_path: Path) -> None:
    policy = load_policy(write(tmp_path, GOOD))
    assert policy.label.startswith("small@1+")
    reaction = policy.react(FactKind("purchase_order", "submitted", "state", "draft", "to approve", None, None))
    assert [(rule.name, operations) for rule, operations in reaction.clocks] == [("approval", ("start",))]
    # Another content under the same version is another policy.
    changed = load_policy(write(tmp_path, GOOD.replace("2 business", "3 business")))
    assert changed.label.startswith("small@1+")
    assert changed.label != policy.label


@pytest.mark.parametrize(
    ("find", "put", "line", "says"),
    [
        ("target: 2 business days", "target: soon", 10, "no duration"),
        (
            "entity: purchase_order",
            "entitty: purchase_order",
            9,
            "unknown field `entitty`; the names here are cancel, ",
        ),
        ("calendar: office", "calendar: home", 6, "no calendar is named 'home'"),
        ("Europe/Brussels", "Europe/Nowhere", 5, "No time zone"),
        ("08:00-16:00", "16:00-08:00", 5, "end before they begin"),
        ("state: purchase}", "activity: bought}", 12, "no activity is named 'bought'"),
        ("{state: purchase}", "{}", 12, "match everything"),
        ('version: "1"', "version: [1]", 3, "Expected `str`, got `array`; write text, in quotes"),
        ("monday:", "moonday:", 5, "day of the week"),
    ],
)
def test_errors_say_where(tmp_path: Path, find: str, put: str, line: int, says: str) -> None:
    assert find in GOOD
    with pytest.raises(PolicyFileError) as error:
        load_policy(write(tmp_path, GOOD.replace(find, put)))
    assert f"policy.yaml:{line}:" in str(error.value)
    assert says in str(error.value)


WRONG = """
policy: wrong
version: 3
calendar: office
calendars:
  office:
    time_zone: Europe/Amsterdam
    week: {monday: ["09:00-17:00"], funday: ["09:00-17:00"]}
  abroad:
    time_zone: Europe/Nowhere
    week: {monday: ["09:00-17:00"]}
colour: red
company_calendars: {"2": abroad}
exceptions:
  overdue:
    owner: treasury
    severity: hgih
    next_action: Settle it.
    entities: [bill]
  no_such:
    owner: treasury
    severity: low
    next_action: Settle it.
    entities: [bill]
clocks:
  - name: one
    entity: bill
    target: two days
    start: [{activity: posted}]
    stop: [{activity: payd}]
  - entity: bill
    target: 2 days
    start: [{activity: posted}]
    stop: [{activity: paid}]
  - name: three
    entity: bill
    target: 2 days
    warnings: [150]
    start: [{activity: posted}]
    stop: [{activity: paid}]
duties: {bank_change_days: 0, lock_days: 0}
duplicates: {entry_window_days: long, forget_after_days: 3}
"""


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    found = mistakes_of(write(tmp_path, WRONG))
    assert [(mistake.line, mistake.path) for mistake in found] == [
        (3, "$.version"),
        (8, "$.calendars.office.week.funday"),
        (9, "$.calendars.abroad"),  # and not again where a company names it
        (12, "$.colour"),
        (17, "$.exceptions.overdue.severity"),
        (20, "$.exceptions.no_such"),
        (28, "$.clocks[0].target"),
        (30, "$.clocks[0].stop[0].activity"),
        (31, "$.clocks[1]"),
        (38, "$.clocks[2].warnings"),  # the third is the file's third, also when the second is left out
        (41, "$.duties.bank_change_days"),
        (41, "$.duties.lock_days"),
        (42, "$.duplicates.entry_window_days"),  # and not that 3 is too few for a window that is not known
    ]
    assert all(mistake.message for mistake in found)
    with pytest.raises(PolicyFileError) as first:
        load_policy(tmp_path / "policy.yaml")
    assert str(first.value) in map(str, found)


@pytest.mark.parametrize("text", ["", "[1, 2]", "policy: x", "a: [", "policy: {}\ncalendars: 3"])
def test_what_is_no_policy_has_at_least_one_mistake(tmp_path: Path, text: str) -> None:
    assert mistakes_of(write(tmp_path, text))
    assert mistakes_of(tmp_path / "nowhere.yaml")[0].line is None


def test_a_sound_policy_has_no_mistakes(tmp_path: Path) -> None:
    assert mistakes_of(write(tmp_path, GOOD)) == []


MAPPED = (
    GOOD
    + """closed:
  bill:
    - state: cancel
exceptions:
  overdue:
    owner: treasury
    severity: high
    next_action: Settle it.
    entities: [bill]
  blocked_payment:
    owner: treasury
    severity: low
    next_action: Ask.
    entities: [bill, payment]
    min_amount_of:
      bill: 500
"""
)


@pytest.mark.parametrize(
    ("find", "put", "path", "says"),
    [
        (
            "    owner: treasury\n    severity: high",
            "    owner: 7\n    severity: high",
            "exceptions.overdue.owner",
            "str",
        ),
        (
            "    severity: low",
            "    severity: awful",
            "exceptions.blocked_payment.severity",
            "write one of critical, high, info, low, medium",
        ),
        ("    severity: low", "    severety: low", "exceptions.blocked_payment.severety", "unknown field"),
        ("      bill: 500", "      bill: much", "exceptions.blocked_payment.min_amount_of.bill", "decimal"),
        ("      bill: 500", "      7: 500", "exceptions.blocked_payment.min_amount_of.7", "str"),
        ("    - state: cancel", "    - state: 3", "closed.bill[0].state", "str"),
    ],
)
def test_errors_name_what_stands_in_a_mapping(tmp_path: Path, find: str, put: str, path: str, says: str) -> None:
    assert MAPPED.count(find) == 1
    with pytest.raises(PolicyFileError) as error:
        load_policy(write(tmp_path, MAPPED.replace(find, put)))
    line = MAPPED[: MAPPED.index(find)].count("\n") + 1
    assert str(error.value).startswith(f"{tmp_path / 'policy.yaml'}:{line}: $.{path}: ")
    assert says in str(error.value)


@pytest.mark.parametrize("text", ["policy: [", "", "just text", "- a\n- b"])
def test_what_is_no_policy(tmp_path: Path, text: str) -> None:
    with pytest.raises(PolicyFileError):
        load_policy(write(tmp_path, text))
    with pytest.raises(PolicyFileError, match="cannot be read"):
        load_policy(tmp_path / "absent.yaml")


def test_which_policy_a_source_goes_by() -> None:
    policies = load_policies()
    assert policies.of("odoo").name == "default"
    assert policies.of("travel").name == "travel_declarations"
    with pytest.raises(PolicyError):
        PolicySet([packaged_policy("travel_declarations")]).of("odoo")


def test_durations() -> None:
    calendar = packaged_policy("default").calendar_of(None)
    hour = 3_600_000_000
    assert parse_duration("48 hours").of(calendar) == 48 * hour
    assert parse_duration("2 business days").of(calendar) == 16 * hour
    assert parse_duration("1.5 business hours").of(calendar) == 1.5 * hour
    for text in ("", "2", "2 weeks", "-1 hours", "0 hours", "2 business"):
        with pytest.raises(PolicyError):
            parse_duration(text)


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("bad_weather", {}, "bad_weather"),
        ("reset_to_draft", {"grace": "2 days"}, "only what a document shows"),
        ("missing_order", {"grace": "soon"}, "no duration"),
        ("missing_order", {"min_amount_of": {"payment": 5}}, "not among its entities"),
    ],
)
def test_an_exception_that_cannot_be_is_refused(name: str, given: dict[str, Any], says: str) -> None:
    section = {"owner": "x", "severity": "low", "next_action": "y", "entities": ["bill"], **given}
    raw = {
        "policy": "p",
        "version": "1",
        "calendars": {"c": {"time_zone": "UTC", "week": {"monday": "08:00-09:00"}}},
        "calendar": "c",
        "exceptions": {name: section},
    }
    with pytest.raises(PolicyError, match=says):
        parse_policy(raw)


def test_public_holidays_come_from_the_countries_and_own_days_beside_them(tmp_path: Path) -> None:
    office = 'office: {time_zone: Europe/Brussels, week: {monday: "08:00-16:00"}'
    own = 'countries: [BE, DE-BY], holidays: [2026-06-08], other_days: {2026-04-06: "08:00-12:00"}'
    policy = load_policy(write(tmp_path, GOOD.replace(office, f"{office}, {own}")))
    calendar = policy.calendars["office"]

    def hours(day: str) -> float:
        start = instant(datetime.fromisoformat(f"{day}T00:00+02:00"))
        return calendar.working(start, start + DAY) / HOUR

    assert hours("2026-05-25") == 0, "Whit Monday in both"
    assert hours("2026-06-08") == 0, "an own day"
    assert hours("2026-04-06") == 4, "Easter Monday, on which half a day is worked"
    assert hours("2026-06-15") == 8
    # The days themselves are part of what is published: another version of the library changes nothing there.
    assert b'"2026-06-04"' in policy.content, "Corpus Christi, in Bavaria"
    again = parse_content(policy.content)
    assert again.calendars["office"].working(366 * DAY, 2**50) == calendar.working(366 * DAY, 2**50)


@pytest.mark.parametrize("code", ["XX", "DE-XX", "be"])
def test_a_country_that_is_not_known(tmp_path: Path, code: str) -> None:
    text = GOOD.replace('"08:00-16:00"}}', f'"08:00-16:00"}}, countries: [NL, {code}]}}')
    with pytest.raises(PolicyFileError, match=r"policy.yaml:5: .*examples: BE"):
        load_policy(write(tmp_path, text))
