"""Packed bodies: what comes back, what is left as it is, and dictionaries by their number."""

from __future__ import annotations

import threading
from hashlib import sha256
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

import streams
from streams.bodies import SMALLEST, UnknownDictionary, pack_body, unpack_body

FOLDER = Path(streams.__file__).parent
WRITTEN_WITH = {"rows-1.zdict": "f0484fbe4443797dc520f9183fb57521fddb1cabbb83fb025670b88031414544"}


@given(st.binary(min_size=1, max_size=40), st.integers(1, 200))
def test_a_body_comes_back(piece: bytes, times: int) -> None:
    body = b"\x93" + piece * times  # an array of three, as a Struct begins
    packed = pack_body(body)
    assert unpack_body(packed) == body
    assert bytes(unpack_body(memoryview(packed))) == body
    assert (packed == body) == (len(body) < SMALLEST)


def test_dictionaries_that_rows_were_written_with_stay_as_they_are() -> None:
    kept = {path.name: sha256(path.read_bytes()).hexdigest() for path in FOLDER.glob("*.zdict")}
    assert kept == WRITTEN_WITH


def test_a_dictionary_of_a_later_version_is_named() -> None:
    later = zstandard.train_dictionary(1024, [b"row %d of another kind" % n * 20 for n in range(500)], dict_id=77_777)
    packed = zstandard.ZstdCompressor(dict_data=later).compress(b"row 7 of another kind" * 30)
    with pytest.raises(UnknownDictionary, match="dictionary 77777, which this version"):
        unpack_body(packed)


def test_threads_do_not_meet() -> None:
    bodies = [b"\x91" + b"%d and the like, " % number * 40 for number in range(300)]
    wrong: list[bytes] = []

    def work() -> None:
        wrong.extend(body for body in bodies * 5 if unpack_body(pack_body(body)) != body)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
