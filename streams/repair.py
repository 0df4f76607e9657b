"""Accept that records are gone: move positions that lie before the log's start to its start, keeping the state.

    python -m streams.repair STAGE [--apply]

For a worker that stopped with "offset lost". No worker of the stage may run meanwhile. Without --apply it only says
what it would do. What the lost records would have changed stays unknown: findings rest on what was read.

A position beyond the log's end means that the topic was made anew; then the state belongs to another log, and the
remedy is to delete the stage's state topic and make it again, not this.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from finwatch.runtime.config import Settings, load_settings
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.topics import state_topic
from streams.checkpoint import Branch, Restored
from streams.ends import Ends
from streams.loader import StateReader
from streams.outlet import Outlet
from streams.rows import RowStore


@dataclass(frozen=True)
class Jump:
    """One position that lies before the log: from where to where."""

    topic: str
    partition: int
    position: int
    start: int
    state: Restored


def plan(name: str, topics: Sequence[str], partitions: int, settings: Settings) -> list[Jump]:
    """Return the positions of a stage that lie before their logs. Raises StateUnreadable, StateDamaged."""
    config = settings.kafka.client_config()
    states = StateReader(config, state_topic(name)).load(dict.fromkeys(range(partitions), topics))
    ends = Ends(config)
    try:
        starts = ends.earliest(list(states))
    finally:
        ends.close()
    return [
        Jump(topic, partition, state.next, starts[topic, partition], state)
        for (topic, partition), state in sorted(states.items())
        if state.next is not None and state.next < starts.get((topic, partition), 0)
    ]


def apply(name: str, jumps: Sequence[Jump], settings: Settings) -> None:
    """Write a checkpoint at the new position, on top of the state as it is."""

    def fatal(why: str, code: ExitCode) -> None:
        raise SystemExit(f"{why} (exit code {int(code)})")

    async def write() -> None:
        outlet = Outlet(settings.kafka.client_config(), fatal)
        commits = []
        for jump in jumps:
            branch = Branch(jump.topic, jump.state.lineage)
            rows = RowStore(0, jump.state.rows)
            rows.dirty.update(jump.state.repair)
            branch.checkpoint += 1
            for key, value in branch.row_records(rows.take_changes(branch.checkpoint)):
                outlet.send(state_topic(name), value, key, jump.partition)
            commits.append((branch.commit_record(jump.start, len(rows) + 1), jump.partition))
        await outlet.settle(outlet.cut())
        for (key, value), partition in commits:
            outlet.send(state_topic(name), value, key, partition)
        await outlet.settle(outlet.cut())

    asyncio.run(write())


def main() -> int:
    """Run the command."""
    from streams.app import stages_of

    parser = argparse.ArgumentParser(prog="python -m streams.repair", description=__doc__)
    parser.add_argument("stage")
    parser.add_argument("--apply", action="store_true", help="write; without it the plan is printed")
    options = parser.parse_args()
    settings = load_settings()
    [stage] = stages_of([options.stage], settings)
    jumps = plan(stage.name, stage.topics, settings.kafka.partitions, settings)
    for jump in jumps:
        sys.stdout.write(
            f"{jump.topic}:{jump.partition} {jump.position} -> {jump.start}: {jump.start - jump.position} records\n"
        )
    if jumps and options.apply:
        apply(stage.name, jumps, settings)
    sys.stdout.write(f"{len(jumps)} positions {'moved' if options.apply else 'to move'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
