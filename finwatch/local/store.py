"""The store of an embedded directory: the ClickHouse engine of chdb, opened by one process.

One process owns the engine; the others ask it through the HTTP front. What the engine would do by default and must not
is set here: it does not fsync, deletes merged parts at once, buffers inserts, and reads any file by SQL.
"""

import os
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from finwatch.local.files import DirectoryLock, write_whole
from finwatch.local.front.engine import Engine

MEMORY_BYTES = 900 * 1024 * 1024
"""Limit of the engine's own memory; a query beyond it fails with code 241, the process lives."""
RESULT_BYTES = 256 * 1024 * 1024
"""Limit of one result, which the front holds in memory."""

_CONFIG = """<clickhouse>
<users_config>{users}</users_config>
<user_directories><users_xml><path>{users}</path></users_xml></user_directories>
<max_server_memory_usage>{memory}</max_server_memory_usage>
<mark_cache_size>67108864</mark_cache_size>
<uncompressed_cache_size>0</uncompressed_cache_size>
<background_pool_size>2</background_pool_size>
<merge_tree>
<fsync_after_insert>1</fsync_after_insert>
<fsync_part_directory>1</fsync_part_directory>
<min_rows_to_fsync_after_merge>1</min_rows_to_fsync_after_merge>
<old_parts_lifetime>480</old_parts_lifetime>
<number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
<number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
<number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
</merge_tree>
</clickhouse>
"""
# The grants leave out READ and WRITE on sources: SQL reaches tables, and neither files nor urls nor other servers.
_USERS = """<clickhouse>
<profiles><default>
<async_insert>0</async_insert>
<implicit_select>0</implicit_select>
<max_result_bytes>{result}</max_result_bytes>
<result_overflow_mode>throw</result_overflow_mode>
</default></profiles>
<users><default><password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
<grants><query>GRANT SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE FUNCTION, CREATE TEMPORARY TABLE, DROP, TRUNCATE, OPTIMIZE, KILL QUERY, SHOW, SYSTEM ON *.*</query>
{engines}</grants>
</default></users>
<quotas><default/></quotas>
</clickhouse>
"""  # noqa: E501


_ENGINES = (
    *(f"{kind}MergeTree" for kind in ("", "Replacing", "Summing", "Aggregating", "Collapsing", "VersionedCollapsing")),
    "CoalescingMergeTree",
    "Memory",
    "Null",
    "Set",
    "Join",
    "Buffer",
)
"""Table engines that keep their data in the store. The others (File, URL, S3, MySQL ...) reach outside of it."""


class Store:
    """The engine of an embedded directory, open in this process until `close`.

    Sets TZ to UTC and TMPDIR to a directory of its own for the whole process (the engine takes both from there), and
    empties that directory: what a killed process left there is nobody's. Raises DirectoryInUse when another process has
    the store, with its id and command.
    """

    def __init__(self, directory: Path, *, memory: int = MEMORY_BYTES) -> None:
        self.directory = directory.resolve()
        self.path = self.directory / "store"
        self.path.mkdir(parents=True, exist_ok=True)
        # 1. Nobody else has it: only then may its temporary files be swept.
        self._lock = DirectoryLock(self.directory / "store.lock", f"the store of {directory}")
        try:
            # 2. Surroundings of the engine.
            run = self.directory / "run" / "store"
            shutil.rmtree(run / "tmp", ignore_errors=True)
            (run / "tmp").mkdir(parents=True)
            os.environ["TMPDIR"] = str(run / "tmp")
            os.environ["TZ"] = "UTC"
            time.tzset()
            engines = "\n".join(f"<query>GRANT TABLE ENGINE ON {name}</query>" for name in _ENGINES)
            users, config = run / "users.xml", run / "config.xml"
            write_whole(users, _USERS.format(result=RESULT_BYTES, engines=engines))
            write_whole(config, _CONFIG.format(users=escape(str(users)), memory=memory))
            self._options = {"config-file": str(config)}
            # 3. The engine itself.
            self.engine = Engine(self.connect)
        except BaseException:
            self._lock.release()
            raise

    def connect(self) -> Any:
        """A connection of chdb to this store."""
        import chdb  # 0.4 s and 200 MB: only the process that opens the store pays for it

        address = f"{self.path}?{urlencode(self._options)}"
        return chdb.connect(address)  # type: ignore[no-untyped-call]

    def client(self, database: str | None = None, **settings: Any) -> Any:
        """A clickhouse-connect client for code of this process; one a thread, closed before the store is."""
        import clickhouse_connect

        return clickhouse_connect.get_client(
            interface="chdb",
            path=str(self.path),
            chdb_options=self._options,
            database=database or "",
            settings={"async_insert": 0, **settings},
            tz_mode="aware",  # otherwise times of UTC columns come back naive
        )

    def close(self) -> None:
        """Close the engine, then let another process have the store."""
        self.engine.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
