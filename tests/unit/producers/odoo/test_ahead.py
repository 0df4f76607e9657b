"""Reading ahead changes when, not what."""

import threading
from collections.abc import Iterator

import pytest

from producers.odoo.ahead import ahead


def test_items_come_in_order_and_are_drawn_before_they_are_asked_for() -> None:
    drawn = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        drawn.set()
        yield 2

    reading = ahead(items())
    assert next(reading) == 1
    assert drawn.wait(5)
    assert list(reading) == [2]


def test_what_drawing_raises_is_raised_here_after_what_came_before() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("gone")

    reading = ahead(items())
    assert next(reading) == 1
    with pytest.raises(LookupError, match="gone"):
        next(reading)


def test_closing_early_ends_the_thread() -> None:
    def items() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    before = threading.active_count()
    reading = ahead(items())
    next(reading)
    reading.close()
    assert threading.active_count() == before
