"""`finwatch policy`: check, compare, rehearse and publish what the business decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finwatch.cli.opening import open_store, refusal
from finwatch.cli.options import Embedded, Json
from finwatch.cli.output import Failed, err, out, show_json, show_table
from finwatch.runtime.exits import ExitCode

if TYPE_CHECKING:
    from finwatch.domain.policy import Policy, PolicySet
    from finwatch.domain.records import Finding
    from finwatch.runtime.config import Settings

app = typer.Typer(
    no_args_is_help=True, help="Policies: calendars, service levels, approvals, tolerances, as versioned files."
)

_DAY = 86_400_000_000
_FILE = "A policy file, or the name of one that comes with finwatch."


@app.command("check")
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help=_FILE)],
    as_json: Json = False,
) -> None:
    """Check policy files: types, words, times, what refers to what. Says all that is wrong: file, line, what to write.

    Examples: [bold]finwatch policy check policy.yaml[/], [bold]finwatch policy check default --json[/]
    Exit codes: 0 all are sound, 78 one is not.
    """
    from finwatch.runtime.policies import PolicyFileError, mistakes_of

    checked: list[dict[str, Any]] = []
    for name in files:
        try:
            policy = _policy(name)
        except PolicyFileError as error:
            found = mistakes_of(Path(name))
            errors = [{"line": one.line, "path": one.path, "message": one.message} for one in found]
            told = [str(one) for one in found] or [str(error)]
            checked.append({"file": name, "sound": False, "error": told[0], "errors": errors, "told": told})
        else:
            document = policy.document
            checked.append(
                {
                    "file": name,
                    "sound": True,
                    "label": policy.label,
                    "content_hash": policy.content_hash,
                    "effective_from": document.effective_from,
                    "sources": list(document.sources),
                    "companies": sorted(document.companies),
                    "clocks": len(policy.clocks),
                    "approvals": len(policy.approvals),
                    "exceptions": len(document.exceptions),
                }
            )
    if as_json:
        show_json([{key: value for key, value in one.items() if key != "told"} for one in checked])
    else:
        for one in checked:
            if one["sound"]:
                also = f", {len(one['companies'])} companies of their own" if one["companies"] else ""
                out.print(
                    f"{one['file']}: sound: {one['label']}: {one['clocks']} clocks, {one['approvals']} approvals, "
                    f"{one['exceptions']} exception types{also}"
                )
            else:
                for line in one["told"]:
                    err.print(line, markup=False, soft_wrap=True)
    if not all(one["sound"] for one in checked):
        raise typer.Exit(ExitCode.CONFIG)


@app.command("diff")
def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help=_FILE)],
    new: Annotated[str, typer.Argument(metavar="NEW", help=_FILE)],
    as_json: Json = False,
) -> None:
    """Say in words what NEW decides otherwise than OLD.

    Example: [bold]finwatch policy diff default policy.yaml[/]
    Exit codes: 0 (also when they differ), 78 a file is not sound.
    """
    from finwatch.domain.policy.differences import differences

    one, other = _checked(old), _checked(new)
    found = differences(one, other)
    if as_json:
        show_json({"old": one.label, "new": other.label, "differences": found})
        return
    out.print(f"{one.label} → {other.label}", markup=False)
    for line in found or ["nothing differs"]:
        out.print(f"  {line}", markup=False, soft_wrap=True)


@app.command("test")
def test(
    file: Annotated[str, typer.Argument(metavar="FILE", help=_FILE)],
    days: Annotated[int, typer.Option(min=1, help="Findings of the last so many days of the log.")] = 30,
    against: Annotated[
        str, typer.Option(metavar="OLD", help="The policy to compare with; without it the one that is in force.")
    ] = "",
    embedded: Embedded = None,
    as_json: Json = False,
) -> None:
    """Run the stored log under FILE and under the policy in force, and show which findings come, go and change.

    Each is taken as if it had always been in force. The whole log is read, since what is open now began before the
    days that are compared; nothing is published and nothing is stored.

    Examples: [bold]finwatch policy test policy.yaml --days 90[/],
    [bold]finwatch policy test new.yaml --against old.yaml --json[/]
    Exit codes: 0 done, 69 the store is not there, 78 a file is not sound.
    """
    from finwatch.domain.policy.differences import differences
    from finwatch.runtime.store import STORE_ERRORS

    new = _checked(file)
    with open_store(embedded) as (client, settings):
        try:
            old = _checked(against) if against else _in_force(client, settings, new.name)
            found = _rehearsed(client, settings, old, new, days, quiet=as_json)
        except STORE_ERRORS as error:
            raise refusal(error) from None
    told = {"old": old.label, "new": new.label, "days": days, "differences": differences(old, new), **found}
    if as_json:
        show_json(told)
        return
    out.print(f"{old.label} → {new.label}", markup=False)
    for line in told["differences"] or ["the two say the same"]:
        out.print(f"  {line}", markup=False, soft_wrap=True)
    out.print(
        f"\n{found['records']:,} records read; findings of the {days} days up to {found['until']:%Y-%m-%d %H:%M} UTC"
    )
    show_table(
        "",
        ("detector", "rule", "level", "before", "after", "gained", "lost", "changed"),
        (tuple(row[name] for name in _COLUMNS) for row in found["rules"]),
        right=("before", "after", "gained", "lost", "changed"),
    )


_SWITCH = {
    "judged_anew": ["clocks", "steps", "exceptions"],
    "from_their_next_event": ["duplicates", "matching", "duties"],
}
_SWITCH_TEXT = (
    "open clocks, steps and exceptions go over to it then; duplicates, matching and duties stay as they were judged "
    "until one of their documents changes (what that will come to: finwatch policy test)"
)


@app.command("publish")
def publish(
    file: Annotated[str, typer.Argument(metavar="FILE", help=_FILE)],
    reason: Annotated[str, typer.Option(help="Why: kept with the change and shown beside it.")] = "",
    author: Annotated[str, typer.Option(help="Who publishes it, as it should be kept.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, publish nothing.")] = False,
    embedded: Embedded = None,
    as_json: Json = False,
) -> None:
    """Put a policy in force while everything runs: from its effective_from on, else from now on.

    Open clocks and steps are planned anew at that moment and exceptions looked at again; what is closed stays as it
    was, and what was found between documents (duplicates, matching, duties) until one of them changes. Every worker,
    and every replay of the log, switches at the same place. To publish the same file again completes a publication
    that was cut off, and does nothing otherwise.

    Examples: [bold]finwatch policy publish policy.yaml --reason "two days for bills"[/], [bold]... --dry-run[/]
    Exit codes: 0 published, 1 it would never come into force, 69 no broker answers, 78 the file is not sound.
    """
    from finwatch.domain.policy import parse_content
    from finwatch.domain.policy.differences import differences
    from finwatch.runtime.admin import admin_client, cluster_topics
    from finwatch.runtime.clock import SystemClock, from_micros, to_micros
    from finwatch.runtime.publisher import KafkaPublisher
    from producers.policy import publish as publish_policy
    from producers.policy import published
    from producers.policy.publication import as_dict
    from schemas.registry import open_registry

    policy = _checked(file)
    with _broker(embedded) as (settings, gate):
        registry = open_registry(settings.registry)
        config = settings.kafka.client_config()
        known = published(config, registry)
        last = known.get(policy.name)
        before = parse_content(last.content) if last is not None else _of_files(settings, policy.name)
        if dry_run:
            changes = [] if before is None else differences(before, policy)
            told: dict[str, Any] = {"label": policy.label, "dry_run": True, "changes": changes, **_SWITCH}
        else:
            topics = cluster_topics(admin_client(settings.kafka), settings.kafka.bootstrap)
            publisher = KafkaPublisher(config, gate=gate)
            done = publish_policy(
                policy,
                publisher,
                registry,
                to_micros(SystemClock().now()),
                known=known,
                before=before,
                partitions=lambda topic: topics.get(topic, 0),
                author=author or None,
                reason=reason or None,
            )
            publisher.close()
            told = {**as_dict(done.change), "partitions": done.partitions, "again": done.again, **_SWITCH}
            told["effective_at"] = from_micros(done.change.effective_at)
            told["published_at"] = from_micros(done.change.published_at)
    if as_json:
        show_json(told)
        return
    for line in told["changes"] or ["nothing differs from what is in force"]:
        out.print(f"  {line}", markup=False, soft_wrap=True)
    if dry_run:
        out.print(f"{policy.label} would be published", markup=False)
        out.print(_SWITCH_TEXT, markup=False)
        return
    again = "published before, and complete now" if told["again"] else "published"
    out.print(
        f"{policy.label}: {again} on {told['partitions']} partitions; in force from "
        f"{told['effective_at']:%Y-%m-%d %H:%M:%S} UTC in the time of the events",
        markup=False,
    )
    out.print(_SWITCH_TEXT, markup=False)


_COLUMNS = ("detector", "rule", "level", "before", "after", "gained", "lost", "changed")


def _policy(name: str) -> Policy:
    from finwatch.runtime.policies import PACKAGED, load_policy, packaged_policy

    return packaged_policy(name) if name in PACKAGED and not Path(name).exists() else load_policy(Path(name))


def _checked(name: str) -> Policy:
    from finwatch.runtime.policies import PolicyFileError

    try:
        return _policy(name)
    except PolicyFileError as error:
        raise Failed(str(error), "correct it, then: finwatch policy check", ExitCode.CONFIG) from None


def _of_files(settings: Settings, name: str) -> Policy | None:
    """The policy of a name that workers start with, if there is one."""
    from finwatch.runtime.policies import PolicyFileError, load_policies

    try:
        files = load_policies([settings.policy] if settings.policy is not None else [])
    except PolicyFileError as error:
        raise Failed(str(error), "correct FINWATCH_POLICY", ExitCode.CONFIG) from None
    return next((policy for policy in reversed(files.policies) if policy.name == name), None)


def _in_force(client: Any, settings: Settings, name: str) -> Policy:
    """The policy of a name that was published last, else the one workers start with."""
    from finwatch.domain.policy import PolicyError, parse_content

    rows = client.query(
        "SELECT content FROM policy_changes WHERE policy = {name:String} ORDER BY published_at DESC LIMIT 1",
        parameters={"name": name},
    ).result_rows
    if rows:
        try:
            return parse_content(rows[0][0])
        except PolicyError as error:
            message = f"the policy {name} in force was published by another version of finwatch: {error}"
            raise Failed(message, "ask that version, or name one: --against OLD", ExitCode.CONFIG) from None
    found = _of_files(settings, name)
    if found is None:
        raise Failed(f"no policy named {name} is in force", "name the one to compare with: --against OLD")
    return found


def _rehearsed(client: Any, settings: Settings, old: Policy, new: Policy, days: int, *, quiet: bool) -> dict[str, Any]:
    from finwatch.local.rebuild import StoreHistory
    from finwatch.runtime.topics import WATCHED_TOPICS
    from schemas.codec import Decoder
    from schemas.registry import open_registry
    from streams.rehearsal import rehearse

    ends = client.query(
        "SELECT source, toUnixTimestamp64Micro(max(observed_at)) FROM event_log GROUP BY source"
    ).result_rows
    until = {str(source): int(at) for source, at in ends}
    if not until:
        raise Failed("the store holds no events", "capture or import something first")
    places = client.query(
        "SELECT topic, partition, count() FROM raw_log WHERE topic IN {topics:Array(String)} AND NOT tombstone "
        "GROUP BY topic, partition ORDER BY topic, partition",
        parameters={"topics": list(WATCHED_TOPICS)},
    ).result_rows
    total = sum(int(row[2]) for row in places)
    history = StoreHistory(lambda: client, "", settings.clickhouse.database)
    last = max(until.values())
    with _progress(total, quiet) as told:
        before, after = rehearse(
            [_alone(settings, old), _alone(settings, new)],
            [(str(topic), int(partition)) for topic, partition, _ in places],
            history.records,
            Decoder(open_registry(settings.registry)),
            round(settings.stream.lateness_seconds * 1_000_000),
            until,
            told,
        )
    since = last - days * _DAY
    was, now = before.standing(since), after.standing(since)
    gained = sorted(now.keys() - was.keys(), key=str)
    lost = sorted(was.keys() - now.keys(), key=str)
    changed = sorted((s for s in was.keys() & now.keys() if _said(was[s]) != _said(now[s])), key=str)
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for column, subjects in (("before", was), ("after", now), ("gained", gained), ("lost", lost), ("changed", changed)):
        for subject in subjects:
            row = counts.setdefault((subject.detector, subject.rule, subject.level or ""), Counter())
            row[column] += 1
    return {
        "records": total,
        "until": datetime.fromtimestamp(last / 1_000_000, UTC),
        "rules": [
            {"detector": key[0], "rule": key[1], "level": key[2], **{c: row[c] for c in _COLUMNS[3:]}}
            for key, row in sorted(counts.items())
        ],
        "gained": [_shown(now[subject]) for subject in gained],
        "lost": [_shown(was[subject]) for subject in lost],
        "changed": [{"before": _shown(was[s]), "after": _shown(now[s])} for s in changed],
    }


def _alone(settings: Settings, policy: Policy) -> PolicySet:
    """The policies workers start with, with this one in the place of its name's."""
    from finwatch.domain.policy import PolicySet
    from finwatch.runtime.policies import load_policies

    files = load_policies([settings.policy] if settings.policy is not None else [])
    return PolicySet([*(one for one in files.policies if one.name != policy.name), policy])


