"""Duplicate bills from the documents stage through the relations stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import cache
from typing import Any
from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finwatch.domain.duplicates.references import reference
from finwatch.domain.events import Bill, Event, ExpenseLine, Feedback, PolicyChange, RelationFact
from finwatch.domain.policy import Policy, PolicySet, parse_policy
from finwatch.domain.policy.change import change_record
from finwatch.domain.records import Finding, Kpi, Relation
from finwatch.runtime.policies import packaged_policy
from finwatch.runtime.topics import FINDING, RELATION
from streams.agents.registry import relations_stage
from streams.agents.replay import Replay
from streams.stage import InvalidEvent
from tests.unit.agents import world
from tests.unit.agents.world import POLICIES, at, bill, day, documents, expense, relate

# Vendors and papers that the tests need often.
OTHER_VENDOR = {"partner_id": "80", "commercial_partner_id": "8"}


def pairs(*bills: Bill) -> list[Finding]:
    replay = documents()
    replay.feed(bills)
    return last(relate(replay).outputs(FINDING))


def last(outputs: Iterable[Any]) -> list[Finding]:
    """The latest version of each finding, as the store keeps it; each is one more than the one before."""
    found: dict[str, Finding] = {}
    for one in outputs:
        assert isinstance(one, Finding)
        assert one.version == (found[one.finding_id].version if one.finding_id in found else 0) + 1
        found[one.finding_id] = one
    return list(found.values())


def feedback(finding: Finding, verdict: str = "dismissed", n: int = 0, reason: str = "Two deliveries") -> Feedback:
    key = finding.document_keys[0]
    return Feedback(
        f"feedback{n}{finding.finding_id}",
        key,
        finding.source,
        finding.entity,
        key.rpartition(":")[2],
        at("2026-04-01 10:00"),
        finding.finding_id,
        finding.detector,
        verdict,
        reason,
        "12",
    )


def found(bills: list[Bill]) -> list[Finding]:
    """What an example of the rule book gives."""
    return pairs(*bills)


def _twice(**fields: Any) -> tuple[list[Bill]]:
    paper = {"reference": "INV-2026-00417", "amount_total": Decimal("1234.56"), "vendor_name": "North Steel NV"}
    late = {"created_at": at("2026-03-20 10:00"), **paper, **fields}
    return ([bill("1", "2026-03-02 10:00", **paper), bill("2", "2026-03-20 10:00", **late)],)


def _after_credit() -> tuple[list[Bill]]:
    paper = {"reference": "R-100", "state": "posted"}
    note = {**paper, "move_type": "in_refund", "reversed_key": "odoo:bill:1", "reference": "CN-1"}
    return (
        [
            bill("1", "2026-03-02 10:00", created_at=at("2026-03-02 10:00"), **paper),
            bill("9", "2026-03-10 10:00", created_at=at("2026-03-10 10:00"), **note),
            bill("2", "2026-03-20 10:00", created_at=at("2026-03-20 10:00"), **paper),
        ],
    )


def _in_parts() -> tuple[list[Bill]]:
    whole = bill("1", "2026-03-02 10:00", reference="INV-417", amount_total=Decimal(1000))
    parts = [(2, 700), (3, 300)]
    return (
        [whole]
        + [
            bill(str(n), f"2026-03-1{n} 10:00", reference=f"INV-417/{n}", amount_total=Decimal(amount),
                 created_at=at(f"2026-03-1{n} 09:00"))
            for n, amount in parts
        ],
    )  # fmt: skip


EXAMPLES: dict[str, tuple[list[Bill]]] = {
    "exact_reference": _twice(),
    "normalised_reference": _twice(reference="inv 2026 0417"),
    "fuzzy_reference": _twice(reference="INV-2026-00471"),
    "amount_and_date": _twice(reference=None),
    "vendor_alias": _twice(**OTHER_VENDOR, vendor_name="NORTH STEEL"),
    "split": _in_parts(),
    "across_companies": _twice(company_id="2"),
    "across_types": _twice(move_type="in_receipt"),
    "after_credit_note": _after_credit(),
}


def test_the_same_reference_is_exact() -> None:
    (finding,) = pairs(
        bill("1", "2026-03-02 10:00", reference="INV/77"),
        bill("2", "2026-03-03 10:00", reference="INV/77", created_at=None),
    )
    assert (finding.rule, finding.status) == ("exact_reference", "open")
    assert finding.score is not None
    assert finding.score > 0.99
    assert finding.document_keys == ["odoo:bill:2", "odoo:bill:1"]
    assert finding.amount_at_risk == Decimal("100.00")
    assert len(finding.evidence) == 2


def test_a_reference_written_otherwise_is_normalised() -> None:
    for other in ("dup-77", "DUP-77 ", "DUP 77", "DUP/0077", "DU P77", "ＤＵＰ７７"):
        (finding,) = pairs(
            bill("1", "2026-03-02 10:00", reference="DUP 77" if other != "DUP 77" else "DUP77"),
            bill("2", "2026-03-03 10:00", reference=other),
        )
        assert finding.status == "open", other
        assert finding.rule == (
            "exact_reference" if other.strip() == "DUP 77" and other != "DUP 77" else "normalised_reference"
        )


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        ("exact_reference", {}),
        ("normalised_reference", {"reference": "inv 2026 0417"}),
        ("fuzzy_reference", {"reference": "INV-2026-00471"}),
        ("amount_and_date", {"reference": None}),
        ("vendor_alias", {**OTHER_VENDOR, "vendor_vat": "BE0123456749", "vendor_name": "Group Billing"}),
        ("vendor_alias", {**OTHER_VENDOR, "bank_account_hash": "aa11", "vendor_name": "Group Billing"}),
        ("vendor_alias", {**OTHER_VENDOR, "vendor_name": "NORTH STEEL"}),
        ("vendor_alias", {**OTHER_VENDOR, "vendor_name": "Group Billing", "vendor_address_hash": "cc33"}),
        ("across_companies", {"company_id": "2"}),
        ("across_types", {"move_type": "in_receipt"}),
    ],
)
def test_each_layer_reaches_the_findings(rule: str, fields: dict[str, Any]) -> None:
    paper = {
        "reference": "INV-2026-00417",
        "amount_total": Decimal("1234.56"),
        "vendor_name": "North Steel NV",
        "vendor_vat": "BE0123456749" if "vendor_vat" in fields else None,
        "bank_account_hash": "aa11" if "bank_account_hash" in fields else None,
        "vendor_address_hash": "cc33",
    }
    (finding,) = pairs(
        bill("1", "2026-03-02 10:00", **paper),
        bill("2", "2026-03-20 10:00", created_at=at("2026-03-20 10:00"), **{**paper, **fields}),
    )
    assert (finding.rule, finding.status) == (rule, "open")
    assert finding.document_keys == ["odoo:bill:2", "odoo:bill:1"]
    assert not any(character.isdigit() for reason in finding.reasons for character in reason)


def test_another_currency_is_converted_by_the_company_s_amount() -> None:
    one = {"reference": "INV-2026-00417", "amount_total": Decimal("1000"), "amount_total_company": Decimal("-920")}
    two = {**one, "amount_total": Decimal("920.4"), "currency": "USD", "amount_total_company": Decimal("-920.4")}
    (finding,) = pairs(bill("1", "2026-03-02 10:00", **one), bill("2", "2026-03-20 10:00", **two))
    assert "The amounts are the same once converted." in finding.reasons
    other = {**two, "amount_total_company": Decimal("-700")}
    assert not pairs(bill("1", "2026-03-02 10:00", **one), bill("2", "2026-03-20 10:00", **other))


def test_a_split_is_one_finding_about_all_its_bills() -> None:
    whole = bill("1", "2026-03-02 10:00", reference="INV-417", amount_total=Decimal("1000"))
    parts = [
        bill(
            str(n), f"2026-03-1{n} 10:00", reference=f"INV-417/{n}", amount_total=amount,
            created_at=at(f"2026-03-1{n} 09:00"),
        )
        for n, amount in ((2, Decimal("700")), (3, Decimal("300")))
    ]  # fmt: skip
    (finding,) = pairs(parts[0], whole, parts[1])
    assert (finding.rule, finding.status) == ("split", "open")
    assert finding.document_keys == ["odoo:bill:3", "odoo:bill:2", "odoo:bill:1"]
    assert finding.amount_at_risk == Decimal("1000")
    late = bill("3", "2026-03-20 10:00", reference="INV-417/3", amount_total=Decimal("301"))
    (finding,) = pairs(whole, *parts, late)
    assert finding.status == "retracted"


def test_what_is_no_duplicate() -> None:
    one = bill("1", "2026-03-02 10:00", reference="A-1000")
    for other in (
        {"reference": "A-1001"},
        {"reference": "A-100", "invoice_date": day("2026-03-20")},  # a slip, and weeks apart
        {"reference": "B-2000"},
        {"commercial_partner_id": "8"},
        {"move_type": "in_refund"},
        {"invoice_date": day("2027-03-01"), "created_at": at("2027-03-02 10:00")},  # numbering that restarts
        {"state": "cancel"},
        {"payment_state": "reversed", "state": "posted"},
        {"amount_total": Decimal(0)},
        {"amount_total": Decimal("250.00")},
    ):
        assert not pairs(one, bill("2", "2026-03-03 10:00", **{"reference": "A-1000", **other})), other


def test_fillers_are_no_references() -> None:
    """Two bills on different days with nothing but a filler on them say nothing."""
    for filler in ("n/a", "None", "--", "", None, "7", "abc"):
        assert not pairs(
            bill("1", "2026-03-02 10:00", reference=filler),
            bill("2", "2026-03-03 10:00", reference=filler, invoice_date=day("2026-03-20")),
        ), filler


def test_a_cancelled_or_corrected_bill_takes_the_finding_back() -> None:
    first, second = bill("1", "2026-03-02 10:00", reference="R-100"), bill("2", "2026-03-03 10:00", reference="R-100")
    for change in (
        {"state": "cancel"},
        {"reference": "X-4711"},
        {"op": "d"},
        {"commercial_partner_id": "8"},
        {"payment_state": "reversed", "state": "posted"},
    ):
        replay = documents()
        replay.feed([first, second, bill("2", "2026-03-04 10:00", **{"reference": "R-100", **change})])
        (finding,) = last(relate(replay).outputs(FINDING))
        assert finding.status == "retracted", change
        replay.feed([bill("2", "2026-03-05 10:00", reference="R-100")])
        (finding,) = last(relate(replay).outputs(FINDING))
        assert finding.status == "open", change


def test_credit_notes() -> None:
    """A credit note after both settles the pair; one between them makes the later a bill that came again."""
    one = bill("1", "2026-03-02 10:00", reference="R-100", created_at=at("2026-03-02 10:00"))
    two = bill("2", "2026-03-20 10:00", reference="R-100", created_at=at("2026-03-20 10:00"))

    def note(created: str, of: str, **fields: Any) -> Bill:
        body = {"move_type": "in_refund", "state": "posted", "reference": "CN-1", **fields}
        return bill("9", created, created_at=at(created), reversed_key=f"odoo:bill:{of}", **body)

    (again,) = pairs(one, note("2026-03-10 10:00", "1"), two)
    assert (again.rule, again.status) == ("after_credit_note", "open")
    for late in (note("2026-03-25 10:00", "1"), note("2026-03-25 10:00", "2")):
        (settled,) = pairs(one, two, late)
        assert settled.status == "retracted"
    (not_posted,) = pairs(one, two, note("2026-03-25 10:00", "2", state="draft"))
    assert not_posted.status == "open"
    (partial,) = pairs(one, two, note("2026-03-25 10:00", "2", amount_total=Decimal("10")))
    assert partial.status == "open"


def test_a_full_block_counts_what_it_drops() -> None:
    document = packaged_policy("default").document
    few = msgspec.structs.replace(document, duplicates=msgspec.structs.replace(document.duplicates, block_cap=5))
    replay = documents()
    replay.feed(bill(str(n), "2026-03-02 10:00", reference="R-100", origin=None) for n in range(8))
    related = relate(replay, policies=PolicySet([Policy(few)]))
    kpis = {kpi.kpi: kpi.value for kpi in related.stage.kpis(related.view, {"odoo": 1}) if isinstance(kpi, Kpi)}
    assert kpis["duplicate_block_dropped"] == 3 * 3  # of the number's block, the day's and the amount's
    assert len(last(related.outputs(FINDING))) == kpis["findings_open"]
    assert kpis["findings_open"] < 8 * 7 / 2


def test_a_pair_that_meets_again_elsewhere_is_another_finding_there() -> None:
    replay = documents()
    replay.feed(bill(n, f"2026-03-0{n} 10:00", reference="R-100") for n in "12")
    replay.feed(bill(n, f"2026-03-1{n} 10:00", reference="R-100", commercial_partner_id="8") for n in "12")
    for partitions in (1, 2, 5):
        for order in (lambda facts: facts, lambda facts: sorted(facts, key=lambda f: f.document_key, reverse=True)):
            said = last(spread(sent(replay), partitions, order))
            (found_there,) = [one for one in said if one.status != "retracted"]
            assert found_there.status in ("open", "updated")
    first, there = last(spread(sent(replay), 5, lambda facts: facts))
    assert {first.status, there.status} == {"open", "retracted"}


def test_every_fact_is_applied_once() -> None:
    replay = documents()
    replay.feed([bill("1", "2026-03-02 10:00", reference="R-100"), bill("2", "2026-03-03 10:00", reference="R-100")])
    facts = sent(replay)
    assert relate(replay, facts * 3).outputs(FINDING) == relate(replay).outputs(FINDING)


def test_a_bill_is_sent_once_to_each_key_and_again_only_when_it_changed() -> None:
    replay = documents()
    replay.feed([bill("1", "2026-03-02 10:00", reference="R-100")])
    assert [fact.relation_key for fact in sent(replay)] == ["duplicate_bill:odoo:v:7", "duplicate_bill:odoo:a:100:EUR"]
    replay.feed([bill("1", "2026-03-03 10:00", reference="R-100", state="posted", payment_state="paid")])
    assert len(sent(replay)) == 2
    replay.feed([bill("1", "2026-03-04 10:00", reference="R-100", amount_total=Decimal("120"))])
    assert [(fact.op, fact.relation_key.split(":")[2]) for fact in sent(replay)[2:]] == [
        ("withdraw", "a"),
        ("put", "v"),
        ("put", "a"),
    ]


def test_facts_of_earlier_versions_are_passed_over_and_bad_ones_are_dead_letters() -> None:
    replay = documents()
    replay.feed([bill("1", "2026-03-02 10:00", reference="R-100")])
    fact = sent(replay)[0]
    old = msgspec.structs.replace(fact, relation="duplicate_reference", relation_key="duplicate_reference:odoo:1|7|r1")
    assert relate(replay, [old]).outputs(FINDING) == []
    for bad in (
        msgspec.structs.replace(fact, attributes="{}"),
        msgspec.structs.replace(fact, attributes=None),
        msgspec.structs.replace(fact, relation_key="duplicate_bill:odoo"),
        msgspec.structs.replace(fact, relation="no_such"),
    ):
        with pytest.raises(InvalidEvent):
            relate(replay, [bad])


# -- against expenses and orders --


def claimed(text: str | None = None, *more: ExpenseLine, amount: str = "1234.56", **fields: Any) -> Event:
    """A submitted report with a taxi, and an expense of 1,234.56 on the bill's day."""
    line = {"date": day("2026-03-01"), "label": text} | fields.pop("line", {})
    total = int(Decimal(amount) * 10**6)
    lines = [ExpenseLine("1", "Taxi", 20_000_000, day("2026-02-03")), ExpenseLine("2", total=total, **line), *more]
    return expense(
        "5", fields.pop("when", "2026-03-20 10:00"), **{"state": "submit", "currency": "EUR", "lines": lines, **fields}
    )


