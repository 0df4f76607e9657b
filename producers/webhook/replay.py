"""Which requests were accepted within the replay window: bounded memory, no eviction before time."""

import asyncio

from producers.webhook.errors import Refused


class ReplayMemory:
    """Nonces of accepted requests of one hook, each until its time stamp leaves the window.

    A nonce is remembered once its event is acknowledged, so that a sender may repeat a request that was answered 503
    word for word. While one is on its way, a second of the same nonce waits for what becomes of it. When `capacity`
    nonces are held, new ones are refused (429): forgetting one early would let its replay through.
    """

    def __init__(self, window_seconds: int, capacity: int) -> None:
        self._window = window_seconds
        self._capacity = capacity
        self._accepted: set[str] = set()
        self._ends: dict[int, list[str]] = {}
        # On their way; a future only where somebody waits for one.
        self._pending: dict[str, asyncio.Future[None] | None] = {}
        self._cleared: int | None = None

    def __len__(self) -> int:
        return len(self._accepted) + len(self._pending)

    async def begin(self, nonce: str, now: int) -> None:
        """Take a nonce. `now`: seconds since 1970. Raises Refused: 409 for a replay, 429 without room."""
        while nonce in self._pending:
            pending = self._pending[nonce]
            if pending is None:
                pending = self._pending[nonce] = asyncio.get_running_loop().create_future()
            await asyncio.wait((pending,))
        self._forget(now)
        if nonce in self._accepted:
            raise Refused(409, "a request with this nonce was accepted before")
        if len(self) >= self._capacity:
            raise Refused(429, "more requests within the replay window than can be remembered", self._next_end(now))
        self._pending[nonce] = None

    def end(self, nonce: str, at: int, accepted: bool) -> None:
        """Give a taken nonce back, remembered when its request was accepted. `at`: its time stamp."""
        pending = self._pending.pop(nonce)
        if accepted:
            self._accepted.add(nonce)
            self._ends.setdefault(at + self._window, []).append(nonce)
        if pending is not None:
            pending.set_result(None)

    def _forget(self, now: int) -> None:
        if self._cleared == now:
            return
        self._cleared = now
        for end in [end for end in self._ends if end < now]:
            self._accepted.difference_update(self._ends.pop(end))

    def _next_end(self, now: int) -> int:
        return max(1, min(self._ends, default=now) - now + 1)
