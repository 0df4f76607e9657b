"""Duties and misuse: each rule's example, what is no misuse, corrections, and that order of arrival means nothing."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finwatch.domain.duties.accounts import Held, Number
from finwatch.domain.duties.accounts import judge as judge_number
from finwatch.domain.duties.rules import RULES
from finwatch.domain.events import BankAccount, EntryLine, Event, LockException, RelationFact
from finwatch.domain.policy import DutiesSection, Policy, PolicyError, PolicySet
from finwatch.domain.records import Finding, Relation
from finwatch.runtime.topics import FINDING, RELATION
from streams.agents.registry import documents_stage, relations_stage
from streams.agents.replay import Replay
from streams.stage import InvalidEvent
from tests.unit.agents.test_orders import billed, came, ordered, the_bill, the_order, the_receipt
from tests.unit.agents.world import (
    POLICIES,
    _event,
    at,
    bill,
    company,
    day,
    entry,
    latest,
    moved,
    order,
    payment,
    vendor,
)

LIVE = ("open", "updated")
ACCOUNT, OTHER = "odoo:bank_account:3", "odoo:bank_account:8"


def account(record: str, when: str, **fields: Any) -> BankAccount:
    """A bank account of vendor 7, made by user 2."""
    body = {"partner_id": "7", "account_hash": f"hash-{record}", "created_by": "2", "created_at": at(when), **fields}
    found: BankAccount = _event(BankAccount, "bank_account", record, when, {"company_id": None, **body})
    return found


def renumbered(record: str, when: str, actor: str = "11") -> Event:
    """The log's row of another number on an account."""
    return moved(
        "bank_account",
        record,
        when,
        "changed",
        "****1111",
        "****2222",
        field="acc_number",
        actor=actor,
        company_id=None,
    )


def paid_out(record: str, when: str, person: str = "9", to: str = "3", **fields: Any) -> Event:
    """A payment of 100 EUR to vendor 7."""
    body: dict[str, Any] = {
        "state": "paid",
        "partner_id": "7",
        "amount": Decimal(100),
        "currency": "EUR",
        "created_by": person,
        "created_at": at(when),
        "bank_account_id": to,
        "bill_keys": ["odoo:bill:20"],
        **fields,
    }
    return payment(record, when, **body)


def posted(record: str, when: str, actor: str = "8") -> Event:
    return moved("bill", record, when, "posted", "draft", "posted", actor=actor)


def settled(record: str, when: str, actor: str = "9") -> Event:
    return moved("bill", record, when, "paid", "not_paid", "paid", field="payment_state", actor=actor)


def decided(record: str, when: str, actor: str = "8") -> Event:
    return moved("purchase_order", record, when, "approved", "to approve", "purchase", decision="approved", actor=actor)


def own_order(record: str, when: str, amount: int = 6000) -> list[Event]:
    """An order above the limit that its maker, user 5, confirmed."""
    made = order(record, when, amount_total=Decimal(amount), currency="EUR", partner_id=record, created_at=at(when))
    return [
        made,
        moved("purchase_order", record, when, "approved", "draft", "purchase", decision="approved", actor="5"),
    ]


def part(record: str, when: str, amount: int, vendor: str = "7", **fields: Any) -> Event:
    """A confirmed order of user 5."""
    body = {"amount_total": Decimal(amount), "currency": "EUR", "partner_id": vendor, "created_at": at(when), **fields}
    return order(record, when, **{"state": "purchase", **body})


def told(events: Iterable[Event], policies: PolicySet = POLICIES) -> tuple[list[RelationFact], list[Finding]]:
    """What the documents stage tells of them, and what it finds itself."""
    stage, replays = documents_stage(policies), dict[str, Replay]()
    for event in events:
        replays.setdefault(event.entity, Replay(stage, f"finance.{event.entity}.v1")).feed([event])
    facts, own = [], []
    for replay in replays.values():
        facts += [
            msgspec.convert(msgspec.to_builtins(one), RelationFact)
            for one in replay.outputs(RELATION)
            if isinstance(one, Relation) and one.relation != "duplicate_bill"
        ]
        own += [one for one in replay.outputs(FINDING) if isinstance(one, Finding) and one.detector == "duties"]
    return facts, own


def judged(facts: Iterable[RelationFact], policies: PolicySet = POLICIES) -> dict[str, Finding]:
    replay = Replay(relations_stage(policies), RELATION)
    replay.feed(facts)
    found = latest(replay.outputs(FINDING), "finding_id")
    return {key: one for key, one in found.items() if one.detector == "duties"}


def found(events: Iterable[Event], policies: PolicySet = POLICIES) -> list[Finding]:
    """What stands: without what was taken back."""
    facts, own = told(events, policies)
    everything = {**latest(own, "finding_id"), **judged(facts, policies)}
    return [one for one in everything.values() if one.status != "retracted"]


def under(**fields: Any) -> PolicySet:
    return PolicySet([Policy(msgspec.structs.replace(POLICIES.of("odoo").document, duties=DutiesSection(**fields)))])


def own_entry(poster: str = "11", booked: str = "2026-03-05", **fields: Any) -> list[Event]:
    """An entry of user 11 that ``poster`` posted by hand, booked on a day."""
    fields["accounting_date"] = day(booked)
    return [
        entry("30", "2026-03-05 10:00", **fields),
        moved("entry", "30", "2026-03-05 11:00", "posted", "draft", "posted", actor=poster),
        entry("30", "2026-03-05 11:00", state="posted", created_at=at("2026-03-05 10:00"), **fields),
    ]


