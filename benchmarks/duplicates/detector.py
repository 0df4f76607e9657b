"""Runs the detector's pure functions over the bills in the order of entry, block by block in memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from benchmarks.duplicates.baselines import Found
from benchmarks.duplicates.bills import World
from finwatch.domain.calendar import DAY
from finwatch.domain.duplicates import candidates, evidence
from finwatch.domain.policy import DuplicatesSection


@dataclass(slots=True)
class Run:
    """What was found, by whom (rule), and what it cost."""

    found: Found
    rules: dict[tuple[str, ...], str]
    seconds: float
    blocks: int
    keys: int
    dropped: int
    state_bytes: int


def run(world: World, settings: DuplicatesSection) -> Run:
    """All groups that score ``keep_at`` or more at the end. A bill that is credited is taken a second time."""
    blocks: dict[str, candidates.Block] = {}
    standing: dict[tuple[str, ...], evidence.Verdict] = {}
    facts: dict[str, evidence.Bill] = {}
    entered = []
    for bill in world.bills:
        vendor = world.vendors[bill.vendor]
        entered.append(
            evidence.Bill(
                bill.key,
                1,
                bill.company,
                bill.type,
                bill.vendor,
                bill.reference,
                bill.date,
                Decimal(bill.amount).scaleb(-2),
                bill.currency,
                bill.created * DAY,
                vendor.vat,
                vendor.bank,
                vendor.name,
                Decimal(bill.net).scaleb(-2),
                bill.order,
                bill.reverses,
            )
        )
    count = 0
    begin = time.process_time()

    def take(fact: evidence.Bill) -> None:
        nonlocal count
        facts[fact.key] = fact
        keys = candidates.keys(fact, settings)
        count += len(keys)
        for key in keys:
            block = blocks.get(key)
            if block is None:
                block = blocks[key] = candidates.Block(key)
            for group, verdict in (candidates.put(block, fact, keys, settings) or {}).items():
                if verdict is None:
                    standing.pop(group, None)
                else:
                    standing[group] = verdict

    for fact in entered:
        take(fact)
        if fact.reversed_key is not None:
            credited = facts[fact.reversed_key]
            take(msgspec.structs.replace(credited, version=credited.version + 1, credited=True))
    seconds = time.process_time() - begin
    size = sum(len(msgspec.msgpack.encode(block)) for block in blocks.values())
    return Run(
        {group: verdict.score for group, verdict in standing.items()},
        {group: verdict.rule for group, verdict in standing.items()},
        seconds,
        len(blocks),
        count,
        sum(block.dropped for block in blocks.values()),
        size,
    )
