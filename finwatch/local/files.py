"""Files of an embedded directory: locks that name their holder, and small files written whole."""

import fcntl
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from finwatch.runtime.exits import ExitCode


class DirectoryInUse(Exception):
    """Another process has the embedded directory, or its store, open; the message names it."""

    exit_code = ExitCode.UNAVAILABLE


class DirectoryLock:
    """An exclusive flock on a file that names its holder. The kernel releases it when the process ends, however.

    Raises DirectoryInUse when another process holds it.
    """

    def __init__(self, path: Path, what: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._handle, 4096).decode("utf-8", "replace").strip()
            os.close(self._handle)
            raise DirectoryInUse(
                f"{what} is open in another process ({holder or 'unknown'}); end that one first, "
                "or ask it: `finwatch query --embedded DIR` uses the stack that runs"
            ) from None
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"pid {os.getpid()}: {_command()}\n".encode(), 0)

    def release(self) -> None:
        """Let go; a second call does nothing."""
        if self._handle >= 0:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.release()


def is_locked(path: Path) -> bool:
    """Whether some process holds the `DirectoryLock` on this file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def endpoint_file(directory: Path) -> Path:
    """Where the running store process of an embedded directory says how to reach it: {"pid", "url"}."""
    return directory / "run" / "store.json"


def write_whole(path: Path, content: str, mode: int = 0o600) -> None:
    """Replace a file in one step: a reader sees the old one or the new one, also after a crash."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """`write_whole` of a JSON object, private to the owner."""
    write_whole(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None when there is no such file. Raises ValueError for anything else in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError(f"{path} does not hold a JSON object")
    return content


def _command() -> str:
    """The program's name and first arguments; never all of them."""
    return " ".join([Path(sys.argv[0] or "python").name, *sys.argv[1:3]])[:200]