BILLED = [
    bill(
        "20", "2026-03-05 10:00", bank_account_id="3", created_at=at("2026-03-05 10:00"), invoice_date=day("2026-03-05")
    ),
    posted("20", "2026-03-06 10:00"),
    bill("20", "2026-03-06 10:00", state="posted", bank_account_id="3", created_at=at("2026-03-05 10:00")),
]
CHAIN = [the_order(ordered(10)), the_receipt(came(10)), the_bill(billed(10))]
EXAMPLES: dict[str, tuple[list[Event], list[str], int]] = {
    "conflicting_duties": (
        [*CHAIN, decided("1", "2026-03-02 11:00", "9"), settled("20", "2026-03-09 10:00", "9")],
        ["The same person approved the order and released the payment."],
        1,
    ),
    "order_after_bill": (
        [the_order(ordered(10), when="2026-03-06 10:00", created_at=at("2026-03-06 09:00")), *CHAIN[1:]],
        ["The order was made after the bill had been entered."],
        1,
    ),
    "approved_after_payment": (
        [
            the_order(ordered(10), created_at=at("2026-03-02 09:00")),
            *CHAIN[1:],
            settled("20", "2026-03-09 10:00"),
            decided("1", "2026-03-10 10:00"),
        ],
        ["The order was approved after the bill had been paid."],
        2,  # it is after the bill as well
    ),
    "bank_account_changed": (
        [account("3", "2026-01-02 10:00"), renumbered("3", "2026-03-04 10:00")],
        ["Its number was changed."],
        1,
    ),
    "bank_account_added": (
        [account("3", "2026-01-02 10:00"), account("8", "2026-03-04 10:00")],
        ["It was added to a vendor that had an account already."],
        1,
    ),
    "shared_bank_account": (
        [
            account("3", "2026-01-02 10:00", partner_id="71", commercial_partner_id="7"),  # a contact's is the firm's
            account("8", "2026-03-04 10:00", partner_id="9", account_hash="hash-3", created_by="11"),
        ],
        ["2 vendors are paid to one account."],
        1,
    ),
    "bank_change_before_payment": (
        [
            account("3", "2026-01-02 10:00"),
            *BILLED,
            renumbered("3", "2026-03-07 10:00", "9"),
            paid_out("40", "2026-03-09 10:00", "9"),
        ],
        ["The account was changed 2 days before the payment.", "Whoever did it also released the payment."],
        3,  # the change itself, and two duties in one hand
    ),
    "payment_to_unbilled_account": (
        [*BILLED, paid_out("40", "2026-03-09 10:00", to="8")],
        ["No bill of the vendor names the account that was paid to."],
        1,
    ),
    "split_orders": (
        [part("1", "2026-03-02 10:00", 4500), part("2", "2026-03-02 15:00", 4500)],
        ["2 orders to one vendor within 3 days come to 180 % of the limit, each is below it."],
        1,
    ),
    "posted_after_lock": (
        [
            company("2026-03-02 09:00", None),
            company("2026-03-04 09:00", "2026-02-28"),
            *own_entry("12", booked="2026-02-27"),
        ],
        ["It was posted into a period that had been locked."],
        1,
    ),
    "bill_of_blocked_vendor": (
        [vendor("7", "2026-01-02 10:00"), vendor("7", "2026-03-02 10:00", purchase_warning="block"), *BILLED],
        ["It was entered while the vendor was blocked."],
        1,
    ),
    "journal_entry_by_one_hand": (
        own_entry(),
        ["One person made and posted the entry."],
        1,
    ),
    "write_off_by_one_hand": (
        own_entry(lines=[EntryLine("7")]),
        ["One person made and posted an entry that changes a partner's balance."],
        1,
    ),
    "repeated_overrides": (
        [event for n in range(3) for event in own_order(str(n + 1), f"2026-03-0{n + 2} 10:00")],
        ["3 times within 30 days the person approved what was their own."],
        1,
    ),
}


@pytest.mark.parametrize("rule", sorted(RULES))
def test_the_example_of_each_rule(rule: str) -> None:
    events, reasons, number = EXAMPLES[rule]
    said = found(events)
    assert len(said) == number, [one.rule for one in said]
    [finding] = [one for one in said if one.rule == rule]
    assert (finding.detector, finding.status in LIVE) == ("duties", True)
    assert finding.reasons == reasons
    assert finding.title == RULES[rule].title
    assert set(finding.evidence) <= {event.event_id for event in events}
    assert finding.owner
    assert finding.next_action


@pytest.mark.parametrize(
    "events",
    [
        own_entry("12"),
        own_entry()[::2],  # no log tells who posted it: the source may have done so itself
        own_entry(partner_id="7"),  # a payment's
        own_entry()[:1],
    ],
)
def test_an_entry_that_two_looked_at_or_the_source_posted_is_none_of_one_hand(events: list[Event]) -> None:
    assert found(events) == []


def test_small_entries_may_be_of_one_hand_and_one_set_back_is_no_more() -> None:
    assert found(own_entry(), under(journal_min_amount=Decimal(501))) == []
    assert found(own_entry(), under(exempt=["11"])) == []
    assert [one.rule for one in found(own_entry("12"), under(same_person=[["11", "12"]]))] == [
        "journal_entry_by_one_hand"
    ]
    back = moved("entry", "30", "2026-03-05 12:00", "reset", "posted", "draft", actor="11")
    assert found([*own_entry(), back, entry("30", "2026-03-05 12:00", created_at=at("2026-03-05 10:00"))]) == []


