"""Who should decide, who stands in, and when that changes by itself."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finwatch.domain.calendar import DAY, HOUR
from finwatch.domain.policy import Policy, PolicyError, parse_policy
from finwatch.domain.policy.authority import DelegationSection, FallbackSection, compile_authority, compile_away
from finwatch.runtime.policies import packaged_policy
from tests.unit.agents.world import at

MATRIX = [
    {"role": "lead", "person": "1", "up_to": 1000},
    {"role": "lead", "person": "2", "above": 1000, "up_to": 9000, "document_types": ["rush"]},
    {"role": "head", "person": "3"},
]


def policy(delegations: Any = (), absences: Any = (), **approval: Any) -> Policy:
    raw = msgspec.to_builtins(packaged_policy("default").document, str_keys=True)
    raw["approvals"] = [{**raw["approvals"][0], "matrix": MATRIX, "bands": [1000, 9000], **approval}]
    return parse_policy({**raw, "delegations": list(delegations), "absences": list(absences)})


def rule(found: Policy) -> Any:
    return found.approvals["purchase_order"].authority


@pytest.mark.parametrize(
    ("amount", "kind", "person"),
    [
        (1000, None, "1"),
        (-5, None, "1"),
        (1001, None, "3"),
        (1001, "rush", "2"),
        (9001, "rush", "3"),
        (None, None, "3"),
    ],
)
def test_the_first_line_that_fits(amount: int | None, kind: str | None, person: str) -> None:
    line = rule(policy()).line(None if amount is None else Decimal(amount), kind)
    assert line.person == person


@pytest.mark.parametrize(
    ("amount", "band"),
    [(None, None), (0, "0-1000"), (999, "0-1000"), (1000, "1000-9000"), (-1000, "1000-9000"), (9000, ">9000")],
)
def test_bands(amount: int | None, band: str | None) -> None:
    assert rule(policy()).band(None if amount is None else Decimal(amount)) == band


def test_delegation_absence_and_fallback_take_their_turns() -> None:
    found = policy(
        [{"from": "3", "to": "4", "since": "2026-03-04", "until": "2026-03-05"}],
        [{"person": "4", "since": "2026-03-05", "until": "2026-03-09"}],
        fallback={"role": "director", "person": "9", "after": "5 business days"},
    )
    calendar, authority = found.calendar_of(None), rule(found)
    started = at("2026-03-02 09:00")
    seen = []
    now = started
    while now:
        one = authority.responsible("3", False, "head", started, now, calendar)
        seen.append((one.person, one.role, one.route))
        assert one.turn == 0 or one.turn > now
        now = one.turn
    assert seen[0] == ("3", "head", "matrix")
    assert ("4", "head", "delegation") in seen
    assert ("9", "director", "absence") in seen, "the stand-in is away too"
    assert seen[-1] == ("9", "director", "fallback")
    midnight = at("2026-03-03 23:00")
    assert authority.responsible("3", True, "head", started, midnight - 1, calendar).route == "source"
    assert authority.responsible("3", True, "head", started, midnight, calendar).person == "4"


def test_a_circle_of_delegations_ends() -> None:
    days = {"since": "2026-03-01", "until": "2026-03-31"}
    found = policy([{"from": "3", "to": "4", **days}, {"from": "4", "to": "3", **days}])
    assert rule(found).responsible("3", True, None, 0, at("2026-03-10 00:00"), found.calendar_of(None)).person == "3"


OFFICE = packaged_policy("default").calendar_of(None)
SPANS = st.tuples(st.integers(1, 28), st.integers(0, 9)).map(
    lambda s: {"since": f"2026-02-{s[0]:02}", "until": f"2026-03-{s[1] + 1:02}"}
)
DELEGATIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("345"), st.sampled_from("6789"), SPANS).map(
            lambda t: {"from": t[0], "to": t[1], **t[2]}
        ),
        st.tuples(st.sampled_from("rst"), st.sampled_from("347"), SPANS).map(
            lambda t: {"from_role": t[0], "to": t[1], **t[2]}
        ),
        st.tuples(st.sampled_from("3r"), st.sampled_from("st"), SPANS).map(
            lambda t: {"from" if t[0] == "3" else "from_role": t[0], "to_role": t[1], **t[2]}
        ),
    ),
    max_size=5,
)


@given(DELEGATIONS, st.lists(st.integers(0, 45 * 24), min_size=1, max_size=20))
def test_nothing_changes_between_two_turns(delegations: list[dict[str, str]], hours: list[int]) -> None:
    away = compile_away(msgspec.convert(delegations, list[DelegationSection]), [], OFFICE)
    authority = compile_authority([], FallbackSection("d", "9", "8 business days"), [], away, "$")
    calendar, started = OFFICE, at("2026-02-02 09:00")
    for hour, person in product(hours, ("3", None)):
        now = started + hour * HOUR
        one = authority.responsible(person, True, "r", started, now, calendar)
        until = one.turn or now + 99 * DAY
        for moment in (now + (until - now) // 2, until - 1):
            then = authority.responsible(person, True, "r", started, moment, calendar)
            assert then[:3] == one[:3]


@pytest.mark.parametrize(
    ("delegations", "absences", "approval", "path"),
    [
        ([{"from": "1", "to": "1", "since": "2026-01-01", "until": "2026-01-02"}], [], {}, "$.delegations[0].to"),
        ([{"from": "1", "to": "2", "since": "2026-01-03", "until": "2026-01-02"}], [], {}, "$.delegations[0].until"),
        ([{"to": "2", "since": "2026-01-03", "until": "2026-01-04"}], [], {}, "$.delegations[0]"),
        ([{"from": "1", "since": "2026-01-03", "until": "2026-01-04"}], [], {}, "$.delegations[0]"),
        (
            [{"from_role": "a", "to_role": "a", "since": "2026-01-03", "until": "2026-01-04"}],
            [],
            {},
            "$.delegations[0].to_role",
        ),
        ([], [{"person": "1", "since": "2026-01-03", "until": "2026-01-02"}], {}, "$.absences[0].until"),
        ([], [], {"bands": [5, 5]}, "$.approvals[0].bands"),
        ([], [], {"matrix": [{"role": "x", "above": 5, "up_to": 5}]}, "$.approvals[0].matrix[0].up_to"),
        ([], [], {"fallback": {"role": "x", "after": "soon"}}, "$.approvals[0].fallback.after"),
    ],
)
def test_what_is_refused(delegations: Any, absences: Any, approval: Any, path: str) -> None:
    with pytest.raises(PolicyError) as error:
        policy(delegations, absences, **approval)
    assert error.value.path == path


def test_a_role_is_handed_over_where_nobody_is_asked_in_person() -> None:
    days = {"since": "2026-03-04", "until": "2026-03-05"}
    found = policy(
        [
            {"from_role": "head", "to_role": "deputy", **days},
            {"from_role": "deputy", "to": "8", **days},
            {"from": "8", "to": "9", "since": "2026-03-05", "until": "2026-03-05"},
        ]
    )
    authority, calendar, started = rule(found), found.calendar_of(None), at("2026-03-02 09:00")
    seen = []
    now = started
    while now:
        one = authority.responsible(None, False, "head", started, now, calendar)
        seen.append((one.person, one.role, one.route))
        now = one.turn
    assert seen == [
        (None, "head", None),
        ("8", "deputy", "delegation"),
        ("9", "deputy", "delegation"),
        (None, "head", None),
    ]
    # Whom somebody named is asked in person, whatever becomes of the role.
    assert authority.responsible("3", True, "head", started, at("2026-03-04 12:00"), calendar)[:2] == ("3", "head")


def test_an_owner_has_a_stand_in_and_an_absent_one_leaves_it_to_the_next() -> None:
    days = {"since": "2026-03-04", "until": "2026-03-05"}
    found = policy(
        [{"from_role": "head", "to": "8", **days}, {"from": "8", "to_role": "board", **days}],
        [{"person": "5", **days}],
    )
    before, within = at("2026-03-03 12:00"), at("2026-03-04 12:00")
    assert found.owner(["head", "cfo"], before) == "head"
    assert found.owner(["head", "cfo"], within) == "board"
    assert found.owner(["5", "cfo"], before) == "5"
    assert found.owner(["5", "cfo"], within) == "cfo"
    assert found.owner(["5"], within) == "5", "nobody else is named"
