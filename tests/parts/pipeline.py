"""finwatch's own commands as processes, an embedded store as their ClickHouse, and topics made anew on a real broker.

For tests that cross packages: what is under test runs as its users run it, and is judged by what stands on the topics
and in the store.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import confluent_kafka as ck
from clickhouse_connect.driver.client import Client
from confluent_kafka.admin import AdminClient

import finwatch.local.child as child
from finwatch.domain.policy import RELATED_TYPES
from finwatch.local.access import settings_for
from finwatch.local.backpressure import READS, Positions
from finwatch.local.front.access import password_file
from finwatch.local.stack import answers, running_stack
from finwatch.runtime import admin
from finwatch.runtime.config import ClickHouseSettings, KafkaSettings
from finwatch.runtime.store import STORE_ERRORS, StoreUnavailable, connect
from finwatch.runtime.topics import TOPICS
from schemas.codec import describe
from schemas.registry import EmbeddedRegistry
from sinks.clickhouse.migrations import migrate
from tests.parts.environment import free_port
from tests.parts.process import Server

ROOT = Path(__file__).resolve().parents[2]
GROUPS = ("documents", "relations", "sink-clickhouse")
PATIENCE = 120.0
"""Seconds a condition may take; far more than it needs, for machines that do other things too."""
T = TypeVar("T")
_AWAY: tuple[type[Exception], ...] = (*STORE_ERRORS, StoreUnavailable)


def eventually(what: Callable[[], T], seconds: float = PATIENCE, why: Callable[[], str] = str) -> T:
    """Ask until the answer is true, and return it. AssertionError after `seconds`, with what `why` says then."""
    deadline = time.monotonic() + seconds
    while True:
        answer = what()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s; {why()}"
        time.sleep(0.05)  # between two looks; the condition is `what`


class Command:
    """One `finwatch` command as a process. Standard output and standard error (the log) go to files of their own.

    Of the caller's environment nothing of finwatch is passed on. The kernel ends it with the test run.
    """

    def __init__(self, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = " ".join(arguments)
        self.out, self.log = folder / "out.txt", folder / "log.txt"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FINWATCH_")}
        program = str(Path(sys.executable).with_name("finwatch"))
        with self.out.open("wb") as out, self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(child.__file__), str(os.getpid()), program, *arguments],
                cwd=ROOT,
                env={**inherited, "FINWATCH_LOGFORMAT": "json", **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,  # Ctrl-C in a terminal reaches the tests, not this
            )

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def lines(self) -> list[dict[str, Any]]:
        """Log lines so far; a line that is no JSON object comes as {"event": line}."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            found.append(entry if isinstance(entry, dict) else {"event": line})
        return found

    def said(self) -> str:
        """All it wrote."""
        return self.out.read_text(errors="replace") + self.log.read_text(errors="replace")

    def wait(self, seconds: float = PATIENCE) -> int:
        """Exit code; fails when it does not end."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"finwatch {self.name} does not end within {seconds:.0f} s:\n{self.said()}") from None

    def stop(self, how: signal.Signals = signal.SIGTERM, seconds: float = 60.0) -> int:
        """Ask it to end; exit code."""
        if self.running:
            self.process.send_signal(how)
        return self.wait(seconds)

    def kill(self) -> None:
        """SIGKILL it and whatever it started in its group; returns when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Commands:
    """Starts commands with one environment; ends them all when the block ends."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self.environment = dict(environment)
        self.started: list[Command] = []
        self._judged: set[int] = set()

    def start(self, *arguments: str, **environment: str) -> Command:
        """Start a command and return at once. `environment`: settings without their prefix, in any case."""
        extra = {f"FINWATCH_{name.upper()}": value for name, value in environment.items()}
        folder = self._folder / f"{len(self.started)}-{'-'.join(a for a in arguments if a.isalpha())}"
        self.started.append(Command(folder, *arguments, environment={**self.environment, **extra}))
        return self.started[-1]

    def run(self, *arguments: str, seconds: float = PATIENCE, code: int = 0, **environment: str) -> Command:
        """Run a command to its end, which must have this exit code."""
        command = self.start(*arguments, **environment)
        assert command.wait(seconds) == code, f"finwatch {command.name}:\n{command.said()}"
        self._judged.add(command.process.pid)
        return command

    def alive(self) -> None:
        """Assert that nothing ended by itself with a failure."""
        for command in self.started:
            if command.process.pid in self._judged:
                continue  # it ended as it should
            assert command.process.poll() in (None, 0), f"finwatch {command.name}:\n{command.said()[-4000:]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for command in self.started:
            command.kill()


class StoreServer(Server):
    """The process that owns an embedded store, on a port that stays the same over kill and start.

    `directory`: an embedded directory that no stack has open; without it the store is a new one in `folder`.
    """

    def __init__(self, folder: Path, directory: Path | None = None) -> None:
        self.directory = directory or folder / "embedded"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "finwatch.local.store_process", str(self.directory), "--port", str(port)]
        super().__init__("store", command, folder, lambda: answers(self.url + "/health"), timeout=PATIENCE)

    def environment(self) -> dict[str, str]:
        """Settings by which a finwatch process uses this store as it would a ClickHouse server."""
        return {
            "FINWATCH_CLICKHOUSE_URL": self.url,
            "FINWATCH_CLICKHOUSE_USER": "default",
            "FINWATCH_CLICKHOUSE_PASSWORD_FILE": str(password_file(self.directory, "default")),
        }

    def client(self, *, database: bool = True) -> Client:
        """A client; to be closed by the caller."""
        password = password_file(self.directory, "default").read_text().strip()
        settings = ClickHouseSettings(url=self.url, user="default", password=password)  # type: ignore[call-arg,arg-type]
        return connect(settings, database=database, timeout=PATIENCE)

    def migrate(self) -> None:
        """Make the tables."""
        client = self.client(database=False)
        try:
            migrate(client)
        finally:
            client.close()

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        client = self.client()
        try:
            return [tuple(row) for row in client.query(sql).result_rows]
        finally:
            client.close()


def new_topics(bootstrap: str, partitions: int) -> dict[str, str]:
    """Every topic of the product made anew on a real broker; settings by which a finwatch process uses it.

    The broker forgets what groups had committed on a topic when that is deleted.
    """
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    names = {spec.name for spec in TOPICS}
    there = sorted(names & set(admin.cluster_topics(client, bootstrap)))
    for future in client.delete_topics(there).values() if there else ():
        future.result(30)
    eventually(lambda: not names & set(admin.cluster_topics(client, bootstrap)))
    settings = KafkaSettings(bootstrap=bootstrap, partitions=partitions)  # type: ignore[call-arg]
    admin.apply(settings, admin.plan(settings, admin=client), client)

    def led() -> bool:
        known = client.list_topics(timeout=10).topics
        return all(
            len(known[name].partitions) == partitions and all(p.leader >= 0 for p in known[name].partitions.values())
            for name in names & known.keys()
        ) and names <= set(known)

    eventually(led)
    return {"FINWATCH_KAFKA_BOOTSTRAP": bootstrap, "FINWATCH_KAFKA_PARTITIONS": str(partitions)}


def wait_stored(commands: Commands, groups: Sequence[str] = GROUPS, seconds: float = PATIENCE) -> None:
    """Wait until the groups have read all that was published; nothing may be published at the front meanwhile."""
    bootstrap = commands.environment["FINWATCH_KAFKA_BOOTSTRAP"]
    positions = Positions({"bootstrap.servers": bootstrap, "log_level": 0})
    last: list[object] = []

    def caught_up() -> bool:
        commands.alive()
        # In the order in which data passes through them, as `backlog` asks them.
        for group in (name for name in READS if name in groups):
            try:
                last[:] = [(group, unread(bootstrap, positions, group))]
            except ck.KafkaException as error:  # a topic made a moment ago has no leader yet
                last[:] = [(group, error)]
                return False
            if last[0][1]:  # type: ignore[index]
                return False
        return True

    try:
        eventually(caught_up, seconds, lambda: f"{last} lacks")
    finally:
        positions.close()


def unread(bootstrap: str, positions: Positions, group: str) -> int:
    """Records that a group has not committed; the ends of transactions, which take an offset too, are none."""
    ends = {place: end for place, end in positions.ends(READS[group], group).items() if end > 0}
    done = positions.committed(group, ends)
    behind = {place: max(0, done[place]) for place, end in ends.items() if max(0, done[place]) < end}
    lacking = sum(ends[place] - begin for place, begin in behind.items())
    if lacking > 10 * len(behind):
        return lacking
    consumer = ck.Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "finwatch-tests", "enable.partition.eof": True, "log_level": 0}
    )
    found = 0
    try:
        consumer.assign([ck.TopicPartition(*place, begin) for place, begin in behind.items()])
        while behind:
            for message in consumer.consume(1000, 1.0):
                error = message.error()
                if error is None:
                    found += 1
                elif error.code() == ck.KafkaError._PARTITION_EOF:
                    behind.pop((message.topic(), message.partition()), None)
    finally:
        consumer.close()
    return found


def records(bootstrap: str, topics: Iterable[str]) -> list[ck.Message]:
    """Everything that stands on the topics now."""
    consumer = ck.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "finwatch-tests",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.message.max.bytes": 8_000_000,
            "log_level": 0,
        }
    )
    found: list[ck.Message] = []
    try:
        known = consumer.list_topics(timeout=30).topics
        open_ends = {(topic, number) for topic in topics for number in known[topic].partitions}
        consumer.assign([ck.TopicPartition(topic, number, ck.OFFSET_BEGINNING) for topic, number in open_ends])
        deadline = time.monotonic() + PATIENCE
        while open_ends:
            assert time.monotonic() < deadline, f"no end of {sorted(open_ends)}"
            for message in consumer.consume(1000, 1.0):
                error = message.error()
                if error is None:
                    found.append(message)
                elif error.code() == ck.KafkaError._PARTITION_EOF:
                    open_ends.discard((message.topic(), message.partition()))
    finally:
        consumer.close()
    return found


def described(bootstrap: str, topic: str) -> list[dict[str, Any]]:
    """Decoded records of a topic, with `$schema` and, as `$written`, their time stamp in seconds."""
    registry = EmbeddedRegistry()
    return [
        {**describe(message.value() or b"", registry), "$written": message.timestamp()[1] / 1000}
        for message in records(bootstrap, [topic])
    ]


_VIEWS = ("events", "documents", "steps", "clocks", "exceptions", "findings", "finding_versions", "dead_letters")
_COORDINATES = frozenset({"topic", "partition", "offset", "incarnation", "kafka_timestamp", "ingested_at"})
"""Where and when a row was stored: what may differ between two runs that say the same."""


_CORRECTED = frozenset({"version", "updated_at"})
"""What a finding's row says of how it came to be what it is: another order of arrival has other corrections."""