def met(*events: Event, backwards: bool = False) -> Replay:
    """The relations stage after what the documents stage made of the events, topic by topic."""
    replays: dict[str, Replay] = {}
    for event in events:
        replays.setdefault(event.entity, documents(event.entity)).feed([event])
    facts = [fact for replay in replays.values() for fact in sent(replay)]
    return relate(documents(), sorted(facts, key=lambda fact: fact.observed_at, reverse=backwards))


BILLED = bill(
    "1", "2026-03-02 10:00", reference="INV-417", amount_total=Decimal("1234.56"), vendor_name="North Steel NV"
)


@pytest.mark.parametrize(
    "one",
    [
        claimed("Beams, north steel (Ghent)"),
        claimed(line={"vendor_name": "NORTH STEEL"}),
        claimed(line={"vendor_id": "7", "vendor_name": "whoever"}),
        claimed("North Steel", line={"date": day("2026-03-04")}),
    ],
)
def test_an_expense_of_an_employee_for_a_bill_of_the_vendor(one: Event) -> None:
    for backwards in (False, True):
        (finding,) = last(met(BILLED, one, backwards=backwards).outputs(FINDING))
        assert (finding.rule, finding.status) == ("across_types", "open")
        assert set(finding.document_keys) == {"odoo:expense_report:5", "odoo:bill:1"}
        assert finding.amount_at_risk == Decimal("1234.56")
    refused = msgspec.structs.replace(one, state="cancel", event_id="f" * 32, occurred_at=at("2026-03-25 10:00"))
    (finding,) = last(met(BILLED, one, refused).outputs(FINDING))
    assert (finding.status, finding.version) == ("retracted", 2)


