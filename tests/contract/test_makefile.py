"""`make` explains itself, and refuses a Python it cannot use before it makes anything."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("Makefile", "requirements-dev.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


def test_make_alone_lists_what_can_be_made(folder: Path) -> None:
    shown = make(folder)
    assert shown.returncode == 0
    phony = set(re.findall(r"^\.PHONY: (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)) - {".venv"}
    assert set(re.findall(r"^  make (\S+)", shown.stdout, re.MULTILINE)) == phony
    assert {"help", "demo", "test", "test-all", "lint", "bench", "clean", "lock"} <= phony


def test_a_python_out_of_range_is_refused(folder: Path) -> None:
    old = folder / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    refused = make(folder, "setup", f"PYTHON={old}")
    assert refused.returncode != 0
    assert "is not Python 3.11 to 3.13" in refused.stdout
    assert not (folder / ".venv").exists()


def test_no_python_at_all_says_what_to_install(folder: Path) -> None:
    refused = make(folder, "setup", "PYTHON=")
    assert refused.returncode != 0
    assert "apt install python3-venv" in refused.stdout
    assert not (folder / ".venv").exists()


def test_the_ci_script_runs_lint_and_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert script.stat().st_mode & 0o111
    text = script.read_text()
    assert "CI=true" in text and re.search(r"^set -euo pipefail$", text, re.MULTILINE)
    assert re.search(r"^make .*lint$", text, re.MULTILINE) and re.search(r"^make .*test$", text, re.MULTILINE)
