"""kill -9 of the whole embedded stack, parent and children at once, and what an embedded directory is afterwards.

A real log (travel declarations, BPI Challenge 2020) is imported; the expected figures are the published ones of the
data's README.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import pytest

from finwatch.local.access import settings_for
from finwatch.local.stack import DEFAULT_PARTITIONS, running_stack
from finwatch.runtime.store import connect
from finwatch.runtime.topics import entity_topic
from tests.parts.pipeline import (
    ROOT,
    Commands,
    StoreServer,
    eventually,
    fingerprint,
    kill_stack,
    stack_pids,
    stored_so_far,
    wait_stored,
)
from tests.parts.records import heartbeat, transition

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SECONDS = 400.0
Ask = Callable[[str], list[tuple[Any, ...]]]

# role: (approved, rejected)
DECISIONS = {
    "administration": (8061, 936),
    "pre_approver": (685, 86),
    "budget_owner": (2747, 57),
    "supervisor": (9999, 286),
}
# policy: pairs, wall clock (p50, p95, max in hours, over 48 h), business time (p50, p95, max, over 20 h, over 48 h)
DURATIONS = {
    "approved_to_payment_request": (9912, 27.157, 248.061, 5632.320, 3829, 11.400, 74.775, 1683.260, 3130, 1005),
    "payment_request_to_payment": (9911, 77.777, 146.616, 913.261, 9004, 27.437, 42.616, 262.261, 7900, 418),
    "submission_to_final_approval": (9938, 24.677, 251.532, 4199.045, 3981, 8.269, 70.441, 1250.045, 2985, 1125),
}
EVENTS, DECLARATIONS = 55_628, 10_357


def published(ask: Ask) -> tuple[dict[str, tuple[int, int]], dict[str, tuple[float, ...]]]:
    """Both tables of the data's README, asked of the store as an analyst would."""
    roles = ask(
        "SELECT role, countIf(decision = 'approved'), countIf(decision = 'rejected') FROM steps "
        f"WHERE role IN {tuple(DECISIONS)} AND decided_at IS NOT NULL GROUP BY role"
    )
    durations = ask(
        "SELECT policy, count(), quantileExact(0.5)(wall), quantileExact(0.95)(wall), max(wall), countIf(wall > 48), "
        "quantileExact(0.5)(work), quantileExact(0.95)(work), max(work), countIf(work > 20), countIf(work > 48) FROM "
        "(SELECT policy, wall_seconds / 3600 AS wall, business_seconds / 3600 AS work FROM clocks "
        f"WHERE stopped_at IS NOT NULL AND policy IN {tuple(DURATIONS)}) GROUP BY policy"
    )
    return {row[0]: row[1:] for row in roles}, {row[0]: row[1:] for row in durations}


def is_whole(ask: Ask) -> None:
    """The published tables, every declaration and event once."""
    decisions, durations = published(ask)
    assert decisions == DECISIONS
    for policy, expected in DURATIONS.items():
        assert durations[policy] == pytest.approx(expected, abs=0.00051), policy
    assert ask("SELECT count(), countDistinct(event_id) FROM events") == [(EVENTS, EVENTS)]
    assert ask("SELECT count(), countDistinct(document_key) FROM documents") == [(DECLARATIONS, DECLARATIONS)]
    assert ask("SELECT count() FROM dead_letters") == [(0,)]


@contextmanager
def store_of(directory: Path, folder: Path) -> Iterator[Ask]:
    """Ask the store of a directory that no stack has open."""
    server = StoreServer(folder, directory)
    server.start()
    try:
        yield server.ask
    finally:
        server.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("import")


@pytest.fixture(scope="module")
def commands(folder: Path) -> Iterator[Commands]:
    with Commands(folder / "commands", {}) as started:
        yield started


@pytest.fixture(scope="module")
def arguments(data_dir: Path) -> list[str]:
    log = data_dir / "bpi2020" / "DomesticDeclarations.xes.gz"
    return ["import", str(log), "--mapping", "travel_declarations", "--json", "--embedded"]


@pytest.fixture(scope="module")
def undisturbed(commands: Commands, arguments: list[str], folder: Path) -> tuple[Path, dict[str, Any]]:
    """A directory into which the log was imported, and what its views say."""
    command = commands.run(*arguments, str(folder / "data"), seconds=SECONDS)
    told = json.loads(command.out.read_text())
    assert (told["events"], told["documents"]) == (EVENTS, DECLARATIONS)
    print(f"imported in {told['seconds']} s")
    with store_of(folder / "data", folder / "first") as ask:
        is_whole(ask)
        return folder / "data", fingerprint(ask)


def test_an_import_killed_on_the_way_and_made_again_gives_the_same_tables(
    commands: Commands, arguments: list[str], undisturbed: tuple[Path, dict[str, Any]], folder: Path
) -> None:
    directory = folder / "killed"
    command = commands.start(*arguments, str(directory))
    eventually(lambda: stored_so_far(directory) > 40_000 or not command.running, SECONDS, command.said)
    assert command.running, command.said()
    kill_stack(directory)
    assert command.wait() == -signal.SIGKILL
    with store_of(directory, folder / "half") as ask:
        half = ask("SELECT count() FROM events")[0][0]
        assert 0 < half < EVENTS  # it was in the middle
    commands.run(*arguments, str(directory), seconds=SECONDS)
    assert stack_pids(directory) == []
    with store_of(directory, folder / "again") as ask:
        is_whole(ask)
        assert fingerprint(ask) == undisturbed[1]


