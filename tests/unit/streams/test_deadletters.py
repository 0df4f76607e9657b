"""Dead letters: what is kept, and when there are too many."""

from __future__ import annotations

import hashlib

import pytest

from streams.deadletters import VALUE_LIMIT, Budget, TooManyDeadLetters, dead_letter

ORIGIN = ("finance.bill.v1", 3, 17)


def test_the_bytes_are_untouched() -> None:
    value = bytes(range(256))
    letter = dead_letter("documents", ORIGIN, b"k", value, 5, "malformed_avro", "the record ends early")
    assert (letter.topic, letter.partition, letter.offset) == ORIGIN
    assert letter.value == value
    assert not letter.truncated


def test_a_large_value_is_cut_and_can_still_be_recognised() -> None:
    value = b"\0\xff" * 1_000_000
    letter = dead_letter("documents", ORIGIN, None, value, 5, "too_large", "")
    assert letter.value == value[:VALUE_LIMIT]
    assert letter.truncated
    assert letter.value_size == 2_000_000
    assert letter.value_sha256 == hashlib.sha256(value).hexdigest()


def test_no_value_is_a_dead_letter_too() -> None:
    letter = dead_letter("documents", ORIGIN, b"k", None, 5, "not_confluent_format", "")
    assert (letter.value, letter.value_size, letter.truncated) == (None, 0, False)


def test_the_count_is_limited() -> None:
    budget = Budget(most=5, percent=100)
    for _ in range(5):
        budget.spend(1, 1)
    with pytest.raises(TooManyDeadLetters, match="FINWATCH_STREAM_DEAD_LETTERS_MAX"):
        budget.spend(1, 1)


def test_the_share_is_limited_over_the_last_thousand() -> None:
    budget = Budget(most=10_000, percent=20)
    budget.spend(5000, 0)
    budget.spend(500, 500)  # half of the last 1,000, but those are not filled by it alone
    with pytest.raises(TooManyDeadLetters, match="FINWATCH_STREAM_DEAD_LETTERS_PERCENT"):
        budget.spend(600, 600)


def test_a_few_bad_records_at_the_start_do_not_stop_a_worker() -> None:
    budget = Budget(most=10_000, percent=20)
    budget.spend(100, 100)
    budget.spend(900, 0)
    assert budget.total == 100
