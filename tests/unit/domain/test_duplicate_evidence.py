"""Duplicates beyond the reference: how bills are compared, weighed and explained, and where they meet."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finwatch.domain.calendar import DAY
from finwatch.domain.duplicates import similarity
from finwatch.domain.duplicates.blocks import AMOUNT, RELATION, VENDOR, names, relation_keys, side_of
from finwatch.domain.duplicates.book import Book, Dismissal, Fact, Said
from finwatch.domain.duplicates.evidence import ALONE, RULES, Bill, Context, compare
from finwatch.domain.duplicates.slips import likely
from finwatch.domain.duplicates.splits import gathered_splits, near, splits
from finwatch.domain.policy import DuplicatesSection

POLICY = DuplicatesSection()
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
    again = compare(bill("a"), bill("b", **later), POLICY, Context(credited=True))
    assert again is not None
    assert again.rule == "after_credit_note"
    assert again.score >= POLICY.report_at


def test_what_is_no_candidate() -> None:
    for fields in (
        {"reference": "INV-2024-00418", "date": TODAY + 1},  # the vendor's next number
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
        (Context(), {"reference": "INV-2024-00418", "day": TODAY + 5}),  # the next number, of the same day
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
        ("123", "128", similarity.SHORT),
        ("123", "457", similarity.DIFFERENT),
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


def test_slips_are_told_from_other_numbers() -> None:
    for one, other in (
        ("r1007", "r1008"),
        ("r1007", "r1070"),
        ("r1007", "r107"),
        ("r1007", "r10077"),
        ("r1007", "r1001"),
    ):
        assert likely(one, other)
        assert likely(other, one)
    for one, other in (("r1001", "r1008"), ("r1003", "r1009"), ("a100", "m100")):
        assert not likely(one, other)


def test_short_references_are_compared_with_their_zeros() -> None:
    for one, other in (("008", "po8"), ("R0080", "50080"), ("VV0030", "VV8060")):
        assert similarity.compare_references(one, other)[0] in (similarity.SHORT, similarity.FUZZY)
    assert similarity.compare_references("29453/24", "29453/27")[0] == similarity.FUZZY  # the year, not the number


def test_bills_of_a_rhythm_are_no_copies() -> None:
    """Rent of two months whose dates look like one with day and month swapped; each was entered after its own."""
    first, second = date(2024, 1, 2).toordinal() - 719_163, date(2024, 2, 1).toordinal() - 719_163
    one = bill("a", reference="RENT 2024-01-02", date=first, day=first + 3)
    other = bill("b", reference="RENT 2024-02-01", date=second, day=second + 2)
    verdict = compare(one, other, POLICY)
    assert verdict is not None
    assert verdict.score < POLICY.report_at
    copied = compare(one, bill("b", reference="RENT 2024-01-02", date=second, day=first + 3), POLICY)
    assert copied is not None
    assert copied.score > POLICY.report_at


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
        }
    ),
)
contexts = st.builds(Context, st.integers(0, 3), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 3))


@settings(max_examples=150)
@given(bills, bills, contexts)
def test_comparing_is_symmetrical_and_says_no_amounts_or_names(one: Bill, other: Bill, context: Context) -> None:
    verdict = compare(one, other, POLICY, context)
    assert verdict == compare(other, one, POLICY, context)
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


class Shelf:
    """Rows in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}

    def get(self, key: str, type: Any) -> Any:
        return self.rows.get(key)

    def put(self, key: str, row: Any, due: int | None = None) -> None:
        self.rows[key] = row

    def delete(self, key: str) -> None:
        self.rows.pop(key, None)


def book(side: str = VENDOR, policy: DuplicatesSection = POLICY) -> Book:
    return Book(Shelf(), "odoo", side, policy)


def take(into: Book, *sights: Bill, present: bool = True, dismissals: tuple[Dismissal, ...] = ()) -> list[Said]:
    said: list[Said] = []
    for one in sights:
        said += into.take(Fact(one, present, dismissals)) or []
    return said


def test_a_bill_goes_to_its_vendor_and_to_its_amount() -> None:
    one, two = relation_keys("odoo", "7", Decimal("1234.50"), "EUR")
    assert (one, two) == (f"{RELATION}:odoo:v:7", f"{RELATION}:odoo:a:1234:EUR")
    assert (side_of(one), side_of(two)) == (VENDOR, AMOUNT)
    assert relation_keys("odoo", "7", Decimal("1234.500000"), "EUR")[1] == two
    assert relation_keys("odoo", None, Decimal(1), "EUR") == relation_keys("odoo", "7", Decimal(0), "EUR") == ()
    for wrong in ("", "duplicate_bill:odoo:x:7", "order:odoo:v:7"):
        with pytest.raises(ValueError, match="not a key"):
            side_of(wrong)


