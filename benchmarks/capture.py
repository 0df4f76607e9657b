"""The capture's snapshot of posted bills against bare loops that read the same, in one run.

    python -m benchmarks.capture [--rows 50000] [--repeat 3] [--page-size 1000]
    python -m benchmarks.capture --rows 1000000 --memory

The source is the simulated Odoo in a process of its own, with rows that are made when they are read
(benchmarks.many_moves). A bare loop asks for the same fields of the same records in the same pages: bills with their
lines, their vendors and their tracking log, one request after the other, and throws the rows away. There are two:
`bare`, the standard library's HTTP over one kept connection and its JSON, which is the fastest a plain script gets;
and `odoorpc`, the library as its manual shows it, with a connection for each call.
The capture reads over its own transport, maps, hashes, encodes to Avro, produces to a broker and keeps its state there.
All run in fresh processes, in turns, against one server; what they read is counted by the server and must be equal.
Rows are bills: lines, messages and tracked values come with them. Without --bootstrap the broker is the embedded one,
in this process; with it, the topics must be there (`finwatch topics apply`).

Told are rows a second, and the processor time that a client used for a row: the wall clock says little on a machine
that does other things, and the capture reads the next page while it works on this one.
Memory is the highest resident size of the producer's process (ru_maxrss), its imports and librdkafka included;
`--memory` runs the capture alone, and fails above 300 MB. An empty poll is one of all models that finds nothing, after
the snapshot; its time is the server's, request by request.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import http.client
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import odoorpc

from finwatch.local.broker import MockBroker
from finwatch.runtime.clock import SystemClock
from finwatch.runtime.config import KafkaSettings
from finwatch.runtime.logging import configure_logging
from finwatch.runtime.publisher import KafkaPublisher
from producers.odoo import tracking
from producers.odoo.capture import Capture, CaptureSettings
from producers.odoo.mapping import SHIPPED
from producers.odoo.reader import CHILD_PAGE
from producers.odoo.records import RecordEncoder
from producers.odoo.run import tune_process
from producers.odoo.state import KafkaState
from producers.odoo.transport import OdooRpcTransport
from schemas.registry import EmbeddedRegistry

ACCOUNT = "svc_cdc"
MOVES = "account.move"
PARTITIONS = 12
MOST_MEGABYTES = 300


class BareLoop:
    """Reads what the capture reads, and does nothing with it; `execute` is how Odoo is asked."""

    def __init__(self, execute: Callable[[str, str, list[Any], dict[str, Any]], Any], page_size: int) -> None:
        self._execute, self._page_size = execute, page_size
        self.bills = 0

    def _fields(self, model: str, wanted: tuple[str, ...]) -> list[str]:
        known = self._execute(model, "fields_get", [], {"attributes": ["type"]})
        return [name for name in wanted if name in known]

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

    def run(self) -> None:
        """Read everything."""
        mapping = SHIPPED.by_model[MOVES]
        fields = self._fields(MOVES, mapping.fields.of(18))
        children = [(child, self._fields(child.model, child.fields.of(18))) for child in mapping.children]
        joined = [(one, self._fields(one.model, one.fields.of(18))) for one in mapping.joined]
        last = 0
        while True:
            options = {"fields": fields, "limit": self._page_size, "order": "id"}
            rows = self._execute(MOVES, "search_read", [[*mapping.domain, ["id", ">", last]]], options)
            self.bills += len(rows)
            if rows:
                ids = [row["id"] for row in rows]
                for child, names in children:
                    self._read(child.model, [[child.parent, "in", ids], *child.domain], names, CHILD_PAGE)
                for one, names in joined:
                    others = sorted({row[one.via][0] for row in rows if row[one.via]})
                    self._read(one.model, [["id", "in", others]], names, self._page_size)
                of_ids = [["model", "=", MOVES], ["res_id", "in", ids]]
                messages = self._read(tracking.MESSAGE_MODEL, of_ids, tracking.MESSAGE_FIELDS, CHILD_PAGE)
                of_messages = [["mail_message_id", "in", [row["id"] for row in messages]]]
                self._read(tracking.VALUE_MODEL, of_messages, tracking.VALUE_FIELDS, CHILD_PAGE)
                last = rows[-1]["id"]
            if len(rows) < self._page_size:
                return


def by_hand(url: str) -> Callable[[str, str, list[Any], dict[str, Any]], Any]:
    """JSON-RPC with the standard library, over one kept connection."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)

    def call(service: str, method: str, args: list[Any]) -> Any:
        params = {"service": service, "method": method, "args": args}
        body = json.dumps({"jsonrpc": "2.0", "method": "call", "id": 1, "params": params})
        connection.request("POST", "/jsonrpc", body, {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())["result"]

    uid = call("common", "login", ["sim", ACCOUNT, ACCOUNT])
    return lambda model, method, args, kwargs: call(
        "object", "execute_kw", ["sim", uid, ACCOUNT, model, method, args, kwargs]
    )


def by_odoorpc(url: str) -> Callable[[str, str, list[Any], dict[str, Any]], Any]:
    """odoorpc, as it comes."""
    parts = urlsplit(url)
    odoo = odoorpc.ODOO(parts.hostname, port=parts.port, timeout=300)
    odoo.login("sim", ACCOUNT, ACCOUNT)
    execute: Callable[[str, str, list[Any], dict[str, Any]], Any] = odoo.execute_kw
    return execute


def bare(url: str, page_size: int, how: str) -> dict[str, Any]:
    """One run of a bare loop."""
    loop = BareLoop({"bare": by_hand, "odoorpc": by_odoorpc}[how](url), page_size)
    began, used = time.perf_counter(), time.process_time()
    loop.run()
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - used, "bills": loop.bills}


