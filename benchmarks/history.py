"""Memory of the documents stage: by open document, and whether it grows with history.

    python -m benchmarks.history [--documents 20000] [--events 1000000] [--times 10]

So many bills stay open: they are entered, change their amount, are posted and reset again, over and over, once a day
each. Two processes take the stage's rows through the same documents, one with ``--events`` events, the other with that
many ``--times`` over, with a checkpoint every 20,000 events and cold rows turned back into bytes as the worker does.
Measured after a last checkpoint: the stage's rows and their size in the state topic, and what the process holds beyond
what it held before the first event. No broker and no decoding: what these keep does not depend on history.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.streams import ROOT
from finwatch.domain.calendar import DAY, HOUR, SECOND
from finwatch.domain.events import Bill, BillLine, Event, Transition
from finwatch.domain.identity import deterministic_id
from finwatch.runtime.policies import load_policies
from streams.agents.registry import documents_stage
from streams.partition import Counts, Partition, Processor
from streams.rows import RowStore

BEGIN = 1_760_000_000 * SECOND
CHECKPOINT_EVERY = 20_000
COOL_EVERY = 5  # checkpoints; a busy worker makes thirty in the half minute after which it looks for cold rows


def _header(number: int, at: int) -> dict[str, Any]:
    return {
        "event_id": deterministic_id("history", number, at),
        "document_key": f"odoo:bill:{number}",
        "source": "odoo",
        "entity": "bill",
        "record_id": str(number),
        "company_id": "1",
        "op": "u",
        "timeline": "log",
        "occurred_at": at,
        "observed_at": at + SECOND,
        "actor": str(number % 7),
    }


def _seen(number: int, at: int, round_: int, state: str) -> Bill:
    return Bill(
        **_header(number, at),
        move_type="in_invoice",
        state=state,
        payment_state="not_paid",
        reference=f"INV-{number:07d}",
        partner_id=str(number % 300),
        commercial_partner_id=str(number % 300),
        invoice_date=20_000 + number % 200,
        due_date=30_000,
        currency="EUR",
        amount_total=Decimal(1000 + number % 977 + round_ % 50),
        responsible="9",
        created_by="5",
        created_at=BEGIN + number * SECOND,
        lines=[BillLine("4")],
    )


def _moved(number: int, at: int, activity: str, old: str, new: str) -> Transition:
    return Transition(**_header(number, at), activity=activity, label=new, field="state", old_value=old, new_value=new)


def lives(documents: int, events: int) -> Iterator[Event]:
    """Events of the documents, day after day; each day one event of each."""
    for turn in range(events // documents):
        for number in range(documents):
            at = BEGIN + turn * DAY + HOUR + number * (DAY // documents // 2)
            kind = turn % 4
            if kind == 0:
                yield _seen(number, at, turn, "draft")
            elif kind == 1:
                yield _moved(number, at, "posted", "draft", "posted")
            elif kind == 2:
                yield _seen(number, at, turn, "posted")
            else:
                yield _moved(number, at, "reset", "posted", "draft")


def resident() -> int:
    """Bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure(documents: int, events: int) -> dict[str, Any]:
    """Take the rows through the events; the figures afterwards."""
    outputs = 0

    def send(topic: str, value: bytes, key: bytes) -> None:
        nonlocal outputs
        outputs += 1

    stage = documents_stage(load_policies())
    processor, rows = Processor(stage), RowStore(HOUR)
    part = Partition(stage, ("finance.bill.v1", 0), 1, rows, 0, lambda record: b"", send, Counts())
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    before, began = resident(), time.process_time()
    batch: list[Event] = []
    done = number = 0

    def checkpoint() -> None:
        nonlocal number
        number += 1
        rows.take_changes(number)
        if number % COOL_EVERY == 0:
            rows.cool_down()

    for event in lives(documents, events):
        batch.append(event)
        if len(batch) == 1000:
            processor.apply(part, batch, range(done, done + len(batch)), lambda _: (None, None, 0))
            done += len(batch)
            batch = []
            if done % CHECKPOINT_EVERY == 0:
                checkpoint()
    processor.apply(part, batch, range(done, done + len(batch)), lambda _: (None, None, 0))
    done += len(batch)
    checkpoint()
    gc.collect()
    held = resident() - before
    rows.dirty.update(rows.keys())
    stored = sum(len(key) + len(value) for key, value in rows.take_changes(number + 1))
    return {
        "events": done,
        "documents": len([key for key in rows.keys() if key.startswith("d:")]),  # noqa: SIM118 - no dict
        "rows": len(rows),
        "timers": len(rows.timeline),
        "stored": stored,
        "held": held,
        "outputs": outputs,
        "cpu": time.process_time() - began,
    }


def arm(documents: int, events: int) -> dict[str, Any]:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.history", "--arm", "--documents", str(documents)]
    command += ["--events", str(events)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=30_000)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Parse options; measure once, or both lengths and the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--arm", action="store_true")
    options = parser.parse_args()
    if options.arm:
        print(json.dumps(measure(options.documents, options.events)))
        return
    found = [arm(options.documents, events) for events in (options.events, options.events * options.times)]
    for one in found:
        print(
            f"{one['events']:>12,} events, {one['documents']:,} open documents in {one['rows']:,} rows: "
            f"{one['stored'] / one['documents']:,.0f} bytes a document in the state topic, "
            f"{one['held'] / one['documents']:,.0f} in memory; {one['timers']:,} timers, {one['outputs']:,} outputs, "
            f"{one['cpu'] / one['events'] * 1e6:.0f} us an event"
        )
    short, long = found
    print(
        f"{options.times} times the history: {long['stored'] / short['stored']:.2f} times the state, "
        f"{long['held'] / short['held']:.2f} times the memory"
    )


if __name__ == "__main__":
    main()
