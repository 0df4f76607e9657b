"""Weighs what speaks for and against two bills being one, in points, and says why in words.

The points are logarithms of odds, set by hand from what each kind of error leaves in place: a copy keeps what was on
the paper. Their sum becomes a score from 0 to 1. What speaks against lowers the score and is said; nothing excludes,
but a pair with two readable and unlike references, or of which one reverses the other, is no candidate.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from math import exp, log1p
from typing import NamedTuple

from msgspec import Struct

from finwatch.domain.calendar import DAY
from finwatch.domain.duplicates import similarity as like
from finwatch.domain.duplicates.references import reference as forms
from finwatch.domain.duplicates.references import usable
from finwatch.domain.duplicates.slips import likely
from finwatch.domain.policy import DuplicatesSection

RULES = (
    "exact_reference",
    "normalised_reference",
    "fuzzy_reference",
    "amount_and_date",
    "vendor_alias",
    "split",
    "across_companies",
    "across_types",
    "after_credit_note",
)


EXPENSE, ORDER = "expense", "order"
"""Document types of what bills are compared with: an expense of an employee, and an order that bills may come to."""


class Bill(Struct, array_like=True, gc=False, frozen=True):
    """What is compared. Dates in days, instants in microseconds; ``net`` is without tax, ``bank`` and ``address`` are
    hashes.

    ``name`` is as written, ``company_amount`` in the company's own currency. ``version`` grows with each change of the
    document. ``reversed_key``: what this credit note takes back, which counts once it is ``posted``. ``reversed``: the
    source says that something took this one back. ``entered_at`` is when it came to stand as it does. ``text``: what an
    expense is said to be for. An ``ORDER`` is ``posted`` when bills that name it (``order``) come to its amount.
    """

    key: str
    version: int
    company: str | None
    document_type: str | None
    vendor: str | None
    reference: str | None
    date: int | None
    amount: Decimal | None
    currency: str | None
    created_at: int
    vat: str | None = None
    bank: str | None = None
    name: str | None = None
    net: Decimal | None = None
    order: str | None = None
    reversed_key: str | None = None
    posted: bool = True
    reversed: bool = False
    company_amount: Decimal | None = None
    entered_at: int = 0
    event_id: str = ""
    address: str | None = None
    text: str | None = None


class Verdict(NamedTuple):
    """How surely two bills are one (0 to 1), by which rule, and why, in words without amounts or names."""

    score: float
    rule: str
    reasons: tuple[str, ...]


class Context(NamedTuple):
    """What else is known around two bills.

    ``repeats``: other dates on which this vendor billed this amount (under this reference, where the two have one).
    ``credit_between``: a credit note of the amount came between the two. ``credited``: the earlier one was credited
    before the later one came. ``settled``: one of the two was credited since, so they net to one bill. ``lately``: how
    many of the other dates are within a quarter of one of the two.
    """

    repeats: int = 0
    credit_between: bool = False
    credited: bool = False
    settled: bool = False
    lately: int = 0


QUARTER = 92  # days
SAME_PAPER = frozenset({like.EXACT, like.NORMALISED, like.PREFIXED})
ALONE = Context()
_ENTERED = "entered"
_PRIOR = -5.0
_REFERENCE = {
    like.EXACT: (5.0, "The reference is the same."),
    like.NORMALISED: (
        4.5,
        "The reference is the same but for case, punctuation, leading zeros or characters read for one another.",
    ),
    like.PREFIXED: (3.5, "One reference is the other with something before it."),
    like.SUFFIXED: (1.5, "One reference is the other with something after it."),
    like.FUZZY: (2.0, "The references differ by one slip of the keyboard or of a reader."),
    like.MISSING: (0.8, "Neither has a reference."),
    like.RUNNING: (-2.0, "The references are neighbours in a row of numbers."),
    like.SHORT: (-1.5, "The references are short, and differ by one or two characters."),
}
_UNTELLING = frozenset({like.RUNNING, like.SHORT})
# Bills of one day come within days of one another: one that comes weeks later is rather the same again.
_LATER = ((20, 2.5), (12, 1.5))
"""Days between two entries, and how much that says."""
_ONE_MISSING = (1.8, "One of them has no reference.")
_TWO_SLIPS = (0.0, "The references differ by two slips of the keyboard or of a reader.")
_AMOUNT = {
    like.EQUAL: (3.0, "The amount is the same."),
    like.CLOSE: (1.5, "The amount is nearly the same."),
    like.NET: (1.5, "One amount is the other without tax."),
    like.CONVERTED: (1.5, "The amounts are the same once converted."),
    like.UNKNOWN: (0.0, "An amount is not known."),
    like.DIFFER: (-4.5, "The amount differs."),
}
_DATE = {
    like.SAME: (2.5, "The document date is the same."),
    like.NEAR: (2.0, "The document dates are days apart."),
    like.SWAPPED: (1.5, "Day and month are swapped in one document date."),
    like.OTHER_YEAR: (2.5, "The document dates differ by the year only."),
    like.UNKNOWN: (0.0, "A document date is not known."),
    _ENTERED: (-1.0, "The later one is dated the day it was entered."),
    like.FAR: (-2.5, "The document dates are far apart."),
}
_LATELY = ((20, 2.5), (12, 1.0))
_TOGETHER = 3  # days
_ENTERED_TOGETHER = (-0.5, "They were entered within days of one another, as two bills of one day are.")
_UNLIKELY_SLIP = (-0.5, "Neither hands nor readers take those characters for one another.")
_ROUND = (-0.5, "It is a round amount.")
_STRUCTURED = (-3.0, "The reference is a structured payment reference, which may serve for every bill of a contract.")
_RHYTHM = (-1.5, "They are a week, a month or a quarter apart, as bills of a contract are.")
_PROMPT = (-1.5, "Each was entered within days of its own date.")
_OTHER_YEARS = (-1.5, "They are of different years, and numbering may begin anew.")
_AGAIN, _OFTEN = 0.5, 0.6
"""What it says that an amount is usual: at all, and by the logarithm of how often of late."""
_NEAR = (0.0, "The document dates are days apart.")
_CLAIMED_NEAR = (1.5, "The document dates are days apart.")
_CLAIMED_NEAR_USUAL = (1.0, "The document dates are days apart.")
_USUAL_LATER = -1.0
"""Of an amount that is billed again and again, a bill of days later is rather the next one, though it came late."""
_COMPANIES = (-0.5, "They are in different companies.")
_COMPANIES_TOO = (-2.5, "They are in different companies.")
_PERIODS = frozenset((7, 14, *range(28, 32), *range(59, 63), *range(90, 93)))
_WORDS, _WORDS_OF_A_NAME, _SHORTEST_NAME = 8, 4, 4
_PROMPTLY = 15  # days in which most bills are entered
REFUND = "in_refund"
_BESIDE = frozenset({EXPENSE, ORDER})


def compare(one: Bill, other: Bill, settings: DuplicatesSection, context: Context = ALONE) -> Verdict | None:
    """Weigh two bills. None when they are no candidates. Symmetrical."""
    if one.key == other.key or one.reversed_key == other.key or other.reversed_key == one.key or context.settled:
        return None
    claimed = False
    if one.document_type != other.document_type:
        types = one.document_type, other.document_type
        if REFUND in types or ORDER in types:
            return None
        claimed = EXPENSE in types
    elif one.document_type in _BESIDE:
        return None
    amount = like.compare_amounts(
        one.amount, other.amount, one.currency == other.currency, settings.amount_tolerance, one.net, other.net
    )
    if amount == like.DIFFER and _converted(one, other, settings):
        amount = like.CONVERTED
    reference, slips = like.compare_references(
        one.reference,
        other.reference,
        settings.min_reference_length,
        settings.ignore_references,
        amount not in (like.DIFFER, like.CONVERTED),
    )
    if reference == like.DIFFERENT:
        return None
    if reference in _UNTELLING and (amount != like.EQUAL or one.date is None or one.date != other.date):
        return None  # two numbers of a vendor, as far as one can tell
    same_reference = reference in SAME_PAPER
    # One without a reference is odd when the vendor has them; two are the vendor's habit.
    one_missing = reference == like.MISSING and has_reference(one, settings) != has_reference(other, settings)
    same_day = one.date is not None and one.date == other.date
    nearly = amount in (like.CLOSE, like.NET) and (reference == like.FUZZY or (one_missing and same_day))
    if not same_reference and amount != like.EQUAL and not nearly:
        return None
    party = _party(one, other)
    if party is None and claimed:
        party = _named(one, other)
    if party is None:
        return None
    found = [
        party,
        _TWO_SLIPS if reference == like.FUZZY and slips > 1 else _ONE_MISSING if one_missing else _REFERENCE[reference],
        _AMOUNT[amount],
    ]
    if reference == like.FUZZY and slips == 1 and not _likely_slip(one, other):
        found.append(_UNLIKELY_SLIP)
    if not same_reference and amount == like.EQUAL and _round(one):
        found.append(_ROUND)
    date = like.compare_dates(one.date, other.date, settings.date_window_days)
    gap = abs(one.created_at - other.created_at) // DAY
    if date == like.OTHER_YEAR and gap > settings.entry_window_days:
        date = like.FAR  # entered a year apart too: numbering begins anew
    if date == like.FAR and (amount == like.EQUAL or same_reference) and _dated_on_entry(one, other):
        date = _ENTERED
    if same_reference or date != like.NEAR:
        found.append(_DATE[date])
    else:
        found.append((_CLAIMED_NEAR_USUAL if context.repeats else _CLAIMED_NEAR) if claimed else _NEAR)
    if date in (like.FAR, like.SWAPPED, _ENTERED):
        if reference == like.EXACT and like.structured(one.reference or ""):
            found.append(_STRUCTURED)
        if _rhythm(one, other):
            found.append(_RHYTHM)
    if date in (like.FAR, like.SWAPPED, like.OTHER_YEAR) and _prompt(one) and _prompt(other):
        found.append(_PROMPT)
    if date in (like.FAR, _ENTERED) and like.other_year(one.date, other.date):
        found.append(_OTHER_YEARS)
    if not same_reference and date in (like.SAME, like.NEAR) and not claimed:
        late = next((weight for days, weight in (_LATER if reference in _UNTELLING else _LATELY) if gap > days), 0.0)
        if late > 0:
            weight = late + _USUAL_LATER if context.repeats and date == like.NEAR else late
            found.append((weight, "They are dated alike, but one was entered weeks after the other."))
        elif reference not in _UNTELLING and gap <= _TOGETHER:
            found.append(_ENTERED_TOGETHER)
    else:
        late = 0.0
    if gap > settings.entry_window_days:
        found.append((-3.0, "They were entered long after one another."))
    if one.order and other.order:
        # Deliveries of one order are billed one after the other: there the order tells nothing.
        deliveries = reference in _UNTELLING or (reference == like.FUZZY and date == like.NEAR)
        same = 0.0 if deliveries and late <= 0 else 1.5
        found.append(
            (same, "They name the same order.") if one.order == other.order else (-4.0, "They name different orders.")
        )
    if context.repeats:
        if same_reference:
            weight = -min(4.0, 1.5 * context.repeats) if date != like.SAME else -min(2.0, 0.3 * context.repeats)
        else:
            weight = -_AGAIN - _OFTEN * log1p(context.lately)
        found.append((weight, "This vendor bills this amount again and again."))
    if not same_reference and (context.credit_between or context.credited):
        found.append((-4.0, "One of them was credited before the other came."))
    rule = _rule(one, other, reference, context)
    if one.company != other.company:
        found.append(_COMPANIES if same_reference else _COMPANIES_TOO)
    if one.document_type != other.document_type:
        found.append((-0.5, "One is a bill, the other an expense or a receipt."))
    reasons = [reason for _, reason in found]
    if rule == "after_credit_note":
        reasons.append("It came again after it was credited.")
    points = _PRIOR + sum(weight for weight, _ in found)
    return Verdict(round(1 / (1 + exp(-points)), 4), rule, tuple(reasons))


def has_reference(bill: Bill, settings: DuplicatesSection) -> bool:
    """Whether a bill has a reference that can tell it apart."""
    return usable(bill.reference, settings.min_reference_length, settings.ignore_references)


def _converted(one: Bill, other: Bill, settings: DuplicatesSection) -> bool:
    """Whether two amounts in different currencies are one in the currency of the company that both are of."""
    if one.currency == other.currency or one.company != other.company:
        return False
    amounts = like.compare_amounts(one.company_amount, other.company_amount, True, settings.amount_tolerance)
    return amounts in (like.EQUAL, like.CLOSE)


def _likely_slip(one: Bill, other: Bill) -> bool:
    a, b = (forms(like.unlabelled(bill.reference or "")) for bill in (one, other))
    return likely(a.whole, b.whole) or likely(a.joined, b.joined)


def _round(bill: Bill) -> bool:
    return bill.amount is not None and bill.amount % 10 == 0


def _prompt(bill: Bill) -> bool:
    """Whether a bill was entered soon after its date."""
    return bill.date is not None and 0 <= bill.created_at // DAY - bill.date <= _PROMPTLY


def _rhythm(one: Bill, other: Bill) -> bool:
    """Whether two dates are a week, four weeks, a month or a quarter apart."""
    apart = abs((one.date or 0) - (other.date or 0))
    return apart in _PERIODS


def _dated_on_entry(one: Bill, other: Bill) -> bool:
    later = max(one, other, key=lambda bill: (bill.created_at, bill.key))
    return later.date is not None and later.date == later.created_at // DAY


def _party(one: Bill, other: Bill) -> tuple[float, str] | None:
    if one.vendor is not None and one.vendor == other.vendor:
        return 0.0, "Same vendor."
    if one.vat and other.vat:
        return (-0.5, "Two vendor records with the same tax number.") if one.vat == other.vat else _sisters(one, other)
    if one.bank and one.bank == other.bank:
        return -0.5, "Two vendor records with the same bank account."
    if one.name and other.name and like.bare_name(one.name) == like.bare_name(other.name):
        return -1.0, "Two vendor records with the same name but for the legal form."
    if one.address and one.address == other.address:
        return -1.5, "Two vendor records at the same address."
    return None


def _sisters(one: Bill, other: Bill) -> tuple[float, str] | None:
    if one.bank and one.bank == other.bank:
        return -4.0, "Two vendors with one bank account, but different tax numbers."
    if one.name and other.name and like.bare_name(one.name) == like.bare_name(other.name):
        return -4.0, "Two vendors with one name, but different tax numbers."
    return None


def _named(one: Bill, other: Bill) -> tuple[float, str] | None:
    """Whether the expense among two says that it was paid to whoever sent the other."""
    expense, bill = (one, other) if one.document_type == EXPENSE else (other, one)
    if bill.name and like.bare_name(bill.name) in firms_named(expense):
        return -0.5, "The expense names the vendor."
    return None


def firms_named(expense: Bill) -> Iterator[str]:
    """Names of firms that an expense may mean: its vendor's, and up to four words in a row of what it was for."""
    if expense.name:
        yield like.bare_name(expense.name)
    words = like.words_of(expense.text or "")[:_WORDS]
    for begin in range(len(words)):
        for end in range(begin + 1, min(begin + _WORDS_OF_A_NAME, len(words)) + 1):
            name = " ".join(words[begin:end])
            if len(name) >= _SHORTEST_NAME:
                yield name


def _rule(one: Bill, other: Bill, reference: str, context: Context) -> str:
    if one.document_type != other.document_type:
        return "across_types"
    if one.company != other.company:
        return "across_companies"
    if one.vendor != other.vendor:
        return "vendor_alias"
    if context.credited and reference in SAME_PAPER:
        return "after_credit_note"
    if reference == like.EXACT:
        return "exact_reference"
    if reference == like.NORMALISED:
        return "normalised_reference"
    return "amount_and_date" if reference == like.MISSING else "fuzzy_reference"
