"""What it costs when another policy comes into force over many open documents.

    python -m benchmarks.policy_switch [--documents 100000]

One partition of the documents stage, in memory: as many open bills of a live source (several clocks and a step each), a
change of one service level's target, and then nothing but the source's time, slice by slice until all are planned anew.
Time is CPU time of this process; encoding of the outputs and the broker are left out. Nothing else is done within a
slice, so the longest of them is how long an event can have to wait for one; a million documents take as many slices
more. `per document` should not grow with their number.
"""

from __future__ import annotations

import argparse
import statistics
import time
from datetime import UTC, datetime

import msgspec

from finwatch.domain.events import PolicyChange
from finwatch.domain.policy import parse_policy
from finwatch.domain.policy.change import change_record
from finwatch.runtime.clock import to_micros
from finwatch.runtime.policies import packaged_policy
from finwatch.runtime.topics import CLOCK
from streams.agents.replanning import PAUSE, SLICE, Replanning
from tests.unit.agents.world import bill, documents

SWITCH = to_micros(datetime(2026, 3, 3, 10, tzinfo=UTC))


def change() -> PolicyChange:
    """The default policy with a longer target for bills, as a stage reads it."""
    base = packaged_policy("default")
    raw = msgspec.to_builtins(base.document, str_keys=True) | {"version": "next"}
    for clock in raw["clocks"]:
        if clock["name"] == "bill_validation":
            clock["target"] = "4 business days"
    return msgspec.convert(msgspec.to_builtins(change_record(parse_policy(raw), SWITCH, base, None)), PolicyChange)


def measure(count: int) -> None:
    """Print how long each slice took, and all of them."""
    replay = documents()
    replay.feed(bill(f"{number:07}", "2026-03-02 09:00", timeline="wall") for number in range(count))
    replay.view.outputs.clear()
    began = time.process_time()
    replay.feed([change()])
    replay.heartbeat("odoo", SWITCH)
    slices, now = [time.process_time() - began], SWITCH
    while replay.view.get("n:odoo", Replanning) is not None:
        now += PAUSE
        began = time.process_time()
        replay.heartbeat("odoo", now)
        slices.append(time.process_time() - began)
    moved = sum(record.replanned_at is not None for record in replay.outputs(CLOCK))  # type: ignore[attr-defined]
    if moved < count:
        raise SystemExit(f"{moved} clocks were planned anew, of {count} documents")
    print(
        f"{count:,} open documents: {sum(slices):.2f} s of CPU in {len(slices):,} slices of {SLICE}; "
        f"per document {sum(slices) / count * 1e6:.0f} us; slice median {statistics.median(slices) * 1e3:.0f} ms, "
        f"p99 {sorted(slices)[int(len(slices) * 0.99)] * 1e3:.0f} ms, longest {max(slices) * 1e3:.0f} ms; "
        f"done {(now - SWITCH) / 1e6:.0f} s after the switch"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000, help="open bills")
    measure(parser.parse_args().documents)
