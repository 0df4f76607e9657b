"""The capture's snapshot of posted bills against a bare JSON-RPC loop that reads the same, in one run.

    python -m benchmarks.capture [--rows 50000] [--repeat 3] [--page-size 1000]

The source is the simulated Odoo in a process of its own, with rows that are made when they are read
(benchmarks.many_moves). The bare loop asks for the same fields of the same records in the same pages, bills with their
lines and their tracking log, with the standard library's HTTP and JSON, and throws the rows away.
The capture reads over its own transport, maps, hashes, encodes to Avro, produces to a broker and keeps its state there.
Both run in fresh processes, in turns, against one server; what they read is counted by the server and must be equal.
Rows are bills: lines, messages and tracked values come with them. Without --bootstrap the broker is the embedded one,
in this process; with it, the topics must be there (`finwatch topics apply`).

Memory is the highest resident size of the producer's process (ru_maxrss), its imports and librdkafka included. An empty
poll is one of all models that finds nothing, after the snapshot; its time is the server's, request by request.
"""

from __future__ import annotations

import argparse
import gc
import http.client
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from finwatch.local.broker import MockBroker
from finwatch.runtime.clock import SystemClock
from finwatch.runtime.config import KafkaSettings
from finwatch.runtime.logging import configure_logging
from finwatch.runtime.publisher import KafkaPublisher
from producers.odoo import tracking
from producers.odoo.capture import Capture, CaptureSettings
from producers.odoo.mapping import BY_MODEL
from producers.odoo.reader import CHILD_PAGE
from producers.odoo.records import RecordEncoder
from producers.odoo.run import tune_memory
from producers.odoo.state import KafkaState
from producers.odoo.transport import OdooRpcTransport
from schemas.registry import EmbeddedRegistry

ACCOUNT = "svc_cdc"
MOVES = "account.move"
PARTITIONS = 12


