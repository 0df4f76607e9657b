"""Tier reviews and approval requests of a simulated Odoo, captured, on the wire and through the documents stage.

Every review is a step of the document it is about: who was asked and since when, who decided, and what became of those
that nobody waits for any more. In memory: no broker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from finwatch.domain.events import Event
from finwatch.domain.records import ExceptionRecord, Finding, Step
from finwatch.runtime.clock import ManualClock
from finwatch.runtime.policies import load_policies
from finwatch.runtime.topics import EXCEPTION, FINDING, STEP
from finwatch.sim import Company, SimulatedOdoo
from finwatch.sim.actions import Line, create_order
from finwatch.sim.approval_apps import (
    Tier,
    answer_request,
    create_request,
    decide_tier,
    install,
    request_tiers,
    restart_tiers,
    submit_request,
)
from producers.odoo import Capture, CaptureSettings
from producers.odoo.records import RecordEncoder
from producers.odoo.transport import OdooRpcTransport
from schemas.decode import Bad, Decoder
from schemas.registry import EmbeddedRegistry
from streams.agents.registry import documents_stage
from streams.agents.replay import Replay
from streams.partition import HEARTBEAT, Heartbeat

START = datetime(2026, 10, 5, 8, tzinfo=UTC)  # a Monday
MODELS = ("purchase.order", "account.move", "tier.review", "approval.request")


class World:
    """A company with both apps, its capture, and the documents stage over what was captured, topic by topic."""

    def __init__(self) -> None:
        self.company = Company(seed=3, start=START, weeks=1, scale=0.01, warm_up=timedelta(0))
        self.db = self.company.db
        install(self.db)
        self.clock = ManualClock(START)
        self.db.clock = self.clock.now
        self.values: dict[str, list[bytes]] = defaultdict(list)
        self.odoo = SimulatedOdoo(self.db)
        self.odoo.start()
        self.capture = self.connected()

    def connected(self) -> Capture:
        """A capture with nothing in its memory."""
        return Capture(
            OdooRpcTransport(self.odoo.url, self.db.name, "svc_cdc", "svc_cdc"),
            self,
            self.clock,
            CaptureSettings(
                source="erp", database=self.db.name, account_key=b"k" * 32, timeline="log", partitions=1, models=MODELS
            ),
            encode=RecordEncoder(EmbeddedRegistry()),
        )

    def publish(self, topic: str, key: str, value: bytes | None, partition: int | None = None) -> None:
        """Keep what is published."""
        assert value is not None
        self.values[topic].append(value)

    def flush(self) -> None:
        """Nothing waits."""

    def after(self, **time: float) -> None:
        """Let time pass."""
        self.clock.set(self.clock.now() + timedelta(**time))

    def judged(self) -> Judged:
        """What the documents stage says of all that was published."""
        stage, decoder, found = documents_stage(load_policies()), Decoder(EmbeddedRegistry()), Judged()
        for topic in stage.topics:
            replay = Replay(stage, topic)
            for event in decoder.decode(self.values[topic], {**stage.projections, HEARTBEAT: Heartbeat}):
                assert not isinstance(event, Bad)
                if isinstance(event, Heartbeat):
                    replay.heartbeat(event.source, event.at, event.timeline)
                elif isinstance(event, Event):
                    replay.feed([event])
            found.take(replay)
        return found


class Judged:
    """The latest version of each step, finding and exception; retracted steps are left out."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self.findings: dict[str, Finding] = {}
        self.exceptions: dict[str, ExceptionRecord] = {}

    def take(self, replay: Replay) -> None:
        """Add what one topic gave."""
        for topic, field, into in (
            (STEP, "step_id", self.steps),
            (FINDING, "finding_id", self.findings),
            (EXCEPTION, "exception_id", self.exceptions),
        ):
            for one in replay.outputs(topic):
                into[getattr(one, field)] = one  # type: ignore[index]

    def reviews(self, document: str) -> list[Step]:
        """The steps of a document's reviews, in order of their reviews."""
        steps = [s for s in self.steps.values() if s.document_key == document and s.review and not s.retracted]
        return sorted(steps, key=lambda step: (step.review or "", step.started_at))


@pytest.fixture
def world() -> Iterator[World]:
    one = World()
    yield one
    one.odoo.stop()


def told(step: Step) -> tuple[Any, ...]:
    """Who was asked, who is responsible, who decided what."""
    return step.step, step.asked_first, step.person, step.role, step.decided_by, step.decision