def test_blocks_of_a_bill() -> None:
    one = bill("a", order="P1", address="cc")
    assert names(VENDOR, one, POLICY) == ("n:7:417", "s:7:inv-#-#", "o:7:P1", "y:7:20000", "m:7:1235:EUR")
    assert [name[:2] for name in names(AMOUNT, one, POLICY)] == ["r:", "t:", "b:", "f:", "d:"]
    assert all(name.endswith((":1235:EUR", ":1234.56:EUR")) for name in names(AMOUNT, one, POLICY))
    bare = bill("b", reference=None, vat=None, bank=None, name=None)
    assert names(VENDOR, bare, POLICY) == ("w:7", "y:7:20000", "m:7:1235:EUR")
    assert names(AMOUNT, bare, POLICY) == ()


def test_who_decides_follows_from_the_vendors() -> None:
    same, other = bill("b", day=TODAY + 3), bill("c", vendor="8", day=TODAY + 3)
    assert [one.standing.keys for one in take(book(VENDOR), bill("a"), same, other)] == [("a", "b")]
    assert {one.standing.keys for one in take(book(AMOUNT), bill("a"), same, other)} == {("a", "c"), ("b", "c")}


def parts_of(whole: Bill, *amounts: str, **fields: Any) -> list[Bill]:
    return [
        bill(
            f"{whole.key}{n}",
            **{
                "reference": f"{whole.reference}-{n}",
                "amount": Decimal(amount),
                "day": whole.created_at // DAY + 10 + n,
                **fields,
            },
        )
        for n, amount in enumerate(amounts)
    ]


def test_a_split_is_found_with_its_original_in_any_order() -> None:
    whole = bill("a")
    parts = parts_of(whole, "1000.00", "200.00", "34.56")
    for order in permutations([whole, *parts]):
        said = take(book(), *order)
        assert [one.standing.keys for one in said] == [("a", "a0", "a1", "a2")]
        assert (said[0].standing.rule, said[0].standing.status) == ("split", "open")


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.integers(0, 40), st.sampled_from(["1234", "1234/A", "77", None])),
        min_size=3,
        max_size=10,
    ),
    st.randoms(),
)
def test_splits_are_a_function_of_the_bills(papers: list[tuple[int, int, str | None]], random: Any) -> None:
    """Also where one amount is there more than once, and several splits are possible."""
    bills = [
        bill(str(n), amount=Decimal(100 * amount), day=TODAY + day, reference=reference)
        for n, (amount, day, reference) in enumerate(papers)
    ]
    found = splits(bills, POLICY)
    mixed = list(bills)
    random.shuffle(mixed)
    assert splits(mixed, POLICY) == found
    by_key = {one.key: one for one in bills}
    for group in found:
        amounts = sorted((by_key[key].amount or 0 for key in group), reverse=True)
        assert amounts[0] == sum(amounts[1:])
        assert 3 <= len(group) <= 5


def test_bills_without_a_reference_are_a_split_of_one_that_has_one() -> None:
    """Wherever nothing else names the earlier one; not where the vendor often bills so."""
    whole = bill("a")
    parts = parts_of(whole, "1000.00", "234.56", reference=None)
    for order in permutations([whole, *parts]):
        (said,) = [one for one in take(book(), *order) if len(one.standing.keys) == 3]
        assert (said.standing.rule, said.standing.status) == ("split", "open")
    habit = [bill(f"h{n}", reference=None, amount=Decimal(7 + n), day=TODAY + 5 + 2 * n) for n in range(12)]
    assert not [one for one in take(book(), *habit, whole, *parts) if len(one.standing.keys) > 2]


def test_parts_written_otherwise_than_their_whole_are_a_split() -> None:
    """A vendor's own way of writing is none for parts; what is rare with it may be."""
    whole = bill("a")
    parts = [
        part for n, part in enumerate(parts_of(whole, "1000.00", "234.56")) for part in [replaced(part, f"D{n}77")]
    ]
    for order in permutations([whole, *parts]):
        (said,) = [one for one in take(book(), *order) if len(one.standing.keys) == 3]
        assert "Their references are written otherwise than the earlier one's." in said.standing.reasons
    usual = [bill(f"u{n}", reference=f"D{n}11", amount=Decimal(7 + n), day=TODAY - 9 * n) for n in range(12)]
    shelf = book()
    standing = {one.finding_id: one.standing.status for one in take(shelf, whole, *parts, *usual)}
    assert list(standing.values()) == ["retracted"]
    assert not [one for one in take(shelf, replaced(whole, "INV-2024-00999", 2)) if len(one.standing.keys) == 3]


def replaced(one: Bill, reference: str, version: int = 1) -> Bill:
    return msgspec.structs.replace(one, reference=reference, version=version)


def test_the_same_parts_are_told_of_one_bill_only() -> None:
    rent = [bill(f"r{n}", reference="C-1", date=TODAY + 30 * n, day=TODAY + 30 * n) for n in range(3)]
    parts = [
        bill(f"p{n}", reference="C-1", amount=Decimal(a), date=TODAY + 31, day=TODAY + 70 + n)
        for n, a in enumerate(("1000.00", "234.56"))
    ]
    assert list(splits([*rent, *parts], POLICY)) == [("p0", "p1", "r1")]


