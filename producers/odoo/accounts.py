"""Bank account numbers never leave this package in clear: keyed hash and last four characters only."""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from functools import lru_cache

_NOT_ALPHANUMERIC = re.compile(r"[^0-9A-Za-z]")
# Country, check digits, 11 to 30 characters, in one piece or in groups of four.
_IBAN = re.compile(r"\b[A-Za-z]{2}\d{2}(?:[ ]?[0-9A-Za-z]){11,30}\b")
_SHORTEST = 15
MINIMUM_KEY_BYTES = 16


def sanitise(account: str) -> str:
    """The number as Odoo's `sanitized_acc_number` has it: letters and digits only, upper case."""
    return _NOT_ALPHANUMERIC.sub("", account).upper()


def masked(account: str) -> str:
    """What a person may see of a number: `***` and its last four characters (none of a short one)."""
    clean = sanitise(account)
    return f"***{clean[-4:]}" if len(clean) >= 8 else "***"


def _is_iban(candidate: str) -> bool:
    clean = sanitise(candidate)
    if clean.startswith("RF"):  # ISO 11649 creditor reference: same check digits, but a reference
        return False
    moved = clean[4:] + clean[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def mask_ibans(free_text: str | None) -> str | None:
    """`free_text` with every valid IBAN in it masked; memos and bank labels often hold the payee's."""
    if free_text is None or len(free_text) < _SHORTEST or _IBAN.search(free_text) is None:
        return free_text

    def replace(found: re.Match[str]) -> str:
        # The pattern is greedy and may run into a following word: try shorter ends at the blanks.
        candidate = found.group()
        end = len(candidate)
        while end > 0:
            part = candidate[:end]
            if _is_iban(part) and len(sanitise(part)) >= 15:
                return masked(part) + candidate[end:]
            end = part.rfind(" ")
        return candidate

    return _IBAN.sub(replace, free_text)


@lru_cache(4096)  # a vendor's account and address come with each of its bills
def _keyed_hash(key: bytes, account: str) -> str | None:
    clean = sanitise(account)
    return hmac.new(key, clean.encode(), hashlib.sha256).hexdigest() if clean else None


@dataclass(frozen=True)
class AccountHasher:
    """HMAC-SHA-256 over sanitised account numbers. `key` must have 16 bytes or more; ValueError otherwise."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) < MINIMUM_KEY_BYTES:
            raise ValueError(f"the key of the account hash must have {MINIMUM_KEY_BYTES} bytes or more")

    def hash(self, account: str | None) -> str | None:
        """64 hex characters; None for no number."""
        return _keyed_hash(self.key, account) if account else None

    def last4(self, account: str | None) -> str | None:
        """Last four characters; None for no number, and for one so short that they would be most of it."""
        clean = sanitise(account or "")
        return clean[-4:] if len(clean) >= 8 else None