@pytest.mark.parametrize(
    "one",
    [
        claimed("Beams"),  # of nobody's that is known
        claimed("North Steel", amount="1234.50"),
        claimed("North Steel", line={"date": day("2026-02-10")}),
        claimed("North Steel", state="draft"),
        claimed("North Steel", currency="USD"),
    ],
)
def test_an_expense_that_is_none_of_the_vendor_s_bills(one: Event) -> None:
    assert met(BILLED, one).outputs(FINDING) == []


def test_expenses_are_not_compared_with_one_another_and_can_be_dismissed() -> None:
    again = ExpenseLine("3", "North Steel", 1_234_560_000, day("2026-03-01"))
    one = claimed("North Steel", again)
    related = met(one, BILLED)
    assert len(last(related.outputs(FINDING))) == 2, "each of the two with the bill"
    replay = documents("expense_report")
    replay.feed([claimed("North Steel", created_at=at("2026-03-19 10:00"))])
    bills = documents()
    bills.feed([BILLED])
    (finding,) = last(relate(bills, [*sent(bills), *sent(replay)]).outputs(FINDING))
    assert finding.entity == "expense_report"
    replay.stage.apply(replay.view, feedback(finding), 9)
    (now,) = last(relate(bills, [*sent(bills), *sent(replay)]).outputs(FINDING))
    assert (now.status, now.finding_id) == ("dismissed", finding.finding_id)


