"""Orders, receipts and bills that meet: each rule's example, corrections, and that order of arrival means nothing."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finwatch.domain.events import BillLine, Event, OrderLine, ReceiptLine, RelationFact
from finwatch.domain.matching.rules import RULES
from finwatch.domain.policy import RELATED_TYPES, Handling, MatchingSection, Policy, PolicySet, Tolerance
from finwatch.domain.records import ExceptionRecord, Finding, Kpi, Rate, Relation
from finwatch.runtime.topics import EXCEPTION, FINDING, RATE, RELATION
from streams.agents.registry import documents_stage, relations_stage
from streams.agents.replay import Replay
from tests.unit.agents.world import POLICIES, at, bill, day, latest, moved, order, receipt

ORDER = "odoo:purchase_order:1"
MILLION = 1_000_000


def ordered(quantity: int, price: int = 125, **fields: Any) -> OrderLine:
    """An order line, 125 a unit."""
    body: dict[str, Any] = {"line_id": "10", "unit": "Units", "product_id": "7", "quantity_received": 0, **fields}
    return OrderLine(
        quantity=quantity * MILLION, price_unit=price * MILLION, subtotal=quantity * price * MILLION, **body
    )


def billed(quantity: int, price: int = 125, **fields: Any) -> BillLine:
    """A bill's line for that order line."""
    body: dict[str, Any] = {"purchase_line_id": "10", "purchase_order_key": ORDER, "unit": "Units", **fields}
    return BillLine(
        quantity=quantity * MILLION, price_unit=price * MILLION, subtotal=quantity * price * MILLION, **body
    )


def taxed(total: int | str, *ids: str) -> dict[str, Any]:
    """What a line of ten at 125 comes to with these taxes."""
    return {"total": int(Decimal(total) * MILLION), "tax_ids": list(ids)}


def came(quantity: int, **fields: Any) -> ReceiptLine:
    """A receipt's line for that order line."""
    return ReceiptLine(**{"purchase_line_id": "10", "unit": "Units", "quantity_done": quantity * MILLION, **fields})


def the_order(*lines: OrderLine, when: str = "2026-03-02 10:00", state: str = "purchase", **fields: Any) -> Event:
    return order("1", when, state=state, lines=list(lines), currency="EUR", receipt_status="pending", **fields)


def the_receipt(*lines: ReceiptLine, record: str = "5", when: str = "2026-03-04 10:00", **fields: Any) -> Event:
    return receipt(record, when, state="done", done_at=at(when), purchase_order_key=ORDER, lines=list(lines), **fields)


def the_bill(*lines: BillLine, record: str = "20", when: str = "2026-03-05 10:00", **fields: Any) -> Event:
    body: dict[str, Any] = {"state": "posted", "invoice_date": day("2026-03-05"), "created_at": at(when), **fields}
    return bill(record, when, lines=list(lines), **body)


def back(quantity: int, **fields: Any) -> ReceiptLine:
    """A line of goods that go back to the vendor, as returns of a receipt are made in Odoo."""
    less = -quantity * MILLION
    return ReceiptLine(
        **{
            "purchase_line_id": "10",
            "unit": "Units",
            "quantity_done": less,
            "quantity_expected": less,
            "to_refund": True,
            **fields,
        }
    )


def the_return(*lines: ReceiptLine, record: str = "8", when: str = "2026-03-06 10:00", **fields: Any) -> Event:
    return the_receipt(*lines, record=record, when=when, **fields)


def the_credit(*lines: BillLine, record: str = "29", when: str = "2026-03-09 10:00", **fields: Any) -> Event:
    return the_bill(*lines, record=record, when=when, move_type="in_refund", **fields)


def paid(record: str = "20", when: str = "2026-03-06 10:00") -> Event:
    return moved("bill", record, when, "paid", "not_paid", "paid", field="payment_state", actor="9")


def facts_of(events: Iterable[Event], policies: PolicySet = POLICIES, until: str | None = None) -> list[RelationFact]:
    """What the documents stage tells of them; one partition an entity, the time of each goes on to ``until``."""
    stage, replays = documents_stage(policies), dict[str, Replay]()
    for event in events:
        replay = replays.setdefault(event.entity, Replay(stage, f"finance.{event.entity}.v1"))
        replay.feed([event])
    for replay in replays.values() if until is not None else ():
        replay.heartbeat("odoo", at(until), "log")
    return [
        msgspec.convert(msgspec.to_builtins(one), RelationFact)
        for replay in replays.values()
        for one in replay.outputs(RELATION)
        if isinstance(one, Relation) and one.relation == "order"
    ]


def judged(facts: Iterable[RelationFact], policies: PolicySet = POLICIES) -> dict[str, Finding]:
    """The latest version of each finding."""
    replay = Replay(relations_stage(policies), RELATION)
    replay.feed(facts)
    return latest(replay.outputs(FINDING), "finding_id")


