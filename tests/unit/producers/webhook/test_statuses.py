"""Each status that a sender can get, over real connections."""

from __future__ import annotations

import base64
import json
import logging
import re
import socket
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from finwatch.local.broker import MockBroker
from finwatch.runtime.topics import HINTS
from producers.hints import HintReader, decode_hint
from producers.webhook.signature import sign
from tests.parts.webhook import ENVIRONMENT, NEW, OLD, TOKEN, Ingress, decision, events, ingress, records

BILLS, PAYMENTS = "finance.bill.v1", "finance.payment.v1"


def test_accepted_is_in_the_topic(webhook: Ingress, webhook_broker: MockBroker) -> None:
    payload = decision()
    before = webhook.count("approvals", 202)
    answer = webhook.send(payload)
    assert answer.status == 202
    number = payload["document"]["id"]
    key = f"odoo:bill:{number}"
    [event] = [event for event in events(webhook_broker.bootstrap, BILLS) if event["document_key"] == key]
    assert event["event_id"] == json.loads(answer.body)["event_id"]
    assert (event["$schema"], event["source"], event["entity"], event["record_id"]) == (
        "finwatch.Transition", "odoo", "bill", str(number),
    )  # fmt: skip
    assert (event["activity"], event["decision"], event["label"], event["actor"]) == (
        "approved", "approved", "APPROVED", "u7",
    )  # fmt: skip
    assert (event["mode"], event["timeline"], event["op"]) == ("webhook", "wall", "u")
    assert (event["occurred_at"], event["amount"], event["currency"]) == ("2026-11-20T08:30:00Z", "12.500000", "EUR")
    assert webhook.count("approvals", 202) == before + 1


def test_a_repeat_signed_anew_is_the_same_event(webhook: Ingress, webhook_broker: MockBroker) -> None:
    payload = decision()
    first, second = webhook.send(payload), webhook.send(payload)
    assert first.status == second.status == 202
    assert first.body == second.body
    other = webhook.send({**payload, "outcome": "REJECTED"})
    assert other.body != first.body


def test_unwanted_leaves_no_trace(webhook: Ingress, webhook_broker: MockBroker) -> None:
    payload = decision(type="comment")
    assert webhook.send(payload).status == 204
    key = f"odoo:bill:{payload['document']['id']}"
    assert key not in [key for key, _ in records(webhook_broker.bootstrap, BILLS)]


@pytest.mark.parametrize(
    ("changed", "key", "key_id", "age"),
    [
        ({"X_Finwatch_Signature": "00" * 32}, NEW, "new", 0),
        ({"X_Finwatch_Signature": "zz"}, NEW, "new", 0),
        ({"X_Finwatch_Signature": ""}, NEW, "new", 0),
        ({"X_Finwatch_Signature": "é" * 8}, NEW, "new", 0),
        ({"X_Finwatch_Timestamp": "soon"}, NEW, "new", 0),
        ({"X_Finwatch_Timestamp": "-5"}, NEW, "new", 0),
        ({"X_Finwatch_Timestamp": "٣٤"}, NEW, "new", 0),
        ({"X_Finwatch_Nonce": "short"}, NEW, "new", 0),
        ({"X_Finwatch_Nonce": "n" * 65}, NEW, "new", 0),
        ({"X_Finwatch_Nonce": "other-nonce"}, NEW, "new", 0),  # another than the signed one
        ({}, NEW, "third", 0),  # unknown key
        ({}, NEW, "old", 0),  # another key's id
        ({}, "x" * 32, "new", 0),
        ({}, NEW, "new", 302),  # too old
        ({}, NEW, "new", -302),  # too far ahead
    ],
)
def test_not_authenticated(webhook: Ingress, changed: dict[str, str], key: str, key_id: str, age: float) -> None:
    body = json.dumps(decision()).encode()
    headers = webhook.headers(body, key=key, key_id=key_id, age=age)
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    sent = {name: value.encode() for name, value in headers.items()}
    assert webhook.request("/hooks/approvals", body, sent).status == 401  # type: ignore[arg-type]


def test_a_changed_body_is_not_authenticated(webhook: Ingress) -> None:
    headers = webhook.headers(json.dumps(decision(1)).encode())
    assert webhook.request("/hooks/approvals", json.dumps(decision(2)).encode(), headers).status == 401
    assert webhook.request("/hooks/approvals", b"{}", {}).status == 401


def test_skew_within_the_window_is_fine(webhook: Ingress) -> None:
    assert webhook.send(decision(), age=290).status == 202
    assert webhook.send(decision(), age=-290).status == 202


