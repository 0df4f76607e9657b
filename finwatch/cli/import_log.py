"""`finwatch import`: event logs (XES, CSV) to the topics, and on the embedded stack all the way to the store."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finwatch.cli.options import Embedded, Json
from finwatch.cli.output import err, out, show_json, show_table

if TYPE_CHECKING:
    import threading

    from finwatch.runtime.config import Settings
    from finwatch.runtime.publisher import Gate
    from producers.eventlog import ImportSummary, Mapping, Progress

TO_TRY = (
    "SELECT role, countIf(decision = 'approved') AS approved, countIf(decision = 'rejected') AS rejected "
    "FROM steps WHERE decided_at IS NOT NULL GROUP BY role ORDER BY role",
    "SELECT policy, count() AS pairs, round(quantileExact(0.5)(wall_seconds) / 3600, 3) AS p50_hours, "
    "round(quantileExact(0.5)(business_seconds) / 3600, 3) AS p50_business_hours "
    "FROM clocks WHERE stopped_at IS NOT NULL GROUP BY policy ORDER BY policy",
    "SELECT status, count() FROM findings GROUP BY status",
)


def import_log(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="XES, XES.gz, CSV or CSV.gz.", show_default=False)
    ],
    mapping: Annotated[
        Path,
        typer.Option(
            "--mapping",
            "-m",
            metavar="M.yaml",
            help="What the log's activities mean; or the name of a shipped mapping (travel_declarations).",
            show_default=False,
        ),
    ],
    embedded: Embedded = None,
    as_json: Json = False,
) -> None:
    """Publish event logs in time order, as if their systems had been watched while it happened.

    With --embedded the stack is started, and the command waits until everything is in the store; then
    [bold]finwatch query --embedded DIR[/] answers. Importing a log again changes nothing.

    Examples: [bold]finwatch import DomesticDeclarations.xes.gz --mapping travel_declarations --embedded ./data[/],
    [bold]finwatch import approvals.csv -m approvals.yaml[/].
    Exit codes: 0 done, 1 the log cannot be read, 69 a server is not reachable, 78 the mapping is wrong, 130 stopped.
    """
    from finwatch.cli.serving import stop_on_signals
    from finwatch.local.stack import running_stack
    from finwatch.runtime.config import embedded_directory, load_settings
    from finwatch.runtime.logging import configure_logging
    from producers.eventlog import load_mapping

    configure_logging("warning", "auto")
    meaning = load_mapping(mapping)
    stop = stop_on_signals()
    directory = embedded_directory(embedded)
    began = time.monotonic()
    if directory is None:
        settings = load_settings()
        summary = _publish(files, meaning, settings, stop, None)
        _tell(summary, time.monotonic() - began, None, as_json)
    elif running_stack(directory.resolve()) is not None:
        _on_running_stack(files, meaning, directory, stop, began, as_json)
    else:
        _on_own_stack(files, meaning, directory, stop, began, as_json)


def _on_own_stack(
    files: list[Path], meaning: "Mapping", directory: Path, stop: "threading.Event", began: float, as_json: bool
) -> None:
    from finwatch.local.embedded import open_embedded, producer_gate, wait_until_stored

    with err.status("starting broker, store and streams") as status, open_embedded(directory) as (stack, settings):
        status.stop()
        gate = producer_gate(settings)
        try:
            summary = _publish(files, meaning, settings, stop, gate)
        finally:
            gate.close()
        with _waiting() as told:
            wait_until_stored(stack, settings, stop, told)
        if stop.is_set():
            raise KeyboardInterrupt
        _tell(summary, time.monotonic() - began, settings, as_json, directory)


def _on_running_stack(
    files: list[Path], meaning: "Mapping", directory: Path, stop: "threading.Event", began: float, as_json: bool
) -> None:
    from finwatch.local.access import settings_for
    from finwatch.local.embedded import producer_gate

    settings = settings_for(directory)
    gate = producer_gate(settings)
    try:
        summary = _publish(files, meaning, settings, stop, gate)
    finally:
        gate.close()
    _tell(summary, time.monotonic() - began, None, as_json)


def _publish(
    files: list[Path], meaning: "Mapping", settings: "Settings", stop: "threading.Event", gate: "Gate | None"
) -> "ImportSummary":
    from finwatch.runtime.admin import admin_client, cluster_topics
    from finwatch.runtime.publisher import KafkaPublisher
    from finwatch.runtime.topics import ENTITY_TOPICS
    from producers.eventlog import import_log as publish_log
    from schemas.registry import open_registry

    topics = cluster_topics(admin_client(settings.kafka), settings.kafka.bootstrap)
    publisher = KafkaPublisher(
        settings.kafka.client_config(), gate=gate, gated=frozenset(ENTITY_TOPICS) if gate else None, stop=stop
    )
    with _progress() as told:
        summary = publish_log(
            files,
            meaning,
            publisher,
            registry=open_registry(settings.registry),
            partitions=lambda topic: topics.get(topic, settings.kafka.partitions),
            progress=told,
            stop=stop,
        )
    publisher.close()
    return summary


@contextmanager
def _progress() -> Iterator[Callable[["Progress"], None]]:
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description:<8}"),
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.TextColumn("{task.fields[events]}"),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        tasks = {
            "read": bar.add_task("reading", total=None, events=""),
            "publish": bar.add_task("sending", total=None, events=""),
        }

        def told(progress: "Progress") -> None:
            events = f"{progress.events:,} events"
            if progress.phase == "read":
                done, total = progress.bytes_read, progress.bytes_total
            else:
                done, total = progress.events, progress.events_total or progress.events
            bar.update(tasks[progress.phase], total=total, completed=done, events=events)

        yield told


@contextmanager
def _waiting() -> Iterator[Callable[[str, int], None]]:
    with err.status("waiting until everything is stored") as status:
        yield lambda group, records: status.update(f"{group} has {records:,} records to go")


def _tell(
    summary: "ImportSummary", seconds: float, settings: "Settings | None", as_json: bool, directory: Path | None = None
) -> None:
    results: dict[str, int] = {}
    if settings is not None:
        from finwatch.cli.questions import counts
        from finwatch.runtime.store import connect

        client = connect(settings.clickhouse)
        try:
            results = counts(client)
        finally:
            client.close()
    if as_json:
        show_json(
            {
                "seconds": round(seconds, 1),
                "files": summary.files,
                "events": summary.events,
                "documents": summary.documents,
                "first_at": summary.first_at,
                "last_at": summary.last_at,
                "activities": dict(summary.activities),
                "skipped": dict(summary.skipped),
                "store": results,
            }
        )
        return
    span = (
        f", {summary.first_at:%Y-%m-%d} to {summary.last_at:%Y-%m-%d}" if summary.first_at and summary.last_at else ""
    )
    known = "over a million" if summary.documents is None else f"{summary.documents:,}"
    out.print(f"[bold]{summary.events:,} events of {known} documents{span}[/], in {seconds:.1f} s\n")
    show_table("", ("activity", "events"), ((a, f"{n:,}") for a, n in summary.activities.most_common()), ("events",))
    if summary.skipped:
        out.print(f"\n{sum(summary.skipped.values()):,} events of {len(summary.skipped)} other activities were skipped")
    if results:
        out.print()
        show_table("in the store", ("what", "rows"), ((name, f"{n:,}") for name, n in results.items()), ("rows",))
        out.print("\n[bold]Try[/]:")
        for sql in TO_TRY:
            out.print(f'  finwatch query --embedded {directory} "{sql}"', soft_wrap=True)
