"""Precision and recall of the duplicate detector on labelled bills, beside Odoo's rule and Celonis' patterns.

    python -m benchmarks.duplicates --bills 200000 --seed 1 [--json FILE]

Measured are the detector's pure functions in one process: no Kafka, no codec. Times are CPU times.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.duplicates import baselines, counterparts, detector
from benchmarks.duplicates.bills import DUPLICATE_KINDS, Parameters, make
from benchmarks.duplicates.judge import Figures, judge
from finwatch.runtime.policies import packaged_policy


def main() -> int:
    """Make the bills, judge, print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.duplicates", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--bills", type=int, default=200_000, help="how many bills, about")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--duplicates", type=float, default=0.005, help="duplicate cases, as a share of the bills")
    parser.add_argument("--near-misses", type=float, default=0.005, help="near-miss cases, as a share of the bills")
    parser.add_argument("--companies", type=int, default=3)
    parser.add_argument("--json", help="file to write all figures to")
    given = parser.parse_args()
    world = make(Parameters(given.bills, given.seed, given.duplicates, given.near_misses, given.companies))
    settings = packaged_policy("default").document.duplicates
    beside = counterparts.make(world, given.seed)
    done = detector.run(world, beside, settings)
    table: dict[str, Figures] = {
        "finwatch": judge(world, done.found, settings.report_at, beside.orders),
        "Odoo's rule": judge(world, baselines.odoo(world)),
        "Celonis' patterns": judge(world, baselines.celonis(world)),
    }
    duplicates = sum(case.duplicate for case in world.cases)
    misses = len(world.cases) - duplicates
    print(f"{len(world.bills)} bills, {len(world.vendors)} vendors, seed {given.seed}: {duplicates} duplicate cases,")
    print(f"{misses} near-miss cases ({misses / len(world.cases):.0%} of what was made to look suspicious),")
    print(f"{len(beside.claims)} honest expenses, {len(beside.claimed)} of a bill, {len(beside.orders)} orders\n")
    print(f"{'':24}" + "".join(f"{name:>20}" for name in table))
    rows: list[tuple[str, list[Any]]] = [
        ("findings", [f.findings for f in table.values()]),
        ("precision", [f.precision for f in table.values()]),
        ("recall", [f.recall for f in table.values()]),
        ("F1", [f.f1 for f in table.values()]),
        ("PR-AUC", [f.pr_auc for f in table.values()]),
    ]
    rows += [(f"recall: {kind}", [f.recall_by_kind.get(kind, 0.0) for f in table.values()]) for kind in DUPLICATE_KINDS]
    wrong = sorted({kind for f in table.values() for kind in f.wrong_by_kind})
    rows += [(f"wrong: {kind}"[:24], [f.wrong_by_kind.get(kind, 0) for f in table.values()]) for kind in wrong]
    for name, values in rows:
        print(f"{name:24}" + "".join(f"{v:>20.3f}" if isinstance(v, float) else f"{v:>20}" for v in values))
    cost = {
        "cpu_seconds": round(done.seconds, 2),
        "bills_per_second": round(len(world.bills) / done.seconds),
        "rows_a_bill": round(done.rows / len(world.bills), 2),
        "blocks": done.blocks,
        "dropped_by_cap": done.dropped,
        "state_bytes": done.state_bytes,
        "state_bytes_a_bill": round(done.state_bytes / len(world.bills)),
    }
    print("\n" + ", ".join(f"{name} {value}" for name, value in cost.items()))
    if given.json:
        body = {
            "parameters": {k: v for k, v in vars(given).items() if k != "json"},
            "bills": len(world.bills),
            "duplicate_cases": duplicates,
            "near_miss_cases": misses,
            "threshold": settings.report_at,
            "figures": {name: asdict(figures) for name, figures in table.items()},
            "cost": cost,
        }
        Path(given.json).write_text(json.dumps(body, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