def parts(**fields: Any) -> list[Bill]:
    """Two bills of 700.10 and 300, without a reference and an order."""
    return [
        bill(
            str(n), f"2026-03-1{n} 10:00", created_at=at(f"2026-03-1{n} 09:00"), amount_total=Decimal(amount),
            **{"reference": None, "origin": None, **fields},
        )
        for n, amount in ((2, "700.10"), (3, "300"))
    ]  # fmt: skip


def ordered(**fields: Any) -> Event:
    body = {
        "state": "purchase", "partner_id": "7", "amount_total": Decimal("1000.10"), "currency": "EUR", "name": "P0007",
    }  # fmt: skip
    return world.order("7", fields.pop("when", "2026-03-02 10:00"), **{**body, **fields})


def test_bills_that_come_to_an_order_they_do_not_name() -> None:
    for backwards in (False, True):
        (finding,) = last(met(ordered(), *parts(), backwards=backwards).outputs(FINDING))
        assert (finding.rule, finding.status, finding.amount_at_risk) == ("split", "open", Decimal("1000.10"))
        assert finding.document_keys == ["odoo:bill:3", "odoo:bill:2", "odoo:purchase_order:7"]
        assert "Together the bills come to an order that they do not name." in finding.reasons
    assert "No other bills come to the order." in finding.reasons
    halves = [
        bill(str(n), "2026-03-05 10:00", reference=f"R-{n}00", origin="P0007", amount_total=Decimal("500.05"))
        for n in (8, 9)
    ]
    (surer,) = [one for one in last(met(ordered(), *halves, *parts()).outputs(FINDING)) if one.rule == "split"]
    assert "Other bills come to the order already." in surer.reasons
    assert surer.score is not None
    assert finding.score is not None
    assert surer.score > finding.score
    cancelled = ordered(when="2026-03-20 10:00", state="cancel")
    (finding,) = last(met(ordered(), *parts(), cancelled).outputs(FINDING))
    assert finding.status == "retracted"


