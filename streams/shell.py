"""The shell of one stage in one worker: from decoded micro-batches to rows, outputs and checkpoints.

Who runs where: the inlet's thread reads, decodes and loads state; everything else (applying, timers, checkpoints, the
producer) runs in the event loop, one batch at a time, so that a checkpoint always sees whole events.

A checkpoint, in this order (``streams.checkpoint`` says why it is enough):

1. KPI partials are emitted; the changed rows are taken, all as of one moment between two events.
2. The rows are sent. Processing goes on from here; what it changes belongs to the next checkpoint.
3. Every output and row sent up to that moment is acknowledged.
4. The commit records are sent and acknowledged. Now the checkpoint counts.
5. The positions go to Kafka as committed offsets, for lag displays and the embedded broker's back-pressure only.

With a ``History`` (embedded broker, which forgets) there is no state topic: state is rebuilt from the store's log at
each assignment, and a checkpoint is the outputs' part of steps 1 and 3, and step 5. The mock broker keeps 5 MB a
partition, so rows that change rarely would be forgotten; to write all rows again and again would cost more than the
rebuild, and the rebuild is needed anyway: the mock broker's memory ends with its process, the store's does not.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from faust.types import StreamT

from finwatch.runtime.clock import Clock, SystemClock, to_micros
from finwatch.runtime.config import Settings
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.history import History, HistoryRecord
from finwatch.runtime.logging import get_logger
from finwatch.runtime.metrics import Metrics
from finwatch.runtime.topics import CLOCK, DEAD_LETTER, EXCEPTION, FINDING, RATE, RELATION, STEP, state_topic
from schemas.codec import Decoder
from streams.bodies import UnknownDictionary
from streams.checkpoint import StateDamaged
from streams.deadletters import Budget, TooManyDeadLetters
from streams.ends import Ends
from streams.inlet import Inlet, OffsetLost, Run, TopicPartition
from streams.loader import StateReader, StateUnreadable
from streams.outlet import Gate, Outlet
from streams.partition import Counts, Encode, Partition, Processor
from streams.rows import RowStore
from streams.stage import Stage, UnknownPolicy

OUTPUTS = (RELATION, STEP, CLOCK, EXCEPTION, FINDING, RATE, DEAD_LETTER)
"""Topics whose records the store keeps and a rebuild would emit again. KPI partials are not: they are said anew."""

CHANNEL_BATCHES = 8
"""Micro-batches that a channel must have room for."""
_TICK_SECONDS = 0.1
_ENDS_SECONDS = 0.4
_METRICS_SECONDS = 1.0
_COOL_SECONDS = 30.0
_KPI_WHOLE_SECONDS = 30.0
_JOIN_SECONDS = 4.0
_HANDOVER_SECONDS = 180.0
_TOMBSTONES = 2000
_MANY_ROWS = 50_000

T = TypeVar("T")
Pending = list[tuple[str, bytes, bytes]]


class Placed(Protocol):
    """A record with its place in the log (``confluent_kafka.Message``)."""

    def offset(self) -> int | None:
        """Its offset."""
        ...


def offsets_of(messages: Sequence[Placed]) -> Sequence[int]:
    """The offsets of records of one partition, in the order of its log; at least one record.

    They only grow: where none is missing between the first and the last, the others are not asked for.
    """
    first, last = messages[0].offset() or 0, messages[-1].offset() or 0
    if last - first + 1 == len(messages):
        return range(first, last + 1)
    return [message.offset() or 0 for message in messages]


def code_of(error: BaseException) -> ExitCode:
    """What a process that failed with this tells its supervisor."""
    return ExitCode.CONFIG if isinstance(error, UnknownPolicy | UnknownDictionary) else ExitCode.SOFTWARE


def end_process(why: str, code: ExitCode) -> None:
    """End this process at once with a last line that says why. Nothing is saved: the last checkpoint stands."""
    get_logger("stream").error("worker stops", reason=why, exit_code=int(code))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Channel(Protocol):
    """What the shell needs of a Faust channel."""

    async def put(self, value: Any) -> None:
        """Put a value; at once while there is room."""
        ...


class Shell:
    """Runs one stage. Made before the Faust app starts; ``start`` and ``stop`` are called in its event loop."""

    def __init__(
        self,
        stage: Stage,
        settings: Settings,
        metrics: Metrics,
        channel: Channel,
        *,
        decoder: Decoder,
        encode: Encode,
        clock: Clock | None = None,
        history: History | None = None,
        gate: Gate | None = None,
        fatal: Callable[[str, ExitCode], None] = end_process,
    ) -> None:
        self.stage = stage
        self.channel = channel
        self.partitions: dict[TopicPartition, Partition] = {}
        self._settings = settings.stream
        self._config = settings.kafka.client_config()
        self._lateness = round(settings.stream.lateness_seconds * 1_000_000)
        self._metrics = metrics
        self._clock = clock or SystemClock()
        self._history = history
        self._gate = gate
        self._fatal = fatal
        self._encode = encode
        self._processor = Processor(stage)
        self._state_topic = state_topic(stage.name)
        self._reader = StateReader(self._config, self._state_topic)
        self._budget = Budget(settings.stream.dead_letters_max, settings.stream.dead_letters_percent)
        self._counts = Counts()
        self._seen: set[bytes] = set()
        self._log = get_logger("stream").bind(stage=stage.name)
        self._inlet = Inlet(
            self._config,
            stage.name,
            stage.topics,
            decoder,
            self._processor.projections,
            self,
            fatal,
            self._clock,
            batch=settings.stream.batch,
            session_timeout_ms=settings.stream.session_timeout_ms,
        )
        self._stopping = threading.Event()
        self._room = threading.Semaphore(CHANNEL_BATCHES)
        self._tasks: set[asyncio.Task[None]] = set()
        self._checkpoint_task: asyncio.Task[None] | None = None
        self._follow_task: asyncio.Task[None] | None = None
        self._adopt_task: asyncio.Task[None] | None = None
        self._now = self._clock.monotonic
        started = self._now()
        self._checkpoint_at = self._tried_at = self._ends_at = self._told_at = self._cooled_at = started
        self._lag: dict[TopicPartition, int] = {}
        self._loop_lag = 0.0
        self._said_rebalances: dict[str, int] = {}

    # ---- Life, in the event loop.

    async def start(self) -> None:
        """Begin to consume. The broker and the topics are there (``streams.app`` waits for them)."""
        self._loop = asyncio.get_running_loop()
        self._checkpointing = asyncio.Lock()
        self._outlet = Outlet(self._config, self._fatal, gate=self._gate)
        self._ends = Ends(self._config)
        if self._history is not None:
            self._seen = await asyncio.to_thread(self._history.emitted, OUTPUTS)
        gc.set_threshold(100_000, 50, 100)  # rows live long: the default looks through all of them again and again
        self._inlet.start()
        self._spawn(self._ticking())

    async def stop(self) -> None:
        """Make the last checkpoint, leave the group, close everything."""
        self._stopping.set()
        self._inlet.stop.set()
        if not hasattr(self, "_loop"):
            return
        if not await asyncio.to_thread(self._inlet.join, _JOIN_SECONDS):
            self._log.warning("the consumer did not close in time; the last checkpoint stands")
        for task in list(self._tasks):
            task.cancel()
        left = await asyncio.to_thread(self._outlet.close, 2.0)
        self._ends.close()
        self._log.info("stopped", undelivered=left)

    async def agent(self, stream: StreamT[Any]) -> None:
        """Apply micro-batches: the body of the Faust agent. Nothing is raised out of it."""
        async for runs in stream:
            self._room.release()
            try:
                for run in runs:
                    self._apply(run)
                self._outlet.poll()
                if self._gate is not None:
                    await self._gate.wait_async(serve=self._outlet.serve)
                await asyncio.sleep(0)  # a full channel never suspends: timers and checkpoints get their turn here
            except asyncio.CancelledError:
                raise
            except TooManyDeadLetters as error:
                self._fatal(str(error), ExitCode.DEAD_LETTERS)
            except BaseException as error:
                self._failed(error)

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the stage does its work, and the figures that say so."""
        age = self._now() - self._checkpoint_at
        allowed = max(30.0, 20 * self._settings.checkpoint_seconds)
        healthy = self._inlet.alive and self._inlet.assigned and age < allowed and self._loop_lag < 5.0
        return healthy, {
            "partitions": len(self.partitions),
            "assigned": self._inlet.assigned,
            "checkpoint_age_seconds": round(age, 3),
            "loop_lag_seconds": round(self._loop_lag, 3),
            "lag_records": sum(self._lag.values()),
        }

    # ---- Records.

    def _apply(self, run: Run) -> None:
        part = self.partitions.get((run.topic, run.partition))
        messages, events = run.messages, run.events
        if part is None or part.lease != run.lease:
            self._counts.stale += len(messages)  # fetched under an assignment that has ended
            return
        if not messages:
            part.next = max(part.next, run.end)  # nothing but ends of transactions stands between
            return
        offsets = offsets_of(messages)
        if offsets[0] < part.next:
            raise AssertionError("records before the position of the state were delivered")

        def raw(index: int) -> tuple[bytes | None, bytes | None, int]:
            message = messages[index]
            return message.key(), message.value(), message.timestamp()[1] * 1000

        dead = self._processor.apply(part, events, offsets, raw)
        part.newest = messages[-1].timestamp()[1]
        self._budget.spend(len(messages), dead)

    # ---- Time, checkpoints and housekeeping, in the event loop.

    async def _ticking(self) -> None:
        while not self._stopping.is_set():
            before = self._now()
            await asyncio.sleep(_TICK_SECONDS)
            now = self._now()
            self._loop_lag = max(0.0, now - before - _TICK_SECONDS)
            self._outlet.poll()
            if now - self._ends_at >= _ENDS_SECONDS and _idle(self._follow_task):
                self._ends_at = now
                self._follow_task = self._spawn(self._follow())
            if now - self._tried_at >= self._settings.checkpoint_seconds and _idle(self._checkpoint_task):
                self._tried_at = now
                self._checkpoint_task = self._spawn(self._checkpoint(list(self.partitions.values())))
            if self._history is None and _idle(self._adopt_task):
                ripe = [p for p in self.partitions.values() if p.adopt_at is not None and p.adopt_at <= now]
                if ripe:
                    same = [p for p in ripe if p.partition == ripe[0].partition]
                    self._adopt_task = self._spawn(self._adopt(same))
            if now - self._cooled_at >= _COOL_SECONDS:
                self._cooled_at = now
                for part in self.partitions.values():
                    part.rows.cool_down()
            if now - self._told_at >= _METRICS_SECONDS:
                self._told_at = now
                self._tell()

    async def _follow(self) -> None:
        """Move live sources with the wall clock where it is known that nothing older is unread.

        1. The time is taken. 2. The ends of the logs are asked for. 3. A partition whose position is at its end then
        holds everything that was in the log at the time of step 1. While the broker is away nothing moves.
        """
        leases = {tp: part.lease for tp, part in self.partitions.items()}
        asked_at = to_micros(self._clock.now())
        ends = await asyncio.to_thread(self._ends.latest, list(leases))
        for tp, end in ends.items():
            part = self.partitions.get(tp)
            if part is None or part.lease != leases[tp]:
                continue
            self._lag[tp] = max(0, end - part.next)
            if part.next >= end:
                part.follow(asked_at)

    async def _checkpoint(self, partitions: Iterable[Partition], last: bool = False) -> None:
        """Make one checkpoint of each partition that changed; see the module's docstring for the order.

        ``last``: nobody may come after this worker, so KPI partials are said whether their time has come or not.
        """
        async with self._checkpointing:
            started = self._now()
            for part in partitions:
                if last or started - part.kpi_at >= self._settings.kpi_seconds:
                    part.kpi_at = started
                    whole = started - part.kpi_whole_at >= _KPI_WHOLE_SECONDS
                    if whole:
                        part.kpi_whole_at = started
                    part.kpis(whole)  # 1.
            taken = []
            durable = self._history is None
            for part in partitions:
                if not part.changed:
                    continue
                if part.adopting:
                    part.rows.dirty.update(part.rows.keys())
                    part.branch.lineage = []
                    part.adopting = False
                if durable:
                    part.branch.checkpoint += 1
                    changes = part.rows.take_changes(part.branch.checkpoint)
                    for key, value in part.branch.row_records(changes):
                        self._outlet.send(self._state_topic, value, key, part.partition)  # 2.
                    taken.append((part, part.next, part.branch.commit_record(part.next, len(part.rows) + 1)))
                else:
                    part.rows.dirty.clear()
                    taken.append((part, part.next, (b"", b"")))
            if not taken:
                self._checkpoint_at = started
                return
            await self._outlet.settle(self._outlet.cut())  # 3.
            if durable:
                for part, _, (key, value) in taken:
                    self._outlet.send(self._state_topic, value, key, part.partition)  # 4.
                await self._outlet.settle(self._outlet.cut())
            for part, position, _ in taken:
                part.saved = position
                self._inlet.commits.append(((part.topic, part.partition), position))  # 5. by the consumer thread
            self._checkpoint_at = self._now()
            self._metrics.histogram("stream_checkpoint_seconds").labels(self.stage.name).observe(
                self._checkpoint_at - started
            )

    async def _adopt(self, partitions: Sequence[Partition]) -> None:
        """Make branches independent of their ancestors, then delete what ancestors and zombies left behind.

        1. A checkpoint with every row in the own branch and no lineage; it counts. 2. The state partition is read for
        records of other branches. A branch that wrote within the waiting time may be alive, and a commit beyond the
        own position means that this worker is the zombie: then nothing is deleted. 3. Rows first, oldest first, then
        commit records, are deleted.
        """
        for part in partitions:
            part.adopt_at = None
            part.adopting = True
        await self._checkpoint(partitions)  # 1.
        mine = [p for p in partitions if self.partitions.get((p.topic, p.partition)) is p]
        if not mine:
            return
        number = mine[0].partition
        wait = self._settings.tombstone_seconds
        cutoff = to_micros(self._clock.now()) // 1000 - round(wait * 1000)
        owned = {p.topic: (p.branch.id, p.saved) for p in mine}
        foreign = await asyncio.to_thread(self._reader.foreign, number, owned, cutoff)  # 2.
        deleted = 0
        for part in mine:
            keys = foreign[part.topic]
            if keys is None:
                part.adopt_at = self._now() + max(wait, 1.0)
                continue
            for start in range(0, len(keys), _TOMBSTONES):
                if self.partitions.get((part.topic, part.partition)) is not part:
                    break
                for key in keys[start : start + _TOMBSTONES]:
                    self._outlet.send(self._state_topic, None, key, number)  # 3.
                    deleted += 1
                await asyncio.sleep(0)
        if deleted:
            self._log.info("former branches deleted", state_partition=number, records=deleted)

    # ---- Host of the inlet: called from the consumer thread.

    def take(self, partitions: Sequence[TopicPartition], lease: int) -> dict[TopicPartition, int]:
        """Load the state of partitions and own them (``Host.take``)."""
        started = self._now()
        pending: Pending = []
        if self._history is not None:
            loaded = [self._rebuild(tp, lease, pending, self._history) for tp in partitions]
        else:
            gc.disable()  # a million rows and timers are made and kept: looking through them finds nothing
            try:
                loaded = self._load(partitions, lease)
            finally:
                gc.enable()
        self._check_positions(loaded)
        self._await(self._own(loaded, pending))
        seconds = self._now() - started
        self._metrics.histogram("stream_load_seconds").labels(self.stage.name).observe(seconds)
        self._log.info(
            "partitions taken", partitions=len(loaded), rows=sum(len(p.rows) for p in loaded), seconds=round(seconds, 3)
        )
        return {(part.topic, part.partition): part.next for part in loaded}

    def release(self, partitions: Sequence[TopicPartition], save: bool) -> None:
        """Give partitions up (``Host.release``)."""
        self._await(self._give_up(partitions, save))

    def deliver(self, runs: list[Run]) -> None:
        """Put a micro-batch on the channel, waiting for room (``Host.deliver``).

        For room only, not for the event loop to get to it: that applies a batch for a tenth of a second, and would
        find nothing behind a batch of heartbeats, which it is through with at once.
        """
        while not self._room.acquire(timeout=0.5):
            if self._stopping.is_set():
                return  # not applied, so not in any checkpoint: it is read again
        self._loop.call_soon_threadsafe(self._put, runs)

    def _put(self, runs: list[Run]) -> None:
        self._spawn(self.channel.put(runs))  # there is room, so it waits for nothing, and batches keep their order

    def _load(self, partitions: Sequence[TopicPartition], lease: int) -> list[Partition]:
        wanted: dict[int, list[str]] = {}
        for topic, number in partitions:
            wanted.setdefault(number, []).append(topic)
        try:
            states = self._reader.load(wanted)
        except StateUnreadable as error:
            self._fatal(str(error), ExitCode.UNAVAILABLE)
            raise
        except StateDamaged as error:
            self._fatal(
                f"{error}; delete the stage's state topic and let it be built again from the input log",
                ExitCode.SOFTWARE,
            )
            raise
        fresh = [tp for tp in partitions if states[tp].next is None]
        lows = self._marks(self._ends.earliest, fresh) if fresh else {}
        loaded = []
        for tp in partitions:
            state = states[tp]
            rows = RowStore.of(self._lateness, state.rows)
            rows.dirty.update(state.repair)
            position = lows[tp] if state.next is None else state.next
            part = self._partition(tp, lease, rows, position)
            part.branch.lineage = state.lineage
            part.adopt_at = self._now() + self._settings.tombstone_seconds
            loaded.append(part)
        return loaded

    def _rebuild(self, tp: TopicPartition, lease: int, pending: Pending, history: History) -> Partition:
        """Replay what the store has of a partition; outputs it does not have yet are collected in ``pending``."""
        part = self._partition(tp, lease, RowStore(self._lateness), 0)
        part.go_live(lambda topic, value, key: pending.append((topic, value, key)), Counts())
        for batch in history.records(*tp):
            self._replay(part, batch)
        part.next = 0  # earlier lives had offsets of their own
        for batch in history.current(*tp):
            self._replay(part, batch)
        return part

    def _replay(self, part: Partition, batch: list[HistoryRecord]) -> None:
        events = self._inlet.decode([record.value for record in batch])
        offsets = [record.offset for record in batch]

        def raw(index: int) -> tuple[bytes | None, bytes | None, int]:
            record = batch[index]
            return record.key, record.value, record.timestamp

        self._processor.apply(part, events, offsets, raw)

    def _partition(self, tp: TopicPartition, lease: int, rows: RowStore, position: int) -> Partition:
        return Partition(
            self.stage, tp, lease, rows, position, self._encode, self._outlet.send, self._counts, self._seen
        )

    def _marks(
        self, ask: Callable[[Sequence[TopicPartition]], Mapping[TopicPartition, int]], wanted: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Ask for log marks until all are known."""
        found: dict[TopicPartition, int] = {}
        deadline = self._now() + _HANDOVER_SECONDS
        while left := [tp for tp in wanted if tp not in found]:
            found.update(ask(left))
            if self._now() > deadline:
                self._fatal("the broker does not say where its logs begin and end", ExitCode.UNAVAILABLE)
            if len(found) < len(wanted):
                self._stopping.wait(0.1)
        return found

    def _check_positions(self, loaded: Sequence[Partition]) -> None:
        """A position outside the log is never jumped over: what is missing would be missing in silence."""
        wanted = [(part.topic, part.partition) for part in loaded]
        lows, highs = self._marks(self._ends.earliest, wanted), self._marks(self._ends.latest, wanted)
        for part in loaded:
            tp = (part.topic, part.partition)
            if part.next < lows[tp]:
                raise OffsetLost(
                    f"offset lost: the state of {part.topic}:{part.partition} stands at {part.next}, its log begins at "
                    f"{lows[tp]}; {lows[tp] - part.next} records are gone. To go on without them: "
                    f"python -m streams.repair {self.stage.name} --apply"
                )
            if part.next > highs[tp]:
                raise OffsetLost(
                    f"offset lost: the state of {part.topic}:{part.partition} stands at {part.next}, its log ends at "
                    f"{highs[tp]}: the topic was made anew. To begin anew with it: delete {self._state_topic}, then "
                    "run: finwatch topics apply"
                )

    async def _own(self, loaded: Sequence[Partition], pending: Pending) -> None:
        for topic, value, key in pending:
            self._outlet.send(topic, value, key)
            if self._gate is not None:
                await self._gate.wait_async(serve=self._outlet.serve)
        for part in loaded:
            part.go_live(self._outlet.send, self._counts)
            self.partitions[part.topic, part.partition] = part
        if sum(len(part.rows) for part in loaded) > _MANY_ROWS:
            gc.freeze()  # what was loaded lives long

    async def _give_up(self, partitions: Sequence[TopicPartition], save: bool) -> None:
        # Taken out first: batches still in the channel are dropped from here on, so the checkpoint is the last word.
        mine = [self.partitions.pop(tp) for tp in partitions if tp in self.partitions]
        for tp in partitions:
            self._lag.pop(tp, None)
            self._metrics.gauge("stream_lag_records").labels(self.stage.name, tp[0], str(tp[1])).set(0)
        if save and mine:
            await self._checkpoint(mine, last=True)

    def _await(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_HANDOVER_SECONDS)

    # ---- Bookkeeping.

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        self._log.error("processing failed", exc_info=error)
        self._fatal(str(error) or type(error).__name__, code_of(error))

    def _tell(self) -> None:
        """Bring the metrics up to date."""
        name, metrics, counts = self.stage.name, self._metrics, self._counts
        self._counts = Counts()
        for part in self.partitions.values():
            part.counts = self._counts
        for metric, by_topic in (
            ("stream_applied", counts.applied),
            ("stream_repeated", counts.repeated),
            ("stream_filtered", counts.filtered),
            ("stream_emitted", counts.emitted),
        ):
            for topic, number in by_topic.items():
                metrics.counter(metric).labels(name, topic).inc(number)
        for (topic, reason), number in counts.dead.items():
            metrics.counter("stream_dead").labels(name, topic, reason).inc(number)
        metrics.counter("stream_stale").labels(name).inc(counts.stale)
        metrics.counter("stream_fired").labels(name).inc(counts.fired)
        for kind, number in self._inlet.rebalances.items():
            metrics.counter("stream_rebalances").labels(name, kind).inc(number - self._said_rebalances.get(kind, 0))
            self._said_rebalances[kind] = number
        wall = to_micros(self._clock.now()) // 1000
        behind = 0.0
        for tp, lag in self._lag.items():
            metrics.gauge("stream_lag_records").labels(name, tp[0], str(tp[1])).set(lag)
            part_or_none = self.partitions.get(tp)
            if lag and part_or_none is not None and part_or_none.newest:
                behind = max(behind, (wall - part_or_none.newest) / 1000)
        metrics.gauge("stream_lag_seconds").labels(name).set(behind)
        metrics.gauge("stream_checkpoint_age_seconds").labels(name).set(self._now() - self._checkpoint_at)
        metrics.gauge("stream_partitions").labels(name).set(len(self.partitions))
        metrics.gauge("stream_state_rows").labels(name).set(sum(len(p.rows) for p in self.partitions.values()))
        metrics.gauge("stream_state_bytes").labels(name).set(
            sum(p.rows.stored_size() for p in self.partitions.values())
        )


def _idle(task: asyncio.Task[None] | None) -> bool:
    return task is None or task.done()
