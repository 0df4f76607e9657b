"""A schema registry that speaks the Confluent API and that nobody here wrote: franz-go's, built with Go."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

from tests.parts.environment import cache_dir, exclusive, free_port, missing, program
from tests.parts.process import Server

_SOURCE = Path(__file__).parent / "registry_server"


def build() -> Path:
    """The server's binary, built on first use; skips or fails (CI) without Go."""
    sources = [_SOURCE / name for name in ("go.mod", "go.sum", "main.go")]
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    binary = cache_dir() / f"registry-{digest}"
    with exclusive("registry"):
        if not binary.exists():
            go = program("go", why="the registry tests build a schema registry with Go")
            half = binary.with_suffix(f".{os.getpid()}")
            built = subprocess.run(
                [go, "build", "-o", str(half), "."],
                cwd=_SOURCE,
                capture_output=True,
                text=True,
                timeout=280,
                env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"},
                check=False,
            )
            if built.returncode != 0:
                missing(f"the schema registry could not be built with Go: {built.stderr[-800:]}")
            shutil.move(half, binary)
    return binary


class Registry(Server):
    """The registry on a free port; what was registered is there again after kill and start."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [str(build()), f"127.0.0.1:{port}", str(folder / "journal.jsonl")]
        super().__init__("registry", command, folder, self._answers)

    def _answers(self) -> bool:
        with urllib.request.urlopen(f"{self.url}/subjects", timeout=2) as answer:
            return bool(answer.status == 200)
