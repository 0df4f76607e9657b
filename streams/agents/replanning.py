"""Where the planning anew has come to, after another policy has come into force for a source on a partition.

A switch concerns every open document at once; a worker that looked at a million of them in one go would stand still for
a minute. A document goes over with its next event or timer by itself, to the same effect, so the rest can be taken in
slices. A slice is a timer in the source's time, like any deadline: live and in a replay it lies between the same two
events, and a worker that takes the partition over goes on where the last one was.

The row ``n:<source>`` says behind which document the next slice begins. It is there while there is something to do.
"""

from __future__ import annotations

from msgspec import Struct

from finwatch.domain.calendar import SECOND

PREFIX = "n:"
SLICE = 500
"""Documents in a slice: some 50 ms of work."""
PAUSE = SECOND // 2
"""Of the source's time between two slices: a partition takes a thousand documents a second."""


class Replanning(Struct, array_like=True):
    """How far it has come: the key of the last document that was looked at."""

    after: str
