"""One producer at a time for a source.

On a broker: its transactional identity. Whoever claims it is the one, and the broker refuses every later record of the
former one, however long that was stopped (docs/adr). The note `claim` in the state only names who that is.
On an embedded stack: a lock on a file of its directory, which the system gives back when the process ends, however it
ends; one that is merely stopped keeps it.
"""

import fcntl
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import msgspec

from finwatch.runtime.exits import ExitCode

NOTE = "claim"
"""Under this name in the capture's memory."""
RENEW = timedelta(seconds=10)
SILENT = timedelta(seconds=45)


def identity_of(source: str) -> str:
    """Transactional identity of a source's producer."""
    return f"finwatch.capture.{source}"


class AlreadyRunning(Exception):
    """Another capture of this source runs on the same embedded stack."""

    exit_code = ExitCode.FENCED
    what_to_do = "stop that one first"


class Claim(msgspec.Struct, frozen=True):
    """Who produces for a source: renewed while it runs; `ended` once it stopped by itself."""

    id: str
    host: str
    pid: int
    at: datetime
    ended: bool = False

    def alive(self, now: datetime) -> bool:
        """Whether it is likely to be running."""
        return not self.ended and now - self.at < SILENT


def claim(now: datetime) -> Claim:
    """A claim of this process."""
    return Claim(uuid4().hex, socket.gethostname(), os.getpid(), now)


def encode_claim(one: Claim) -> bytes:
    """As it stands in the state."""
    return msgspec.json.encode(one)


def claim_in(state: Mapping[str, bytes]) -> Claim | None:
    """The claim in a source's state; None when there is none, or none that can be read."""
    try:
        return msgspec.json.decode(state[f"note/{NOTE}"], type=Claim)
    except (KeyError, msgspec.DecodeError):
        return None


@contextmanager
def alone_in(directory: Path, source: str) -> Iterator[None]:
    """Be the only capture of a source on an embedded directory. Raises AlreadyRunning."""
    path = directory / f"capture.{source}.lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise AlreadyRunning(
                f"another capture of source {source} runs on {directory} (process {file.read().strip() or 'unknown'})"
            ) from None
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield
