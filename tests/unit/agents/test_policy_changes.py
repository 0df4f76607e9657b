"""A policy that changes while documents are under way: what is open is planned anew, what is closed stays, and a
replay, another worker, a restart and another number of partitions come to the same."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from finwatch.domain.calendar import DAY, MINUTE, SECOND
from finwatch.domain.events import Event, PolicyChange, RelationFact
from finwatch.domain.policy import Policy, parse_policy
from finwatch.domain.policy.change import change_record
from finwatch.domain.records import Clock, Finding
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.policies import packaged_policy
from finwatch.runtime.topics import CLOCK, EXCEPTION, FINDING, RELATION
from streams.agents.policies import VERSIONS_ROW, Succession, Versions
from streams.agents.registry import documents_stage, relations_stage
from streams.agents.replanning import PAUSE, SLICE, Replanning
from streams.agents.replay import Replay
from streams.partition import Processor
from streams.shell import code_of
from streams.stage import InvalidEvent, UnknownPolicy
from tests.unit.agents.test_documents_properties import COMMON, END, fired, interleavings, said
from tests.unit.agents.test_duties import own_order, told
from tests.unit.agents.world import POLICIES, at, bill, documents, latest, moved, order, reviewed

BASE = packaged_policy("default")


def changed(**sections: Any) -> Policy:
    """The default policy with other sections; clocks by name, as ``clocks={"bill_validation": {...}}``."""
    raw = msgspec.to_builtins(BASE.document, str_keys=True)
    for name, given_ in sections.items():
        if name == "clocks":
            raw["clocks"] = [
                {**c, **given_.get(c["name"], {})} for c in raw["clocks"] if given_.get(c["name"], {}) != "off"
            ]
        elif isinstance(given_, dict):
            raw[name] = {**raw[name], **given_}
        else:
            raw[name] = given_
    raw["version"] = "next"
    return parse_policy(raw)


def marker(policy: Policy, published: str | int, effective: str | int | None = None) -> PolicyChange:
    """The change as a stage reads it."""
    when = at(published) if isinstance(published, str) else published
    start = at(effective) if isinstance(effective, str) else effective
    record = msgspec.to_builtins(change_record(policy, when, BASE, start))
    return msgspec.convert(record, PolicyChange)


def clock_of(replay: Replay, policy: str) -> Clock:
    found = [c for c in latest(replay.outputs(CLOCK), "clock_id").values() if c.policy == policy]
    assert len(found) == 1
    one: Clock = found[0]
    return one


def levels(replay: Replay, rule: str) -> dict[tuple[str | None, int | None], str]:
    found = latest(replay.outputs(FINDING), "finding_id").values()
    return {(f.level, f.due_at): f.status for f in found if f.rule == rule}


def test_a_shorter_target_is_overdue_at_once_and_says_so() -> None:
    replay = documents()
    replay.feed([bill("1", "2026-03-02 09:00")])  # a Monday; due on Thursday
    before = clock_of(replay, "bill_validation")
    shorter = changed(clocks={"bill_validation": {"target": "1 business days"}})
    replay.feed([marker(shorter, "2026-03-04 10:00")])
    assert clock_of(replay, "bill_validation") == before, "not before its time"
    replay.heartbeat("odoo", at("2026-03-04 10:01"), "log")
    after = clock_of(replay, "bill_validation")
    assert (after.status, after.due_at) == ("breached", at("2026-03-03 08:30") + 30 * MINUTE * 1)
    assert after.policy_version == shorter.label
    assert after.replanned_at == at("2026-03-04 10:00")
    breach = [f for f in replay.outputs(FINDING) if isinstance(f, Finding) and f.level == "breach"]
    assert [f.opened_at for f in breach] == [at("2026-03-04 10:00")], "nobody could know before"


@pytest.mark.parametrize(("late", "status"), [(-SECOND, "met"), (0, "breached")])
def test_the_due_instant_is_the_first_that_is_too_late(late: int, status: str) -> None:
    """As the end of a due date is the midnight after it, and a payment of the next day is not in time."""
    replay = documents()
    replay.feed([bill("1", "2026-03-02 09:00")])
    due = clock_of(replay, "bill_validation").due_at
    assert due is not None
    replay.feed([moved("bill", "1", due + late, "posted", "draft", "posted")])
    assert clock_of(replay, "bill_validation").status == status


def test_a_longer_target_takes_a_breach_back_into_the_future() -> None:
    replay = documents()
    replay.feed([bill("1", "2026-03-02 09:00")])
    replay.heartbeat("odoo", at("2026-03-05 12:00"), "log")
    assert clock_of(replay, "bill_validation").status == "breached"
    due = clock_of(replay, "bill_validation").due_at
    longer = changed(clocks={"bill_validation": {"target": "5 business days"}})
    replay.feed([marker(longer, "2026-03-05 13:00")])
    replay.heartbeat("odoo", at("2026-03-05 14:00"), "log")
    clock = clock_of(replay, "bill_validation")
    assert clock.status == "running"
    assert clock.due_at == at("2026-03-09 09:00")
    assert levels(replay, "bill_validation")["breach", due] == "resolved"
    # And back again: the old breach stands again, under the identity it had.
    replay.feed([marker(BASE, "2026-03-05 15:00")])
    replay.heartbeat("odoo", at("2026-03-05 16:00"), "log")
    assert clock_of(replay, "bill_validation").status == "breached"
    assert levels(replay, "bill_validation")["breach", due] == "open"
    replay.heartbeat("odoo", END, "log")
    opened = [
        (f.level, f.due_at)
        for f in replay.outputs(FINDING)
        if isinstance(f, Finding) and f.status == "open" and f.version == 1
    ]
    assert len(opened) == len(set(opened))


def test_what_has_stopped_stays_also_when_its_history_is_told_late() -> None:
    replay = documents()
    replay.feed(
        [
            bill("1", "2026-03-02 09:00"),
            moved("bill", "1", "2026-03-03 09:00", "posted", "draft", "posted"),
            marker(changed(clocks={"bill_validation": {"target": "1 business hours"}}), "2026-03-04 10:00"),
        ]
    )
    replay.heartbeat("odoo", at("2026-03-04 11:00"), "log")
    stopped = clock_of(replay, "bill_validation")
    assert (stopped.status, stopped.policy_version) == ("met", BASE.label)
    # Told late, and it is posted half a day earlier: still by the policy of its time, which allowed three days.
    replay.feed([moved("bill", "1", "2026-03-02 15:00", "posted", "draft", "posted", observed_at="2026-03-04 12:00")])
    corrected = clock_of(replay, "bill_validation")
    assert (corrected.status, corrected.stopped_at) == ("met", at("2026-03-02 15:00"))


def test_an_escalation_goes_to_whoever_stands_in_when_it_fires() -> None:
    days = {"since": "2026-03-05", "until": "2026-03-05"}
    escalations = [{"after": "1 hours", "owner": "controller"}, {"after": "3 days", "owner": "controller"}]
    policy = changed(
        clocks={"bill_validation": {"owner": "7", "target": "3 business days", "escalations": escalations}},
        delegations=[{"from_role": "controller", "to": "12", **days}],
        absences=[{"person": "7", **days}],
    )
    replay = Replay(documents_stage(type(POLICIES)([policy])), "finance.bill.v1")
    replay.feed([bill("1", "2026-03-02 09:00")])
    replay.heartbeat("odoo", at("2026-03-12 12:00"), "log")
    found = {f.level: f.owner for f in latest(replay.outputs(FINDING), "finding_id").values()}
    assert found["breach"] == "12", "its owner is away, so it is the next level's, whose role is handed over"
    assert (found["escalation_1"], found["escalation_2"]) == ("12", "controller")


def test_a_clock_that_is_taken_out_ends() -> None:
    replay = documents()
    replay.feed([bill("1", "2026-03-02 09:00")])
    replay.heartbeat("odoo", at("2026-03-05 12:00"), "log")
    without = changed(clocks={"bill_validation": "off"})
    replay.feed([marker(without, "2026-03-05 13:00")])
    replay.heartbeat("odoo", at("2026-03-05 14:00"), "log")
    clock = clock_of(replay, "bill_validation")
    assert clock.stopped_at == at("2026-03-05 13:00")
    assert set(levels(replay, "bill_validation").values()) == {"resolved"}
    said_before = len(replay.view.outputs)
    replay.feed([bill("2", "2026-03-06 09:00")])
    replay.heartbeat("odoo", END, "log")
    assert not [o for o in replay.view.outputs[said_before:] if getattr(o.record, "policy", "") == "bill_validation"]


def test_a_holiday_that_was_forgotten_moves_what_is_open() -> None:
    replay = documents()
    replay.feed([bill("1", "2026-03-02 09:00")])
    raw = msgspec.to_builtins(BASE.document, str_keys=True)["calendars"]["office"]
    holiday = changed(calendars={"office": {**raw, "holidays": [*raw["holidays"], "2026-03-03"]}})
    due = clock_of(replay, "bill_validation").due_at
    assert due is not None
    replay.feed([marker(holiday, "2026-03-04 10:00")])
    replay.heartbeat("odoo", at("2026-03-04 10:01"), "log")
    assert clock_of(replay, "bill_validation").due_at == due + DAY


def test_the_due_date_of_a_step_is_planned_anew() -> None:
    replay = documents("purchase_order")
    replay.feed([order("1", "2026-03-02 09:00", state="to approve", amount_total=None)])
    raw = msgspec.to_builtins(BASE.document, str_keys=True)["approvals"]
    quick = changed(approvals=[{**a, "stuck_after": "1 business days"} for a in raw])
    replay.feed([marker(quick, "2026-03-04 10:00")])
    replay.heartbeat("odoo", at("2026-03-04 10:01"), "log")
    stuck = levels(replay, "stuck_order_approval")
    assert list(stuck.values()) == ["open"]
    replay.feed([marker(BASE, "2026-03-04 12:00")])
    replay.heartbeat("odoo", at("2026-03-04 12:01"), "log")
    assert list(levels(replay, "stuck_order_approval").values()) == ["resolved"]


def test_an_exception_that_is_no_longer_looked_for_is_resolved() -> None:
    replay = documents()
    replay.feed([bill("1", "2026-03-02 09:00", state="posted", reference="")])
    raw = msgspec.to_builtins(BASE.document, str_keys=True)
    del raw["exceptions"]["missing_reference"]
    replay.feed([marker(parse_policy(raw), "2026-03-04 10:00")])
    replay.heartbeat("odoo", at("2026-03-04 10:01"), "log")
    found = [e for e in latest(replay.outputs(EXCEPTION), "exception_id").values() if e.type == "missing_reference"]
    assert [(e.status, e.resolved_at) for e in found] == [("resolved", at("2026-03-04 10:00"))]


def test_a_worker_with_another_file_goes_by_what_the_partition_knows() -> None:
    """A file that is edited between two starts changes nothing: a change comes by the input, or not at all."""
    replay = documents()
    replay.feed([bill("1", "2026-03-02 09:00")])
    replay.view.restart()
    replay.stage = documents_stage(
        type(POLICIES)([changed(clocks={"bill_validation": {"target": "1 business hours"}})])
    )
    replay.feed([bill("2", "2026-03-02 09:00")])
    assert {c.policy_version for c in replay.outputs(CLOCK) if isinstance(c, Clock)} == {BASE.label}


def test_a_repeated_change_and_one_that_is_no_policy() -> None:
    replay = documents()
    change = marker(changed(clocks={"bill_validation": {"target": "1 business days"}}), "2026-03-04 10:00")
    replay.feed([bill("1", "2026-03-02 09:00"), change])
    rows = sorted(replay.view.rows.keys())
    assert replay.stage.apply(replay.view, change, 9) is False
    assert sorted(replay.view.rows.keys()) == rows


VARIANTS = [
    changed(clocks={"bill_validation": {"target": "4 business hours"}, "expense_approval": {"target": "6 hours"}}),
    changed(clocks={"bill_validation": {"target": "9 business days", "warnings": [50]}, "vendor_payment": "off"}),
    changed(clocks={"bill_validation": "off", "expense_approval": {"target": "12 business days"}}),
    BASE,
]


@st.composite
def with_changes(
    draw: st.DrawFn, offsets: tuple[int, ...] = (-3 * DAY, 0, SECOND, 4 * DAY)
) -> tuple[list[Event | PolicyChange], list[int]]:
    """A world in order of time in which the policy changes now and then, and where the changes stand."""
    ordered, _ = draw(interleavings())
    stream: list[Event | PolicyChange] = list(ordered)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(stream)))
        when = _seen(stream[place - 1]) if place else at("2026-03-02 08:00")  # a change follows what stands before it
        offset = draw(st.sampled_from(offsets))
        stream.insert(place, marker(draw(st.sampled_from(VARIANTS)), when + 1, when + offset))
    return stream, draw(st.lists(st.integers(0, 40), max_size=4))


def run(
    stream: list[Event | PolicyChange],
    crashes: list[int] | None = None,
    keep: str | None = None,
    timeline: str = "log",
) -> Replay:
    replay = documents()
    if timeline != "log":
        stream = [e if isinstance(e, PolicyChange) else msgspec.structs.replace(e, timeline=timeline) for e in stream]
    for i, event in enumerate(stream):
        if crashes and i in crashes:
            replay.view.restart()
            replay.stage = documents_stage(POLICIES)
        if keep is None or isinstance(event, PolicyChange) or event.document_key == keep:
            replay.feed([event])
    replay.heartbeat("odoo", END, timeline)
    return replay


@settings(COMMON, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], max_examples=15)
@given(with_changes())
def test_a_replay_and_a_restarted_worker_say_the_same(case: tuple[list[Event | PolicyChange], list[int]]) -> None:
    stream, crashes = case
    live, again = run(stream), run(stream, crashes)
    assert live.view.outputs == again.view.outputs


SIDE_BY_SIDE: list[Event | PolicyChange] = [
    reviewed("expense_report", "706", "2026-03-15 01:56", "submitted", "tier_review:1"),
    reviewed("expense_report", "706", "2026-03-15 03:50", "submitted", "tier_review:2"),
]


@settings(COMMON, max_examples=10)
@given(with_changes())
@example((SIDE_BY_SIDE, []))
def test_each_level_fires_once_whatever_the_policies(case: tuple[list[Event | PolicyChange], list[int]]) -> None:
    replay = run(case[0])
    assert all(count == 1 for count in fired(replay).values())
    latest(replay.outputs(FINDING), "finding_id")
    latest(replay.outputs(CLOCK), "clock_id")


@settings(COMMON, max_examples=10)
@given(with_changes((0, SECOND, 4 * DAY)))
def test_partitions_change_nothing_whatever_the_policies(case: tuple[list[Event | PolicyChange], list[int]]) -> None:
    stream, _ = case
    parts: dict[str, dict[str, Any]] = {}
    for key in {event.document_key for event in stream if isinstance(event, Event)}:
        for kind, found in said(run(stream, keep=key)).items():
            parts.setdefault(kind, {}).update(found)
    assert parts == said(run(stream))


def test_live_time_and_replay_switch_at_the_same_place() -> None:
    """The wall clock moves a live source between its events; a replay has only the events. Same outputs, in order."""
    change = marker(changed(clocks={"bill_validation": {"target": "1 business days"}}), "2026-03-04 10:00:00.500")
    wall, after = {"timeline": "wall"}, "2026-03-04 10:00:02"
    stream: list[Event | PolicyChange] = [
        bill("1", "2026-03-02 09:00", **wall),
        bill("2", "2026-03-04 09:59:59", **wall),
        change,
        bill("3", "2026-03-04 10:00:01", **wall),
        moved("bill", "2", "2026-03-04 10:00:00.200", "posted", "draft", "posted", observed_at=after, **wall),
        bill("4", "2026-03-09 12:00", **wall),
    ]
    outputs = []
    for live in (False, True):
        replay = documents(lateness=SECOND)
        for event in stream:
            replay.feed([event])
            if live:
                moment = event.published_at if isinstance(event, PolicyChange) else event.observed_at
                for ahead in range(0, 1400, 100):  # the ticks after it, until just before the next record is read
                    later = [e for e in stream if _seen(e) > moment]
                    if not later or moment + ahead * 1000 - SECOND < _seen(later[0]) - SECOND // 2:
                        replay.view.rows.timeline.follow(moment + ahead * 1000, replay._fire)
        replay.view.rows.timeline.follow(at("2026-04-01 00:00"), replay._fire)
        outputs.append(replay.view.outputs)
    assert outputs[0] == outputs[1]
    assert any(getattr(o.record, "policy_version", "").startswith("default@next") for o in outputs[0])


def _seen(event: Event | PolicyChange) -> int:
    return event.published_at if isinstance(event, PolicyChange) else event.observed_at


def test_the_shell_moves_every_live_source_before_a_change() -> None:
    """What the shell does with the record is what these tests assume of it."""
    assert Processor(documents_stage(POLICIES))._kinds[PolicyChange] == 7


@settings(COMMON, suppress_health_check=list(HealthCheck), max_examples=12)
@given(with_changes())
def test_slices_change_nothing_and_a_restarted_worker_goes_on_with_them(
    case: tuple[list[Event | PolicyChange], list[int]],
) -> None:
    """A live source's documents are planned anew one at a time here: other moments, the same in the end."""
    stream, crashes = case
    at_once = said(run(stream, timeline="wall"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("streams.agents.documents.SLICE", 1)
        live, again = run(stream, timeline="wall"), run(stream, crashes, timeline="wall")
    assert said(live) == at_once
    assert live.view.outputs == again.view.outputs


def test_a_switch_over_many_documents_leaves_time_for_others() -> None:
    """What is left after the first slice has a timer in the source's time, and an event takes its document along."""
    replay = documents()
    count = 2 * SLICE + 10
    replay.feed(bill(f"{number:05}", "2026-03-02 09:00", timeline="wall") for number in range(count))
    replay.feed([marker(changed(clocks={"bill_validation": {"target": "4 business days"}}), "2026-03-03 10:00")])

    def planned() -> int:
        clocks = latest(replay.outputs(CLOCK), "clock_id").values()
        return sum(c.policy == "bill_validation" and c.replanned_at is not None for c in clocks)

    replay.heartbeat("odoo", at("2026-03-03 10:00"), "wall")
    assert planned() == SLICE
    replay.feed([bill(f"{count - 1:05}", "2026-03-03 10:00", timeline="wall", reference="R")])
    assert planned() == SLICE + 1
    replay.heartbeat("odoo", at("2026-03-03 10:00") + PAUSE, "wall")
    assert planned() == 2 * SLICE + 1
    replay.heartbeat("odoo", at("2026-03-03 10:00") + 2 * PAUSE, "wall")
    assert planned() == count
    assert replay.view.get("n:odoo", Replanning) is None
    found = [c for c in replay.outputs(CLOCK) if isinstance(c, Clock) and c.policy == "bill_validation"]
    assert {c.replanned_at for c in found} == {None, at("2026-03-03 10:00")}, "whichever slice it was in"


def of_another_version(edit: Any) -> PolicyChange:
    """A change as another version of finwatch publishes it, whose policies have other fields."""
    change = marker(changed(), "2026-03-04 10:00")
    raw = msgspec.json.decode(change.content)
    edit(raw)
    content = msgspec.json.encode(raw, order="sorted").decode()
    found = sha256(content.encode()).hexdigest()
    label = f"{change.policy}@next+{found[:8]}"
    return msgspec.structs.replace(change, content=content, content_hash=found, label=label)


def test_a_policy_of_a_newer_finwatch_stops_the_worker_before_anything_is_judged_without_it() -> None:
    replay = documents()
    replay.feed([bill("1", "2026-03-02 09:00")])
    outputs = len(replay.view.outputs)
    newer = of_another_version(lambda raw: raw["duties"].update(watched_twice=True))
    with pytest.raises(UnknownPolicy, match=r"another version of finwatch.*\$\.duties\.watched_twice") as stopped:
        replay.feed([newer])
    assert code_of(stopped.value) is ExitCode.CONFIG
    assert code_of(ValueError()) is ExitCode.SOFTWARE
    assert len(replay.view.outputs) == outputs
    replay.view.restart()
    with pytest.raises(UnknownPolicy):  # it is read again, and not taken for a repeat
        replay.feed([newer])


def test_a_worker_that_takes_over_rows_with_a_newer_policy_stops_too() -> None:
    replay = documents()
    replay.feed([bill("1", "2026-03-02 09:00"), marker(changed(), "2026-03-04 10:00")])
    replay.heartbeat("odoo", at("2026-03-04 10:01"), "log")
    versions = replay.view.get(VERSIONS_ROW, Versions)
    assert versions is not None
    newer = of_another_version(lambda raw: raw["duties"].update(watched_twice=True))
    versions.contents = dict.fromkeys(versions.contents, newer.content)
    replay.view.put(VERSIONS_ROW, versions)
    replay.stage = documents_stage(POLICIES)  # a worker that never read the change
    with pytest.raises(UnknownPolicy):
        replay.feed([bill("2", "2026-03-04 11:00")])


def test_a_damaged_change_is_nobodys_policy() -> None:
    """All workers leave it, whatever their version."""
    replay = documents()
    change = marker(changed(), "2026-03-04 10:00")
    for damaged in (change.content[:-1], change.content.replace("next", "text")):
        with pytest.raises(InvalidEvent, match="invalid_policy"):
            replay.feed([msgspec.structs.replace(change, content=damaged)])


def test_a_policy_of_an_older_finwatch_is_taken_under_the_name_it_was_published_with() -> None:
    """This version has a field more, with a default: the hash of what was published stays the policy's."""
    older = of_another_version(lambda raw: raw["duties"].pop("journal_min_amount"))
    replay = documents()
    replay.feed([bill("1", "2026-03-02 09:00"), older])
    replay.heartbeat("odoo", at("2026-03-04 10:01"), "log")
    replay.view.restart()
    replay.stage = documents_stage(POLICIES)  # a worker that takes over
    replay.feed([bill("2", "2026-03-05 09:00")])
    clocks = latest(replay.outputs(CLOCK), "clock_id").values()
    assert {c.policy_version for c in clocks if c.document_key.endswith(":2")} == {older.label}


def overrides(number: int) -> list[RelationFact]:
    """Facts of a person, user 5, who confirmed own orders on so many days from 2 March on."""
    facts, _ = told([event for n in range(number) for event in own_order(str(60 + n), f"2026-03-{2 + n:02d} 10:00")])
    return [fact for fact in facts if fact.relation == "person"]


def person(replay: Replay) -> list[tuple[str, int, str]]:
    """Every version of what is said of a person: status, version, and the policy it was made under."""
    said_ = [f for f in replay.outputs(FINDING) if isinstance(f, Finding)]
    assert {f.rule for f in said_} <= {"repeated_overrides"}
    return [(f.status, f.version, f.policy_version) for f in said_]


def test_what_was_said_of_a_group_stays_until_its_next_fact_which_is_judged_by_the_new_policy() -> None:
    """Only clocks and steps are planned anew; of both versions it shows by which policy each was made."""
    facts = overrides(5)
    replay = Replay(relations_stage(POLICIES), RELATION)
    replay.feed(facts[:3])
    strict, loose = changed(duties={"overrides": 2}), changed(duties={"overrides": 9})
    assert person(replay) == [("open", 1, BASE.label)]
    replay.feed([marker(loose, "2026-03-04 12:00")])
    replay.heartbeat("odoo", at("2026-03-04 13:00"), "log")
    assert person(replay) == [("open", 1, BASE.label)]
    replay.feed(facts[3:4])
    assert person(replay) == [("open", 1, BASE.label), ("retracted", 2, loose.label)]
    # And what was not said is said with the next fact.
    replay.feed([marker(strict, "2026-03-05 12:00"), facts[4]])
    assert person(replay)[2:] == [("open", 3, strict.label)]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)])
