import gzip
import os
import zlib

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from finwatch.local.front.body import decompressed, packer
from finwatch.local.front.errors import StoreError

PACK = {
    "lz4": lz4.frame.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}
LIMIT = 10_000_000


@pytest.mark.parametrize("encoding", PACK)
@given(pieces=st.lists(st.binary(max_size=2000), min_size=1, max_size=6))
def test_every_frame_is_read(encoding: str, pieces: list[bytes]) -> None:
    body = b"".join(PACK[encoding](piece) for piece in pieces)
    assert decompressed(body, encoding, LIMIT) == b"".join(pieces)


@pytest.mark.parametrize("encoding", PACK)
def test_frames_that_span_pieces(encoding: str) -> None:
    pieces = [os.urandom(100_000), b"x" * 3_000_000, os.urandom(65_536)]
    assert decompressed(b"".join(PACK[encoding](piece) for piece in pieces), encoding, LIMIT) == b"".join(pieces)


@pytest.mark.parametrize("encoding", PACK)
def test_a_cut_body_is_refused(encoding: str) -> None:
    whole = PACK[encoding](os.urandom(5000)) + PACK[encoding](os.urandom(5000))
    middle = len(whole) // 2
    for length in (1, 7, middle - 1, middle + 3, len(whole) - 1):
        with pytest.raises(StoreError) as caught:
            decompressed(whole[:length], encoding, LIMIT)
        assert caught.value.code == 271


@pytest.mark.parametrize("encoding", PACK)
@given(junk=st.binary(min_size=1, max_size=300))
def test_junk_is_refused_or_decoded(encoding: str, junk: bytes) -> None:
    try:
        decompressed(junk, encoding, LIMIT)
    except StoreError as error:
        assert error.code in (271, 307)


@pytest.mark.parametrize("encoding", PACK)
def test_a_bomb_is_refused(encoding: str) -> None:
    with pytest.raises(StoreError) as caught:
        decompressed(PACK[encoding](bytes(50_000_000)), encoding, 1_000_000)
    assert caught.value.code == 307 and caught.value.status == 413


def test_unknown_encoding_is_named() -> None:
    with pytest.raises(StoreError, match="'br'"):
        decompressed(b"x", "br", LIMIT)


@pytest.mark.parametrize("accepted", ["zstd", "lz4;q=0.5", "gzip, deflate", "deflate", "br, gzip"])
def test_answers_can_be_read_back(accepted: str) -> None:
    chosen = packer(accepted)
    assert chosen is not None
    name, pack = chosen
    assert name in accepted and decompressed(pack(b"abc" * 1000), name, LIMIT) == b"abc" * 1000


def test_no_known_encoding_leaves_the_answer_alone() -> None:
    assert packer("br, identity") is None and packer("") is None
