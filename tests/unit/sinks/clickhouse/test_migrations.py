"""The migration runner over a double that remembers what was applied."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from sinks.clickhouse.migrations import Migration, MigrationError, migrate, pending, shipped


class Client:
    """Answers the runner's two questions; fails at the n-th statement when told to."""

    def __init__(self, fail_at: int = 0) -> None:
        self.statements: list[str] = []
        self.applied: dict[int, str] | None = None
        self.fail_at = fail_at

    def query(self, _sql: str) -> Any:
        if self.applied is None:
            raise DatabaseError("Code: 81. DB::Exception: Database finwatch does not exist")
        return SimpleNamespace(result_rows=list(self.applied.items()))

    def command(self, sql: str, parameters: dict[str, Any] | None = None) -> None:
        if self.fail_at and len(self.statements) + 1 == self.fail_at:
            self.fail_at = 0
            raise DatabaseError("Code: 209. DB::Exception: Timeout")
        self.statements.append(sql)
        if "TABLE IF NOT EXISTS finwatch.migrations" in sql and self.applied is None:
            self.applied = {}
        if parameters:
            assert self.applied is not None
            self.applied[parameters["number"]] = parameters["checksum"]


def test_a_second_run_has_nothing_to_do() -> None:
    client = Client()
    assert [m.number for m in migrate(client, "finwatch")] == [m.number for m in shipped()]
    assert pending(client, "finwatch") == []
    assert migrate(client, "finwatch") == []


def test_a_dry_run_changes_nothing() -> None:
    client = Client()
    assert migrate(client, "finwatch", dry_run=True) == shipped()
    assert client.statements == []


@pytest.mark.parametrize("at", [1, 2, 3, 9, 16, 20])
def test_a_run_that_failed_half_way_is_finished_by_the_next(at: int) -> None:
    client = Client(fail_at=at)
    with pytest.raises(DatabaseError):
        migrate(client, "finwatch")
    migrate(client, "finwatch")
    assert pending(client, "finwatch") == []


def test_an_applied_file_that_was_changed_is_refused() -> None:
    client = Client()
    migrate(client, "finwatch")
    assert client.applied is not None
    client.applied[1] = "another"
    with pytest.raises(MigrationError, match=r"0001_tables\.sql"):
        migrate(client, "finwatch")


def test_a_store_of_a_newer_version_is_refused() -> None:
    client = Client()
    migrate(client, "finwatch")
    assert client.applied is not None
    client.applied[99] = "x"
    with pytest.raises(MigrationError, match="migration 99"):
        pending(client, "finwatch")


def test_every_statement_may_be_repeated() -> None:
    for migration in shipped():
        for statement in migration.statements("finwatch"):
            assert re.match(
                r"CREATE TABLE IF NOT EXISTS|CREATE OR REPLACE VIEW|ALTER TABLE \S+\s+ADD COLUMN IF NOT EXISTS",
                statement,
            ), statement[:80]


def test_statements_end_at_a_semicolon_at_the_end_of_a_line() -> None:
    text = "-- a comment; with a semicolon;\nSELECT 'a; b'\nFROM {database}.t;\n\nSELECT 2 ;\n"
    assert Migration(1, "0001_x.sql", text).statements("other") == ["SELECT 'a; b'\nFROM other.t", "SELECT 2"]
