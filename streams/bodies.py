"""Bodies of state rows, packed: a million open documents are read back, and held, in a quarter of their bytes.

A body is the msgpack of a Struct. From ``SMALLEST`` bytes on it is stored as a Zstandard frame, made with a dictionary
that ships beside this module (``rows-<number>.zdict``): a row by itself is too small to be packed well, and rows are
much alike. The frame names its dictionary by number, so more may come; one that was ever written with stays. Nothing
else tells packed from plain: a frame begins with 0x28, the msgpack of a Struct never does.

Packing is of the stored form only. What a stage sees, and what makes two states equal, is the body.
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Final

import zstandard

SMALLEST: Final = 256
"""Bytes of a body below which packing saves too little: most rows that are no document's."""
LEVEL: Final = -1
"""Two thirds of the time of level 1 and a quarter more bytes."""
_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_CURRENT: Final = 1


class UnknownDictionary(Exception):
    """A row was packed with a dictionary that this version does not have: a later version of finwatch wrote it."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"the state was packed with dictionary {number}, which this version of finwatch does not have; "
            "start the version that wrote it or a later one"
        )


@cache
def _dictionary(number: int) -> zstandard.ZstdCompressionDict:
    path = Path(__file__).with_name(f"rows-{number}.zdict")
    if not path.exists():
        raise UnknownDictionary(number)
    made = zstandard.ZstdCompressionDict(path.read_bytes())
    made.precompute_compress(level=LEVEL)  # here, before another thread has it: this changes the object
    return made


class _Own(threading.local):
    """What one thread packs and unpacks with: neither may be used by two at once."""

    def __init__(self) -> None:
        dictionary = _dictionary(_CURRENT)
        self.compress = zstandard.ZstdCompressor(level=LEVEL, dict_data=dictionary).compress
        self.decompress = {_CURRENT: zstandard.ZstdDecompressor(dict_data=dictionary).decompress}


_own = _Own()


def pack_body(body: bytes) -> bytes:
    """The stored form of a body."""
    return _own.compress(body) if len(body) >= SMALLEST else body


def unpack_body(stored: bytes | memoryview) -> bytes | memoryview:
    """The body of a stored form. Raises UnknownDictionary; zstandard.ZstdError for a damaged frame."""
    if stored[:4] != _MAGIC:
        return stored
    # The commonest head of a frame: its size is written, and a dictionary's number of one byte.
    number = stored[5] if stored[4] & 0x23 == 0x21 else zstandard.get_frame_parameters(stored).dict_id
    decompress = _own.decompress.get(number)
    if decompress is None:
        decompress = zstandard.ZstdDecompressor(dict_data=_dictionary(number)).decompress
        _own.decompress[number] = decompress
    return decompress(stored)
