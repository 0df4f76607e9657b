"""Duplicates: sends each bill to the block of its reference, and compares the bills that meet there.

In the documents stage: one fact a version of a bill, ``put`` under its block or ``withdraw`` from the one it left.
In the relations stage: the blocks, and a finding a pair.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from finwatch.domain.documents import Content
from finwatch.domain.duplicates import blocks
from finwatch.domain.duplicates.blocks import Block, Candidate
from finwatch.domain.duplicates.references import reference, usable
from finwatch.domain.events import RelationFact
from finwatch.domain.policy import DuplicatesSection, Policy, PolicySet
from finwatch.domain.records import Kpi, Relation
from finwatch.runtime.topics import FINDING, RELATION
from streams.agents import tally
from streams.agents.detector import Change
from streams.stage import View

RELATION_NAME = "duplicate_reference"
_LIVE = frozenset({"draft", "posted"})


class Sent(Struct, array_like=True):
    """What the relations stage was told of a bill: the block, and the facts that were sent there."""

    version: int = 0
    relation_key: str = ""
    facts: tuple[str | None, ...] = ()


class Attributes(Struct):
    """The further facts of a ``duplicate_reference`` relation."""

    created_at: int
    reversed_key: str | None = None


class DuplicateFacts:
    """Keys each bill by company, vendor and normalised reference."""

    entities = frozenset({"bill"})
    watches_history = False

    def changed(self, change: Change) -> None:
        """Send what changed of a bill to its block. Nothing is sent twice."""
        content, subject = change.content, change.subject
        key = f"r:{subject.document_key}"
        sent = change.view.get(key, Sent)
        block = block_key(change)
        facts = (
            content.reference,
            content.document_type,
            None if content.amount is None else str(content.amount),
            content.currency,
            None if content.date is None else str(content.date),
            content.reversed_key,
        )
        if sent is None:
            if not block:
                return
            sent = Sent()
        elif sent.relation_key == block and (sent.facts == facts or not block):
            return
        if sent.relation_key and sent.relation_key != block:
            sent.version += 1
            change.view.emit(
                RELATION, sent.relation_key, _relation(change, sent.relation_key, sent.version, "withdraw")
            )
        if block:
            sent.version += 1
            change.view.emit(RELATION, block, _relation(change, block, sent.version, "put"))
        sent.relation_key, sent.facts = block, facts
        change.view.put(key, sent)


class DuplicatePairs:
    """Compares the bills of a block."""

    relation = RELATION_NAME

    def apply(self, view: View, fact: RelationFact, policy: Policy) -> bool:
        """Take one fact, once a version; emit the findings of the pairs that changed."""
        settings = policy.document.duplicates
        key = f"b:{fact.source}:{fact.relation_key}"
        block = view.get(key, Block)
        if block is None:
            block = Block()
        attributes = (
            Attributes(fact.occurred_at)
            if fact.attributes is None
            else msgspec.json.decode(fact.attributes, type=Attributes)
        )
        dropped = block.dropped
        pairs = blocks.put(
            block,
            fact.document_key,
            Candidate(
                fact.version,
                fact.op == "put",
                fact.reference or "",
                fact.document_type,
                fact.date,
                fact.amount,
                fact.currency,
                attributes.created_at,
                fact.occurred_at,
                fact.event_id,
                attributes.reversed_key,
            ),
            settings,
        )
        if pairs is None:
            return False
        if pairs or block.dropped != dropped:
            counts = tally.tally_of(view, fact.source)
            for pair in pairs:
                finding = blocks.pair_finding(
                    block, pair, fact.source, fact.entity, fact.company_id, settings, policy.label
                )
                view.emit(FINDING, finding.finding_id, finding)
                is_open = pair.state.status != "retracted"
                label = f"findings_open|{finding.detector}|{finding.rule}|{finding.severity}" if is_open else ""
                if pair.state.counted != label:
                    tally.move(counts, pair.state.counted, label)
                    pair.state.counted = label
            if block.dropped != dropped:
                tally.add(counts, "duplicate_block_dropped", block.dropped - dropped)
            view.put(f"k:{fact.source}", counts)
        view.put(key, block)
        return True

    def kpis(self, view: View, now: Mapping[str, int], policies: PolicySet) -> list[Kpi]:
        """Its counts are kept in the tally, which the stage publishes."""
        return []


def block_key(change: Change) -> str:
    """The block of a bill now; empty when it can be nobody's duplicate (cancelled, reversed, deleted, no reference)."""
    content, settings = change.content, change.policy.document.duplicates
    if not _comparable(content, settings) or change.deleted or change.subject.entity not in settings.entities:
        return ""
    assert content.reference is not None
    subject = change.subject
    block = reference(content.reference).block
    return f"{RELATION_NAME}:{subject.source}:{subject.company_id or ''}|{content.partner_id}|{block}"


def _comparable(content: Content, settings: DuplicatesSection) -> bool:
    return (
        content.partner_id is not None
        and content.state in _LIVE
        and content.payment_state != "reversed"
        and content.document_type in settings.document_types
        and usable(content.reference, settings.min_reference_length, settings.ignore_references)
    )


def _relation(change: Change, key: str, version: int, op: str) -> Relation:
    content = change.content
    created_at = change.occurred_at if content.created_at is None else content.created_at
    return Relation(
        RELATION_NAME,
        key,
        version,
        op,
        *change.subject,
        change.timeline,
        change.occurred_at,
        change.observed_at,
        change.event_id,
        content.reference,
        content.partner_id,
        content.document_type,
        content.state,
        content.amount,
        content.currency,
        content.date,
        msgspec.json.encode(Attributes(created_at, content.reversed_key)).decode(),
    )
