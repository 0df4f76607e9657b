"""The shipped files of hooks: each takes the payload that its comment shows, and makes the event it says."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from finwatch.runtime.clock import to_micros
from finwatch.runtime.topics import HINTS, entity_topic
from producers.webhook.errors import Refused
from producers.webhook.events import Mapper, TransitionRecord, parse_json, read_hint
from producers.webhook.hooks import Hooks, OdooHook, SignedHook, load_hooks
from producers.webhook.signature import read_claim, sign, verify

ROOT = Path(__file__).resolve().parents[4]
EXAMPLES = ROOT / "producers" / "webhook" / "examples"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SIGNED_AT = int(NOW.timestamp()) - 5
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.yaml"))


def load(name: str) -> Hooks:
    path = EXAMPLES / f"{name}.yaml"
    variables = re.findall(r"env: (\w+)", path.read_text(encoding="utf-8"))
    return load_hooks(path, {variable: f"{number}" * 40 for number, variable in enumerate(variables)})


def mapped(name: str, body: str) -> TransitionRecord | None:
    hook = load(name).hooks[name]
    assert isinstance(hook, SignedHook)
    found = Mapper(name, hook)(parse_json(body.encode()), SIGNED_AT, NOW)
    if found is None:
        return None
    assert found.topic == entity_topic(found.record.entity)
    return found.record


def shown(record: TransitionRecord | None) -> dict[str, Any]:
    assert record is not None
    names = ("document_key", "activity", "decision", "actor", "role", "amount", "currency", "field", "new_value")
    return {name: value for name in names if (value := getattr(record, name)) is not None}


APPROVAL = (
    '{"id": "d-1", "document": {"id": 42}, "outcome": "%s", "by": "u7", "role": "CFO", "at": "2026-11-20T09:30:00Z"}'
)
BOOKED = (
    '{"event": "%s", "booked_at": "2026-11-20T09:30:00+01:00", "payment": {"end_to_end_id": "PBNK1-2026-00032", '
    '"amount": {"value": "12500.00", "currency": "EUR"}}}'
)
REVIEW = '{"status": "%s", "document_id": 42, "reviewer": "u9", "reviewed_at": 1795166400000, "confidence": 0.93}'
ENVELOPE = (
    '{"envelope": {"reference": "7", "status": "%s", "at": "2026-11-20T09:30:00Z", '
    '"signers": [{"id": "ceo"}, {"id": "vendor"}]}}'
)
N8N = (
    '{"execution": {"id": "%s", "retryOf": "34", "error": {"message": "SECRET", "stack": "SECRET"}, '
    '"lastNodeExecuted": "Post bill", "mode": "trigger"%s}, "workflow": {"id": "1", "name": "Bills to Odoo"}}'
)


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("approvals", APPROVAL % "APPROVED", {"document_key": "odoo:bill:42", "activity": "approved",
         "decision": "approved", "actor": "u7", "role": "budget_owner"}),
        ("approvals", APPROVAL % "DECLINED", {"document_key": "odoo:bill:42", "activity": "rejected",
         "decision": "rejected", "actor": "u7", "role": "budget_owner"}),
        ("bank", BOOKED % "payment.booked", {"document_key": "bank:payment:PBNK1-2026-00032", "activity": "paid",
         "amount": Decimal(12500), "currency": "EUR"}),
        ("bank", BOOKED % "payment.returned", {"document_key": "bank:payment:PBNK1-2026-00032",
         "activity": "rejected", "decision": "rejected", "amount": Decimal(12500), "currency": "EUR"}),
        ("ocr", REVIEW % "reviewed", {"document_key": "odoo:bill:42", "activity": "saved", "actor": "u9"}),
        ("signatures", ENVELOPE % "completed", {"document_key": "odoo:purchase_order:7",
         "activity": "final_approved", "decision": "approved", "actor": "ceo"}),
        ("signatures", ENVELOPE % "voided", {"document_key": "odoo:purchase_order:7", "activity": "withdrawn",
         "actor": "ceo"}),
        ("n8n", N8N % ("231", ""), {"document_key": "n8n:automation_rule:1", "activity": "changed", "field": "run",
         "new_value": "failed"}),
        ("n8n", N8N % ("232", ', "status": "success"'), {"document_key": "n8n:automation_rule:1",
         "activity": "changed", "field": "run", "new_value": "succeeded"}),
    ],
)  # fmt: skip
def test_each_makes_the_event_it_says(name: str, body: str, expected: dict[str, Any]) -> None:
    assert shown(mapped(name, body)) == expected


@pytest.mark.parametrize(
    ("name", "body"), [("bank", BOOKED % "payment.created"), ("ocr", REVIEW % "read")], ids=["bank", "ocr"]
)
def test_what_is_not_wanted_leaves_no_trace(name: str, body: str) -> None:
    assert mapped(name, body) is None


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("approvals", APPROVAL % "MAYBE"),
        ("approvals", (APPROVAL % "APPROVED").replace('{"id": 42}', '{"id": "42"}')),
        ("bank", (BOOKED % "payment.booked").replace("+01:00", "")),
        ("bank", (BOOKED % "payment.booked").replace('"PBNK1-2026-00032"', "null")),
        ("ocr", (REVIEW % "reviewed").replace("1795166400000", '"soon"')),
        ("signatures", (ENVELOPE % "completed").replace('[{"id": "ceo"}, {"id": "vendor"}]', '"ceo"')),
        ("n8n", '{"trigger": {"error": {}}, "workflow": {"id": "1"}}'),
    ],
)
def test_what_is_not_as_the_platform_sends_it_is_malformed(name: str, body: str) -> None:
    with pytest.raises(Refused) as refused:
        mapped(name, body)
    assert refused.value.status == 400


def test_a_run_that_failed_is_told_once_and_its_error_text_is_not_taken_in() -> None:
    first, again, other = (
        mapped("n8n", N8N % ("231", "")),
        mapped("n8n", N8N % ("231", "")),
        mapped("n8n", N8N % ("9", "")),
    )
    assert first is not None and again is not None and other is not None
    assert first.event_id == again.event_id != other.event_id
    assert first.occurred_at == SIGNED_AT * 1_000_000  # n8n says no time of its own
    assert "SECRET" not in repr(first)


def test_ocr_signs_in_its_own_headers() -> None:
    hooks = load("ocr")
    hook = hooks.hooks["ocr"]
    assert isinstance(hook, SignedHook)
    body, nonce, key = (REVIEW % "reviewed").encode(), "0123456789abcdef", hooks.keys["ocr"]["main"]
    headers = {
        "X-Ocr-Timestamp": str(SIGNED_AT),
        "X-Ocr-Request": nonce,
        "X-Ocr-Signature": "sha256=" + base64.b64encode(sign(key, str(SIGNED_AT), nonce, body)).decode(),
    }
    verify(read_claim(hook, hooks.keys["ocr"], headers, SIGNED_AT + 5), body)
    with pytest.raises(Refused):
        verify(read_claim(hook, hooks.keys["ocr"], headers, SIGNED_AT + 5), body + b" ")


def test_odoos_webhook_is_a_hint_and_nothing_else() -> None:
    hook = load("odoo").hooks["odoo"]
    assert isinstance(hook, OdooHook)
    sent = {"_action": "Send Webhook Notification(#634)", "_id": 197, "_model": "account.move", "state": "posted"}
    hint = read_hint("odoo", hook, sent, NOW)
    assert hint is not None and hint.key() == "odoo:account.move:197" and to_micros(hint.at) == to_micros(NOW)
    assert read_hint("odoo", hook, sent | {"_model": "crm.lead"}, NOW) is None
    assert HINTS not in {entity_topic("bill"), entity_topic("purchase_order")}


def test_the_page_shows_every_example_word_for_word() -> None:
    page = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
    blocks = [block.strip() for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    for name in NAMES:
        text = (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8")
        without = "\n".join(line for line in text.splitlines() if not line.startswith("#")).strip()
        assert without in blocks, name
