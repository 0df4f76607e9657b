"""The embedded broker: librdkafka's mock cluster, through ctypes, out of the library that confluent-kafka brings along.

It speaks the Kafka protocol on a loopback port of its own. Its limits shape the embedded stack:

- memory only: it forgets everything when its process ends;
- 5 MB a partition: older records are dropped, read or not (see `finwatch.local.backpressure`);
- no CreateTopics, no compaction, no transactions that a reader could trust: topics are made here, by `create_topic`.
"""

import ctypes
import functools
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import confluent_kafka

from finwatch.runtime.topics import TOPICS

RETENTION_BYTES = 5 * 1024 * 1024
"""What the mock broker keeps of a partition (rdkafka_mock.c: `max_size` of a partition)."""

_PRODUCER = 0  # rd_kafka_type_t: a mock cluster hangs on any client instance
_CONF_OK = 0
_pointer = ctypes.c_void_p
_SIGNATURES: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
    ("rd_kafka_conf_new", _pointer, ()),
    ("rd_kafka_conf_destroy", None, (_pointer,)),
    (
        "rd_kafka_conf_set",
        ctypes.c_int,
        (_pointer, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t),
    ),
    ("rd_kafka_new", _pointer, (ctypes.c_int, _pointer, ctypes.c_char_p, ctypes.c_size_t)),
    ("rd_kafka_destroy", None, (_pointer,)),
    ("rd_kafka_err2str", ctypes.c_char_p, (ctypes.c_int,)),
    ("rd_kafka_mock_cluster_new", _pointer, (_pointer, ctypes.c_int)),
    ("rd_kafka_mock_cluster_destroy", None, (_pointer,)),
    ("rd_kafka_mock_cluster_bootstraps", ctypes.c_char_p, (_pointer,)),
    ("rd_kafka_mock_topic_create", ctypes.c_int, (_pointer, ctypes.c_char_p, ctypes.c_int, ctypes.c_int)),
    ("rd_kafka_mock_broker_set_down", ctypes.c_int, (_pointer, ctypes.c_int32)),
    ("rd_kafka_mock_broker_set_up", ctypes.c_int, (_pointer, ctypes.c_int32)),
    ("rd_kafka_mock_broker_set_rtt", ctypes.c_int, (_pointer, ctypes.c_int32, ctypes.c_int)),
    ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, (_pointer, ctypes.c_int32)),
    (
        "rd_kafka_mock_push_request_errors_array",
        None,
        (_pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)),
    ),
    ("rd_kafka_mock_clear_request_errors", None, (_pointer, ctypes.c_int16)),
)


class BrokerUnavailable(Exception):
    """The embedded broker cannot run in this installation; the message says what is missing and what to do."""


def library_candidates(package: Path) -> list[Path]:
    """Files beside the package directory of `confluent_kafka` that may be its librdkafka, likeliest first.

    Linux wheels (auditwheel) put it into `confluent_kafka.libs/`, macOS wheels (delocate) into
    `confluent_kafka/.dylibs/`. A build from source links the system's library into the extension module, which then
    gives the symbols itself, so that module is the last candidate.
    """
    found: list[Path] = []
    for directory, pattern in (
        (package.parent / "confluent_kafka.libs", "librdkafka*.so*"),
        (package / ".dylibs", "librdkafka*.dylib"),
        (package, "cimpl*.so"),
    ):
        found.extend(sorted(directory.glob(pattern)))
    return found


def bind(path: Path) -> ctypes.CDLL:
    """Load a librdkafka and declare the functions used here. Raises BrokerUnavailable naming what is absent."""
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise BrokerUnavailable(f"{path.name} cannot be loaded: {error}") from None
    for name, result, arguments in _SIGNATURES:
        try:
            function = getattr(library, name)
        except AttributeError:
            raise BrokerUnavailable(f"{path.name} does not export {name}") from None
        function.restype = result
        function.argtypes = list(arguments)
    return library


@functools.cache
def load_library() -> ctypes.CDLL:
    """The librdkafka of the installed confluent-kafka. Raises BrokerUnavailable when no candidate will do."""
    reasons: list[str] = []
    for path in library_candidates(Path(str(confluent_kafka.__file__)).parent):
        try:
            return bind(path)
        except BrokerUnavailable as error:
            reasons.append(str(error))
    why = "; ".join(reasons) or "no librdkafka was found beside the package"
    raise BrokerUnavailable(
        f"the embedded broker needs the librdkafka of confluent-kafka's binary wheel, on {sys.platform}: {why}. "
        "Install the wheel (`pip install --only-binary :all: confluent-kafka`), or use a real broker "
        "(FINWATCH_KAFKA_BOOTSTRAP) without FINWATCH_EMBEDDED."
    )


