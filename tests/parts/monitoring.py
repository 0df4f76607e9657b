"""Prometheus, Alertmanager and their checkers, as the system installed them."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.parts.environment import free_port, program
from tests.parts.process import Server

_WHY = "install prometheus and prometheus-alertmanager (Debian) or their release archives"


@dataclass(frozen=True)
class Checked:
    """What promtool or amtool said: exit code and both outputs together."""

    code: int
    output: str


def _run(command: Sequence[str], cwd: Path | None) -> Checked:
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
    )
    return Checked(done.returncode, done.stdout)


def promtool(*arguments: str, cwd: Path | None = None) -> Checked:
    """Run promtool; skips or fails (CI) when it is not installed."""
    return _run([program("promtool", why=_WHY), *arguments], cwd)


def amtool(*arguments: str, cwd: Path | None = None) -> Checked:
    """Run amtool; skips or fails (CI) when it is not installed."""
    return _run([program("amtool", why=_WHY), *arguments], cwd)


def _answers(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=2) as answer:
        return bool(answer.status == 200)


class Prometheus(Server):
    """Prometheus with a given configuration on a free port; `url` has no trailing slash."""

    def __init__(self, folder: Path, config: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "prometheus.yml"
        path.write_text(config)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [
            program("prometheus", why=_WHY),
            f"--config.file={path}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-lifecycle",
            "--log.level=warn",
        ]
        super().__init__("prometheus", command, folder, lambda: _answers(f"{self.url}/-/ready"))


class Alertmanager(Server):
    """Alertmanager with a given configuration file on a free port, no clustering."""

    def __init__(self, folder: Path, config: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [
            program("prometheus-alertmanager", "alertmanager", why=_WHY),
            f"--config.file={config}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]
        super().__init__("alertmanager", command, folder, lambda: _answers(f"{self.url}/-/ready"))
