"""Output of child processes: into files that are rotated by size, the last lines kept for error messages."""

import os
import selectors
import threading
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 5 * 1024 * 1024
KEPT = 3
TAIL_LINES = 20
TAIL_BYTES = 16 * 1024


class RotatingFile:
    """A log file of at most `max_bytes`; older ones are NAME.1 (the newest) to NAME.`kept`."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._max, self._kept = path, max_bytes, kept
        self._file = path.open("ab")
        self._size = path.stat().st_size

    def write(self, data: bytes) -> None:
        """Append; turns to a new file first when this one would grow beyond its size."""
        if self._size and self._size + len(data) > self._max:
            self._turn()
        self._file.write(data)
        self._file.flush()
        self._size += len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _turn(self) -> None:
        self._file.close()
        for number in range(self._kept - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._file = self._path.open("ab")
        self._size = 0


class LogPump:
    """One thread that moves the output of all children into their files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._selector = selectors.DefaultSelector()
        self._tails: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._open = 0
        self._idle = threading.Condition(self._lock)
        self._wake_read, self._wake_write = os.pipe()
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
        self._thread.start()

    def add(self, name: str, stream: BinaryIO) -> None:
        """Follow a child's output, to `logs/NAME.log`, until it ends."""
        with self._lock:
            self._tails[name] = b""
            self._open += 1
        self._selector.register(stream, selectors.EVENT_READ, (name, RotatingFile(self._directory / f"{name}.log")))
        os.write(self._wake_write, b".")

    def tail(self, name: str) -> str:
        """Last lines of a child's output."""
        with self._lock:
            lines = self._tails.get(name, b"").splitlines(keepends=True)[-TAIL_LINES:]
        return b"".join(lines).decode("utf-8", "replace")

    def drained(self, seconds: float) -> bool:
        """Wait until all followed outputs have ended; False: not in time."""
        with self._idle:
            return self._idle.wait_for(lambda: self._open == 0, seconds)

    def close(self) -> None:
        """Stop following."""
        self._closing = True
        os.write(self._wake_write, b".")
        self._thread.join(5)
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                key.data[1].close()
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _run(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select():
                if key.data is None:
                    os.read(self._wake_read, 4096)
                    continue
                name, file = key.data
                data = os.read(key.fd, 65536)
                if data:
                    file.write(data)
                    with self._lock:
                        self._tails[name] = (self._tails[name] + data)[-TAIL_BYTES:]
                else:
                    self._selector.unregister(key.fileobj)
                    file.close()
                    with self._idle:
                        self._open -= 1
                        self._idle.notify_all()
