"""A stage that counts transitions, for exactness tests, and a worker process that runs it.

Each event changes two rows, one of them an aggregate over all keys of the partition: only atomic checkpoints keep the
two equal. Every `EVERY` events of a key one output is emitted.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Mapping

from msgspec import Struct

from finwatch.domain.records import Clock
from finwatch.runtime.config import load_settings
from finwatch.runtime.logging import configure_logging
from streams.stage import InvalidEvent, View

EVERY = 20
PERIOD = 10_000_000


class Written(Struct, gc=False):
    """A transition as a producer writes it."""

    event_id: str
    document_key: str
    source: str
    entity: str
    record_id: str
    occurred_at: int
    observed_at: int
    label: str
    timeline: str = "log"
    op: str = "u"
    mode: str = "log"
    correlation_id: str = ""
    snapshot: bool = False
    activity: str = "changed"


def transition(number: int, document_key: str, at: int, label: str = "x", timeline: str = "log") -> Written:
    """Event `number` of a document at `at` (epoch microseconds)."""
    source, entity, record = document_key.split(":", 2)
    return Written(f"{number:032x}", document_key, source, entity, record, at, at, label, timeline)


class Seen(Struct, frozen=True, gc=False):
    """The columns of a transition that the stage reads."""

    event_id: str
    document_key: str
    source: str
    timeline: str
    observed_at: int
    label: str


class Count(Struct):
    """Row of a document, and of the whole partition."""

    events: int = 0
    fired: int = 0


class CountingStage:
    """Counts events by document and in all; `label` "bad" is invalid, "due" sets a timer ten seconds after it."""

    projections: Mapping[str, type[Struct]] = {"finwatch.Transition": Seen}

    def __init__(self, name: str, topics: tuple[str, ...], output: str) -> None:
        self.name = name
        self.topics = topics
        self.output = output

    def apply(self, view: View, event: Struct, offset: int) -> bool | None:
        assert isinstance(event, Seen)
        if event.label == "bad":
            raise InvalidEvent("told_to_be_bad")
        key = f"d:{event.document_key}"
        row = view.get(key, Count) or Count()
        total = view.get("total", Count) or Count()
        row.events += 1
        total.events += 1
        view.put(key, row, event.observed_at + PERIOD if event.label == "due" else None)
        view.put("total", total)
        if row.events % EVERY == 0:
            self._emit(view, event.document_key, row.events, "counted", event.observed_at)
        return None

    def advance(self, view: View, key: str, now: int) -> None:
        row = view.get(key, Count)
        total = view.get("total", Count)
        assert row is not None and total is not None
        row.fired += 1
        total.fired += 1
        view.put(key, row)
        view.put("total", total)
        self._emit(view, key.removeprefix("d:"), row.fired, "fired", now)

    def kpis(self, view: View, now: Mapping[str, int]) -> Iterable[Struct]:
        return ()

    def _emit(self, view: View, document: str, version: int, status: str, at: int) -> None:
        source, entity, record = document.split(":", 2)
        clock = Clock(
            f"{status}:{document}", version, document, source, entity, record, None, "counting", "1", at, None, None,
            None, status, 0.0, "wall", None, 0.0, None, None, None, [], at,
        )  # fmt: skip
        view.emit(self.output, document, clock)


def main() -> int:
    """Run a worker: NAME OUTPUT TOPIC..."""
    from streams.app import Worker

    name, output, *topics = sys.argv[1:]
    settings = load_settings()
    configure_logging(settings.loglevel, "json")
    stage = CountingStage(name, tuple(topics), output)
    worker = Worker([stage], settings, outputs=(output, "finance.dlq.v1"))
    return asyncio.run(worker.main())


if __name__ == "__main__":
    sys.exit(main())
