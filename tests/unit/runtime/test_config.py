"""Configuration comes from the environment, secrets also from files, and errors name the variable, never the value."""

from pathlib import Path

import pytest

from finwatch.runtime.config import ConfigError, load_settings


def test_defaults_are_loopback_and_carry_no_secret() -> None:
    settings = load_settings()
    assert settings.kafka.bootstrap == "127.0.0.1:9092"
    assert settings.http.host == "127.0.0.1"
    assert settings.registry_url == ""
    assert settings.odoo.password.get_secret_value() == ""


def test_groups_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINWATCH_KAFKA_BOOTSTRAP", "broker:9093")
    monkeypatch.setenv("FINWATCH_ODOO_POLL_INTERVAL", "2.5")
    monkeypatch.setenv("FINWATCH_EMBEDDED", "")
    settings = load_settings()
    assert settings.kafka.bootstrap == "broker:9093"
    assert settings.odoo.poll_interval == 2.5
    assert settings.embedded is None


def test_a_secret_may_stand_in_a_file_and_never_shows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("correct horse\n")
    monkeypatch.setenv("FINWATCH_CLICKHOUSE_PASSWORD_FILE", str(secret))
    settings = load_settings()
    assert settings.clickhouse.password.get_secret_value() == "correct horse"
    assert "correct horse" not in repr(settings)
    assert "correct horse" not in settings.model_dump_json()


def test_an_unreadable_secret_file_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FINWATCH_ODOO_PASSWORD_FILE", str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="FINWATCH_ODOO_PASSWORD_FILE"):
        load_settings()


def test_a_wrong_value_is_named_but_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINWATCH_HTTP_PORT", "hunter2")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert "FINWATCH_HTTP_PORT" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_unknown_name_in_a_group_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINWATCH_KAFKA_BOOTSTRAPP", "x")
    with pytest.raises(ConfigError, match="FINWATCH_KAFKA_BOOTSTRAPP"):
        load_settings()


def test_sasl_without_a_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINWATCH_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    with pytest.raises(ConfigError, match="SASL_USERNAME"):
        load_settings()


def test_client_configuration_carries_credentials_only_with_sasl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINWATCH_KAFKA_SASL_USERNAME", "svc")
    monkeypatch.setenv("FINWATCH_KAFKA_SASL_PASSWORD", "s")
    assert "sasl.password" not in load_settings().kafka.client_config()
    monkeypatch.setenv("FINWATCH_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    config = load_settings().kafka.client_config({"group.id": "g"})
    assert config["sasl.password"] == "s"
    assert config["group.id"] == "g"
