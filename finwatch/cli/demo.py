"""`finwatch demo`: the whole system on a simulated Odoo, with a live view."""

import shutil
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finwatch.cli.options import Json
from finwatch.cli.output import err, out, show_json

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from finwatch.cli.console import Snapshot
    from finwatch.local.backpressure import Positions
    from finwatch.local.demonstration import Demonstration
    from finwatch.local.stack import EmbeddedStack
    from finwatch.runtime.config import Settings

DIRECTORY = Path(".finwatch/demo")


class Version(StrEnum):
    """Odoo versions the simulation speaks."""

    v17 = "17.0"
    v18 = "18.0"
    v19 = "19.0"


def demo(
    once: Annotated[bool, typer.Option("--once", help="No live view: process everything, print the summary.")] = False,
    embedded: Annotated[
        Path | None,
        typer.Option(
            "--embedded",
            metavar="DIR",
            help=f"Keep the data in DIR and go on there next time. Default: {DIRECTORY}, made new each time.",
            show_default=False,
        ),
    ] = None,
    weeks: Annotated[int, typer.Option(min=1, max=26, help="Weeks of the company's activity.")] = 4,
    seed: Annotated[int, typer.Option(help="Another seed is another company.")] = 7,
    version: Annotated[Version, typer.Option(help="Odoo version the company runs.")] = Version.v18,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE.svg", help="Save the live view at the end as SVG.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the whole system on a simulated Odoo: broker, capture, streams, store, and a live view of the findings.

    Needs nothing but this package. Without a terminal it behaves as with --once.
    Examples: [bold]finwatch demo[/], [bold]finwatch demo --once --weeks 2[/], [bold]finwatch demo --embedded ./data[/].
    Exit codes: 0 done, 69 a part did not start, 130 stopped by Ctrl-C (nothing is left running).
    """
    from finwatch.cli.serving import stop_on_signals
    from finwatch.local.demonstration import LATENESS, Demonstration, Scenario, made_by_demo, settle
    from finwatch.local.embedded import open_embedded, wait_until_stored
    from finwatch.runtime.exits import ExitCode
    from finwatch.runtime.logging import configure_logging

    configure_logging("warning", "auto")
    directory = (embedded or DIRECTORY).resolve()
    if embedded is None and made_by_demo(directory):
        shutil.rmtree(directory)
    scenario = Scenario(seed, weeks, version.value)
    settle(directory, scenario)
    stop = stop_on_signals()
    began = time.monotonic()
    live = not once and not as_json and sys.stdout.isatty()
    opening = open_embedded(directory, lateness=LATENESS)
    with err.status("starting broker, store and streams") as status, opening as (stack, settings):
        status.update("making the company")
        company = Demonstration(settings, scenario, stop)
        company.start()
        status.stop()
        watching = _watch_live if live else _watch_quietly
        watching(stack, settings, company, stop, began)
        if not stop.is_set():
            company.join()
            with err.status("waiting until everything is stored"):
                wait_until_stored(stack, settings, stop)
        if stop.is_set():
            err.print("stopped; nothing is left running")
            raise typer.Exit(ExitCode.INTERRUPTED)
        if picture is not None:
            _save_picture(settings, company, began, picture)
        _summary(settings, company, directory, time.monotonic() - began, as_json=as_json)


def _client(settings: "Settings") -> "Client":
    from finwatch.runtime.store import connect

    return connect(settings.clickhouse)


def _snapshot(
    before: "Snapshot", client: "Client", positions: "Positions", company: "Demonstration", began: float
) -> "Snapshot":
    """What the console shows now; figures that cannot be asked at this moment keep their last value."""
    from confluent_kafka import KafkaException

    from finwatch.cli.questions import ask, stored
    from finwatch.local.backpressure import READS
    from finwatch.local.embedded import GROUPS
    from finwatch.runtime.store import STORE_ERRORS

    transient: tuple[type[Exception], ...] = (*STORE_ERRORS, KafkaException)
    elapsed = time.monotonic() - began
    shown = replace(before, simulated=company.moment, share=company.share, elapsed=elapsed, published=company.published)
    try:
        count = stored(client)
        shown = replace(ask(client, shown), stored=count, rate=count / max(1.0, elapsed))
        return replace(shown, behind=sum(positions.lag(group, READS[group]) for group in GROUPS))
    except transient:
        return shown


def _save_picture(settings: "Settings", company: "Demonstration", began: float, path: Path) -> None:
    from finwatch.cli.console import Snapshot, as_svg
    from finwatch.local.backpressure import Positions

    client = _client(settings)
    positions = Positions(settings.kafka.client_config({"log_level": 0}))
    try:
        shown = _snapshot(Snapshot(), client, positions, company, began)
    finally:
        positions.close()
        client.close()
    path.write_text(as_svg(shown), encoding="utf-8")


def _watch_live(
    stack: "EmbeddedStack", settings: "Settings", company: "Demonstration", stop: threading.Event, began: float
) -> None:
    from rich.live import Live

    from finwatch.cli.console import Snapshot, render
    from finwatch.local.backpressure import Positions

    client = _client(settings)
    positions = Positions(settings.kafka.client_config({"log_level": 0}))
    shown = Snapshot()
    try:
        with Live(render(shown, *out.size), console=out, screen=True, auto_refresh=False) as view:
            # One more look after the company has finished, and until all of it is stored.
            while not stop.is_set():
                stack.check()
                shown = _snapshot(shown, client, positions, company, began)
                view.update(render(shown, *out.size), refresh=True)
                if company.finished.is_set() and (company.failure or (shown.stored and not shown.behind)):
                    return
                stop.wait(0.5)
    finally:
        positions.close()
        client.close()


def _watch_quietly(
    stack: "EmbeddedStack", settings: "Settings", company: "Demonstration", stop: threading.Event, began: float
) -> None:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[events]}"))
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task("company", total=1.0, events="")
        while not company.finished.wait(0.2) and not stop.is_set():
            stack.check()
            bar.update(
                task,
                completed=company.share,
                description=f"{company.moment:%a %d %b}",
                events=f"{company.published:,} events",
            )
        bar.update(task, completed=1.0)


def _summary(settings: "Settings", company: "Demonstration", directory: Path, seconds: float, *, as_json: bool) -> None:
    from finwatch.cli import summary
    from finwatch.cli.questions import TO_TRY, by_kind, documents_by_entity, exceptions, standing, stored
    from finwatch.local.truth import HARMLESS, NEAR_MISSES, UNDETECTED, compare

    client = _client(settings)
    try:
        kinds, documents, records = by_kind(client), documents_by_entity(client), stored(client)
        deviations, compared = exceptions(client), compare(company.truth(), standing(client))
    finally:
        client.close()
    made = Counter(label.kind for label in company.labels)
    if as_json:
        show_json(
            {
                "seconds": round(seconds, 1),
                "events_published": company.published,
                "records_stored": records,
                "documents": dict(documents),
                "findings": [asdict(row) for row in kinds],
                "exceptions": [asdict(row) for row in deviations],
                "made_on_purpose": {kind.value: times for kind, times in made.items()},
                "made_and_found": [
                    {
                        "what": row.words,
                        "made": row.made,
                        "found": row.found,
                        "missed": [sorted(keys) for keys in row.missed],
                        "false": [sorted(keys) for keys in row.wrong],
                        "not_counted": dict(row.excused),
                    }
                    for row in compared
                ],
                "directory": str(directory),
            }
        )
        return
    out.print(
        f"\n[bold]{company.scenario.weeks} weeks of a company in {seconds:.0f} s[/]: "
        f"{company.published:,} events, {sum(n for _, n in documents):,} documents, {records:,} records stored\n"
    )
    for table in (
        summary.findings(kinds, out.width),
        summary.exceptions(deviations),
        summary.made_and_found(compared),
    ):
        out.print(table)
        out.print()
    for said, kinds_of in (
        ("No detector looks yet for", UNDETECTED),
        ("Nothing may be said of", NEAR_MISSES),
        ("No deviation, made for the capture", HARMLESS),
    ):
        out.print(f"{said}: " + ", ".join(f"{made[kind]:,} {text}" for kind, text in kinds_of.items() if made[kind]))
    where = f" --embedded {_short(directory)}"
    out.print("\n[bold]Try[/] (the data stays there):")
    for sql in TO_TRY:
        out.print(f'  finwatch query{where} "{sql}"', soft_wrap=True)
    out.print(f"  finwatch findings{where} --detector duplicates", soft_wrap=True)


def _short(directory: Path) -> str:
    try:
        return str(directory.relative_to(Path.cwd()))
    except ValueError:
        return str(directory)