def paid_with_difference(lines: list[EntryLine], **fields: Any) -> list[Event]:
    """A payment's entry of user 11, as the wizard books it: made and posted at once."""
    body = {"state": "posted", "partner_id": "7", "lines": lines, "amount_total": Decimal(1000), **fields}
    return [entry("40", "2026-03-05 10:00", **body)]


PAYMENT_LINES = [EntryLine("7", "101", -940_000_000), EntryLine("7", "211", 1_000_000_000)]
DIFFERENCE = EntryLine("7", "659", -60_000_000)


def test_a_difference_that_is_written_off_with_a_payment_is_of_one_hand() -> None:
    named = under(write_off_accounts=["658", "659"])
    events = paid_with_difference([*PAYMENT_LINES, DIFFERENCE], amount_total_company=Decimal(500))
    [finding] = found(events, named)
    assert (finding.rule, finding.document_keys) == ("write_off_by_one_hand", ["odoo:entry:40"])
    assert finding.reasons == ["One person made the payment and wrote off a difference with it."]
    assert (finding.amount_at_risk, finding.currency, finding.company_amount) == (Decimal(60), "EUR", Decimal(30))
    assert found(events) == [], "no account is named"
    assert found(paid_with_difference(PAYMENT_LINES), named) == []
    charge = EntryLine("7", "657", -60_000_000)
    assert found(paid_with_difference([*PAYMENT_LINES, charge]), named) == [], "a charge of the bank"
    assert found(events, under(write_off_accounts=["659"], journal_min_amount=Decimal(61))) == []
    assert found(events, under(write_off_accounts=["659"], exempt=["11"])) == []
    other = moved("entry", "40", "2026-03-05 10:00", "posted", "draft", "posted", actor="12")
    drafted = paid_with_difference([*PAYMENT_LINES, DIFFERENCE], state="draft")
    assert found([*drafted, other, entry("40", "2026-03-05 10:05", **fields_of(events[0]))], named) == []
    gone = entry("40", "2026-03-06 10:00", op="d", state=None)
    assert found([*events, gone], named) == []


def fields_of(event: Event) -> dict[str, Any]:
    """What an entry says beside its header."""
    return {name: getattr(event, name) for name in ("state", "partner_id", "lines", "amount_total", "created_at")}


OPEN, LOCKED = company("2026-03-01 09:00", None), company("2026-03-04 09:00", "2026-02-28")


@pytest.mark.parametrize(
    "events",
    [
        [LOCKED, *own_entry("12", booked="2026-03-01")],  # after the lock
        [company("2026-03-06 09:00", "2026-02-28"), *own_entry("12", booked="2026-02-27")],  # locked when it was posted
        [OPEN, *own_entry("12", booked="2026-02-27")],
        [LOCKED, *own_entry("12", booked="2025-01-15")],  # longer ago than is watched
        [LOCKED, *own_entry("12", booked="2026-02-27")[:1]],  # a draft
    ],
)
def test_what_is_not_posted_after_a_lock(events: list[Event]) -> None:
    assert found(events) == []


def test_a_period_that_was_opened_for_it_had_been_locked() -> None:
    reopened = company("2026-03-05 10:30", None)
    again = company("2026-03-05 12:00", "2026-02-28")
    [finding] = found([OPEN, LOCKED, reopened, *own_entry("12", booked="2026-02-27"), again])
    assert finding.reasons == ["It was posted into a period that had been locked."]
    assert finding.evidence == [LOCKED.event_id, finding.evidence[1]]


def let_past(when: str, by: str = "12", person: str | None = None, ends: str | None = None, **fields: Any) -> Event:
    """Leave to post behind the lock of February that ``by`` granted."""
    body: dict[str, Any] = {
        "lock": "fiscalyear_lock_date",
        "company_lock_date": day("2026-02-28"),
        "person": person,
        "ends_at": None if ends is None else at(ends),
        "active": True,
        "created_by": by,
        "created_at": at("2026-03-05 09:00"),
        **fields,
    }
    found_: Event = _event(LockException, "lock_exception", "6", when, body)
    return found_


GRANTED = "Whoever posted it had granted the lock exception that let it past."


@pytest.mark.parametrize(
    ("exception", "more"),
    [
        ([let_past("2026-03-05 09:00", "3")], ["A lock exception let it past."]),
        ([let_past("2026-03-05 09:00")], [GRANTED]),
        ([let_past("2026-03-05 09:00", person="12")], [GRANTED]),
        ([let_past("2026-03-05 09:00", person="8")], []),  # it is another's
        ([let_past("2026-03-05 09:00", ends="2026-03-05 10:30")], []),  # it had ended
        ([let_past("2026-03-05 09:00", ends="2026-03-05 11:30")], [GRANTED]),
        ([let_past("2026-03-05 09:00"), let_past("2026-03-05 10:30", active=False)], []),  # it had been revoked
        ([let_past("2026-03-05 09:00", lock="sale_lock_date")], []),
        ([let_past("2026-03-05 09:00", created_at=at("2026-03-05 12:00"))], []),  # it came later
        ([let_past("2026-03-05 09:00", lock_date=day("2026-02-27"))], []),  # the day stays locked
    ],
)
def test_a_lock_exception_and_whoever_granted_it_are_named(exception: list[Event], more: list[str]) -> None:
    documents = own_entry("12", booked="2026-02-27")
    for events in ([LOCKED, *exception, *documents], [*documents, *reversed(exception), LOCKED]):
        facts, _ = told(events)
        [finding] = (one for one in judged(facts).values() if one.rule == "posted_after_lock")
        assert finding.reasons == ["It was posted into a period that had been locked.", *more]
        assert finding.severity == ("critical" if more == [GRANTED] else "high")
        assert len(finding.evidence) == (3 if more else 2)


