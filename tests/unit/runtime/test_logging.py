"""Logs are one JSON object a line, and secrets do not pass."""

import io
import json
import logging

import pytest

from finwatch.runtime.logging import configure_logging, get_logger


def test_lines_are_json_with_time_level_and_component(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    get_logger("sink").info("caught up", records=3)
    line = json.loads(capsys.readouterr().err.strip())
    assert line["event"] == "caught up"
    assert (line["component"], line["level"], line["records"]) == ("sink", "info", 3)
    assert line["timestamp"].endswith("Z")


def test_secrets_are_masked_and_odoorpc_stays_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("debug", "json")
    get_logger("capture").info("login", password="hunter2", api_key="k3y", acc_number="DE00")
    logging.getLogger("odoorpc.rpc").debug("%s", {"args": ["db", 2, "hunter2"]})
    shown = capsys.readouterr().err
    for secret in ("hunter2", "k3y", "DE00"):
        assert secret not in shown


def test_lines_go_to_standard_error_as_it_is_when_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr("sys.stderr", first)
    configure_logging("info", "json")
    log = get_logger("sink")
    log.info("one")
    first.close()
    monkeypatch.setattr("sys.stderr", second)
    log.info("two")
    logging.getLogger("library").warning("three")
    assert [json.loads(line)["event"] for line in second.getvalue().splitlines()] == ["two", "three"]


def test_failed_attempts_to_connect_are_not_told_by_the_http_library() -> None:
    configure_logging("info", "json")
    import clickhouse_connect  # noqa: F401 - its import sets the level of the library's logger

    assert not logging.getLogger("urllib3.connectionpool").isEnabledFor(logging.WARNING)
