"""Runs a stage in memory, without Kafka and without encoding: for tests, benchmarks, and to recompute what was said.

Time and timers are the shell's own (``streams.rows``), so what fires here fires there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from msgspec import Struct

from finwatch.domain.events import Event, PolicyChange, RelationFact
from streams.rows import HEADER, RowStore
from streams.stage import Stage


class Output(NamedTuple):
    """One emitted record."""

    topic: str
    key: str
    record: Struct


class MemoryView:
    """One partition's rows and outputs."""

    def __init__(self, topic: str, partition: int = 0, lateness: int = 0) -> None:
        self.topic = topic
        self.partition = partition
        self.outputs: list[Output] = []
        self._lateness = lateness
        self._take(RowStore(lateness))

    def emit(self, topic: str, key: str, record: Struct) -> None:
        """Keep an output."""
        self.outputs.append(Output(topic, key, record))

    def restart(self) -> None:
        """Store all rows and load them again, as after a crash right behind a checkpoint."""
        for key in list(self.rows.keys()):
            self.rows.dirty.add(key)
        stored = {key: value for key, value in self.rows.take_changes(1) if len(value) > HEADER.size}  # no deleted rows
        self._take(RowStore(self._lateness, stored))

    def _take(self, rows: RowStore) -> None:
        self.rows = rows
        self.get = rows.get
        self.put = rows.put
        self.delete = rows.delete
        self.keys_from = rows.keys_from
        self.peek = rows.peek
        self.is_live = rows.is_live
        self.time_of = rows.time_of


class Replay:
    """A stage over one partition in memory."""

    def __init__(self, stage: Stage, topic: str, lateness: int = 0) -> None:
        self.stage = stage
        self.view = MemoryView(topic, lateness=lateness)
        self.offset = 0

    def feed(self, events: Iterable[Struct]) -> None:
        """Apply events in order; each first moves its source's time and fires what is due."""
        view, apply = self.view, self.stage.apply
        for event in events:
            if isinstance(event, PolicyChange):
                view.rows.timeline.observe_all(event.published_at, self._fire)
            else:
                assert isinstance(event, Event | RelationFact)
                view.rows.timeline.observe(event.source, event.observed_at, event.timeline, self._fire)
            apply(view, event, self.offset)
            self.offset += 1

    def heartbeat(self, source: str, at: int, timeline: str = "wall") -> None:
        """Move a source's time to ``at`` (less the lateness) with no event."""
        self.view.rows.timeline.heartbeat(source, at, timeline, False, self._fire)

    def outputs(self, topic: str) -> list[Struct]:
        """The records emitted to a topic, in order."""
        return [output.record for output in self.view.outputs if output.topic == topic]

    def _fire(self, key: str, due: int) -> None:
        self.stage.advance(self.view, key, due)
