"""Records of the product's schemas for tests, with sensible values, encoded as producers encode them."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import fastavro

from schemas.catalogue import current
from schemas.registry import embedded_id

START = datetime(2026, 3, 2, 8, tzinfo=UTC)


@cache
def _parsed(name: str) -> tuple[Any, bytes]:
    schema = current()[name]
    return fastavro.parse_schema(json.loads(schema.text)), b"\x00" + embedded_id(schema).to_bytes(4, "big")


def encode(name: str, record: dict[str, Any]) -> bytes:
    """Confluent-framed value under the embedded registry's id; fields with a default may be left out."""
    parsed, head = _parsed(name)
    body = io.BytesIO()
    fastavro.schemaless_writer(body, parsed, record)
    return head + body.getvalue()


def header(n: int, entity: str, record_id: object, **changes: Any) -> dict[str, Any]:
    """Header of event `n`, `n` seconds after START; the event id follows from entity, record and `n`."""
    key = f"odoo:{entity}:{record_id}"
    at = START + timedelta(seconds=n)
    return {
        "event_id": hashlib.sha256(f"{key}/{n}".encode()).hexdigest()[:32],
        "document_key": key,
        "source": "odoo",
        "entity": entity,
        "record_id": str(record_id),
        "company_id": "1",
        "op": "u",
        "mode": "window",
        "timeline": "wall",
        "occurred_at": at,
        "observed_at": at + timedelta(seconds=2),
        "correlation_id": key,
        "source_write_date": at,
        "snapshot": False,
        "changes": [{"field": "state", "old": '"draft"', "new": '"posted"'}],
        **changes,
    }


def bill(n: int, record_id: object, **changes: Any) -> bytes:
    """A bill of `n` + 100.10 EUR in two lines."""
    return encode(
        "finwatch.Bill",
        {
            **header(n, "bill", record_id),
            "name": f"BILL/{record_id}",
            "move_type": "in_invoice",
            "state": "posted",
            "reference": f"R-{record_id}",
            "commercial_partner_id": "12",
            "partner_name": "Azure é",
            "invoice_date": date(2026, 3, 1),
            "currency": "EUR",
            "amount_total": Decimal("100.10") + n,
            "created_by": "7",
            "created_at": START,
            "lines": [
                {"line_id": "1", "quantity": Decimal(2), "price_unit": Decimal("50.05")},
                {"line_id": "2", "quantity": Decimal(1)},
            ],
            **changes,
        },
    )


def transition(n: int, record_id: object, entity: str = "expense_report", **changes: Any) -> bytes:
    """An approval by the administration."""
    return encode(
        "finwatch.Transition",
        {
            **header(n, entity, record_id),
            "activity": "approved",
            "label": "Declaration APPROVED by ADMINISTRATION",
            "step": "administration",
            "role": "administration",
            "decision": "approved",
            "amount": Decimal("10.50"),
            "currency": "EUR",
            **changes,
        },
    )


def heartbeat(n: int, **changes: Any) -> bytes:
    """Time of the source, `n` seconds after START."""
    at = START + timedelta(seconds=n)
    return encode("finwatch.Heartbeat", {"source": "odoo", "at": at, "timeline": "wall", "final": False, **changes})


def step(step_id: str, version: int, record_id: object = 1, **changes: Any) -> bytes:
    """A step that waits for the manager."""
    return encode(
        "finwatch.Step",
        {
            "step_id": step_id,
            "version": version,
            "document_key": f"odoo:bill:{record_id}",
            "source": "odoo",
            "entity": "bill",
            "record_id": str(record_id),
            "step": "approval",
            "role": "manager",
            "started_at": START,
            "policy_version": "1",
            "evidence": ["e1", "e2"],
            "retracted": False,
            "updated_at": START + timedelta(seconds=version),
            **changes,
        },
    )


def finding(finding_id: str, version: int, **changes: Any) -> bytes:
    """A duplicate of two bills."""
    return encode(
        "finwatch.Finding",
        {
            "finding_id": finding_id,
            "version": version,
            "status": "open",
            "detector": "duplicates",
            "rule": "exact",
            "severity": "high",
            "document_keys": ["odoo:bill:2", "odoo:bill:1"],
            "source": "odoo",
            "entity": "bill",
            "title": "Two bills with one reference",
            "reasons": ["same vendor", "same reference"],
            "evidence": ["e1", "e2"],
            "amount_at_risk": Decimal("120.12"),
            "currency": "EUR",
            "owner": "accounts_payable",
            "next_action": "compare them",
            "policy_version": "1",
            "opened_at": START,
            "updated_at": START + timedelta(seconds=version),
            **changes,
        },
    )


def kpi(
    name: str,
    partition: int,
    position: int,
    value: float | None = None,
    labels: str = '{"source":"odoo"}',
    topic: str = "finance.bill.v1",
    at: int = 0,
    **changes: Any,
) -> bytes:
    """A part of a KPI; `at` in seconds after START."""
    return encode(
        "finwatch.Kpi",
        {
            "kpi": name,
            "labels": labels,
            "topic": topic,
            "partition": partition,
            "position": position,
            "at": START + timedelta(seconds=at),
            "value": value,
            **changes,
        },
    )


def dead_letter(offset: int, **changes: Any) -> bytes:
    """A record that the documents stage refused."""
    value = b"garbage"
    return encode(
        "finwatch.DeadLetter",
        {
            "stage": "documents",
            "topic": "finance.bill.v1",
            "partition": 0,
            "offset": offset,
            "key": b"odoo:bill:1",
            "value": value,
            "value_size": len(value),
            "value_sha256": hashlib.sha256(value).hexdigest(),
            "truncated": False,
            "reason": "not_confluent_format",
            "detail": "the first byte is not 0",
            "timestamp": START,
            **changes,
        },
    )