def found(events: Iterable[Event], policies: PolicySet = POLICIES) -> list[Finding]:
    """What stands: without what was taken back."""
    return [one for one in judged(facts_of(events, policies), policies).values() if one.status != "retracted"]


def exceptions_of(
    events: Iterable[Event], policies: PolicySet = POLICIES, until: str | None = None
) -> dict[str, ExceptionRecord]:
    """The latest version of each exception that the relations stage tells, by type."""
    replay = Replay(relations_stage(policies), RELATION)
    replay.feed(facts_of(events, policies, until))
    return {one.type: one for one in latest(replay.outputs(EXCEPTION), "exception_id").values()}


def under(matching: MatchingSection) -> PolicySet:
    document = msgspec.structs.replace(POLICIES.of("odoo").document, matching=matching)
    return PolicySet([Policy(document)])


EXAMPLES: dict[str, tuple[list[Event], list[str], Decimal | None, str]] = {
    "price_above_order": (
        [the_order(ordered(16)), the_receipt(came(16)), the_bill(billed(16, 140))],
        ["Order line 1: the billed price is 12.0 % above the order's."],
        Decimal(240),
        "open",
    ),
    "price_below_order": (
        [the_order(ordered(16)), the_receipt(came(16)), the_bill(billed(16, 100))],
        ["Order line 1: the billed price is 20.0 % below the order's."],
        Decimal(-400),
        "open",
    ),
    "over_billed": (
        [the_order(ordered(16)), the_receipt(came(16)), the_bill(billed(19))],
        ["Order line 1: 18.8 % more than was ordered is billed."],
        Decimal(375),
        "open",
    ),
    "over_received": (
        [
            the_order(ordered(10)),
            the_receipt(came(6)),
            the_receipt(came(5), record="6", when="2026-03-05 10:00"),
        ],
        ["Order line 1: 10.0 % more than was ordered came in."],
        Decimal(125),
        "open",
    ),
    "billed_before_receipt": (
        [
            the_order(ordered(10)),
            the_receipt(came(7)),
            the_bill(billed(10)),  # a Thursday at eleven in Brussels
            bill("99", "2026-03-09 10:00", created_at=at("2026-03-09 10:00")),
        ],
        ["Order line 1: 30.0 % of what is billed had not come in when its grace ended."],
        Decimal(375),
        "open",
    ),
    "paid_before_receipt": (
        [the_order(ordered(10)), the_receipt(came(7)), the_bill(billed(10)), paid()],
        ["Order line 1: it was paid while 30.0 % of what is billed had not come in."],
        Decimal(375),
        "open",
    ),
    "billed_after_return": (
        [
            the_order(ordered(10)),
            the_receipt(came(10)),
            the_return(back(3), when="2026-03-04 15:00"),
            the_bill(billed(10)),
        ],
        ["Order line 1: 30.0 % of what is billed had gone back before."],
        Decimal(375),
        "open",
    ),
    "return_not_credited": (
        [
            the_order(ordered(10)),
            the_receipt(came(10)),
            the_bill(billed(10)),
            the_return(back(4)),  # a Friday
            receipt("99", "2026-03-20 12:00"),
        ],
        ["Order line 1: 100.0 % of what went back was not credited when the grace ended."],
        Decimal(500),
        "open",
    ),
    "unordered_line": (
        [
            the_order(ordered(6, 100)),
            the_receipt(came(6)),
            the_bill(billed(6, 100), BillLine(quantity=MILLION, subtotal=400 * MILLION)),
        ],
        ["Lines that bill no order line come to 40.0 % of the bill."],
        Decimal(400),
        "open",
    ),
    "billed_cancelled_order": (
        [the_order(ordered(2)), the_order(ordered(2), state="cancel", when="2026-03-03 10:00"), the_bill(billed(2))],
        ["The order that it bills is cancelled."],
        Decimal(250),
        "open",
    ),
    "vendor_mismatch": (
        [
            the_order(ordered(10), partner_id="80", commercial_partner_id="8", vendor_vat="BE1"),
            the_receipt(came(10)),
            the_bill(billed(10), vendor_vat="BE2"),  # of a contact of vendor 7
        ],
        ["The vendor that bills is not the one that the order was given to."],
        Decimal(1250),
        "open",
    ),
    "tax_mismatch": (
        [
            the_order(ordered(10, **taxed(1325, "6"))),
            the_receipt(came(10)),
            the_bill(billed(10, **taxed("1512.5", "21"))),
        ],
        ["Order line 1: it is billed with other taxes than were ordered."],
        Decimal("187.5"),
        "open",
    ),
    "not_comparable": (
        [the_order(ordered(2, unit="Dozens")), the_receipt(came(2, unit="Dozens")), the_bill(billed(24, 10))],
        ["Order line 1: its unit differs from the order's, and how they convert is not known."],
        None,
        "open",
    ),
}


