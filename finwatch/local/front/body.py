"""Compression of request bodies and answers.

clickhouse-connect sends several lz4 or zstd frames one after the other: each frame is read to its end, and a body that
ends inside one is refused whole. A front that stops after the first frame drops rows without a word.
"""

import zlib
from collections.abc import Callable
from typing import Protocol

import lz4.frame
import zstandard

from finwatch.local.front.errors import refused

_PIECE = 64 * 1024


class _Frame(Protocol):
    """What the decompressors of lz4, zstandard and zlib have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes | None: ...

    def decompress(self, data: bytes, /) -> bytes: ...


_FRAMES: dict[str, Callable[[], _Frame]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "deflate": zlib.decompressobj,
}
_ERRORS = (RuntimeError, zstandard.ZstdError, zlib.error, EOFError)


def decompressed(data: bytes, encoding: str, limit: int) -> bytes:
    """The body as it was before Content-Encoding.

    Raises StoreError: 48 for an encoding not known here, 271 for a body that is damaged or cut, 307 for one that grows
    beyond `limit` bytes.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return data
    new_frame = _FRAMES.get(encoding)
    if new_frame is None:
        known = ", ".join(_FRAMES)
        raise refused(48, "NOT_IMPLEMENTED", f"Content-Encoding {encoding!r} is not supported; use one of {known}")
    out: list[bytes] = []
    size = 0
    frame: _Frame | None = None
    waiting = memoryview(data)
    try:
        while waiting:
            if frame is None:
                frame = new_frame()
            piece = frame.decompress(bytes(waiting[:_PIECE]))
            waiting = waiting[_PIECE:]
            size += len(piece)
            if size > limit:
                raise refused(307, "TOO_MANY_BYTES", f"the body is larger than {limit} bytes")
            out.append(piece)
            if frame.eof:
                # The next frame begins inside the piece just read.
                waiting = memoryview(data)[len(data) - len(waiting) - len(frame.unused_data or b"") :]
                frame = None
    except _ERRORS as error:
        raise refused(271, "CANNOT_DECOMPRESS", f"{encoding} body is damaged: {type(error).__name__}") from None
    if frame is not None:
        raise refused(271, "CANNOT_DECOMPRESS", f"{encoding} body is cut off")
    return b"".join(out)


def _gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(level=3, wbits=31)
    return packer.compress(data) + packer.flush()


_PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda data: zstandard.ZstdCompressor(level=1).compress(data),
    "lz4": lambda data: bytes(lz4.frame.compress(data)),
    "gzip": _gzip,
    "deflate": lambda data: zlib.compress(data, 3),
}


def packer(accepted: str) -> tuple[str, Callable[[bytes], bytes]] | None:
    """Encoding for an answer by the request's Accept-Encoding, and the function that does it; None: as it is."""
    offered = {item.partition(";")[0].strip().lower() for item in accepted.split(",")}
    return next(((name, pack) for name, pack in _PACKERS.items() if name in offered), None)