def capture(url: str, page_size: int, bootstrap: str) -> dict[str, Any]:
    """One run of the capture: the snapshot, then polls of all models that find nothing."""
    tune_process()
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


class Server:
    """The simulated Odoo in a process of its own."""

    def __init__(self, rows: int) -> None:
        command = [sys.executable, "-m", "benchmarks.many_moves", str(rows)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def told_of(rows: int, page_size: int) -> None:
    """What is measured, and on what."""
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, "
        f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}; "
        f"{rows:,} bills in pages of {page_size:,}",
        flush=True,
    )


def measure_memory(rows: int, page_size: int, bootstrap: str) -> int:
    """Run the capture alone and print; exit code."""
    with Server(rows) as server:
        told_of(rows, page_size)
        full = child("capture", server.url, str(page_size), bootstrap)
    if full["stopped"]:
        raise SystemExit(f"not everything was read: {full['stopped']}")
    print(
        f"{full['events']:,} events in {full['seconds']:.0f} s, {rows / full['seconds']:,.0f} bills/s; "
        f"producer's highest memory {full['megabytes']:.0f} MB (wanted: under {MOST_MEGABYTES} MB)"
    )
    return 0 if full["megabytes"] < MOST_MEGABYTES else 1


def check_same(rows: int, read: list[Mapping[str, int]], plain: Mapping[str, Any], full: Mapping[str, Any]) -> None:
    """Both read all, and the same. Raises SystemExit. `read`: rows sent by model, before, between and after."""
    mapping = SHIPPED.by_model[MOVES]
    models = [MOVES, tracking.MESSAGE_MODEL, tracking.VALUE_MODEL]
    models += [child.model for child in mapping.children] + [joined.model for joined in mapping.joined]
    before, between, after = read
    for model in models:
        one, other = between.get(model, 0) - before.get(model, 0), after.get(model, 0) - between.get(model, 0)
        # The capture asks for one row each of three models at the start, to see whether it may.
        if abs(one - other) > 3:
            raise SystemExit(f"the two do not read the same of {model}: {one} and {other} rows")
    if plain["bills"] != rows or full["stopped"]:
        raise SystemExit(f"not everything was read: {plain['bills']} of {rows} bills, {full['stopped']}")


