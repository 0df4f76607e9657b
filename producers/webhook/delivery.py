"""Records to the broker, many in one transaction, each sender told exactly what became of its own (docs/adr).

Waits in an event loop for what `Lane` does in a thread. The order is the guarantee:
1. a record waits until a transaction can begin, for `seconds` at most: what still waits then was never sent
2. the transaction's records are acknowledged, else it is given up: none of them is visible and never will be
3. it is committed, and only then are their senders told so; while nobody can say whether it was, they are told nothing
"""

import asyncio
import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from producers.webhook.errors import Refused
from producers.webhook.transactions import IDENTITIES, Lane, Outcome, Record

_GATHER_SECONDS = 0.002
LANES = 2
"""Transactions at a time: one takes records while the other is committed."""
MOST_IN_ONE = 1000
RETRY_AFTER = 5
_UNAVAILABLE = "the event cannot be stored now; send it again"


class Untold(Exception):
    """The process ends before anybody could say whether the record is in the log: its sender must hear nothing."""


class _Waiting(NamedTuple):
    """A record whose sender waits."""

    record: Record
    until: float
    answer: asyncio.Future[bool]


class Deliveries:
    """Sends records and tells of each whether readers of committed records see it.

    `config`: librdkafka's. `seconds`: how long a record waits for a transaction, and the broker has to take it. At most
    `most` records are on their way at a time. Made in a running event loop.
    """

    def __init__(self, config: Mapping[str, Any], *, seconds: float, most: int) -> None:
        self._seconds, self._most = seconds, most
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting] = deque()
        self._gathering = self._watching = False
        self._stopping = threading.Event()
        self._threads = ThreadPoolExecutor(LANES, "deliveries")
        process = uuid.uuid4().hex
        self._lanes = [
            Lane(config, f"{IDENTITIES}{process}.{number}", seconds=seconds, stopping=self._stopping)
            for number in range(LANES)
        ]
        self._idle: list[Lane] = []
        self._jobs: set[asyncio.Task[None]] = set()
        self.pending = 0
        self.last_failure: str | None = None
        self.on_failure: Callable[[], object] = lambda: None
        for lane in self._lanes:
            self._run(self._recover(lane))

    def send(self, topic: str, key: str, value: bytes) -> asyncio.Future[bool]:
        """Hand over one record; the future is whether it stands. Raises Refused (503); the future, Untold."""
        if self.pending >= self._most:
            raise Refused(503, _UNAVAILABLE, RETRY_AFTER)
        answer: asyncio.Future[bool] = self._loop.create_future()
        self.pending += 1
        self._waiting.append(_Waiting(Record(topic, key.encode(), value), self._loop.time() + self._seconds, answer))
        if self._idle and not self._gathering:
            self._gathering = True
            self._loop.call_later(_GATHER_SECONDS, self._gathered)
        if not self._watching:
            self._watching = True
            self._loop.call_at(self._waiting[0].until, self._expire)
        return answer

    async def close(self) -> None:
        """Wait until every record has its answer, `seconds` for each step at most; whoever has none hears Untold."""
        until = self._loop.time() + 2 * self._seconds
        while self.pending and self._loop.time() < until:
            await asyncio.wait(self._jobs, timeout=_GATHER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        self._stopping.set()
        await asyncio.gather(*self._jobs)
        while self._waiting:
            self._told(self._waiting.popleft(), Outcome(False))
        for lane in self._lanes:
            await self._loop.run_in_executor(self._threads, lane.close)
        self._threads.shutdown()

    def _gathered(self) -> None:
        self._gathering = False
        if self._idle and self._waiting:
            self._begin(self._idle.pop())

    def _begin(self, lane: Lane) -> None:
        some = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_IN_ONE))]
        sent: list[_Waiting] = []
        for one, taken in zip(some, lane.begin([one.record for one in some]), strict=True):
            if taken:
                sent.append(one)
            else:
                self._told(one, Outcome(False, "not taken"))
        self._run(self._end(lane, sent))

    async def _end(self, lane: Lane, sent: list[_Waiting]) -> None:
        outcome = await self._loop.run_in_executor(self._threads, lane.end)
        for one in sent:
            self._told(one, outcome)
        await self._recover(lane)

    async def _recover(self, lane: Lane) -> None:
        if not lane.ready and not await self._loop.run_in_executor(self._threads, lane.recover):
            return  # stopped
        if self._waiting and not self._gathering:
            self._begin(lane)
        else:
            self._idle.append(lane)

    def _expire(self) -> None:
        """Tell those who waited for too long: nothing of theirs was sent."""
        now = self._loop.time()
        while self._waiting and self._waiting[0].until <= now:
            self._told(self._waiting.popleft(), Outcome(False, self.last_failure or "no transaction in time"))
        self._watching = bool(self._waiting)
        if self._waiting:
            self._loop.call_at(self._waiting[0].until, self._expire)

    def _told(self, one: _Waiting, outcome: Outcome) -> None:
        self.pending -= 1
        if outcome.committed:
            self.last_failure = None
        else:
            self.last_failure = outcome.failure
            self.on_failure()
        if one.answer.done():
            return
        if outcome.committed is None:
            one.answer.set_exception(Untold())
        else:
            one.answer.set_result(outcome.committed)

    def _run(self, job: Any) -> None:
        task = self._loop.create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
