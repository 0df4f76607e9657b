"""Who sent it: HMAC-SHA-256 over `timestamp.nonce.body`, with one of several keys. Pure.

The timestamp (seconds since 1970) and the nonce have no dot in them, so no two requests have the same signed text.
"""

import base64
import hmac
import re
from collections.abc import Mapping
from typing import NamedTuple

from producers.webhook.errors import Refused
from producers.webhook.hooks import SignedHook

_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_NONCE = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)
MAX_SIGNATURE = 256


class Claim(NamedTuple):
    """What the headers of a request say, form and time checked, signature not yet."""

    timestamp: str
    nonce: str
    signature: bytes
    keys: tuple[bytes, ...]

    @property
    def at(self) -> int:
        """When it says it was signed, seconds since 1970."""
        return int(self.timestamp)


def sign(key: bytes, timestamp: str, nonce: str, body: bytes) -> bytes:
    """The digest that a sender makes."""
    return hmac.digest(key, b"%b.%b.%b" % (timestamp.encode(), nonce.encode(), body), "sha256")


def read_claim(hook: SignedHook, keys: Mapping[str, bytes], headers: Mapping[str, str], now: int) -> Claim:
    """The claim of a request, before its body is read. `now`: seconds since 1970. Raises Refused (401)."""
    names = hook.headers
    timestamp, nonce, given = (headers.get(name, "") for name in (names.timestamp, names.nonce, names.signature))
    if not _TIMESTAMP.fullmatch(timestamp):
        raise Refused(401, f"{names.timestamp} must be the time in whole seconds since 1970")
    if not _NONCE.fullmatch(nonce):
        raise Refused(401, f"{names.nonce} must be 8 to 64 letters, digits, _ or -")
    candidates = tuple(keys.values())
    key_id = headers.get(names.key) if names.key is not None else None
    if key_id is not None:
        if key_id not in keys:
            raise Refused(401, "unknown key or bad signature")
        candidates = (keys[key_id],)
    if abs(now - int(timestamp)) > hook.window_seconds:
        raise Refused(401, f"{names.timestamp} is more than {hook.window_seconds} s from the time here")
    return Claim(timestamp, nonce, _digest(given, hook), candidates)


def _digest(given: str, hook: SignedHook) -> bytes:
    bad = Refused(401, "unknown key or bad signature")
    if len(given) > MAX_SIGNATURE or not given.startswith(hook.prefix) or not given.isascii():
        raise bad
    text = given[len(hook.prefix) :]
    try:
        return bytes.fromhex(text) if hook.encoding == "hex" else base64.b64decode(text, validate=True)
    except ValueError:
        raise bad from None


def verify(claim: Claim, body: bytes) -> None:
    """Compare in constant time, all candidates always. Raises Refused (401)."""
    good = False
    for key in claim.keys:
        good |= hmac.compare_digest(sign(key, claim.timestamp, claim.nonce, body), claim.signature)
    if not good:
        raise Refused(401, "unknown key or bad signature")
