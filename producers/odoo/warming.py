"""After a start: what documents said last, read from the source once more, so that a change can name its `before`.

The state keeps a hash of each content and not the content. A document that still reads as its hash says is held as it
reads, which is exact; one that reads otherwise has changed meanwhile, and is left to the window or the sweep.
"""

from collections import deque

from producers.odoo.mapping.spec import Mapping
from producers.odoo.memory import Memory
from producers.odoo.publishing import Publishing
from producers.odoo.reader import Reader
from producers.odoo.stopping import Models

CHUNK = 200
"""Documents read at once: between two polls nobody waits longer for a hint."""


class Warming:
    """Reads documents a chunk at a time, each model's newest first and the models in turn.

    It ends when `rows` were read, when the room for contents is nearly full, or when everything is held.
    """

    def __init__(self, reader: Reader, memory: Memory, publishing: Publishing, models: Models, rows: int) -> None:
        self._reader = reader
        self._memory = memory
        self._publishing = publishing
        self._models = models
        self._left = rows
        self._waiting: deque[tuple[Mapping, deque[int]]] | None = None

    def work(self) -> bool:
        """Read one chunk; False when nothing is left to read."""
        if self._waiting is None:
            self._waiting = self._lacking()
        while self._waiting and self._left > 0 and self._publishing.room:
            mapping, ids = self._waiting.popleft()
            if mapping not in self._models.active():
                continue
            chunk = [ids.popleft() for _ in range(min(CHUNK, self._left, len(ids)))]
            self._left -= len(chunk)
            if ids:
                self._waiting.append((mapping, ids))
            with self._models.guarded(mapping.model):
                for batch in self._reader.by_ids(mapping, chunk):
                    self._publishing.hold(mapping, batch)
            return True
        self._waiting.clear()
        return False

    def _lacking(self) -> deque[tuple[Mapping, deque[int]]]:
        lacking: deque[tuple[Mapping, deque[int]]] = deque()
        for mapping in self._models.active() if self._left else ():
            newest = self._memory.hashes[mapping.model].newest(self._left)
            ids = deque(one for one in newest if not self._publishing.holds(mapping.model, one))
            if ids:
                lacking.append((mapping, ids))
        return lacking
