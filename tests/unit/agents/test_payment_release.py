"""The release of a payment as an approval: a step by default, a finding where the policy gives it a time."""

from __future__ import annotations

import msgspec

from finwatch.domain.policy import PolicySet
from finwatch.runtime.topics import FINDING, STEP
from tests.unit.agents.test_policy_changes import changed
from tests.unit.agents.world import POLICIES, at, documents, latest, moved, payment

ENTERED, MUCH_LATER = "2026-03-02 09:00", "2026-03-06 09:00"
# As docs/policies.md shows it.
TIMED = {"stuck_after": "1 business days"}


def with_a_time() -> PolicySet:
    raw = msgspec.to_builtins(POLICIES.versions[0].policy.document, str_keys=True)["approvals"]
    assert [a["stuck_after"] for a in raw if a["step"] == "payment_release"] == [None]
    return PolicySet([changed(approvals=[{**a, **TIMED} if a["step"] == "payment_release" else a for a in raw])])


def test_a_release_is_a_step_with_who_was_asked_and_who_decided() -> None:
    replay = documents("payment")
    replay.feed([payment("1", ENTERED)])
    (waiting,) = latest(replay.outputs(STEP), "step_id").values()
    assert (waiting.step, waiting.role, waiting.decided_at) == ("payment_release", "treasury", None)
    replay.feed([moved("payment", "1", "2026-03-03 09:00", "posted", "draft", "in_process", actor="8")])
    (released,) = latest(replay.outputs(STEP), "step_id").values()
    assert (released.decision, released.decided_by, released.wall_seconds) == ("approved", "8", 86_400)


def test_without_a_time_a_release_that_waits_is_no_finding() -> None:
    replay = documents("payment")
    replay.feed([payment("1", ENTERED)])
    replay.heartbeat("odoo", at(MUCH_LATER), "log")
    assert [f for f in replay.outputs(FINDING) if f.rule == "stuck_payment_release"] == []


def test_with_a_time_it_is_a_finding_until_it_is_released() -> None:
    replay = documents("payment", policies=with_a_time())
    replay.feed([payment("1", ENTERED)])
    replay.heartbeat("odoo", at(MUCH_LATER), "log")
    found = [f for f in latest(replay.outputs(FINDING), "finding_id").values() if f.rule == "stuck_payment_release"]
    assert [(f.status, f.title, f.owner) for f in found] == [("open", "Payment release is stuck", "treasury")]
    replay.feed([moved("payment", "1", "2026-03-06 10:00", "posted", "draft", "in_process", actor="8")])
    found = [f for f in latest(replay.outputs(FINDING), "finding_id").values() if f.rule == "stuck_payment_release"]
    assert [f.status for f in found] == ["resolved"]
