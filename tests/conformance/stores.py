"""A store process for tests, and clients of it."""

import json
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clickhouse_connect

from finwatch.local.files import endpoint_file
from finwatch.local.front.access import load_users


@dataclass
class RunningStore:
    """A store process and how to reach it."""

    directory: Path
    process: subprocess.Popen[bytes]
    url: str

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urllib.parse.urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 0)

    def password(self, user: str = "default") -> str:
        """Password of a user."""
        return load_users(self.directory)[user].password

    def client(
        self, database: str | None = None, user: str = "default", compress: bool | str = True, **settings: Any
    ) -> Any:
        """A clickhouse-connect client, as a user of the product would open it."""
        host, port = self.address
        return clickhouse_connect.get_client(
            host=host,
            port=port,
            username=user,
            password=self.password(user),
            database=database or "",
            compress=compress,
            settings={"async_insert": 0, **settings},
            tz_mode="aware",
        )


def start_store(directory: Path, *arguments: str) -> RunningStore:
    """Start a store process and wait until it answers; its output goes to DIR/store.out."""
    directory.mkdir(parents=True, exist_ok=True)
    endpoint_file(directory).unlink(missing_ok=True)
    with (directory / "store.out").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "finwatch.local.store_process", str(directory), *arguments],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
    deadline = time.monotonic() + 60
    while not endpoint_file(directory).exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError((directory / "store.out").read_text())
        time.sleep(0.02)
    return RunningStore(directory, process, json.loads(endpoint_file(directory).read_text())["url"])


@contextmanager
def running_store(directory: Path, *arguments: str) -> Iterator[RunningStore]:
    """A store process that is ended at the end, and must then end well."""
    store = start_store(directory, *arguments)
    try:
        yield store
    finally:
        store.process.terminate()
        try:
            code = store.process.wait(30)
        except subprocess.TimeoutExpired:
            store.process.kill()
            raise
    assert code == 0, (directory / "store.out").read_text()
