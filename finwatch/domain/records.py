"""What the detectors say: the output records, with exactly the fields of their Avro schemas, in the same order.

Time stamps are ``int`` microseconds since the epoch UTC, dates ``int`` days since the epoch, amounts ``Decimal``.
The meaning of each field stands in ``schemas/avro``.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from msgspec import Struct


class Step(Struct, gc=False):
    """One wait for one decision on a document."""

    step_id: str
    version: int
    document_key: str
    source: str
    entity: str
    record_id: str
    company_id: str | None
    step: str
    role: str | None
    person: str | None
    asked_first: str | None
    started_at: int
    decided_at: int | None
    decided_by: str | None
    decision: str | None
    wall_seconds: float | None
    business_seconds: float | None
    calendar: str | None
    amount: Decimal | None
    currency: str | None
    policy_version: str
    evidence: list[str]
    retracted: bool
    updated_at: int
    route: str | None = None
    amount_band: str | None = None
    ages_at: list[int] = []
    review: str | None = None


class Clock(Struct, gc=False):
    """One service level running on one document."""

    clock_id: str
    version: int
    document_key: str
    source: str
    entity: str
    record_id: str
    company_id: str | None
    policy: str
    policy_version: str
    started_at: int
    due_at: int | None
    stopped_at: int | None
    breached_at: int | None
    status: str
    target_seconds: float
    target_kind: str
    calendar: str | None
    paused_seconds: float
    wall_seconds: float | None
    business_seconds: float | None
    level: str | None
    evidence: list[str]
    updated_at: int
    replanned_at: int | None = None


class ExceptionRecord(Struct, gc=False):
    """A rule-based deviation of one document (Avro: ``finwatch.Exception``)."""

    exception_id: str
    version: int
    document_key: str
    source: str
    entity: str
    record_id: str
    company_id: str | None
    type: str
    severity: str
    status: str
    opened_at: int
    resolved_at: int | None
    owner_role: str
    next_action: str
    amount: Decimal | None
    currency: str | None
    policy_version: str
    reasons: list[str]
    evidence: list[str]
    updated_at: int
    due_at: int | None = None
    ages_at: list[int] = []


class Finding(Struct, gc=False):
    """What a detector says about one or more documents."""

    finding_id: str
    version: int
    status: str
    detector: str
    rule: str
    severity: str
    document_keys: list[str]
    source: str
    entity: str
    company_id: str | None
    title: str
    reasons: list[str]
    evidence: list[str]
    amount_at_risk: Decimal | None
    currency: str | None
    score: float | None
    owner: str
    next_action: str
    policy_version: str
    level: str | None
    due_at: int | None
    opened_at: int
    updated_at: int
    company_amount: Decimal | None = None


class Kpi(Struct, gc=False):
    """One partition's part of a measured figure."""

    kpi: str
    labels: str
    topic: str
    partition: int
    position: int
    at: int
    value: float | None = None
    numerator: float | None = None
    denominator: float | None = None


class Rate(Struct, gc=False):
    """One input partition's part of an exception rate of one window; parts are merged by adding."""

    rate_id: str
    version: int
    source: str
    entity: str
    type: str
    window_start: int
    window_end: int
    status: str
    corrections: int
    numerator: int
    denominator: int
    part: str
    policy_version: str
    updated_at: int


class Relation(Struct, gc=False):
    """A fact about a document, keyed by what it relates to."""

    relation: str
    relation_key: str
    version: int
    op: str
    document_key: str
    source: str
    entity: str
    record_id: str
    company_id: str | None
    timeline: str
    occurred_at: int
    observed_at: int
    event_id: str
    reference: str | None
    partner_id: str | None
    document_type: str | None
    state: str | None
    amount: Decimal | None
    currency: str | None
    date: int | None
    attributes: str | None


class PolicyChange(Struct, gc=False):
    """A policy that comes into force."""

    change_id: str
    policy: str
    version: str
    label: str
    content_hash: str
    effective_at: int
    published_at: int
    previous: str | None
    author: str | None
    reason: str | None
    changes: list[str]
    content: str


AVRO_NAMES: Mapping[type[Struct], str] = MappingProxyType(
    {
        Step: "finwatch.Step",
        Clock: "finwatch.Clock",
        ExceptionRecord: "finwatch.Exception",
        Finding: "finwatch.Finding",
        Kpi: "finwatch.Kpi",
        Rate: "finwatch.Rate",
        Relation: "finwatch.Relation",
        PolicyChange: "finwatch.PolicyChange",
    }
)