class MockBroker:
    """A Kafka broker in this process, on a free loopback port; it ends with `close()` or with the process.

    `rebalance_delay_ms`: how long a new group waits for more members (Kafka's default of 3 s would be felt at each
    start). Raises BrokerUnavailable when librdkafka will not do it.
    """

    def __init__(self, *, brokers: int = 1, rebalance_delay_ms: int = 100) -> None:
        self._library = load_library()
        self._client: int | None = None
        self._cluster: int | None = None
        reason = ctypes.create_string_buffer(512)
        conf = self._library.rd_kafka_conf_new()
        # Level 3 (errors): at 5 the client that carries the cluster warns that it has no bootstrap servers itself.
        for name, value in ((b"client.id", b"finwatch-broker"), (b"log_level", b"3")):
            if self._library.rd_kafka_conf_set(conf, name, value, reason, len(reason)) != _CONF_OK:
                self._library.rd_kafka_conf_destroy(conf)
                raise BrokerUnavailable(f"librdkafka refuses its configuration: {reason.value.decode()}")
        client = self._library.rd_kafka_new(_PRODUCER, conf, reason, len(reason))
        if not client:
            self._library.rd_kafka_conf_destroy(conf)
            raise BrokerUnavailable(f"librdkafka does not start: {reason.value.decode()}")
        cluster = self._library.rd_kafka_mock_cluster_new(client, brokers)
        if not cluster:
            self._library.rd_kafka_destroy(client)
            raise BrokerUnavailable("librdkafka cannot start its mock cluster: no free loopback port?")
        self._client, self._cluster = client, cluster
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, rebalance_delay_ms)
        self.bootstrap: str = self._library.rd_kafka_mock_cluster_bootstraps(cluster).decode()

    def create_topic(self, name: str, partitions: int) -> None:
        """Make a topic. Raises ValueError when the broker refuses it (it exists, or the name or count is not valid)."""
        code = self._library.rd_kafka_mock_topic_create(self._handle(), name.encode(), partitions, 1)
        if code != 0:
            reason = self._library.rd_kafka_err2str(code).decode()
            raise ValueError(f"the embedded broker cannot create topic {name!r} with {partitions} partitions: {reason}")

    def create_topics(self, partitions: int, names: Iterable[str] | None = None) -> None:
        """Make the topics of the one list (or `names`), all with the same number of partitions."""
        for name in names if names is not None else (spec.name for spec in TOPICS):
            self.create_topic(name, partitions)

    def set_down(self, broker: int = 1) -> None:
        """Cut the connections of a broker and refuse new ones, until `set_up`. What it holds is kept."""
        self._check(self._library.rd_kafka_mock_broker_set_down(self._handle(), broker), broker)

    def set_up(self, broker: int = 1) -> None:
        """Let a broker that is down answer again."""
        self._check(self._library.rd_kafka_mock_broker_set_up(self._handle(), broker), broker)

    def set_rtt(self, milliseconds: int, broker: int = 1) -> None:
        """Delay every answer of a broker."""
        self._check(self._library.rd_kafka_mock_broker_set_rtt(self._handle(), broker, milliseconds), broker)

    def push_errors(self, api_key: int, errors: Sequence[int]) -> None:
        """Answer the next requests of `api_key` (Kafka's number: 0 Produce, 1 Fetch ...) with these error codes."""
        array = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(self._handle(), api_key, len(errors), array)

    def clear_errors(self, api_key: int) -> None:
        """Forget the errors pushed for `api_key` that no request has met yet."""
        self._library.rd_kafka_mock_clear_request_errors(self._handle(), api_key)

    def close(self) -> None:
        """End the broker; every client loses its connection, and its records are gone. A second call does nothing."""
        # 1. The cluster runs on the client's main thread: it goes first. 2. Then the client that carried it.
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            self._library.rd_kafka_mock_cluster_destroy(cluster)
        client, self._client = self._client, None
        if client is not None:
            self._library.rd_kafka_destroy(client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _handle(self) -> int:
        if self._cluster is None:
            raise RuntimeError("the embedded broker is closed")
        return self._cluster

    def _check(self, code: int, broker: int) -> None:
        if code != 0:
            raise ValueError(f"broker {broker}: {self._library.rd_kafka_err2str(code).decode()}")
