"""`finwatch demo`: findings of every kind, what was done wrong on purpose is found, and it ends and goes on cleanly."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from finwatch.cli.explain import explain
from finwatch.cli.questions import TO_TRY
from finwatch.domain.kpis import CATALOGUE
from finwatch.domain.records import Kpi
from finwatch.local.demonstration import SOURCE, START
from finwatch.local.truth import DUPLICATES
from finwatch.runtime.config import load_settings
from finwatch.runtime.exits import ExitCode
from finwatch.sim import Company, Label
from finwatch.sim.labels import LabelKind
from sinks.prometheus.gauges import LARGEST, Gauges
from sinks.prometheus.merge import Parts
from tests.parts.monitoring import Prometheus
from tests.parts.panels import SQL_SOURCE, expand, for_all_sources, instant, scraping, targets
from tests.parts.pipeline import (
    Command,
    Commands,
    StoreServer,
    alive,
    conclusions,
    differing,
    eventually,
    kill_stack,
    stack_pids,
    stored_so_far,
)
from tests.parts.replayed import replayed, stored_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
WEEKS = 1
SECONDS = 400.0


def start(commands: Commands, directory: Path) -> Command:
    return commands.start("demo", "--once", "--weeks", str(WEEKS), "--json", "--embedded", str(directory))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def commands(folder: Path) -> Iterator[Commands]:
    with Commands(folder / "commands", {}) as started:
        yield started


@pytest.fixture(scope="module")
def told(commands: Commands, folder: Path) -> dict[str, Any]:
    """What the undisturbed demo printed."""
    command = start(commands, folder / "data")
    assert command.wait(SECONDS) == ExitCode.OK, command.said()
    assert "Traceback" not in command.said()
    assert stack_pids(folder / "data") == []
    found: dict[str, Any] = json.loads(command.out.read_text())
    print(f"{found['seconds']} s, {found['events_published']} events, {found['records_stored']} records")
    return found


@pytest.fixture(scope="module")
def store(told: dict[str, Any], folder: Path) -> Iterator[StoreServer]:
    """The store the undisturbed demo left, opened again without the rest."""
    server = StoreServer(folder / "store", folder / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def labels() -> list[Label]:
    """What the company did wrong on purpose: the same seed is the same company."""
    company = Company(seed=7, start=START, weeks=WEEKS, version="18.0")
    company.advance(company.end)
    return company.labels


def test_findings_of_all_kinds(told: dict[str, Any]) -> None:
    """Approval ageing, service levels, duplicates, exceptions, matching, duties."""
    kinds = {"approvals", "sla", "duplicates", "exceptions", "matching", "duties"}
    assert {found["detector"] for found in told["findings"]} == kinds
    assert sum(kind["open"] + kind["resolved"] for kind in told["exceptions"]) > 0
    assert told["seconds"] < 90


def test_every_query_that_is_suggested_has_an_answer(store: StoreServer) -> None:
    for sql in TO_TRY:
        assert store.ask(sql), sql


def test_every_sql_panel_answers_from_the_demo(store: StoreServer) -> None:
    """All but those of what a demo does not have (dead letters, a test of its own)."""
    empty = {panel.panel for panel in targets(SQL_SOURCE) if not store.ask(expand(panel.query, everything=True))}
    assert empty == {panel for panel in empty if "dead letter" in panel.lower()}


def test_approvals_are_listed_as_the_store_counts_them(store: StoreServer, folder: Path) -> None:
    ((waiting,),) = store.ask("SELECT count() FROM steps WHERE decided_at IS NULL")
    asked = {"all": ("--by", "all"), "waiting": ("--limit", "9999"), "decided": ("--decided", "--limit", "1")}
    with Commands(folder / "approvals", store.environment()) as commands:
        started = {name: commands.start("approvals", *options, "--json") for name, options in asked.items()}
        for command in started.values():
            assert command.wait(SECONDS) == ExitCode.OK, command.said()
        told = {name: json.loads(command.out.read_text()) for name, command in started.items()}
    assert told["all"][0]["steps"] == len(told["waiting"]) == waiting > 0
    assert told["decided"][0]["decision"] is not None


def test_every_kind_of_finding_is_explained_from_the_log(store: StoreServer) -> None:
    """The log gives each again, word for word."""
    kinds = store.ask("SELECT detector, rule, status, any(finding_id) FROM findings GROUP BY detector, rule, status")
    ids = [finding_id for *_, finding_id in kinds]
    assert len(ids) >= 10
    client = store.client()
    try:
        for finding_id in ids:
            told = explain(client, load_settings(), finding_id)
            assert told["recomputed"]["same"] and not told["recomputed"]["reworded"], told
            assert told["evidence"] and not told["evidence_not_in_the_log"], told
            assert {event["document_key"] for event in told["timeline"]} >= set(told["finding"]["document_keys"])
            assert all(event["topic"].startswith("finance.") for event in told["evidence"])
    finally:
        client.close()


def test_another_policy_gives_another_finding_and_explain_says_what_differs(store: StoreServer, folder: Path) -> None:
    ((finding_id,),) = store.ask("SELECT any(finding_id) FROM findings WHERE detector = 'duplicates'")
    text = (files("finwatch") / "policies" / "default.yaml").read_text()
    changed = folder / "changed.yaml"
    head, _, tail = text.partition("\nduplicates:")
    changed.write_text(head + "\nduplicates:" + tail.replace("severity: high", "severity: low", 1))
    with Commands(folder / "other", {**store.environment(), "FINWATCH_POLICY": str(changed)}) as commands:
        command = commands.start("explain", finding_id, "--json")
        assert command.wait(SECONDS) == ExitCode.FAILED
        told = json.loads(command.out.read_text())["recomputed"]
        assert told["differs"].keys() == {"severity", "policy_version"}
        assert told["differs"]["severity"] == {"stored": "high", "recomputed": "low"}


@pytest.mark.prometheus
def test_every_panel_of_a_kpi_answers_from_the_demo(
    store: StoreServer, run_prometheus: Callable[[str], Prometheus]
) -> None:
    """The demo's KPI parts, merged by the Prometheus sink's own code, scraped and asked by a real Prometheus."""
    parts = Parts(LARGEST)
    columns = "kpi, labels, topic, partition, position, toUnixTimestamp64Micro(at), value, numerator, denominator"
    for number, row in enumerate(store.ask(f"SELECT {columns} FROM kpi_parts FINAL WHERE NOT deleted")):
        parts.apply(str(number).encode(), Kpi(*row), heard_at=row[5])
    registry = CollectorRegistry()
    registry.register(Gauges(lambda: parts, threading.Lock(), lambda: True, lambda: 0))
    shown = {f"finwatch_{name}" for name in CATALOGUE}
    wanted = {
        panel.panel: for_all_sources(panel.query)
        for panel in targets("prometheus")
        if (named := set(re.findall(r"\bfinwatch_\w+", panel.query))) and named <= shown
    }
    assert len(wanted) >= 8
    with scraping(run_prometheus, lambda: generate_latest(registry)) as prometheus:
        eventually(
            lambda: all(instant(prometheus, expr) for expr in wanted.values()),
            60,
            lambda: f"no data: {[name for name, expr in wanted.items() if not instant(prometheus, expr)]}",
        )
        ((waiting,),) = store.ask("SELECT sum(value) FROM kpis WHERE kpi = 'approvals_open'")
        assert float(instant(prometheus, wanted["Approvals waiting"])[0]["value"][1]) == waiting > 0


def test_exception_rates_are_the_counts_of_their_cohorts(store: StoreServer) -> None:
    """Window by window, what the stream published equals what the store can count."""
    rates = store.ask("SELECT entity, type, window_start, numerator, denominator FROM exception_rates")
    assert sum(row[3] for row in rates) > 0
    counted = store.ask(
        "WITH entered AS (SELECT document_key, entity, toStartOfDay(min(occurred_at)) AS day FROM events "
        "WHERE mode != 'deleted' GROUP BY document_key, entity) "
        "SELECT entity, type, day, uniqExact(document_key) FROM exceptions "
        "JOIN entered USING (document_key, entity) WHERE status != 'retracted' GROUP BY entity, type, day"
    )
    published = {(entity, kind, day): number for entity, kind, day, number, _ in rates if number}
    windows = {(entity, day) for entity, _, day, _, _ in rates}
    assert published == {
        (entity, kind, day): number for entity, kind, day, number in counted if (entity, day) in windows
    }


def test_nothing_is_a_dead_letter(store: StoreServer) -> None:
    assert store.ask("SELECT reason, count() FROM dead_letters GROUP BY reason") == []


def test_every_duplicate_that_was_made_is_found(store: StoreServer, labels: list[Label]) -> None:
    made = {
        tuple(sorted(f"{SOURCE}:bill:{number}" for number in label.ids)): label.kind
        for label in labels
        if label.kind in DUPLICATES
    }
    assert set(made.values()) == set(DUPLICATES)
    found = {
        tuple(keys): rule
        for keys, rule in store.ask("SELECT arraySort(document_keys), rule FROM findings WHERE detector = 'duplicates'")
    }
    assert made.keys() <= found.keys()
    exact = {pair for pair, kind in made.items() if kind is LabelKind.EXACT_DUPLICATE}
    assert {found[pair] for pair in exact} == {"exact_reference"}
    for kind, rule in (
        (LabelKind.FUZZY_DUPLICATE, "fuzzy_reference"),
        (LabelKind.ALIAS_DUPLICATE, "vendor_alias"),
        (LabelKind.SISTER_DUPLICATE, "across_companies"),
    ):
        assert {found[pair] for pair, made_as in made.items() if made_as is kind} == {rule}


def test_an_account_that_two_vendors_share_is_found(store: StoreServer, labels: list[Label]) -> None:
    made = [
        sorted(f"{SOURCE}:bank_account:{number}" for number in label.ids)
        for label in labels
        if label.kind is LabelKind.SHARED_ACCOUNT
    ]
    said = store.ask("SELECT arraySort(document_keys) FROM findings WHERE rule = 'shared_bank_account'")
    assert made
    assert sorted(keys for (keys,) in said) == sorted(made)


def test_bills_that_were_deleted_are_marked(store: StoreServer, labels: list[Label]) -> None:
    """Odoo keeps no trace of them: only the sweep can know."""
    deleted = {f"{SOURCE}:bill:{label.ids[0]}" for label in labels if label.kind is LabelKind.BILL_DELETED}
    assert deleted
    assert {key for (key,) in store.ask("SELECT document_key FROM documents WHERE deleted")} == deleted


def test_every_late_order_approval_is_found(store: StoreServer, labels: list[Label]) -> None:
    """An order waits 40 hours of work or more; the service level is two business days."""
    end = START + timedelta(weeks=WEEKS)
    late = {
        f"{SOURCE}:purchase_order:{label.ids[0]}": label
        for label in labels
        if label.model == "purchase.order"
        and label.kind in (LabelKind.SLA_PO_APPROVAL, LabelKind.APPROVAL_AGEING)
        and label.at + timedelta(days=4) < end  # two business days, a weekend between them, before the demo ends
    }
    assert late
    breached = store.ask("SELECT document_key FROM clocks WHERE policy = 'order_approval' AND status = 'breached'")
    assert late.keys() <= {key for (key,) in breached}
    said = store.ask("SELECT document_keys[1] FROM findings WHERE detector = 'sla' AND rule = 'order_approval'")
    assert late.keys() <= {key for (key,) in said}


def test_stopped_and_killed_on_the_way_it_ends_with_the_same_tables(
    commands: Commands, store: StoreServer, told: dict[str, Any], folder: Path
) -> None:
    """Ctrl-C on the way, then kill -9 of everything further on, then to the end: nothing lost, nothing doubled."""
    directory = folder / "disturbed"
    whole = told["records_stored"]
    # 1. Ctrl-C: nothing is left running, and it says so.
    first = start(commands, directory)
    eventually(lambda: stored_so_far(directory) > whole * 0.15 or not first.running, SECONDS, first.said)
    pids = stack_pids(directory)
    assert len(pids) == 3
    assert first.stop(signal.SIGINT, SECONDS) == ExitCode.INTERRUPTED, first.said()
    assert "Traceback" not in first.said()
    assert "nothing is left running" in first.said()
    assert not any(alive(pid) for pid in pids)
    assert stack_pids(directory) == []
    # 2. Again, from the beginning as to the company, whose events so far are repeats: kill -9 of all processes at once.
    second = start(commands, directory)
    before = eventually(lambda: stored_so_far(directory), SECONDS, second.said)
    eventually(lambda: stored_so_far(directory) > before + whole * 0.2 or not second.running, SECONDS, second.said)
    assert second.running, second.said()
    kill_stack(directory)
    assert second.wait() == -signal.SIGKILL
    # 3. To the end.
    third = start(commands, directory)
    assert third.wait(SECONDS) == ExitCode.OK, third.said()
    again = StoreServer(folder / "store-disturbed", directory)
    again.start()
    try:
        # Under load the topics are read in another interleaving: what stands at the end must be the same all the same.
        assert differing(conclusions(again.ask), conclusions(store.ask)) == {}
        twice = "SELECT finding_id FROM finding_versions GROUP BY finding_id HAVING count() != uniqExact(version)"
        assert again.ask(twice) == []
        # What was said on the way is held to the store's own log, version by version: nothing stands whose facts were
        # lost with a broker, and nothing of an earlier life hides what a later one says.
        versions = replayed(again)
        assert len(versions) > 10
        assert stored_of(again.ask, versions) == versions
    finally:
        again.stop()
