"""The store's side of a reconciliation: current states of documents, how far the store has seen, known findings.

Owns: the queries. Does not own: comparing (finwatch.domain.reconciliation).
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from clickhouse_connect.driver.client import Client

from finwatch.domain.reconciled_log import Stored
from finwatch.domain.reconciliation import (
    CUSTOM_FIELDS,
    DETECTOR,
    NOT_COMPARED,
    Item,
    Reference,
    canonical,
    comparable,
    custom_content,
    reference,
)
from finwatch.domain.records import Finding
from finwatch.runtime.clock import from_micros
from finwatch.runtime.topics import CUSTOM, entity_record, entity_topic
from schemas.registry import newest
from schemas.tree import Node, tree

# The number in a record's id: that of a custom record stands behind its model (`x_loan/3`). Other ids, as those of what
# other systems push, are no numbers, and none of the capture's.
_STATES = """
    WITH toUInt64OrZero(substring(record_id, length({prefix:String}) + 1)) AS number
    SELECT entity, number, company_id, payload, event_id,
           toUnixTimestamp64Micro(ifNull(source_write_date, occurred_at))
    FROM documents
    WHERE source = {source:String} AND entity IN {entities:Array(String)} AND NOT deleted AND NOT transitions_only
      AND startsWith(record_id, {prefix:String}) AND number > 0
"""
_RANGE = " AND number > {after:UInt64} AND number <= {last:UInt64}"
_REST = " AND number > {after:UInt64}"
_KEYS = " AND document_key IN {keys:Array(String)}"
_DELETED = """
    SELECT document_key FROM documents
    WHERE source = {source:String} AND entity IN {entities:Array(String)} AND document_key IN {keys:Array(String)}
      AND deleted
"""
_DOCUMENTS = """
    SELECT toUInt64OrZero(substring(record_id, length({prefix:String}) + 1)), entity, ifNull(company_id, ''), event_id
    FROM documents
    WHERE entity IN {entities:Array(String)} AND document_key IN {keys:Array(String)}
      AND NOT deleted AND NOT transitions_only
"""
_OF_COMPANY = " AND ifNull(company_id, '') = {company:String}"
_TOLD = """
    SELECT DISTINCT toUInt64OrZero(substring(record_id, length({prefix:String}) + 1)), transaction_hint, field
    FROM events
    WHERE entity IN {entities:Array(String)} AND document_key IN {keys:Array(String)}
      AND startsWith(ifNull(transaction_hint, ''), 'message:') AND field IS NOT NULL
"""
_SEEN = """
    SELECT uniqExact(topic, partition), toUnixTimestamp64Micro(min(at))
    FROM heartbeats FINAL
    WHERE source = {source:String} AND topic IN {topics:Array(String)}
"""
_FINDINGS = """
    SELECT finding_id, version, status, detector, rule, severity, document_keys, source, entity, company_id, title,
           reasons, evidence, amount_at_risk, currency, score, owner, next_action, policy_version, level,
           company_amount,
           toUnixTimestamp64Micro(findings.opened_at) AS opened_at,
           toUnixTimestamp64Micro(findings.updated_at) AS updated_at
    FROM findings WHERE detector = {detector:String} AND source = {source:String}
