"""Where schema ids come from: a Confluent-API registry, or the committed files alone.

A schema's subject is its full name (RecordNameStrategy), so one topic can carry several records. Writers never
register on the fly: `finwatch schemas apply` does, and a writer whose schema is not registered stops with a message.
An unreachable registry is an outage (RegistryUnavailable: wait, retry, stop), never a reason to refuse a record.
"""

import threading
from collections.abc import Callable
from typing import Any, Protocol

from confluent_kafka.schema_registry import Schema as WireSchema
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from finwatch.runtime.clock import Clock, SystemClock
from finwatch.runtime.config import RegistrySettings
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.retry import GaveUp, retrying
from schemas.catalogue import Schema, SchemaError, current, every_version, parse

_NOT_FOUND = frozenset({40401, 40402, 40403})
_REFUSED = frozenset({400, 409, 422})
_PERMANENT = frozenset({401, 403})


class RegistryError(Exception):
    """The registry answered, and the answer ends the matter (rights, an incompatible schema)."""

    exit_code = ExitCode.FAILED
    what_to_do = "see the message"


class RegistryUnavailable(Exception):
    """The registry could not be asked: an outage. Retry later; no record is at fault."""

    exit_code = ExitCode.UNAVAILABLE
    what_to_do = "start the registry, or set FINWATCH_REGISTRY_URL (empty: the embedded one, which needs no server)"


class UnknownSchema(Exception):
    """No schema has this id."""


class SchemaNotRegistered(RegistryError):
    """The schema is not in the registry under its subject; `finwatch schemas apply` puts it there."""

    what_to_do = "run: finwatch schemas apply"


class Registry(Protocol):
    """Schemas by id and ids by schema. Every method may raise RegistryUnavailable or RegistryError."""

    def schema(self, schema_id: int) -> Schema:
        """The schema with this id. Raises UnknownSchema."""

    def schema_id(self, schema: Schema) -> int:
        """Id of a registered schema. Raises SchemaNotRegistered."""

    def register(self, schema: Schema) -> int:
        """Register the schema under its full name, or find it there; returns its id. Idempotent."""

    def versions(self, full_name: str) -> list[Schema]:
        """Registered versions of a subject, oldest first; empty when there is none."""


def embedded_id(schema: Schema) -> int:
    """The embedded registry's id of a schema: the first 31 bits of the SHA-256 of its canonical form."""
    return int.from_bytes(schema.digest[:4], "big") >> 1


class EmbeddedRegistry:
    """Ids from the committed files alone: every process of one version of finwatch agrees without asking anyone.

    Raises SchemaError at start when two committed schemas share an id.
    """

    def __init__(self, schemas: tuple[Schema, ...] | None = None) -> None:
        self._schemas: dict[int, Schema] = {}
        self._versions: dict[str, list[Schema]] = {}
        for schema in tuple(every_version()) if schemas is None else schemas:
            self._add(schema)

    def _add(self, schema: Schema) -> int:
        schema_id = embedded_id(schema)
        held = self._schemas.get(schema_id)
        if held is None:
            self._versions.setdefault(schema.full_name, []).append(schema)
        elif held != schema:
            raise SchemaError(f"{schema.full_name} and {held.full_name} have the same embedded id {schema_id}")
        # The newest text wins: it has the same fields and types, and the docs and defaults of today.
        self._schemas[schema_id] = schema
        return schema_id

    def schema(self, schema_id: int) -> Schema:
        """See Registry."""
        try:
            return self._schemas[schema_id]
        except KeyError:
            raise UnknownSchema(f"no committed schema has id {schema_id}") from None

    def schema_id(self, schema: Schema) -> int:
        """See Registry."""
        schema_id = embedded_id(schema)
        if schema_id not in self._schemas:
            raise SchemaNotRegistered(f"{schema.full_name}: this version is not among the committed schemas")
        return schema_id

    def register(self, schema: Schema) -> int:
        """See Registry. Holds in this process only."""
        return self._add(schema)

    def versions(self, full_name: str) -> list[Schema]:
        """See Registry."""
        return list(self._versions.get(full_name, ()))