def test_a_fact_that_comes_late_does_not_bring_an_older_policy_back(order: tuple[int, ...]) -> None:
    facts = overrides(4)
    strict = changed(duties={"overrides": 4})
    replay = Replay(relations_stage(POLICIES), RELATION)
    replay.feed([facts[0], marker(strict, "2026-03-02 11:00", "2026-03-04 00:00")])
    for number in order:
        replay.feed([facts[number]])
    replay.view.restart()
    assert person(replay)[-1][0] == "open" and person(replay)[-1][2] == strict.label
    assert [version for _, version, _ in person(replay)] == list(range(1, len(person(replay)) + 1))


def test_a_policy_comes_into_force_in_the_relations_stage_with_the_time_of_the_source() -> None:
    facts = overrides(1)
    next_ = changed(duties={"overrides": 4})
    replay = Replay(relations_stage(POLICIES), RELATION)
    replay.feed([*facts, marker(next_, "2026-03-02 11:00", "2026-03-04 00:00")])
    row = replay.view.get("p:odoo", Succession)
    assert row is not None and (row.current, row.next_start) == (0, at("2026-03-04 00:00"))
    replay.heartbeat("odoo", at("2026-03-05 00:00"), "log")
    row = replay.view.get("p:odoo", Succession)
    assert row is not None and row.hashes[row.current] == next_.content_hash
