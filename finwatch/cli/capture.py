"""`finwatch capture`: the change-data producer for Odoo, and what can be asked of a running one."""

import ast
import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finwatch.cli.options import Embedded, Json
from finwatch.cli.output import Failed, err, out, show_json, show_table
from finwatch.runtime.exits import ExitCode

if TYPE_CHECKING:
    from finwatch.local.backpressure import Gate
    from finwatch.runtime.config import Settings
    from producers.odoo.configured import CustomFile

app = typer.Typer(rich_markup_mode="rich")


@app.callback(invoke_without_command=True)
def capture(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Snapshot and one poll, then exit.")] = False,
    poll_interval: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.1, help="Between polls; default: FINWATCH_ODOO_POLL_INTERVAL."),
    ] = None,
    embedded: Embedded = None,
    json: Json = False,
) -> None:
    """Read an Odoo database (17 or later), then follow its changes and its tracking log, into the entity topics.

    Odoo comes from FINWATCH_ODOO_URL, _DATABASE, _USER, _PASSWORD (or an API key) and _ACCOUNT_KEY; `_FILE` behind
    the last two names a file. Nothing is ever written to Odoo. A restart goes on where the last run stopped.
    Beside the polls a slow sweep finds deletions and commits later than the overlap: a round every
    FINWATCH_ODOO_SWEEP_SECONDS (default 600, 0 for none), FINWATCH_ODOO_SWEEP_ROWS rows a poll.
    One producer at a time: a second one for the same source takes over, and the broker refuses the first from then on.

    Examples: [bold]finwatch capture[/], [bold]finwatch capture --once --json[/],
    [bold]finwatch capture --poll-interval 2 --embedded ./data[/].
    Exit codes: 0 stopped or, with --once, done; 69 a server is not reachable; 70 the database was restored or
    replaced; 75 another producer took over (do not restart on it); 77 Odoo refuses the login; 78 configuration.
    """
    if context.invoked_subcommand is not None:
        if once or poll_interval is not None or embedded is not None or json:
            raise Failed("options come after the name of the subcommand", code=ExitCode.USAGE)
        return
    from finwatch.cli.serving import stop_on_signals
    from producers.odoo import run
    from producers.odoo.run import tune_process

    if json and not once:
        raise Failed("--json goes with --once", "add --once, or leave --json away")
    settings, gate = _opened(embedded)
    if poll_interval is not None:
        settings = settings.model_copy(
            update={"odoo": settings.odoo.model_copy(update={"poll_interval": poll_interval})}
        )
    tune_process()
    published = run(settings, stop_on_signals(), once=once, gate=gate)
    if json:
        show_json({"source": settings.odoo.source, "events": published})
    elif once:
        typer.echo(f"{published} events published")


@app.command("snapshot")
def snapshot(
    model: Annotated[str, typer.Option(metavar="MODEL", help="An Odoo model that is captured: account.move, say.")],
    domain: Annotated[
        str, typer.Option(metavar="DOMAIN", help="An Odoo domain, on top of what is captured anyway; default: all.")
    ] = "[]",
    embedded: Embedded = None,
    json: Json = False,
) -> None:
    """Read a model, or a domain of it, again and publish it whatever was published before, under the ids it had.

    A running producer does it, a page at a time between its polls, and goes on with it after a crash
    (metrics: finwatch_capture_snapshot_*). Where none runs, this command does it and returns when it is done.

    Examples: [bold]finwatch capture snapshot --model account.move[/],
    [bold]finwatch capture snapshot --model account.move --domain "\\[('state', '=', 'posted')]"[/].
    Exit codes: 0 asked for, or done; 2 no such model, no domain; 69 a server is not reachable.
    """
    from finwatch.cli.serving import stop_on_signals
    from producers.odoo.configured import configured
    from producers.odoo.fencing import AlreadyRunning
    from producers.odoo.run import ask_for_snapshot, leader, take_snapshot

    terms = _domain(domain)
    settings, gate = _opened(embedded)
    known = configured(settings.odoo).by_model
    if model not in known:
        raise Failed(f"{model} is not captured", f"one of: {', '.join(sorted(known))}", ExitCode.USAGE)
    try:
        runs = leader(settings) is not None
    except AlreadyRunning:
        runs = True
    if runs:
        request = ask_for_snapshot(settings, model, terms)
        if json:
            show_json({"source": settings.odoo.source, "model": model, "request": request})
        else:
            typer.echo(f"asked the running producer for it (request {request})")
        return
    published = take_snapshot(settings, stop_on_signals(), model, terms, gate=gate)
    if json:
        show_json({"source": settings.odoo.source, "model": model, "events": published})
    else:
        typer.echo(f"no producer runs: read here, {published} events published")


