"""`finwatch explain`: why a finding was made, from the log, and whether the log still gives it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from finwatch.cli.findings import at_risk
from finwatch.cli.opening import open_store, refusal
from finwatch.cli.options import Embedded, Json
from finwatch.cli.output import Failed, out, show_json, show_mapping, show_table
from finwatch.domain.reconciled_log import RULE as LOG_RULE
from finwatch.domain.reconciliation import DETECTOR as RECONCILIATION
from finwatch.runtime.exits import ExitCode

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from finwatch.domain.records import Finding
    from finwatch.runtime.config import Settings

_SHOWN = (
    "finding_id",
    "version",
    "status",
    "detector",
    "rule",
    "severity",
    "document_keys",
    "source",
    "entity",
    "company_id",
    "title",
    "reasons",
    "evidence",
    "amount_at_risk",
    "currency",
    "company_amount",
    "score",
    "owner",
    "next_action",
    "policy_version",
    "level",
    "due_at",
    "opened_at",
    "updated_at",
)
# A version counts how often it was said, which depends on when deadlines were looked at; what it says must not.
_COMPARED = tuple(name for name in _SHOWN if name not in ("version", "updated_at"))
_WORDS = ("title", "reasons", "next_action")
"""What a later version of finwatch may say in other words; a figure, date or name with a digit in them is a fact."""
_FACT = re.compile(r"[^\s()\[\]\"',;:]*\d[^\s()\[\]\"',;:]*")
_STATES = {"state": "state", "payment_state": "payment state"}
_FIELDS = 4
"""So many names of changed fields are shown of one event."""
_STORED = (*_SHOWN, "company_currency")
_TIMES = frozenset({"due_at", "opened_at", "updated_at"})


def command(
    finding_id: Annotated[str, typer.Argument(metavar="ID", help="A finding's id, or as much of it as is unique.")],
    embedded: Embedded = None,
    as_json: Json = False,
) -> None:
    """Show why a finding was made, and compute it again from the log.

    Rule and policy, the events it rests on with topic, partition and offset, the documents' timeline, every version,
    and the links into Odoo. If the log gives something else today (another policy, say), it says what differs. The same
    finding in other words, as a later version of finwatch may put it, is the same finding; both wordings are shown.
    What finwatch reconcile found by comparing Odoo with the store is not made from the log: it says how to compare
    again.

    Examples: [bold]finwatch explain 3f2a91c07b55[/], [bold]finwatch explain 3f2a91c07b55 --json --embedded ./data[/]
    Exit codes: 0 the log gives the same finding (or it is not made from the log), 1 it does not, or there is none,
    69 a server is missing, 78 a policy in the log was published by another version of finwatch.
    """
    from finwatch.runtime.store import STORE_ERRORS
    from streams.stage import UnknownPolicy

    with open_store(embedded) as (client, settings):
        try:
            told = explain(client, settings, finding_id)
        except STORE_ERRORS as error:
            raise refusal(error) from None
        except UnknownPolicy as error:
            raise Failed(str(error), "ask the version of finwatch that runs the stages", ExitCode.CONFIG) from None
    if as_json:
        show_json(told)
    else:
        _show(told)
    if told["recomputed"]["same"] is False:
        raise typer.Exit(ExitCode.FAILED)


def explain(client: Client, settings: Settings, wanted: str) -> dict[str, Any]:
    """All that is known of the finding whose id begins with `wanted`, and whether the log gives it again.

    Raises Failed when there is not exactly one, and what the client and the registry raise.
    """
    finding = _stored(client, wanted)
    keys = finding["document_keys"]
    timeline = _timeline(client, keys, finding["evidence"])
    rests_on = [
        event
        for evidence in finding["evidence"]
        for event in timeline
        if evidence and str(event["event_id"]).startswith(evidence)
    ]
    return {
        "finding": finding,
        "versions": _versions(client, finding["finding_id"]),
        "evidence": rests_on,
        "evidence_not_in_the_log": [
            evidence
            for evidence in finding["evidence"]
            if not any(str(event["event_id"]).startswith(evidence) for event in timeline)
        ],
        "timeline": timeline,
        "links": _links(settings.odoo.url, timeline),
        "recomputed": _not_from_the_log(finding)
        if finding["detector"] == RECONCILIATION
        else _recomputed(client, settings, finding),
    }


def _stored(client: Client, wanted: str) -> dict[str, Any]:
    """The one finding whose id begins so. Raises Failed."""
    if not wanted or not all(letter in "0123456789abcdef" for letter in wanted):
        raise Failed("a finding's id is of the characters 0-9 and a-f", "finwatch findings lists them", ExitCode.USAGE)
    rows = client.query(
        f"SELECT {', '.join(_STORED)} FROM findings WHERE startsWith(finding_id, {{id:String}}) LIMIT 3",  # noqa: S608
        parameters={"id": wanted},
    ).result_rows
    if not rows:
        raise Failed(f"no finding's id begins with {wanted}", "finwatch findings --status all lists them")
    if len(rows) > 1:
        raise Failed(f"more than one finding's id begins with {wanted}", "give more of it")
    found = dict(zip(_STORED, rows[0], strict=True))
    for name in _TIMES:
        if found[name] is not None:
            found[name] = _aware(found[name])
    return found


def _versions(client: Client, finding_id: str) -> list[dict[str, Any]]:
    columns = ("version", "status", "policy_version", "updated_at", "topic", "partition", "offset")
    rows = client.query(
        f"SELECT {', '.join(columns)} FROM finding_versions WHERE finding_id = {{id:String}} "  # noqa: S608 - bound
        "ORDER BY version",
        parameters={"id": finding_id},
    ).result_rows
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _timeline(client: Client, keys: Sequence[str], evidence: Sequence[str]) -> list[dict[str, Any]]:
    """Events of the documents, and of others (a receipt, say) that the finding rests on."""
    columns = (
        "occurred_at",
        "observed_at",
        "document_key",
        "event_id",
        "what",
        "actor",
        "mode",
        "topic",
        "partition",
        "offset",
        "incarnation",
        "source_model",
        "record_id",
    )
    rows = client.query(
        "SELECT occurred_at, observed_at, document_key, event_id, "
        "coalesce(nullIf(label, ''), activity) AS what, "
        "actor, mode, topic, partition, offset, incarnation, source_model, record_id, op, changes "
        "FROM event_log FINAL WHERE document_key IN {keys:Array(String)} "
        "OR arrayExists(id -> startsWith(event_id, id), {evidence:Array(String)}) "
        "ORDER BY occurred_at, observed_at, offset",
        parameters={"keys": list(keys), "evidence": [one for one in evidence if one]},
    ).result_rows
    timeline = []
    for *row, op, changes in rows:
        event = dict(zip(columns, row, strict=True))
        event["what"] = event["what"] or _seen(op, changes)
        timeline.append(event)
    return timeline


def _seen(op: str, changes: str) -> str:
    """A state of the document that was read, in words; of other fields than its states only the names."""
    if op == "d":
        return "deleted"
    # Values are JSON themselves.
    told = {one["field"]: json.loads(one["new"] or "null") for one in json.loads(changes or "[]")}
    parts = [f"{label} {told[name]}" for name, label in _STATES.items() if told.get(name)]
    others = sorted(name.replace("_", " ") for name in told if name not in _STATES)
    if others:
        parts.append(f"changed {', '.join(others[:_FIELDS])}" + (" and more" if len(others) > _FIELDS else ""))
    return ("created" if op == "c" else "seen") + (f": {', '.join(parts)}" if parts else "")


def _links(url: str, timeline: Sequence[Mapping[str, Any]]) -> list[str]:
    """Addresses of the documents' forms; Odoo 17's form of address, which the router of 18 and later rewrites."""
    if not url:
        return []
    records = dict.fromkeys(
        # What names a record of a model that a configuration adds begins with the model.
        (event["source_model"], event["record_id"].removeprefix(f"{event['source_model']}/"))
        for event in timeline
        if event["source_model"]
        and ("." in event["source_model"] or event["record_id"].startswith(f"{event['source_model']}/"))
    )
    return [f"{url.rstrip('/')}/web#id={record}&model={model}&view_type=form" for model, record in records]


def _not_from_the_log(finding: Mapping[str, Any]) -> dict[str, Any]:
    """A finding of the reconciliation rests on what Odoo held when it was read, which the log does not say."""
    again = "finwatch reconcile" + (" --log" if finding["rule"] == LOG_RULE else "")
    return {
        "records_read": 0,
        "versions": 0,
        "same": None,
        "differs": {},
        "reworded": {},
        "not_from_the_log": f"made by comparing Odoo with the store, not from the log; {again} compares them again",
    }


def _recomputed(client: Client, settings: Settings, stored: Mapping[str, Any]) -> dict[str, Any]:
    from finwatch.runtime.raw_log import RawLog
    from schemas.codec import Decoder
    from schemas.registry import open_registry
    from streams.app import stages_of
    from streams.recompute import recompute

    stages = {stage.name: stage for stage in stages_of(["documents", "relations"], settings)}
    # Silence fires deadlines too: time goes on to the last moment that the finding knows of.
    until = max(_micros(stored[name]) for name in ("updated_at", "opened_at", "due_at") if stored[name] is not None)
    done = recompute(
        stored["finding_id"],
        stored["document_keys"],
        stages,
        RawLog(client, settings.clickhouse.database).records,
        Decoder(open_registry(settings.registry)),
        round(settings.stream.lateness_seconds * 1_000_000),
        {stored["source"]: until},
    )
    said = done.findings.get(stored["finding_id"], [])
    told: dict[str, Any] = {
        "records_read": sum(len(places) for places in done.read.values()),
        "versions": len(said),
        "same": False,
        "differs": {},
        "reworded": {},
    }
    if said:
        told |= compared(stored, _as_stored(said[-1]))
        told["same"] = not told["differs"]
    return told


def compared(stored: Mapping[str, Any], again: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What differs, and what says the same in other words, by column; each with both values."""
    found: dict[str, dict[str, Any]] = {"differs": {}, "reworded": {}}
    for name in _COMPARED:
        # What was stored before findings had an amount of the company says nothing of it.
        if stored[name] == again[name] or (name == "company_amount" and stored[name] is None):
            continue
        how = "reworded" if name in _WORDS and _facts(stored[name]) == _facts(again[name]) else "differs"
        found[how][name] = {"stored": stored[name], "recomputed": again[name]}
    return found


