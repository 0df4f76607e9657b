"""What `finwatch demo` says at its end, as tables. Drawing only; no I/O."""

from collections.abc import Sequence
from itertools import groupby

from rich.table import Table

from finwatch.cli.console import ExceptionRow
from finwatch.cli.questions import KindRow
from finwatch.local.truth import Compared

_WIDE = 146
"""Columns from which there is room for what is to be done about a finding, on one line."""
_WORDS = 38
_DETECTORS = {
    "approvals": "approvals",
    "sla": "service levels",
    "duplicates": "duplicate bills",
    "exceptions": "exceptions",
}
_RULES = {
    "exact_reference": "the same reference",
    "normalised_reference": "the same reference, written otherwise",
}
_LEVELS = {"breach": "breached", "stuck": ""}


def findings(rows: Sequence[KindRow], width: int) -> Table:
    """Findings by detector and rule."""
    wide = width >= _WIDE
    table = _table("findings", ("severity", False), ("open", True), ("resolved", True), ("retracted", True))
    if wide:
        table.add_column("next action of the latest", overflow="fold")
    for detector, group in groupby(rows, key=lambda row: row.detector):
        table.add_row(f"[bold]{_DETECTORS.get(detector, words(detector))}[/]")
        for row in group:
            cells = (f"  {rule(row)}", row.severity, f"{row.open:,}", f"{row.resolved:,}", f"{row.retracted:,}")
            table.add_row(*cells, *((row.next_action,) if wide else ()))
    return table


def exceptions(rows: Sequence[ExceptionRow]) -> Table:
    """Exceptions by type."""
    table = _table("documents with an exception", ("severity", False), ("open", True), ("resolved", True))
    for row in rows:
        table.add_row(f"  {words(row.type)}", row.severity, f"{row.open:,}", f"{row.resolved:,}")
    return table


def made_and_found(rows: Sequence[Compared]) -> Table:
    """What was done wrong on purpose, and how much of it was found."""
    table = _table("done wrong on purpose", ("made", True), ("found", True), ("false", True))
    table.add_column("not counted", overflow="fold")
    for row in rows:
        left = ", ".join(f"{count:,} {reason}" for reason, count in sorted(row.excused.items()))
        found = f"{row.found:,}" if not row.missed else f"[bold red]{row.found:,}[/]"
        wrong = "0" if not row.wrong else f"[bold red]{len(row.wrong):,}[/]"
        table.add_row(f"  {row.words}", f"{row.made:,}", found, wrong, f"[dim]{left}[/]")
    return table


def rule(row: KindRow) -> str:
    """What a kind of finding says, in words."""
    said = _RULES.get(row.rule, words(row.rule))
    if row.detector == "approvals" and said.startswith("stuck "):
        said = f"{said[6:]} stuck"
    level = row.level or ""
    if level.startswith("warning_"):
        return f"{said}: {level[8:]} % of the time gone"
    if level.startswith("escalation_"):
        return f"{said}: breached and escalated"
    level = _LEVELS.get(level, words(level))
    return f"{said}: {level}" if level else said


def words(name: str) -> str:
    """A name of the data as words."""
    return name.replace("_", " ")


def _table(title: str, *columns: tuple[str, bool]) -> Table:
    """A table whose first column, as wide in every table, holds the words; (name, to the right) of the others."""
    table = Table(header_style="dim", pad_edge=False, box=None)
    table.add_column(f"[bold not dim]{title}[/]", min_width=_WORDS, no_wrap=True)
    for name, right in columns:
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    return table
