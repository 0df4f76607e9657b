"""The supervisor of an embedded directory: broker, store and the processes around them, as one thing that starts whole
and ends whole.

The broker runs in this process (it is a thread of librdkafka), the store and the given children in processes of their
own. Whatever ends this process, its children end too; what a machine without that help leaves is ended when the
directory is opened next.

Keep this process small: it imports neither polars nor chdb.
"""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from finwatch.local import child as child_module
from finwatch.local.broker import MockBroker
from finwatch.local.files import DirectoryLock, endpoint_file, is_locked, read_json, write_json
from finwatch.local.front.access import password_file
from finwatch.local.logs import LogPump
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.logging import get_logger

DEFAULT_PARTITIONS = 4
POLL_SECONDS = 0.02
"""Pause between two looks at a condition that nobody announces (a port, a file, an exit)."""

_log = get_logger("stack")

STORE_ENVIRONMENT = {"JE_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"}
"""The engine's allocator gives freed pages back at once: 70 MiB less at the peak of an import, no slower."""


class StackError(Exception):
    """The embedded stack cannot start, or a part of it ended by itself; the message has the part and its last words."""

    exit_code = ExitCode.UNAVAILABLE


@dataclass(frozen=True)
class Child:
    """A process of the stack.

    `ready` is asked until it says True; the stack fails when that takes longer than `start_seconds`, or when the
    process ends at any time before it is told to. Children are told to end (SIGTERM) by falling `order`, all of one
    order together, so producers (30) end before streams (20), streams before sinks (10), all before the store (0).
    `environment` is added to the stack's own, which `EmbeddedStack.env` gives.
    """

    name: str
    command: Sequence[str]
    order: int = 20
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    start_seconds: float = 60.0
    stop_seconds: float = 30.0