def test_both_keys_count_while_keys_are_rotated(webhook: Ingress) -> None:
    assert webhook.send(decision(), key=OLD, key_id="old").status == 202
    assert webhook.send(decision(), key=NEW, key_id="new").status == 202
    assert webhook.send(decision(), key=OLD, key_id=None).status == 202
    assert webhook.send(decision(), key=NEW, key_id=None).status == 202


def test_a_replay_is_refused_until_its_time_is_over_anyway(webhook: Ingress) -> None:
    body = json.dumps(decision()).encode()
    headers = webhook.headers(body)
    assert webhook.request("/hooks/approvals", body, headers).status == 202
    assert webhook.request("/hooks/approvals", body, headers).status == 409
    other = json.dumps(decision()).encode()
    nonce = headers["X-Finwatch-Nonce"]
    assert webhook.signed(other, nonce=nonce).status == 409
    webhook.clock.shift = timedelta(seconds=299)
    try:
        assert webhook.request("/hooks/approvals", body, headers).status == 409
        webhook.clock.shift = timedelta(seconds=302)
        assert webhook.request("/hooks/approvals", body, headers).status == 401
    finally:
        webhook.clock.shift = timedelta(0)


def test_a_refused_request_may_come_again_with_its_nonce(webhook: Ingress) -> None:
    nonce = uuid.uuid4().hex
    assert webhook.signed(b"{}", nonce=nonce).status == 204
    assert webhook.signed(b"[", nonce=nonce).status == 400
    assert webhook.send(decision(), nonce=nonce).status == 202
    assert webhook.send(decision(), nonce=nonce).status == 409


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"a": NaN}',
        b'{"a": 1e99999999999999999999}',
        b"[" * 1900, b'{"type": "decision", "a":' + b"[" * 1900, b'{"a": ' + b"9" * 1900 + b"}x",
    ],
)  # fmt: skip
def test_not_json(webhook: Ingress, body: bytes) -> None:
    assert webhook.signed(body).status == 400


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"document": {"total": 1}}, "document.id"),
        ({"document": {"id": "7"}}, "document.id"),
        ({"document": {"id": True}}, "document.id"),
        ({"document": [7]}, "document.id"),
        ({"by": None}, "by"),
        ({"by": "a\x00b"}, "by"),
        ({"by": "a\ud800b"}, "by"),
        ({"by": "x" * 513}, "by"),
        ({"outcome": "MAYBE"}, "outcome"),
        ({"outcome": None}, "outcome"),
        ({"outcome": 1.5}, "outcome"),
        ({"at": "2026-11-20T09:30:00"}, "at"),
        ({"at": "yesterday"}, "at"),
        ({"at": 5}, "at"),
        ({"at": None}, "at"),
        ({"at": "0001-01-01T00:00:00+14:00"}, "at"),
        ({"at": "9999-12-31T23:59:59-14:00"}, "at"),
        ({"document": {"id": 7, "total": "1e400000000"}}, "document.total"),
        ({"document": {"id": 7, "total": "1e22"}}, "document.total"),
        ({"document": {"id": 7, "total": 0.0000001}}, "document.total"),
        ({"document": {"id": 7, "total": "NaN"}}, "document.total"),
        ({"document": {"id": 7, "total": {}}}, "document.total"),
        ({"document": {"id": 7, "total": True}}, "document.total"),
    ],
)
def test_not_as_the_schema_says(webhook: Ingress, change: dict[str, Any], place: str) -> None:
    answer = webhook.send(decision(**change))
    assert answer.status == 400
    assert place in answer.reason


def test_too_large(webhook: Ingress) -> None:
    body = json.dumps(decision(comment="x" * 2000)).encode()
    assert webhook.signed(body).status == 413
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:900], body[900:1800], body[1800:], b""))
    head = "".join(f"{name}: {value}\r\n" for name, value in webhook.headers(body).items())
    answer = webhook.raw(
        b"POST /hooks/approvals HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n" + head.encode() + b"\r\n" + chunked
    )
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_is_fine(webhook: Ingress) -> None:
    body = json.dumps(decision()).encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in webhook.headers(body).items())
    answer = webhook.raw(
        b"POST /hooks/approvals HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n" + head.encode() + b"\r\n" + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    )
    assert answer.startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": ""},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Encoding": "gzip"},
    ],
)
def test_wrong_type(webhook: Ingress, headers: dict[str, str]) -> None:
    body = json.dumps(decision()).encode()
    assert webhook.request("/hooks/approvals", body, webhook.headers(body) | headers).status == 415