def test_the_next_number_of_one_day_is_suspicious_only_when_it_comes_weeks_later() -> None:
    for reference, other in (("INV-2024-00417", "INV-2024-00418"), ("907", "901")):
        one = bill("a", reference=reference)
        soon, late = (compare(one, bill("b", reference=other, day=TODAY + days), POLICY) for days in (4, 40))
        assert soon is not None
        assert late is not None
        assert soon.score < POLICY.report_at <= late.score
    assert similarity.compare_references("2024/14568", "2025/14568")[0] == similarity.FUZZY


def test_instalments_with_numbers_of_their_own_are_not_reported() -> None:
    half = Decimal("617.28")
    bills = [
        bill("a", order="P1"),
        bill("b", order="P1", reference="INV-2024-00610", amount=half, day=TODAY + 14),
        bill("c", order="P1", reference="INV-2024-00744", amount=half, day=TODAY + 28),
    ]
    assert splits(bills, POLICY), "it is weighed, not excluded"
    assert take(book(), *bills) == []


def test_a_withdrawn_or_corrected_bill_takes_the_finding_back() -> None:
    where = book()
    one, other = bill("a"), bill("b", day=TODAY + 3)
    assert take(where, one) == []
    assert [said.standing.status for said in take(where, other)] == ["open"]
    assert where.take(Fact(other, True)) is None
    gone = msgspec.structs.replace(other, version=2)
    (said,) = take(where, gone, present=False)
    assert (said.standing.status, said.finding_id) == ("retracted", take(book(), one, other)[0].finding_id)
    assert [s.standing.status for s in take(where, msgspec.structs.replace(other, version=3))] == ["open"]
    corrected = msgspec.structs.replace(other, version=4, amount=Decimal("9.00"))
    assert [s.standing.status for s in take(where, corrected)] == ["retracted"]


def test_a_pair_that_moves_is_another_finding_there_and_taken_back_here() -> None:
    """A bill moves to another vendor: the key it left and the key it came to speak in any order."""
    where_it_was, where_it_is = book(), book()
    a, b = bill("a"), bill("b", day=TODAY + 3)
    (first,) = take(where_it_was, a, b)
    moved = [msgspec.structs.replace(one, vendor="8", version=3) for one in (a, b)]
    (opened,) = [said for one in moved for said in where_it_is.take(Fact(one, True)) or []]
    left = [msgspec.structs.replace(one, vendor="8", version=2) for one in (a, b)]
    (closed,) = [said for one in left for said in where_it_was.take(Fact(one, False)) or []]
    assert (closed.finding_id, closed.version, closed.standing.status) == (first.finding_id, 2, "retracted")
    assert (opened.finding_id != first.finding_id, opened.version, opened.standing.status) == (True, 1, "open")


def test_a_full_block_lets_the_oldest_go_and_counts_it() -> None:
    policy = msgspec.structs.replace(POLICY, block_cap=3)
    where = book(policy=policy)
    for n in range(6):
        take(where, bill(str(n), reference=None, date=TODAY + 40 * n, day=TODAY + 40 * n))
    assert where.dropped == 3
    late = bill("9", reference=None, date=TODAY + 1, day=TODAY - 1)
    assert take(where, late) == []
    assert where.dropped == 4
    dated = take(where, bill("8", reference=None, date=TODAY, day=TODAY - 1))
    assert [one.standing.keys for one in dated] == [("0", "8")], "those of its day it meets all the same"


def test_a_recurring_series_takes_back_what_looked_like_a_duplicate() -> None:
    """The third bill of the amount shows that the first two are rent."""
    where = book()
    rent = [bill(str(n), reference=None, date=TODAY + 4 * n, day=TODAY + 4 * n) for n in range(2)]
    said = take(where, *rent)
    if said:
        assert said[0].standing.status == "open"
    before = {one.standing.keys: one.standing.score for one in said}
    more = [bill(f"9{n}", reference=None, date=TODAY + 30 * n, day=TODAY + 30 * n) for n in range(1, 6)]
    after = {one.standing.keys: one.standing for one in take(where, *more)}
    for keys, score in before.items():
        assert after[keys].status == "retracted" or after[keys].score < score


def test_rows_go_through_their_wire_form() -> None:
    shelf = Shelf()
    where = Book(shelf, "odoo", VENDOR, POLICY)
    take(where, bill("a"), bill("b", day=TODAY + 3), *parts_of(bill("a"), "1000", "234.56"))
    for row in shelf.rows.values():
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=type(row)) == row


@pytest.mark.parametrize("apart", [0, POLICY.split_window_days * DAY, POLICY.split_window_days * DAY + 1])
def test_where_no_two_bills_are_near_there_is_no_gathered_split(apart: int) -> None:
    """What is passed over without a look is what would have come to nothing, to the microsecond."""
    begun = TODAY * DAY
    whole = bill("w", reference="A-1", amount=Decimal(100), created_at=begun, order=None)
    parts = [
        bill(f"p{n}", reference=None, amount=Decimal(50), created_at=begun + n * apart, order=None) for n in range(2)
    ]
    found = gathered_splits(parts, lambda cents, _: [whole] if cents == 10_000 else [], POLICY)
    assert bool(found) == near(reversed(parts), POLICY) == (apart <= POLICY.split_window_days * DAY)
