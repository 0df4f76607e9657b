"""What a mapping consists of."""

from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeAlias

from producers.odoo.accounts import AccountHasher
from producers.odoo.mapping.extras import Available
from producers.odoo.mapping.flat import flat
from producers.odoo.values import Domain, Row, moment, ref

FIRST_VERSION = 17
LAST_VERSION = 19
LAST_MEASURED = 18
"""What is said of versions above is from Odoo's documentation and source, not from a running server."""
REFERENCE_POLLS = 12
"""Reference data is read in every so many polls: once a minute when polling every 5 s."""
# Read of every model: when, by whom.
STAMPS = ("create_uid", "create_date", "write_uid", "write_date")


@dataclass(frozen=True)
class Source:
    """One captured database: its name in document keys, its version, the key of its account hashes."""

    name: str
    database: str
    version: int
    hasher: AccountHasher
    incoming_types: frozenset[str] | None = None  # picking types that receive; None when they cannot be read
    outgoing_types: frozenset[str] | None = None  # those that deliver; None as above

    def key(self, entity: str, record_id: str) -> str:
        """document_key of a record."""
        return f"{self.name}:{entity}:{record_id}"


@dataclass(frozen=True)
class Fields:
    """Fields to read: of every version, and of single versions only.

    A version above `LAST_MEASURED` that is not named reads what the one before it does.
    """

    common: tuple[str, ...]
    only: MappingOf[int, tuple[str, ...]] = field(default_factory=dict)

    def of(self, version: int) -> tuple[str, ...]:
        """Fields of `version`."""
        known = max(version, FIRST_VERSION)
        while known > LAST_MEASURED and known not in self.only:
            known -= 1
        return self.common + self.only.get(known, ())


@dataclass(frozen=True)
class Child:
    """Rows that belong to a document: read with it, and their change is the document's change.

    `optional`: where they may not be read, the document is read without them. `joined`: what is read of other records
    through a line; where that may not be read, lines are read without it.
    """

    model: str
    parent: str  # many2one to the document
    fields: Fields
    domain: Domain = ()
    optional: bool = False
    joined: "tuple[Joined, ...]" = ()


@dataclass(frozen=True)
class Joined:
    """Another record that holds part of a document (Odoo's `_inherits`): its fields are read through `via`.

    They come as `<via>.<field>` in the document's row. With `write_date` among them, a change of it is the document's
    change; without, they are as they were when the document was read. `wanted`: the rows it is read for, if not all.
    `via` may lead through a field of an earlier one to several records: then each field is the list of their values.
    `optional`: where it may not be read, the document is read without.
    """

    model: str
    via: str
    fields: Fields
    wanted: Callable[[Row], bool] | None = None
    optional: bool = False


class Review(NamedTuple):
    """A decision that a record keeps about a document, as far as it has come. Times are aware.

    `name`: kind:id, of the source. `waits`: somebody is asked now; `ended`: it was taken back without a decision.
    `decision`: approved or rejected. `about`: model and id of the document; None for the document that holds it.
    """

    name: str
    step: str
    waits: bool = False
    ended: bool = False
    decision: str | None = None
    asked_at: datetime | None = None
    asked_by: str | None = None
    person: str | None = None
    role: str | None = None
    decided_at: datetime | None = None
    decided_by: str | None = None
    label: str | None = None
    about: tuple[str, int] | None = None


class Document(NamedTuple):
    """A mapped row: which entity it is, its company, and the body of its record without the event header."""

    entity: str
    company_id: str | None
    body: dict[str, Any]
    reviews: tuple[Review, ...] = ()


Lines: TypeAlias = MappingOf[str, Sequence[Row]]
Mapper: TypeAlias = Callable[[Row, Lines, Source], Document | None]
"""(row, children by model in order of id, source) -> document; None: not a document that is watched.

Raises Malformed naming the field when a value is not what the API promises.
"""


Body: TypeAlias = Callable[[Row, Lines, Source], dict[str, Any]]
"""(row, children, source) -> the body of an entity, as in `Mapper`."""


class Configured(Protocol):
    """What a configuration says of a model."""

    def fit(self, available: Available) -> "tuple[Mapping, list[str]]":
        """(the mapping with what a server has of it, what is wrong with the rest)."""
        ...

    def described(self) -> list[dict[str, str]]:
        """What it adds, for people: key, field and type each."""
        ...


@dataclass(frozen=True)
class Mapping:
    """How one model is read and what it becomes.

    `stamped` is False for models whose changes Odoo writes without moving write_date (plain SQL, as for ir.cron): the
    sweep then reads them whole, as no stamp tells what changed. `poll_whole` reads such a model whole in each poll too;
    for small tables. `stamps` are the fields that say when a row was written, where it is not write_date alone.
    `poll_every` n reads the model in every n-th poll only, from where the last reading ended: for reference data.
    `since` and `until` are the first and the last version in which the model is a document of its own.
    `configured`: what a configuration adds, None for nothing; `shape`: text that differs when the same row would give
    another document, so that the model is read again; empty where nothing was added since it was first captured.
    `entity_of` and `bodies`, where both are given, are the same as `map`, in parts: the entity of a row, and its body
    by entity, each in one dict display, so that `quick` can compile them.
    """

    model: str
    entities: tuple[str, ...]
    fields: Fields
    map: Mapper
    domain: Domain = ()
    children: tuple[Child, ...] = ()
    joined: tuple[Joined, ...] = ()
    context: MappingOf[str, Any] = field(default_factory=dict)
    stamped: bool = True
    poll_whole: bool = False
    poll_every: int = 1
    stamps: tuple[str, ...] = ("write_date",)
    since: int = FIRST_VERSION
    until: int | None = None
    configured: Configured | None = field(default=None, compare=False)
    shape: str = ""
    entity_of: Callable[[Row], str | None] | None = None
    bodies: MappingOf[str, Body] = field(default_factory=dict)

    def serves(self, version: int) -> bool:
        """Whether the model is captured in this version."""
        return self.since <= max(version, FIRST_VERSION) and (self.until is None or version <= self.until)

    @cached_property
    def child_models(self) -> frozenset[str]:
        """Models of the children."""
        return frozenset(child.model for child in self.children)


@flat
def stamps(row: Row) -> dict[str, Any]:
    """created_by, created_at and written_by of a row."""
    return {
        "created_by": ref(row, "create_uid"),
        "created_at": moment(row, "create_date"),
        "written_by": ref(row, "write_uid"),
    }
