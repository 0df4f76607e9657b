"""Duplicate bills from the documents stage through the relations stage."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from finwatch.domain.duplicates.references import reference, usable
from finwatch.domain.events import Bill
from finwatch.domain.policy import Policy, PolicySet
from finwatch.domain.records import Finding, Kpi, Relation
from finwatch.runtime.policies import packaged_policy
from finwatch.runtime.topics import FINDING, RELATION
from streams.agents.replay import Replay
from tests.unit.agents.world import bill, day, documents, findings, latest, relate


def pairs(*bills: Bill) -> list[Finding]:
    replay = documents()
    replay.feed(bills)
    return findings(relate(replay))


def test_the_same_reference_is_exact() -> None:
    (finding,) = pairs(
        bill("1", "2026-03-02 10:00", reference="INV/77"),
        bill("2", "2026-03-03 10:00", reference="INV/77", created_at=None),
    )
    assert (finding.rule, finding.status, finding.score) == ("exact_reference", "open", 0.99)
    assert finding.document_keys == ["odoo:bill:2", "odoo:bill:1"]
    assert finding.amount_at_risk == Decimal("100.00")


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


def test_characters_read_for_one_another() -> None:
    assert pairs(
        bill("1", "2026-03-02 10:00", reference="INV-O0158"), bill("2", "2026-03-03 10:00", reference="1NV-00I5B")
    )


def test_what_is_no_duplicate() -> None:
    one = bill("1", "2026-03-02 10:00", reference="A-1000")
    for other in (
        {"reference": "A-1001"},
        {"reference": "A-100"},  # meets in the block, is not the same
        {"commercial_partner_id": "8"},
        {"company_id": "2"},
        {"move_type": "in_refund"},
        {"invoice_date": day("2027-03-01")},  # numbering that restarts: Odoo's year rule
        {"state": "cancel"},
        {"payment_state": "reversed", "state": "posted"},
    ):
        assert not pairs(one, bill("2", "2026-03-03 10:00", **{"reference": "A-1000", **other})), other


def test_fillers_are_no_references() -> None:
    for filler in ("n/a", "None", "--", "", None, "7", "abc"):
        assert not pairs(
            bill("1", "2026-03-02 10:00", reference=filler), bill("2", "2026-03-03 10:00", reference=filler)
        ), filler


def test_a_cancelled_or_corrected_bill_takes_the_finding_back() -> None:
    first, second = bill("1", "2026-03-02 10:00", reference="R-100"), bill("2", "2026-03-03 10:00", reference="R-100")
    for change in ({"state": "cancel"}, {"reference": "R-101"}, {"op": "d"}, {"commercial_partner_id": "8"}):
        replay = documents()
        replay.feed([first, second, bill("2", "2026-03-04 10:00", **{"reference": "R-100", **change})])
        (finding,) = findings(relate(replay))
        assert finding.status == "retracted", change
        replay.feed([bill("2", "2026-03-05 10:00", reference="R-100")])
        (finding,) = findings(relate(replay))
        assert finding.status == "open", change


def test_a_full_block_counts_what_it_drops() -> None:
    document = packaged_policy("default").document
    few = msgspec.structs.replace(document, duplicates=msgspec.structs.replace(document.duplicates, block_cap=5))
    replay = documents()
    replay.feed(bill(str(n), "2026-03-02 10:00", reference="R-100") for n in range(8))
    related = relate(replay, policies=PolicySet([Policy(few)]))
    kpis = {kpi.kpi: kpi.value for kpi in related.stage.kpis(related.view, {"odoo": 1}) if isinstance(kpi, Kpi)}
    assert kpis["duplicate_block_dropped"] == 3
    assert len(findings(related)) == kpis["findings_open"] == 5 * 4 / 2


def test_a_pair_that_meets_again_elsewhere_goes_on_counting_its_versions() -> None:
    replay = documents()
    replay.feed(bill(n, f"2026-03-0{n} 10:00", reference="R-100") for n in "12")
    replay.feed(bill(n, f"2026-03-1{n} 10:00", reference="R-900") for n in "12")
    (finding,) = findings(relate(replay))
    assert finding.status == "open"
    assert finding.reasons[0] == "Same company, vendor and type of document."


def test_every_fact_is_applied_once() -> None:
    replay = documents()
    replay.feed([bill("1", "2026-03-02 10:00", reference="R-100"), bill("2", "2026-03-03 10:00", reference="R-100")])
    facts = [fact for fact in replay.outputs(RELATION) if isinstance(fact, Relation)]
    assert relate(replay, facts * 3).outputs(FINDING) == relate(replay).outputs(FINDING)


references = st.sampled_from(["R-100", "r 100", "R-0100", "R-101", "R1OO", None])


@st.composite
def bills(draw: st.DrawFn) -> list[Bill]:
    """Three bills, each seen a few times."""
    found = []
    for n in range(draw(st.integers(3, 12))):
        record = str(draw(st.integers(1, 3)))
        fields: dict[str, Any] = {"state": draw(st.sampled_from(["draft", "posted", "cancel"]))}
        fields["amount_total"] = Decimal(draw(st.integers(1, 2)) * 100)
        found.append(bill(record, f"2026-03-{n + 2:02d} 10:00", reference=draw(references), **fields))
    return found


def standing(replay: Replay) -> dict[str, Any]:
    return {
        k: (f.rule, f.score, f.document_keys, f.amount_at_risk)
        for k, f in latest(replay.outputs(FINDING), "finding_id", by_one=False).items()
        if f.status != "retracted"
    }


@settings(deadline=None, max_examples=30)
@given(bills(), st.data())
def test_any_order_between_bills_ends_in_the_same_pairs(events: list[Bill], data: st.DataObject) -> None:
    replay = documents()
    replay.feed(events)
    facts = [fact for fact in replay.outputs(RELATION) if isinstance(fact, Relation)]
    rest = [[f for f in facts if f.document_key == key] for key in sorted({f.document_key for f in facts})]
    mixed: list[Relation] = []
    while any(rest):
        source = data.draw(st.sampled_from([i for i, queue in enumerate(rest) if queue]))
        mixed.append(rest[source].pop(0))
        if data.draw(st.booleans()):
            mixed.append(data.draw(st.sampled_from(mixed)))
    assert standing(relate(replay, mixed)) == standing(relate(replay))
    # And what stands is what the last sight of each bill says.
    last = {event.document_key: event for event in events}
    live = [e for e in last.values() if e.state != "cancel" and usable(e.reference, 3, ())]
    alike = sum(
        reference(a.reference or "").joined == reference(b.reference or "").joined
        or reference(a.reference or "").padded == reference(b.reference or "").padded
        for i, a in enumerate(live)
        for b in live[i + 1 :]
    )
    assert len(standing(relate(replay))) == alike


@given(st.text(max_size=30))
def test_normalising_is_total_and_blocks_hold_what_matches(text: str) -> None:
    forms = reference(text)
    again = reference(forms.joined)
    assert again.joined == forms.joined
    assert reference(text.upper()).block == reference(text.upper().lower()).block
    assert forms.joined.replace("0", "") == forms.padded.replace("0", "")


def test_facts_go_through_the_wire_form() -> None:
    replay = documents()
    replay.feed([bill("1", "2026-03-02 10:00", reference="R-100")])
    (fact,) = replay.outputs(RELATION)
    assert isinstance(fact, Relation)
    assert msgspec.json.decode(fact.attributes or "") == {"created_at": 1772442000000000, "reversed_key": None}
    assert fact.relation_key == "duplicate_reference:odoo:1|7|r1"
