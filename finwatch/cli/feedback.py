"""`finwatch findings dismiss` and `reopen`: what a person thinks of a finding, kept as an event of its document."""

from __future__ import annotations

import getpass
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import Struct

from finwatch.cli.opening import open_store, refusal
from finwatch.cli.options import Embedded, Json
from finwatch.cli.output import Failed, err, out, show_json
from finwatch.runtime.exits import ExitCode

if TYPE_CHECKING:
    from finwatch.runtime.config import Settings
    from finwatch.runtime.publisher import Gate

MOST_WORDS = 500
_KEPT = ("duplicates",)
"""Detectors whose findings can be dismissed: the others say what happened or what is, not what looks like something."""
_COLUMNS = ("finding_id", "status", "detector", "document_keys", "company_id", "title")

Id = Annotated[str, typer.Argument(metavar="ID", help="A finding's id, or as much of it as is unique.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why, in a few words; it is shown with the finding.")]
By = Annotated[
    str, typer.Option("--by", envvar="FINWATCH_PERSON", help="Who says so; the user of this machine by default.")
]


class FeedbackRecord(Struct, gc=False):
    """The columns of finwatch.Feedback; times are epoch microseconds, UTC."""

    event_id: str
    document_key: str
    source: str
    entity: str
    record_id: str
    company_id: str | None
    op: str
    mode: str
    timeline: str
    occurred_at: int
    observed_at: int
    actor: str | None
    correlation_id: str
    snapshot: bool
    finding_id: str
    detector: str
    verdict: str
    reason: str


def dismiss(finding_id: Id, reason: Reason, by: By = "", embedded: Embedded = None, as_json: Json = False) -> None:
    """Say that a finding is none, and why. It is kept, with your name and reason, and can be opened again.

    Nothing is hidden for it: the finding is listed as dismissed, and others like it about the same vendor are still
    found, with a lower score that says so.

    Example: [bold]finwatch findings dismiss 3f2a91c07b55 --reason "two deliveries, one order each"[/]
    Exit codes: 0 done, 1 no such finding or it cannot be dismissed, 2 no reason is given, 69 a server is missing.
    """
    _judge(finding_id, "dismissed", reason, by, embedded, as_json)


def reopen(finding_id: Id, reason: Reason, by: By = "", embedded: Embedded = None, as_json: Json = False) -> None:
    """Take back what `dismiss` said.

    Example: [bold]finwatch findings reopen 3f2a91c07b55 --reason "the vendor says it is one delivery"[/]
    Exit codes: as of dismiss.
    """
    _judge(finding_id, "reopened", reason, by, embedded, as_json)


def _judge(wanted: str, verdict: str, reason: str, by: str, embedded: Path | None, as_json: bool) -> None:
    from finwatch.local.stack import running_stack
    from finwatch.runtime.config import embedded_directory
    from finwatch.runtime.logging import configure_logging

    reason = " ".join(reason.split())
    if not reason or len(reason) > MOST_WORDS:
        raise Failed(f"a reason has 1 to {MOST_WORDS} characters", "give it with --reason", ExitCode.USAGE)
    configure_logging("warning", "auto")
    person = by.strip() or _person()
    directory = embedded_directory(embedded)
    finding, settings = _found(wanted, embedded)
    if finding["detector"] not in _KEPT:
        raise Failed(
            f"a finding of {finding['detector']} says what is, and ends when that ends; it cannot be {verdict}",
            "only findings of duplicates are judged by people",
        )
    if (finding["status"] == "dismissed") == (verdict == "dismissed"):
        raise Failed(f"the finding is {finding['status']} already")
    if directory is None:
        record = _publish(finding, verdict, reason, person, settings, None)
    elif running_stack(directory.resolve()) is not None:
        from finwatch.local.embedded import producer_gate

        gate = producer_gate(settings)
        try:
            record = _publish(finding, verdict, reason, person, settings, gate)
        finally:
            gate.close()
    else:
        record = _on_own_stack(finding, verdict, reason, person, directory)
    if as_json:
        show_json({"finding_id": finding["finding_id"], "verdict": verdict, "by": person, "event_id": record.event_id})
    else:
        out.print(f"{verdict}: {finding['title']} ({', '.join(finding['document_keys'])})")


def _person() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"


def _found(wanted: str, embedded: Path | None) -> tuple[dict[str, Any], Settings]:
    """The one finding whose id begins so. Raises Failed."""
    from finwatch.runtime.store import STORE_ERRORS

    if not wanted or not all(letter in "0123456789abcdef" for letter in wanted):
        raise Failed("a finding's id is of the characters 0-9 and a-f", "finwatch findings lists them", ExitCode.USAGE)
    with open_store(embedded) as (client, settings):
        try:
            rows = client.query(
                f"SELECT {', '.join(_COLUMNS)} FROM findings "  # noqa: S608 - the id is bound
                "WHERE startsWith(finding_id, {id:String}) LIMIT 2",
                parameters={"id": wanted},
            ).result_rows
        except STORE_ERRORS as error:
            raise refusal(error) from None
    if len(rows) != 1:
        many = f"more than one finding's id begins with {wanted}" if rows else f"no finding's id begins with {wanted}"
        raise Failed(many, "give more of it" if rows else "finwatch findings --status all lists them")
    return dict(zip(_COLUMNS, rows[0], strict=True)), settings


def _on_own_stack(finding: dict[str, Any], verdict: str, reason: str, person: str, directory: Path) -> FeedbackRecord:
    from finwatch.local.embedded import open_embedded, producer_gate, wait_until_stored

    with err.status("starting broker, store and streams"), open_embedded(directory) as (stack, settings):
        gate = producer_gate(settings)
        try:
            record = _publish(finding, verdict, reason, person, settings, gate)
        finally:
            gate.close()
        wait_until_stored(stack, settings, threading.Event())
    return record


def _publish(
    finding: dict[str, Any], verdict: str, reason: str, person: str, settings: Settings, gate: Gate | None
) -> FeedbackRecord:
    from finwatch.runtime.clock import SystemClock, to_micros
    from finwatch.runtime.publisher import KafkaPublisher
    from finwatch.runtime.topics import entity_topic
    from schemas.codec import Encoder
    from schemas.registry import open_registry

    record = feedback_record(finding, verdict, reason, person, to_micros(SystemClock().now()))
    encode = Encoder(open_registry(settings.registry)).encoder(FeedbackRecord, "finwatch.Feedback")
    publisher = KafkaPublisher(settings.kafka.client_config(), gate=gate)
    publisher.publish(entity_topic(record.entity), record.document_key, encode(record))
    publisher.close()
    return record


def feedback_record(finding: dict[str, Any], verdict: str, reason: str, person: str, now: int) -> FeedbackRecord:
    """The event of a verdict at ``now`` (epoch microseconds, UTC), under the document that was entered last."""
    from finwatch.domain.identity import deterministic_id, parse_document_key

    key = finding["document_keys"][0]
    return FeedbackRecord(
        deterministic_id("feedback", finding["finding_id"], verdict, person, now),
        key,
        *parse_document_key(key),
        finding["company_id"],
        "u",
        "person",
        "log",
        now,
        now,
        person,
        key,
        False,
        finding["finding_id"],
        finding["detector"],
        verdict,
        reason,
    )
