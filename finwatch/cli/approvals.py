"""`finwatch approvals`: what waits for a decision, whom it waits for, and for how long."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape

from finwatch.cli.opening import open_store, refusal
from finwatch.cli.options import Embedded, Json
from finwatch.cli.output import out, show_json, show_table

WAYS = ("all", "person", "role", "company", "document_type", "amount_band", "step")
"""What ages can be counted by, as the view `approval_ageing_by` has them."""
_DAY = 86_400
_AGES = (
    *("source", "value", "steps", "p50_seconds", "p95_seconds", "oldest_seconds"),
    *("days_0_1", "days_1_3", "days_3_5", "days_5_10", "days_over_10"),
)
_WAITING = (
    *("step_id", "document_key", "document_type", "source", "company_id", "step", "role", "person", "asked_first"),
    *("route", "amount", "currency", "amount_band", "started_at", "wall_seconds", "band"),
)
_DECIDED = (
    *("step_id", "document_key", "source", "company_id", "step", "role", "person", "asked_first", "route"),
    *("decision", "decided_by", "decided_at", "started_at", "wall_seconds", "business_seconds", "calendar"),
)


def command(
    by: Annotated[
        str, typer.Option(metavar="WHAT", help=f"Count the ages by: {', '.join(WAYS)}.", show_default=False)
    ] = "",
    decided: Annotated[bool, typer.Option("--decided", help="The latest decisions, in place of what waits.")] = False,
    person: Annotated[
        str, typer.Option(metavar="ID", help="Only what waits for this person, or was asked of it, or it decided.")
    ] = "",
    role: Annotated[str, typer.Option(help="Only this role's.", show_default=False)] = "",
    document: Annotated[str, typer.Option(help="Only about this document_key.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 50,
    embedded: Embedded = None,
    as_json: Json = False,
) -> None:
    """List what waits for a decision, longest first: who was asked first, who has to decide now, and why that one.

    Examples: [bold]finwatch approvals[/], [bold]finwatch approvals --by person[/],
    [bold]finwatch approvals --decided --document odoo:bill:7 --json[/]
    Exit codes: 0 answered, 2 a wrong option, 69 no store answers.
    """
    from finwatch.runtime.store import STORE_ERRORS

    if by and by not in WAYS:
        raise typer.BadParameter(f"must be one of {', '.join(WAYS)}", param_hint="--by")
    if by and (decided or person or role or document):
        raise typer.BadParameter("counts all that waits: leave the other conditions out", param_hint="--by")
    columns, statement, parameters = _question(by, decided, person, role, document)
    with open_store(embedded) as (client, _settings):
        try:
            found = client.query(f"{statement} LIMIT {limit}", parameters=parameters).result_rows
        except STORE_ERRORS as error:
            raise refusal(error) from None
    rows = [dict(zip(columns, row, strict=True)) for row in found]
    if as_json:
        show_json(rows)
    elif not rows:
        out.print("no decisions" if decided else "nothing waits")
    elif by:
        _show_ages(by, rows)
    elif decided:
        _show_decided(rows)
    else:
        _show_waiting(rows)


def _question(
    by: str, decided: bool, person: str, role: str, document: str
) -> tuple[tuple[str, ...], str, dict[str, Any]]:
    """Columns, statement and what is bound to it."""
    if by:
        statement = (
            f"SELECT {', '.join(_AGES)} FROM approval_ageing_by WHERE dimension = {{by:String}} "  # noqa: S608 - own
            "ORDER BY oldest_seconds DESC, steps DESC, source, value"
        )
        return _AGES, statement, {"by": by}
    where, parameters = ["decided_at IS NOT NULL"] if decided else ["1"], dict[str, Any]()
    if person:
        persons = "person, asked_first, decided_by" if decided else "person, asked_first"
        where.append(f"has([{persons}], {{person:String}})")
        parameters["person"] = person
    if role:
        where.append("role = {role:String}")
        parameters["role"] = role
    if document:
        where.append("document_key = {document:String}")
        parameters["document"] = document
    columns, view, order = (
        (_DECIDED, "steps", "decided_at DESC") if decided else (_WAITING, "approval_ageing", "wall_seconds DESC")
    )
    statement = (
        f"SELECT {', '.join(columns)} FROM {view} WHERE {' AND '.join(where)} "  # noqa: S608 - values are bound
        f"ORDER BY {order}, document_key, step_id"
    )
    return columns, statement, parameters


def _show_ages(by: str, rows: list[dict[str, Any]]) -> None:
    bands = ("0-1", "1-3", "3-5", "5-10", ">10")
    figures = ("waiting", "median", "95 of 100", "oldest", *bands)
    show_table(
        "",
        (by, "source", *figures),
        (
            (
                escape(row["value"]),
                escape(row["source"]),
                row["steps"],
                *(days(row[name]) for name in ("p50_seconds", "p95_seconds", "oldest_seconds")),
                *(row[name] for name in _AGES[6:]),
            )
            for row in rows
        ),
        right=figures,
    )
    out.print("median, 95 of 100 and oldest in days by the wall clock; the bands are business days of the calendar")


def _show_waiting(rows: list[dict[str, Any]]) -> None:
    show_table(
        "",
        ("since (UTC)", "days", "business days", "document", "step", "waits for", "because", "asked first"),
        (
            (
                f"{row['started_at']:%Y-%m-%d %H:%M}",
                days(row["wall_seconds"]),
                row["band"],
                escape(row["document_key"]),
                escape(row["step"]),
                waits_for(row),
                row["route"],
                escape(row["asked_first"] or ""),
            )
            for row in rows
        ),
        right=("days",),
        whole=("since (UTC)", "days"),
    )


def _show_decided(rows: list[dict[str, Any]]) -> None:
    show_table(
        "",
        ("decided (UTC)", "decision", "business hours", "document", "step", "asked first", "responsible", "decided by"),
        (
            (
                f"{row['decided_at']:%Y-%m-%d %H:%M}",
                row["decision"],
                None if row["business_seconds"] is None else f"{row['business_seconds'] / 3600:,.1f}",
                escape(row["document_key"]),
                escape(row["step"]),
                escape(row["asked_first"] or ""),
                waits_for(row),
                escape(row["decided_by"] or ""),
            )
            for row in rows
        ),
        right=("business hours",),
        whole=("decided (UTC)", "decision"),
    )


def waits_for(row: Mapping[str, Any]) -> str:
    """The person who has to decide, with the role; the role alone where nobody is named."""
    person, role = row["person"], row["role"]
    if person is None:
        return f"role {escape(role)}" if role else ""
    return f"{escape(person)} ({escape(role)})" if role else escape(person)


def days(seconds: float) -> str:
    """An age in days, to a tenth."""
    return f"{seconds / _DAY:,.1f}"
