"""How far a model was read, and what to read next. Pure.

write_date is the start of the transaction that wrote, so rows appear behind what was already read when a transaction
commits late. A window therefore reaches back by an overlap, and what it finds again is told by its content.

Guarantee: a transaction that commits within the overlap of its start is seen by the first window that begins after
its commit. Proof: if it was not visible to a window that began at p, it committed after p, so it started after
p - overlap, which is where the next window begins. The argument needs p to be a time at which reading had not begun,
on the clock that stamps rows; an `id` keyset pages inside the window only, never across windows.
"""

from datetime import datetime, timedelta

import msgspec

SAFE_OVERLAP = timedelta(seconds=120)  # Odoo's default limit of a request's time, so of a transaction's
OFF, CHANGED = "off", "changed"
"""Why a model is read again: see `Progress.again`."""
ONE_SECOND = timedelta(seconds=1)  # RPC cuts time stamps to whole seconds


class Progress(msgspec.Struct, frozen=True):
    """How far one model was read.

    `position`: every row of a transaction that committed before it has been read (in a snapshot: will have been, once
    `snapshot_done`). `last_id`: how far the snapshot came, in order of id. `again`: the snapshot is not the first one,
    because the configuration of the model changed (CHANGED), or because it was switched off for a while (OFF); empty
    otherwise.
    """

    position: datetime
    snapshot_done: bool = False
    last_id: int = 0
    again: str = ""


def begin(now: datetime, again: str = "") -> Progress:
    """Progress at the start of a snapshot, at source time `now`: streaming will go on from here."""
    return Progress(position=now, again=again)


def page_read(progress: Progress, last_id: int) -> Progress:
    """After a page of the snapshot, read in order of id up to `last_id`."""
    return msgspec.structs.replace(progress, last_id=max(progress.last_id, last_id))


def snapshot_read(progress: Progress) -> Progress:
    """After the last page of the snapshot."""
    return msgspec.structs.replace(progress, snapshot_done=True, again="")


def window_start(progress: Progress, overlap: timedelta) -> datetime:
    """Where the next window begins; it has no end, so that clocks ahead of ours hide nothing."""
    return progress.position - overlap


def window_read(progress: Progress, began: datetime | None, newest: datetime | None) -> Progress:
    """After a whole window was read.

    `began`: source time when reading began; None when the source does not tell its time. Then the newest time stamp
    found stands in: it is never ahead of the source, only behind. Never moves back.
    """
    reached = began if began is not None else newest
    if reached is None or reached <= progress.position:
        return progress
    return msgspec.structs.replace(progress, position=reached)


def is_late(written_at: datetime, progress: Progress) -> bool:
    """Whether a new content with this stamp lay behind what was already read: its transaction committed late."""
    return written_at + ONE_SECOND <= progress.position