def _facts(said: str | Sequence[str]) -> list[str]:
    """What a title or reasons state beside words: figures, dates, numbers of documents, in no order."""
    return sorted(
        fact.rstrip(".") for text in ([said] if isinstance(said, str) else said) for fact in _FACT.findall(text)
    )


def _as_stored(finding: Finding) -> dict[str, Any]:
    """The recomputed finding in the store's types."""
    found = {name: getattr(finding, name) for name in _SHOWN}
    for name in _TIMES:
        if found[name] is not None:
            found[name] = datetime.fromtimestamp(found[name] // 1_000_000, UTC).replace(
                microsecond=found[name] % 1_000_000
            )
    return found


def _aware(moment: datetime) -> datetime:
    """A column's time zone comes with it or not, by the client; it is always UTC."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def _show(told: Mapping[str, Any]) -> None:
    finding = told["finding"]
    out.print(f"[bold]{escape(finding['title'])}[/]  {finding['severity']}, {finding['status']}")
    for reason in finding["reasons"]:
        out.print(f"  {escape(reason)}")
    out.print()
    amount = finding["amount_at_risk"]
    show_mapping(
        {
            "finding": finding["finding_id"],
            "rule": f"{finding['detector']} / {finding['rule']}",
            "policy": finding["policy_version"],
            "about": ", ".join(finding["document_keys"]),
            "since": _moment(finding["opened_at"]),
            **({"due": _moment(finding["due_at"])} if finding["due_at"] is not None else {}),
            **({"at risk": at_risk(finding)} if amount is not None else {}),
            "owner": finding["owner"],
            "next": finding["next_action"],
            **{("in Odoo" if number == 0 else " " * 7): link for number, link in enumerate(told["links"])},
        }
    )
    out.print()
    show_table("versions", ("version", "status", "as of (UTC)", "place"), (_version(row) for row in told["versions"]))
    out.print()
    rests = {event["event_id"] for event in told["evidence"]}
    show_table(
        "timeline (what it rests on is marked)",
        ("", "happened (UTC)", "document", "what", "by", "found by", "place"),
        (_event(event, event["event_id"] in rests) for event in told["timeline"]),
        whole=("happened (UTC)", "place"),
    )
    out.print()
    again = told["recomputed"]
    if again["same"] is None:
        out.print(again["not_from_the_log"], soft_wrap=True)
    elif again["same"]:
        words = ", in other words" if again["reworded"] else ""
        out.print(f"[green]computed again from {again['records_read']:,} records of the log: the same{words}[/]")
        if words:
            out.print("It was worded by another version of finwatch than this one; figures and dates are the same.")
            _show_both(again["reworded"])
    elif again["differs"]:
        out.print(f"[bold red]computed again from {again['records_read']:,} records of the log: it differs[/]")
        _show_both(again["differs"])
        if "policy_version" in again["differs"]:
            out.print(
                "This process has other policies than the one it was made under"
                + ("; they say the same of it." if len(again["differs"]) == 1 else ", which may be why.")
                + " To compute it under that one, name its file in FINWATCH_POLICY.",
                soft_wrap=True,
            )
    else:
        out.print(
            f"[bold red]computed again from {again['records_read']:,} records of the log: there is no such finding[/]"
        )
        out.print(f"It was made under {finding['policy_version']}; this process may have other policies.")


def _show_both(fields: Mapping[str, Mapping[str, Any]]) -> None:
    rows = ((name, both["stored"], both["recomputed"]) for name, both in fields.items())
    show_table("", ("field", "stored", "computed again"), rows)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _place(row: Mapping[str, Any]) -> str:
    return f"{row['topic']}/{row['partition']}@{row['offset']}"


def _version(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["version"], row["status"], f"{row['updated_at']:%Y-%m-%d %H:%M:%S}", _place(row)


def _event(event: Mapping[str, Any], marked: bool) -> tuple[Any, ...]:
    return (
        "*" if marked else " ",
        f"{event['occurred_at']:%Y-%m-%d %H:%M:%S}",
        event["document_key"],
        escape(event["what"] or ""),
        event["actor"],
        event["mode"],
        _place(event),
    )
