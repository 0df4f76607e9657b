"""Identities: of documents, and of everything that is said about them.

An identity is a function of what it names and of nothing else, so replaying the log gives the same ids.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from typing import NamedTuple

_SEPARATOR = "\x1f"


class DocumentKey(NamedTuple):
    """Parts of a document key."""

    source: str
    entity: str
    record_id: str


def document_key(source: str, entity: str, record_id: str) -> str:
    """Build ``source:entity:record_id``. Raises ValueError for an empty part, or a colon in source or entity."""
    if not source or not entity or not record_id:
        raise ValueError("a document key needs a source, an entity and a record id")
    if ":" in source or ":" in entity:
        raise ValueError("source and entity must not contain a colon")
    return f"{source}:{entity}:{record_id}"


def parse_document_key(key: str) -> DocumentKey:
    """Split a document key; the record id may contain colons. Raises ValueError when a part is missing."""
    source, _, rest = key.partition(":")
    entity, _, record_id = rest.partition(":")
    if not source or not entity or not record_id:
        raise ValueError("not a document key: source:entity:record_id wanted")
    return DocumentKey(source, entity, record_id)


def deterministic_id(*parts: object) -> str:
    """32 hex characters of a SHA-256 over the parts, in order."""
    if len(parts) == 1 and isinstance(parts[0], str):
        return _digest(parts[0])  # joined by whoever makes many
    return _digest(_SEPARATOR.join(map(str, parts)))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:32]


def step_id(document: str, name: str) -> str:
    """Identity of a step of a document: ``name`` is its number from 0, behind its review where it has one."""
    return _digest(f"step\x1f{document}\x1f{name}")


def clock_id(document: str, policy: str) -> str:
    """Identity of the clock of a policy on a document."""
    return _digest(f"clock\x1f{document}\x1f{policy}")


def exception_id(document: str, kind: str) -> str:
    """Identity of the exception of a type on a document."""
    return _digest(f"exception\x1f{document}\x1f{kind}")


def deadline_finding_id(detector: str, document: str, rule: str, level: str, due: int) -> str:
    """Identity of a fired deadline. It holds the due time, never the time of firing."""
    return _digest(f"finding\x1f{detector}\x1f{document}\x1f{rule}\x1f{level}\x1f{due}")


def document_finding_id(detector: str, document: str, rule: str) -> str:
    """Identity of a finding about one document."""
    return _digest(f"finding\x1f{detector}\x1f{document}\x1f{rule}")


def group_finding_id(detector: str, documents: Collection[str], place: str) -> str:
    """Identity of a finding about several documents that meet in a place, whichever of them came first.

    Who decides on them in another place knows nothing of the versions of this one: that is another finding.
    """
    return deterministic_id("finding", detector, *sorted(documents), place)