def fingerprint(ask: Callable[[str], list[tuple[Any, ...]]]) -> dict[str, Any]:
    """Rows and an order-free hash of what each view says, and the KPIs; equal for stores that say the same."""
    found: dict[str, Any] = {view: _hashed(ask, view) for view in _VIEWS}
    found["kpis"] = ask("SELECT kpi, labels, value FROM kpis ORDER BY kpi, labels")
    return found


def conclusions(ask: Callable[[str], list[tuple[Any, ...]]]) -> dict[str, Any]:
    """The same for runs whose topics were read in other interleavings: of findings only what stands at the end.

    What meets from several topics may be said with a fact missing, and corrected when it comes (docs/adr/0014). So a
    finding that was taken back may be missing, an open one may be a corrected one, and a label of which nothing is open
    any more may be new; so may the exception of a finding. All else is compared as it is, these one by one, so that a
    difference names them.
    """
    found: dict[str, Any] = {
        view: _hashed(ask, view) for view in _VIEWS if "finding" not in view and view != "exceptions"
    }
    together = ", ".join(f"('{kind}', '{entity}')" for kind, entity in RELATED_TYPES.items())
    found["exceptions"] = _hashed(ask, "exceptions", f"(type, entity) NOT IN ({together})")
    columns = [name for name, *_ in ask("DESCRIBE TABLE exceptions") if name not in _COORDINATES | _CORRECTED]
    for row in ask(
        f"SELECT {', '.join(columns)} FROM exceptions WHERE status != 'retracted' AND (type, entity) IN ({together})"
    ):
        exception = dict(zip(columns, row, strict=True))
        found[f"exception {exception['exception_id']}"] = exception
    columns = [name for name, *_ in ask("DESCRIBE TABLE findings") if name not in _COORDINATES | _CORRECTED]
    for row in ask(f"SELECT {', '.join(columns)} FROM findings WHERE status != 'retracted'"):
        finding = dict(zip(columns, row, strict=True))
        finding["status"] = "open" if finding["status"] == "updated" else finding["status"]
        key = f"finding {finding['finding_id']}"
        assert key not in found, f"{key} is there twice"
        found[key] = finding
    for kpi, labels, value in ask("SELECT kpi, labels, value FROM kpis"):
        if kpi not in ("findings_open", "exceptions_open", "exceptions_overdue") or value:
            found[f"kpi {kpi} {labels}"] = value
    return found