def test_types_that_are_json(webhook: Ingress) -> None:
    for kind in ("application/json; charset=utf-8", 'application/json;charset="UTF-8"', "application/cloudevents+json"):
        body = json.dumps(decision()).encode()
        headers = webhook.headers(body) | {"Content-Type": kind}
        assert webhook.request("/hooks/approvals", body, headers).status == 202


def test_unknown_path_and_method(webhook: Ingress) -> None:
    for path in ("/", "/hooks/", "/hooks/nobody", "/hooks/approvals/more", "/hooks/%61pprovals", "/metrics", "//"):
        assert webhook.request(path, b"{}", {}).status == 404
    answer = webhook.request("/hooks/approvals", b"", {}, method="GET")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


def test_too_fast_and_only_the_senders_own_requests_count(webhook: Ingress, webhook_broker: MockBroker) -> None:
    def send(signature: bytes | None = None) -> tuple[int, str]:
        body = json.dumps({"kind": "pay", "id": "p1", "event": uuid.uuid4().hex}).encode()
        at, nonce = str(int(time.time())), uuid.uuid4().hex
        given = sign(NEW.encode(), at, nonce, body) if signature is None else signature
        headers = {"X-Time": at, "X-Once": nonce, "X-Signature": "sha256=" + base64.b64encode(given).decode()}
        answer = webhook.request("/hooks/slow", body, headers)
        return answer.status, answer.headers.get("Retry-After", "")

    assert {send(b"forged" * 5)[0] for _ in range(20)} == {401}
    assert [send()[0] for _ in range(2)] == [202, 202]
    assert send() == (429, "1")
    [first, second] = [event for event in events(webhook_broker.bootstrap, PAYMENTS) if event["record_id"] == "p1"]
    assert first["event_id"] != second["event_id"]
    assert (first["source"], first["activity"]) == ("slow", "paid")


def test_a_full_memory_of_nonces_refuses_rather_than_forgets(webhook: Ingress) -> None:
    def send(age: float = 0) -> int:
        return webhook.send(
            {"id": 1, "event": uuid.uuid4().hex}, key=OLD, key_id="old", path="/hooks/small", age=age
        ).status

    assert [send(), send(), send()] == [202, 202, 429]
    webhook.clock.shift = timedelta(seconds=303)
    try:
        assert send() == 202
    finally:
        webhook.clock.shift = timedelta(0)


def test_odoo_hints(webhook: Ingress, webhook_broker: MockBroker) -> None:
    reader = HintReader({"bootstrap.servers": webhook_broker.bootstrap}, "odoo")
    assert reader.read(0.5) == []
    body = {"_action": "Send Webhook Notification(#634)", "_id": 197, "_model": "account.move", "state": "posted"}
    raw = json.dumps(body).encode()
    path = f"/hooks/erp/{TOKEN}"
    before = len(records(webhook_broker.bootstrap, BILLS))
    assert webhook.request(path, raw, {}).status == 202
    assert webhook.request(path, raw, {}).status == 202  # no signature, so no replay: a hint is worth what it is worth
    hints = [
        decode_hint(value) for key, value in records(webhook_broker.bootstrap, HINTS) if key == "odoo:account.move:197"
    ]
    assert [(hint.source, hint.model, hint.id) for hint in hints] == [("odoo", "account.move", 197)] * 2
    assert b"posted" not in b"".join(value for _, value in records(webhook_broker.bootstrap, HINTS))
    deadline = time.monotonic() + 20
    while not (found := reader.read(1)):
        assert time.monotonic() < deadline
    assert [hint.id for hint in found] == [197]
    reader.close()
    assert webhook.request(path, json.dumps({**body, "_model": "res.users"}).encode(), {}).status == 204
    for wrong in ("/hooks/erp", "/hooks/erp/", "/hooks/erp/" + "x" * 40, path + "x", f"{path}/"):
        assert webhook.request(wrong, raw, {}).status == 401
    for change in ({"_id": 0}, {"_id": "7"}, {"_id": True}, {"_id": 2**31}, {"_model": None}, {"_model": "a b"}):
        assert webhook.request(path, json.dumps({**body, **change}).encode(), {}).status == 400
    assert webhook.request("/hooks/erp-header", raw, {"X-Hook-Token": TOKEN}).status == 202
    assert webhook.request("/hooks/erp-header", raw, {}).status == 401
    assert webhook.request(f"/hooks/erp-header/{TOKEN}", raw, {}).status == 404
    assert len(records(webhook_broker.bootstrap, BILLS)) == before, "a hint is never an event"


