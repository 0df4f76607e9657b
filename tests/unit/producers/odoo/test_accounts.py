"""Account numbers leave as hashes."""

import hashlib
import hmac

import pytest

from producers.odoo.accounts import AccountHasher, mask_ibans, masked, sanitise

IBAN = "DE89 3704 0044 0532 0130 00"  # the standard's own example


def test_the_hash_is_keyed_and_blind_to_spacing() -> None:
    one, other = AccountHasher(b"k" * 32), AccountHasher(b"j" * 32)
    expected = hmac.new(b"k" * 32, b"DE89370400440532013000", hashlib.sha256).hexdigest()
    assert one.hash(IBAN) == one.hash("de89-3704-0044-0532-0130-00") == expected
    assert other.hash(IBAN) != expected
    assert one.hash("") is one.hash(None) is one.hash(" - ") is None


def test_last_four_of_a_short_number_would_be_most_of_it() -> None:
    hasher = AccountHasher(b"k" * 16)
    assert hasher.last4(IBAN) == "3000"
    assert hasher.last4("1234567") is None
    assert masked("1234567") == "***"
    assert masked("US713543385239008") == "***9008"


def test_a_short_key_is_refused_and_never_shown() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        AccountHasher(b"short")
    assert "secret" not in repr(AccountHasher(b"secret-secret-secret"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Rent to {IBAN} May", "Rent to ***3000 May"),
        ("SEPA DE89370400440532013000", "SEPA ***3000"),
        (f"{IBAN}", "***3000"),
        ("GB82WEST12345698765432 and FR1420041010050500013M02606", "***5432 and ***2606"),
        ("INV/2026/00040", "INV/2026/00040"),
        ("DE88370400440532013000", "DE88370400440532013000"),  # wrong check digits: no IBAN
        ("RF18 5390 0754 7034", "RF18 5390 0754 7034"),  # a creditor reference, which duplicates are found by
        (None, None),
    ],
)
def test_ibans_in_free_text_are_masked(text: str | None, shown: str | None) -> None:
    assert mask_ibans(text) == shown


def test_sanitised_as_odoo_does() -> None:
    assert sanitise(" us51 7046-5931 ") == "US5170465931"