@pytest.mark.parametrize(("net", "rules"), [(Decimal(100), []), (Decimal(80), ["posted_after_lock"])])
def test_the_lock_of_tax_returns_holds_for_bills_with_tax(net: Decimal, rules: list[str]) -> None:
    taxes = msgspec.structs.replace(LOCKED, fiscalyear_lock_date=None, tax_lock_date=day("2026-02-28"))
    late = bill("20", "2026-03-06 10:00", state="posted", accounting_date=day("2026-02-27"), amount_untaxed=net)
    assert [one.rule for one in found([taxes, late, posted("20", "2026-03-06 10:00")])] == rules


def test_what_is_said_of_a_locked_period_is_said_once_in_whatever_order_the_topics_are_read() -> None:
    """Lock dates and documents come on different topics: no order of them is corrected by the next fact."""
    reopened, again = company("2026-03-05 09:30", None), company("2026-03-05 12:00", "2026-02-28")
    facts, _ = told([OPEN, LOCKED, reopened, *own_entry("12", booked="2026-02-27"), again])
    [key] = {fact.relation_key for fact in facts if fact.entity == "entry"}
    facts = [fact for fact in facts if fact.relation_key == key]
    locks = [fact for fact in facts if fact.entity == "company"]
    [document] = [fact for fact in facts if fact.entity == "entry"]
    assert len(locks) == 3
    said = []
    for place in range(len(locks) + 1):
        [finding] = judged([*locks[:place], document, *locks[place:]]).values()
        said.append(finding)
    assert (said[0].version, said[0].status) == (1, "open")
    assert said == said[:1] * len(said)


def test_what_leaves_no_row_in_the_log_was_posted_when_it_was_made_at_the_earliest() -> None:
    made = own_entry("12", booked="2026-02-27")[2]
    [finding] = found([LOCKED, made])
    assert finding.opened_at == at("2026-03-05 10:00")
    early = msgspec.structs.replace(made, created_at=at("2026-03-03 10:00"))
    assert found([LOCKED, early]) == [], "it may have been posted before the lock"


def test_an_entry_that_is_moved_to_an_open_day_is_told_no_more() -> None:
    events = own_entry("12", booked="2026-02-27")
    moved_on = msgspec.structs.replace(
        events[2], event_id="f" * 32, accounting_date=day("2026-03-06"), occurred_at=at("2026-03-06 09:00")
    )
    facts, _ = told([LOCKED, *events, moved_on])
    assert [one.status for one in judged(facts).values()] == ["retracted"]


def test_another_lock_counts_for_its_own_documents_only() -> None:
    sales = msgspec.structs.replace(LOCKED, fiscalyear_lock_date=None, sale_lock_date=day("2026-02-28"))
    assert found([sales, *own_entry("12", booked="2026-02-27")]) == []
    assert found([LOCKED, *own_entry("12", booked="2026-02-27")], under(locks=("hard_lock_date",))) == []


def matched(record: str, when: str, actor: str, before: str = "in_payment", after: str = "paid") -> Event:
    """The log's row of a payment that was matched with the bank."""
    return moved("bill", record, when, "paid", before, after, field="payment_state", actor=actor)


def test_who_releases_a_payment_does_not_match_it_with_the_bank() -> None:
    paid = moved("bill", "20", "2026-03-09 10:00", "paid", "not_paid", "in_payment", field="payment_state", actor="9")
    events = [*BILLED, paid, matched("20", "2026-03-12 10:00", "9")]
    said = (["odoo:bill:20"], ["The same person released the payment and matched the payment with the bank."])
    assert conflicts_of(events) == [said]
    assert conflicts_of(events, under(conflicts=(("approve_bill", "release_payment"),))) == []
    assert conflicts_of([*events[:-1], matched("20", "2026-03-12 10:00", "11")]) == []
    # Taken back from the bank's line, and matched by another.
    undone = matched("20", "2026-03-13 10:00", "9", "paid", "in_payment")
    assert conflicts_of([*events, undone, matched("20", "2026-03-13 11:00", "11")]) == []
    # Without that step (Community) a bill is paid, or paid in parts, by one act: nothing is matched.
    parts = [
        matched("20", "2026-03-09 10:00", "9", "not_paid", "partial"),
        matched("20", "2026-03-10 10:00", "9", "partial"),
    ]
    assert conflicts_of([*BILLED, *parts]) == []


def conflicts_of(events: list[Event], policies: PolicySet = POLICIES) -> list[tuple[list[str], list[str]]]:
    return [(one.document_keys, one.reasons) for one in found(events, policies) if one.rule == "conflicting_duties"]


