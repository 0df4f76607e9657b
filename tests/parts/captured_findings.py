"""What is found in the captured Odoo 17 and 18 rows, in memory: for its test, and for docs/captured-findings.md.

    python -m tests.parts.captured_findings [DATA_DIR]

writes the page again. Every rule that finds something needs an explanation here.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import msgspec

from finwatch.domain.events import Event, RelationFact
from finwatch.domain.policy import RELATED_TYPES, PolicySet
from finwatch.domain.records import ExceptionRecord, Finding, Relation
from finwatch.runtime.clock import ManualClock
from finwatch.runtime.policies import load_policies
from finwatch.runtime.topics import EXCEPTION, FINDING, RELATION
from finwatch.sim import SimulatedOdoo, actions, captured
from finwatch.sim.store import Database
from producers.odoo import Capture, CaptureSettings
from producers.odoo.records import RecordEncoder
from producers.odoo.transport import OdooRpcTransport
from schemas.decode import Bad, Decoder
from schemas.registry import EmbeddedRegistry
from streams.agents.registry import documents_stage, relations_stage
from streams.agents.replay import Replay

SERVERS = ("odoo17", "odoo18")
PAGE = Path(__file__).parents[2] / "docs" / "captured-findings.md"
LOOKED = datetime(2026, 11, 22, 4, tzinfo=UTC)
DAYS = 7
SECOND = 1_000_000

HAND, TRUE, TIME = "found by hand too", "true, by a rule nobody applies by hand", "comes with time"
EXPLAINED: Mapping[str, tuple[str, str]] = {
    "duplicates": (HAND, "Pairs of bills of one vendor with the same reference, or the same but for how it is typed."),
    "matching.price_above_order": (HAND, "A bill's line asks 140 where 125 was ordered: 12.0 % above."),
    "matching.over_billed": (HAND, "Three pieces more are billed than were ordered."),
    "matching.billed_before_receipt": (
        HAND,
        "Bills that wait for receipts: three pieces are billed and have not come. It opens two business days later.",
    ),
    "duties.bank_account_changed": (HAND, "The number of a vendor's account was changed, as the tracking log says."),
    "duties.bank_account_added": (
        HAND,
        "An account was archived and another one made for the same vendor within a minute: a change in two steps.",
    ),
    "exceptions.approval_by_creator": (
        TRUE,
        "Bills from 500 on that were posted by whoever had entered them: one accountant entered and posted nearly all "
        "of the seeded bills. Orders confirmed by their own buyer are under the 5,000 from which the default policy "
        "counts them, as Odoo's own rule confirms them in one step; with `min_amount_of: {purchase_order: 0}` they "
        "are found, each of them (the test does so).",
    ),
    "duties.repeated_overrides": (TRUE, "The same accountant, told once for the person."),
    "duties.conflicting_duties": (TRUE, "Bills that one person entered or posted and paid as well."),
    "duties.order_after_bill": (
        TRUE,
        "The seed wrote past dates on its bills, and made orders and bills on one day: each bill is dated before the "
        "day on which its order was made. On real books this is how an order made up afterwards looks.",
    ),
    "duties.split_orders": (
        TRUE,
        "Two orders of the one seeded buyer to one vendor on one day, both under 5,000, above it together.",
    ),
    "duties.journal_entry_by_one_hand": (
        TRUE,
        "The miscellaneous entries of the seed: one controller entered and posted each of them by hand. Entries of "
        "payments, bank lines and stock are none of them.",
    ),
    "exceptions.missing_order": (TRUE, "Bills from 1,000 on that name no order: half of the seed was made so."),
    "exceptions.missing_reference": (TRUE, "Posted bills without the vendor's reference."),
    "exceptions.reset_to_draft": (TRUE, "Bills that were set back to draft after posting, as the tracking log says."),
    "exceptions.cancelled_after_posting": (TRUE, "Bills that were posted and then cancelled."),
    "exceptions.overdue": (TIME, "Bills and invoices whose due date has passed."),
    "sla.vendor_payment": (TIME, "The same bills, as breaches of the service level."),
    "sla.customer_payment": (TIME, "The same invoices, with their escalations."),
    "sla.bill_validation": (TIME, "Drafts that nobody posts, once three business days have passed, and the warnings."),
    "sla.order_approval": (TIME, "Orders that wait for approval, and the escalation."),
    "sla.expense_approval": (TIME, "Expense reports that wait for a decision."),
    "sla.expense_payment": (TIME, "Expense reports that are approved and not reimbursed."),
    "approvals.stuck_bill_validation": (TIME, "The same drafts, five business days after they were entered."),
    "approvals.stuck_order_approval": (TIME, "The same orders, four business days after they were submitted."),
    "approvals.stuck_expense_approval": (TIME, "The same reports, four business days after they were submitted."),
}
"""By detector and rule: whether a person finds it in the rows by hand, and what it is."""


@dataclass(frozen=True)
class Found:
    """A server's rows, and the last version of what was said of them."""

    db: Database
    findings: list[Finding]
    exceptions: list[ExceptionRecord]

    def counts(self) -> Counter[str]:
        """How many documents or findings a rule names, by detector and rule; what was taken back is not counted."""
        found = Counter(
            "duplicates" if one.detector == "duplicates" else f"{one.detector}.{one.rule}"
            for one in self.findings
            if one.status != "retracted" and one.detector != "exceptions"
        )
        # What shows when documents are put side by side is an exception and a finding at once: it is told once here.
        found.update(
            f"exceptions.{one.type}"
            for one in self.exceptions
            if one.status != "retracted" and RELATED_TYPES.get(one.type) != one.entity
        )
        return found


