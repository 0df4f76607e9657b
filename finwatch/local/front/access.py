"""Who may ask the store: two users, their passwords in files that only the owner reads."""

import base64
import binascii
import hmac
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finwatch.local.front.errors import refused


@dataclass(frozen=True)
class User:
    """A user of the store. `readonly`: may read and change settings of its own queries, nothing else."""

    name: str
    password: str
    readonly: bool = False


def password_file(directory: Path, user: str) -> Path:
    """Where the password of a user stands, for an embedded directory."""
    return directory / "secrets" / f"store-{user}"


def load_users(directory: Path) -> dict[str, User]:
    """The users `default` and `reader` of an embedded directory; passwords are made at the first call.

    Raises PermissionError when a password file can be read by others.
    """
    return {
        name: User(name, _password(password_file(directory, name)), readonly)
        for name, readonly in (("default", False), ("reader", True))
    }


def _password(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        # O_EXCL: of two processes that start together one writes it, the other reads what that one wrote.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            raise PermissionError(f"{path} can be read by others; make it private: chmod 600 {path}") from None
        return path.read_text(encoding="ascii").strip()
    password = secrets.token_urlsafe(24)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(password + "\n")
    return password


def authenticate(users: Mapping[str, User], headers: Mapping[str, str], address: Mapping[str, str]) -> User:
    """User of a request, by header, Basic or address, in this order, as the server does. Raises StoreError 516."""
    if "X-ClickHouse-User" in headers:
        name, given = headers["X-ClickHouse-User"], headers.get("X-ClickHouse-Key", "")
    elif headers.get("Authorization", "").startswith("Basic "):
        try:
            name, _, given = base64.b64decode(headers["Authorization"][6:], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise _failed("default") from None
    else:
        name, given = address.get("user", "default"), address.get("password", "")
    user = users.get(name)
    # The comparison takes the same time whether or not the user exists.
    if not hmac.compare_digest((user.password if user else "").encode(), given.encode()) or user is None:
        raise _failed(name)
    return user


def _failed(name: str) -> Exception:
    shown = name if name.isidentifier() and len(name) < 64 else "?"
    return refused(
        516,
        "AUTHENTICATION_FAILED",
        f"{shown}: Authentication failed: password is incorrect, or there is no user with such name",
    )
