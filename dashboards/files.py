"""The list of generated files: what each holds, which are stale, writing them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dashboards import alertmanager, metrics_doc, overview, provisioning, rules

GENERATED = Path("dashboards/generated")


def generated() -> Mapping[Path, str]:
    """Text of every generated file by its path from the project's root. The same at every call."""
    return {
        GENERATED / "grafana" / "finwatch-overview.json": overview.as_json(),
        GENERATED / "prometheus" / "recording.rules.yml": rules.recording_yaml(),
        GENERATED / "prometheus" / "alerts.rules.yml": rules.alerts_yaml(),
        GENERATED / "alertmanager" / "alertmanager.yml": alertmanager.as_yaml(),
        GENERATED / "provisioning" / "datasources" / "finwatch.yml": provisioning.datasources_yaml(),
        GENERATED / "provisioning" / "dashboards" / "finwatch.yml": provisioning.dashboards_yaml(),
        Path("docs/metrics.md"): metrics_doc.as_markdown(),
    }


def stale(root: Path) -> list[Path]:
    """Paths whose committed text is not what the sources say, and files that no source makes any more."""
    wanted = generated()
    wrong = [path for path, text in wanted.items() if not (root / path).is_file() or (root / path).read_text() != text]
    left = [path.relative_to(root) for path in (root / GENERATED).rglob("*") if path.is_file()]
    return sorted([*wrong, *(path for path in left if path not in wanted)])


def build(root: Path) -> list[Path]:
    """Write what is stale, remove what no source makes; returns the paths touched."""
    wanted = generated()
    touched = stale(root)
    for path in touched:
        if path in wanted:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(wanted[path])
        else:
            (root / path).unlink()
    return touched
