"""`finwatch reconcile`: does the store hold what Odoo holds?"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from finwatch.cli.options import Embedded, Json
from finwatch.cli.output import Failed, err, out, show_json, show_table
from finwatch.runtime.exits import ExitCode

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from finwatch.cli.reconciling import Outcome, Reconciler
    from finwatch.runtime.clock import Clock
    from finwatch.runtime.config import Settings
    from finwatch.runtime.metrics import Metrics
    from finwatch.runtime.publisher import Gate, Publisher
    from producers.odoo.mapping import Mapping, Mappings
    from producers.odoo.reader import Reader
    from producers.odoo.transport import Transport

_EVERY = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def reconcile(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Only this model (account.move) or entity (bill); may be repeated."),
    ] = None,
    company: Annotated[str | None, typer.Option(help="Only this company (its id in Odoo).")] = None,
    period: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="Only documents of this month.")] = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="Compare lines too; costs Odoo several times as much.")
    ] = False,
    log: Annotated[
        bool, typer.Option("--log", help="Compare the tracking log too: its changes against those in the store.")
    ] = False,
    ids: Annotated[bool, typer.Option("--ids", help="Show which documents differ, and in which columns.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Have captured again what differs, wait for the store, compare again.")
    ] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="Publish drift as findings, and retract those whose drift is gone.")
    ] = False,
    every: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Go on for ever at this interval (30m, 1h), with /metrics and findings."),
    ] = None,
    embedded: Embedded = None,
    json: Json = False,
) -> None:
    """Compare Odoo with the store: counts, sums and hashes by model, company and period, down to single documents.

    Reads both sides and changes neither, but for --publish, which writes findings, and for --repair, which asks the
    running capture to read again what differs; where none runs, this command takes the source over for that time.
    Documents that were written too lately to be in the store for certain are counted apart, as in flight. A document's
    period is the month of its own date. Odoo and store are those of finwatch capture and finwatch query;
    FINWATCH_RECONCILE_ROWS_PER_SECOND bounds what is asked of Odoo.

    Examples: [bold]finwatch reconcile[/], [bold]finwatch reconcile --model bill --period 2026-10 --ids[/],
    [bold]finwatch reconcile --repair[/], [bold]finwatch reconcile --every 1h[/].
    Exit codes: 0 equal, 3 source and store differ, 2 wrong options, 69 a server is not reachable, 77 a login is
    refused, 78 configuration.
    """
    from finwatch.cli.serving import stop_on_signals
    from finwatch.local.access import settings_for
    from finwatch.runtime.clock import SystemClock
    from producers.odoo.configured import configured

    interval = _interval(every)
    _check_period(period)
    if interval is not None and (json or ids):
        raise Failed("--every runs for ever: --json and --ids do not go with it", "leave them away", ExitCode.USAGE)
    wanted = _Wanted(*_mappings(model, configured(settings_for(embedded).odoo)), company, period, log)
    clock, stop = SystemClock(), stop_on_signals()
    with _opened(embedded, clock, stop, lines=lines, writes=repair or publish or interval is not None) as parts:
        if interval is not None:
            parts.serve(wanted, interval, repair)
            return
        outcome = parts.run(wanted, progress=None if json else _progress)
        if publish:
            parts.publish_findings(outcome)
        repaired: Repaired | None = None
        if repair and outcome.differs:
            before = outcome
            repaired = parts.repair(before)
            if not json:
                _show(before, ids)
                _show_repaired(repaired, parts.settings.odoo.source)
            outcome = parts.run(wanted)
            if publish:
                parts.publish_findings(outcome)
    if json:
        show_json(_as_json(outcome, ids, repaired))
    else:
        _show(outcome, ids)
    if outcome.differs:
        raise typer.Exit(ExitCode.DRIFT)


class Repaired(NamedTuple):
    """What was captured again: (documents, deletions) by model, and whether this process did it."""

    models: dict[str, tuple[int, int]]
    here: bool
    shown: bool
    """Whether the store had all of it in time."""


class _Wanted(NamedTuple):
    """What is compared."""

    mappings: "list[Mapping]"
    entities: frozenset[str]
    company: str | None
    period: str | None
    log: bool


class _Parts:
    """Everything a run needs, opened."""

    def __init__(
        self,
        settings: "Settings",
        transport: "Transport",
        reader: "Reader",
        reconciler: "Reconciler",
        store: "Client",
        publisher: "Publisher | None",
        gate: "Gate | None",
        clock: "Clock",
        stop: threading.Event,
    ) -> None:
        from sinks.clickhouse.compared import StoreSide

        self.settings, self._transport, self._reader, self._reconciler = settings, transport, reader, reconciler
        self._store_side = StoreSide(store, settings.odoo.source, whole=False)
        self._publisher, self._gate, self._clock, self._stop = publisher, gate, clock, stop
        self._published: dict[str, Any] = {}

    def run(
        self,
        wanted: _Wanted,
        progress: Callable[[str], None] | None = None,
        awaited: Any = None,
    ) -> "Outcome":
        """One comparison of the models that can be read."""
        from producers.odoo.errors import AccessRefused, Refused, UnknownField, UnknownModel

        readable, unreadable = [], {}
        for mapping in wanted.mappings:
            if not mapping.serves(self._reader.source.version):
                continue
            try:
                readable.append(self._reader.prepare(mapping)[0])
            except UnknownModel:
                continue  # not installed: neither side has anything of it
            except (AccessRefused, UnknownField, Refused) as error:
                unreadable[mapping.model] = error.kind
        at = self._transport.server_time() or self._clock.now()
        outcome = self._reconciler.run(
            readable,
            at,
            entities=wanted.entities,
            company=wanted.company,
            period=wanted.period,
            progress=progress,
            awaited=awaited,
            log=wanted.log and self._log_readable(unreadable),
        )
        if self._stop.is_set():
            raise Failed("stopped before the comparison was whole", "run it again", ExitCode.INTERRUPTED)
        outcome.unreadable = unreadable
        return outcome

    def _log_readable(self, unreadable: dict[str, str]) -> bool:
        """Whether the tracking log can be read; else it is told with what else cannot be."""
        from producers.odoo.reader import NO_SUCH
        from producers.odoo.tracking import VALUE_MODEL

        try:
            self._reader.probe_log()
        except NO_SUCH as error:
            unreadable[VALUE_MODEL] = error.kind
            return False
        return True

    def publish_findings(self, outcome: "Outcome") -> int:
        """Publish what is new of it; number of versions."""
        from finwatch.runtime.topics import FINDING
        from schemas.codec import Encoder
        from schemas.registry import open_registry

        assert self._publisher is not None
        # The store may not have what was published a moment ago: the higher version is the later one.
        known = dict(self._store_side.findings())
        for identity, finding in self._published.items():
            if identity not in known or known[identity].version < finding.version:
                known[identity] = finding
        new = self._reconciler.new_findings(outcome, known)
        encoder = Encoder(open_registry(self.settings.registry))
        for finding in new:
            self._publisher.publish(FINDING, finding.finding_id, encoder.encode(finding, "finwatch.Finding"))
        self._publisher.flush()
        self._published |= {finding.finding_id: finding for finding in new}
        return len(new)

    def repair(self, outcome: "Outcome") -> Repaired:
        """Have captured again what differs, and wait until the store has it."""
        from producers.odoo.run import recapture

        requests = self._reconciler.requests(outcome, self._clock.now())
        here = recapture(self.settings, self._stop, requests, gate=self._gate)
        shown = self._reconciler.settled(outcome, self.settings.reconcile.repair_seconds)
        if not shown:
            what = (
                "does the sink run?" if here else "do the producer, which keeps what it is asked for, and the sink run?"
            )
            err.print(f"the store does not show the repair yet: {what}", style="yellow")
        models = {}
        for model in outcome.models:
            if differences := model.differences():
                deletions = sum(one.kind == "gone" for one in differences)
                models[model.mapping.model] = (len(differences) - deletions, deletions)
        return Repaired(models, here, shown)

    def serve(self, wanted: _Wanted, interval: float, repair: bool) -> None:
        """Compare for ever, with metrics and findings; what passes is waited out, a refused login is raised."""
        from finwatch.cli.reconciling import tell_metrics
        from finwatch.domain.reconciliation import Waiting
        from finwatch.runtime.admin import BrokerUnavailable
        from finwatch.runtime.health import Health, HealthServer
        from finwatch.runtime.logging import get_logger
        from finwatch.runtime.metrics import Metrics
        from finwatch.runtime.publisher import PublishFailed
        from finwatch.runtime.store import STORE_ERRORS, StoreUnavailable
        from producers.odoo.errors import AccessDenied, OdooError
        from producers.odoo.readiness import NotReady
        from producers.odoo.state import StateUnavailable
        from schemas.registry import RegistryUnavailable

        log, metrics = get_logger("reconcile").bind(source=self.settings.odoo.source), Metrics()
        odoo = self.settings.odoo
        # A deletion shows when the sweep comes past: a round, and the time that a large table takes for one.
        waiting = Waiting(2 * odoo.sweep_seconds + odoo.overlap)
        trouble: list[str] = []
        passing: tuple[type[Exception], ...] = (
            *(OdooError, StoreUnavailable, PublishFailed, *STORE_ERRORS),
            *(BrokerUnavailable, NotReady, RegistryUnavailable, StateUnavailable),  # of repairs
        )
        server = HealthServer(
            metrics.registry,
            lambda: Health(not trouble, {"failing": trouble[-1:]}),
            self.settings.http.host,
            self.settings.http.port,
        ).start()
        log.info("serving metrics and health", address=server.address)
        try:
            while not self._stop.is_set():
                now = self._clock.monotonic()
                try:
                    outcome = self.run(wanted, awaited=lambda model, now=now: waiting.of(model, now))
                    waiting.round_over()
                    tell_metrics(metrics, outcome, self._clock.now())
                    told = self.publish_findings(outcome)
                    log.info("compared", drift=outcome.drift, findings=told, unreadable=sorted(outcome.unreadable))
                    if repair and outcome.differs:
                        self._count_repaired(metrics, self.repair(outcome))
                    trouble.clear()
                except Failed:
                    return  # told to stop
                except AccessDenied:
                    raise
                except passing as error:
                    trouble.append(type(error).__name__)
                    metrics.counter("reconcile_runs").labels(odoo.source, "failed").inc()
                    log.warning("no comparison", reason=type(error).__name__, retry_seconds=round(interval))
                if self._clock.wait(interval, self._stop):
                    return
        finally:
            server.stop()

    def _count_repaired(self, metrics: "Metrics", done: Repaired) -> None:
        counter = metrics.counter("reconcile_repaired")
        for states, deletions in done.models.values():
            counter.labels(self.settings.odoo.source, "state").inc(states)
            counter.labels(self.settings.odoo.source, "deletion").inc(deletions)


@contextmanager
def _opened(embedded: Any, clock: "Clock", stop: threading.Event, *, lines: bool, writes: bool) -> Iterator[_Parts]:
    """Odoo, the store and, for what writes, the broker."""
    from finwatch.cli.opening import open_store
    from finwatch.cli.reconciling import Reconciler
    from finwatch.runtime.logging import configure_logging, get_logger
    from finwatch.runtime.metrics import Metrics
    from producers.odoo.accounts import AccountHasher
    from producers.odoo.compared import SourceSide
    from producers.odoo.connect import open_transport
    from producers.odoo.mapping.spec import Source
    from producers.odoo.politeness import Limits, Manners, PoliteTransport
    from producers.odoo.reader import Reader
    from producers.odoo.run import capture_settings
    from sinks.clickhouse.compared import StoreSide

    with ExitStack() as opened:
        client, settings = opened.enter_context(open_store(embedded))
        configure_logging(settings.loglevel, settings.logformat)
        of_capture, odoo = capture_settings(settings), settings.odoo
        limits = Limits(odoo.rate, odoo.concurrency, odoo.page_least, odoo.page_seconds, odoo.patience)
        manners = Manners(limits, clock, odoo.source, Metrics(), stop)
        transport = PoliteTransport(open_transport(odoo), manners)
        opened.callback(transport.close)
        log = get_logger("reconcile").bind(source=of_capture.source)
        reader = Reader(
            transport,
            Source(of_capture.source, of_capture.database, transport.version(), AccountHasher(of_capture.account_key)),
            of_capture.page_size,
            of_capture.languages,
            lambda _model, _rows: None,
            lambda _model, _error: None,
            log,
            of_capture.mappings,
        )
        gate = _gate(settings) if writes else None
        publisher = _publisher(settings, gate, stop, opened) if writes else None
        source_side = SourceSide(
            reader, clock, whole=lines, rows_per_second=settings.reconcile.rows_per_second, stop=stop
        )
        reconciler = Reconciler(
            of_capture.source,
            source_side,
            StoreSide(client, of_capture.source, whole=lines),
            clock,
            overlap=timedelta(seconds=settings.odoo.overlap),
            stop=stop,
        )
        yield _Parts(settings, transport, reader, reconciler, client, publisher, gate, clock, stop)


def _gate(settings: "Settings") -> "Gate | None":
    """The back-pressure of an embedded stack, which must run."""
    if settings.embedded is None:
        return None
    if not settings.incarnation:
        raise Failed(
            f"no embedded stack runs on {settings.embedded}",
            "start one there first, or leave --repair and --publish away: comparing alone needs none",
        )
    from finwatch.local.embedded import producer_gate

    return producer_gate(settings)


def _publisher(settings: "Settings", gate: "Gate | None", stop: threading.Event, opened: ExitStack) -> "Publisher":
    from finwatch.runtime.publisher import KafkaPublisher
    from finwatch.runtime.topics import ENTITY_TOPICS

    publisher = KafkaPublisher(
        settings.kafka.client_config({"log_level": 0}), gate=gate, gated=frozenset(ENTITY_TOPICS), stop=stop
    )
    opened.callback(publisher.close)
    return publisher


def _mappings(wanted: list[str] | None, of: "Mappings") -> "tuple[list[Mapping], frozenset[str]]":
    """The mappings of models and entities by name (all for none), and the entities that are meant."""
    compared = list(of)
    found: list[Mapping] = []
    entities: set[str] = set()
    for name in wanted or [one.model for one in compared]:
        of_name = [one for one in compared if name == one.model or name in one.entities]
        if not of_name:
            known = sorted({one.model for one in compared} | {entity for one in compared for entity in one.entities})
            raise Failed(f"no model and no entity is called {name}", f"one of: {', '.join(known)}", ExitCode.USAGE)
        found += [one for one in of_name if one not in found]
        entities.update(entity for one in of_name for entity in one.entities if name in (one.model, entity))
    return found, frozenset(entities)


def _check_period(period: str | None) -> None:
    from producers.odoo.compared import month

    try:
        if period is not None and not (re.fullmatch(r"\d{4}-\d{2}", period, re.ASCII) and month(period)):
            raise ValueError
    except ValueError:
        raise Failed(f"{period} is no month", "give it as 2026-10", ExitCode.USAGE) from None


def _interval(every: str | None) -> float | None:
    if every is None:
        return None
    found = _EVERY.fullmatch(every)
    if found is None or float(found[1]) <= 0:
        raise Failed(f"{every} is no interval", "give it as 30m or 1h", ExitCode.USAGE)
    return float(found[1]) * _SECONDS[found[2]]


# -- what people and programs see --------------------------------------------------------------------------------


def _progress(model: str) -> None:
    if err.is_terminal:
        err.print(f"reading {model} ...", style="dim")


def _show(outcome: "Outcome", ids: bool) -> None:
    rows = []
    for key, group in outcome.groups.items():
        rows.append(
            (
                key.model,
                key.entity,
                key.company,
                key.period,
                group.source.count,
                group.store.count,
                _sums(group),
                group.in_flight or "",
                ", ".join(f"{number} {kind}" for kind, number in group.counts.items()) or "[green]equal[/]",
            )
        )
    columns = ("model", "entity", "company", "period", "source", "store", "sums", "in flight", "")
    show_table("", columns, rows, right=("source", "store", "in flight"), whole=("model", "period"))
    if ids:
        _show_ids(outcome)
    for model in outcome.models:
        if model.seen_until is None:
            out.print(f"{model.mapping.model}: the capture has never told the store how far it is")
    for name, kind in outcome.unreadable.items():
        out.print(f"{name}: not compared ({kind.replace('_', ' ')})", style="yellow")
    if outcome.malformed:
        out.print(f"{outcome.malformed} rows of the source cannot be read; the capture leaves them out", style="yellow")
    in_flight = sum(group.in_flight for group in outcome.groups.values())
    _show_log(outcome)
    verdict = f"{outcome.drift} documents differ" if outcome.drift else "source and store are equal"
    if outcome.untold:
        verdict = f"{outcome.drift} documents differ, {outcome.untold} changes of the tracking log are missing"
    style = "red" if outcome.differs else "green"
    out.print(f"\n{verdict}; {in_flight} in flight; {outcome.seconds:.1f} s", style=style)


def _show_log(outcome: "Outcome") -> None:
    rows = [
        (
            *key,
            group.source,
            group.store,
            group.in_flight or "",
            f"{group.missing} missing" if group.missing else "equal",
        )
        for key, group in outcome.log.items()
    ]
    if rows:
        out.print()
        columns = ("model", "entity", "company", "period", "logged", "store", "in flight", "tracking log")
        show_table("", columns, rows, right=("logged", "store", "in flight"), whole=("model", "period"))


def _show_ids(outcome: "Outcome") -> None:
    rows = [
        (key.model, key.period, one.kind, f"{outcome.source}:{one.reference.entity}:{one.reference.name}",
         ", ".join(one.fields))
        for key, group in outcome.groups.items()
        for one in group.differences
    ]  # fmt: skip
    if rows:
        out.print()
        show_table("", ("model", "period", "what", "document", "columns"), rows, whole=("document",))


def _show_repaired(repaired: Repaired, source: str) -> None:
    states = sum(one for one, _ in repaired.models.values())
    deletions = sum(one for _, one in repaired.models.values())
    who = f"no producer of {source} runs, so captured here" if repaired.here else f"asked the producer of {source} for"
    out.print(f"\n{who}: {states} documents, {deletions} deletions; compared once more:\n", style="bold")


def _sums(group: Any) -> str:
    """Sums by currency; both sides' where they differ."""
    shown = []
    for currency in sorted(group.source.sums.keys() | group.store.sums.keys()):
        mine, theirs = group.source.sums.get(currency, 0), group.store.sums.get(currency, 0)
        amount = f"{mine:,.2f}" if mine == theirs else f"{mine:,.2f} / {theirs:,.2f}"
        shown.append(f"{amount} {currency}".strip())
    return "; ".join(shown)