@pytest.mark.parametrize("rule", sorted(RULES))
def test_the_example_of_each_rule(rule: str) -> None:
    events, reasons, amount, status = EXAMPLES[rule]
    [finding] = found(events)
    assert (finding.rule, finding.detector) == (rule, "matching")
    assert finding.reasons == reasons
    assert finding.amount_at_risk == amount
    assert finding.status == status
    assert finding.title == RULES[rule].title
    assert finding.owner
    assert finding.next_action
    assert set(finding.evidence) <= {event.event_id for event in events}


def test_what_is_ordered_received_and_billed_alike_is_no_finding() -> None:
    events = [the_order(ordered(10)), the_receipt(came(10)), the_bill(billed(10)), paid()]
    assert found(events) == []


def test_within_the_tolerance_is_no_finding_and_a_vendor_may_have_another() -> None:
    events = [the_order(ordered(10, 100)), the_receipt(came(10)), the_bill(billed(10, 102))]
    assert found(events) == []
    strict = MatchingSection(tolerances=[Tolerance("strict", vendors=["7"], price_percent=Decimal(1))])
    assert found(events, under(strict)) == []
    named = [the_order(ordered(10, 100), partner_id="7"), *events[1:]]
    assert [one.rule for one in found(named, under(strict))] == ["price_above_order"]
    by_product = MatchingSection(tolerances=[Tolerance("tools", products=["7"], price_percent=Decimal(1))])
    assert [one.rule for one in found(events, under(by_product))] == ["price_above_order"]
    by_category = MatchingSection(tolerances=[Tolerance("steel", categories=["4"], price_percent=Decimal(1))])
    assert found(events, under(by_category)) == []
    steel = [the_order(ordered(10, 100, category_id="4")), *events[1:]]
    assert [one.rule for one in found(steel, under(by_category))] == ["price_above_order"]
    for named in ("All / Metal / Steel", "All / Metal"):
        by_name = under(MatchingSection(tolerances=[Tolerance("steel", categories=[named], price_percent=Decimal(1))]))
        for name, fits in (
            ("All / Metal / Steel", True),
            ("All / Metal / Steel bars", named == "All / Metal"),
            ("All", False),
        ):
            line = ordered(10, 100, category_id="4", category=name)
            assert bool(found([the_order(line), *events[1:]], by_name)) is fits, (named, name)
    loose = Tolerance("loose", categories=["4"], quantity_percent=Decimal(10))
    more = [the_order(ordered(10, category_id="4")), the_receipt(came(11)), the_bill(billed(11))]
    assert len(found(more)) == 2
    assert found(more, under(MatchingSection(tolerances=[loose]))) == []


@pytest.mark.parametrize(
    ("of_order", "of_bill", "differs"),
    [
        ({"commercial_partner_id": "8"}, {}, True),
        ({"commercial_partner_id": "8", "vendor_vat": "BE1"}, {}, True),  # of one no number is known
        ({"commercial_partner_id": "8", "vendor_vat": "BE 1"}, {"vendor_vat": "be1"}, False),  # one firm, two records
        ({"commercial_partner_id": "7"}, {"partner_id": "72"}, False),  # sister contacts
        ({"commercial_partner_id": "7", "vendor_vat": "BE1"}, {"vendor_vat": "BE2"}, False),  # its number was changed
        ({}, {}, False),  # an older version did not read whose contact it is
        ({"vendor_vat": "BE1"}, {"vendor_vat": "BE2"}, True),
        ({"partner_id": None}, {}, False),
        ({"commercial_partner_id": "8"}, {"partner_id": None, "commercial_partner_id": None}, False),
    ],
)
def test_vendors_are_firms_not_records(of_order: dict[str, Any], of_bill: dict[str, Any], differs: bool) -> None:
    events = [
        the_order(ordered(10), **{"partner_id": "71", **of_order}),
        the_receipt(came(10)),
        the_bill(billed(10), **of_bill),
    ]
    assert [one.rule for one in found(events)] == ["vendor_mismatch"] * differs


def test_a_vendor_that_is_put_right_takes_the_finding_back_and_a_credit_note_of_another_is_told_too() -> None:
    events = [the_order(ordered(10), partner_id="8", commercial_partner_id="8"), the_receipt(came(10))]
    wrong = the_bill(billed(10))
    right = {"commercial_partner_id": "8", "created_at": at("2026-03-05 10:00")}
    corrected = [*events, wrong, the_bill(billed(10), when="2026-03-06 10:00", **right)]
    assert [one.status for one in judged(facts_of(corrected)).values()] == ["retracted"]
    credit = the_bill(billed(2), record="21", when="2026-03-07 10:00", move_type="in_refund")
    [finding] = found([*events, the_bill(billed(10), **right), credit])
    assert (finding.rule, finding.amount_at_risk) == ("vendor_mismatch", Decimal(-250))