@pytest.mark.parametrize(
    "events",
    [
        [ordered(), *parts(origin="P0007")],  # deliveries of the order
        [ordered(), *parts(origin="P0009")],
        [ordered(state="draft"), *parts()],
        [ordered(partner_id="8"), *parts()],
        [ordered(currency="USD"), *parts()],
        [ordered(amount_total=Decimal("1000.20")), *parts()],
        [ordered(created_at=at("2026-03-14 10:00")), *parts()],
        [ordered(), *parts(reference="R-9")],
        [ordered(), parts()[0]],
    ],
)
def test_bills_that_come_to_no_order(events: list[Event]) -> None:
    assert [one for one in last(met(*events).outputs(FINDING)) if one.rule == "split"] == []


# -- what people think of a finding --


def test_a_dismissed_finding_says_who_and_why_and_can_be_opened_again() -> None:
    replay = documents()
    replay.feed([bill("1", "2026-03-02 10:00", reference="R-100"), bill("2", "2026-03-03 10:00", reference="R-100")])
    (finding,) = last(relate(replay).outputs(FINDING))
    said = feedback(finding)
    replay.feed([])
    replay.stage.apply(replay.view, said, 9)
    assert replay.stage.apply(replay.view, said, 10) is False  # a repeat
    related = relate(replay)
    (now,) = last(related.outputs(FINDING))
    assert (now.status, now.score) == ("dismissed", finding.score)
    assert now.reasons[-1] == "Dismissed by 12: Two deliveries"
    kpis = {kpi.kpi: kpi.value for kpi in related.stage.kpis(related.view, {"odoo": 1}) if isinstance(kpi, Kpi)}
    assert kpis["findings_open"] == 0
    # It stays so when the bill changes, until somebody takes it back.
    replay.feed([bill("2", "2026-03-05 10:00", reference="r 100")])
    (now,) = last(relate(replay).outputs(FINDING))
    assert (now.status, now.rule) == ("dismissed", "normalised_reference")
    replay.stage.apply(replay.view, feedback(finding, "reopened", 1), 11)
    (now,) = last(relate(replay).outputs(FINDING))
    assert now.status == "updated"


def test_feedback_about_nothing_is_a_dead_letter() -> None:
    replay = documents()
    replay.feed([bill("1", "2026-03-02 10:00", reference="R-100"), bill("2", "2026-03-03 10:00", reference="R-100")])
    (finding,) = last(relate(replay).outputs(FINDING))
    with pytest.raises(InvalidEvent):
        replay.stage.apply(replay.view, msgspec.structs.replace(feedback(finding), document_key="odoo:bill:77"), 9)


def test_dismissed_findings_of_a_vendor_count_against_others_like_them_and_hide_none() -> None:
    """The second pair is weaker for it, and says so; after the third it is reported as doubtful, not left out."""
    replay = documents()
    for n in range(5):
        paper = {"reference": None, "amount_total": Decimal(100 + n), "origin": None}
        replay.feed(bill(f"{n}{m}", f"2026-03-0{m} 10:00", **paper) for m in (1, 2))
    other = {"reference": None, "amount_total": Decimal(900), "origin": None, **OTHER_VENDOR}
    replay.feed(bill(f"9{m}", f"2026-03-0{m} 10:00", **other) for m in (1, 2))
    before = {f.document_keys[0]: f for f in last(relate(replay).outputs(FINDING))}
    assert len(before) == 6
    for n in range(3):
        replay.stage.apply(replay.view, feedback(before[f"odoo:bill:{n}2"], n=n), n)
    after = {f.document_keys[0]: f for f in last(relate(replay).outputs(FINDING))}
    assert [after[f"odoo:bill:{n}2"].status for n in range(5)] == ["dismissed"] * 3 + ["updated"] * 2
    weaker, same = after["odoo:bill:42"], before["odoo:bill:42"]
    assert weaker.score is not None
    assert same.score is not None
    assert weaker.score < same.score
    assert weaker.reasons[-1] == "Findings like this about this vendor were dismissed before."
    assert (same.severity, weaker.severity) == ("high", "low")
    assert after["odoo:bill:92"] == before["odoo:bill:92"]


