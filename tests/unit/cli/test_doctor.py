"""Doctor's look at the webhook ingress, as far as it needs no broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from finwatch.cli.doctor import _webhook, run
from finwatch.runtime.config import load_settings
from tests.parts.environment import free_port

HOOKS = """
hooks:
  odoo:
    kind: odoo
    token: {env: HOOK_TOKEN}
"""


def test_nothing_is_said_where_no_ingress_runs() -> None:
    assert run(_webhook, load_settings()) == []


def test_hooks_without_their_secret_and_a_broker_that_is_away_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "hooks.yaml"
    hooks.write_text(HOOKS)
    monkeypatch.setenv("FINWATCH_WEBHOOK_HOOKS", str(hooks))
    monkeypatch.setenv("FINWATCH_KAFKA_BOOTSTRAP", f"127.0.0.1:{free_port()}")
    monkeypatch.delenv("HOOK_TOKEN", raising=False)
    [found] = run(_webhook, load_settings())
    assert (found.check, found.status) == ("webhook", "failed") and "HOOK_TOKEN" in found.found
    monkeypatch.setenv("HOOK_TOKEN", "t" * 40)
    [found] = run(_webhook, load_settings())
    assert found.status == "failed" and "FINWATCH_KAFKA_BOOTSTRAP" in found.what_to_do