@app.command("accept-database")
def accept_database(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False, json: Json = False
) -> None:
    """Accept that the database behind a source was restored or replaced, after the capture stopped because of it.

    The next `finwatch capture` reads everything again; what the database lacks is published as deleted, what it has in
    another state as changed. A producer that runs is stopped by this (exit code 75).

    Example: [bold]finwatch capture accept-database[/].
    Exit codes: 0 accepted; 1 not confirmed; 69 a server is not reachable; 77 Odoo refuses the login; 78 configuration.
    """
    from producers.odoo.run import accept_database as accept

    settings, _ = _opened(None)
    odoo = settings.odoo
    if not yes and not typer.confirm(
        f"Publish database {odoo.database} as source {odoo.source} from now on, deletions of what it lacks included?"
    ):
        raise Failed("nothing was changed")
    accepted = accept(settings)
    if json:
        show_json({"source": odoo.source, "database": odoo.database, "epoch": accepted.epoch})
    else:
        typer.echo(f"accepted (epoch {accepted.epoch}); now start: finwatch capture")


@app.command("check")
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="A file of custom fields and models (YAML).")],
    as_json: Json = False,
) -> None:
    """Check files of custom fields and models: words, names, types, what is refused. Says file, line and what to do.

    Odoo is not asked: whether it has the models and fields, and lets the account read them, says finwatch doctor.
    What the capture reads is named by FINWATCH_ODOO_CUSTOM.
    Examples: [bold]finwatch capture check custom.yaml[/], [bold]finwatch capture check custom.yaml --json[/].
    Exit codes: 0 all are sound, 78 one is not.
    """
    from producers.odoo.configured import CustomFileError, read_file

    checked: list[dict[str, Any]] = []
    for path in files:
        try:
            checked.append({"file": str(path), "sound": True, "sources": _described(read_file(path))})
        except CustomFileError as error:
            checked.append({"file": str(path), "sound": False, "error": str(error)})
    if as_json:
        show_json(checked)
    else:
        for one in checked:
            _tell_checked(one)
    if not all(one["sound"] for one in checked):
        raise typer.Exit(ExitCode.CONFIG)


@app.command("example")
def example() -> None:
    """Print a file of custom fields and models to begin with.

    Examples: [bold]finwatch capture example > custom.yaml[/], then [bold]finwatch capture check custom.yaml[/].
    Exit codes: 0 printed.
    """
    from producers.odoo.configured import example as text

    typer.echo(text(), nl=False)


def _described(file: "CustomFile") -> dict[str, Any]:
    from producers.odoo.configured import personal

    described: dict[str, Any] = {}
    for name, entry in file.sources.items():
        captured = []
        for mapping in file.mappings(name):
            if mapping.configured is None:
                continue
            told = mapping.configured.described()
            captured.append({"model": mapping.model, "entity": ", ".join(mapping.entities), "fields": told})
        described[name] = {
            "captured": captured,
            "off": sorted(entry.switched_off()),
            "personal": [f"{model}.{field}" for model, field in personal(entry)],
        }
    return described


def _tell_checked(one: dict[str, Any]) -> None:
    if not one["sound"]:
        err.print(one["error"], style="red", markup=False, soft_wrap=True)
        return
    out.print(f"{one['file']}: sound", style="green", markup=False)
    for name, told in one["sources"].items():
        rows = [
            (captured["model"], captured["entity"], field["key"], field["field"], field["type"])
            for captured in told["captured"]
            for field in captured["fields"]
        ]
        show_table(f"source {name}", ("model", "entity", "key", "field", "type"), rows, whole=("key", "field"))
        if told["off"]:
            out.print(f"switched off: {', '.join(told['off'])}")
        out.print("What is captured of these fields goes to the log as it is, and stays there.", style="yellow")
        if told["personal"]:
            out.print(
                f"Looks like personal data: {', '.join(told['personal'])}. Take it out, or add `hashed: true`.",
                style="yellow",
                markup=False,
            )


def _opened(embedded: Path | None) -> tuple["Settings", "Gate | None"]:
    """Settings, logging set up, and the back-pressure of an embedded stack."""
    from finwatch.local.access import settings_for
    from finwatch.runtime.logging import configure_logging

    settings = settings_for(embedded)
    configure_logging(settings.loglevel, settings.logformat)
    if settings.embedded is None:
        return settings, None
    if not settings.incarnation:
        raise Failed(
            f"no embedded stack runs on {settings.embedded}",
            "start one there first (`finwatch demo --embedded DIR`), or leave --embedded away for a real broker",
        )
    from finwatch.local.embedded import producer_gate

    return settings, producer_gate(settings)


def _domain(text: str) -> list[Any]:
    """A domain as people write it: JSON, or Python's literals as in Odoo's own code."""
    from producers.signals import check_domain

    try:
        try:
            terms = json_text.loads(text)
        except ValueError:
            terms = ast.literal_eval(text)
        if not isinstance(terms, list):
            raise ValueError("a domain is a list")
        check_domain(terms)
    except (ValueError, SyntaxError, TypeError) as error:
        reason = str(error) if "domain" in str(error) else "it cannot be read"
        raise Failed(
            f"--domain: {reason}", """for instance: --domain "[('state', '=', 'posted')]\"""", ExitCode.USAGE
        ) from None
    return [list(term) if isinstance(term, tuple) else term for term in terms]
