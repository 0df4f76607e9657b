"""What this machine has, where fetched parts are kept, and what to do when a part is missing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest


def in_ci() -> bool:
    """Whether a missing part is a failure (CI) or a reason to skip (a laptop)."""
    return os.environ.get("CI", "").strip().lower() in {"1", "true", "yes"}


def missing(reason: str) -> NoReturn:
    """Skip the test with `reason`; in CI fail it, so that nothing is left untested unseen."""
    if in_ci():
        pytest.fail(f"{reason} (CI=true: a skip is a failure)", pytrace=False)
    pytest.skip(reason)


def program(*names: str, why: str) -> str:
    """Path of the first of `names` found on PATH; `missing` with `why` when there is none."""
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    missing(f"{' or '.join(names)} not found: {why}")


def cache_dir() -> Path:
    """Folder for fetched and built parts; FINWATCH_TEST_CACHE or ~/.cache/finwatch-tests."""
    configured = os.environ.get("FINWATCH_TEST_CACHE")
    folder = Path(configured) if configured else Path.home() / ".cache" / "finwatch-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def exclusive(name: str) -> Iterator[None]:
    """One process at a time may fetch or build the part `name`, whichever test run it belongs to."""
    with (cache_dir() / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    """A TCP port of the loopback interface that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