def _said(finding: Finding) -> tuple[Any, ...]:
    return (finding.status, finding.severity, finding.owner, finding.due_at, finding.opened_at, finding.next_action)


def _shown(finding: Finding) -> dict[str, Any]:
    return {
        "finding_id": finding.finding_id,
        "detector": finding.detector,
        "rule": finding.rule,
        "level": finding.level,
        "severity": finding.severity,
        "status": finding.status,
        "document_keys": finding.document_keys,
        "owner": finding.owner,
        "opened_at": datetime.fromtimestamp(finding.opened_at / 1_000_000, UTC),
        "due_at": None if finding.due_at is None else datetime.fromtimestamp(finding.due_at / 1_000_000, UTC),
    }


@contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=quiet) as bar:
        task = bar.add_task("reading the log", total=total)
        yield lambda records: bar.advance(task, records)


@contextmanager
def _broker(embedded: Path | None) -> Iterator[tuple[Settings, Any]]:
    """Settings with a broker that runs: the configured one, a running stack's, or a stack started for this command."""
    import threading

    from finwatch.local.access import settings_for
    from finwatch.local.embedded import open_embedded, producer_gate, wait_until_stored
    from finwatch.local.stack import running_stack
    from finwatch.runtime.config import embedded_directory, load_settings

    directory = embedded_directory(embedded)
    if directory is None:
        yield load_settings(), None
    elif running_stack(directory.resolve()) is not None:
        settings = settings_for(directory)
        gate = producer_gate(settings)
        try:
            yield settings, gate
        finally:
            gate.close()
    else:
        with err.status("starting broker, store and streams") as status, open_embedded(directory) as (stack, settings):
            status.stop()
            gate = producer_gate(settings)
            try:
                yield settings, gate
            finally:
                gate.close()
            wait_until_stored(stack, settings, threading.Event())
