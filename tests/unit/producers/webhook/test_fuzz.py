"""Malformed requests of every kind: the right status each, never a 500, and nothing of them in the topics."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finwatch.local.broker import MockBroker
from tests.parts.webhook import Ingress, decision, records

BILLS = "finance.bill.v1"
quick = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
token = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"), min_size=1, max_size=20)
header_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=90)


@quick
@given(body=st.binary(max_size=300))
def test_signed_rubbish_is_malformed(webhook: Ingress, body: bytes) -> None:
    answer = webhook.signed(body)
    try:
        is_object = isinstance(json.loads(body.decode()), dict)
    except ValueError:
        is_object = False
    assert answer.status == (204 if is_object else 400)  # an object without the wanted type is not wanted


@quick
@given(path=st.sampled_from(["document", "outcome", "by", "at"]), value=json_values)
def test_a_wrong_value_is_refused_and_a_right_one_taken(webhook: Ingress, path: str, value: Any) -> None:
    payload = {**decision(), path: value}
    text = json.dumps(payload)  # with NaN and infinities as Python writes them, which JSON does not have
    answer = webhook.signed(text.encode())
    # An empty text leaves open who did it.
    right = path == "by" and isinstance(value, str) and not re.search(r"[\x00-\x1f\x7f]", value)
    if len(text) > 2000:
        assert answer.status == 413
    elif right and not re.search("[\ud800-\udfff]", str(value)):
        assert answer.status == 202
    else:
        assert answer.status == 400, answer


@quick
@given(
    changed=st.dictionaries(
        st.sampled_from(["X-Finwatch-Timestamp", "X-Finwatch-Nonce", "X-Finwatch-Signature", "X-Finwatch-Key"]),
        header_text,
        min_size=1,
    )
)
def test_wrong_credentials_are_refused(webhook: Ingress, changed: dict[str, str]) -> None:
    body = json.dumps(decision()).encode()
    assert webhook.request("/hooks/approvals", body, webhook.headers(body) | changed).status == 401


@quick
@given(body=st.binary(max_size=2000), position=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_one_changed_byte_breaks_the_signature(webhook: Ingress, body: bytes, position: int, flip: int) -> None:
    good = json.dumps(decision()).encode()
    changed = bytearray(good)
    changed[position % len(good)] ^= flip
    assert webhook.request("/hooks/approvals", bytes(changed), webhook.headers(good)).status == 401
    if body != good:
        assert webhook.request("/hooks/approvals", body, webhook.headers(good)).status == 401


@quick
@given(kind=header_text, method=st.sampled_from(["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "POST"]))
def test_types_and_methods(webhook: Ingress, kind: str, method: str) -> None:
    body = json.dumps(decision()).encode()
    answer = webhook.request("/hooks/approvals", body, webhook.headers(body) | {"Content-Type": kind}, method=method)
    expected = {405} if method != "POST" else {415} if "json" not in kind.lower() else {202, 415}
    assert answer.status in expected


@quick
@given(path=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#?"), max_size=60))
def test_unknown_paths(webhook: Ingress, path: str) -> None:
    assert webhook.request("/hooks/none-" + path, b"{}", {}).status == 404


@quick
@given(data=st.binary(min_size=1, max_size=400))
def test_what_is_no_http(webhook: Ingress, data: bytes) -> None:
    answer = webhook.raw(b"\x01" + data + b"\r\n\r\n")
    assert re.match(rb"HTTP/1.[01] 400 ", answer)


@quick
@given(
    headers=st.lists(st.tuples(token, header_text), max_size=6),
    version=st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b"XTTP/1.1", b""]),
    length=st.sampled_from([b"", b"Content-Length: 2\r\n", b"Content-Length: -1\r\n", b"Content-Length: x\r\n",
                            b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", b"Transfer-Encoding: odd\r\n"]),
)  # fmt: skip
def test_heads_of_all_sorts(webhook: Ingress, headers: list[tuple[str, str]], version: bytes, length: bytes) -> None:
    head = b"".join(f"{name}: {value}\r\n".encode() for name, value in headers)
    answer = webhook.raw(b"POST /hooks/approvals " + version + b"\r\nConnection: close\r\n" + head + length + b"\r\n{}")
    assert re.match(rb"HTTP/1.[01] (400|401|408|415) ", answer), answer


@quick
@given(chunks=st.binary(max_size=200))
def test_broken_chunks(webhook: Ingress, chunks: bytes) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in webhook.headers(b"{}").items())
    answer = webhook.raw(
        b"POST /hooks/approvals HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n" + head.encode() + b"\r\nzz\r\n" + chunks
    )
    assert re.match(rb"HTTP/1.[01] 400 ", answer), answer


def test_no_request_was_ever_a_fault_of_ours_and_only_accepted_ones_are_in_the_topic(
    webhook: Ingress, webhook_broker: MockBroker
) -> None:
    payload = decision()
    before = len(records(webhook_broker.bootstrap, BILLS))
    accepted = webhook.count("approvals", 202)
    for name in list(payload):
        broken = copy.deepcopy(payload)
        del broken[name]
        assert webhook.send(broken).status == (204 if name == "type" else 400)
    assert webhook.count("approvals", 202) == accepted
    assert len(records(webhook_broker.bootstrap, BILLS)) == before
    assert ',status="500"' not in webhook.exposition() and 'status="500"' not in webhook.exposition()
