"""The file of hooks (YAML): who may send what, and what becomes of it. docs/webhooks.md shows every key."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Discriminator, Field, field_validator, model_validator

from finwatch.domain.policy import Activity
from finwatch.runtime.topics import WATCHED_ENTITIES
from producers.webhook.errors import HooksError
from producers.yaml_model import parse_model, read_text

TAKEN = (*WATCHED_ENTITIES, "automation_rule")
"""What a hook may tell of: documents under control, and the runs of automations, which no stage judges."""
MINIMUM_SECRET_BYTES = 32
MAX_SECRET_BYTES = 4096
ACTIVITIES = frozenset(get_args(Activity))
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TOKEN = re.compile(r"[A-Za-z0-9_.~-]+")
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
Dotted = Annotated[str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)*$", max_length=256)]
HeaderName = Annotated[str, Field(max_length=64)]
PayloadType = Literal["string", "integer", "number", "boolean", "object", "array"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SecretPlace(_Part):
    """Where a secret is: an environment variable or a file. Never the secret itself."""

    env: str | None = None
    file: Path | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("name one place of the secret: `env: VARIABLE` or `file: PATH`")
        return self

    def read(self, environment: Mapping[str, str], where: str) -> bytes:
        """The secret, white space around it removed. Raises HooksError for none or a short one."""
        if self.env is not None:
            if self.env not in environment:
                raise HooksError(f"{where}: environment variable {self.env} is not set")
            raw = environment[self.env].encode()
        else:
            assert self.file is not None
            try:
                with self.file.open("rb") as file:
                    raw = file.read(MAX_SECRET_BYTES + 1)
            except OSError as error:
                raise HooksError(f"{where}: {self.file}: {error.strerror}") from None
        secret = raw.strip()
        if not MINIMUM_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
            raise HooksError(
                f"{where}: a secret has {MINIMUM_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes; make one with "
                "`openssl rand -hex 32`"
            )
        return secret


class Place(_Part):
    """Where a value comes from: `path` in the payload (dots and list numbers), or a fixed `value`.

    `values` translates what was found; what it does not list is refused. `default` stands in for a missing path.
    """

    path: Dotted | None = None
    value: str | None = None
    values: dict[str, str] | None = None
    default: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.path is None) == (self.value is None):
            raise ValueError("give one of `path: a.b` (in the payload) and `value: text` (fixed)")
        if self.value is not None and (self.values is not None or self.default is not None):
            raise ValueError("`values` and `default` go with `path`")
        return self

    def outcomes(self) -> list[str] | None:
        """All texts that can come out; None when the payload decides."""
        if self.value is not None:
            return [self.value]
        if self.values is None:
            return None
        return [*self.values.values(), *([self.default] if self.default is not None else [])]


class Moment(_Part):
    """Where a time comes from: ISO 8601 with an offset, or seconds or milliseconds since 1970."""

    path: Dotted
    format: Literal["iso", "seconds", "milliseconds"] = "iso"


class Only(_Part):
    """Which payloads are wanted; others are answered 204 and leave no trace."""

    path: Dotted
    values: Annotated[list[str], Field(min_length=1)]


class EventMapping(_Part):
    """What of a payload becomes which column of a Transition."""

    entity: Place
    record_id: Place
    activity: Place
    occurred_at: Moment | None = None
    event_id: Place | None = None
    label: Place | None = None
    company_id: Place | None = None
    actor: Place | None = None
    step: Place | None = None
    role: Place | None = None
    responsible: Place | None = None
    correlation_id: Place | None = None
    field: Place | None = None
    old_value: Place | None = None
    new_value: Place | None = None
    amount: Place | None = None
    currency: Place | None = None

    @field_validator("entity")
    @classmethod
    def _entities_exist(cls, place: Place) -> Place:
        outcomes = place.outcomes()
        if outcomes is None or any(one not in TAKEN for one in outcomes):
            raise ValueError(f"no such entity; give `value`, or `path` with `values`, out of {', '.join(TAKEN)}")
        return place

    @field_validator("activity")
    @classmethod
    def _activities_exist(cls, place: Place) -> Place:
        outcomes = place.outcomes()
        if outcomes is None or any(one not in ACTIVITIES for one in outcomes):
            raise ValueError(
                f"no such activity; give `value`, or `path` with `values`, out of {', '.join(sorted(ACTIVITIES))}"
            )
        return place

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        if self.occurred_at is None and (self.event_id is None or self.event_id.path is None):
            raise ValueError(
                "give `occurred_at`, or `event_id` with a `path`: without either a second decision that looks like the "
                "first could not be told from a repeat"
            )
        return self


class Headers(_Part):
    """Names of the headers of a signed request. Without a key id all keys are tried."""

    signature: HeaderName = "X-Finwatch-Signature"
    timestamp: HeaderName = "X-Finwatch-Timestamp"
    nonce: HeaderName = "X-Finwatch-Nonce"
    key: HeaderName | None = "X-Finwatch-Key"

    @field_validator("*")
    @classmethod
    def _are_names(cls, value: str | None) -> str | None:
        return _header_name(value)


class _Hook(_Part):
    source: Name | None = None
    rate: Annotated[float, Field(gt=0, le=100_000)] = 50.0
    burst: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_bytes: Annotated[int, Field(ge=1, le=16 * 1024 * 1024)] = 1024 * 1024


class SignedHook(_Hook):
    """Events of a system that signs."""

    kind: Literal["signed"]
    keys: Annotated[dict[str, SecretPlace], Field(min_length=1, max_length=8)]
    headers: Headers = Headers()
    encoding: Literal["hex", "base64"] = "hex"
    prefix: Annotated[str, Field(max_length=32)] = ""
    window_seconds: Annotated[int, Field(ge=10, le=3600)] = 300
    remember: Annotated[int, Field(ge=1, le=10_000_000)] = 200_000
    payload: dict[Dotted, PayloadType] = {}
    only: Only | None = None
    event: EventMapping


class OdooHook(_Hook):
    """Odoo's automation webhooks: unsigned, so a long random token in the path (or in `header`) stands in."""

    kind: Literal["odoo"]
    token: SecretPlace
    header: HeaderName | None = None
    models: list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]*$", max_length=128)]] | None = None

    @field_validator("header")
    @classmethod
    def _is_name(cls, value: str | None) -> str | None:
        return _header_name(value)