@pytest.mark.parametrize(
    ("of_order", "of_bill", "reason", "at_risk"),
    [
        (taxed(1325, "6"), taxed(1250), "it is billed without the taxes that were ordered.", -75),
        (taxed(1250), taxed(1325, "6"), "it is billed with taxes, and was ordered without.", 75),
        (taxed(1325, "6"), taxed(1325, "7"), "it is billed with other taxes than were ordered.", 0),
        (taxed(1325, "6"), {"tax_ids": ["7"]}, "it is billed with other taxes than were ordered.", None),
        (taxed(1325, "6", "9"), taxed(1325, "9", "6"), None, None),
        (taxed(1325, "6"), taxed(1325), None, None),  # it bears a tax, and which was not told
        (taxed(1325, "6"), {}, None, None),
        ({}, taxed(1325, "6"), None, None),
        (taxed(1325, "6"), taxed(1325, "61"), None, None),  # alike by the policy
    ],
)
def test_taxes_are_compared_where_both_are_told(
    of_order: dict[str, Any], of_bill: dict[str, Any], reason: str | None, at_risk: int | None
) -> None:
    alike = under(MatchingSection(alike_taxes=[["6", "61"]]))
    events = [the_order(ordered(10, **of_order)), the_receipt(came(10)), the_bill(billed(10, **of_bill))]
    told = [(one.rule, one.reasons, one.amount_at_risk) for one in found(events, alike)]
    assert told == ([] if reason is None else [("tax_mismatch", [f"Order line 1: {reason}"], at_risk)])
    if reason is not None:
        credit = the_bill(billed(1, **of_bill), record="21", when="2026-03-07 10:00", move_type="in_refund")
        assert [one.document_keys[0] for one in found([*events, credit], alike)] == ["odoo:bill:20"]


def test_units_are_converted_by_the_policys_table() -> None:
    events = [the_order(ordered(2, 120, unit="Dozens")), the_receipt(came(24)), the_bill(billed(24, 10))]
    units = MatchingSection(units={"Dozens": {"Units": Decimal(12)}})
    assert found(events, under(units)) == []
    dearer = [*events[:2], the_bill(billed(24, 11))]
    [finding] = found(dearer, under(units))
    assert finding.reasons == ["Order line 1: the billed price is 10.0 % above the order's."]
    assert finding.amount_at_risk == Decimal(24)


def test_units_are_converted_as_the_source_converted_them() -> None:
    dozens = ordered(2, 120, unit="Dozens", quantity_base=24 * MILLION)
    units = came(24, quantity_expected=24 * MILLION, quantity_base=24 * MILLION)
    events = [the_order(dozens), the_receipt(units), the_bill(billed(24, 10))]
    assert found(events) == []
    [finding] = found([*events[:2], the_bill(billed(24, 11))])
    assert finding.reasons == ["Order line 1: the billed price is 10.0 % above the order's."]
    more = came(30, quantity_expected=24 * MILLION, quantity_base=24 * MILLION)
    [finding] = found([events[0], the_receipt(more), events[2]])
    assert finding.reasons == ["Order line 1: 25.0 % more than was ordered came in."]
    # A bill in a unit that neither the order nor a receipt is told in stays unknown.
    assert [one.rule for one in found([events[0], the_bill(billed(24, 10))])] == ["not_comparable"]
    # What came is in the product's unit, billed in the order's: missing is told in the order's too.
    half = came(12, quantity_expected=24 * MILLION, quantity_base=24 * MILLION)
    early = [events[0], the_receipt(half), the_bill(billed(2, 120, unit="Dozens"))]
    [finding] = judged(facts_of(early, until="2026-03-20 10:00")).values()
    assert finding.reasons == ["Order line 1: 50.0 % of what is billed had not come in when its grace ended."]


def test_currencies_are_converted_by_the_documents_own_rates() -> None:
    company = {"currency": "USD", "amount_total": Decimal(1320), "amount_total_company": Decimal(-1200)}
    asked = the_order(ordered(10, 120), currency_rate=1.0)
    events = [asked, the_receipt(came(10)), the_bill(billed(10, 132), **company)]
    assert found(events) == []
    dearer = {**company, "amount_total": Decimal(1584), "amount_total_company": Decimal(-1440)}
    [finding] = found([*events[:2], the_bill(billed(10, 158), **dearer)])
    assert finding.rule == "price_above_order"
    assert (finding.amount_at_risk, finding.currency) == (Decimal(260), "USD")
    assert finding.company_amount == Decimal("236.36"), "260 at 1320 for 1200, as the bill was booked"
    unknown = {"currency": "USD", "amount_total": Decimal(1320), "amount_total_company": None}
    assert [one.rule for one in found([*events[:2], the_bill(billed(10, 132), **unknown)])] == ["not_comparable"]


def test_a_credit_note_takes_off_what_was_billed_too_much() -> None:
    events = [the_order(ordered(16)), the_receipt(came(16)), the_bill(billed(19))]
    credit = the_bill(billed(3), record="21", when="2026-03-07 10:00", move_type="in_refund")
    assert [one.rule for one in found(events)] == ["over_billed"]
    [finding] = found([*events, credit])
    assert (finding.status, finding.updated_at) == ("resolved", at("2026-03-07 10:00"))
    half = the_bill(billed(1), record="21", when="2026-03-07 10:00", move_type="in_refund")
    [finding] = found([*events, half])
    assert (finding.status, finding.amount_at_risk) == ("updated", Decimal(250))
    before = the_bill(billed(3), record="21", when="2026-03-03 10:00", move_type="in_refund")
    assert found([*events, before]) == []


