"""A webhook ingress that runs, a sender that signs, and what the topics hold."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, TopicPartition
from prometheus_client import generate_latest

from finwatch.runtime.clock import SystemClock
from finwatch.runtime.config import load_settings
from finwatch.runtime.metrics import Metrics
from producers.webhook.run import run
from producers.webhook.signature import sign
from schemas.codec import describe
from schemas.registry import EmbeddedRegistry

OLD, NEW, TOKEN = "o" * 32, "n" * 32, "t" * 40
ENVIRONMENT = {"HOOK_OLD": OLD, "HOOK_NEW": NEW, "HOOK_TOKEN": TOKEN}
HOOKS = """
hooks:
  approvals:
    kind: signed
    source: odoo
    rate: 100000
    max_bytes: 2000
    keys:
      old: {env: HOOK_OLD}
      new: {env: HOOK_NEW}
    payload: {document.id: integer, by: string}
    only: {path: type, values: [decision]}
    event:
      entity: {value: bill}
      record_id: {path: document.id}
      activity: {path: outcome, values: {APPROVED: approved, REJECTED: rejected, OPENED: created}}
      occurred_at: {path: at}
      actor: {path: by}
      amount: {path: document.total}
      currency: {value: EUR}
  slow:
    kind: signed
    rate: 1
    burst: 2
    prefix: "sha256="
    encoding: base64
    headers: {signature: X-Signature, timestamp: X-Time, nonce: X-Once, key: null}
    keys: {one: {env: HOOK_OLD}, two: {env: HOOK_NEW}}
    event:
      entity: {path: kind, values: {pay: payment}}
      record_id: {path: id}
      event_id: {path: event}
      activity: {value: paid}
  small:
    kind: signed
    remember: 2
    keys: {old: {env: HOOK_OLD}}
    event: {entity: {value: bill}, record_id: {path: id}, activity: {value: changed}, event_id: {path: event}}
  erp:
    kind: odoo
    source: odoo
    token: {env: HOOK_TOKEN}
    models: [account.move]
  erp-header:
    kind: odoo
    token: {env: HOOK_TOKEN}
    header: X-Hook-Token
"""
_numbers = itertools.count(1)


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        """Why a request was refused."""
        return str(json.loads(self.body)["reason"])


class ShiftedClock(SystemClock):
    """The machine's clock, off by `shift`."""

    shift = timedelta(0)

    def now(self) -> datetime:
        """Time with the shift."""
        return super().now() + self.shift


def decision(number: int | None = None, **more: Any) -> dict[str, Any]:
    """A payload that `approvals` takes; another document each time."""
    number = next(_numbers) if number is None else number
    return {
        "type": "decision",
        "document": {"id": number, "total": 12.5},
        "outcome": "APPROVED",
        "by": "u7",
        "at": "2026-11-20T09:30:00+01:00",
        **more,
    }


class Ingress:
    """A running ingress."""

    def __init__(self, port: int, clock: ShiftedClock, metrics: Metrics) -> None:
        self.port, self.clock, self.metrics = port, clock, metrics

    def request(
        self, path: str, body: bytes, headers: Mapping[str, str], method: str = "POST", timeout: float = 60
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **headers})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def signed(self, body: bytes, *, key: str = NEW, key_id: str | None = "new", nonce: str = "", age: float = 0,
               path: str = "/hooks/approvals", **changed: str) -> Answer:  # fmt: skip
        """A request signed as `approvals` wants it; `changed` replaces headers (X_Name for X-Name)."""
        headers = self.headers(body, key=key, key_id=key_id, nonce=nonce, age=age)
        headers |= {name.replace("_", "-"): value for name, value in changed.items()}
        return self.request(path, body, headers)

    def headers(
        self, body: bytes, *, key: str = NEW, key_id: str | None = "new", nonce: str = "", age: float = 0
    ) -> dict[str, str]:
        """Headers of a signed request."""
        nonce = nonce or uuid.uuid4().hex
        at = str(int(self.clock.now().timestamp() - age))
        headers = {
            "X-Finwatch-Timestamp": at,
            "X-Finwatch-Nonce": nonce,
            "X-Finwatch-Signature": sign(key.encode(), at, nonce, body).hex(),
        }
        return headers if key_id is None else headers | {"X-Finwatch-Key": key_id}

    def send(self, payload: object, **how: Any) -> Answer:
        """A signed JSON payload."""
        return self.signed(json.dumps(payload).encode(), **how)

    def raw(self, data: bytes, timeout: float = 30) -> bytes:
        """Bytes in, and out what comes until the other side closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(data)
            answer = b""
            while part := connection.recv(65536):
                answer += part
            return answer

    def count(self, source: str, status: int) -> float:
        """Requests counted."""
        value = self.metrics.registry.get_sample_value(
            "finwatch_webhook_requests_total", {"source": source, "status": str(status)}
        )
        return value or 0.0

    def exposition(self) -> str:
        """The metrics as text."""
        return generate_latest(self.metrics.registry).decode()


@contextmanager
def ingress(bootstrap: str, folder: Path, hooks: str = HOOKS, **webhook: Any) -> Iterator[Ingress]:
    """Run the ingress in a thread; the hooks' secrets must be in the environment."""
    file = folder / "hooks.yaml"
    file.write_text(hooks)
    settings = load_settings()
    settings = settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={"bootstrap": bootstrap}),
            "registry": settings.registry.model_copy(update={"url": ""}),
            "http": settings.http.model_copy(update={"port": 0}),
            "webhook": settings.webhook.model_copy(update={"hooks": file, "port": 0, **webhook}),
        }
    )
    stop, ready = threading.Event(), threading.Event()
    clock, metrics = ShiftedClock(), Metrics()
    ports: list[int] = []
    failures: list[BaseException] = []

    def listening(_host: str, port: int) -> None:
        ports.append(port)
        ready.set()

    def serve() -> None:
        try:
            run(settings, stop, metrics=metrics, clock=clock, listening=listening)
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            ready.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(30) and ports, failures
    try:
        yield Ingress(ports[0], clock, metrics)
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


def records(bootstrap: str, topic: str) -> list[tuple[str, bytes]]:
    """All committed records of a topic as key and value."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "check",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    found: list[tuple[str, bytes]] = []
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        left = set(partitions)
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        deadline = time.monotonic() + 60
        while left:
            assert time.monotonic() < deadline, "the topic could not be read to its end"
            message = consumer.poll(1)
            if message is None:
                continue
            error = message.error()
            if error is not None:
                # The end of what is committed, which a transaction's own end may stand behind.
                if error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition())
                continue
            key, value = message.key(), message.value()
            assert key is not None and value is not None
            found.append((key.decode(), value))
    finally:
        consumer.close()
    return found


def events(bootstrap: str, topic: str) -> list[dict[str, Any]]:
    """All events of a topic, decoded."""
    registry = EmbeddedRegistry()
    return [describe(value, registry) for _, value in records(bootstrap, topic)]