# -- age --


def aged(*events: Bill, restart: bool = False) -> Replay:
    replay = documents()
    replay.feed(events)
    related = Replay(relations_stage(POLICIES), RELATION)
    for fact in sent(replay):
        if restart:
            related.view.restart()
        related.feed([msgspec.convert(msgspec.to_builtins(fact), RelationFact)])
    return related


def rows_of(related: Replay, record: str) -> list[str]:
    keys = set(related.view.rows.keys())
    return [key for key in keys if key.endswith(f":odoo:bill:{record}")]


def blocks_of(related: Replay) -> set[str]:
    keys = set(related.view.rows.keys())
    return {key for key in keys if key.startswith("b:odoo:")}


def test_a_bill_that_nothing_was_said_of_is_forgotten_after_its_time() -> None:
    paper = {"reference": "R-100", "origin": None}
    first = bill("1", "2025-01-02 10:00", created_at=at("2025-01-02 10:00"), invoice_date=day("2025-01-02"), **paper)
    others = {"reference": "X-1", "origin": None, "amount_total": Decimal(7), **OTHER_VENDOR}
    day_before, day_after = (bill("8", when, **others) for when in ("2026-02-05 10:00", "2026-02-07 10:00"))
    assert len(rows_of(aged(first, day_before), "1")) == 2, "under its vendor and under its amount"
    gone = aged(first, day_after)
    assert rows_of(gone, "1") == []
    assert blocks_of(gone) == blocks_of(aged(day_after)), "no block of it is left"
    again = bill("2", "2026-02-08 10:00", created_at=at("2026-02-08 10:00"), invoice_date=day("2025-01-02"), **paper)
    assert len(aged(first, day_before, again).outputs(FINDING)) == 0, "its time was over before the copy came"
    early = bill("2", "2025-12-08 10:00", created_at=at("2025-12-08 10:00"), invoice_date=day("2025-01-02"), **paper)
    (found_in_time,) = aged(first, early).outputs(FINDING)
    assert isinstance(found_in_time, Finding)
    assert found_in_time.rule == "exact_reference"
    for events in ((first, day_after, again), (first, early, day_after)):
        plain, restarted = aged(*events), aged(*events, restart=True)
        assert plain.outputs(FINDING) == restarted.outputs(FINDING)
        assert sorted(plain.view.rows.keys()) == sorted(restarted.view.rows.keys())


def test_what_something_was_said_of_stays_and_can_be_taken_back() -> None:
    paper = {"reference": "R-100", "origin": None, "created_at": at("2024-01-02 10:00")}
    late = {"reference": "X-1", "origin": None, "amount_total": Decimal(7), **OTHER_VENDOR}
    related = aged(
        bill("1", "2024-01-02 10:00", **paper),
        bill("2", "2024-01-09 10:00", **paper),
        bill("8", "2026-02-05 10:00", **late),
        bill("2", "2026-02-06 10:00", state="cancel", **paper),
    )
    assert [f.status for f in related.outputs(FINDING) if isinstance(f, Finding)] == ["open", "retracted"]


def test_a_correction_starts_the_time_anew_and_a_policy_may_keep_bills_for_ever() -> None:
    first = bill("1", "2025-01-02 10:00", reference="R-100", origin=None)
    corrected = bill("1", "2025-06-02 10:00", reference="R-101", origin=None)
    late = bill("8", "2026-03-05 10:00", reference="X-1", origin=None, amount_total=Decimal(7), **OTHER_VENDOR)
    assert rows_of(aged(first, late), "1") == []
    assert len(rows_of(aged(first, corrected, late), "1")) == 2
    document = packaged_policy("default").document
    always = msgspec.structs.replace(
        document, duplicates=msgspec.structs.replace(document.duplicates, forget_after_days=0)
    )
    replay = documents()
    replay.feed([first, late])
    assert len(rows_of(relate(replay, policies=PolicySet([Policy(always)])), "1")) == 2


# -- whatever the order and the partitions --

Order = Callable[[list[Relation]], Sequence[Relation]]
RELATIONS = relations_stage(POLICIES)
"""Keeps nothing of what it is fed, only policies that it has read."""


def sent(replay: Replay) -> list[Relation]:
    return [f for f in replay.outputs(RELATION) if isinstance(f, Relation) and f.relation == "duplicate_bill"]


