"""`finwatch findings`: what the detectors say."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from finwatch.cli.opening import open_store, refusal
from finwatch.cli.options import Embedded, Json
from finwatch.cli.output import out, show_json, show_table

_SEVERITIES = ("critical", "high", "medium", "low", "info")
_COLOURS = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan", "info": "dim"}
_COLUMNS = (
    "finding_id",
    "version",
    "status",
    "severity",
    "detector",
    "rule",
    "title",
    "reasons",
    "document_keys",
    "source",
    "entity",
    "company_id",
    "amount_at_risk",
    "currency",
    "company_amount",
    "company_currency",
    "owner",
    "next_action",
    "level",
    "due_at",
    "opened_at",
    "updated_at",
)


app = typer.Typer(invoke_without_command=True, rich_markup_mode="rich")


@app.callback()
def listing(
    context: typer.Context,
    status: Annotated[
        str, typer.Option(help="open (still standing: open or updated), dismissed, resolved, retracted or all.")
    ] = "open",
    detector: Annotated[str, typer.Option(help="Only this detector's.", show_default=False)] = "",
    severity: Annotated[str, typer.Option(help="Only this severity or worse.", show_default=False)] = "",
    document: Annotated[str, typer.Option(help="Only about this document_key.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 50,
    embedded: Embedded = None,
    as_json: Json = False,
) -> None:
    """List findings: worst first, then the latest. Or say what you think of one: [bold]finwatch findings dismiss[/].

    Examples: [bold]finwatch findings --severity high[/], [bold]finwatch findings --detector duplicates --json[/]
    """
    if context.invoked_subcommand is not None:
        return
    from finwatch.runtime.store import STORE_ERRORS

    where, parameters = _conditions(status, detector, severity, document)
    statement = (
        f"SELECT {', '.join(_COLUMNS)} FROM findings WHERE {where} "  # noqa: S608 - names and values are bound
        "ORDER BY indexOf({severities:Array(String)}, severity), updated_at DESC, finding_id LIMIT {limit:UInt32}"
    )
    parameters |= {"severities": list(_SEVERITIES), "limit": limit}
    with open_store(embedded) as (client, _settings):
        try:
            rows = [
                dict(zip(_COLUMNS, row, strict=True))
                for row in client.query(statement, parameters=parameters).result_rows
            ]
            total = client.query(
                f"SELECT count() FROM findings WHERE {where}",  # noqa: S608 - as above
                parameters=parameters,
            ).result_rows[0][0]
        except STORE_ERRORS as error:
            raise refusal(error) from None
    if as_json:
        show_json(rows)
        return
    if not rows:
        out.print("no findings")
        return
    show_table(
        "",
        ("severity", "since (UTC)", "what", "at risk", "finding"),
        (_line(row) for row in rows),
        right=("at risk",),
        whole=("severity", "since (UTC)", "at risk", "finding"),
    )
    if total > len(rows):
        out.print(f"{len(rows):,} of {total:,}; --limit shows more")


def _conditions(status: str, detector: str, severity: str, document: str) -> tuple[str, dict[str, Any]]:
    """The WHERE clause and what is bound to it. Raises typer.BadParameter for a word that is none."""
    where, parameters = ["1"], dict[str, Any]()
    if status == "open":
        where.append("status IN ('open', 'updated')")
    elif status in ("dismissed", "resolved", "retracted"):
        where.append("status = {status:String}")
        parameters["status"] = status
    elif status != "all":
        raise typer.BadParameter("must be open, dismissed, resolved, retracted or all", param_hint="--status")
    if severity:
        if severity not in _SEVERITIES:
            raise typer.BadParameter(f"must be one of {', '.join(_SEVERITIES)}", param_hint="--severity")
        where.append("severity IN {worse:Array(String)}")
        parameters["worse"] = list(_SEVERITIES[: _SEVERITIES.index(severity) + 1])
    if detector:
        where.append("detector = {detector:String}")
        parameters["detector"] = detector
    if document:
        where.append("has(document_keys, {document:String})")
        parameters["document"] = document
    return " AND ".join(where), parameters


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    colour = _COLOURS.get(row["severity"], "")
    risk = at_risk(row)
    about = ", ".join(row["document_keys"][:3]) + (" ..." if len(row["document_keys"]) > 3 else "")
    if row["status"] == "dismissed":
        about += f" ({row['reasons'][-1]})"
    return (
        f"[{colour}]{row['severity']}[/]" if colour else row["severity"],
        f"{row['opened_at']:%Y-%m-%d %H:%M}",
        f"{row['title']}: {about}".replace("[", r"\["),
        risk,
        row["finding_id"][:12],
    )


def at_risk(row: Mapping[str, Any]) -> str:
    """A finding's amount at risk in the document's currency, and in the company's where that is another one."""
    amount, own = row["amount_at_risk"], row["company_amount"]
    if amount is None:
        return ""
    text = f"{amount:,.2f} {row['currency'] or ''}".strip()
    if own is None or row["company_currency"] in (None, row["currency"]):
        return text
    return f"{text} ({own:,.2f} {row['company_currency']})"
