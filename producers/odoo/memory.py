"""All that the capture knows of one source: progress and what was published, by model; stored in pieces."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from producers.odoo.seen import SeenHashes, SeenIds, SeenStamps
from producers.odoo.state import StateStore
from producers.odoo.windows import Progress

TURNED = "turned/"
"""Notes of records that said something else while no stamp moved forward, stored before the hashes they stand beside:
`turned/<model>/<record id>` holds `<as of, epoch seconds>:<how often as of then>:<hash of what it said last>`."""
_PASSED = "passed/"  # notes: when the last whole reading of a model began
_POSITION, _HASHES, _STAMPS, _LOG, _SWEEP, _NOTE = "position", "hashes", "stamps", "log", "sweep", "note"


class SweepPosition(msgspec.Struct, frozen=True):
    """Where the sweep is: ids up to `after` of `model` are behind it. No model: the round is over.

    `began`: source time at which the pass over this model began (None: a former version began it).
    """

    model: str = ""
    after: int = 0
    began: datetime | None = None


class StateDamaged(Exception):
    """A stored value cannot be read: it was written by something else."""

    what_to_do = "if nobody else writes finwatch.capture.state, delete this source's keys there: a snapshot follows"


class Memory:
    """Progress by model (and of the tracking log, by its model), hashes and stamps by model, ids of the log."""

    def __init__(self, models: Iterable[str]) -> None:
        self.hashes = {model: SeenHashes() for model in models}
        self.stamps = {model: SeenStamps() for model in self.hashes}
        self.log = SeenIds()
        self._sweep = SweepPosition()
        self._swept = False
        self._progress: dict[str, Progress] = {}
        self._moved: set[str] = set()
        self._notes: dict[str, bytes] = {}
        self._noted: set[str] = set()

    def note(self, name: str) -> bytes | None:
        """A small value of its own, kept for whoever knows its name."""
        return self._notes.get(name)

    def notes(self, prefix: str) -> dict[str, bytes]:
        """All notes whose names begin so, in order of name."""
        return {name: value for name, value in sorted(self._notes.items()) if name.startswith(prefix)}

    def put_note(self, name: str, value: bytes | None) -> None:
        """Keep a note; None forgets it."""
        if self._notes.get(name) != value:
            self._noted.add(name)
            if value is None:
                self._notes.pop(name, None)
            else:
                self._notes[name] = value

    def begin_anew(self) -> None:
        """Forget how far anything was read, keeping what was published: everything is read again."""
        self._moved.update(self._progress)
        self._progress.clear()
        self.move_sweep(SweepPosition())
        for stamps in self.stamps.values():
            stamps.clear()
        self.log.clear()

    def progress(self, model: str) -> Progress | None:
        """How far a model was read; None when it never was."""
        return self._progress.get(model)

    def move(self, model: str, progress: Progress) -> None:
        """A model was read further."""
        if self._progress.get(model) != progress:
            self._progress[model] = progress
            self._moved.add(model)

    @property
    def sweep(self) -> SweepPosition:
        """Where the sweep is."""
        return self._sweep

    def move_sweep(self, position: SweepPosition) -> None:
        """The sweep went on."""
        self._swept = self._swept or position != self._sweep
        self._sweep = position

    def passed(self, model: str) -> datetime | None:
        """Source time at which the last whole reading of a model began, by its snapshot or a pass of the sweep."""
        note = self.note(_PASSED + model)
        return None if note is None else msgspec.json.decode(note, type=datetime)

    def put_passed(self, model: str, began: datetime) -> None:
        """A whole reading of a model began then, and every row of it is or will be read."""
        self.put_note(_PASSED + model, msgspec.json.encode(began))

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
                elif kind == _STAMPS:
                    model, _, number = rest.rpartition("/")
                    if model in memory.stamps:
                        memory.stamps[model].load(int(number), value)
                elif kind == _SWEEP:
                    memory._sweep = msgspec.json.decode(value, type=SweepPosition)
                elif kind == _NOTE:
                    memory._notes[rest] = value
                elif kind == _LOG:
                    memory.log.load(int(rest), value)
            except (ValueError, msgspec.DecodeError):
                raise StateDamaged(f"the state of the capture under {key} cannot be read") from None
        return memory

    def save(self, store: StateStore) -> bool:
        """Hand over what changed, positions last; False when nothing did."""
        values: dict[str, bytes | None] = {
            f"{_NOTE}/{name}": self._notes.get(name) for name in sorted(self._noted) if name.startswith(TURNED)
        }
        for model, hashes in self.hashes.items():
            values |= {f"{_HASHES}/{model}/{number}": bucket for number, bucket in hashes.take_dirty().items()}
        for model, stamps in self.stamps.items():
            values |= {f"{_STAMPS}/{model}/{number}": bucket for number, bucket in stamps.take_dirty().items()}
        values |= {f"{_LOG}/{number}": bucket for number, bucket in self.log.take_dirty().items()}
        values |= {
            f"{_NOTE}/{name}": self._notes.get(name) for name in sorted(self._noted) if not name.startswith(TURNED)
        }
        for model in sorted(self._moved):
            progress = self._progress.get(model)
            values[f"{_POSITION}/{model}"] = None if progress is None else msgspec.json.encode(progress)
        if self._swept:
            values[_SWEEP] = msgspec.json.encode(self._sweep)
        self._moved.clear()
        self._noted.clear()
        self._swept = False
        if values:
            store.store(values)
        return bool(values)
