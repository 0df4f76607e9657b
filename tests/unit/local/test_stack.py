import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import clickhouse_connect
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from finwatch.local.files import DirectoryInUse
from finwatch.local.logs import LogPump, RotatingFile
from finwatch.local.stack import Child, EmbeddedStack, StackError, running_stack
from finwatch.runtime.config import load_settings
from finwatch.runtime.topics import TOPICS

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_the_whole_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedStack(tmp_path / "d", partitions=2) as stack:
        metadata = AdminClient({"bootstrap.servers": stack.bootstrap}).list_topics(timeout=10)
        assert {name: len(topic.partitions) for name, topic in metadata.topics.items()} == {
            spec.name: 2 for spec in TOPICS
        }
        for name, value in stack.env().items():
            monkeypatch.setenv(name, value)
        settings = load_settings()
        assert settings.kafka.bootstrap == stack.bootstrap and settings.kafka.partitions == 2
        assert settings.incarnation == stack.incarnation and settings.embedded == tmp_path / "d"
        client = clickhouse_connect.get_client(
            dsn=settings.clickhouse.url,
            username=settings.clickhouse.user,
            password=settings.clickhouse.password.get_secret_value(),
        )
        assert client.command("SELECT 1") == 1
        client.close()
        state = running_stack(tmp_path / "d")
        assert state is not None and state["incarnation"] == stack.incarnation
        assert state["clickhouse_url"] == stack.clickhouse_url
        assert (tmp_path / "d" / "stack.json").stat().st_mode & 0o077 == 0
        pids = stack.pids()
        assert set(pids) == {"broker", "store"}
        with pytest.raises(DirectoryInUse, match=f"pid {os.getpid()}"):
            EmbeddedStack(tmp_path / "d").__enter__()
        stack.check()
    assert not alive(pids["store"])
    assert running_stack(tmp_path / "d") is None
    assert not (tmp_path / "d" / "stack.json").exists()
    assert "the store answers" in (tmp_path / "d" / "logs" / "store.log").read_text()


def test_opened_again_it_keeps_its_data_and_has_a_new_incarnation(tmp_path: Path) -> None:
    def client(stack: EmbeddedStack) -> object:
        password = (tmp_path / "secrets" / "store-default").read_text().strip()
        return clickhouse_connect.get_client(dsn=stack.clickhouse_url, username="default", password=password)

    with EmbeddedStack(tmp_path, partitions=3) as first:
        client(first).command("CREATE DATABASE kept")  # type: ignore[attr-defined]
    with EmbeddedStack(tmp_path) as second:
        assert second.partitions == 3
        assert second.incarnation != first.incarnation
        assert client(second).command("EXISTS DATABASE kept") == 1  # type: ignore[attr-defined]
    with pytest.raises(StackError, match="3 partitions"):
        EmbeddedStack(tmp_path, partitions=5).__enter__()


def test_children_end_in_order(tmp_path: Path) -> None:
    report = tmp_path / "ends"
    code = textwrap.dedent(
        """
        import pathlib, signal, sys
        def end(*_):
            with open(sys.argv[1], "a") as f: f.write(sys.argv[2] + "\\n")
            sys.exit(0)
        signal.signal(signal.SIGTERM, end)
        pathlib.Path(sys.argv[1] + "." + sys.argv[2]).touch()
        while True: signal.pause()
        """
    )

    def child(name: str, order: int) -> Child:
        ready = (tmp_path / f"ends.{name}").exists
        return Child(name, [sys.executable, "-c", code, str(report), name], order=order, ready=ready)

    children = [child("sink", 10), child("producer", 30), child("streams", 20)]
    with EmbeddedStack(tmp_path / "d", children=children, topics=[], store=False) as stack:
        assert set(stack.pids()) == {"broker", "sink", "producer", "streams"}
    assert report.read_text().split() == ["producer", "streams", "sink"]


def test_a_child_that_dies_fails_the_stack_with_its_last_words(tmp_path: Path) -> None:
    dying = Child("mapper", [sys.executable, "-c", "import sys; print('out of paper'); sys.exit(3)"])
    with (
        pytest.raises(StackError, match=r"(?s)mapper ended with code 3.*out of paper"),
        EmbeddedStack(tmp_path, children=[dying], topics=[], store=False) as stack,
    ):
        stack.wait(threading.Event())


def test_a_killed_store_is_reported(tmp_path: Path) -> None:
    with (
        pytest.raises(StackError, match="store was ended by signal SIGKILL"),
        EmbeddedStack(tmp_path, topics=[]) as stack,
    ):
        os.kill(stack.pids()["store"], signal.SIGKILL)
        stack.wait(threading.Event())


def test_a_child_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    child = Child("slow", SLEEPER, ready=lambda: False, start_seconds=0.5)
    stack = EmbeddedStack(tmp_path, children=[child], topics=[], store=False)
    with pytest.raises(StackError, match="slow is not ready"):
        stack.__enter__()
    assert set(stack.pids()) == {"broker"}, "and nothing of it runs on"


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(StackError, match="no-such-program"),
        EmbeddedStack(tmp_path, children=[Child("x", ["/no-such-program"])], topics=[], store=False) as stack,
    ):
        stack.wait(threading.Event())