class Collected:
    """Publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.by_topic: dict[str, list[bytes]] = defaultdict(list)

    def publish(self, topic: str, key: str, value: bytes | None, partition: int | None = None) -> None:
        assert value is not None
        self.by_topic[topic].append(value)

    def flush(self) -> None:
        """Nothing waits."""


@cache
def topics_of(server: str, data_dir: Path) -> tuple[Database, Collected]:
    """What a snapshot of a server's rows publishes."""
    db, topics = captured(server, data_dir), Collected()
    settings = CaptureSettings(
        source=server,
        database=db.name,
        account_key=b"k" * 32,
        timeline="wall",
        partitions=1,
        sweep_interval=0,
    )
    with SimulatedOdoo(db) as odoo:
        transport = OdooRpcTransport(odoo.url, db.name, "svc_cdc", "svc_cdc")
        capture = Capture(transport, topics, ManualClock(LOOKED), settings, encode=RecordEncoder(EmbeddedRegistry()))
        capture.connect()
        capture.snapshot()
    return db, topics


def deleted_bill(server: str, data_dir: Path, bill: int, policies: PolicySet) -> list[ExceptionRecord]:
    """What is said of a bill that is deleted after the rows were captured: reset and removed, as Odoo allows it."""
    db, topics, clock = captured(server, data_dir), Collected(), ManualClock(LOOKED)
    settings = CaptureSettings(server, db.name, b"k" * 32, timeline="wall", partitions=1, sweep_interval=0)
    with SimulatedOdoo(db) as odoo:
        transport = OdooRpcTransport(odoo.url, db.name, "svc_cdc", "svc_cdc")
        capture = Capture(transport, topics, clock, settings, encode=RecordEncoder(EmbeddedRegistry()))
        capture.connect()
        capture.snapshot()
        with db.begin(LOOKED + timedelta(minutes=5), uid=2) as tx:
            actions.draft_move(tx, bill)
            actions.delete_move(tx, bill)
        clock.set(LOOKED + timedelta(hours=1))
        db.clock = lambda: LOOKED + timedelta(hours=1)
        capture.sweep()
    stage = documents_stage(policies)
    replay = Replay(stage, "finance.bill.v1", SECOND)
    for event in Decoder(EmbeddedRegistry()).decode(topics.by_topic["finance.bill.v1"], stage.projections):
        if isinstance(event, Event) and event.record_id == str(bill):
            replay.feed([event])
    return [one for one in replay.outputs(EXCEPTION) if isinstance(one, ExceptionRecord)]


def found_in(server: str, data_dir: Path, policies: PolicySet) -> Found:
    """Everything that is said of a server's rows, a week after they were captured."""
    db, topics = topics_of(server, data_dir)
    stage, decoder = documents_stage(policies), Decoder(EmbeddedRegistry())
    facts: list[Relation] = []
    findings: list[Finding] = []
    exceptions: list[ExceptionRecord] = []
    later = int((LOOKED + timedelta(days=DAYS)).timestamp()) * SECOND
    for topic in stage.topics:
        replay = Replay(stage, topic, SECOND)
        for event in decoder.decode(topics.by_topic[topic], stage.projections):
            assert not isinstance(event, Bad)
            if isinstance(event, Event):
                replay.feed([event])
        replay.heartbeat(server, later)
        facts += [one for one in replay.outputs(RELATION) if isinstance(one, Relation)]
        findings += [one for one in replay.outputs(FINDING) if isinstance(one, Finding)]
        exceptions += [one for one in replay.outputs(EXCEPTION) if isinstance(one, ExceptionRecord)]
    related = Replay(relations_stage(policies), RELATION)
    facts.sort(key=lambda fact: fact.observed_at)
    related.feed(msgspec.convert(msgspec.to_builtins(fact), RelationFact) for fact in facts)
    findings += [one for one in related.outputs(FINDING) if isinstance(one, Finding)]
    exceptions += [one for one in related.outputs(EXCEPTION) if isinstance(one, ExceptionRecord)]
    return Found(
        db,
        list({one.finding_id: one for one in findings}.values()),
        list({one.exception_id: one for one in exceptions}.values()),
    )


def render(counts: Mapping[str, Counter[str]]) -> str:
    """The page."""
    lines = [
        "# What is found in the rows of real Odoo servers",
        "",
        "Generated by `python -m tests.parts.captured_findings`; `tests/e2e/test_captured_findings.py` holds it.",
        "",
        "A community Odoo 17.0 and one 18.0, with demo data and a seeded workload, answered the capture; the shipped "
        f"policy judged what came out, as it stands {DAYS} days later (so that deadlines have passed). Counted are "
        "findings that were not taken back, and exceptions by document.",
        "",
        "A bill that was posted and then deleted leaves no row, and its number is used again: it shows only while a "
        "capture runs, as an event of op `d` (docs/guarantees.md), and is the exception `deleted_after_posting`: the "
        "test plays it on these rows.",
    ]
    for kind, title in (
        (HAND, "What a person finds by hand in them"),
        (TRUE, "What else is true of them"),
        (TIME, "What comes with time alone"),
    ):
        lines += ["", f"## {title}", "", "| rule | Odoo 17 | Odoo 18 | what it is |", "|---|---|---|---|"]
        for name, (of, words) in EXPLAINED.items():
            if of == kind and any(counts[server][name] for server in SERVERS):
                lines.append(f"| `{name}` | {counts['odoo17'][name]} | {counts['odoo18'][name]} | {words} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[3] / "shared" / "data"
    PAGE.write_text(render({server: found_in(server, folder, load_policies()).counts() for server in SERVERS}))
