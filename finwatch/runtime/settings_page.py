"""docs/settings.md, generated from the settings themselves: `python -m finwatch.runtime.settings_page`."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from finwatch.runtime.config import PREFIX, Settings

PATH = Path(__file__).parents[2] / "docs" / "settings.md"
HEAD = """# Settings
Generated from `finwatch/runtime/config.py`; do not edit. Every setting is an environment variable. Any of them may be
given as `<NAME>_FILE`, naming a file that holds the value: use that for secrets, which are never taken from the command
line.
"""


def render() -> str:
    """The page, ending with a newline."""
    lines = [HEAD]
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            lines.append(f"\n## {name}\n{(group.__doc__ or '').strip()}\n\n{_table_head()}")
            lines.extend(_rows(f"{PREFIX}{name.upper()}_", group.model_fields))
    lines.append(f"\n## all processes\n\n{_table_head()}")
    single = {n: f for n, f in Settings.model_fields.items() if not _is_group(f)}
    lines.extend(_rows(PREFIX, single))
    return "\n".join(lines) + "\n"


def _table_head() -> str:
    return "| variable | default | |\n|---|---|---|"


def _is_group(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _rows(prefix: str, fields: dict[str, FieldInfo]) -> Iterator[str]:
    for name, field in fields.items():
        default = "a secret" if isinstance(field.default, SecretStr) else field.default
        shown = "" if default in (None, "") else f"`{default}`" if default != "a secret" else default
        choices = [str(choice) for choice in get_args(field.annotation) if isinstance(choice, str)]
        text = " ".join(
            part for part in (field.description, f"One of {', '.join(choices)}." if choices else "") if part
        )
        yield f"| `{prefix}{name.upper()}` | {shown} | {text} |"


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