def test_a_child_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    log = tmp_path / "logs" / "deaf.log"
    child = Child(
        "deaf",
        [sys.executable, "-c", code],
        stop_seconds=0.3,
        ready=lambda: log.exists() and b"deaf" in log.read_bytes(),
    )
    with EmbeddedStack(tmp_path, children=[child], topics=[], store=False) as stack:
        pid = stack.pids()["deaf"]
    assert not alive(pid)


def test_stopping_one_child_is_no_failure(tmp_path: Path) -> None:
    with EmbeddedStack(tmp_path, children=[Child("a", SLEEPER)], topics=[], store=False) as stack:
        stack.stop("a")
        stack.check()
        assert set(stack.pids()) == {"broker"}
        with pytest.raises(KeyError):
            stack.stop("a")


PARENT = """
import sys, pathlib, threading
from finwatch.local.stack import Child, EmbeddedStack
grand = "import time; time.sleep(600)"
with EmbeddedStack(pathlib.Path(sys.argv[1]), children=[Child("idle", [sys.executable, "-c", grand])]) as stack:
    print("open", flush=True)
    stack.wait(threading.Event())
"""


def start_parent(directory: Path) -> tuple[subprocess.Popen[str], dict[str, int]]:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(directory)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdout.readline() == "open\n"
    state = json.loads((directory / "stack.json").read_text())
    return parent, {name: process["pid"] for name, process in state["processes"].items()}


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_kill_9_of_the_parent_leaves_no_process_and_the_directory_opens_again(tmp_path: Path) -> None:
    parent, pids = start_parent(tmp_path)
    assert set(pids) == {"store", "idle"} and all(alive(pid) for pid in pids.values())
    parent.kill()
    parent.wait()
    assert until(lambda: not any(alive(pid) for pid in pids.values())), "children outlive their parent"
    assert running_stack(tmp_path) is None, "what stack.json says holds only while the lock is held"
    with EmbeddedStack(tmp_path) as stack:
        stack.check()


def test_ctrl_c_ends_everything(tmp_path: Path) -> None:
    parent, pids = start_parent(tmp_path)
    parent.send_signal(signal.SIGINT)
    assert parent.wait(60) in (1, 130, -signal.SIGINT)
    assert not any(alive(pid) for pid in pids.values())
    assert not (tmp_path / "stack.json").exists()


def test_leftovers_that_the_kernel_did_not_end_are_ended(tmp_path: Path) -> None:
    left = subprocess.Popen(SLEEPER, start_new_session=True, stdout=subprocess.DEVNULL)
    innocent = subprocess.Popen(SLEEPER, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        started = Path(f"/proc/{left.pid}/stat").read_text().rpartition(")")[2].split()[19]
        processes = {"old": {"pid": left.pid, "started": started}, "reused": {"pid": innocent.pid, "started": "1"}}
        (tmp_path / "stack.json").write_text(json.dumps({"pid": 1, "processes": processes}))
        with EmbeddedStack(tmp_path, topics=[], store=False):
            assert left.wait(5) == -signal.SIGKILL
            assert innocent.poll() is None
    finally:
        left.kill()
        innocent.kill()
        left.wait()
        innocent.wait()


def test_log_files_turn_by_size(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "x.log", max_bytes=100, kept=2)
    for number in range(50):
        file.write(b"line %04d\n" % number)
    file.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.log", "x.log.1", "x.log.2"]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert (tmp_path / "x.log").read_text().endswith("line 0049\n")
    again = RotatingFile(tmp_path / "x.log", max_bytes=100, kept=2)
    again.write(b"y" * 99)
    again.close()
    assert (tmp_path / "x.log.1").read_text().endswith("line 0049\n")


def test_the_log_pump_keeps_the_tail(tmp_path: Path) -> None:
    pump = LogPump(tmp_path)
    code = "for n in range(1000): print('line', n)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    pump.add("p", process.stdout)  # type: ignore[arg-type]
    process.wait()
    assert pump.drained(10)
    assert pump.tail("p").splitlines() == [f"line {number}" for number in range(980, 1000)]
    assert (tmp_path / "p.log").read_text().count("\n") == 1000
    pump.close()
    process.stdout.close()


def test_a_stack_without_store_says_so(tmp_path: Path) -> None:
    stack = EmbeddedStack(tmp_path, store=False, topics=["only"])
    with pytest.raises(StackError, match="not open"):
        _ = stack.bootstrap
    with stack:
        assert "FINWATCH_CLICKHOUSE_URL" not in stack.env() and stack.clickhouse_url == ""
        producer = Producer({"bootstrap.servers": stack.bootstrap})
        producer.produce("only", value=b"x")
        assert producer.flush(10) == 0
