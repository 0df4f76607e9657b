"""What the shell works out before it applies anything."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from streams.shell import offsets_of


@dataclass
class Message:
    """A record, as far as its place goes; counts how often it was asked."""

    at: int
    asked: int = 0

    def offset(self) -> int:
        self.asked += 1
        return self.at


@pytest.mark.parametrize("places", [[0], [7], [7, 8, 9], [7, 9], [0, 1, 3, 4], [5, 6, 20]])
def test_offsets_are_the_records_own(places: list[int]) -> None:
    """Also where ends of transactions or compacted records leave gaps."""
    assert list(offsets_of([Message(place) for place in places])) == places


def test_records_between_are_not_asked_where_none_is_missing() -> None:
    messages = [Message(place) for place in range(100, 110)]
    offsets_of(messages)
    assert [message.asked for message in messages[1:-1]] == [0] * 8