def answers(url: str) -> bool:
    """Whether a GET of `url` (a /health page) gives 200; for `Child.ready`."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=2)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@dataclass
class _Running:
    child: Child
    process: subprocess.Popen[bytes]
    follow: int  # write end of its standard input: closed with this process


class EmbeddedStack:
    """`with EmbeddedStack(DIR) as stack:` an open embedded directory.

    `children`: what runs beside broker and store. `services`: functions (`module:function`) that the store process runs
    as threads, see `finwatch.local.store_process`. `topics`: other topics than the one list, for tests. `partitions`
    holds for the life of DIR: another number than it was made with is refused, since history is kept by partition.

    Opening raises DirectoryInUse (another stack has DIR), StackError, BrokerUnavailable. Open it in a thread that lives
    as long as the stack: the kernel ends the children when the thread that started them ends.
    """

    def __init__(
        self,
        directory: Path,
        *,
        children: Sequence[Child] = (),
        services: Sequence[str] = (),
        partitions: int | None = None,
        topics: Sequence[str] | None = None,
        store: bool = True,
    ) -> None:
        self.directory = directory.resolve()
        self.incarnation = uuid.uuid4().hex
        self.failed = threading.Event()
        self._children, self._services, self._topics = tuple(children), tuple(services), topics
        self._asked_partitions = partitions
        self._with_store = store
        self._running: list[_Running] = []
        self._failure = ""
        self._stopping = False
        self._broker: MockBroker | None = None
        self._lock: DirectoryLock | None = None
        self._logs: LogPump | None = None
        self._store_url = ""
        self._partitions = 0

    @property
    def bootstrap(self) -> str:
        """Address of the broker."""
        if self._broker is None:
            raise StackError("the embedded stack is not open")
        return self._broker.bootstrap

    @property
    def broker(self) -> MockBroker:
        """The broker itself, to inject faults in tests."""
        if self._broker is None:
            raise StackError("the embedded stack is not open")
        return self._broker

    @property
    def clickhouse_url(self) -> str:
        """Address of the store's HTTP front."""
        return self._store_url

    @property
    def partitions(self) -> int:
        """Partitions of every topic."""
        return self._partitions

    def pids(self) -> dict[str, int]:
        """Process ids by name; the broker's is this process."""
        return {"broker": os.getpid(), **{running.child.name: running.process.pid for running in self._running}}

    def env(self) -> dict[str, str]:
        """Settings that let a finwatch process use this stack, as environment variables."""
        settings = {
            "FINWATCH_EMBEDDED": str(self.directory),
            "FINWATCH_INCARNATION": self.incarnation,
            "FINWATCH_KAFKA_BOOTSTRAP": self.bootstrap,
            "FINWATCH_KAFKA_PARTITIONS": str(self.partitions),
            "FINWATCH_REGISTRY_URL": "",
        }
        if self._store_url:
            settings |= {
                "FINWATCH_CLICKHOUSE_URL": self._store_url,
                "FINWATCH_CLICKHOUSE_USER": "default",
                "FINWATCH_CLICKHOUSE_PASSWORD_FILE": str(password_file(self.directory, "default")),
            }
        return settings

    def start(self, child: Child) -> None:
        """Start a process and wait until it is ready. Raises StackError; a failed start fails the stack."""
        self._spawn(child)
        self._await_ready(self._running[-1])
        self._write_state()

    def stop(self, name: str) -> None:
        """End one child and wait for it; its end is no failure. Raises KeyError for a name that does not run."""
        running = next((item for item in self._running if item.child.name == name), None)
        if running is None:
            raise KeyError(name)
        self._running.remove(running)
        self._end([running])
        self._write_state()

    def check(self) -> None:
        """Raise StackError when a part of the stack has ended by itself."""
        if self.failed.is_set():
            raise StackError(self._failure)

    def wait(self, until: threading.Event) -> None:
        """Block until `until` is set; raises StackError as soon as a part ends by itself."""
        while not until.wait(0.1):
            self.check()
        self.check()

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
        if kind is None:
            self.check()

    def close(self) -> None:
        """End everything, in order; a second call does nothing."""
        self._stopping = True
        # 1. Children by falling order: who makes data ends before who takes it; the store is the last of them.
        while self._running:
            last = max(running.child.order for running in self._running)
            group = [running for running in self._running if running.child.order == last]
            self._running = [running for running in self._running if running.child.order != last]
            self._end(group)
        if self._logs is not None:
            self._logs.drained(5)
            self._logs.close()
            self._logs = None
        # 2. The broker, which nobody needs any more.
        if self._broker is not None:
            self._broker.close()
            self._broker = None
        # 3. Now DIR is as it was before, and may be opened by another.
        if self._lock is not None:
            (self.directory / "stack.json").unlink(missing_ok=True)
            self._lock.release()
            self._lock = None

    def _open(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        # 1. DIR is ours, or we say whose it is.
        self._lock = DirectoryLock(self.directory / "lock", f"the embedded stack in {self.directory}")
        # 2. What a killed stack left is ended before anything of ours uses the same files.
        self._clean_leftovers()
        self._partitions = self._settled_partitions()
        self._logs = LogPump(self.directory / "logs")
        # 3. Broker and topics, 4. store, 5. the children, each ready before the next.
        self._broker = MockBroker()
        self._broker.create_topics(self._partitions, self._topics)
        self._write_state()
        if self._with_store:
            self._start_store()
        for child in self._children:
            self.start(child)

    def _settled_partitions(self) -> int:
        path = self.directory / "settings.json"
        known = read_json(path)
        if known is None:
            partitions = self._asked_partitions or DEFAULT_PARTITIONS
            write_json(path, {"partitions": partitions})
            return partitions
        partitions = int(known["partitions"])
        if self._asked_partitions not in (None, partitions):
            raise StackError(
                f"{self.directory} was made with {partitions} partitions and keeps its history by them; "
                f"{self._asked_partitions} were asked for. Leave the number out, or use another directory."
            )
        return partitions

    def _start_store(self) -> None:
        endpoint = endpoint_file(self.directory)
        endpoint.unlink(missing_ok=True)
        command = [sys.executable, "-m", "finwatch.local.store_process", str(self.directory)]
        for service in self._services:
            command += ["--service", service]

        def ready() -> bool:
            found = read_json(endpoint)
            if found is None:
                return False
            self._store_url = str(found["url"])
            return answers(self._store_url + "/health")

        self.start(Child("store", command, order=0, ready=ready, environment=STORE_ENVIRONMENT))

    def _spawn(self, child: Child) -> None:
        if self._logs is None:
            raise StackError("the embedded stack is not open")
        environment = {**os.environ, **self.env(), **child.environment, child_module.FOLLOW: "1"}
        shim = [sys.executable, "-I", "-S", str(child_module.__file__), str(os.getpid()), *child.command]
        read_end, write_end = os.pipe()
        try:
            process = subprocess.Popen(  # noqa: S603 a list, no shell
                shim,
                stdin=read_end,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                # A group of its own: Ctrl-C of the terminal reaches this process alone, which ends them in order.
                start_new_session=True,
            )
        except OSError as error:
            os.close(write_end)
            raise StackError(f"{child.name} cannot be started: {error.strerror}") from None
        finally:
            os.close(read_end)
        assert process.stdout is not None  # PIPE was asked for
        self._logs.add(child.name, process.stdout)  # type: ignore[arg-type]
        running = _Running(child, process, write_end)
        self._running.append(running)
        threading.Thread(target=self._watch, args=(running,), name=f"watch {child.name}", daemon=True).start()

    def _await_ready(self, running: _Running) -> None:
        child = running.child
        deadline = time.monotonic() + child.start_seconds
        while child.ready is not None and not child.ready():
            if self.failed.wait(POLL_SECONDS):
                self.check()
            if time.monotonic() > deadline:
                tail = self._logs.tail(child.name) if self._logs else ""
                raise StackError(f"{child.name} is not ready after {child.start_seconds:.0f} s; it says:\n{tail}")
        self.check()

    def _watch(self, running: _Running) -> None:
        code = running.process.wait()
        if self._stopping or running not in self._running:
            return
        if self._logs is not None:
            # Its last words are on their way through the pipe.
            self._logs.drained(0.3)
            tail = self._logs.tail(running.child.name)
        else:
            tail = ""
        name = running.child.name
        how = f"was ended by signal {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        if not self.failed.is_set():
            log = self.directory / "logs" / f"{name}.log"
            self._failure = f"{name} {how}; its last lines ({log}):\n{tail}"
            _log.error("a part of the embedded stack ended by itself", part=name, code=code)
            self.failed.set()

    def _end(self, group: Sequence[_Running]) -> None:
        for running in group:
            _signal_group(running.process, signal.SIGTERM)
        for running in group:
            try:
                running.process.wait(running.child.stop_seconds)
            except subprocess.TimeoutExpired:
                _log.error("a part does not end and is killed", part=running.child.name)
            # Whatever it has started itself goes with it, also when it ended well.
            _signal_group(running.process, signal.SIGKILL)
            running.process.wait()
            os.close(running.follow)

    def _write_state(self) -> None:
        write_json(
            self.directory / "stack.json",
            {
                "incarnation": self.incarnation,
                "pid": os.getpid(),
                "opened_at": datetime.now(UTC).isoformat(),
                "bootstrap": self.bootstrap,
                "clickhouse_url": self._store_url,
                "partitions": self.partitions,
                "processes": {
                    running.child.name: {"pid": running.process.pid, "started": _started(running.process.pid)}
                    for running in self._running
                },
            },
        )

    def _clean_leftovers(self) -> None:
        """End processes of a stack that was killed, if the kernel has not; forget its end points."""
        state = self.directory / "stack.json"
        try:
            left = read_json(state) or {}
        except ValueError:
            left = {}  # half a file is impossible (it is replaced whole); a foreign one says nothing to us
        for name, process in dict(left.get("processes", {})).items():
            pid, started = int(process["pid"]), process["started"]
            # The same number may be another process by now: the start time tells.
            if started and _started(pid) == started:
                _log.warning("ending a process that a killed stack has left", part=name, pid=pid)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                while _started(pid) == started:
                    time.sleep(POLL_SECONDS)
        state.unlink(missing_ok=True)
        endpoint_file(self.directory).unlink(missing_ok=True)


def running_stack(directory: Path) -> dict[str, Any] | None:
    """`stack.json` of the stack that has DIR open now; None when none has.

    Judged by the lock, which the kernel releases with the process, not by a process id that may be another's by now.
    """
    state = read_json(directory / "stack.json")
    return state if state is not None and is_locked(directory / "lock") else None


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _started(pid: int) -> str:
    """When a process started, as a text to compare; empty for one that does not run."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self").exists():
            return ""
        command = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]  # macOS
        found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 a number, no shell
        return found.stdout.strip()
    return "" if fields[0] in "ZX" else fields[19]