def _header_name(value: str | None) -> str | None:
    if value is not None and not _HEADER.fullmatch(value):
        raise ValueError("not the name of an HTTP header")
    return value


class HooksFile(_Part):
    """The whole file."""

    hooks: Annotated[dict[Name, Annotated[SignedHook | OdooHook, Discriminator("kind")]], Field(min_length=1)]


class Hooks:
    """A checked file and the secrets it names: `keys[hook][key id]`, `tokens[hook]`."""

    def __init__(self, file: HooksFile, environment: Mapping[str, str], name: str = "hooks") -> None:
        self.hooks = file.hooks
        self.keys: dict[str, dict[str, bytes]] = {}
        self.tokens: dict[str, bytes] = {}
        for hook, of_hook in file.hooks.items():
            if isinstance(of_hook, SignedHook):
                self.keys[hook] = {
                    key: place.read(environment, f"{name}: hooks.{hook}.keys.{key}")
                    for key, place in of_hook.keys.items()
                }
            else:
                token = of_hook.token.read(environment, f"{name}: hooks.{hook}.token")
                if of_hook.header is None and not _TOKEN.fullmatch(token.decode("latin-1")):
                    raise HooksError(
                        f"{name}: hooks.{hook}.token: it stands in a path: letters, digits and . _ ~ - only; make one "
                        "with `openssl rand -hex 32`"
                    )
                self.tokens[hook] = token


def parse_hooks(text: str, name: str, environment: Mapping[str, str] | None = None) -> Hooks:
    """Hooks from the text of a file, with their secrets. Raises HooksError."""
    file: Any = parse_model(HooksFile, text, name, HooksError)
    return Hooks(file, os.environ if environment is None else environment, name)


def load_hooks(path: Path, environment: Mapping[str, str] | None = None) -> Hooks:
    """Hooks from a file, with their secrets. Raises HooksError with lines and what to do."""
    return parse_hooks(read_text(path, HooksError), str(path), environment)
