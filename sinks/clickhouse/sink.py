"""The sink's shell: reads records, lets `plan` decide, writes, and begins again from the store after any failure.

What must hold, and where it comes from, is in `sinks.clickhouse.plan`. The steps of a round are numbered here.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from clickhouse_connect.driver.client import Client

from finwatch.runtime.clock import Clock, SystemClock, from_micros
from finwatch.runtime.config import Settings
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.health import Health, HealthServer
from finwatch.runtime.logging import get_logger
from finwatch.runtime.metrics import Metrics
from finwatch.runtime.retry import backoff
from finwatch.runtime.store import STORE_ERRORS, StoreDenied, StoreUnavailable, connect, error_code
from finwatch.runtime.topics import (
    CLOCK,
    DEAD_LETTER,
    EXCEPTION,
    FINDING,
    KPI,
    RATE,
    RELATION,
    STEP,
    STORED_TOPICS,
    WATCHED_TOPICS,
)
from finwatch.runtime.trouble import Trouble
from schemas.registry import RegistryError, RegistryUnavailable, open_registry
from sinks.clickhouse.decoding import decoding
from sinks.clickhouse.migrations import pending
from sinks.clickhouse.plan import RAW, Limits, Partition, Plan, Slice, State
from sinks.clickhouse.rows import ORDER, STAGE, Decode, Insert, Life, Message, TableTypes, derived, inserts
from sinks.clickhouse.table_store import NotMigrated, TableStore
from sinks.log_reader import LogChanged, LogReader, LogUnavailable, OutOfRange

GROUP = "sink-clickhouse"
POLL_ROWS = 20_000
TOPOLOGY_SECONDS = 30.0
UNHEALTHY_SECONDS = 30.0
LEFT_OVER_SECONDS = 120.0
FENCE_SECONDS = 30.0
_RANKS = {RELATION: 1, **dict.fromkeys((STEP, CLOCK, EXCEPTION, FINDING, RATE, KPI, DEAD_LETTER), 2)}


def rank(topic: str) -> int:
    """How far a topic's records are from what producers write (`sinks.clickhouse.plan`, 6.)."""
    return _RANKS.get(topic, 0)


class SinkStopped(Exception):
    """The sink must not go on by itself; says why and what a person can do."""

    exit_code = ExitCode.SOFTWARE

    def __init__(self, message: str, what_to_do: str) -> None:
        super().__init__(message)
        self.what_to_do = what_to_do