def test_the_last_bill_is_the_one_too_many() -> None:
    events = [
        the_order(ordered(10)),
        the_receipt(came(10)),
        the_bill(billed(10)),
        the_bill(billed(10), record="21", when="2026-03-08 10:00"),
    ]
    [finding] = found(events)
    assert finding.rule == "over_billed"
    assert finding.document_keys == ["odoo:bill:21", ORDER]


def test_a_correction_takes_the_finding_back_and_a_receipt_resolves_what_was_paid() -> None:
    events = [the_order(ordered(16)), the_receipt(came(16)), the_bill(billed(16, 140))]
    corrected = [*events, the_bill(billed(16), when="2026-03-06 10:00", created_at=at("2026-03-05 10:00"))]
    assert [one.status for one in judged(facts_of(corrected)).values()] == ["retracted"]
    cancelled = [*events, the_bill(billed(16, 140), when="2026-03-06 10:00", state="cancel")]
    assert [one.status for one in judged(facts_of(cancelled)).values()] == ["retracted"]
    early = [the_order(ordered(10)), the_bill(billed(10)), paid()]
    assert [one.status for one in found(early)] == ["open"]
    [finding] = found([*early, the_receipt(came(10), when="2026-03-09 10:00")])
    assert finding.status == "resolved"
    assert finding.updated_at == at("2026-03-09 10:00")


def test_an_unchanged_document_is_told_once_and_a_decision_without_its_lines() -> None:
    events = [
        the_order(ordered(10)),
        the_order(ordered(10, quantity_billed=3 * MILLION), when="2026-03-02 11:00"),
        the_bill(billed(10)),
        the_bill(billed(10), when="2026-03-05 12:00", created_at=at("2026-03-05 10:00")),
        paid(),
    ]
    told = facts_of(events)
    assert [(one.entity, one.version) for one in told] == [("purchase_order", 1), ("bill", 1), ("bill", 2)]
    assert "lines" not in (told[-1].attributes or "")


def test_attributes_that_are_no_facts_are_refused() -> None:
    [fact] = facts_of([the_order(ordered(1))])
    from streams.stage import InvalidEvent

    with pytest.raises(InvalidEvent, match="attributes"):
        judged([msgspec.structs.replace(fact, attributes='{"order_lines": 5}')])


WAITING = [the_order(ordered(10)), the_bill(billed(10))]  # until Monday 9 March, 10:00
GRACE_ENDS = "2026-03-09 10:00"


def waited(*more: Event, until: str = "2026-03-20 10:00", policies: PolicySet = POLICIES) -> list[Finding]:
    return [
        one
        for one in judged(facts_of([*WAITING, *more], policies, until), policies).values()
        if one.rule == "billed_before_receipt" and one.status != "retracted"
    ]


def test_a_bill_waits_for_its_receipt_until_its_grace_has_passed_in_business_time() -> None:
    assert waited(until="2026-03-09 09:59") == []
    [finding] = waited(until=GRACE_ENDS)
    assert (finding.status, finding.opened_at) == ("open", at(GRACE_ENDS))
    assert finding.reasons == ["Order line 1: 100.0 % of what is billed had not come in when its grace ended."]
    assert finding.amount_at_risk == Decimal(1250)
    assert waited(the_receipt(came(10), when="2026-03-09 09:00")) == [], "it came in time"
    part = waited(the_receipt(came(4), when="2026-03-09 09:00"))
    assert [one.amount_at_risk for one in part] == [Decimal(750)]


def test_what_comes_or_is_credited_after_the_grace_resolves_it() -> None:
    late = the_receipt(came(6), when="2026-03-10 09:00"), the_receipt(came(4), record="6", when="2026-03-11 09:00")
    assert [one.status for one in waited(late[0])] == ["open"]
    [finding] = waited(*late)
    assert (finding.status, finding.updated_at) == ("resolved", at("2026-03-11 09:00"))
    credit = the_bill(billed(4), record="21", when="2026-03-12 10:00", move_type="in_refund")
    [finding] = waited(late[0], credit)
    assert (finding.status, finding.updated_at) == ("resolved", at("2026-03-12 10:00"))
    assert finding.evidence[-1] == credit.event_id