def test_tiers_are_steps_of_the_document_side_by_side(world: World) -> None:
    one, other, third = (str(person.uid) for person in world.company.staff.employees[:3])
    buyer = world.company.staff.buyers[0].uid
    with world.db.begin(uid=buyer) as tx:
        order = create_order(tx, world.company.vendors[0].partner, [Line(None, "Goods", 10.0, 500.0)], "2026-10-20")
        tiers = [Tier("Head", [int(one)]), Tier("Board", [int(other), int(third)], group=2)]
        reviews = request_tiers(tx, "purchase.order", order, tiers)
    world.capture.snapshot()
    world.capture.poll()
    key = f"erp:purchase_order:{order}"
    asked = world.judged().reviews(key)
    assert [told(step) for step in asked] == [
        ("tier_review", one, one, "reviewer", None, None),
        ("tier_review", None, None, "group_2", None, None),
    ]
    assert [step.review for step in asked] == [f"tier_review:{review}" for review in reviews]
    assert {step.amount_band for step in asked} == {"1000-10000"}
    # Another one decides than was asked, two days later; the second is still open, and stuck a week after.
    world.after(days=2)
    with world.db.begin(uid=int(third)) as tx:
        decide_tier(tx, reviews[0], approve=True)
    world.capture.poll()
    world.after(days=6)
    world.capture.poll()
    found = world.judged()
    first, second = found.reviews(key)
    assert told(first) == ("tier_review", one, one, "reviewer", third, "approved")
    assert first.wall_seconds == pytest.approx(2 * 86_400, abs=1)
    assert second.decided_at is None
    stuck = [finding for finding in found.findings.values() if finding.rule == "stuck_tier_review"]
    assert [(finding.status, finding.document_keys) for finding in stuck] == [("open", [key])]
    # A rejection is an exception of the order; it is over when the review is asked for anew.
    with world.db.begin(uid=int(other)) as tx:
        decide_tier(tx, reviews[1], approve=False)
    world.capture.poll()
    assert [(e.type, e.status) for e in world.judged().exceptions.values()] == [("rejected_step", "open")]
    with world.db.begin(uid=buyer) as tx:
        restart_tiers(tx, "purchase.order", order)
        again = request_tiers(tx, "purchase.order", order, tiers[1:])
    world.after(minutes=5)
    world.capture.poll()
    world.capture.sweep()
    found = world.judged()
    assert [(e.type, e.status) for e in found.exceptions.values()] == [("rejected_step", "resolved")]
    assert [step.decision for step in found.reviews(key)] == ["approved", "rejected", None]
    assert found.reviews(key)[-1].review == f"tier_review:{again[0]}"


def test_a_tier_that_is_taken_back_waits_for_nobody(world: World) -> None:
    with world.db.begin(uid=world.company.staff.buyers[0].uid) as tx:
        order = create_order(tx, world.company.vendors[0].partner, [Line(None, "Goods", 1.0, 900.0)], "2026-10-20")
        manager = world.company.staff.managers[0].uid
        request_tiers(tx, "purchase.order", order, [Tier("Head", [manager])])
    world.capture.snapshot()
    world.after(hours=1)
    with world.db.begin() as tx:
        restart_tiers(tx, "purchase.order", order)
    world.capture.sweep()
    (step,) = world.judged().reviews(f"erp:purchase_order:{order}")
    assert (step.decision, step.decided_by) == ("withdrawn", None)


def test_tiers_in_turn_wait_one_after_the_other(world: World) -> None:
    people = [person.uid for person in world.company.staff.managers[:2]]
    with world.db.begin(uid=world.company.staff.buyers[0].uid) as tx:
        order = create_order(tx, world.company.vendors[0].partner, [Line(None, "Goods", 1.0, 900.0)], "2026-10-20")
        tiers = [Tier(str(person), [person], in_turn=True) for person in people]
        first, _ = request_tiers(tx, "purchase.order", order, tiers)
    world.capture.snapshot()
    key = f"erp:purchase_order:{order}"
    assert [step.person for step in world.judged().reviews(key)] == [str(people[0])]
    world.after(days=1)
    with world.db.begin(uid=people[0]) as tx:
        decide_tier(tx, first, approve=True)
    world.capture.poll()
    done, waits = world.judged().reviews(key)
    assert (done.decision, waits.decision, waits.person) == ("approved", None, str(people[1]))
    assert waits.started_at == done.decided_at  # not since the request


def test_every_approver_of_a_request_is_a_step(world: World) -> None:
    people = [person.uid for person in world.company.staff.employees[:3]]
    with world.db.begin(uid=world.company.staff.employees[0].uid) as tx:
        request, rows = create_request(tx, "Laptop", 1200.0, people)
    world.capture.snapshot()
    key = f"erp:approval_request:{request}"
    assert world.judged().reviews(key) == []  # nobody is asked yet
    world.after(hours=1)
    with world.db.begin(uid=world.company.staff.employees[0].uid) as tx:
        submit_request(tx, request)
    world.capture.poll()
    assert [(s.person, s.role, s.amount_band) for s in world.judged().reviews(key)] == [
        (str(person), "approver", "1000-10000") for person in people
    ]
    world.after(days=1)
    with world.db.begin(uid=people[0]) as tx:
        answer_request(tx, rows[0], approve=True)
    world.after(minutes=30)
    world.capture.poll()
    with world.db.begin(uid=people[1]) as tx:
        answer_request(tx, rows[1], approve=False)
    world.capture.poll()
    steps = world.judged().reviews(key)
    assert [(s.decided_by, s.decision) for s in steps] == [
        (str(people[0]), "approved"),
        (str(people[1]), "rejected"),
        (None, "cancelled"),  # it was refused: the third is asked no more
    ]
    assert steps[0].wall_seconds == pytest.approx(86_400, abs=1)


def test_a_capture_without_memory_tells_the_same(world: World) -> None:
    people = [person.uid for person in world.company.staff.managers[:2]]
    with world.db.begin(uid=people[1]) as tx:
        order = create_order(tx, world.company.vendors[0].partner, [Line(None, "Goods", 1.0, 900.0)], "2026-10-20")
        reviews = request_tiers(tx, "purchase.order", order, [Tier("A", people[:1]), Tier("B", people[1:])])
    world.capture.snapshot()
    world.after(hours=3)
    with world.db.begin(uid=people[0]) as tx:
        decide_tier(tx, reviews[0], approve=True)
    world.capture.poll()
    key = f"erp:purchase_order:{order}"
    before = [told(step) for step in world.judged().reviews(key)]
    second = world.connected()
    second.snapshot()
    second.poll()
    assert [told(step) for step in world.judged().reviews(key)] == before
    world.values.clear()
    world.connected().snapshot()
    assert [told(step) for step in world.judged().reviews(key)] == before
