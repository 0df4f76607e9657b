"""Loads policy files. The only place that reads them: the domain gets their content and says what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Protocol

import yaml

from finwatch.domain.policy import Policy, PolicyError, PolicySet, parse_policy

PACKAGED = ("default", "travel_declarations")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


class PolicyFileError(ValueError):
    """A policy file that cannot be used: file, line where it can be told, and what is wrong."""


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


def _load(source: _Readable, name: str) -> Policy:
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyFileError(
            f"{name}: cannot be read ({error.__class__.__name__}); give the path of a policy file"
        ) from error
    try:
        # One parse for the values, one for the line numbers of its errors.
        raw = yaml.safe_load(text)
        return parse_policy(raw)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f":{mark.line + 1}"
        raise PolicyFileError(f"{name}{line}: no valid YAML: {getattr(error, 'problem', None) or error}") from error
    except PolicyError as error:
        line_number = _line(text, error.path)
        raise PolicyFileError(f"{name}:{line_number}: {error.path}: {error.message}") from error


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
