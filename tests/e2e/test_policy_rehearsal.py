"""`finwatch policy test`: what it says would come and go is what a stack that runs under the other policy says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from finwatch.local.embedded import open_embedded, producer_gate, wait_until_stored
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.publisher import KafkaPublisher
from finwatch.runtime.topics import entity_topic
from tests.parts.pipeline import Commands
from tests.parts.policies import slow_policy
from tests.parts.records import START, transition

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PARTITIONS = 2
REPORTS = 12


def published(publisher: KafkaPublisher) -> None:
    """Report n is submitted at the start and approved 11 n hours later, the last of a partition moves its time."""
    topic = entity_topic("expense_report")
    for number in range(REPORTS):
        for activity, eleven_hours in (("submitted", 0), ("approved", number)):
            at = START + timedelta(hours=11 * eleven_hours)
            value = transition(
                2 * number + (activity == "approved"), number, timeline="log", occurred_at=at, observed_at=at,
                activity=activity, step=None, role=None, decision=None,
            )  # fmt: skip
            publisher.publish(topic, f"odoo:expense_report:{number}", value)


@contextmanager
def stack_under(policy: Path, directory: Path) -> Iterator[Commands]:
    """An embedded stack that has worked off the reports under a policy."""
    with open_embedded(directory, partitions=PARTITIONS, policy=policy) as (stack, settings):
        gate = producer_gate(settings)
        publisher = KafkaPublisher(settings.kafka.client_config(), gate=gate)
        published(publisher)
        publisher.close()
        gate.close()
        assert wait_until_stored(stack, settings, threading.Event())
        with Commands(directory, stack.env()) as commands:
            yield commands


def standing(commands: Commands) -> dict[str, dict[str, Any]]:
    """What is found and was not taken back, by id."""
    said = json.loads(commands.run("findings", "--status", "all", "--limit", "1000", "--json").out.read_text())
    return {one["finding_id"]: one for one in said if one["status"] != "retracted"}


def test_what_would_come_and_go_is_what_comes_and_goes(tmp_path: Path) -> None:
    three, two, torn = tmp_path / "three.yaml", tmp_path / "two.yaml", tmp_path / "torn.yaml"
    three.write_text(slow_policy("odoo", 1, 3))
    two.write_text(slow_policy("odoo", 2, 2))
    torn.write_text(slow_policy("odoo", 2, "two"))
    with stack_under(three, tmp_path / "three") as commands:
        told = json.loads(commands.run("policy", "test", str(two), "--json", policy=str(three)).out.read_text())
        before = standing(commands)
        refused = commands.run("policy", "test", str(torn), code=ExitCode.CONFIG)
        assert "torn.yaml:11" in refused.said().replace("\n", "")
        again = standing(commands)
    with stack_under(two, tmp_path / "two") as commands:
        after = standing(commands)
    assert told["records"] >= 2 * REPORTS
    assert {one["rule"] for one in told["rules"]} == {"slow"}
    assert again == before, "nothing was published and nothing stored"
    gone = [*told["lost"], *(one["before"] for one in told["changed"])]
    come = [*told["gained"], *(one["after"] for one in told["changed"])]
    assert told["gained"]
    assert told["changed"]
    assert before.keys() - {one["finding_id"] for one in gone} | {one["finding_id"] for one in come} == after.keys()
    assert {one["document_keys"][0] for one in after.values()} == {
        f"odoo:expense_report:{n}" for n in range(5, REPORTS)
    }
