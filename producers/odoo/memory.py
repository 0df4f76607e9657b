"""All that the capture knows of one source: progress and what was published, by model; stored in pieces."""

from collections.abc import Iterable

import msgspec

from producers.odoo.seen import SeenHashes, SeenIds
from producers.odoo.state import StateStore
from producers.odoo.windows import Progress

_POSITION, _HASHES, _LOG = "position", "hashes", "log"


class StateDamaged(Exception):
    """A stored value cannot be read: it was written by something else."""

    what_to_do = "if nobody else writes finwatch.capture.state, delete this source's keys there: a snapshot follows"


class Memory:
    """Progress by model (and of the tracking log, by its model), hashes by model, ids of the log."""

    def __init__(self, models: Iterable[str]) -> None:
        self.hashes = {model: SeenHashes() for model in models}
        self.log = SeenIds()
        self._progress: dict[str, Progress] = {}
        self._moved: set[str] = set()

    def progress(self, model: str) -> Progress | None:
        """How far a model was read; None when it never was."""
        return self._progress.get(model)

    def move(self, model: str, progress: Progress) -> None:
        """A model was read further."""
        if self._progress.get(model) != progress:
            self._progress[model] = progress
            self._moved.add(model)

    @classmethod
    def load(cls, store: StateStore, models: Iterable[str]) -> "Memory":
        """What was stored. Raises StateDamaged."""
        memory = cls(models)
        for key, value in store.load().items():
            kind, _, rest = key.partition("/")
            try:
                if kind == _POSITION:
                    memory._progress[rest] = msgspec.json.decode(value, type=Progress)
                elif kind == _HASHES:
                    model, _, number = rest.rpartition("/")
                    if model in memory.hashes:  # else a model that is no longer captured
                        memory.hashes[model].load(int(number), value)
                elif kind == _LOG:
                    memory.log.load(int(rest), value)
            except (ValueError, msgspec.DecodeError):
                raise StateDamaged(f"the state of the capture under {key} cannot be read") from None
        return memory

    def save(self, store: StateStore) -> bool:
        """Hand over what changed, positions last; False when nothing did."""
        values: dict[str, bytes] = {}
        for model, hashes in self.hashes.items():
            values |= {f"{_HASHES}/{model}/{number}": bucket for number, bucket in hashes.take_dirty().items()}
        values |= {f"{_LOG}/{number}": bucket for number, bucket in self.log.take_dirty().items()}
        values |= {f"{_POSITION}/{model}": msgspec.json.encode(self._progress[model]) for model in sorted(self._moved)}
        self._moved.clear()
        if values:
            store.store(values)
        return bool(values)
