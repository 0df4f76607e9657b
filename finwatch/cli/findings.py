"""`finwatch findings`: what the detectors say."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from finwatch.cli.opening import open_store, refusal
from finwatch.cli.options import Embedded, Json
from finwatch.cli.output import out, show_json, show_table

_SEVERITIES = ("critical", "high", "medium", "low", "info")
_COLOURS = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan", "info": "dim"}
_AGE = re.compile(r"(\d+)\s*([mhdw])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
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
    rule: Annotated[str, typer.Option(help="Only by this rule (docs/rules.md names them).", show_default=False)] = "",
    owner: Annotated[str, typer.Option(help="Only this owner's (a role or a person).", show_default=False)] = "",
    company: Annotated[str, typer.Option(help="Only this company's (its id in the source).", show_default=False)] = "",
    source: Annotated[str, typer.Option(help="Only from this source.", show_default=False)] = "",
    since: Annotated[
        str,
        typer.Option(
            metavar="WHEN",
            help="Only opened since: an age before now (7d, 12h, 30m, 2w) or a time, UTC where it names no zone.",
            show_default=False,
        ),
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 50,
    embedded: Embedded = None,
    as_json: Json = False,
) -> None:
    """List findings: worst first, then the latest. Or say what you think of one: [bold]finwatch findings dismiss[/].

    Examples: [bold]finwatch findings --severity high[/], [bold]finwatch findings --detector duplicates --json[/],
    [bold]finwatch findings --owner accounts_payable --company 1 --since 7d[/],
    [bold]finwatch findings --rule vendor_payment --source erp --since 2026-03-01[/]
    Exit codes: 0 answered, 2 a wrong option, 69 no store answers.
    """
    if context.invoked_subcommand is not None:
        return
    from finwatch.runtime.store import STORE_ERRORS

    only = {"detector": detector, "rule": rule, "owner": owner, "company_id": company, "source": source}
    where, parameters = _conditions(status, severity, document, only)
    if since:
        where += " AND opened_at >= {since:DateTime64(6, 'UTC')}"
        parameters["since"] = moment_since(since, datetime.now(UTC))
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


def moment_since(text: str, now: datetime) -> datetime:
    """The aware UTC time that ``--since`` names: ``now`` less an age, or a time (UTC where it names no zone).

    Raises typer.BadParameter for text that is neither, and for a time that no clock has.
    """
    try:
        if age := _AGE.fullmatch(text.strip()):
            return now - int(age[1]) * _UNITS[age[2]]
        moment = datetime.fromisoformat(text.strip())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        message = "must be an age (7d, 12h, 30m, 2w) or a time (2026-03-01, 2026-03-01T09:00)"
        raise typer.BadParameter(message, param_hint="--since") from None
    return moment


def _conditions(status: str, severity: str, document: str, only: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The WHERE clause and what is bound to it. ``only``: columns and their wanted values, where not empty.

    Raises typer.BadParameter for a word that is none.
    """
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
    for column, wanted in only.items():
        if wanted:
            where.append(f"{column} = {{{column}:String}}")
            parameters[column] = wanted
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
