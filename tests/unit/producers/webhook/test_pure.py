"""The parts that need no server: signatures, rates, the memory of nonces, events and their ids."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.hints import Hint, decode_hint, encode_hint
from producers.webhook import parse_hooks
from producers.webhook.errors import Refused
from producers.webhook.events import Mapped, Mapper, parse_json
from producers.webhook.hooks import SignedHook
from producers.webhook.rate import TokenBucket
from producers.webhook.replay import ReplayMemory
from producers.webhook.signature import read_claim, sign, verify
from tests.parts.webhook import ENVIRONMENT, HOOKS, decision

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
FILE = parse_hooks(HOOKS, "h", ENVIRONMENT)


def hook(name: str) -> SignedHook:
    found = FILE.hooks[name]
    assert isinstance(found, SignedHook)
    return found


def mapped(payload: dict[str, object], signed_at: int = 1_790_000_000, now: datetime = NOW) -> Mapped:
    event = Mapper("approvals", hook("approvals"))(parse_json(json.dumps(payload).encode()), signed_at, now)
    assert event is not None
    return event


def test_the_signature_is_what_the_documentation_says() -> None:
    key, body = b"k" * 32, b'{"a":1}'
    expected = hmac.new(key, b"1790000000.nonce-123." + body, hashlib.sha256).digest()
    assert sign(key, "1790000000", "nonce-123", body) == expected


def test_prefix_base64_and_any_of_the_keys() -> None:
    slow, keys = hook("slow"), FILE.keys["slow"]
    for key in keys.values():
        digest = sign(key, "1790000000", "nonce-123", b"{}")
        headers = {"X-Time": "1790000000", "X-Once": "nonce-123",
                   "X-Signature": "sha256=" + base64.b64encode(digest).decode()}  # fmt: skip
        verify(read_claim(slow, keys, headers, 1_790_000_000), b"{}")
        with pytest.raises(Refused):
            verify(read_claim(slow, keys, headers, 1_790_000_000), b"{ }")
        with pytest.raises(Refused):
            read_claim(slow, keys, {**headers, "X-Signature": base64.b64encode(digest).decode()}, 1_790_000_000)


@pytest.mark.parametrize(("off", "good"), [(300, True), (-300, True), (301, False), (-301, False)])
def test_the_window(off: int, good: bool) -> None:
    headers = {"X-Finwatch-Timestamp": "1790000000", "X-Finwatch-Nonce": "nonce-123", "X-Finwatch-Signature": "00"}
    if good:
        assert read_claim(hook("approvals"), {"k": b"k"}, headers, 1_790_000_000 + off).at == 1_790_000_000
    else:
        with pytest.raises(Refused, match="300 s"):
            read_claim(hook("approvals"), {"k": b"k"}, headers, 1_790_000_000 + off)


@given(
    rate=st.floats(0.5, 1000),
    burst=st.integers(1, 50),
    waits=st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
def test_never_more_than_the_rate_and_the_burst(rate: float, burst: int, waits: list[float]) -> None:
    bucket, now = TokenBucket(rate, burst), 1000.0
    for taken, wait in enumerate(waits, 1):
        now += wait
        try:
            bucket.take(now)
        except Refused as refused:
            assert refused.status == 429 and refused.retry_after is not None
            TokenBucket.take(bucket, now + refused.retry_after)  # the time it names is enough
            now += refused.retry_after
        assert taken <= burst + (now - 1000.0) * rate + 1e-6


def test_a_second_request_of_a_nonce_waits_for_the_first() -> None:
    async def scenario() -> list[str]:
        memory, said = ReplayMemory(300, 10), []

        async def second(name: str) -> None:
            try:
                await memory.begin("n", 1000)
                said.append(f"{name} goes on")
                memory.end("n", 1000, True)
            except Refused as refused:
                said.append(f"{name} {refused.status}")

        await memory.begin("n", 1000)
        waiting = [asyncio.create_task(second("second")), asyncio.create_task(second("third"))]
        await asyncio.sleep(0)
        assert said == []
        memory.end("n", 1000, False)  # the first was not accepted: exactly one of the others may try
        await asyncio.gather(*waiting)
        return said

    assert asyncio.run(scenario()) == ["second goes on", "third 409"]


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 30), st.integers(-300, 300)), max_size=60))
def test_what_was_accepted_is_refused_while_its_time_stamp_counts(steps: list[tuple[int, int, int]]) -> None:
    async def scenario() -> None:
        memory, now, known = ReplayMemory(300, 1000), 10_000, dict[str, int]()
        for forward, number, off in steps:
            now += forward
            nonce, at = f"n{number}", now + off
            try:
                await memory.begin(nonce, now)
            except Refused as refused:
                assert refused.status == 409 and nonce in known
                continue
            assert nonce not in known or known[nonce] + 300 < now
            memory.end(nonce, at, True)
            known[nonce] = at
        assert len(memory) <= 31

    asyncio.run(scenario())


def test_a_full_memory_tells_when_there_is_room() -> None:
    async def scenario() -> None:
        memory = ReplayMemory(300, 1)
        await memory.begin("a", 1000)
        memory.end("a", 1000, True)
        with pytest.raises(Refused) as error:
            await memory.begin("b", 1100)
        assert (error.value.status, error.value.retry_after) == (429, 201)
        await memory.begin("b", 1100 + 201)

    asyncio.run(scenario())


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_the_id_is_of_the_content_not_of_the_sending(signed_at: int, seconds: int) -> None:
    one = mapped(decision(1))
    other = mapped(decision(1), signed_at, NOW + timedelta(seconds=seconds))
    assert one.record.event_id == other.record.event_id
    assert one.record.occurred_at == other.record.occurred_at


@pytest.mark.parametrize(
    "change",
    [{"outcome": "REJECTED"}, {"by": "u8"}, {"at": "2026-11-20T09:30:01+01:00"}, {"document": {"id": 1, "total": 13}}],
)
def test_another_content_is_another_event(change: dict[str, object]) -> None:
    assert mapped(decision(1)).record.event_id != mapped({**decision(1), **change}).record.event_id


def test_the_same_moment_and_amount_written_otherwise_is_the_same_event() -> None:
    assert mapped(decision(1)).record.event_id == mapped(decision(1, at="2026-11-20T08:30:00Z")).record.event_id
    one = mapped(json.loads(b'{"type":"decision","document":{"id":1,"total":12.5},"outcome":"OPENED","by":"a",'
                            b'"at":"2026-11-20T08:30:00Z"}'))  # fmt: skip
    other = mapped(json.loads(b'{"type":"decision","document":{"id":1,"total":"12.50"},"outcome":"OPENED","by":"a",'
                              b'"at":"2026-11-20T08:30:00Z"}'))  # fmt: skip
    assert one.record.event_id == other.record.event_id
    assert (one.record.op, one.record.decision) == ("c", None)


def test_hints_travel() -> None:
    hint = Hint("odoo", "account.move", 7, NOW)
    assert decode_hint(encode_hint(hint)) == hint
    assert hint.key() == "odoo:account.move:7"
    for rubbish in (b"", b"{}", b"\xff", b'{"source":1,"model":"a","id":1,"at":"x"}'):
        with pytest.raises(ValueError, match="not a hint"):
            decode_hint(rubbish)
