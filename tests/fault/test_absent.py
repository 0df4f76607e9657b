"""Broker, registry and store absent at start: one clear line, patience, then work; doctor says what to do.

All processes are started before anything they depend on is there. The parts then come one after the other on the ports
they were expected on, first empty, then set up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finwatch.local.front.access import load_users
from finwatch.runtime.exits import ExitCode
from finwatch.sim import SimulatedOdoo, captured
from tests.parts.kafka import Kafka
from tests.parts.pipeline import Command, Commands, StoreServer, eventually
from tests.parts.registry import Registry

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.registry, pytest.mark.timeout(600)]
PARTITIONS = 2


@dataclass
class Parts:
    """Servers that have their ports and do not run yet."""

    kafka: Kafka
    registry: Registry
    store: StoreServer


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    found = Parts(Kafka(tmp_path / "kafka"), Registry(tmp_path / "registry"), StoreServer(tmp_path / "store"))
    load_users(found.store.directory)  # its password is known before it runs, as a server's is
    yield found
    for server in (found.store, found.registry, found.kafka):
        server.stop()


def doctor(commands: Commands) -> dict[str, dict[str, str]]:
    """What doctor says by name of the check; its exit code must agree with it."""
    command = commands.start("doctor", "--json")
    code = command.wait()
    assert "Traceback" not in command.said(), command.said()
    told = {finding["check"]: finding for finding in json.loads(command.out.read_text())}
    failed = [finding for finding in told.values() if finding["status"] == "failed"]
    assert code == (ExitCode.UNAVAILABLE if failed else ExitCode.OK), command.said()
    assert all(finding["what_to_do"] for finding in failed)
    commands.started.remove(command)
    return told


def text(line: dict[str, Any]) -> str:
    return json.dumps(line)


def waits(command: Command, *words: str) -> None:
    """It has a log line with these words, and goes on trying."""
    lines = eventually(
        lambda: [line for line in command.lines() if all(word in text(line) for word in words)],
        why=lambda: f"finwatch {command.name} does not say {words}:\n{command.said()}",
    )
    assert lines[0]["level"] in ("warning", "error")
    assert command.running, command.said()


def test_all_wait_for_what_is_absent_and_go_on_when_it_comes(parts: Parts, data_dir: Path, tmp_path: Path) -> None:
    broker, registry, store = parts.kafka.bootstrap, parts.registry.url, parts.store.url
    environment = {
        "FINWATCH_KAFKA_BOOTSTRAP": broker,
        "FINWATCH_KAFKA_PARTITIONS": str(PARTITIONS),
        "FINWATCH_REGISTRY_URL": registry,
        **parts.store.environment(),
    }
    database = captured("odoo17", data_dir)
    with SimulatedOdoo(database) as odoo, Commands(tmp_path / "run", environment) as commands:
        commands.environment |= {
            "FINWATCH_ODOO_URL": odoo.url,
            "FINWATCH_ODOO_DATABASE": "sim",
            "FINWATCH_ODOO_USER": "svc_cdc",
            "FINWATCH_ODOO_PASSWORD": "svc_cdc",
            "FINWATCH_ODOO_ACCOUNT_KEY": "k" * 32,
        }
        # 1. Nothing is there. Each says what it waits for first.
        stream = commands.start("stream", "documents", "relations")
        sink = commands.start("sink", "clickhouse")
        gauges = commands.start("sink", "prometheus")
        capture = commands.start("capture")
        waits(stream, broker, "FINWATCH_KAFKA_BOOTSTRAP")
        waits(gauges, broker, "FINWATCH_KAFKA_BOOTSTRAP")
        waits(capture, broker, "FINWATCH_KAFKA_BOOTSTRAP")
        waits(sink, store, "FINWATCH_CLICKHOUSE_URL")
        told = doctor(commands)
        assert broker in told["broker"]["found"] and "FINWATCH_KAFKA_BOOTSTRAP" in told["broker"]["what_to_do"]
        assert registry in told["registry"]["found"] and "FINWATCH_REGISTRY_URL" in told["registry"]["what_to_do"]
        assert store in told["store"]["found"] and "FINWATCH_CLICKHOUSE_URL" in told["store"]["what_to_do"]
        # 2. Broker and store come, without topics and tables; the registry is still away.
        parts.store.start()
        waits(sink, "finwatch store migrate")
        parts.kafka.start()
        for command in (stream, gauges, capture):
            waits(command, "finwatch topics apply")
        told = doctor(commands)
        assert "finwatch store migrate" in told["migrations"]["what_to_do"]
        assert "finwatch topics apply" in told["topics"]["what_to_do"]
        assert told["registry"]["status"] == "failed"
        commands.run("store", "migrate")
        waits(sink, "finwatch topics apply")
        commands.run("topics", "apply")
        waits(stream, registry, "FINWATCH_REGISTRY_URL")
        waits(capture, registry, "FINWATCH_REGISTRY_URL")
        # 3. The registry comes, without schemas.
        parts.registry.start()
        waits(stream, "finwatch schemas apply")
        waits(capture, "finwatch schemas apply")
        told = doctor(commands)
        assert "finwatch schemas apply" in told["schemas"]["what_to_do"]
        assert {told[name]["status"] for name in ("broker", "topics", "store", "migrations")} == {"ok"}
        commands.run("schemas", "apply")
        # 4. Now all is well, and everything that was captured arrives.
        assert [finding for finding in doctor(commands).values() if finding["status"] == "failed"] == []
        bills = sum(row["move_type"].startswith("in_") for row in database.tables["account.move"].rows.values())
        eventually(
            lambda: parts.store.ask("SELECT count() FROM documents WHERE entity = 'bill'") == [(bills,)],
            why=lambda: capture.said() + sink.said(),
        )
        for command in (capture, stream, sink, gauges):
            assert command.running, command.said()
            assert command.stop() == ExitCode.OK, command.said()
            assert "Traceback" not in command.said()
            # Patience is not noise: a line a reason, however many tries.
            warnings = [line for line in command.lines() if line.get("level") not in ("info", "debug")]
            assert len(warnings) <= 8, command.said()