class BareLoop:
    """JSON-RPC by hand: what reading costs at the least in plain Python."""

    def __init__(self, url: str, page_size: int) -> None:
        self._netloc, self._page_size = urlsplit(url).netloc, page_size
        self._connection = http.client.HTTPConnection(self._netloc, timeout=300)
        self._uid: Any = 0
        self.bills = 0
        self._uid = self._call("common", "login", ["sim", ACCOUNT, ACCOUNT])

    def _call(self, service: str, method: str, args: list[Any]) -> Any:
        body = json.dumps(
            {
                "jsonrpc": "2.0",
                "method": "call",
                "id": 1,
                "params": {"service": service, "method": method, "args": args},
            }
        )
        self._connection.request("POST", "/jsonrpc", body, {"Content-Type": "application/json"})
        return json.loads(self._connection.getresponse().read())["result"]

    def _fields(self, model: str, wanted: tuple[str, ...]) -> list[str]:
        known = self._execute(model, "fields_get", [], {"attributes": ["type"]})
        return [name for name in wanted if name in known]

    def _execute(self, model: str, method: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        return self._call("object", "execute_kw", ["sim", self._uid, ACCOUNT, model, method, args, kwargs])

    def _read(self, model: str, domain: list[Any], fields: Any, size: int) -> list[dict[str, Any]]:
        """All pages of a domain."""
        last, found = 0, []
        while True:
            options = {"fields": list(fields), "limit": size, "order": "id"}
            rows = self._execute(model, "search_read", [[*domain, ["id", ">", last]]], options)
            found += rows
            if len(rows) < size:
                return found
            last = rows[-1]["id"]

    def run(self) -> float:
        """Read everything; seconds."""
        mapping = BY_MODEL[MOVES]
        fields = self._fields(MOVES, mapping.fields.of(18))
        children = [(child, self._fields(child.model, child.fields.of(18))) for child in mapping.children]
        began, last = time.perf_counter(), 0
        while True:
            options = {"fields": fields, "limit": self._page_size, "order": "id"}
            rows = self._execute(MOVES, "search_read", [[*mapping.domain, ["id", ">", last]]], options)
            self.bills += len(rows)
            if rows:
                ids = [row["id"] for row in rows]
                for child, names in children:
                    self._read(child.model, [[child.parent, "in", ids], *child.domain], names, CHILD_PAGE)
                of_ids = [["model", "=", MOVES], ["res_id", "in", ids]]
                messages = self._read(tracking.MESSAGE_MODEL, of_ids, tracking.MESSAGE_FIELDS, CHILD_PAGE)
                of_messages = [["mail_message_id", "in", [row["id"] for row in messages]]]
                self._read(tracking.VALUE_MODEL, of_messages, tracking.VALUE_FIELDS, CHILD_PAGE)
                last = rows[-1]["id"]
            if len(rows) < self._page_size:
                return time.perf_counter() - began


def bare(url: str, page_size: int) -> dict[str, Any]:
    """One run of the bare loop."""
    loop = BareLoop(url, page_size)
    return {"seconds": loop.run(), "bills": loop.bills}


def capture(url: str, page_size: int, bootstrap: str) -> dict[str, Any]:
    """One run of the capture: the snapshot, then polls of all models that find nothing."""
    tune_memory()
    config = KafkaSettings(bootstrap=bootstrap, partitions=PARTITIONS).client_config({"log_level": 0})  # type: ignore[call-arg]
    publisher = KafkaPublisher(config)
    source = f"bench{os.getpid()}"
    settings = CaptureSettings(
        source=source, database="sim", account_key=b"k" * 32, page_size=page_size, partitions=PARTITIONS,
        sweep_interval=0.0, models=(MOVES,),
    )  # fmt: skip
    subject = Capture(
        OdooRpcTransport(url, "sim", ACCOUNT, ACCOUNT),
        publisher,
        SystemClock(),
        settings,
        encode=RecordEncoder(EmbeddedRegistry()),
        state=KafkaState(publisher, config, source, PARTITIONS),
    )
    subject.connect()
    began, used = time.perf_counter(), time.process_time()
    published = subject.snapshot()
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    publisher.close()
    return {
        "seconds": seconds,
        "cpu": cpu,
        "events": published,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "stopped": subject.stopped_models,
    }


def empty_poll(url: str, page_size: int) -> dict[str, Any]:
    """What a poll of all models that finds nothing asks of the server; the bills are known by their snapshot only."""

    class Nowhere:
        """A publisher that throws away."""

        def publish(self, topic: str, key: str, value: bytes | None, partition: int | None = None) -> None:
            """Nothing."""

        def flush(self) -> None:
            """Nothing."""

    settings = CaptureSettings(
        source="bench", database="sim", account_key=b"k" * 32, page_size=page_size, sweep_interval=0.0
    )
    transport = OdooRpcTransport(url, "sim", ACCOUNT, ACCOUNT)
    encode = RecordEncoder(EmbeddedRegistry())
    subject = Capture(transport, Nowhere(), SystemClock(), settings, encode=encode)
    subject.snapshot()
    subject.poll()
    before, began = served(url), time.perf_counter()
    published = subject.poll()
    seconds, after = time.perf_counter() - began, served(url)
    return {
        "published": published,
        "requests": after["requests"] - before["requests"],
        "server_seconds": after["seconds"] - before["seconds"],
        "seconds": seconds,
        "stopped": subject.stopped_models,
    }


def served(url: str) -> dict[str, Any]:
    """Requests that the server answered so far, rows it sent by model, seconds it spent."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("POST", "/benchmark/served", b'{"params": {}}')
    answer: dict[str, Any] = json.loads(connection.getresponse().read())["result"]
    return answer


def child(what: str, *arguments: str) -> dict[str, Any]:
    """The result of a part that runs in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.capture", "--part", what, *arguments]
    answer: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return answer


def measure(rows: int, repeat: int, page_size: int, bootstrap: str) -> None:
    """Run and print."""
    command = [sys.executable, "-m", "benchmarks.many_moves", str(rows)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        print(
            f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, "
            f"{len(os.sched_getaffinity(0))} cores; {rows:,} bills in pages of {page_size:,}",
            flush=True,
        )
        given = (url, str(page_size))
        bare_seconds: list[float] = []
        capture_seconds: list[float] = []
        peak = 0.0
        for number in range(repeat):
            before = served(url)["rows"]
            plain = child("bare", *given)
            between = served(url)["rows"]
            full = child("capture", *given, bootstrap)
            after = served(url)["rows"]
            for model in (
                MOVES,
                *(one.model for one in BY_MODEL[MOVES].children),
                "mail.message",
                tracking.VALUE_MODEL,
            ):
                one, other = between[model] - before.get(model, 0), after[model] - between[model]
                # The capture asks for one row each of three models at the start, to see whether it may.
                if abs(one - other) > 3:
                    raise SystemExit(f"the two do not read the same of {model}: {one} and {other} rows")
            if plain["bills"] != rows or full["stopped"]:
                raise SystemExit(f"not everything was read: {plain['bills']} of {rows} bills, {full['stopped']}")
            bare_seconds.append(plain["seconds"])
            capture_seconds.append(full["seconds"])
            peak = max(peak, full["megabytes"])
            print(
                f"run {number + 1}: bare {rows / plain['seconds']:,.0f} bills/s, capture {rows / full['seconds']:,.0f} "
                f"({full['events']:,} events, producer busy {full['cpu'] / full['seconds']:.0%}, "
                f"{full['megabytes']:.0f} MB), ratio {plain['seconds'] / full['seconds']:.2f}",
                flush=True,
            )
        ratio = statistics.median(bare_seconds) / statistics.median(capture_seconds)
        print(f"median: ratio {ratio:.2f} (wanted: 0.95 or more); producer's highest memory {peak:.0f} MB")
        if rows <= 100_000:
            quiet = child("empty-poll", *given)
            if quiet["published"] or set(quiet["stopped"].values()) - {"unknown_model"}:
                raise SystemExit(f"the poll was not empty: {quiet}")
            print(
                f"empty poll of all models: {quiet['requests']} requests, {quiet['server_seconds'] * 1e3:.0f} ms of "
                f"the server, {quiet['seconds'] * 1e3:.0f} ms in all (wanted: under 1 s of the server)"
            )
        server.communicate()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000, help="bills")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--page-size", type=int, default=1000)
    parser.add_argument("--bootstrap", default="", help="a broker (HOST:PORT); the embedded one when not given")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        configure_logging("warning")
        what, url, page_size, *more = given.part
        gc.freeze()
        parts: dict[str, Any] = {"bare": bare, "capture": capture, "empty-poll": empty_poll}
        print(json.dumps(parts[what](url, int(page_size), *more)))
    elif given.bootstrap:
        measure(given.rows, given.repeat, given.page_size, given.bootstrap)
    else:
        with MockBroker() as broker:
            broker.create_topics(PARTITIONS)
            measure(given.rows, given.repeat, given.page_size, broker.bootstrap)


if __name__ == "__main__":
    main()
