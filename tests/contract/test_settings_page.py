"""docs/settings.md says what the settings are."""

from finwatch.runtime.settings_page import PATH, render


def test_the_page_is_up_to_date() -> None:
    assert PATH.read_text(encoding="utf-8") == render(), "run: make generate"


def test_secrets_show_no_default() -> None:
    for line in render().splitlines():
        if "PASSWORD`" in line or ("KEY`" in line and "SSL" not in line):
            assert "| a secret |" in line
