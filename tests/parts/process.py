"""A server as a child process, which no test run leaves behind, even when it is killed itself."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# Reads "+pid" and "-pid" lines; when the writing end closes, because the test run ended in whatever way,
# kills what is still listed.
_REAPER = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
alive = set()
for line in sys.stdin:
    (alive.add if line[0] == "+" else alive.discard)(int(line[1:]))
for pid in alive:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""

_reaper: subprocess.Popen[str] | None = None


def _tell_reaper(line: str) -> None:
    global _reaper
    if _reaper is None:
        _reaper = subprocess.Popen(
            [sys.executable, "-S", "-c", _REAPER], stdin=subprocess.PIPE, text=True, start_new_session=True
        )
        atexit.register(_reaper.communicate)
    if _reaper.stdin is None:
        raise RuntimeError("the reaper has no standard input")
    _reaper.stdin.write(line + "\n")
    _reaper.stdin.flush()


class NotReady(AssertionError):
    """The server ended, or did not answer, within its time; the message holds the end of its log."""


class Server:
    """A server process that can be started, killed, paused and started again on the same ports and data.

    `ready` is asked until it returns true; it returns false, or raises OSError, while the server is not up yet.
    `start` and `restart` return when it is ready and raise NotReady after `timeout` seconds.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        ready: Callable[[], bool],
        *,
        timeout: float = 60.0,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.command = [*command]
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._ready = ready
        self._timeout = timeout
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False

    @property
    def running(self) -> bool:
        """Whether the process is there (paused counts)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id; raises RuntimeError when it was never started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    def start(self) -> None:
        """Start it, unless it runs, and wait until it is ready."""
        if not self.running:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    self.command,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                    start_new_session=True,  # Ctrl-C in a terminal must not reach it before the tests end
                )
            self._paused = False
            _tell_reaper(f"+{self._process.pid}")
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the server answers; NotReady when it ends or does not in time."""
        deadline = time.monotonic() + self._timeout
        while True:
            if not self.running:
                raise NotReady(f"{self.name} ended by itself:\n{self.log_tail()}")
            with contextlib.suppress(OSError):
                if self._ready():
                    return
            if time.monotonic() > deadline:
                raise NotReady(f"{self.name} did not answer within {self._timeout:.0f} s:\n{self.log_tail()}")
            time.sleep(0.05)  # between two questions; the condition is `ready`

    def kill(self) -> None:
        """SIGKILL, as in a power failure; returns when the process is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after ten seconds."""
        self.resume()
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """SIGKILL, then start on the same ports and data."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """SIGCONT, when paused."""
        if self._paused and self.running:
            os.kill(self.pid, signal.SIGCONT)
        self._paused = False

    def recover(self) -> None:
        """Up and answering again, whatever a test did to it."""
        self.resume()
        if not self.running:
            self.start()

    def log_tail(self, lines: int = 40) -> str:
        """The last lines the server wrote."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._paused = False
        _tell_reaper(f"-{process.pid}")
