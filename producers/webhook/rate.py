"""A token bucket: so many a second, and a burst. Pure."""

import math

from producers.webhook.errors import Refused


class TokenBucket:
    """`rate` tokens a second, at most `burst` saved up."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at: float | None = None

    def take(self, now: float) -> None:
        """Take a token. `now`: monotonic seconds. Raises Refused (429) with the wait for the next."""
        if self._at is not None:
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1.0:
            raise Refused(429, "too many requests", max(1, math.ceil((1.0 - self._tokens) / self._rate)))
        self._tokens -= 1.0