def spread(facts: Iterable[Relation], partitions: int, order: Order, changes: Sequence[PolicyChange] = ()) -> list[Any]:
    """What the partitions of the relations stage say, each fed with its facts in an order of its own.

    ``changes``: policies that were published before.
    """
    parts: dict[int, list[Relation]] = {}
    for fact in facts:
        parts.setdefault(crc32(fact.relation_key.encode()) % partitions, []).append(fact)
    said: list[Any] = []
    for mine in parts.values():
        related = Replay(RELATIONS, RELATION)
        related.feed(changes)
        related.feed(msgspec.convert(msgspec.to_builtins(fact), RelationFact) for fact in order(mine))
        said += related.outputs(FINDING)
    return said


def standing(outputs: Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Finding] = {}
    for one in last(outputs):
        found[one.finding_id] = one
    return {
        key: (
            f.status == "dismissed",
            f.rule,
            f.score,
            f.severity,
            f.reasons,
            f.document_keys,
            f.amount_at_risk,
            f.evidence,
            f.opened_at,
            f.policy_version,
        )
        for key, f in found.items()
        if f.status != "retracted"
    }


references = st.sampled_from(["R-1007", "r 1007", "R-10007", "R-1070", "R1OO7", "R-1007/1", None])


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """A handful of bills, each seen a few times: corrected, cancelled, credited, split, moved between vendors; an order
    that they may come to, and an employee's expenses.
    """
    found: list[Event] = []
    for n in range(draw(st.integers(3, 14))):
        record = str(draw(st.integers(1, 5)))
        when, other = f"2026-03-{n + 10:02d} 10:00", draw(st.integers(0, 7))
        if other == 0:
            state = draw(st.sampled_from(["purchase", "purchase", "cancel"]))
            total = Decimal(draw(st.sampled_from([300, 400])))
            found.append(ordered(when=when, state=state, amount_total=total, name="P1"))
            continue
        if other == 1:
            line = {"vendor_id": draw(st.sampled_from([None, "7", "8"])), "vendor_name": "North"}
            state = draw(st.sampled_from(["submit", "approve", "cancel"]))
            found.append(
                claimed("Taxi", amount=draw(st.sampled_from(["100", "200"])), line=line, state=state, when=when)
            )
            continue
        fields: dict[str, Any] = {"state": draw(st.sampled_from(["draft", "posted", "posted", "cancel"]))}
        fields["amount_total"] = Decimal(draw(st.sampled_from([100, 100, 200, 300])))
        fields["commercial_partner_id"] = draw(st.sampled_from(["7", "7", "8"]))
        fields["vendor_vat"] = draw(st.sampled_from([None, "BE1"]))
        fields["vendor_name"] = draw(st.sampled_from([None, "North NV", "North"]))
        fields["invoice_date"] = day("2026-03-01") + draw(st.sampled_from([0, 0, 3, 31]))
        fields["origin"] = draw(st.sampled_from([None, "P1"]))
        fields["created_at"] = at(f"2026-03-0{int(record) + 2} 09:00")
        if draw(st.integers(0, 5)) == 0:
            fields["move_type"] = "in_refund"
            fields["reversed_key"] = draw(st.sampled_from([None, "odoo:bill:1", "odoo:bill:2"]))
        found.append(bill(record, f"2026-03-{n + 10:02d} 10:00", reference=draw(references), **fields))
    return found


@settings(deadline=None, max_examples=40)
@given(histories(), st.integers(1, 4), st.data())
def test_any_order_and_any_partitions_end_in_the_same_findings(
    events: list[Event], partitions: int, data: st.DataObject
) -> None:
    replay = documents()
    replay.feed(events)
    plain = relate(replay).outputs(FINDING)
    dismissed = [f for f in last(plain) if f.status != "retracted" and data.draw(st.booleans())]
    for n, finding in enumerate(dismissed):
        replay.stage.apply(replay.view, feedback(finding, n=n), n)

    wanted = standing(relate(replay).outputs(FINDING))
    assert standing(spread(sent(replay), partitions, mixed(data))) == wanted
    # And what stands is what the last sight of each bill says, whatever it was before.
    fresh = documents()
    fresh.feed({event.document_key: event for event in events}.values())
    for n, finding in enumerate(dismissed):
        if f"r:{finding.document_keys[0]}" in set(fresh.view.rows.keys()):
            fresh.stage.apply(fresh.view, feedback(finding, n=n), n)
    if not dismissed:
        assert {k: (*v[1:7], v[8]) for k, v in standing(relate(fresh).outputs(FINDING)).items()} == {
            k: (*v[1:7], v[8]) for k, v in wanted.items()
        }


@cache
def following() -> PolicyChange:
    """Another policy from 17 March on, amid the histories, with one company that has its own."""
    raw = msgspec.to_builtins(packaged_policy("default").document, str_keys=True)
    raw["version"] = "next"
    raw["duplicates"] |= {"report_at": 0.8, "date_window_days": 40, "min_reference_length": 5, "severity": "low"}
    raw["companies"] = {"2": {"duplicates": {"report_at": 0.3, "owner": "controller"}}}
    policy = parse_policy(raw)
    record = change_record(policy, at("2026-03-09 10:00"), packaged_policy("default"), at("2026-03-17 00:00"))
    return msgspec.convert(msgspec.to_builtins(record), PolicyChange)


