"""Duplicates beyond the reference: how bills are compared, weighed and explained, and where they meet."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finwatch.domain.calendar import DAY
from finwatch.domain.duplicates import candidates, similarity
from finwatch.domain.duplicates.candidates import Block, Group, keys, own_block
from finwatch.domain.duplicates.evidence import ALONE, RULES, Bill, Context, Verdict, compare
from finwatch.domain.policy import DuplicatesSection

POLICY = DuplicatesSection()
# Which of several possible splits is told still depends on the order in which the bills arrive: said in `candidates`.
PAIRS_ONLY = DuplicatesSection(split_window_days=-1)
TODAY = 20_000


def bill(key: str, **fields: Any) -> Bill:
    """A bill of 1,234.56 EUR from vendor 7, entered on its day."""
    known: dict[str, Any] = {
        "version": 1,
        "company": "1",
        "document_type": "in_invoice",
        "vendor": "7",
        "reference": "INV-2024-00417",
        "date": TODAY,
        "amount": Decimal("1234.56"),
        "currency": "EUR",
        "created_at": TODAY * DAY,
        "vat": "BE0123456789",
        "bank": "aa11",
        "name": "North Steel NV",
        "net": Decimal("1020.30"),
    }
    if "day" in fields:
        fields["created_at"] = fields.pop("day") * DAY
    return Bill(key, **{**known, **fields})


def score(context: Context = ALONE, **fields: Any) -> float:
    verdict = compare(bill("a"), bill("b", **fields), POLICY, context)
    return 0.0 if verdict is None else verdict.score


def test_each_kind_is_reported_under_its_rule() -> None:
    later = {"day": TODAY + 20}
    for rule, fields in {
        "exact_reference": {},
        "normalised_reference": {"reference": "inv 2024/417"},
        "fuzzy_reference": {"reference": "INV-2024-00471"},
        "amount_and_date": {"reference": None},
        "vendor_alias": {"vendor": "8", "name": "NORTH STEEL", "vat": None, "bank": None},
        "across_companies": {"company": "2"},
        "across_types": {"document_type": "expense"},
    }.items():
        verdict = compare(bill("a"), bill("b", **later, **fields), POLICY)
        assert verdict is not None, rule
        assert verdict.rule == rule
        assert verdict.score >= POLICY.report_at, rule
        assert rule in RULES
    again = compare(bill("a", credited=True), bill("b", **later), POLICY)
    assert again is not None
    assert again.rule == "after_credit_note"
    assert again.score >= POLICY.report_at


def test_what_is_no_candidate() -> None:
    for fields in (
        {"reference": "INV-2024-00418"},  # the vendor's next number
        {"reference": "INV-2024-09000"},
        {"document_type": "in_refund"},
        {"reversed_key": "a"},
        {"vendor": "8", "vat": None, "bank": None, "name": "South Paper NV"},
        {"reference": None, "amount": Decimal("99.00")},
    ):
        assert score(**fields) == 0.0, fields


def test_what_speaks_against_lowers_the_score_below_the_threshold() -> None:
    for context, fields in (
        (Context(), {"amount": Decimal("99.00")}),
        (Context(), {"date": TODAY + 400, "day": TODAY + 400}),  # numbering that begins anew
        (Context(), {"reference": None, "date": TODAY + 30, "day": TODAY + 30}),  # rent
        (Context(5), {"date": TODAY + 61, "day": TODAY + 61}),
        (Context(0, True), {"reference": "INV-2024-00417-R", "day": TODAY + 9}),  # credited and billed again
        (Context(), {"vendor": "8", "vat": "BE0999999999", "reference": None}),  # sister with the same account
    ):
        assert score(context, **fields) < POLICY.report_at, fields
    orders = compare(bill("a", order="P1", reference=None), bill("b", order="P2", reference=None), POLICY)
    assert orders is None or orders.score < POLICY.report_at


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("A-1000", "A-1000 ", similarity.EXACT),
        ("A-1000", "a 1OOO", similarity.NORMALISED),
        ("No. U0009", "U0009", similarity.NORMALISED),
        ("AR-AMC1234", "AMC1234", similarity.PREFIXED),
        ("HX0045", "HX0045/1", similarity.SUFFIXED),
        ("2024/36971", "2024/39671", similarity.FUZZY),
        ("2024/36971", "2024/36972", similarity.RUNNING),
        ("+++582/7661/04986+++", "+++582/7662/05083+++", similarity.DIFFERENT),  # both hold their check digits
        ("+++582/7661/04986+++", "+++582/7661/04956+++", similarity.FUZZY),
        ("RF18539007547034", "RF18539007547043", similarity.FUZZY),
        ("n/a", "A-1000", similarity.MISSING),
        (None, None, similarity.MISSING),
        ("123", "128", similarity.DIFFERENT),
    ],
)
def test_references(one: str | None, other: str | None, kind: str) -> None:
    assert similarity.compare_references(one, other)[0] == kind
    assert similarity.compare_references(other, one)[0] == kind


def test_the_number_stays_what_is_written_around_it() -> None:
    for printed in ("AKF/2025/1019", "akf-1019B", "Invoice AKF 2025 001019", "AKF/2025/1O19 C", "1019/25"):
        assert similarity.number(printed) == "1019", printed
    assert similarity.number("2025") == "2025"
    assert similarity.number("none") == ""


def test_amounts_and_dates() -> None:
    amounts = similarity.compare_amounts
    d, tolerance = Decimal, Decimal("0.005")
    assert amounts(d("100"), d("100.00"), True, tolerance) == similarity.EQUAL
    assert amounts(d("100"), d("100.50"), True, tolerance) == similarity.CLOSE
    assert amounts(d("121"), d("100"), True, tolerance, one_net=d("100")) == similarity.NET
    assert amounts(d("100"), d("100"), False, tolerance) == similarity.DIFFER
    assert amounts(None, d("100"), True, tolerance) == similarity.UNKNOWN
    dates = similarity.compare_dates
    assert dates(TODAY, TODAY + 3, 5) == similarity.NEAR
    assert dates(19_786, 19_815, 5) == similarity.FAR  # 4 March and 2 April 2024
    assert dates(19_786, 19_816, 5) == similarity.SWAPPED  # 4 March and 3 April 2024
    assert dates(19_786, 19_786 - 366, 5) == similarity.OTHER_YEAR
    assert dates(None, 1, 5) == similarity.UNKNOWN


def test_names_without_legal_form() -> None:
    bare = similarity.bare_name
    assert bare("North-Steel, N.V.") == bare("NORTH STEEL") == bare("north steel GmbH")
    assert bare("SA") == "sa"


def plain_distance(one: str, other: str) -> int:
    """The textbook's table."""
    table = [[i + j if i * j == 0 else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            cost = int(one[i - 1] != other[j - 1])
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + cost)
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


words = st.text("ab1", max_size=8)


@settings(max_examples=150)
@given(words, words)
def test_distance_is_the_textbooks_up_to_its_limit(one: str, other: str) -> None:
    assert similarity.distance(one, other) == min(3, plain_distance(one, other))
    assert similarity.distance(one, other) == similarity.distance(other, one)


references = st.sampled_from(
    ["INV-2024-00417", "inv 2024 417", "INV-2024-00471", "INV-2024-00417-B", "77", None, "RF18"]
)
bills = st.builds(
    lambda key, fields: bill(key, **fields),
    st.sampled_from("abcdef"),
    st.fixed_dictionaries(
        {
            "reference": references,
            "vendor": st.sampled_from(["7", "8"]),
            "amount": st.sampled_from([Decimal("1234.56"), Decimal("1234.57"), Decimal("617.28")]),
            "date": st.sampled_from([None, TODAY, TODAY + 2, TODAY + 31, TODAY + 62]),
            "day": st.sampled_from([TODAY, TODAY + 9, TODAY + 300]),
            "document_type": st.sampled_from(["in_invoice", "in_invoice", "in_refund", "expense"]),
            "company": st.sampled_from(["1", "2"]),
            "order": st.sampled_from([None, "P1", "P2"]),
            "vat": st.sampled_from([None, "BE1", "BE2"]),
            "bank": st.sampled_from([None, "x"]),
            "credited": st.booleans(),
        }
    ),
)


@settings(max_examples=150)
@given(bills, bills, st.integers(0, 3), st.booleans())
def test_comparing_is_symmetrical_and_says_no_amounts_or_names(one: Bill, other: Bill, n: int, credit: bool) -> None:
    verdict = compare(one, other, POLICY, Context(n, credit))
    assert verdict == compare(other, one, POLICY, Context(n, credit))
    if verdict is None:
        return
    assert 0 <= verdict.score <= 1
    assert verdict.rule in RULES
    text = " ".join(verdict.reasons)
    assert not re.search(r"\d", text)
    assert "Steel" not in text
    # What else stands in the block only ever lowers a score: blocks count on it.
    alone = compare(one, other, POLICY)
    assert alone is not None
    assert alone.score >= verdict.score


Standing = dict[Group, Verdict]


def feed(sights: list[Bill], policy: DuplicatesSection = POLICY) -> Standing:
    """Blocks that share nothing, and what they say together. A corrected bill leaves the blocks it no longer names."""
    blocks: dict[str, Block] = {}
    before: dict[str, tuple[str, ...]] = {}
    standing: Standing = {}
    for one in sights:
        now = keys(one, policy)
        changes = [
            candidates.withdraw(blocks[key], one.key, policy) for key in before.get(one.key, ()) if key not in now
        ]
        changes += [candidates.put(blocks.setdefault(key, Block(key)), one, now, policy) or {} for key in now]
        before[one.key] = now
        for change in changes:
            for group, verdict in change.items():
                if verdict is None:
                    standing.pop(group, None)
        for change in changes:
            standing.update({group: verdict for group, verdict in change.items() if verdict is not None})
    union: Standing = {}
    for block in blocks.values():
        assert not set(union) & set(block.verdicts), "one block decides on a group"
        union.update(block.verdicts)
    assert union == standing
    return standing


@settings(max_examples=60, deadline=None)
@given(st.lists(bills, min_size=2, max_size=6, unique_by=lambda one: one.key), st.randoms())
def test_any_order_ends_in_the_same_pairs(sights: list[Bill], random: Any) -> None:
    mixed = list(sights)
    random.shuffle(mixed)
    assert feed(mixed, PAIRS_ONLY) == feed(sights, PAIRS_ONLY)


@settings(max_examples=60, deadline=None)
@given(st.lists(bills, min_size=2, max_size=8))
def test_only_the_last_sight_of_each_bill_counts(sights: list[Bill]) -> None:
    numbered = [msgspec.structs.replace(one, version=n + 1) for n, one in enumerate(sights)]
    last = {one.key: one for one in numbered}
    assert feed(numbered, PAIRS_ONLY) == feed(list(last.values()), PAIRS_ONLY)
    assert feed([one for sight in numbered for one in (sight, sight)], PAIRS_ONLY) == feed(numbered, PAIRS_ONLY)


@given(bills, bills)
def test_one_block_decides_and_both_sides_know_which(one: Bill, other: Bill) -> None:
    a, b = keys(one, POLICY), keys(other, POLICY)
    decides = own_block(a, b)
    assert decides == own_block(b, a)
    assert (decides is None) == (not set(a) & set(b))


def test_a_split_is_found_with_its_original_in_any_order() -> None:
    whole = bill("a")
    parts = [
        bill(key, reference=f"INV-2024-00417-{n}", amount=Decimal(amount), day=TODAY + 10 + n)
        for n, (key, amount) in enumerate({"b": "1000.00", "c": "200.00", "d": "34.56"}.items())
    ]
    for order in permutations([whole, *parts]):
        found = feed(list(order))
        assert list(found) == [("a", "b", "c", "d")]
        assert found["a", "b", "c", "d"].rule == "split"
        assert found["a", "b", "c", "d"].score >= POLICY.report_at


def test_instalments_with_numbers_of_their_own_are_not_reported() -> None:
    half = Decimal("617.28")
    found = feed(
        [
            bill("a", order="P1"),
            bill("b", order="P1", reference="INV-2024-00610", amount=half, day=TODAY + 14),
            bill("c", order="P1", reference="INV-2024-00744", amount=half, day=TODAY + 28),
        ]
    )
    assert all(verdict.score < POLICY.report_at for verdict in found.values())
    assert found, "it is weighed, not excluded"


def test_a_withdrawn_or_corrected_bill_takes_the_group_back() -> None:
    block = Block("number:7:417")
    one, other = bill("a"), bill("b", day=TODAY + 3)
    candidates.put(block, one, keys(one, POLICY), POLICY)
    assert list(candidates.put(block, other, keys(other, POLICY), POLICY) or {}) == [("a", "b")]
    assert candidates.put(block, other, keys(other, POLICY), POLICY) is None
    assert candidates.withdraw(block, "b", POLICY) == {("a", "b"): None}
    assert candidates.withdraw(block, "b", POLICY) == {}
    candidates.put(block, other, keys(other, POLICY), POLICY)
    corrected = msgspec.structs.replace(other, version=2, amount=Decimal("9.00"))
    assert candidates.put(block, corrected, keys(corrected, POLICY), POLICY) == {("a", "b"): None}


def test_a_full_block_lets_the_oldest_go_and_counts_it() -> None:
    policy = msgspec.structs.replace(POLICY, block_cap=3)
    block = Block("vat:BE0123456789:1234.56:EUR")
    for n in range(6):
        one = bill(str(n), reference=None, date=TODAY + 40 * n, day=TODAY + 40 * n)
        candidates.put(block, one, keys(one, policy), policy)
    assert sorted(block.members) == ["3", "4", "5"]
    assert block.dropped == 3
    late = bill("9", reference=None, day=TODAY - 1)
    assert candidates.put(block, late, keys(late, policy), policy) == {}
    assert block.dropped == 4
    assert "9" not in block.members


def test_a_block_goes_through_its_wire_form() -> None:
    block = Block("number:7:417")
    for one in (bill("a"), bill("b")):
        candidates.put(block, one, keys(one, POLICY), POLICY)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(block.members), type=dict[str, candidates.Member])
    assert again == block.members
