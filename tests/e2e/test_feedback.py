"""`finwatch findings dismiss` and `reopen`, on a stack that runs and on one that does not: kept, shown, explained."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from finwatch.local.embedded import open_embedded, producer_gate, wait_until_stored
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.publisher import KafkaPublisher
from tests.parts.pipeline import Commands
from tests.parts.records import bill

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SECONDS = 120.0


def listed(commands: Commands, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(commands.run("findings", "--json", *options).out.read_text())
    return [one for one in found if one["detector"] == "duplicates"]


def test_a_person_dismisses_a_finding_and_takes_it_back(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    paper = {"reference": "INV-2026-417", "amount_total": Decimal("1234.56"), "timeline": "log"}
    with open_embedded(directory, partitions=2) as (stack, settings), Commands(tmp_path, stack.env()) as commands:
        gate = producer_gate(settings)
        publisher = KafkaPublisher(settings.kafka.client_config(), gate=gate)
        for n in (1, 2):
            publisher.publish("finance.bill.v1", f"odoo:bill:{n}", bill(n, n, **paper))
        publisher.close()
        gate.close()
        assert wait_until_stored(stack, settings, threading.Event())
        (finding,) = listed(commands)
        assert finding["status"] == "open"
        identity = finding["finding_id"]

        said = commands.run("findings", "dismiss", identity[:12], "--reason", "two deliveries", "--by", "12", "--json")
        assert json.loads(said.out.read_text())["finding_id"] == identity
        assert wait_until_stored(stack, settings, threading.Event())
        assert listed(commands) == []
        (finding,) = listed(commands, "--status", "dismissed")
        assert (finding["finding_id"], finding["status"]) == (identity, "dismissed")
        assert finding["reasons"][-1] == "Dismissed by 12: two deliveries"
        told = json.loads(commands.run("explain", identity, "--json").out.read_text())
        assert told["recomputed"]["same"], told
        assert [(e["what"], e["actor"]) for e in told["timeline"]][-1] == ("two deliveries", "12")

        for words, code in (
            (("dismiss", identity, "--reason", "again"), ExitCode.FAILED),
            (("dismiss", "0" * 32, "--reason", "no such"), ExitCode.FAILED),
            (("dismiss", identity, "--reason", "  "), ExitCode.USAGE),
            (("dismiss", "not an id", "--reason", "why"), ExitCode.USAGE),
        ):
            assert commands.start("findings", *words).wait(SECONDS) == code, words

    with Commands(tmp_path / "later", {}) as commands:
        where = ("--embedded", str(directory))
        commands.run("findings", "reopen", identity, "--reason", "one delivery after all", *where)
        (finding,) = listed(commands, *where)
        assert (finding["finding_id"], finding["status"]) == (identity, "updated")
