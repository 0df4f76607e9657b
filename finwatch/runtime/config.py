"""Configuration from the environment: `FINWATCH_<GROUP>_<NAME>`, or `..._<NAME>_FILE` for a secret in a file.

Secrets are SecretStr: they never show in logs, errors or `repr`. They are never taken from the command line.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "FINWATCH_"


class ConfigError(Exception):
    """The configuration cannot be used; the message names the variable and what to do."""


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(_Group):
    """Where the broker is and how to reach it."""

    bootstrap: str = Field("127.0.0.1:9092", description="Brokers as host:port, separated by commas.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: SecretStr = SecretStr("")
    ssl_ca: Path | None = Field(None, description="CA certificate file; the system's when empty.")
    ssl_certificate: Path | None = None
    ssl_key: Path | None = None
    partitions: int = Field(12, ge=1, le=512, description="Partitions of every topic; equal for all.")
    replication: int = Field(1, ge=1, le=9, description="Replicas of every topic.")

    def client_config(self, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """librdkafka configuration for a client of this broker; `extra` (keys with dots) wins."""
        config: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": self.security_protocol,
            "client.id": "finwatch",
            "reconnect.backoff.max.ms": 2000,
        }
        if self.security_protocol.startswith("SASL"):
            config |= {
                "sasl.mechanisms": self.sasl_mechanism,
                "sasl.username": self.sasl_username,
                "sasl.password": self.sasl_password.get_secret_value(),
            }
        for name, path in (
            ("ssl.ca.location", self.ssl_ca),
            ("ssl.certificate.location", self.ssl_certificate),
            ("ssl.key.location", self.ssl_key),
        ):
            if path is not None:
                config[name] = str(path)
        return config | dict(extra or {})


class RegistrySettings(_Group):
    """Schema registry; an empty url means the embedded one, which needs no server."""

    url: str = ""
    user: str = ""
    password: SecretStr = SecretStr("")
    ssl_ca: Path | None = None


class ClickHouseSettings(_Group):
    """The store: an HTTP url (a server, or the embedded store's front), or a path for an engine in this process."""

    url: str = "http://127.0.0.1:8123"
    user: str = "default"
    password: SecretStr = SecretStr("")
    ssl_ca: Path | None = None
    path: Path | None = Field(None, description="Directory of an embedded store opened in this process; wins over url.")
    database: str = Field("finwatch", pattern=r"^[a-z_][a-z0-9_]*$")


class OdooSettings(_Group):
    """The Odoo to capture from."""

    url: str = ""
    database: str = ""
    user: str = ""
    password: SecretStr = Field(SecretStr(""), description="Password or API key.")
    api_key: SecretStr = Field(
        SecretStr(""),
        description="API key, in place of user and password on Odoo 19 and later (of the password before).",
    )
    admin_user: str = Field("", description="Administrator's login, for `finwatch odoo setup` only.")
    admin_password: SecretStr = Field(
        SecretStr(""), description="Administrator's password or API key, for `finwatch odoo setup` only; used once."
    )
    transport: Literal["auto", "jsonrpc", "json2"] = Field(
        "auto", description="How Odoo is asked; auto: JSON-2 where the server is 19 or later, JSON-RPC before."
    )
    ssl_ca: Path | None = Field(None, description="CA certificate file for https; the system's when empty.")
    source: str = Field(
        "odoo", pattern=r"^[a-z0-9][a-z0-9._-]*$", description="Name of this database in document keys."
    )
    poll_interval: float = Field(5.0, gt=0, description="Seconds between polls.")
    overlap: float = Field(
        180.0, ge=0, description="Seconds a window reaches back; below 120 late commits may be lost."
    )
    page_size: int = Field(1000, ge=1, le=5000, description="Rows asked for at once, at most.")
    page_least: int = Field(100, ge=1, le=5000, description="Rows asked for at once, however slowly Odoo answers.")
    page_seconds: float = Field(
        2.0, gt=0, description="How long Odoo should take for a page; pages grow and shrink towards it."
    )
    poll_budget: float = Field(
        60.0, ge=0, description="Seconds a poll may take; what does not fit goes on in the next. 0: no limit."
    )
    rate: float = Field(0.0, ge=0, description="Requests a second at most; 0: as many as Odoo answers.")
    concurrency: int = Field(2, ge=1, le=64, description="Requests at once, at most.")
    patience: float = Field(
        30.0, ge=0, description="Seconds over which a request is made again while Odoo gives no usable answer."
    )
    sweep_seconds: float = Field(
        600.0,
        ge=0,
        description="Seconds from one round of the sweep (commits beyond the overlap, deletions) to the next; 0: none.",
    )
    sweep_rows: int = Field(5000, ge=100, description="Rows a poll spends on the sweep; large tables take many polls.")
    sweep_recent: float = Field(
        3600.0,
        ge=0,
        description="The sweep reads whole, whatever its stamp, what was written since its last round and so many "
        "seconds before that.",
    )
    sweep_deletions: float = Field(
        0.1, ge=0, le=1, description="Share of a slice that may be missing; beyond, deletions are withheld, loudly."
    )
    contents_mb: int = Field(
        32, ge=0, description="MB of last contents held, for the values before a change and of what was deleted."
    )
    warm_rows: int = Field(
        20_000,
        ge=0,
        description="Documents read again after a start, between the polls, for the values before their next change.",
    )
    timeout: float = Field(60.0, gt=0)
    account_key: SecretStr = Field(SecretStr(""), description="Key of the keyed hash over bank account numbers.")
    custom: Path | None = Field(
        None, description="File of custom fields and models, and of models that are switched off (YAML)."
    )

    @field_validator("custom", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value


class ReconcileSettings(_Group):
    """`finwatch reconcile`: source against store."""

    rows_per_second: float = Field(
        2000.0, ge=0, description="Rows a second it asks of Odoo at most, on the average; 0: as fast as Odoo answers."
    )
    repair_seconds: float = Field(
        60.0, ge=0, description="Time the store has to show what was captured again by --repair."
    )


class HttpSettings(_Group):
    """`/metrics` and `/health` of this process."""

    host: str = Field("127.0.0.1", description="Loopback by default; set 0.0.0.0 only inside a container network.")
    port: int = Field(0, ge=0, le=65535, description="0: a free port, written to the log.")


class StreamSettings(_Group):
    """The Faust workers."""

    stages: str = Field("documents,relations", description="Stages of `faust -A streams.app worker`.")
    checkpoint_seconds: float = Field(1.0, gt=0)
    lateness_seconds: float = Field(1.0, ge=0, description="Allowed lateness of a live source's deadlines.")
    batch: int = Field(1000, ge=1, le=10000)
    kpi_seconds: float = Field(5.0, gt=0)
    session_timeout_ms: int = Field(6000, ge=1000)
    dead_letters_max: int = Field(1000, ge=0, description="Dead letters after which a worker stops.")
    dead_letters_percent: float = Field(
        20.0, gt=0, le=100, description="Share of dead letters in the last 1,000 records or more that stops a worker."
    )
    tombstone_seconds: float = Field(
        600.0, ge=0, description="Age of a takeover before the former branch's rows are deleted."
    )


class SinkSettings(_Group):
    """The sinks."""

    linger_seconds: float = Field(0.5, ge=0)
    max_rows: int = Field(50_000, ge=1, le=1_000_000)


class WebhookSettings(_Group):
    """`finwatch webhook`; who may send what stands in the file of hooks (docs/webhooks.md)."""

    hooks: Path | None = Field(None, description="The file of hooks (YAML).")
    host: str = Field("127.0.0.1", description="Loopback by default: put a proxy with TLS in front.")
    port: int = Field(8741, ge=0, le=65535, description="0: a free port, written to the log.")
    ack_seconds: float = Field(
        5.0,
        gt=0,
        le=300,
        description="Time an event waits for a transaction, and the broker has to take it, before 503 is told.",
    )
    read_seconds: float = Field(10.0, gt=0, description="Time a sender has for the body of a request.")
    idle_seconds: float = Field(
        30.0, gt=0, description="Time a connection has for the head of its next request before it is closed."
    )
    connections: int = Field(1000, ge=1, description="Connections served at once; more are closed at once.")
    pending: int = Field(10_000, ge=1, description="Events not acknowledged yet, above which senders are told 503.")


class _FileAwareEnv(EnvSettingsSource):
    """Environment source in which `NAME_FILE` names a file that holds the value of `NAME`."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        loaded = dict(super()._load_env_vars())
        for name, path in list(loaded.items()):
            if name.lower().startswith(PREFIX.lower()) and name.lower().endswith("_file") and path:
                try:
                    loaded[name[: -len("_file")]] = Path(path).read_text(encoding="utf-8").strip()
                except OSError as error:
                    raise ConfigError(f"{name.upper()} names a file that cannot be read: {error.strerror}") from None
                del loaded[name]
        return loaded


class Settings(BaseSettings):
    """All settings of a process; see the groups."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="_", env_nested_max_split=1, extra="ignore", frozen=True
    )

    kafka: KafkaSettings = KafkaSettings()  # type: ignore[call-arg]
    registry: RegistrySettings = RegistrySettings()
    clickhouse: ClickHouseSettings = ClickHouseSettings()  # type: ignore[call-arg]
    odoo: OdooSettings = OdooSettings()  # type: ignore[call-arg]
    reconcile: ReconcileSettings = ReconcileSettings()  # type: ignore[call-arg]
    http: HttpSettings = HttpSettings()  # type: ignore[call-arg]
    stream: StreamSettings = StreamSettings()  # type: ignore[call-arg]
    sink: SinkSettings = SinkSettings()  # type: ignore[call-arg]
    webhook: WebhookSettings = WebhookSettings()  # type: ignore[call-arg]
    embedded: Path | None = Field(None, description="Directory of the embedded stack; unset: real servers.")
    incarnation: str = Field("", description="Identity of the embedded broker's life; set by the embedded stack.")
    policy: Path | None = Field(None, description="Policy file; the shipped default when unset.")
    loglevel: Literal["debug", "info", "warning", "error"] = "info"
    logformat: Literal["auto", "json", "console"] = "auto"

    @property
    def registry_url(self) -> str:
        """Address of the schema registry; empty for the embedded one."""
        return self.registry.url

    @field_validator("embedded", "policy", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @model_validator(mode="after")
    def _sasl_is_complete(self) -> Self:
        if self.kafka.security_protocol.startswith("SASL") and not self.kafka.sasl_username:
            raise ValueError("FINWATCH_KAFKA_SASL_USERNAME is needed with FINWATCH_KAFKA_SECURITY_PROTOCOL=SASL_*")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given in code wins over the environment; nothing else is read."""
        return init_settings, _FileAwareEnv(settings_cls)


def load_settings(**given: Any) -> Settings:
    """Settings from the environment, `given` on top.

    Raises ConfigError naming each variable that is wrong and why; values are not repeated in the message.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_input=False, include_url=False, include_context=False):
            name = PREFIX + "_".join(str(part) for part in problem["loc"]).upper()
            lines.append(f"{name}: {problem['msg']}" if problem["loc"] else problem["msg"])
        raise ConfigError("configuration cannot be used:\n  " + "\n  ".join(lines)) from None


def embedded_directory(given: Path | None) -> Path | None:
    """The embedded directory of a command: its option, else FINWATCH_EMBEDDED."""
    if given is not None:
        return given
    value = os.environ.get(PREFIX + "EMBEDDED", "")
    return Path(value) if value else None
