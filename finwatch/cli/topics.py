"""`finwatch topics`: the broker's topics against the one list."""

from pathlib import Path
from typing import Annotated

import typer

from finwatch.cli.options import Embedded, Json
from finwatch.cli.output import Failed, out, show_json, show_table

app = typer.Typer(no_args_is_help=True, help="The broker's topics, made from one list.")


@app.command("list")
def list_topics(as_json: Json = False) -> None:
    """Show the list: name, records, how long it is kept.

    Example: [bold]finwatch topics list[/]
    Exit codes: 0 shown.
    """
    from finwatch.runtime.topics import TOPICS

    if as_json:
        show_json([{"topic": t.name, "records": t.records, "cleanup": t.cleanup, "meaning": t.meaning} for t in TOPICS])
        return
    show_table(
        "",
        ("topic", "records", "clean-up", "meaning"),
        ((t.name, ", ".join(r.removeprefix("finwatch.") for r in t.records), t.cleanup, t.meaning) for t in TOPICS),
    )


@app.command("apply")
def apply_topics(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, change nothing.")] = False,
    embedded: Embedded = None,
    as_json: Json = False,
) -> None:
    """Create missing topics and mend their configuration; never deletes, never changes a partition count.

    Examples: [bold]finwatch topics apply --dry-run[/], [bold]finwatch topics apply[/].
    Exit codes: 0 agreed, 1 a conflict is left to you, 69 no broker answers.
    """
    from finwatch.runtime import admin

    settings = _settings(embedded)
    changes = admin.plan(settings.kafka, check_configuration=settings.embedded is None)
    conflicts = [change for change in changes if change.action == "conflict"]
    if not dry_run and not conflicts:
        admin.apply(settings.kafka, changes)
    if as_json:
        show_json(
            {
                "dry_run": dry_run,
                "changes": [{"topic": c.topic, "action": c.action, "detail": c.detail} for c in changes],
            }
        )
    else:
        show_table("", ("topic", "action", "detail"), ((c.topic, c.action, c.detail) for c in changes))
        wanted = sum(change.action in ("create", "alter") for change in changes)
        if not conflicts:
            out.print(
                f"{wanted} to change" if dry_run else f"{wanted} changed, {len(changes) - wanted} as they should be"
            )
    if conflicts:
        raise Failed(f"{len(conflicts)} topics conflict with the list; nothing was changed", conflicts[0].detail)


def _settings(embedded: Path | None):  # type: ignore[no-untyped-def]
    from finwatch.local.access import settings_for

    return settings_for(embedded)
