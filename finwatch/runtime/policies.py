"""Loads policy files. The only place that reads them: the domain gets their content and says what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple, Protocol

import yaml

from finwatch.domain.policy import Policy, PolicyError, PolicySet, parse_policy
from finwatch.domain.policy.mistakes import mistakes

PACKAGED = ("default", "travel_declarations")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


class PolicyFileError(ValueError):
    """A policy file that cannot be used: file, line where it can be told, and what is wrong."""


class Mistake(NamedTuple):
    """One thing that is wrong with a policy file. ``line`` from 1; None, as an empty ``path``, if none can be told."""

    file: str
    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (where, self.path, self.message) if part)


class _Readable(Protocol):
    def read_text(self, encoding: str) -> str: ...


def load_policies(paths: Sequence[Path] = ()) -> PolicySet:
    """The packaged policies and those in ``paths``; a file whose policy has a packaged name replaces that one.

    Raises PolicyFileError.
    """
    found: dict[str, Policy] = {}
    for name in PACKAGED:
        policy = packaged_policy(name)
        found[policy.name] = policy
    for path in paths:
        policy = load_policy(path)
        found[policy.name] = policy
    return PolicySet(list(found.values()))


def packaged_policy(name: str) -> Policy:
    """A policy that comes with finwatch. Raises PolicyFileError for an unknown name."""
    if name not in PACKAGED:
        raise PolicyFileError(f"no policy named {name} comes with finwatch; there are {', '.join(PACKAGED)}")
    return _load(files("finwatch") / "policies" / f"{name}.yaml", f"{name}.yaml")


def load_policy(path: Path) -> Policy:
    """One policy file. Raises PolicyFileError, also when it cannot be read."""
    return _load(path, str(path))


def mistakes_of(path: Path) -> list[Mistake]:
    """All that is wrong with a policy file, in the order of its lines; empty for one that can be used."""
    name = str(path)
    try:
        text, raw = _read(path, name)
    except _Unreadable as error:
        return [error.mistake]
    found = [Mistake(name, _line(text, error.path), error.path, error.message) for error in mistakes(raw)]
    return sorted(found, key=lambda mistake: mistake.line or 0)


class _Unreadable(PolicyFileError):
    """A file that is no YAML, or none at all: nothing else can be said of it."""

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(str(mistake))
        self.mistake = mistake


def _load(source: _Readable, name: str) -> Policy:
    text, raw = _read(source, name)
    try:
        return parse_policy(raw)
    except PolicyError as error:
        raise PolicyFileError(str(Mistake(name, _line(text, error.path), error.path, error.message))) from error


def _read(source: _Readable, name: str) -> tuple[str, object]:
    """Text and content of a file. Raises _Unreadable."""
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot be read ({error.__class__.__name__}); give the path of a policy file"
        raise _Unreadable(Mistake(name, None, "", message)) from error
    try:
        return text, yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        message = f"no valid YAML: {getattr(error, 'problem', None) or error}"
        raise _Unreadable(Mistake(name, None if mark is None else mark.line + 1, "", message)) from error


def _line(text: str, path: str) -> int:
    """Line (from 1) of the deepest part of ``path`` that the file has."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    line = 1
    for name, index in _STEP.findall(path):
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == name), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and index and int(index) < len(node.value):
            node = node.value[int(index)]
            line = node.start_mark.line + 1
        else:
            break
    return line