def _as_json(outcome: "Outcome", ids: bool, repaired: Repaired | None) -> dict[str, Any]:
    def side(one: Any) -> dict[str, Any]:
        return {"count": one.count, "sums": {name: str(amount) for name, amount in one.sums.items()}, "hash": one.hash}

    groups = []
    for key, group in outcome.groups.items():
        row: dict[str, Any] = {
            **key._asdict(),
            "equal": not group.drift,
            "source": side(group.source),
            "store": side(group.store),
            "in_flight": group.in_flight,
            "drift": group.counts,
        }
        if ids:
            row["differences"] = [
                {
                    "document_key": f"{outcome.source}:{one.reference.entity}:{one.reference.name}",
                    "kind": one.kind,
                    "columns": list(one.fields),
                }
                for one in group.differences
            ]
        groups.append(row)
    return {
        "source": outcome.source,
        "at": _iso(outcome.at),
        "equal": not outcome.differs,
        "drift": outcome.drift,
        "in_flight": sum(group.in_flight for group in outcome.groups.values()),
        "seen_until": {one.mapping.model: _iso(one.seen_until) for one in outcome.models},
        "unreadable": outcome.unreadable,
        "malformed": outcome.malformed,
        "seconds": round(outcome.seconds, 3),
        "repaired": {} if repaired is None else _told(repaired),
        "log": [
            {
                **key._asdict(),
                "source": group.source,
                "store": group.store,
                "in_flight": group.in_flight,
                "missing": group.missing,
                **({"records": sorted(group.records)} if ids else {}),
            }
            for key, group in outcome.log.items()
        ],
        "log_missing": outcome.untold,
        "groups": groups,
    }


def _told(repaired: Repaired) -> dict[str, Any]:
    return {
        "by": "this command" if repaired.here else "the running producer",
        "shown": repaired.shown,
        "models": {
            model: {"states": states, "deletions": deletions} for model, (states, deletions) in repaired.models.items()
        },
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
