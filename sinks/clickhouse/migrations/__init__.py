"""Numbered migrations of the store, and their runner.

Each file `NNNN_name.sql` holds statements that may be run again without harm (IF NOT EXISTS, OR REPLACE), separated by
a semicolon at the end of a line; `{database}` stands for the database's name. A file that was applied must not change:
its checksum is in the table `migrations`.

Two runners at once do no harm: every statement is idempotent, both write the same row, and ReplacingMergeTree keeps
one of them.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib import resources

from clickhouse_connect.driver.client import Client

from finwatch.runtime.clock import Clock, SystemClock, to_micros
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.store import error_code

_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_UNKNOWN_TABLE, _UNKNOWN_DATABASE = 60, 81

_CREATE_DATABASE = "CREATE DATABASE IF NOT EXISTS {database} ENGINE = Atomic COMMENT 'Finance operations, watched.'"
_CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS {database}.migrations
(
    number     UInt32 COMMENT 'Number of the migration.',
    name       String COMMENT 'Name of its file.',
    checksum   String COMMENT 'SHA-256 of its file, hex.',
    applied_at DateTime64(6, 'UTC') COMMENT 'When it was applied, UTC.'
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY number
COMMENT 'Migrations that were applied to this database.'
"""


class MigrationError(Exception):
    """The store's schema and this version of finwatch do not fit."""

    exit_code = ExitCode.CONFIG

    def __init__(self, message: str, what_to_do: str) -> None:
        super().__init__(message)
        self.what_to_do = what_to_do


@dataclass(frozen=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file, hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def statements(self, database: str) -> list[str]:
        """The file's statements for `database`."""
        bare = "\n".join(line for line in self.text.splitlines() if not line.lstrip().startswith("--"))
        parts = (part.strip() for part in re.split(r";[ \t]*(?:\n|$)", bare))
        return [part.replace("{database}", database) for part in parts if part]


def shipped() -> list[Migration]:
    """The migrations of this version, in order. Raises ValueError when numbers are missing or doubled."""
    found = []
    for entry in resources.files(__package__).iterdir():
        match = _NAME.fullmatch(entry.name)
        if match:
            found.append(Migration(int(match[1]), entry.name, entry.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError("migrations must be numbered 0001, 0002, ... without gaps")
    return found


def applied(client: Client, database: str) -> dict[int, str]:
    """Checksums of the migrations applied to `database`, by number; empty when there is no such database."""
    try:
        statement = f"SELECT number, checksum FROM {database}.migrations FINAL"  # noqa: S608 - checked by the settings
        rows = client.query(statement).result_rows
    except Exception as error:
        if error_code(error) in (_UNKNOWN_TABLE, _UNKNOWN_DATABASE):
            return {}
        raise
    return {int(number): str(checksum) for number, checksum in rows}


def pending(client: Client, database: str) -> list[Migration]:
    """Migrations that `database` still lacks.

    Raises MigrationError when an applied file was changed, or when the store is newer than this version.
    """
    done, known = applied(client, database), shipped()
    for migration in known:
        if done.get(migration.number, migration.checksum) != migration.checksum:
            raise MigrationError(
                f"migration {migration.name} was applied to {database} with other contents",
                "install the version that made the store, or write the change as a new migration",
            )
    newest = max(done, default=0)
    if newest > len(known):
        raise MigrationError(
            f"database {database} has migration {newest}, this version knows {len(known)}",
            "upgrade finwatch on this machine",
        )
    return [migration for migration in known if migration.number not in done]


def migrate(
    client: Client, database: str = "finwatch", *, dry_run: bool = False, clock: Clock | None = None
) -> list[Migration]:
    """Apply what is pending, in order, and return it; with `dry_run` only return it.

    Safe to repeat and to run twice at once. A migration that fails half way is run again from its first statement.
    Raises MigrationError as `pending` does, and the client's errors.
    """
    todo = pending(client, database)
    if dry_run:
        return todo
    client.command(_CREATE_DATABASE.format(database=database))
    client.command(_CREATE_TABLE.format(database=database))
    for migration in todo:
        for statement in migration.statements(database):
            client.command(statement)
        now = (clock or SystemClock()).now()
        client.command(
            f"INSERT INTO {database}.migrations (number, name, checksum, applied_at) VALUES "  # noqa: S608 - as above
            "({number:UInt32}, {name:String}, {checksum:String}, fromUnixTimestamp64Micro({at:Int64}, 'UTC'))",
            parameters={
                "number": migration.number,
                "name": migration.name,
                "checksum": migration.checksum,
                "at": to_micros(now),
            },
        )
    return todo