class ConfluentRegistry:
    """A registry that speaks Confluent's API. Thread-safe; answers are cached, an unknown id for `negative_seconds`.

    A failed request is tried again with backoff for `seconds`, then RegistryUnavailable is raised.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        *,
        seconds: float = 10.0,
        negative_seconds: float = 10.0,
        timeout: float = 5.0,
        clock: Clock | None = None,
        on_failure: Callable[[Exception, float], None] | None = None,
    ) -> None:
        config: dict[str, Any] = {"url": settings.url, "timeout": timeout, "max.retries": 0}
        if settings.user:
            config["basic.auth.user.info"] = f"{settings.user}:{settings.password.get_secret_value()}"
        if settings.ssl_ca is not None:
            config["ssl.ca.location"] = str(settings.ssl_ca)
        self._url = settings.url
        self._client = SchemaRegistryClient(config)
        self._clock = clock or SystemClock()
        self._seconds = seconds
        self._negative_seconds = negative_seconds
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._schemas: dict[int, Schema] = {}
        self._ids: dict[Schema, int] = {}
        self._unknown: dict[int, float] = {}

    def _ask(self, what: str, call: Callable[[], Any]) -> Any:
        def attempt() -> Any:
            try:
                return call()
            except SchemaRegistryError as error:
                if error.error_code in _NOT_FOUND or error.http_status_code in _REFUSED:
                    raise
                if error.http_status_code in _PERMANENT:
                    raise RegistryError(
                        f"schema registry {self._url} refuses to {what}: HTTP {error.http_status_code}; check "
                        "FINWATCH_REGISTRY_USER, FINWATCH_REGISTRY_PASSWORD and the user's rights"
                    ) from None
                raise RegistryUnavailable(f"HTTP {error.http_status_code}") from error
            except Exception as error:  # the client leaks its HTTP library's exceptions, whose classes vary by version
                raise RegistryUnavailable(type(error).__name__) from error

        try:
            return retrying(
                attempt, (RegistryUnavailable,), seconds=self._seconds, on_failure=self._on_failure, clock=self._clock
            )
        except GaveUp as error:
            raise RegistryUnavailable(
                f"schema registry {self._url} does not answer ({error}); check FINWATCH_REGISTRY_URL and that it runs"
            ) from error

    def schema(self, schema_id: int) -> Schema:
        """See Registry."""
        with self._lock:
            found = self._schemas.get(schema_id)
            if found is not None:
                return found
            until = self._unknown.get(schema_id)
            if until is not None and self._clock.monotonic() < until:
                raise UnknownSchema(f"schema registry has no id {schema_id}")
        try:
            wire = self._ask("read a schema", lambda: self._client.get_schema(schema_id))
            schema = _from_wire(wire, schema_id)
        except (SchemaRegistryError, UnknownSchema) as error:
            # Confluent's client caches no failures; garbage with a random id must not cost a request a record.
            with self._lock:
                if len(self._unknown) >= 10_000:
                    self._unknown.clear()
                self._unknown[schema_id] = self._clock.monotonic() + self._negative_seconds
            raise UnknownSchema(f"schema registry has no usable schema with id {schema_id}") from error
        with self._lock:
            self._schemas[schema_id] = schema
        return schema

    def schema_id(self, schema: Schema) -> int:
        """See Registry."""
        with self._lock:
            if schema in self._ids:
                return self._ids[schema]
        try:
            found = self._ask(
                "look up a schema",
                lambda: self._client.lookup_schema(schema.full_name, WireSchema(schema.text, "AVRO")),
            )
        except SchemaRegistryError:
            raise SchemaNotRegistered(
                f"{schema.full_name}: this version is not in the schema registry {self._url}; "
                "run: finwatch schemas apply"
            ) from None
        return self._remember(schema, found.schema_id)

    def register(self, schema: Schema) -> int:
        """See Registry. Raises RegistryError when the registry finds it incompatible."""
        try:
            schema_id = self._ask(
                "register a schema",
                lambda: self._client.register_schema(schema.full_name, WireSchema(schema.text, "AVRO")),
            )
        except SchemaRegistryError as error:
            raise RegistryError(f"{schema.full_name}: refused by the schema registry: {error.error_message}") from None
        return self._remember(schema, schema_id)

    def versions(self, full_name: str) -> list[Schema]:
        """See Registry."""
        try:
            numbers = self._ask("list versions", lambda: self._client.get_versions(full_name))
            return [self._version(full_name, number) for number in sorted(numbers)]
        except SchemaRegistryError as error:
            if error.error_code in _NOT_FOUND:
                return []
            raise RegistryError(f"{full_name}: {error.error_message}") from None

    def _version(self, full_name: str, number: int) -> Schema:
        found = self._ask("read a version", lambda: self._client.get_version(full_name, number))
        return parse(found.schema.schema_str, f"{full_name} version {number}")

    def _remember(self, schema: Schema, schema_id: int) -> int:
        with self._lock:
            self._ids[schema] = schema_id
            self._unknown.pop(schema_id, None)
        return schema_id


def _from_wire(wire: WireSchema, schema_id: int) -> Schema:
    if wire.schema_type not in (None, "AVRO"):
        raise UnknownSchema(f"id {schema_id} is not an Avro schema")
    try:
        return parse(wire.schema_str or "", f"schema id {schema_id}")
    except SchemaError as error:
        raise UnknownSchema(str(error)) from None


def open_registry(settings: RegistrySettings) -> Registry:
    """The registry that the settings name: a server when there is a url, else the embedded one."""
    return ConfluentRegistry(settings) if settings.url else EmbeddedRegistry()


def newest(full_name: str) -> Schema:
    """The newest committed schema of a record. Raises SchemaError for an unknown name."""
    try:
        return current()[full_name]
    except KeyError:
        raise SchemaError(f"{full_name}: no such schema in schemas/avro") from None