def test_who_keeps_the_account_and_pays_to_it_has_two_duties_for_the_policys_days() -> None:
    paid = paid_out("40", "2026-03-29 10:00", "11")
    events = [account("3", "2026-01-02 10:00"), *BILLED, renumbered("3", "2026-03-04 10:00", "11"), paid]
    said = (
        ["odoo:payment:40", ACCOUNT],
        ["The same person changed the vendor's bank account and released the payment."],
    )
    assert conflicts_of(events) == [said], "long after a payment would be stopped for the change alone"
    assert conflicts_of(events, under(maintenance_days=24)) == []
    assert conflicts_of(events, under(conflicts=(("maintain_vendor", "release_payment"),))) == []
    assert conflicts_of([*events[:-2], renumbered("3", "2026-03-30 10:00", "11"), paid]) == [], (
        "changed after it was paid"
    )
    elsewhere = [account("8", "2026-01-02 10:00"), renumbered("8", "2026-03-04 10:00", "11")]
    assert conflicts_of([account("3", "2026-01-02 10:00"), *elsewhere, *BILLED, paid]) == [], "another account"


def test_who_makes_or_changes_a_vendor_and_pays_it_has_two_duties() -> None:
    made = vendor("7", "2026-03-01 10:00", created_by="9", created_at=at("2026-03-01 10:00"))
    paid = paid_out("40", "2026-03-09 10:00", "9")
    vendor_key = "odoo:vendor:7"
    said = [(["odoo:payment:40", vendor_key], ["The same person made or changed the vendor and released the payment."])]
    assert conflicts_of([made, *BILLED, paid]) == said
    assert conflicts_of([vendor("7", "2026-01-02 10:00"), *BILLED, paid]) == [], "made by somebody else, long ago"
    changed = moved("vendor", "7", "2026-03-02 10:00", "changed", "NL1", "NL2", field="vat", actor="9", company_id=None)
    assert conflicts_of([vendor("7", "2026-01-02 10:00"), changed, *BILLED, paid]) == said
    seen = vendor("7", "2026-03-02 10:00", payment_term_id="4", actor="9")
    assert conflicts_of([vendor("7", "2026-01-02 10:00"), seen, *BILLED, paid]) == said, "what no log tells"
    approver = vendor("7", "2026-03-01 10:00", created_by="8", created_at=at("2026-03-01 10:00"))
    assert conflicts_of([approver, *BILLED, paid]) == [
        (
            ["odoo:payment:40", "odoo:bill:20", vendor_key],
            ["The same person made or changed the vendor and approved the bill."],
        )
    ]


def test_a_customer_and_a_firms_contact_are_no_vendors() -> None:
    customer = vendor("7", "2026-03-01 10:00", created_by="9", customer_rank=3, supplier_rank=0)
    contact = vendor("71", "2026-03-01 10:00", created_by="9", commercial_partner_id="7")
    assert told([customer, contact]) == ([], [])


def test_a_bill_from_before_or_after_a_block_is_none_and_lifting_it_resolves_the_bills_within() -> None:
    free = vendor("7", "2026-01-02 10:00")
    late = vendor("7", "2026-03-05 11:00", invoice_warning="block")
    assert found([free, late, *BILLED]) == []
    early = vendor("7", "2026-03-01 10:00", purchase_warning="block")
    assert found([free, early, vendor("7", "2026-03-04 10:00"), *BILLED]) == []
    [finding] = found([free, early, *BILLED, vendor("7", "2026-03-07 10:00")])
    assert (finding.status, finding.updated_at) == ("resolved", at("2026-03-07 10:00"))
    assert finding.amount_at_risk == Decimal("100.00")
    gone = bill("20", "2026-03-07 10:00", state="cancel", bank_account_id="3", created_at=at("2026-03-05 10:00"))
    assert found([free, early, *BILLED, gone]) == []


def test_apart_is_no_conflict_and_a_delegate_is_the_same_hand() -> None:
    events = [*CHAIN, decided("1", "2026-03-02 11:00", "8"), settled("20", "2026-03-09 10:00", "9")]
    assert found(events) == []
    [finding] = found(events, under(same_person=[["8", "9"]]))
    assert finding.rule == "conflicting_duties"
    assert found(events, under(same_person=[["8", "9"]], exempt=["9"])) == []
    assert found(events, under(same_person=[["8", "9"]], min_amount=Decimal(1000))) == []


def test_one_hand_on_one_bill() -> None:
    events = [*BILLED, settled("20", "2026-03-09 10:00", "8")]
    [finding] = found(events)
    assert finding.reasons == ["The same person approved the bill and released the payment."]
    assert finding.document_keys == ["odoo:bill:20"]
    assert (finding.amount_at_risk, finding.currency) == (Decimal("100.00"), "EUR")
    assert found([*BILLED, settled("20", "2026-03-09 10:00", "9")]) == []


def test_a_bill_dated_before_its_order() -> None:
    dated = the_bill(billed(10), invoice_date=day("2026-03-01"))
    [finding] = found([*CHAIN[:2], dated])
    assert finding.reasons == ["The order was made after the date on the bill."]
    same_day = the_bill(billed(10), invoice_date=day("2026-03-02"))
    assert found([*CHAIN[:2], same_day]) == []


@pytest.mark.parametrize(("when", "rules"), [("2026-03-17 09:00", 2), ("2026-03-17 11:00", 1), ("2026-03-06 11:00", 1)])
def test_only_a_payment_within_the_days_after_a_change_counts(when: str, rules: int) -> None:
    events = [account("3", "2026-01-02 10:00"), *BILLED, renumbered("3", "2026-03-07 10:00")]
    assert len(found([*events, paid_out("40", when)])) == rules


