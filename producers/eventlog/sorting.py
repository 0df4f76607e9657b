"""Sorting more than memory holds: sorted runs in temporary files, merged."""

import heapq
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_HEAD = struct.Struct("<qI")
_OVERHEAD = 120  # bytes that Python keeps for an entry beside its payload


class ExternalSort:
    """Sorts (key, payload) by key; equal keys keep the order in which they were added.

    At most about `memory` bytes of entries are held; the rest stands in files of a temporary directory in `folder`
    that is removed on exit. More than `fan_in` runs are merged into one, so open files are bounded too.
    """

    def __init__(self, memory: int = 64 * 1024 * 1024, folder: Path | None = None, fan_in: int = 64) -> None:
        if fan_in < 2:
            raise ValueError("fan_in must be at least 2")
        self._memory = memory
        self._folder = folder
        self._fan_in = fan_in
        self._held: list[tuple[int, bytes]] = []
        self._size = 0
        self._runs: list[Path] = []
        self._made = 0
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.clear()
        if self._directory is not None:
            self._directory.cleanup()

    def add(self, key: int, payload: bytes) -> None:
        """One entry; `key` is a signed 64-bit integer."""
        self._held.append((key, payload))
        self._size += len(payload) + _OVERHEAD
        self.count += 1
        if self._size >= self._memory:
            self._spill()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        self._held.sort(key=_key)
        # Runs stand in the order they were added and what is held came last: heapq.merge keeps that among equals.
        return heapq.merge(*(self._read(run) for run in self._runs), iter(self._held), key=_key)

    def _spill(self) -> None:
        self._held.sort(key=_key)
        self._runs.append(self._write(iter(self._held)))
        self._held.clear()
        self._size = 0
        if len(self._runs) >= self._fan_in:
            merged = self._write(heapq.merge(*(self._read(run) for run in self._runs), key=_key))
            for run in self._runs:
                run.unlink()
            self._runs = [merged]

    def _write(self, entries: Iterator[tuple[int, bytes]]) -> Path:
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="finwatch-sort-", dir=self._folder)
        self._made += 1
        path = Path(self._directory.name) / f"{self._made}.run"
        with path.open("wb", buffering=1 << 18) as file:
            for key, payload in entries:
                file.write(_HEAD.pack(key, len(payload)))
                file.write(payload)
        return path

    @staticmethod
    def _read(path: Path) -> Iterator[tuple[int, bytes]]:
        with path.open("rb", buffering=1 << 16) as file:
            yield from _entries(file)


def _entries(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    while head := file.read(_HEAD.size):
        key, size = _HEAD.unpack(head)
        yield key, file.read(size)


def _key(entry: tuple[int, bytes]) -> int:
    return entry[0]