def test_services_cancelled_bills_and_what_a_policy_leaves_out_wait_for_nothing() -> None:
    until = "2026-03-20 10:00"
    service = [the_order(ordered(10, quantity_received=None)), the_bill(billed(10))]
    assert judged(facts_of(service, until=until)) == {}
    cancelled = the_bill(billed(10), when="2026-03-06 10:00", state="cancel")
    assert waited(cancelled) == []
    assert waited(until=until, policies=under(MatchingSection(receipt_grace="30 days"))) == []
    handling = {"billed_before_receipt": Handling("low", "nobody", "Nothing.", report=False)}
    assert waited(until=until, policies=under(MatchingSection(handling=handling))) == []
    # Where drafts do not count, a bill waits from its posting.
    posted = under(MatchingSection(draft_bills=False))
    draft = the_bill(billed(10), state="draft")
    later = [
        the_order(ordered(10)),
        draft,
        moved("bill", "20", "2026-03-10 10:00", "posted", "draft", "posted"),
        the_bill(billed(10), when="2026-03-10 10:00", created_at=at("2026-03-05 10:00")),
    ]
    [finding] = judged(facts_of(later, posted, until), posted).values()
    assert finding.opened_at == at("2026-03-12 10:00")


def test_a_restart_of_the_documents_stage_keeps_the_clock_of_a_bill() -> None:
    replay = Replay(documents_stage(POLICIES), "finance.bill.v1")
    replay.feed([WAITING[1]])
    replay.view.restart()
    replay.heartbeat("odoo", at(GRACE_ENDS) - 1, "log")
    told: list[tuple[int, int]] = []
    for until in (GRACE_ENDS, "2026-03-20 10:00"):
        told = [
            (one.version, one.occurred_at)
            for one in replay.outputs(RELATION)
            if isinstance(one, Relation) and one.relation == "order"
        ]
        assert told[:1] == [(1, at("2026-03-05 10:00"))]
        assert len(told) == 1 + (until != GRACE_ENDS)
        replay.view.restart()
        replay.heartbeat("odoo", at(until), "log")
    assert told[1:] == [(2, at(GRACE_ENDS))]


SENT_BACK = [the_order(ordered(10)), the_receipt(came(10)), the_bill(billed(10)), the_return(back(4))]
CREDIT_DUE = "2026-03-20 10:00"  # ten business days after that Friday


def returned(*events: Event, until: str = "2026-03-30 10:00") -> dict[str, Finding]:
    """What is said of goods that went back, by rule and document."""
    told = judged(facts_of(events, until=until)).values()
    assert {one.rule for one in told} <= {"billed_after_return", "return_not_credited", "over_received"}
    return {f"{one.rule} {one.document_keys[0][5:]}": one for one in told if one.status != "retracted"}


def test_a_return_waits_for_its_credit_note_in_business_time() -> None:
    assert returned(*SENT_BACK, until="2026-03-20 09:59") == {}
    open_one = returned(*SENT_BACK, until=CREDIT_DUE)["return_not_credited receipt:8"]
    assert (open_one.status, open_one.opened_at) == ("open", at(CREDIT_DUE))
    assert (open_one.amount_at_risk, open_one.currency) == (Decimal(500), "EUR")
    assert returned(*SENT_BACK, the_credit(billed(4))) == {}, "credited in time"
    part = returned(*SENT_BACK, the_credit(billed(1)))["return_not_credited receipt:8"]
    assert part.reasons == ["Order line 1: 75.0 % of what went back was not credited when the grace ended."]
    late = the_credit(billed(4), when="2026-03-25 10:00")
    over = returned(*SENT_BACK, late)["return_not_credited receipt:8"]
    assert (over.status, over.updated_at, over.evidence[-1]) == ("resolved", late.occurred_at, late.event_id)
    anew = the_receipt(came(4), record="6", when="2026-03-25 10:00")
    assert [one.status for one in returned(*SENT_BACK, anew).values()] == ["resolved"], "other goods came for them"
    cancelled = receipt("8", "2026-03-07 10:00", state="cancel", purchase_order_key=ORDER, lines=[back(4)])
    assert returned(*SENT_BACK, cancelled) == {}, "it did not go after all"


def test_a_credit_note_is_for_the_earliest_return() -> None:
    second = the_return(back(2), record="9", when="2026-03-10 10:00")
    said = returned(*SENT_BACK, second, the_credit(billed(4), when="2026-03-11 10:00"))
    assert [(name, one.amount_at_risk) for name, one in said.items()] == [
        ("return_not_credited receipt:9", Decimal(250))
    ]


@pytest.mark.parametrize(
    "events",
    [
        [
            the_order(ordered(10)),
            the_receipt(came(10)),
            the_return(back(4)),
            the_bill(billed(6), when="2026-03-09 10:00"),
        ],
        [*SENT_BACK[:3], the_return(back(4, to_refund=False))],  # they are exchanged: Odoo's own counter stays
        [
            *SENT_BACK[:3],
            the_return(back(4, to_refund=False)),
            the_receipt(came(4), record="6", when="2026-03-10 10:00"),
        ],
        [*SENT_BACK, the_receipt(came(4, to_refund=True), record="6", when="2026-03-10 10:00")],  # the return, returned
        [*SENT_BACK[:2], the_return(back(4), when="2026-03-04 15:00")],  # nothing is billed
        [
            the_order(ordered(6)),
            the_receipt(came(10)),
            the_return(back(4), when="2026-03-05 09:00"),
            the_bill(billed(6)),
        ],
        [the_order(ordered(10, quantity_received=None)), the_receipt(came(10)), *SENT_BACK[2:]],
    ],
    ids=["billed as kept", "exchanged", "exchange came", "returned again", "not billed", "surplus", "services"],
)
def test_returns_that_are_in_order(events: list[Event]) -> None:
    assert {name: one.status for name, one in returned(*events).items() if one.rule != "over_received"} == {}


