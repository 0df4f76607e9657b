"""`finwatch doctor`: is everything finwatch needs there, in the right version, with the right rights?"""

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import typer

from finwatch import __version__
from finwatch.cli.options import Embedded, Json
from finwatch.cli.output import out, show_json, show_table
from finwatch.runtime.config import Settings
from finwatch.runtime.exits import ExitCode

SKEW_WARNING = 2.0  # seconds; beyond it, observed times and deadlines drift visibly


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis. `what_to_do` is set for everything that is not ok."""

    check: str
    status: Literal["ok", "warning", "failed", "skipped"]
    found: str
    what_to_do: str = ""


def doctor(embedded: Embedded = None, as_json: Json = False) -> None:
    """Check configuration, reachability, versions, clocks, rights, topics, schemas and migrations.

    Says what to do for each failure. Examples: [bold]finwatch doctor[/], [bold]finwatch doctor --json[/].
    Exit codes: 0 all well (warnings allowed), 69 something failed, 78 the configuration cannot be read.
    """
    from finwatch.local.access import settings_for

    settings = settings_for(embedded)
    findings = [finding for check in CHECKS for finding in run(check, settings)]
    failed = [finding for finding in findings if finding.status == "failed"]
    if as_json:
        show_json([vars(finding) for finding in findings])
    else:
        marks = {
            "ok": "[green]ok[/]",
            "warning": "[yellow]warning[/]",
            "failed": "[red]failed[/]",
            "skipped": "[dim]skipped[/]",
        }
        show_table("", ("check", "", "found"), ((f.check, marks[f.status], f.found) for f in findings))
        for finding in findings:
            if finding.what_to_do:
                out.print(f"\n[bold]{finding.check}[/]: {finding.what_to_do}", soft_wrap=True)
        out.print(f"\n{len(failed)} failed" if failed else "\nall well", style="red" if failed else "green")
    if failed:
        raise typer.Exit(ExitCode.UNAVAILABLE)


Check = Callable[[Settings], Iterator[Finding]]


def run(check: Check, settings: Settings) -> list[Finding]:
    """Run one check; what it raises becomes its finding, with the advice the error carries."""
    name = check.__name__.strip("_").replace("_", " ")
    found: list[Finding] = []
    try:
        found.extend(check(settings))
    except Exception as error:
        advice = getattr(error, "what_to_do", "") or "see the message; docs/operations.md has a page on it"
        text = str(error).strip().splitlines()
        found.append(Finding(name, "failed", text[0][:200] if text else type(error).__name__, advice))
    return found


def _versions(_settings: Settings) -> Iterator[Finding]:
    import confluent_kafka

    librdkafka = confluent_kafka.libversion()[0]
    yield Finding(
        "versions", "ok", f"finwatch {__version__}, Python {platform.python_version()}, librdkafka {librdkafka}"
    )


def _policy(settings: Settings) -> Iterator[Finding]:
    from finwatch.runtime.policies import load_policies

    loaded = load_policies([settings.policy] if settings.policy is not None else [])
    yield Finding("policy", "ok", ", ".join(policy.label for policy in loaded.policies))


def _broker(settings: Settings) -> Iterator[Finding]:
    from finwatch.runtime import admin

    if settings.embedded is not None and not settings.incarnation:
        yield Finding("broker", "skipped", f"no stack runs in {settings.embedded}")
        return
    client = admin.admin_client(settings.kafka)
    topics = admin.cluster_topics(client, settings.kafka.bootstrap, timeout=5)
    yield Finding("broker", "ok", f"{settings.kafka.bootstrap}, {len(topics)} topics")
    changes = admin.plan(settings.kafka, check_configuration=settings.embedded is None, admin=client)
    missing = sum(change.action == "create" for change in changes)
    altered = sum(change.action == "alter" for change in changes)
    conflicts = [change for change in changes if change.action == "conflict"]
    if conflicts:
        yield Finding("topics", "failed", f"{len(conflicts)} conflict: {conflicts[0].topic}", conflicts[0].detail)
    elif missing or altered:
        yield Finding("topics", "failed", f"{missing} missing, {altered} differ", "run: finwatch topics apply")
    else:
        yield Finding("topics", "ok", f"{len(changes)} as they should be")


def _webhook(settings: Settings) -> Iterator[Finding]:
    from finwatch.runtime import admin
    from producers.webhook.rights import check
    from producers.webhook.run import hooks_of

    if settings.webhook.hooks is None or settings.embedded is not None:
        return  # no ingress runs with these settings
    hooks = hooks_of(settings)
    admin.cluster_topics(admin.admin_client(settings.kafka), settings.kafka.bootstrap, timeout=5)  # it answers
    for name, status, found, what_to_do in check(settings.kafka, hooks):
        yield Finding(f"webhook {name}", status, found, what_to_do)


def _registry(settings: Settings) -> Iterator[Finding]:
    from schemas.catalogue import current
    from schemas.compatibility import published
    from schemas.registry import SchemaNotRegistered, open_registry

    if not settings.registry_url:
        yield Finding("registry", "ok", f"embedded, {len(published())} schemas")
        return
    registry = open_registry(settings.registry)
    absent = []
    for schema in (current()[name] for name in published()):
        try:
            registry.schema_id(schema)
        except SchemaNotRegistered:
            absent.append(schema)
    if absent:
        yield Finding(
            "schemas",
            "failed",
            f"{len(absent)} not registered at {settings.registry_url}",
            "run: finwatch schemas apply",
        )
    else:
        yield Finding("schemas", "ok", f"{len(published())} registered at {settings.registry_url}")


def _store(settings: Settings) -> Iterator[Finding]:
    from finwatch.runtime.store import address, connect
    from sinks.clickhouse.migrations import migrate

    client = connect(settings.clickhouse, database=False, timeout=10)
    version = client.command("SELECT version()")
    before = datetime.now(UTC)
    there = client.query("SELECT toUnixTimestamp64Micro(now64(6))").result_rows[0][0] / 1e6
    skew = there - before.timestamp()
    yield Finding("store", "ok", f"{address(settings.clickhouse)}, ClickHouse {version}")
    if abs(skew) > SKEW_WARNING:
        yield Finding("store clock", "warning", f"{skew:+.1f} s", "synchronise the clocks (NTP) of both machines")
    pending = migrate(client, dry_run=True)
    if pending:
        yield Finding("migrations", "failed", f"{len(pending)} to apply", "run: finwatch store migrate")
    else:
        yield Finding("migrations", "ok", "all applied")


def _odoo(settings: Settings) -> Iterator[Finding]:
    if not settings.odoo.url:
        yield Finding("odoo", "skipped", "FINWATCH_ODOO_URL is not set")
        return
    from producers.odoo.check import check

    for name, status, found, what_to_do in check(settings.odoo):
        yield Finding(f"odoo {name}", status, found, what_to_do)


CHECKS: tuple[Check, ...] = (_versions, _policy, _broker, _webhook, _registry, _store, _odoo)