@contextmanager
def stack(directory: Path, folder: Path, *policy: Path) -> Iterator[Commands]:
    """A stack on the directory in a process of its own; commands that find it, to be waited for with."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "stack.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.parts.embedded_stack", str(directory), *map(str, policy)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        # Its streams are the last thing it starts.
        eventually(lambda: len(stack_pids(directory)) == 3 or process.poll() is not None, why=log.read_text)
        assert process.poll() is None, log.read_text()
        state = running_stack(directory) or {}
        yield Commands(folder, {"FINWATCH_KAFKA_BOOTSTRAP": str(state["bootstrap"])})
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGKILL), log.read_text()
    finally:
        process.kill()
        process.wait()


def ask_running(directory: Path, sql: str) -> list[tuple[Any, ...]]:
    client = connect(settings_for(directory).clickhouse)
    try:
        return [tuple(row) for row in client.query(sql).result_rows]
    finally:
        client.close()


def test_a_directory_that_is_opened_again_without_new_input_says_the_same(
    undisturbed: tuple[Path, dict[str, Any]], folder: Path
) -> None:
    directory, before = undisturbed
    kept = "SELECT topic, count() FROM raw_log WHERE topic != 'finance.kpi.v1' GROUP BY topic ORDER BY topic"
    with store_of(directory, folder / "before") as ask:
        raw = ask(kept)
    with stack(directory, folder / "reopened") as commands:
        # The state is rebuilt once the figures are said anew, in this life of the broker.
        eventually(lambda: len(ask_running(directory, "SELECT DISTINCT incarnation FROM raw_log")) == 2, SECONDS)
        wait_stored(commands)
    with store_of(directory, folder / "after") as ask:
        assert fingerprint(ask) == before
        assert ask(kept) == raw


def event(record: int, at: datetime, activity: str, **changes: Any) -> tuple[str, bytes]:
    key = f"old:expense_report:{record}"
    given = {"step": None, "role": None, "decision": None, "timeline": "log", "correlation_id": key, **changes}
    number = round(at.timestamp())
    value = transition(
        number,
        record,
        source="old",
        document_key=key,
        event_id=f"{number:016x}{record:016x}",
        occurred_at=at,
        observed_at=at,
        activity=activity,
        **given,
    )
    return key, value


def publish(commands: Commands, *events: tuple[str, bytes], until: datetime) -> None:
    """Events, then the source's time on every partition; and wait until it is all stored."""
    bootstrap = commands.environment["FINWATCH_KAFKA_BOOTSTRAP"]
    producer = ck.Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "log_level": 0})
    for key, value in events:
        producer.produce(entity_topic("expense_report"), value, key.encode())
    producer.flush(30)
    for partition in range(DEFAULT_PARTITIONS):
        beat = heartbeat(0, source="old", at=until, timeline="log")
        producer.produce(entity_topic("expense_report"), beat, b"old", partition)
    assert producer.flush(30) == 0
    wait_stored(commands)


def test_open_clocks_and_steps_live_on_after_kill_and_reopening(tmp_path: Path) -> None:
    """What waited before kill -9 breaches, and is decided, in a later life, as if nothing had happened."""
    monday = datetime(2026, 3, 2, 9, tzinfo=UTC)
    first = [event(n, monday + timedelta(hours=n), "submitted") for n in range(6)]
    second = [event(0, monday + timedelta(hours=20), "approved", decision="approved", actor="boss")]
    last = [event(1, monday + timedelta(days=20), "approved", decision="approved", actor="boss")]
    moments = (monday + timedelta(hours=8), monday + timedelta(hours=21), monday + timedelta(days=21))
    disturbed, plain = tmp_path / "disturbed", tmp_path / "plain"

    # Two lives; the first is ended by kill -9, and nothing of it is sent again in the second.
    with stack(disturbed, tmp_path / "life-1") as commands:
        publish(commands, *first, until=moments[0])
        assert ask_running(disturbed, "SELECT count() FROM findings") == [(0,)]
        kill_stack(disturbed)
    with stack(disturbed, tmp_path / "life-2") as commands:
        publish(commands, *second, until=moments[1])
        publish(commands, *last, until=moments[2])
    # One life.
    with stack(plain, tmp_path / "one") as commands:
        for events, until in zip((first, second, last), moments, strict=True):
            publish(commands, *events, until=until)

    with store_of(plain, tmp_path / "a") as ask:
        expected = fingerprint(ask)
        assert ask("SELECT record_id, decided_by FROM steps WHERE decided_at IS NOT NULL ORDER BY record_id") == [
            ("0", "boss"),
            ("1", "boss"),
        ]
        late = ask("SELECT record_id FROM clocks WHERE status = 'breached' ORDER BY record_id")
        assert late == [(str(n),) for n in range(1, 6)]
    with store_of(disturbed, tmp_path / "b") as ask:
        assert fingerprint(ask) == expected
