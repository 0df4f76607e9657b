import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finwatch.local.files import DirectoryInUse, DirectoryLock, read_json, write_json
from finwatch.local.front.access import load_users
from finwatch.local.store import Store
from finwatch.local.store_process import ServiceContext, load_service, main, run
from finwatch.runtime.exits import ExitCode
from tests.conformance.stores import RunningStore, running_store, start_store

BATCH = 2_000


@pytest.fixture
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Store in this process sets TZ and TMPDIR."""
    monkeypatch.setenv("TZ", os.environ.get("TZ", "UTC"))
    monkeypatch.setenv("TMPDIR", os.environ.get("TMPDIR", "/tmp"))


def test_a_second_opener_is_told_who_has_the_store(tmp_path: Path) -> None:
    with running_store(tmp_path) as first:
        second = subprocess.run(
            [sys.executable, "-m", "finwatch.local.store_process", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == ExitCode.UNAVAILABLE
        assert f"pid {first.process.pid}" in second.stderr and "Traceback" not in second.stderr
        client = first.client()
        assert client.command("SELECT 1") == 1, "and the first goes on"
        client.close()


def test_leftover_temporary_files_are_swept(tmp_path: Path) -> None:
    temporary = tmp_path / "run" / "store" / "tmp"
    temporary.mkdir(parents=True)
    (temporary / "tmpabc.native").write_bytes(b"orphan")
    with running_store(tmp_path):
        assert list(temporary.iterdir()) == []


def test_the_engine_is_set_up_as_the_facts_ask(tmp_path: Path) -> None:
    with running_store(tmp_path) as store:
        client = store.client()
        settings = dict(
            client.query(
                "SELECT name, value FROM system.merge_tree_settings WHERE name IN ('fsync_after_insert', "
                "'fsync_part_directory', 'old_parts_lifetime', 'min_rows_to_fsync_after_merge')"
            ).result_rows
        )
        assert settings == {
            "fsync_after_insert": "1",
            "fsync_part_directory": "1",
            "old_parts_lifetime": "480",
            "min_rows_to_fsync_after_merge": "1",
        }
        assert client.command("SELECT timezone()") == "UTC"
        assert str(client.command("SELECT value FROM system.settings WHERE name = 'async_insert'")) == "0"
        client.close()


def test_a_password_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    load_users(tmp_path)
    (tmp_path / "secrets" / "store-reader").chmod(0o644)
    result = subprocess.run(
        [sys.executable, "-m", "finwatch.local.store_process", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == ExitCode.DENIED and "chmod 600" in result.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with running_store(tmp_path / "a") as store:
        result = subprocess.run(
            [
                sys.executable,
                "-m",
                "finwatch.local.store_process",
                str(tmp_path / "b"),
                "--port",
                str(store.address[1]),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == ExitCode.UNAVAILABLE and str(store.address[1]) in result.stderr


@pytest.mark.usefixtures("own_environment")
def test_a_service_shares_the_engine_and_stops_first(tmp_path: Path) -> None:
    stop = threading.Event()
    seen: list[object] = []

    def service(context: ServiceContext) -> None:
        client = context.store.client()
        seen.append(client.command("SELECT 40 + 2"))
        stop.set()
        context.stop.wait(10)
        seen.append(client.command("SELECT 43"))
        client.close()

    assert run(tmp_path, services=[("counter", service)], stop=stop) == ExitCode.OK
    assert seen == [42, 43]


@pytest.mark.usefixtures("own_environment")
@pytest.mark.parametrize("fails", [True, False])
def test_a_service_that_ends_by_itself_ends_the_process(tmp_path: Path, fails: bool) -> None:
    def service(_context: ServiceContext) -> None:
        if fails:
            raise RuntimeError("no")

    assert run(tmp_path, services=[("bad", service)]) == ExitCode.SOFTWARE


def test_services_are_named_module_and_function(tmp_path: Path) -> None:
    assert load_service("os.path:join")[1].__name__ == "join"
    for wrong in ("os.path", "no.such.module:x", "os:nothing", "os:sep"):
        with pytest.raises(ValueError, match=r"cannot be loaded|not a function"):
            load_service(wrong)
    assert main([str(tmp_path), "--service", "nope:nope"]) == ExitCode.USAGE


def test_locks_name_their_holder_and_are_released(tmp_path: Path) -> None:
    with (
        DirectoryLock(tmp_path / "lock", "the directory"),
        pytest.raises(DirectoryInUse, match=rf"the directory is open .*pid {os.getpid()}"),
    ):
        DirectoryLock(tmp_path / "lock", "the directory")
    with DirectoryLock(tmp_path / "lock", "the directory") as again:
        again.release()


def test_small_files_are_written_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert read_json(path) is None
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert read_json(path) == {"a": 2} and path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["state.json"]
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": 2} and [item.name for item in tmp_path.iterdir()] == ["state.json"]
    path.write_text("[1]")
    with pytest.raises(ValueError, match="JSON object"):
        read_json(path)


def _insert_until_cut(store: RunningStore, started: threading.Event, confirmed: list[int], first: int) -> None:
    """Insert batches, each numbered, until the store is gone; `confirmed` are those it said it has."""
    client = store.client("crash")
    number = first
    try:
        while True:
            client.insert_arrow("t", _batch(number))
            confirmed.append(number)
            number += 1
            started.set()
    except Exception:
        started.set()


def _batch(number: int) -> Any:
    import pyarrow as pa

    return pa.table({"batch": pa.array([number] * BATCH, pa.uint64()), "row": pa.array(range(BATCH), pa.uint32())})


@pytest.fixture
def crashing(tmp_path: Path) -> Iterator[RunningStore]:
    store = start_store(tmp_path)
    client = store.client()
    client.command("CREATE DATABASE crash ENGINE = Atomic")
    client.command("CREATE TABLE crash.t (batch UInt64, row UInt32) ENGINE = MergeTree ORDER BY (batch, row)")
    client.close()
    yield store
    store.process.kill()
    store.process.wait()


@pytest.mark.slow
def test_kill_9_amid_inserts_keeps_whole_batches_and_every_confirmed_one(crashing: RunningStore) -> None:
    """Invariant: after any kill -9 the table holds whole batches only, and all that were confirmed."""
    random.seed(11)
    confirmed: list[int] = []
    store = crashing
    for round_number in range(4):
        started = threading.Event()
        writers = [
            threading.Thread(
                target=_insert_until_cut, args=(store, started, confirmed, (round_number * 10 + index) * 1_000_000)
            )
            for index in range(2)
        ]
        for writer in writers:
            writer.start()
        assert started.wait(30)
        # A random moment within the next batches; nothing here waits for anything.
        threading.Event().wait(random.uniform(0.02, 0.3))
        store.process.kill()
        store.process.wait()
        for writer in writers:
            writer.join(30)
        store = start_store(store.directory)
        crashing.process = store.process
        client = store.client()
        found = dict(client.query("SELECT batch, count() FROM crash.t GROUP BY batch").result_rows)
        detached = client.command("SELECT count() FROM system.detached_parts")
        client.close()
        assert set(found.values()) == {BATCH}, "a torn batch"
        assert set(confirmed) <= set(found), "a confirmed batch is gone"
        assert detached == 0
    store.process.terminate()
    assert store.process.wait(30) == 0


@pytest.mark.usefixtures("own_environment")
def test_a_store_opened_in_this_process(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        client = store.client()
        client.command("CREATE DATABASE mine")
        client.close()
        with pytest.raises(DirectoryInUse):
            Store(tmp_path)
    with Store(tmp_path) as store:
        assert store.engine.scalar("SELECT count() FROM system.databases WHERE name = 'mine'") == "1"