def differing(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What two stores say differently: of findings the columns, of all else the whole."""
    found = {}
    for key in sorted(one.keys() | other.keys()):
        a, b = one.get(key), other.get(key)
        if a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            named = ("rule", "document_keys")
            found[key] = (
                {name: a[name] for name in a if a[name] != b[name] or name in named},
                {name: b[name] for name in b if a[name] != b[name] or name in named},
            )
        else:
            found[key] = (a, b)
    return found


def _hashed(ask: Callable[[str], list[tuple[Any, ...]]], view: str, which: str = "true") -> tuple[Any, ...]:
    columns = [name for name, *_ in ask(f"DESCRIBE TABLE {view}") if name not in _COORDINATES]
    row = f"toString(tuple({', '.join(columns)}))"
    return ask(f"SELECT count(), sum(cityHash64({row})) FROM {view} WHERE {which}")[0]


def stack_pids(directory: Path) -> list[int]:
    """Processes of the embedded stack that has the directory open, its own first; empty when none has."""
    state = running_stack(directory)
    if state is None:
        return []
    return [int(state["pid"]), *(int(process["pid"]) for process in state["processes"].values())]


def stored_so_far(directory: Path) -> int:
    """Records in the raw log of a directory whose stack runs; 0 while its store does not answer yet."""
    state = running_stack(directory)
    if state is None or not state["clickhouse_url"]:
        return 0
    try:
        client = connect(settings_for(directory).clickhouse, timeout=PATIENCE)
        try:
            return int(client.query("SELECT count() FROM raw_log").result_rows[0][0])
        finally:
            client.close()
    except _AWAY:
        return 0


def kill_stack(directory: Path) -> None:
    """SIGKILL of every process of the stack at once, as in a power failure; returns when all are gone."""
    pids = stack_pids(directory)
    assert len(pids) >= 3, "a stack is its own process, the store and the streams"
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(alive(pid) for pid in pids))


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
