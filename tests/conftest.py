"""What tests may ask for: real parts, the captured data, and the order in which tests run."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import structlog

from tests.parts.environment import missing
from tests.parts.kafka import Kafka
from tests.parts.monitoring import Alertmanager, Prometheus
from tests.parts.process import Server
from tests.parts.registry import Registry

ROOT = Path(__file__).resolve().parent.parent
_ORDER = ("unit", "contract", "conformance", "e2e", "fault")
ServerT = TypeVar("ServerT", bound=Server)
_SERVERS = pytest.StashKey[list[Server]]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep a list of the session's servers, to bring them up again between tests."""
    config.stash[_SERVERS] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast kinds of tests first, inside each kind the slow ones last."""

    def rank(item: pytest.Item) -> tuple[int, bool]:
        kind = item.path.relative_to(ROOT / "tests").parts[0] if item.path.is_relative_to(ROOT / "tests") else ""
        return (_ORDER.index(kind) if kind in _ORDER else len(_ORDER), item.get_closest_marker("slow") is not None)

    items.sort(key=rank)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A test that sets up logging does so for itself: pytest closes the stream that the logs then go to."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


@pytest.fixture(autouse=True)
def _servers_up_again(request: pytest.FixtureRequest) -> Iterator[None]:
    """A server that a test killed or paused is up again for the next one."""
    yield
    for server in request.config.stash[_SERVERS]:
        server.recover()


def _serve(request: pytest.FixtureRequest, server: ServerT) -> Iterator[ServerT]:
    """Start a server, lend it to the session's tests, end it."""
    servers = request.config.stash[_SERVERS]
    server.start()
    servers.append(server)
    try:
        yield server
    finally:
        servers.remove(server)
        server.stop()


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A real Kafka 4.1 broker for the whole session; mark its tests `broker`."""
    yield from _serve(request, Kafka(tmp_path_factory.mktemp("kafka")))


@pytest.fixture(scope="session")
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with the Confluent API for the whole session; mark its tests `registry`."""
    yield from _serve(request, Registry(tmp_path_factory.mktemp("registry")))


@pytest.fixture(scope="session")
def registry_url(registry: Registry) -> str:
    """Address of the session's registry."""
    return registry.url


@pytest.fixture
def run_prometheus(tmp_path: Path) -> Iterator[Callable[[str], Prometheus]]:
    """Start a Prometheus of the test's own with the given configuration text; mark its tests `prometheus`."""
    started: list[Prometheus] = []

    def run(config: str) -> Prometheus:
        server = Prometheus(tmp_path / f"prometheus-{len(started)}", config)
        started.append(server)
        server.start()
        return server

    yield run
    for server in started:
        server.stop()


@pytest.fixture
def run_alertmanager(tmp_path: Path) -> Iterator[Callable[[Path], Alertmanager]]:
    """Start an Alertmanager of the test's own with the given configuration file; mark its tests `prometheus`."""
    started: list[Alertmanager] = []

    def run(config: Path) -> Alertmanager:
        server = Alertmanager(tmp_path / f"alertmanager-{len(started)}", config)
        started.append(server)
        server.start()
        return server

    yield run
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of captured rows and event logs: FINWATCH_TEST_DATA, or shared/data beside the project."""
    folder = Path(os.environ.get("FINWATCH_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        missing(f"no captured data in {folder} (set FINWATCH_TEST_DATA)")
    return folder
