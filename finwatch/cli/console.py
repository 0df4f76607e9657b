"""The live terminal view of the demo: what a snapshot of the store looks like. Drawing only; no I/O."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

BUCKETS = ("0-1", "1-3", "3-5", "5-10", ">10")


@dataclass(frozen=True)
class AgeingRow:
    """Open steps of one kind: how many wait how long, in business days."""

    entity: str
    step: str
    buckets: tuple[int, ...]
    oldest_days: float


@dataclass(frozen=True)
class ClockRow:
    """Clocks of one service level by status."""

    policy: str
    running: int
    met: int
    breached: int


@dataclass(frozen=True)
class ExceptionRow:
    """Exceptions of one type."""

    type: str
    severity: str
    open: int
    resolved: int


@dataclass(frozen=True)
class FindingRow:
    """One finding, newest first."""

    opened_at: datetime
    severity: str
    detector: str
    title: str
    status: str


@dataclass(frozen=True)
class Snapshot:
    """What the console shows; times are UTC, rates are per second of real time."""

    simulated: datetime | None = None
    share: float = 0.0
    elapsed: float = 0.0
    published: int = 0
    stored: int = 0
    behind: int = 0
    rate: float = 0.0
    dead: int = 0
    documents: int = 0
    ageing: Sequence[AgeingRow] = field(default_factory=tuple)
    clocks: Sequence[ClockRow] = field(default_factory=tuple)
    exceptions: Sequence[ExceptionRow] = field(default_factory=tuple)
    duplicates: Sequence[FindingRow] = field(default_factory=tuple)
    findings: Sequence[FindingRow] = field(default_factory=tuple)


_SEVERITY = {"critical": "bold white on red", "high": "bold red", "medium": "yellow", "low": "cyan", "info": "dim"}


def _table(words: Sequence[str], figures: Sequence[tuple[str, int]]) -> Table:
    """A table whose figures keep their width while the words give way."""
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
    for name in words:
        table.add_column(name, no_wrap=True, overflow="ellipsis", ratio=1)
    for name, width in figures:
        table.add_column(name, justify="right", no_wrap=True, width=width)
    return table


def _number(value: int, style: str = "") -> Text:
    return Text("·" if value == 0 else f"{value:,}", style="dim" if value == 0 else style)


def ageing_panel(rows: Sequence[AgeingRow]) -> RenderableType:
    """Approval ageing: what is open now, by business days."""
    table = _table(("step",), (*((bucket, 4) for bucket in BUCKETS), ("oldest", 6)))
    styles = ("", "", "yellow", "red", "bold red")
    for row in rows:
        cells = [_number(count, style) for count, style in zip(row.buckets, styles, strict=True)]
        table.add_row(row.step.replace("_", " "), *cells, f"{row.oldest_days:.1f} d")
    return Panel(table, title="Approval ageing · open now, business days", title_align="left", border_style="blue")


def clocks_panel(rows: Sequence[ClockRow]) -> RenderableType:
    """Service levels by status."""
    table = _table(("service level",), (("running", 7), ("met", 6), ("breached", 8)))
    for row in rows:
        table.add_row(
            row.policy.replace("_", " "),
            _number(row.running),
            _number(row.met, "green"),
            _number(row.breached, "bold red"),
        )
    return Panel(table, title="Service-level clocks", title_align="left", border_style="blue")


def exceptions_panel(rows: Sequence[ExceptionRow]) -> RenderableType:
    """Exceptions by type."""
    table = _table(("type", "severity"), (("open", 6), ("resolved", 8)))
    for row in rows:
        table.add_row(
            row.type.replace("_", " "),
            Text(row.severity, style=_SEVERITY.get(row.severity, "")),
            _number(row.open, "bold"),
            _number(row.resolved, "green"),
        )
    return Panel(table, title="Exceptions", title_align="left", border_style="blue")


def findings_panel(title: str, rows: Sequence[FindingRow]) -> RenderableType:
    """Findings, newest first."""
    table = Table(box=None, expand=True, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, min_width=12, max_width=12)
    table.add_column(no_wrap=True, min_width=8, max_width=8)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        struck = row.status in ("resolved", "retracted")
        table.add_row(
            Text(f"{row.opened_at:%d %b %H:%M}", style="dim"),
            Text(row.severity, style=_SEVERITY.get(row.severity, "")),
            Text(row.title + (f" ({row.status})" if struck else ""), style="dim" if struck else ""),
        )
    return Panel(table, title=title, title_align="left", border_style="blue")


def header(snapshot: Snapshot) -> RenderableType:
    """Simulated time, progress, throughput, lag."""
    moment = f"{snapshot.simulated:%a %d %b %Y %H:%M}" if snapshot.simulated else "starting"
    line = Text.assemble(
        ("finwatch ", "bold"),
        (f"  {moment} ", "bold cyan"),
        (f"  {snapshot.published:,} events published", ""),
        (f"  {snapshot.stored:,} records stored", ""),
        (f"  {snapshot.rate:,.0f}/s", "green"),
        (f"  {snapshot.behind:,} behind", "yellow" if snapshot.behind else "dim"),
        (f"  {snapshot.dead:,} dead letters", "bold red" if snapshot.dead else "dim"),
    )
    return Panel(Group(line, ProgressBar(total=1.0, completed=snapshot.share)), border_style="cyan")


def render(snapshot: Snapshot, width: int, height: int) -> RenderableType:
    """The whole screen for a terminal of `width` by `height`; one column below 110 characters."""
    panels = {
        "ageing": ageing_panel(snapshot.ageing),
        "clocks": clocks_panel(snapshot.clocks),
        "exceptions": exceptions_panel(snapshot.exceptions),
        "duplicates": findings_panel("Duplicate bills", snapshot.duplicates),
        "findings": findings_panel("Latest findings", snapshot.findings),
    }
    layout = Layout()
    layout.split_column(Layout(header(snapshot), size=4, name="header"), Layout(name="body"))
    if width < 110:
        layout["body"].split_column(*(Layout(panel, name=name) for name, panel in panels.items()))
        return layout
    layout["body"].split_column(Layout(name="top", ratio=2), Layout(name="bottom", ratio=3))
    layout["top"].split_row(Layout(panels["ageing"]), Layout(panels["clocks"]))
    layout["bottom"].split_row(Layout(panels["exceptions"], ratio=2), Layout(name="found", ratio=3))
    layout["found"].split_column(Layout(panels["duplicates"]), Layout(panels["findings"]))
    return layout


def as_svg(snapshot: Snapshot, width: int = 140, height: int = 40) -> str:
    """The screen as an SVG picture that loads nothing from elsewhere."""
    console = Console(record=True, width=width, height=height, file=io.StringIO(), force_terminal=True)
    console.print(render(snapshot, width, height), height=height)
    svg = console.export_svg(title="finwatch demo")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