def test_a_bill_for_what_had_gone_back_is_told_at_once_and_ends_with_the_credit_note() -> None:
    events = [SENT_BACK[0], SENT_BACK[1], the_return(back(4), when="2026-03-04 15:00"), the_bill(billed(10))]
    [finding] = returned(*events, until="2026-03-05 10:00").values()
    assert (finding.rule, finding.status, finding.opened_at) == ("billed_after_return", "open", at("2026-03-05 10:00"))
    assert finding.amount_at_risk == Decimal(500)
    [finding] = returned(*events).values()
    assert finding.rule == "billed_after_return", "the return itself was not billed: one finding is enough"
    [finding] = returned(*events, the_credit(billed(4))).values()
    assert (finding.status, finding.updated_at) == ("resolved", at("2026-03-09 10:00"))
    part = [the_order(ordered(10)), the_receipt(came(6)), the_return(back(2), when="2026-03-04 15:00")]
    [finding] = [one for one in found([*part, the_bill(billed(10))]) if one.rule == "billed_after_return"]
    assert finding.amount_at_risk == Decimal(250), "the other four are waited for"


def test_a_surplus_that_goes_back_resolves_what_was_received_too_much() -> None:
    events = [the_order(ordered(10)), the_receipt(came(12)), the_bill(billed(10))]
    assert [one.status for one in found(events)] == ["open"]
    [finding] = found([*events, the_return(back(1))])
    assert finding.status == "open"
    goes = the_return(back(2))
    [finding] = found([*events, goes])
    assert (finding.status, finding.updated_at, finding.evidence[-1]) == ("resolved", goes.occurred_at, goes.event_id)
    more = the_receipt(came(1), record="6", when="2026-03-09 10:00")
    assert [(one.document_keys[0], one.status) for one in found([*events, goes, more])] == [
        ("odoo:receipt:5", "resolved"),
        ("odoo:receipt:6", "open"),
    ]


def test_goods_that_come_and_go_before_the_bill_are_not_waited_for() -> None:
    kept = [the_order(ordered(10)), the_receipt(came(10)), the_return(back(4), when="2026-03-04 15:00")]
    told = judged(facts_of([*kept, the_bill(billed(10)), paid()], until="2026-03-30 10:00")).values()
    assert {one.rule for one in told} == {"billed_after_return"}


def test_whoever_sends_goods_back_did_not_receive_them() -> None:
    done = moved("receipt", "8", "2026-03-06 10:00", "received", "assigned", "done", actor="9")
    events = [*SENT_BACK[:3], the_return(back(4)), done, paid()]
    assert [fact for fact in facts_of(events) if "receive_goods" in (fact.attributes or "")] == []


@pytest.mark.parametrize("rule", sorted(RULES))
def test_what_is_found_is_an_exception_with_an_owner_and_a_service_level(rule: str) -> None:
    events = EXAMPLES[rule][0]
    record = exceptions_of(events)[rule]
    [finding] = found(events)
    how = POLICIES.of("odoo").handling[rule]
    assert (record.owner_role, record.severity, record.next_action) == (how.owner, how.severity, how.next_action)
    assert (record.status, record.document_key) == ("open", finding.document_keys[0])
    assert record.entity == RELATED_TYPES[rule]
    policy = POLICIES.of("odoo")
    assert record.due_at == policy.related_level(rule).end(policy.calendar_of("1"), record.opened_at)
    assert len(record.ages_at) == 4


