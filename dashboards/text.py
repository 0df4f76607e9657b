"""Generated YAML: block style, declared order, a first line that says where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Lists indented under their key, and long texts folded over lines as they were written."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Never put a list at the level of its key."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        """Repeat equal parts: anchors make a generated file harder to read."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def generated_yaml(source: str, content: Mapping[str, Any]) -> str:
    """`content` as YAML text under a comment that names the Python file it was generated from."""
    body = yaml.dump(dict(content), Dumper=_Dumper, sort_keys=False, width=118, allow_unicode=True)
    return f"# Generated from {source} by `python -m dashboards build`; do not edit.\n{body}"
