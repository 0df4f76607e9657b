"""`finwatch schemas`: the Avro contract against its history, and into a registry."""

from typing import Annotated

import typer

from finwatch.cli.options import Embedded, Json
from finwatch.cli.output import Failed, out, show_json, show_table

app = typer.Typer(no_args_is_help=True, help="The Avro schemas of everything on the topics.")


@app.command("check")
def check_schemas(as_json: Json = False) -> None:
    """Hold the schemas to their history: every version must read, and be read by, every other one. Needs no server.

    Example: [bold]finwatch schemas check[/]. Exit codes: 0 compatible, 1 a change breaks readers or writers.
    """
    from schemas.compatibility import check, published

    problems = check()
    if as_json:
        show_json([vars(problem) for problem in problems])
    elif problems:
        show_table("", ("schema", "problem"), ((problem.schema, problem.what) for problem in problems))
    else:
        out.print(f"{len(published())} schemas agree with their history")
    if problems:
        raise Failed(f"{len(problems)} problems", "make the change compatible, or begin a new topic version")


@app.command("apply")
def apply_schemas(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be registered, change nothing.")] = False,
    embedded: Embedded = None,
    as_json: Json = False,
) -> None:
    """Register the schemas at FINWATCH_REGISTRY_URL. Safe to repeat; the embedded registry needs nothing.

    Examples: [bold]finwatch schemas apply --dry-run[/], [bold]finwatch schemas apply[/].
    Exit codes: 0 done, 1 the registry refuses one, 69 no registry answers.
    """
    from finwatch.local.access import settings_for
    from schemas.compatibility import apply
    from schemas.registry import open_registry

    settings = settings_for(embedded)
    changes = apply(open_registry(settings.registry), dry_run=dry_run)
    if as_json:
        show_json({"dry_run": dry_run, "schemas": [vars(change) for change in changes]})
        return
    show_table("", ("schema", "state", "id"), ((c.full_name, c.action, c.schema_id) for c in changes), right=("id",))