class Sink:
    """One ClickHouse sink. There must be one a store; `run` returns when `stop` is set.

    `reader` and `client` make the edges, so that tests can put faults into them.
    """

    def __init__(
        self,
        settings: Settings,
        stop: threading.Event,
        *,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
        reader: Callable[[], LogReader] | None = None,
        client: Callable[[], Client] | None = None,
        decode: Decode | None = None,
    ) -> None:
        self.metrics = metrics or Metrics()
        self._settings = settings
        self._stop = stop
        self._clock = clock or SystemClock()
        self._log = get_logger("sink-clickhouse")
        self._trouble = Trouble(self._log)
        self._new_reader = reader or (lambda: LogReader(settings.kafka, STORED_TOPICS, settings.incarnation, GROUP))
        self._new_client = client or (lambda: connect(settings.clickhouse, database=False, timeout=30.0))
        self._decode = decode
        limits = Limits(rows=settings.sink.max_rows, linger=settings.sink.linger_seconds)
        # The embedded broker forgets: what is read once has to be stored so that nothing else is ever wanted of it.
        self._forgets = bool(settings.incarnation)
        self.plan: Plan[Message] = Plan(limits, rank if self._forgets else None)
        self._client: Client | None = None
        self._store: TableStore | None = None
        self._types: TableTypes = {}
        self._lives: dict[str, Life] = {}
        self._incarnations: dict[str, str] = {}
        self._topology_at = 0.0
        self._lag_at = 0.0
        self._failing_since: float | None = None
        self._waits = backoff(most=5.0)
        self._last_stored_micros = 0
        self._written_at: datetime | None = None

    # ---- what others may ask, from any thread

    def health(self) -> Health:
        """Healthy unless it has been failing for half a minute."""
        since = self._failing_since
        failing = 0.0 if since is None else self._clock.monotonic() - since
        return Health(
            failing < UNHEALTHY_SECONDS,
            {
                "state": self.plan.state.value,
                "failing_seconds": round(failing, 1),
                "waiting_records": self.plan.waiting,
            },
        )

    # ---- the loop

    def run(self) -> None:
        """Read and write until stopped.

        Raises SinkStopped, StoreDenied, MigrationError and RegistryError, which retrying cannot mend.
        """
        reader = self._new_reader()
        out_of_range: OutOfRange | None = None
        try:
            while not self._stop.is_set():
                try:
                    if out_of_range is not None:
                        self._judge(reader, out_of_range)
                        out_of_range = None
                    self._resume(reader)
                    while not self._stop.is_set():
                        self._round(reader)
                    self._finish(reader)
                except OutOfRange as error:
                    self._lose("log")
                    out_of_range = error
                except LogChanged as error:
                    self._log.warning("log changed", detail=str(error))
                    self._lose("log")
                except StoreDenied:
                    raise
                except (StoreUnavailable, LogUnavailable, NotMigrated) as error:
                    part = "log" if isinstance(error, LogUnavailable) else "store"
                    self._lose(part)
                    self._trouble.tell(
                        f"{part} is not ready", detail=str(error), what_to_do=getattr(error, "what_to_do", "")
                    )
                    self._clock.wait(next(self._waits), self._stop)
                except RegistryUnavailable as error:
                    self._lose("registry")
                    self._trouble.tell("registry does not answer", detail=str(error))
                    self._clock.wait(next(self._waits), self._stop)
                except STORE_ERRORS as error:
                    # The message may quote a statement; the code and the kind say enough.
                    self._lose("store")
                    self._trouble.tell("store failed", error=type(error).__name__, code=error_code(error))
                    self._clock.wait(next(self._waits), self._stop)
        finally:
            reader.close()
            self._drop_client()

    def _lose(self, part: str) -> None:
        if self._failing_since is None:
            self._failing_since = self._clock.monotonic()
        self.metrics.counter("sink_retries").labels(part).inc()
        self.plan.lost()
        self._drop_client()

    def _recovered(self) -> None:
        """A batch stands, or there is none to write. A store that can be asked but not written to is no recovery."""
        if self._failing_since is not None:
            self._failing_since = None
            self._waits = backoff(most=5.0)
            self._trouble.over()

    def _drop_client(self) -> None:
        if self._client is not None:
            try:
                self._client.close()
            except STORE_ERRORS as error:
                self._log.debug("closing the client failed", error=type(error).__name__)
            self._client = self._store = None

    def _resume(self, reader: LogReader) -> None:
        """From LOST to READING: everything is asked anew."""
        database = self._settings.clickhouse.database
        if self._decode is None:
            self._decode = decoding(open_registry(self._settings.registry))
        self._client = self._new_client()
        store = self._store = TableStore(self._client, database)
        lacking = pending(self._client, database)
        if lacking:
            raise NotMigrated(f"database {database} lacks migration {lacking[0].name}; run: finwatch store migrate")
        self._types = store.types((*ORDER, RAW))
        # 1. No insert of ours runs any more: one that ends after step 4 would be read again and stored twice.
        self._end_left_overs(store)
        # 2. A batch that was cut off behind its raw log is derived again.
        if self._forgets:
            self._derive_again(store)
        # 3. Which lives the topics are in. A topic that was made anew has no position yet.
        self._incarnations = reader.incarnations()
        self._lives = store.lives(self._incarnations, self._clock.now())
        # 4. The position is what the raw log holds.
        held = store.positions(self._incarnations)
        partitions = [partition for partition in reader.partitions() if partition[0] in self._lives]
        positions = {partition: held.get(partition, 0) for partition in partitions}
        # 5. Read from there.
        self.plan.resume(positions)
        reader.assign(positions)
        reader.commit(positions)
        self._topology_at = self._clock.monotonic()
        self.metrics.counter("sink_resumes").inc()
        self._log.info(
            "reading", partitions=len(positions), records_held=sum(positions.values()), topics=len(self._incarnations)
        )

    def _derive_again(self, store: TableStore) -> None:
        """Write the derived rows of the last batch once more: the same rows under the same keys."""
        assert self._decode is not None
        seq, raw = store.last_batch()
        for insert in derived(raw, seq, self._decode, self._types):
            store.insert(insert)
        if raw.height:
            self._written_at = raw["ingested_at"][0]

    def _end_left_overs(self, store: TableStore) -> None:
        started = self._clock.monotonic()
        while store.stop_inserts():
            if self._clock.monotonic() - started > LEFT_OVER_SECONDS:
                raise StoreUnavailable("an insert does not end", "look at system.processes of the store")
            if self._clock.wait(0.1, self._stop):
                raise StoreUnavailable("stopped while an insert was ending", "")

    def _round(self, reader: LogReader) -> None:
        now = self._clock.monotonic()
        room = max(1, min(POLL_ROWS, self.plan.limits.rows - self.plan.waiting))
        self._collect(reader, room, 0.05, now)
        if self.plan.due(self._clock.monotonic()):
            self._write(reader)
        now = self._clock.monotonic()
        if now - self._topology_at > TOPOLOGY_SECONDS:
            self._check_topology(reader)
        if now - self._lag_at >= 1.0:
            self._show_lag(reader)
            self._lag_at = now

    def _collect(self, reader: LogReader, most: int, timeout: float, now: float) -> None:
        for message in reader.poll(most, timeout):
            value, key = message.value(), message.key()
            size = len(value or b"") + len(key or b"") + 64
            self.plan.offer((message.topic(), message.partition()), message.offset(), message, size, now)

    def _raise_fence(self, reader: LogReader) -> None:
        """Collect all that the records in hand follow from (`sinks.clickhouse.plan`, 6.)."""
        # 1. What follows from others, as far as it was read.
        fence = self.plan.follows()
        # 2. Where the facts between the stages end, which that may follow from; asked after 1.
        # 3. Where ends what the facts and all else follow from; asked after 2.
        for topics in ((RELATION,), WATCHED_TOPICS):
            fence |= reader.ends([p for p in self.plan.positions if p[0] in topics])
        self.plan.fence(fence)
        # 4. Read up to there.
        started = self._clock.monotonic()
        while self.plan.behind():
            now = self._clock.monotonic()
            if now - started > FENCE_SECONDS:
                raise LogUnavailable("the broker does not hand out what it has", "look at its load; it is asked again")
            self._collect(reader, POLL_ROWS, 0.005, now)

    def _write(self, reader: LogReader) -> None:
        """One batch, from what was collected to a batch that stands."""
        assert self._store is not None and self._decode is not None
        if self.plan.wants_fence():
            self._raise_fence(reader)
        # 1. The records belong to the lives they are stored under: the ids are asked after the records were read.
        if not self._settings.incarnation and reader.incarnations() != self._incarnations:
            raise LogChanged("a topic was made anew, or is new")
        batch = self.plan.begin(self._clock.monotonic())
        now = self._clock.now()
        if self._written_at is not None and now <= self._written_at:
            now = self._written_at + timedelta(microseconds=1)  # the last batch has the latest time, whatever the clock
        self._written_at = now
        started = self._clock.monotonic()
        todo = inserts(batch, self._lives, self._decode, self._types, now)
        self.metrics.histogram("sink_decode_seconds").observe(self._clock.monotonic() - started)
        # 2. Derived tables, in a fixed order; 3. the raw log: with it the batch and the position stand. Of a log that
        # forgets the raw log first: what is cut off then is derived from it again.
        order = self.plan.order([insert.table for insert in todo[:-1]])
        if self._forgets:
            todo = [todo[-1], *todo[:-1]]
        for table, insert in zip(order, todo, strict=True):
            started = self._clock.monotonic()
            self._store.insert(insert)
            self.plan.written(table)
            self.metrics.histogram("sink_insert_seconds").labels(table).observe(self._clock.monotonic() - started)
            self.metrics.counter("sink_rows").labels(table).inc(insert.rows.height)
        # 4. For lag displays and the embedded producers only.
        reader.commit(batch.next)
        self._report(batch.slices, todo)

    def _report(self, slices: Sequence[Slice[Message]], todo: Sequence[Insert]) -> None:
        now = self._clock.now()
        self._recovered()
        self.metrics.counter("sink_batches").inc()
        self.metrics.gauge("sink_written_timestamp_seconds").set(now.timestamp())
        newest = max(part.records[-1].timestamp()[1] for part in slices)
        self._last_stored_micros = newest * 1000
        delay = now - from_micros(self._last_stored_micros)
        self.metrics.histogram("sink_delay_seconds").observe(max(delay, timedelta()).total_seconds())
        for insert in todo:
            if insert.table == "dead_letter_log":
                mine = insert.rows.filter(insert.rows["stage"] == STAGE)
                for reason, count in mine.group_by("reason").len().iter_rows():
                    self.metrics.counter("sink_bad").labels(reason).inc(count)
                    self._log.warning("records could not be read", reason=reason, records=count)

    def _finish(self, reader: LogReader) -> None:
        """Write what was collected before the stop; on failure the next start reads it again."""
        while self.plan.state is State.READING and self.plan.waiting:
            self._write(reader)

    def _check_topology(self, reader: LogReader) -> None:
        self._topology_at = self._clock.monotonic()
        known = set(self.plan.positions)
        if reader.incarnations() != self._incarnations or set(reader.partitions()) != known:
            raise LogChanged("topics or partitions changed")

    def _show_lag(self, reader: LogReader) -> None:
        lags = reader.lags(self.plan.positions)
        for topic, behind in lags.items():
            self.metrics.gauge("sink_lag_records").labels(topic).set(behind)
        if not any(lags.values()) and not self.plan.waiting:
            self._recovered()
        late = 0.0
        if any(lags.values()) and self._last_stored_micros:
            late = max(0.0, (self._clock.now() - from_micros(self._last_stored_micros)).total_seconds())
        self.metrics.gauge("sink_lag_seconds").set(late)

    def _judge(self, reader: LogReader, error: OutOfRange) -> None:
        """An offset that is not there: a new life of the topic is read from its start, anything else is told."""
        topic, number = error.partition
        if reader.incarnations().get(topic) != self._incarnations.get(topic):
            self._log.warning("topic was made anew", topic=topic)
            return
        if error.position < error.low:
            raise SinkStopped(
                f"{topic}[{number}]: records {error.position} to {error.low - 1} were deleted unstored",
                "restore them, or accept the loss: finwatch store accept-loss",
            )
        raise SinkStopped(
            f"{topic}[{number}]: the store holds records up to {error.position - 1}, the broker ends at "
            f"{error.high - 1}: the log was cut",
            "restore the broker, or delete and recreate the topic (finwatch topics apply): its new life is read from "
            "the start and repeats do no harm",
        )


def lost_partitions(reader: LogReader, store: TableStore) -> tuple[dict[Partition, tuple[int, int]], dict[str, str]]:
    """Partitions whose next record the broker has deleted: position and first offset that is left; and the lives."""
    incarnations = reader.incarnations()
    held = store.positions(incarnations)
    found: dict[Partition, tuple[int, int]] = {}
    for partition, position in sorted(held.items()):
        low, _ = reader.watermarks(partition)
        if position < low:
            found[partition] = (position, low)
    return found, incarnations


def run(settings: Settings, stop: threading.Event, client: Callable[[], Client] | None = None) -> None:
    """See `sinks.clickhouse.run`."""
    sink = Sink(settings, stop, client=client)
    server = HealthServer(sink.metrics.registry, sink.health, settings.http.host, settings.http.port).start()
    get_logger("sink-clickhouse").info("serving", address=server.address, paths="/metrics /health")
    try:
        sink.run()
    finally:
        server.stop()


__all__ = ["RegistryError", "Sink", "SinkStopped", "lost_partitions", "run"]