"""


class StoreSide:
    """Reads one source's documents from the store, a model at a time. One object for one thread, as its client is.

    `whole` False leaves lists of records (lines) out of the contents.
    """

    def __init__(self, client: Client, source: str, *, whole: bool) -> None:
        self._client = client
        self._source = source
        self._whole = whole

    def items(self, model: str, entities: Iterable[str], after: int, last: int | None) -> dict[Reference, Item]:
        """Documents of a model with ids above `after` and up to `last` (None: to the end)."""
        limits = {"after": after} if last is None else {"after": after, "last": last}
        return self._read(model, entities, _REST if last is None else _RANGE, limits)

    def by_reference(self, model: str, references: Iterable[Reference]) -> dict[Reference, Item]:
        """Given documents of a model; those that the store does not have are not in it."""
        wanted = list(references)
        return self._read(model, {one.entity for one in wanted}, _KEYS, {"keys": self._keys(wanted)})

    def deleted(self, references: Iterable[Reference]) -> set[Reference]:
        """Which of these documents the store holds for deleted."""
        wanted = list(references)
        parameters = {
            "source": self._source,
            "entities": sorted({one.entity for one in wanted}),
            "keys": self._keys(wanted),
        }
        told = {str(row[0]) for row in self._client.query(_DELETED, parameters=parameters).result_rows}
        return {one for one, key in zip(wanted, self._keys(wanted), strict=True) if key in told}

    def logged(
        self, model: str, entities: Iterable[str], record_ids: Iterable[int], company: str | None = None
    ) -> tuple[dict[int, Stored], set[tuple[int, str, str]]]:
        """Of these records of a model: (the documents that the store has, names of their changes that it has).

        Names are those of `finwatch.domain.reconciled_log.Logged`. `company`: only documents of it.
        """
        wanted, of = list(record_ids), sorted(entities)
        parameters: dict[str, Any] = {
            "entities": of,
            "keys": self._keys(reference(model, one, number) for one in of for number in wanted),
            "prefix": _prefix(model, of),
        }
        if company is not None:
            parameters["company"] = company
        which = _DOCUMENTS + (_OF_COMPANY if company is not None else "")
        documents = self._client.query(which, parameters=parameters).result_rows
        told = self._client.query(_TOLD, parameters=parameters).result_rows
        return (
            {int(number): Stored(entity, company_of, event) for number, entity, company_of, event in documents},
            {(int(number), hint, field) for number, hint, field in told},
        )

    def seen_until(self, entities: Iterable[str]) -> datetime | None:
        """Moment of the source up to which everything was captured and stored (but late commits); None: never told."""
        topics = [entity_topic(entity) for entity in entities]
        parameters = {"source": self._source, "topics": topics}
        partitions, at = self._client.query(_SEEN, parameters=parameters).result_rows[0]
        return from_micros(int(at)) if partitions else None

    def findings(self) -> dict[str, Finding]:
        """Latest version of each finding of the reconciliation, by id."""
        parameters = {"detector": DETECTOR, "source": self._source}
        found = {}
        for row in self._client.query(_FINDINGS, parameters=parameters).named_results():
            finding = Finding(**row, due_at=None)
            found[finding.finding_id] = finding
        return found

    def _keys(self, references: Iterable[Reference]) -> list[str]:
        return [f"{self._source}:{one.entity}:{one.name}" for one in references]

    def _read(
        self, model: str, entities: Iterable[str], which: str, parameters: Mapping[str, Any]
    ) -> dict[Reference, Item]:
        found: dict[Reference, Item] = {}
        of = sorted(entities)
        given = {"source": self._source, "entities": of, "prefix": _prefix(model, of), **parameters}
        for entity, record_id, company, payload, event_id, written in self._client.query(
            _STATES + which, parameters=given
        ).result_rows:
            named = reference(model, entity, int(record_id))
            content = self._content(entity, payload)
            found[named] = Item(named, company or "", content, from_micros(int(written)), event_id)
        return found

    def _content(self, entity: str, payload: str) -> dict[str, Any]:
        columns = _columns(entity)
        content: dict[str, Any] = {}
        for name, value in json.loads(payload).items():
            node = columns.get(name)
            if name == CUSTOM_FIELDS:
                content |= custom_content(value, whole=self._whole)
                continue
            if name in NOT_COMPARED or (not self._whole and node is not None and _records(node)):
                continue
            content[name] = _canonical(value, node)
        return content


def _prefix(model: str, entities: Iterable[str]) -> str:
    """What the ids of a model's records begin with in the store."""
    return f"{model}/" if CUSTOM in entities else ""


@cache
def _columns(entity: str) -> Mapping[str, Node]:
    return {column.name: column.type for column in tree(newest(entity_record(entity))).columns}


def _records(node: Node) -> bool:
    return node.kind == "array" and node.item is not None and node.item.kind == "record"


def _canonical(value: Any, node: Node | None) -> Any:
    """A value of the payload as the other side writes it: the store's text of a time may have another precision."""
    if value is None or node is None:
        return value
    if node.kind == "timestamp":
        return canonical(datetime.fromisoformat(value))
    if _records(node):
        assert node.item is not None
        inner = {column.name: column.type for column in node.item.columns}
        return [
            {
                name: comparable(one) if name == CUSTOM_FIELDS else _canonical(one, inner.get(name))
                for name, one in row.items()
                if name not in NOT_COMPARED and one is not None
            }
            for row in value
        ]
    return value
