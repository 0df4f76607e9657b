"""The demo's summary at every width: whole words, figures in their columns."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from finwatch.cli import summary
from finwatch.cli.console import ExceptionRow
from finwatch.cli.questions import KindRow
from finwatch.local.truth import Compared

NEXT = "Compare the two bills and hold the later one until it is clear."
FINDINGS = [
    KindRow("approvals", "stuck_order_approval", "medium", "stuck", 6, 4, 0, "stuck", NEXT),
    KindRow("duplicates", "normalised_reference", "high", None, 1234, 0, 5, "alike", NEXT),
    KindRow("sla", "bill_validation", "low", "warning_75", 0, 6, 0, "about to", NEXT),
    KindRow("sla", "bill_validation", "critical", "escalation_1", 0, 6, 0, "escalated", NEXT),
    KindRow("sla", "bill_validation", "high", "breach", 0, 6, 0, "breached", NEXT),
    KindRow("something_new", "a_new_rule", "high", "late", 0, 1, 0, "new", NEXT),
]


def lines(table: Table, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_findings_in_words() -> None:
    shown = lines(summary.findings(FINDINGS, 80), 80)
    assert [line.split("  ")[0] or line.strip().split("  ")[0] for line in shown] == [
        "findings",
        "approvals",
        "order approval stuck",
        "duplicate bills",
        "the same reference, written otherwise",
        "service levels",
        "bill validation: 75 % of the time gone",
        "bill validation: breached and escalated",
        "bill validation: breached",
        "something new",
        "a new rule: late",
    ]
    (duplicates,) = (line for line in shown if "written otherwise" in line)
    assert duplicates.split()[-4:] == ["high", "1,234", "0", "5"]
    assert len({len(line) for line in shown if line.startswith("  ") or "retracted" in line}) == 1  # set to the right


@pytest.mark.parametrize("width", [80, 120, 160])
def test_no_word_is_broken_and_nothing_is_cut(width: int) -> None:
    compared = [
        Compared("bills without an order", 16, 16, (), (), {"reimbursements": 187, "under 1000": 11}),
        Compared("vendor bills paid late or never", 8, 7, (frozenset({"a"}),), (frozenset({"b"}),), {}),
    ]
    for table in (
        summary.findings(FINDINGS, width),
        summary.exceptions([ExceptionRow("billed_before_receipt", "high", 2, 1)]),
        summary.made_and_found(compared),
    ):
        shown = lines(table, width)
        whole = lines(table, 400)
        assert max(map(len, shown)) <= width
        assert sorted(" ".join(shown).split()) == sorted(" ".join(whole).split())


def test_what_to_do_is_shown_where_there_is_room() -> None:
    assert NEXT in "\n".join(lines(summary.findings(FINDINGS, 160), 160))
    assert NEXT[:10] not in "\n".join(lines(summary.findings(FINDINGS, 120), 120))


def test_what_was_missed_and_what_is_false_is_counted() -> None:
    row = Compared("kind", 8, 7, (frozenset({"a"}),), (frozenset({"b"}), frozenset({"c"})), {})
    (_, shown) = lines(summary.made_and_found([row]), 80)
    assert shown.split() == ["kind", "8", "7", "2"]
