"""What the documents stage's logic costs an event, in memory: no Kafka, no codec, outputs made and thrown away.

    python -m benchmarks.stage_logic [documents]

Each kind of event is timed by itself, in CPU time, beside a fastavro decode of an 18-field record: on a shared machine
the ratio of the two says more than the microseconds.
"""

from __future__ import annotations

import gc
import io
import statistics
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import fastavro

from finwatch.domain.calendar import HOUR, SECOND
from finwatch.domain.events import Bill, BillLine, Event, Transition
from finwatch.domain.identity import deterministic_id
from finwatch.runtime.policies import load_policies
from streams.agents.registry import documents_stage
from streams.agents.replay import Replay

BEGIN = 1_760_000_000 * SECOND
BATCH = 100
KINDS = (
    "bill created",
    "amount changed",
    "other field tracked",
    "nothing changed",
    "posting tracked",
    "posted bill seen",
    "nothing changed",
    "nothing changed",
    "payment tracked",
    "paid bill seen",
)


_HANDS = {"posted": "8", "paid": "9"}
"""Duties are apart, as they are on nearly every bill."""


def _header(number: int, turn: int, at: int) -> dict[str, Any]:
    return {
        "event_id": deterministic_id("benchmark", number, turn),
        "document_key": f"odoo:bill:{number}",
        "source": "odoo",
        "entity": "bill",
        "record_id": str(number),
        "company_id": "1",
        "op": "u",
        "timeline": "wall",
        "occurred_at": at,
        "observed_at": at + 2 * SECOND,
        "actor": "7",
    }


def _bill(number: int, turn: int, at: int, amount: str, state: str = "draft", payment_state: str = "not_paid") -> Bill:
    return Bill(
        **_header(number, turn, at),
        move_type="in_invoice",
        state=state,
        payment_state=payment_state,
        reference=f"INV-{number:05d}",
        partner_id=str(number % 300),
        commercial_partner_id=str(number % 300),
        invoice_date=20_000 + number % 200,
        due_date=20_500,
        currency="EUR",
        amount_total=Decimal(amount),
        responsible="9",
        created_by="5",
        created_at=BEGIN + number * SECOND,
        lines=[BillLine("4")],
    )


def _moved(number: int, turn: int, at: int, activity: str, field: str, old: str, new: str) -> Transition:
    header = _header(number, turn, at)
    header["actor"] = _HANDS.get(activity, header["actor"])
    return Transition(**header, activity=activity, label=new, field=field, old_value=old, new_value=new)


def lives(documents: int) -> list[list[Event]]:
    """Ten events in the life of each bill, turn by turn."""
    turns: list[list[Event]] = [[] for _ in KINDS]
    for n in range(documents):
        at = BEGIN + n * SECOND
        turns[0].append(_bill(n, 0, at + SECOND, "100"))
        turns[1].append(_bill(n, 1, at + HOUR, "130"))
        turns[2].append(_moved(n, 2, at + 2 * HOUR, "changed", "ref", "a", "b"))
        turns[3].append(_bill(n, 3, at + 2 * HOUR, "130"))
        turns[4].append(_moved(n, 4, at + 3 * HOUR, "posted", "state", "draft", "posted"))
        turns[5].append(_bill(n, 5, at + 3 * HOUR, "130", "posted"))
        turns[6].append(_bill(n, 6, at + 4 * HOUR, "130", "posted"))
        turns[7].append(_bill(n, 7, at + 5 * HOUR, "130", "posted"))
        turns[8].append(_moved(n, 8, at + 6 * HOUR, "paid", "payment_state", "not_paid", "paid"))
        turns[9].append(_bill(n, 9, at + 6 * HOUR, "130", "posted", "paid"))
    return turns


def _decoding() -> Iterator[float]:
    """CPU microseconds of one fastavro decode, measured again at each step."""
    names = [f"text{i}" for i in range(12)]
    numbers = [f"number{i}" for i in range(6)]
    fields = [{"name": n, "type": ["null", "string"]} for n in names] + [{"name": n, "type": "long"} for n in numbers]
    schema = fastavro.parse_schema({"type": "record", "name": "Record", "fields": fields})
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema, {**dict.fromkeys(names, "some text"), **dict.fromkeys(numbers, 10**12)})
    body = stream.getvalue()
    while True:
        start = time.process_time()
        for _ in range(BATCH):
            fastavro.schemaless_reader(io.BytesIO(body), schema, None)
        yield (time.process_time() - start) / BATCH * 1e6


class _Counter:
    def __init__(self) -> None:
        self.count = 0

    def emit(self, topic: str, key: str, record: object) -> None:
        self.count += 1


def main(documents: int = 3000) -> None:
    """Print a table."""
    turns = lives(documents)
    decoding = _decoding()
    replay = Replay(documents_stage(load_policies()), "finance.bill.v1")
    counter = _Counter()
    replay.view.emit = counter.emit  # type: ignore[method-assign]
    gc.collect()
    gc.freeze()
    print(f"{'event':22} {'us':>8} {'decodes':>8} {'outputs':>8}")
    all_times, all_units = [], []
    for kind, events in zip(KINDS, turns, strict=True):
        times, units, before = [], [], counter.count
        for i in range(0, documents, BATCH):
            unit = next(decoding)
            start = time.process_time()
            replay.feed(events[i : i + BATCH])
            times.append((time.process_time() - start) / BATCH * 1e6)
            units.append(times[-1] / ((unit + next(decoding)) / 2))
        all_times.append(statistics.median(times))
        all_units.append(statistics.median(units))
        outputs = (counter.count - before) / documents
        print(f"{kind:22} {all_times[-1]:8.1f} {all_units[-1]:8.2f} {outputs:8.2f}")
    print(
        f"{'mean':22} {statistics.mean(all_times):8.1f} {statistics.mean(all_units):8.2f} "
        f"{counter.count / documents / len(KINDS):8.2f}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
