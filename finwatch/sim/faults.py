"""Faults of the simulated server, for tests and drills: it is slow, refuses, fails, or cuts its answers."""

from __future__ import annotations

import random
import threading
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What becomes of one request."""

    ANSWER = "answer"
    STATUS = "status"
    CUT = "cut"
    RESET = "reset"


@dataclass
class Faults:
    """Switches, which may be set while the server runs.

    `latency` seconds before each answer; `rate` is the share of requests (0..1, drawn from `seed`) that fail with
    one of `statuses`; `next_statuses` fails exactly the coming requests, one each, in order; `cut_next` cuts the
    JSON of the coming answers in the middle; `reset_next` drops the coming connections without an answer;
    `refuse_logins` makes every password wrong. A wrong server clock is `Database.clock_skew`.
    """

    latency: float = 0.0
    rate: float = 0.0
    statuses: tuple[int, ...] = (500, 502, 429)
    refuse_logins: bool = False
    cut_next: int = 0
    reset_next: int = 0
    next_statuses: deque[int] = field(default_factory=deque)
    seed: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._lock = threading.Lock()

    def draw(self) -> tuple[Outcome, int]:
        """Decide the fate of one request: the outcome, and the HTTP status for Outcome.STATUS."""
        with self._lock:
            if self.next_statuses:
                return Outcome.STATUS, self.next_statuses.popleft()
            if self.reset_next > 0:
                self.reset_next -= 1
                return Outcome.RESET, 0
            if self.cut_next > 0:
                self.cut_next -= 1
                return Outcome.CUT, 200
            if self.rate > 0 and self._random.random() < self.rate:
                return Outcome.STATUS, self._random.choice(self.statuses)
            return Outcome.ANSWER, 200

    def clear(self) -> None:
        """No faults any more."""
        with self._lock:
            self.latency = self.rate = 0.0
            self.cut_next = self.reset_next = 0
            self.refuse_logins = False
            self.next_statuses.clear()