def measure(rows: int, repeat: int, page_size: int, bootstrap: str) -> None:
    """Run and print."""
    with Server(rows) as server:
        url = server.url
        told_of(rows, page_size)
        given = (url, str(page_size))
        runs: dict[str, list[dict[str, Any]]] = {"bare": [], "odoorpc": [], "capture": []}
        for number in range(repeat):
            runs["odoorpc"].append(child("bare", *given, "odoorpc"))
            told = [served(url)]
            plain = child("bare", *given, "bare")
            told.append(served(url))
            full = child("capture", *given, bootstrap)
            told.append(served(url))
            check_same(rows, [one["rows"] for one in told], plain, full)
            for one, (before, after) in zip((plain, full), itertools.pairwise(told), strict=True):
                busy, waited = (after[what] - before[what] for what in ("seconds", "waited"))
                one["busy"] = busy / (busy + waited)
            runs["bare"].append(plain)
            runs["capture"].append(full)
            print(
                f"run {number + 1}: "
                + ", ".join(f"{what} {rows / of_it[-1]['seconds']:,.0f} bills/s" for what, of_it in runs.items())
                + f"; {full['events']:,} events, {full['megabytes']:.0f} MB; capture to bare "
                f"{plain['seconds'] / full['seconds']:.2f}",
                flush=True,
            )
        seconds = {what: statistics.median(one["seconds"] for one in of_it) for what, of_it in runs.items()}
        used = {what: statistics.median(one["cpu"] for one in of_it) / rows * 1e6 for what, of_it in runs.items()}
        peak = max(one["megabytes"] for one in runs["capture"])
        print(
            f"median, rows a second: capture to bare {seconds['bare'] / seconds['capture']:.2f} "
            f"(wanted: 0.95 or more), to odoorpc {seconds['odoorpc'] / seconds['capture']:.2f}\n"
            "median, processor time of the client: "
            + ", ".join(f"{what} {one:.0f} us a bill" for what, one in used.items())
            + "\nserver at work, of the time from its first answer to its last: "
            + ", ".join(
                f"{what} {statistics.median(one['busy'] for one in runs[what]):.0%}" for what in ("bare", "capture")
            )
            + f"\nproducer's highest memory {peak:.0f} MB"
        )
        if rows <= 100_000:
            quiet = child("empty-poll", *given)
            if quiet["published"] or set(quiet["stopped"].values()) - {"unknown_model"}:
                raise SystemExit(f"the poll was not empty: {quiet}")
            print(
                f"empty poll of all models: {quiet['requests']} requests, {quiet['server_seconds'] * 1e3:.0f} ms of "
                f"the server, {quiet['seconds'] * 1e3:.0f} ms in all (wanted: under 1 s of the server)"
            )


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000, help="bills")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--page-size", type=int, default=1000)
    parser.add_argument("--bootstrap", default="", help="a broker (HOST:PORT); the embedded one when not given")
    parser.add_argument("--memory", action="store_true", help="the capture alone, for its memory")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        configure_logging("warning")
        what, url, page_size, *more = given.part
        gc.freeze()
        parts: dict[str, Any] = {"bare": bare, "capture": capture, "empty-poll": empty_poll}
        print(json.dumps(parts[what](url, int(page_size), *more)))
        return 0
    with contextlib.ExitStack() as held:
        bootstrap = given.bootstrap
        if not bootstrap:
            broker = held.enter_context(MockBroker())
            broker.create_topics(PARTITIONS)
            bootstrap = broker.bootstrap
        if given.memory:
            return measure_memory(given.rows, given.page_size, bootstrap)
        measure(given.rows, given.repeat, given.page_size, bootstrap)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
