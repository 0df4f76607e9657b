"""What a further detector of the documents stage is given, and what it must be.

A detector keeps its own rows in the view, under a kind of its own (``<kind>:<document_key>``), and is called only when
a document's content, history or status changed. It must be deterministic and keep nothing in itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from msgspec import Struct

from finwatch.domain.documents import Content, Fact
from finwatch.domain.events import Event, Feedback, RelationFact
from finwatch.domain.findings import Subject
from finwatch.domain.history import Machine
from finwatch.domain.policy import Policy, PolicySet
from finwatch.domain.records import Kpi
from streams.stage import View


class Change(Struct):
    """A change of one document, after the core has taken it in. Instants in epoch microseconds.

    All detectors are shown the same one.
    """

    view: View
    subject: Subject
    policy: Policy
    content: Content
    machine: Machine
    content_changed: bool
    deleted: bool
    timeline: str
    occurred_at: int
    observed_at: int
    event_id: str
    # What changed it: the document as it was seen (also an outdated sight of it), or a transition; what a person said.
    event: Event | Feedback
    facts: list[Fact]  # what happened to it, in order of time; the oldest may be gone


class DocumentDetector(Protocol):
    """Looks at one document at a time; may publish findings, and facts for the relations stage."""

    entities: frozenset[str]
    watches_history: bool  # False: only changes of the content are of interest

    def changed(self, change: Change) -> None:
        """A document of one of ``entities`` changed."""
        ...


class MasterDetector(Protocol):
    """Looks at master data, of which the core keeps nothing: no steps, no clocks, no exceptions, no counts.

    It keeps its own rows and recognises repeats itself.
    """

    entities: frozenset[str]

    def apply(self, view: View, event: Event, policy: Policy) -> bool | None:
        """Take an event of one of ``entities``. Returns False for a repeat."""
        ...


@runtime_checkable
class Judged(Protocol):
    """A document detector that wants to know what people think of its findings."""

    def judged(self, change: Change, feedback: Feedback) -> None:
        """A finding about a document was judged; the document did not change. May raise InvalidEvent."""
        ...


class RelationDetector(Protocol):
    """Looks at all documents that share a relation key."""

    relation: str

    def apply(self, view: View, fact: RelationFact, policy: Policy) -> bool:
        """Take one fact, once a (document_key, version). Returns False when it was known."""
        ...

    def kpis(self, view: View, now: Mapping[str, int], policies: PolicySet) -> list[Kpi]:
        """The detector's KPI partials."""
        ...


@runtime_checkable
class Timed(Protocol):
    """A detector whose rows have timers. ``timed``: the kinds of its rows that do (``<kind>:<source>:...``)."""

    timed: frozenset[str]

    def advance(self, view: View, key: str, now: int, policy: Policy) -> None:
        """Row ``key`` has come due, by the policy that is in force for its source. See ``streams.stage.Stage``."""
        ...