@st.composite
def copies(draw: st.DrawFn) -> list[Event]:
    """Bills of one paper in two companies, some of them corrected, before the change of the policy and after it."""
    found: list[Event] = []
    for n in range(draw(st.integers(2, 7))):
        record = str(draw(st.integers(1, 4)))
        fields: dict[str, Any] = {"company_id": draw(st.sampled_from("12")), "amount_total": Decimal(100)}
        fields["invoice_date"] = day("2026-03-01") + draw(st.sampled_from([0, 0, 20]))
        fields["created_at"] = at(f"2026-03-0{int(record) + 2} 09:00")
        fields["reference"] = draw(st.sampled_from(["R-1007", "R-1007", "r 1007", "R-1070", "R7", None]))
        found.append(bill(record, f"2026-03-{2 * n + 10:02d} 10:00", **fields))
    return found


@settings(deadline=None, max_examples=40)
@given(copies(), st.integers(1, 3), st.data())
def test_any_order_ends_in_the_same_findings_across_a_change_of_the_policy(
    events: list[Event], partitions: int, data: st.DataObject
) -> None:
    """Whoever comes last, and whenever: a pair is judged by the policy that its own bills ask for."""
    replay = documents()
    replay.feed(events)
    change = following()
    wanted = standing(spread(sent(replay), 1, lambda facts: facts, [change]))
    assert standing(spread(sent(replay), partitions, mixed(data), [change])) == wanted


def mixed(data: st.DataObject) -> Order:
    """Each document's facts keep their order; the documents' mix freely, and some come again."""

    def order(facts: list[Relation]) -> list[Relation]:
        rest = [[f for f in facts if f.document_key == key] for key in sorted({f.document_key for f in facts})]
        found: list[Relation] = []
        while any(rest):
            source = data.draw(st.sampled_from([i for i, queue in enumerate(rest) if queue]))
            found.append(rest[source].pop(0))
            if data.draw(st.booleans()):
                found.append(data.draw(st.sampled_from(found)))
        return found

    return order


def test_a_pair_opens_when_the_later_bill_was_entered_whenever_the_two_meet() -> None:
    """The two bills may be on different partitions: one may be corrected before the other is read."""
    made = {"1": at("2026-03-02 09:00"), "2": at("2026-03-03 09:00")}
    replay = documents()
    for record, when, origin in (("1", "03-02", None), ("2", "03-03", None), ("1", "03-09", "P1")):
        fields = {"reference": "R-1007", "created_at": made[record], "origin": origin}
        replay.feed([bill(record, f"2026-{when} 10:00", **fields)])
    first, second, corrected = (
        [fact for fact in sent(replay) if fact.version == version and fact.document_key == f"odoo:bill:{record}"]
        for record, version in (("1", 1), ("2", 1), ("1", 2))
    )
    said = []
    for order in ([*first, *second, *corrected], [*first, *corrected, *second], [*second, *first, *corrected]):
        [finding] = last(spread(order, 1, lambda facts: facts))
        said.append((finding.opened_at, finding.updated_at, finding.evidence))
    assert said[0][0] == made["2"]
    assert said == said[:1] * 3


@settings(deadline=None, max_examples=20)
@given(histories(), st.integers(0, 40))
def test_a_restart_anywhere_changes_nothing(events: list[Event], where: int) -> None:
    replay = documents()
    replay.feed(events)
    facts = [msgspec.convert(msgspec.to_builtins(fact), RelationFact) for fact in sent(replay)]
    whole, again = Replay(relations_stage(POLICIES), RELATION), Replay(relations_stage(POLICIES), RELATION)
    whole.feed(facts)
    again.feed(facts[:where])
    again.view.restart()
    again.feed(facts[where:])
    assert again.outputs(FINDING) == whole.outputs(FINDING)


@given(st.text(max_size=30))
def test_normalising_is_total_and_blocks_hold_what_matches(text: str) -> None:
    forms = reference(text)
    again = reference(forms.joined)
    assert again.joined == forms.joined
    assert reference(text.upper()).block == reference(text.upper().lower()).block
    assert forms.joined.replace("0", "") == forms.padded.replace("0", "")


def test_what_a_fact_says_besides_its_columns() -> None:
    replay = documents()
    paper = {
        "amount_untaxed": Decimal("82.64"),
        "vendor_vat": "BE1",
        "vendor_name": "North NV",
        "bank_account_hash": "a",
    }
    replay.feed([bill("1", "2026-03-02 10:00", reference="R-100", **paper)])
    assert msgspec.json.decode(sent(replay)[0].attributes or "") == {
        "created_at": at("2026-03-02 09:00"),
        "entered_at": at("2026-03-02 10:00"),
        "net": "82.64",
        "order": "P0001",
        "vat": "BE1",
        "bank": "a",
        "name": "North NV",
        "posted": False,
    }