def test_who_entered_the_bill_and_changed_the_account_is_named_and_grave() -> None:
    events = [account("3", "2026-01-02 10:00"), *BILLED, renumbered("3", "2026-03-07 10:00", "5")]
    [finding] = [
        one for one in found([*events, paid_out("40", "2026-03-08 10:00")]) if one.rule == "bank_change_before_payment"
    ]
    assert finding.reasons[1:] == ["Whoever did it also entered the bill."]
    assert finding.severity == "critical"
    others = [account("3", "2026-01-02 10:00"), *BILLED, renumbered("3", "2026-03-07 10:00", "77")]
    [finding] = [
        one for one in found([*others, paid_out("40", "2026-03-08 10:00")]) if one.rule == "bank_change_before_payment"
    ]
    assert finding.severity == "high"


def test_a_change_that_no_log_tells_is_seen_all_the_same_and_once() -> None:
    first = account("3", "2026-01-02 10:00")
    seen = account("3", "2026-03-04 10:00", account_hash="another", created_at=at("2026-01-02 10:00"))
    assert [one.rule for one in found([first, seen])] == ["bank_account_changed"]
    for events in (
        [first, renumbered("3", "2026-03-04 10:01"), seen],
        [first, seen, renumbered("3", "2026-03-04 10:01")],
    ):
        [finding] = found(events)
        assert finding.evidence == [renumbered("3", "2026-03-04 10:01").event_id]


def test_an_account_of_two_vendors_is_taken_back_when_it_is_archived_or_corrected() -> None:
    first = account("3", "2026-01-02 10:00", vat="NL 1")
    body = {"partner_id": "9", "account_hash": "hash-3", "vat": "NL 2"}
    second = account("8", "2026-03-04 10:00", **body)
    made = {"created_at": at("2026-03-04 10:00")}
    [finding] = found([first, second])
    assert (finding.rule, finding.severity) == ("shared_bank_account", "high")
    assert finding.document_keys == [OTHER, ACCOUNT]
    assert finding.reasons == ["2 vendors are paid to one account.", "One person made the accounts."]
    assert finding.opened_at == at("2026-03-04 10:00")
    for change in ({"active": False}, {"op": "d"}, {"account_hash": "another"}, {"vat": "nl1"}):
        later = account("8", "2026-03-05 10:00", **{**body, **made, **change})
        assert [one for one in found([first, second, later]) if one.rule == "shared_bank_account"] == [], change
        facts, _ = told([first, second, later])
        [taken_back] = [one for one in judged(facts).values() if one.rule == "shared_bank_account"]
        assert (taken_back.status, taken_back.version) == ("retracted", 2)


def test_a_number_of_many_vendors_names_the_latest_and_says_how_many_there_are() -> None:
    held = {f"a{n:05d}": Held(1, True, n, f"f{n}", None, False, f"p{n}", "1", f"e{n}") for n in range(300)}
    [verdict] = judge_number(Number(held), "account:odoo:hash", DutiesSection())
    assert verdict.reasons == [
        "300 vendors are paid to one account.",
        "300 records have its number; the latest 20 are named.",
    ]
    assert verdict.documents == [f"a{n:05d}" for n in range(299, 279, -1)]
    assert verdict.evidence == [f"e{n}" for n in range(280, 300)]


def test_who_may_have_one_account() -> None:
    def shared(policies: PolicySet = POLICIES, **fields: Any) -> list[Finding]:
        body = {"partner_id": "9", "account_hash": "hash-3", "vat": "NL2"}
        mine = {"vat": "NL1", "customer_rank": 1, "supplier_rank": fields.get("supplier_rank")}
        accounts = [account("3", "2026-01-02 10:00", **mine), account("8", "2026-03-04 10:00", **{**body, **fields})]
        return found(accounts, policies)

    assert len(shared()) == 1
    assert shared(partner_id="90", commercial_partner_id="7") == []  # one vendor's, once by its contact
    assert shared(vat="NL-1") == []
    assert len(shared(under(one_vat_one_vendor=False), vat="NL1")) == 1
    for sisters in (["7", "9"], ["NL 1", "nl2"], ["7", "NL2"]):
        assert shared(under(sister_vendors=[sisters])) == []
    assert len(shared(under(sister_vendors=[["7", "10"]]))) == 1
    assert shared(customer_rank=2, supplier_rank=0) == []
    assert len(shared(supplier_rank=0)) == 1  # one of them may be a vendor


def test_a_payment_that_is_cancelled_takes_its_findings_back() -> None:
    events = [*BILLED, paid_out("40", "2026-03-09 10:00", to="8")]
    assert len(found(events)) == 1
    assert found([*events, paid_out("40", "2026-03-10 10:00", to="8", state="canceled")]) == []


@pytest.mark.parametrize(
    "events",
    [
        [part("1", "2026-03-02 10:00", 4500), part("2", "2026-03-06 10:00", 4500)],
        [part("1", "2026-03-02 10:00", 4500), part("2", "2026-03-02 11:00", 4500, vendor="8")],
        [part("1", "2026-03-02 10:00", 4500), part("2", "2026-03-02 11:00", 4500, created_by="6")],
        [part("1", "2026-03-02 10:00", 2900), part("2", "2026-03-02 11:00", 2900)],
        [part("1", "2026-03-02 10:00", 4500), part("2", "2026-03-02 11:00", 5500)],
        [part("1", "2026-03-02 10:00", 4500), part("2", "2026-03-02 11:00", 4500, state="draft")],
    ],
    ids=["later", "another vendor", "another person", "far below", "one above", "not ordered"],
)
def test_what_is_no_split(events: list[Event]) -> None:
    assert found(events) == []