def test_unavailable_while_the_broker_is_away_and_the_same_request_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with MockBroker() as broker:
        broker.create_topics(2)
        with ingress(broker.bootstrap, tmp_path, ack_seconds=1.0) as webhook:
            assert webhook.send(decision()).status == 202
            broker.set_down()
            body = json.dumps(decision()).encode()
            headers = webhook.headers(body)
            answer = webhook.request("/hooks/approvals", body, headers)
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            assert webhook.metrics.registry.get_sample_value("finwatch_webhook_undelivered_total") == 1
            broker.set_up()
            # Word for word, nonce and all: it was not accepted, so it is no replay.
            statuses: list[int] = []
            deadline = time.monotonic() + 40
            while statuses[-1:] != [202]:
                assert time.monotonic() < deadline, statuses
                statuses.append(webhook.request("/hooks/approvals", body, headers).status)
            assert set(statuses[:-1]) <= {503}
            assert webhook.request("/hooks/approvals", body, headers).status == 409


def test_slow_senders_are_cut_off(webhook: Ingress) -> None:
    with socket.create_connection(("127.0.0.1", webhook.port), timeout=20) as connection:
        connection.sendall(b"POST /hooks/approvals HTTP/1.1\r\nHost: x\r\n")
        assert connection.recv(100) == b"", "a head that never ends is closed"
    body = json.dumps(decision()).encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in webhook.headers(body).items())
    with socket.create_connection(("127.0.0.1", webhook.port), timeout=20) as connection:
        connection.sendall(
            b"POST /hooks/approvals HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 999\r\n"
            + head.encode() + b"\r\n{"
        )  # fmt: skip
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")


def test_large_heads_are_malformed(webhook: Ingress) -> None:
    for head in (b"X-A: " + b"a" * 5000 + b"\r\n", b"X-A: b\r\n" * 100):
        answer = webhook.raw(b"POST /hooks/approvals HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
        assert re.match(rb"HTTP/1.[01] 400 ", answer) and b"aaaa" not in answer
    assert re.match(rb"HTTP/1.[01] 400 ", webhook.raw(b"POST /hooks/" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"))


def test_too_many_connections(webhook_broker: MockBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with ingress(webhook_broker.bootstrap, tmp_path, connections=2) as webhook:
        held = [socket.create_connection(("127.0.0.1", webhook.port), timeout=20) for _ in range(2)]
        with socket.create_connection(("127.0.0.1", webhook.port), timeout=20) as third:
            assert third.recv(10) == b""
        for connection in held:
            connection.close()


def test_nothing_of_a_request_is_logged_or_measured(
    webhook: Ingress, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    webhook.send(decision(by="Mallory-Secret"))
    webhook.send(decision(at="Mallory-Secret"))
    webhook.signed(b'{"Mallory-Secret', X_Extra="Mallory-Secret")
    webhook.request("/hooks/erp/Mallory-Secret", b"{}", {})
    webhook.request("/Mallory-Secret", b"{}", {})
    webhook.raw(b"Mallory-Secret\r\n\r\n")
    webhook.raw(b"POST / HTTP/1.1\r\nMallory-Secret\r\n\r\n")
    out, err = capfd.readouterr()
    assert "Mallory" not in out + err + caplog.text + webhook.exposition()


def test_stopping_answers_what_was_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with MockBroker() as broker:
        broker.create_topics(2)
        payload = decision()
        body = json.dumps(payload).encode()
        with ingress(broker.bootstrap, tmp_path) as webhook:
            assert webhook.send(decision()).status == 202
            broker.set_rtt(400)
            connection = socket.create_connection(("127.0.0.1", webhook.port), timeout=30)
            head = "".join(f"{name}: {value}\r\n" for name, value in webhook.headers(body).items())
            connection.sendall(
                b"POST /hooks/approvals HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                + f"Content-Length: {len(body)}\r\n{head}\r\n".encode() + body
            )  # fmt: skip
            deadline = time.monotonic() + 20
            while not webhook.metrics.registry.get_sample_value("finwatch_webhook_unacknowledged"):
                assert time.monotonic() < deadline
        assert connection.recv(200).startswith(b"HTTP/1.1 202 ")
        connection.close()
        key = f"odoo:bill:{payload['document']['id']}"
        assert key in [key for key, _ in records(broker.bootstrap, BILLS)]