def test_exceptions_of_the_matching_are_counted_in_backlog_and_rates() -> None:
    events = [the_order(ordered(16)), the_receipt(came(16)), the_bill(billed(19)), the_bill(billed(1), record="30")]
    documents, told = Replay(documents_stage(POLICIES), "finance.bill.v1"), facts_of(events)
    documents.feed(one for one in events if one.entity == "bill")
    related = Replay(relations_stage(POLICIES), RELATION)
    related.feed(told)

    def counted(name: str, now: str = "2026-03-06 10:00") -> tuple[float, float]:
        parts = [
            one
            for replay in (documents, related)
            for one in replay.stage.kpis(replay.view, {"odoo": at(now)})
            if isinstance(one, Kpi) and one.kpi == name and '"over_billed"' in one.labels and '"30d"' not in one.labels
        ]
        return sum(one.value or 0 for one in parts if one.numerator is None) or sum(
            one.numerator or 0 for one in parts
        ), sum(one.denominator or 0 for one in parts)

    assert counted("exceptions_open") == (2, 0)
    assert counted("exceptions_overdue") == (0, 0)
    assert counted("exceptions_overdue", "2026-03-20 10:00") == (2, 0), "nobody resolved them in time"
    assert counted("exception_rate_stock") == (2, 2), "both bills bill more than is left of the order"
    assert counted("exception_rate_cohort") == (2, 2)
    credit = the_bill(billed(4), record="21", when="2026-03-07 10:00", move_type="in_refund")
    related.feed(one for one in facts_of([*events, credit]) if one.document_key == credit.document_key)
    assert counted("exceptions_open") == (0, 0)
    assert counted("exceptions_overdue", "2026-03-20 10:00") == (0, 0)
    assert counted("exception_rate_cohort") == (2, 2), "they had it"
    # The window of the day: both parts together.
    for replay in (documents, related):
        replay.heartbeat("odoo", at("2026-03-20 10:00"), "log")
    parts = [
        one
        for replay in (documents, related)
        for one in latest(replay.outputs(RATE), "rate_id").values()
        if isinstance(one, Rate) and (one.entity, one.type) == ("bill", "over_billed")
    ]
    assert (sum(one.numerator for one in parts), sum(one.denominator for one in parts)) == (2, 2)
    assert {one.status for one in parts} == {"final"}


def test_a_policy_may_leave_findings_out_of_the_exceptions() -> None:
    events = [the_order(ordered(16)), the_receipt(came(16)), the_bill(billed(19))]
    quiet = under(MatchingSection(handling={"over_billed": Handling("low", "nobody", "Nothing.", exception=False)}))
    assert exceptions_of(events, quiet) == {}
    assert [one.rule for one in found(events, quiet)] == ["over_billed"]
    credit = the_bill(billed(3), record="21", when="2026-03-07 10:00", move_type="in_refund")
    record = exceptions_of([*events, credit])["over_billed"]
    assert (record.status, record.resolved_at, record.ages_at) == ("resolved", at("2026-03-07 10:00"), [])


@st.composite
def worlds(draw: st.DrawFn) -> list[Event]:
    """An order's documents in order of time: parts received, billed, corrected, credited, paid."""
    quantity = draw(st.integers(1, 6))
    events = [the_order(ordered(quantity))]
    minute = 0
    for number in range(draw(st.integers(1, 7))):
        minute += draw(st.integers(1, 3000))
        when = f"2026-03-{3 + minute // 1440:02d} {minute // 60 % 24:02d}:{minute % 60:02d}"
        amount = draw(st.integers(1, 6))
        match draw(st.sampled_from(["receipt", "bill", "credit", "again", "paid", "cancel", "return"])):
            case "return":
                line = back(amount, to_refund=draw(st.sampled_from([True, True, False])))
                events.append(the_return(line, record=str(draw(st.integers(8, 9))), when=when))
            case "receipt":
                events.append(the_receipt(came(amount), record=str(draw(st.integers(5, 7))), when=when))
            case "credit":
                events.append(the_bill(billed(amount), record=str(30 + number), when=when, move_type="in_refund"))
            case "paid":
                events.append(paid(str(draw(st.integers(20, 22))), when))
            case "cancel":
                events.append(
                    the_bill(billed(amount), record=str(draw(st.integers(20, 22))), when=when, state="cancel")
                )
            case _:
                price = draw(st.sampled_from([125, 140, 100]))
                record = str(draw(st.integers(20, 22)))
                events.append(
                    the_bill(billed(amount, price), record=record, when=when, created_at=at("2026-03-03 10:00"))
                )
    return events


def standing(findings: dict[str, Finding]) -> dict[str, tuple[Any, ...]]:
    return {
        key: (
            one.rule,
            one.status == "resolved",
            one.document_keys,
            one.reasons,
            one.amount_at_risk,
            one.opened_at,
            one.evidence,
        )
        for key, one in findings.items()
        if one.status != "retracted"
    }


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(worlds(), st.randoms(use_true_random=False))
def test_any_interleaving_with_any_repeats_ends_in_the_same(events: list[Event], random: Any) -> None:
    told = facts_of(events, until="2026-03-30 10:00")
    by_document: dict[str, list[RelationFact]] = {}
    for fact in told:
        by_document.setdefault(fact.document_key, []).append(fact)
    mixed: list[RelationFact] = []
    queues = list(by_document.values())
    while queues := [queue for queue in queues if queue]:
        mixed.append(random.choice(queues).pop(0))
        if random.random() < 0.5:
            mixed.append(random.choice(mixed))
    assert standing(judged(mixed)) == standing(judged(told))


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_a_restart_at_every_fact_changes_nothing(events: list[Event]) -> None:
    told = facts_of(events, until="2026-03-30 10:00")
    replay = Replay(relations_stage(POLICIES), RELATION)
    for fact in told:
        replay.feed([fact])
        replay.view.restart()
    again = latest(replay.outputs(FINDING), "finding_id")
    assert {k: (v.version, v.status) for k, v in again.items()} == {
        k: (v.version, v.status) for k, v in judged(told).items()
    }
