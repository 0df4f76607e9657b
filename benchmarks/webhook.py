"""The webhook ingress: signed requests a second of one process held to one core, over keep-alive connections.

    python -m benchmarks.webhook [--requests 40000] [--connections 64] [--repeat 3] [--kafka | --bootstrap HOST:PORT]

Every request is another event, signed over timestamp, nonce and body, checked, mapped, written as Avro and acknowledged
by a broker before its answer: 202 for each, or the run fails. With --kafka the broker is a real one, started for the
run (Java, as the tests start it); with --bootstrap one that runs, with the topics (`finwatch topics apply`); without
either the embedded one, in the clients' process. The server has a core of its own,
clients and broker another. CPU time is the server process's, librdkafka's threads included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

from finwatch.local.broker import MockBroker
from finwatch.runtime.config import load_settings
from finwatch.runtime.logging import configure_logging
from producers.webhook.run import run
from producers.webhook.signature import sign

KEY = "k" * 64
HOOKS = """
hooks:
  approvals:
    kind: signed
    source: odoo
    rate: 100000
    burst: 1000000
    remember: 10000000
    keys: {bench: {env: BENCH_KEY}}
    payload: {document.id: integer, decision.by: string}
    event:
      entity: {value: bill}
      record_id: {path: document.id}
      activity: {path: decision.outcome, values: {APPROVED: approved, REJECTED: rejected}}
      occurred_at: {path: decision.at}
      event_id: {path: id}
      actor: {path: decision.by}
      role: {value: manager}
      amount: {path: document.total}
      currency: {path: document.currency}
"""


def serve() -> None:
    """The server process: prints its port, serves until standard input ends."""
    configure_logging("warning")
    stop = threading.Event()

    def until_closed() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=until_closed, daemon=True).start()
    run(load_settings(), stop, listening=lambda _host, port: print(port, flush=True))


def requests(count: int) -> list[bytes]:
    """Requests as bytes, each signed."""
    made = []
    now = str(int(time.time()))
    for _ in range(count):
        nonce = uuid.uuid4().hex
        body = json.dumps(
            {
                "id": nonce,
                "type": "decision",
                "document": {
                    "id": int(nonce[:7], 16),
                    "total": 1234.56,
                    "currency": "EUR",
                    "name": "BILL/2026/11/0046",
                },
                "decision": {"outcome": "APPROVED", "by": "user-17", "at": "2026-11-20T09:30:00.123456+00:00"},
                "comment": "checked against the order, quantities and prices as agreed " * 4,
            }
        ).encode()
        head = (
            "POST /hooks/approvals HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"X-Finwatch-Timestamp: {now}\r\nX-Finwatch-Nonce: {nonce}\r\nX-Finwatch-Key: bench\r\n"
            f"X-Finwatch-Signature: {sign(KEY.encode(), now, nonce, body).hex()}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


class Client(asyncio.Protocol):
    """One keep-alive connection: a request, its answer, the next."""

    def __init__(self, todo: list[bytes], waits: list[float]) -> None:
        self.todo, self.waits, self.answer = todo, waits, b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.next()

    def next(self) -> None:
        """Send the next, or be done."""
        if not self.todo:
            self.transport.close()
            self.done.set_result(None)
            return
        self.sent = time.perf_counter()
        self.transport.write(self.todo.pop())

    def data_received(self, data: bytes) -> None:
        """An answer (or a part of it)."""
        self.answer += data
        if not self.answer.endswith(b"}\n"):
            return
        if not self.answer.startswith(b"HTTP/1.1 202 "):
            self.done.set_exception(SystemExit(f"not accepted: {self.answer[:400]!r}"))
            return
        self.waits.append(time.perf_counter() - self.sent)
        self.answer = b""
        self.next()


async def drive(port: int, made: list[bytes], connections: int) -> list[float]:
    """All requests over so many connections; seconds of each."""
    loop = asyncio.get_running_loop()
    waits: list[float] = []
    clients = [Client(made[number::connections], waits) for number in range(connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*(client.done for client in clients))
    return waits


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(bootstrap: str, count: int, connections: int, repeat: int, broker: int | None = None) -> None:
    """Run and print. `broker`: the process of a broker to keep off the server's core."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        hooks = Path(folder) / "hooks.yaml"
        hooks.write_text(HOOKS)
        environment = {
            **os.environ,
            "BENCH_KEY": KEY,
            "FINWATCH_WEBHOOK_HOOKS": str(hooks),
            "FINWATCH_WEBHOOK_PORT": "0",
            "FINWATCH_KAFKA_BOOTSTRAP": bootstrap,
        }
        command = [sys.executable, "-m", "benchmarks.webhook", "--serve"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as server:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            for thread in Path(f"/proc/{server.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {cores[0]})
            if len(cores) > 1:
                for process in ("self", *([str(broker)] if broker is not None else [])):
                    for thread in Path(f"/proc/{process}/task").iterdir():
                        os.sched_setaffinity(int(thread.name), set(cores[1:]))
            print(
                f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {len(cores)} cores"
            )
            asyncio.run(drive(port, requests(connections * 4), connections))  # the first ones open connections
            for number in range(repeat):
                made = requests(count)
                before, began = cpu_seconds(server.pid), time.perf_counter()
                waits = sorted(asyncio.run(drive(port, made, connections)))
                wall, cpu = time.perf_counter() - began, cpu_seconds(server.pid) - before
                print(
                    f"run {number + 1}: {count / wall:,.0f} requests/s wall, {count / cpu:,.0f} per CPU second, "
                    f"core busy {cpu / wall:.0%}, answer p50 {waits[len(waits) // 2] * 1e3:.1f} ms, "
                    f"p99 {waits[len(waits) * 99 // 100] * 1e3:.1f} ms"
                )
            server.communicate()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=40_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--kafka", action="store_true", help="start a real broker for the run")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve()
    elif given.kafka:
        from tests.parts.kafka import Kafka
        from tests.parts.pipeline import new_topics

        with tempfile.TemporaryDirectory() as folder:
            kafka = Kafka(Path(folder) / "kafka")
            kafka.start()
            try:
                new_topics(kafka.bootstrap, 4)
                measure(kafka.bootstrap, given.requests, given.connections, given.repeat, kafka.pid)
            finally:
                kafka.stop()
    elif given.bootstrap:
        measure(given.bootstrap, given.requests, given.connections, given.repeat)
    else:
        with MockBroker() as broker:
            broker.create_topics(4)
            measure(broker.bootstrap, given.requests, given.connections, given.repeat)


if __name__ == "__main__":
    main()
