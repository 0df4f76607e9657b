"""Repairing on a real broker: the producer that leads the source does it, under its fence, or nobody leads it.

Simulated Odoo with the rows of a real server, and the product's own commands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finwatch.runtime.exits import ExitCode
from finwatch.sim import captured
from tests.parts.capture import Capturing
from tests.parts.kafka import Kafka
from tests.parts.pipeline import Command, StoreServer, eventually, wait_stored

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(300)]


class World:
    """A captured Odoo, whole in a store."""

    def __init__(self, capturing: Capturing, store: StoreServer) -> None:
        self.capturing, self.store = capturing, store
        self.commands, self.database = capturing.commands, capturing.database

    def producer(self) -> Command:
        """One that streams."""
        started = self.capturing.start()
        eventually(lambda: any(line["event"] == "streaming" for line in started.lines()), why=started.said)
        return started

    def reconcile(self, *options: str, code: int = ExitCode.OK, **settings: str) -> dict[str, Any]:
        told = self.commands.run("reconcile", "--json", "--model", "bill", *options, code=code, **settings)
        answer: dict[str, Any] = json.loads(told.out.read_text())
        return answer

    def lose(self, key: str) -> None:
        """A row that the store no longer has."""
        client = self.store.client()
        try:
            client.command(f"ALTER TABLE document_states DELETE WHERE document_key = '{key}' SETTINGS mutations_sync=2")
        finally:
            client.close()

    def change(self, key: str) -> None:
        """What plain SQL does to a row: no stamp moves."""
        number = int(key.rpartition(":")[2])
        row = self.database.tables["account.move"].rows[number]
        with self.database.begin() as tx:
            tx.raw("account.move", number, {"amount_total": row["amount_total"] + 1000})

    def repeats(self) -> set[str]:
        """Documents of which an event was published more than once under its id."""
        self.capturing.captured.to_the_end()
        repeated = self.capturing.captured.repeats()
        events = self.capturing.captured.events
        return {str(e.content["document_key"]) for e in events if e.content["event_id"] in repeated}


@pytest.fixture
def world(tmp_path: Path, kafka: Kafka, data_dir: Path) -> Iterator[World]:
    store = StoreServer(tmp_path / "store")
    store.start()
    store.migrate()
    settings = {"odoo_poll_interval": "300", "reconcile_rows_per_second": "0"}
    with Capturing(tmp_path, kafka.bootstrap, captured("odoo18", data_dir), 2, **settings) as capturing:
        capturing.commands.environment.update(store.environment())
        capturing.commands.start("sink", "clickhouse")
        yield World(capturing, store)
    store.stop()


def test_who_leads_the_source_repairs_it(world: World) -> None:
    producer = world.producer()
    wait_stored(world.commands, ["sink-clickhouse"])
    assert world.reconcile()["equal"]
    old = "source_write_date < (SELECT max(source_write_date) FROM documents) - INTERVAL 10 MINUTE"
    bills = [
        key
        for (key,) in world.store.ask(
            f"SELECT document_key FROM documents WHERE entity = 'bill' AND state = 'posted' AND {old} "
            "ORDER BY document_key LIMIT 5"
        )
    ]
    assert world.repeats() == set()

    # 1. Lost, changed and deleted: the running producer is asked, and what did not change has the id it had.
    world.lose(bills[0])
    world.change(bills[1])
    with world.database.begin() as tx:
        tx.unlink("account.move", int(bills[2].rpartition(":")[2]))
    assert world.reconcile("--ids", code=ExitCode.DRIFT)["drift"] == 3
    repaired = world.reconcile("--repair")
    assert repaired["equal"]
    asked = {"by": "the running producer", "shown": True}
    assert repaired["repaired"] == asked | {"models": {"account.move": {"states": 2, "deletions": 1}}}
    assert world.store.ask(f"SELECT deleted FROM documents WHERE document_key = '{bills[2]}'") == [(True,)]
    assert bills[0] in world.repeats() and bills[2] not in world.repeats()
    states = [e.content for e in world.capturing.captured.events if e.content["document_key"] == bills[0]]
    states = [one for one in states if one["$schema"] == "finwatch.Bill"]
    assert len(states) == 2 and len({one["event_id"] for one in states}) == 1
    assert producer.running

    # 2. It stopped by itself: nobody leads, so the command takes the source over for that time, and gives it back.
    assert producer.stop() == ExitCode.OK
    world.lose(bills[3])
    repaired = world.reconcile("--repair")
    assert repaired["equal"] and repaired["repaired"]["by"] == "this command"
    assert bills[3] in world.repeats()

    # 3. It was killed: whether it comes back nobody knows, so it is asked; what is asked outlives it.
    producer = world.producer()
    producer.kill()
    world.commands.started.remove(producer)
    world.lose(bills[4])
    told = world.reconcile("--repair", code=ExitCode.DRIFT, reconcile_repair_seconds="1")
    assert told["repaired"]["by"] == "the running producer" and not told["repaired"]["shown"]
    producer = world.producer()
    eventually(
        lambda: world.store.ask(f"SELECT count() FROM documents WHERE document_key = '{bills[4]}'") == [(1,)],
        why=producer.said,
    )
    assert world.reconcile()["equal"]
    assert producer.stop() == ExitCode.OK