def test_records_of_one_tax_number_are_one_vendor() -> None:
    parts = [
        part("1", "2026-03-02 10:00", 4500, vendor="7", vendor_vat="NL 1234.56.789 B01"),
        part("2", "2026-03-02 15:00", 4500, vendor="8", vendor_vat="nl123456789b01"),
    ]
    [finding] = found(parts)
    assert (finding.rule, len(finding.document_keys)) == ("split_orders", 2)
    assert finding.reasons[1:] == ["The vendor has several records with one tax number."]
    assert found([parts[0], part("2", "2026-03-02 15:00", 4500, vendor="8", vendor_vat="NL1")]) == []
    assert found([part("1", "2026-03-02 10:00", 4500), part("2", "2026-03-02 15:00", 4500, vendor="8")]) == []


def test_vendors_that_are_paid_to_one_account_are_one_payee() -> None:
    first = part("1", "2026-03-02 10:00", 4500, vendor_vat="NL1", vendor_account_hashes=["h1", "h2"])
    second = part("2", "2026-03-02 15:00", 4500, vendor="8", vendor_vat="NL2", vendor_account_hashes=["h2"])
    [finding] = found([first, second])
    assert (finding.rule, len(finding.document_keys), finding.amount_at_risk) == ("split_orders", 2, Decimal(9000))
    assert finding.reasons[1:] == ["The vendors are paid to one account."]
    elsewhere = part("2", "2026-03-02 15:00", 4500, vendor="8", vendor_vat="NL2", vendor_account_hashes=["h3"])
    assert found([first, elsewhere]) == []
    assert found([first, second], under(sister_vendors=[["7", "8"]])) == [], "a factor collects for both"
    dollars = part("2", "2026-03-02 15:00", 4500, vendor="8", vendor_account_hashes=["h2"], currency="USD")
    assert found([first, dollars]) == []
    # The account shows only with a third order that two which looked apart are one; in whatever order they are told.
    apart = part("3", "2026-03-02 16:00", 4500, vendor="9", vendor_account_hashes=["h3"])
    both = part("4", "2026-03-02 17:00", 4500, vendor="10", vendor_account_hashes=["h1", "h3"])
    [finding] = found([first, apart, both])
    assert finding.document_keys == ["odoo:purchase_order:4", "odoo:purchase_order:3", "odoo:purchase_order:1"]


def test_what_a_person_always_does_is_no_split() -> None:
    split = [part("1", "2026-03-02 10:00", 4500), part("2", "2026-03-02 15:00", 4500)]
    usual = [part(str(n), f"2026-02-{n - 9:02d} 10:00", 4500, vendor=str(n)) for n in range(10, 35)]
    often = under(split_usual=Decimal("0.8"))
    assert found([*usual, *split], often) == []
    assert [one.rule for one in found([*usual[:10], *split], often)] == ["split_orders"]
    small = [part(str(n), f"2026-02-{n - 9:02d} 10:00", 900, vendor=str(n)) for n in range(10, 35)]
    assert [one.rule for one in found([*small, *split], often)] == ["split_orders"]


def test_an_account_that_an_old_bill_named_is_no_unbilled_one() -> None:
    old = bill("21", "2025-06-05 10:00", state="posted", bank_account_id="8", created_at=at("2025-06-05 10:00"))
    events = [old, *BILLED, paid_out("40", "2026-03-09 10:00", to="8")]
    assert found(events) == []


