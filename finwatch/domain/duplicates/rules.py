"""The rules on duplicate bills, as the rule book tells them. What each weighs stands in ``evidence`` and ``splits``."""

from __future__ import annotations

from finwatch.domain.duplicates.reports import title
from finwatch.domain.findings import DUPLICATES
from finwatch.domain.rules import Rule, book

_PAPER = ("bill: reference", "bill: date", "bill: amounts and currencies", "bill: vendor", "bill: order")
_VENDOR = (*_PAPER, "bill: vendor's name, tax number, address (hashed), account (hashed)")
_WEIGHT = (
    "duplicates.report_at",
    "duplicates.block_cap",
    "duplicates.dismissed_points",
    "duplicates.forget_after_days",
)
_REFERENCE = (*_WEIGHT, "duplicates.min_reference_length", "duplicates.ignore_references")
_NEAR = (*_WEIGHT, "duplicates.amount_tolerance", "duplicates.date_window_days", "duplicates.entry_window_days")


def _rule(name: str, meaning: str, inputs: tuple[str, ...], keys: tuple[str, ...], reason: str, example: str) -> Rule:
    return Rule(name, DUPLICATES, title(name), meaning, inputs, keys, reason, example)


RULES = book(
    _rule(
        "exact_reference",
        "Two bills of one vendor and type have the same reference.",
        _PAPER,
        _REFERENCE,
        "The reference is the same.",
        "INV-2026-00417 of 1,234.56 is entered again three weeks later.",
    ),
    _rule(
        "normalised_reference",
        "Their references are the same once case, punctuation, leading zeros and characters read for one another are "
        "left out of account.",
        _PAPER,
        _REFERENCE,
        "The reference is the same but for case, punctuation, leading zeros or characters read for one another.",
        "INV-2026-00417, and inv 2026 0417.",
    ),
    _rule(
        "fuzzy_reference",
        "Their references differ by a slip or two, and amount and date agree; or by little, and one was entered weeks "
        "after the other.",
        _PAPER,
        _NEAR,
        "The references differ by one slip of the keyboard or of a reader.",
        "INV-2026-00417, and INV-2026-00471.",
    ),
    _rule(
        "amount_and_date",
        "One has no reference, or neither; amount and date agree.",
        _PAPER,
        _NEAR,
        "One of them has no reference.",
        "INV-2026-00417 of 1,234.56, and a bill of the same day and amount without a reference.",
    ),
    _rule(
        "vendor_alias",
        "Two vendor records that share a tax number, an account, an address or a name but for the legal form have "
        "bills that look like one.",
        _VENDOR,
        _NEAR,
        "Two vendor records with the same name but for the legal form.",
        "North Steel NV and NORTH STEEL both bill INV-2026-00417.",
    ),
    _rule(
        "split",
        "Two to four bills of a vendor, entered within days of one another, are together an earlier one: under its "
        "number or order, without a reference, or written otherwise than the vendor writes. Those that do not name an "
        "order may also come to that order: more surely when other bills have come to it.",
        (*_PAPER, "purchase_order: name, amount, vendor"),
        (*_WEIGHT, "duplicates.split_window_days"),
        "Together the later bills are the earlier one.",
        "INV-417 of 1,000, then INV-417/2 of 700 and INV-417/3 of 300.",
    ),
    _rule(
        "across_companies",
        "A bill of the same vendor stands in two companies of the group.",
        _PAPER,
        _NEAR,
        "They are in different companies.",
        "INV-2026-00417 is entered in company 1 and in company 2.",
    ),
    _rule(
        "across_types",
        "The same paper was entered as a bill and as a receipt, or an employee claims it as an expense: then the "
        "amount is the same, the date is the same or days apart, and the expense is of the bill's vendor or its text "
        "has the vendor's name in it. Expenses are compared once they are submitted, and not with one another.",
        (*_PAPER, "expense_report: amount, date, text and vendor of each expense"),
        _NEAR,
        "One is a bill, the other an expense or a receipt.",
        "INV-2026-00417 is entered as a bill and as a purchase receipt.",
    ),
    _rule(
        "after_credit_note",
        "A bill that was credited in full came again under its reference.",
        (*_PAPER, "bill: what a credit note reverses"),
        _REFERENCE,
        "It came again after it was credited.",
        "R-100 is credited, and R-100 of the same amount is entered ten days later.",
    ),
)
