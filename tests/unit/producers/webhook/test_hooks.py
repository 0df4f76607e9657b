"""The file of hooks is checked before anything listens; a mistake is named with its line, key and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from finwatch.runtime.config import ConfigError, load_settings
from producers.webhook import HooksError, load_hooks, parse_hooks
from producers.webhook.hooks import SignedHook
from producers.webhook.run import hooks_of
from tests.parts.webhook import ENVIRONMENT, HOOKS

ROOT = Path(__file__).resolve().parents[4]
GOOD = """hooks:
  bank:
    kind: signed
    keys:
      k1: {env: HOOK_OLD}
    event:
      entity: {value: payment}
      record_id: {path: id}
      activity: {path: state, values: {BOOKED: paid}}
      occurred_at: {path: at}
"""


def test_good_files() -> None:
    hooks = parse_hooks(HOOKS, "h.yaml", ENVIRONMENT)
    assert set(hooks.keys["approvals"]) == {"old", "new"}
    assert hooks.tokens["erp"] == ENVIRONMENT["HOOK_TOKEN"].encode()
    bank = parse_hooks(GOOD, "h.yaml", ENVIRONMENT).hooks["bank"]
    assert isinstance(bank, SignedHook)
    assert (bank.window_seconds, bank.max_bytes, bank.headers.signature) == (300, 2**20, "X-Finwatch-Signature")


def test_the_examples_in_the_documentation_are_good() -> None:
    page = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
    examples = [part.split("```")[0] for part in page.split("```yaml\n")[1:]]
    assert len(examples) >= 4
    secrets = {"APPROVALS_KEY_1": "a" * 32, "APPROVALS_KEY_2": "b" * 32, "BANK_KEY": "c" * 32, "OCR_KEY": "d" * 32,
               "SIGN_KEY": "e" * 32, "ODOO_HOOK_TOKEN": "f" * 32, "N8N_KEY": "g" * 32}  # fmt: skip
    for example in examples:
        text = example if example.startswith("hooks:") else "hooks:\n" + example
        parse_hooks(text, "docs/webhooks.md", secrets)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: signed", "kind: open", "h.yaml, line 2: hooks.bank: "),
        ("    keys:\n      k1: {env: HOOK_OLD}\n", "", "line 2: hooks.bank.signed.keys: is missing; add it"),
        ("{env: HOOK_OLD}", "{secret: abc}", "no such key; check its spelling"),
        ("{env: HOOK_OLD}", "{}", "name one place of the secret"),
        ("{env: HOOK_OLD}", "{env: NOT_SET}", "hooks.bank.keys.k1: environment variable NOT_SET is not set"),
        ("{env: HOOK_OLD}", "{env: SHORT}", "hooks.bank.keys.k1: a secret has 32 to 4096 bytes; make one with"),
        ("{env: HOOK_OLD}", "{file: /no/such/file}", "/no/such/file: No such file"),
        ("{value: payment}", "{value: workflow}", "no such entity"),
        ("{value: payment}", "{path: kind}", "no such entity; give `value`"),
        ("{BOOKED: paid}", "{BOOKED: done}", "no such activity"),
        ("      occurred_at: {path: at}\n", "", "give `occurred_at`, or `event_id`"),
        ("{path: id}", "{path: id, value: x}", "give one of `path: a.b`"),
        ("{path: id}", "{path: a..b}", "record_id.path"),
        ("    event:", "    headers: {nonce: 'a b'}\n    event:", "not the name of an HTTP header"),
        ("    event:", "    window_seconds: 5\n    event:", "window_seconds"),
        ("  bank:", "  Bank/1:", "String should match"),
        ("  bank:", "  bank: {}\n  bank:", "stands there twice"),
        (GOOD, "hooks: {}", "hooks"),
        (GOOD, "- a", "not a list of"),
    ],
)
def test_mistakes_are_named(old: str, new: str, message: str) -> None:
    with pytest.raises(HooksError) as error:
        parse_hooks(GOOD.replace(old, new, 1), "h.yaml", ENVIRONMENT | {"SHORT": "secret-short"})
    assert message in str(error.value)
    assert "secret-short" not in str(error.value)


def test_secrets_come_from_files_too(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("f" * 40 + "\n")
    (tmp_path / "hooks.yaml").write_text(GOOD.replace("env: HOOK_OLD", f"file: {tmp_path / 'key'}"))
    assert load_hooks(tmp_path / "hooks.yaml", {}).keys["bank"]["k1"] == b"f" * 40


def test_a_token_that_cannot_stand_in_a_path_is_refused() -> None:
    text = "hooks: {erp: {kind: odoo, token: {env: T}}}"
    with pytest.raises(HooksError, match="it stands in a path"):
        parse_hooks(text, "h", {"T": "a/b " * 10 + "x"})


def test_the_process_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="FINWATCH_WEBHOOK_HOOKS is not set"):
        hooks_of(load_settings())
    settings = load_settings()
    settings = settings.model_copy(
        update={"embedded": tmp_path, "webhook": settings.webhook.model_copy(update={"hooks": tmp_path / "h.yaml"})}
    )
    with pytest.raises(ConfigError, match="needs a real broker"):
        hooks_of(settings)
    with pytest.raises(HooksError, match="No such file"):
        hooks_of(settings.model_copy(update={"embedded": None}))