def test_small_own_approvals_and_two_of_them_are_no_repeated_overrides() -> None:
    assert found([e for n in range(3) for e in own_order(str(n + 1), f"2026-03-0{n + 2} 10:00", 4000)]) == []
    assert found([e for n in range(2) for e in own_order(str(n + 1), f"2026-03-0{n + 2} 10:00")]) == []


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"conflicts": (("approve_order", "dance"),)}, r"\$\.duties\.conflicts\[0\]"),
        ({"split_days": 0}, r"\$\.duties\.split_days"),
        ({"locks": ("lock",)}, r"\$\.duties\.locks\[0\]"),
        ({"overrides": 1}, r"\$\.duties\.overrides"),
        ({"split_limit": Decimal(0)}, r"\$\.duties\.split_limit"),
    ],
)
def test_a_wrong_setting_is_refused(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(PolicyError, match=path):
        under(**fields)


def test_attributes_that_are_no_facts_are_refused() -> None:
    fact = told([part("1", "2026-03-02 10:00", 4500)])[0][-1]
    with pytest.raises(InvalidEvent, match="attributes"):
        judged([msgspec.structs.replace(fact, attributes="[]")])


@st.composite
def worlds(draw: st.DrawFn) -> list[Event]:
    """A vendor's accounts, bills and payments, and a person's orders, in order of time."""
    events: list[Event] = [account("3", "2026-01-02 10:00")]
    minute = 0
    for number in range(draw(st.integers(2, 9))):
        minute += draw(st.integers(1, 2500))
        when = f"2026-03-{3 + minute // 1440:02d} {minute // 60 % 24:02d}:{minute % 60:02d}"
        person = draw(st.sampled_from(["5", "8", "9"]))
        match draw(
            st.sampled_from(
                [
                    "change",
                    "vendor",
                    "lock",
                    "pass",
                    "entry",
                    "account",
                    "shared",
                    "payment",
                    "bill",
                    "order",
                    "own",
                    "cancel",
                ]
            )
        ):
            case "change":
                events.append(renumbered(draw(st.sampled_from(["3", "8"])), when, person))
            case "vendor":
                blocked = draw(st.sampled_from(["block", "no-message"]))
                terms = draw(st.sampled_from(["1", "2"]))
                events.append(vendor("7", when, purchase_warning=blocked, payment_term_id=terms, actor=person))
            case "lock":
                events.append(company(when, draw(st.sampled_from([None, "2026-02-15", "2026-02-28"]))))
            case "pass":
                events.append(let_past(when, person, active=draw(st.booleans()), created_at=at(when)))
            case "entry":
                booked = day(draw(st.sampled_from(["2026-02-10", "2026-02-20"])))
                posted_by = moved("entry", "30", when, "posted", "draft", "posted", actor=person)
                made = at("2026-03-02 10:00")
                events += [posted_by, entry("30", when, state="posted", accounting_date=booked, created_at=made)]
            case "account":
                events.append(account("8", when, created_by=person))
            case "shared":
                body = {"partner_id": draw(st.sampled_from(["7", "9"])), "active": draw(st.booleans())}
                given_number = draw(st.sampled_from(["hash-3", "hash-5"]))
                events.append(account("5", when, account_hash=given_number, **body))
            case "payment":
                to = draw(st.sampled_from(["3", "8"]))
                events.append(paid_out(str(40 + number), when, person, to=to))
            case "cancel":
                events.append(paid_out(str(40 + draw(st.integers(0, 8))), when, person, state="canceled"))
            case "bill":
                made = at("2026-03-02 10:00")
                events.append(bill("20", when, state="posted", bank_account_id="3", created_at=made))
                events.append(posted("20", when, person))
                events.append(settled("20", when, draw(st.sampled_from(["5", "8", "9"]))))
            case "order":
                events.append(part(str(number), when, draw(st.sampled_from([4500, 3100, 900]))))
            case _:
                events += own_order(str(60 + number), when)
    return events


def standing(findings: dict[str, Finding]) -> dict[str, tuple[Any, ...]]:
    return {
        key: (one.rule, one.severity, one.document_keys, one.reasons, one.amount_at_risk, one.opened_at, one.evidence)
        for key, one in findings.items()
        if one.status != "retracted"
    }


def test_a_document_that_is_booked_on_another_day_has_another_finding_there() -> None:
    """Two days, perhaps of two partitions, count their versions apart: one finding of both would be taken back."""

    def booked(when: str, on: str) -> Event:
        made = at("2026-03-02 10:00")
        return entry("30", when, state="posted", accounting_date=day(on), created_at=made)

    events = [company("2026-03-01 10:00", "2026-02-28"), booked("2026-03-03 10:00", "2026-02-10")]
    [first] = found(events)
    [second] = found([*events, booked("2026-03-04 10:00", "2026-02-20")])
    assert (first.rule, second.rule) == ("posted_after_lock", "posted_after_lock")
    assert (first.finding_id != second.finding_id, second.version) == (True, 1)


def test_a_payment_that_goes_to_another_vendor_has_another_finding_there() -> None:
    events = [*BILLED, paid_out("40", "2026-03-09 10:00", to="8")]
    facts, _ = told(events)
    [one] = [fact for fact in facts if fact.entity == "payment"]
    gone = msgspec.structs.replace(one, version=2, op="withdraw", attributes=None)
    elsewhere = one.relation_key.rpartition(":")[0] + ":9"
    bills = [msgspec.structs.replace(fact, relation_key=elsewhere) for fact in facts if fact is not one]
    there = msgspec.structs.replace(one, relation_key=elsewhere, version=3)
    for arrived in ([*facts, *bills, gone, there], [*bills, there, *facts, gone]):
        [standing_one] = [f for f in judged(arrived).values() if f.status != "retracted"]
        assert (standing_one.rule, standing_one.version) == ("payment_to_unbilled_account", 1)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(worlds(), st.randoms(use_true_random=False))
def test_any_interleaving_with_any_repeats_ends_in_the_same(events: list[Event], random: Any) -> None:
    facts, _ = told(events)
    by_document: dict[tuple[str, str], list[RelationFact]] = {}
    for fact in facts:
        by_document.setdefault((fact.relation_key, fact.document_key), []).append(fact)
    mixed: list[RelationFact] = []
    queues = list(by_document.values())
    while queues := [queue for queue in queues if queue]:
        mixed.append(random.choice(queues).pop(0))
        if random.random() < 0.5:
            mixed.append(random.choice(mixed))
    assert standing(judged(mixed)) == standing(judged(facts))


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_two_partition_counts_give_the_same_findings(events: list[Event]) -> None:
    facts, _ = told(events)
    keys = sorted({fact.relation_key for fact in facts})
    apart: dict[str, Finding] = {}
    for key in keys:  # as many partitions as keys, against one
        apart |= judged([fact for fact in facts if fact.relation_key == key])
    assert standing(apart) == standing(judged(facts))
