"""Make a broker agree with the topic list: plan first, then apply. Idempotent; never shrinks, never deletes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from finwatch.runtime.config import KafkaSettings
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.topics import TOPICS, TopicSpec

TIMEOUT = 15.0


class BrokerUnavailable(Exception):
    """The broker did not answer in time."""

    exit_code = ExitCode.UNAVAILABLE

    def __init__(self, bootstrap: str) -> None:
        super().__init__(f"no Kafka broker answers at {bootstrap}")
        self.what_to_do = "start the broker, or point FINWATCH_KAFKA_BOOTSTRAP at one (--embedded DIR needs none)"


@dataclass(frozen=True)
class TopicChange:
    """What has to happen to one topic. `conflict` cannot be mended without moving data, so it is left to a person."""

    topic: str
    action: Literal["create", "alter", "keep", "conflict"]
    detail: str = ""
    config: tuple[tuple[str, str], ...] = ()


def admin_client(settings: KafkaSettings) -> AdminClient:
    """An admin client that keeps quiet while a broker is away; the caller says what is wrong."""
    return AdminClient(settings.client_config({"log_level": 0}))


def cluster_topics(admin: AdminClient, bootstrap: str, timeout: float = TIMEOUT) -> dict[str, int]:
    """Names and partition counts of the broker's topics. Raises BrokerUnavailable."""
    try:
        metadata = admin.list_topics(timeout=timeout)
    except KafkaException:
        raise BrokerUnavailable(bootstrap) from None
    return {name: len(topic.partitions) for name, topic in metadata.topics.items()}


def plan(
    settings: KafkaSettings,
    specs: Sequence[TopicSpec] = TOPICS,
    *,
    check_configuration: bool = True,
    admin: AdminClient | None = None,
) -> list[TopicChange]:
    """Compare the broker with `specs`. `check_configuration` False leaves out what the embedded broker cannot tell.

    Raises BrokerUnavailable.
    """
    admin = admin or admin_client(settings)
    present = cluster_topics(admin, settings.bootstrap)
    current = _configuration(admin, [s.name for s in specs if s.name in present]) if check_configuration else {}
    changes = []
    for spec in specs:
        count = present.get(spec.name)
        wanted = spec.config()
        if count is None:
            detail = f"{settings.partitions} partitions, {settings.replication} replicas, {spec.cleanup}"
            changes.append(TopicChange(spec.name, "create", detail, tuple(wanted.items())))
        elif count != settings.partitions:
            changes.append(
                TopicChange(
                    spec.name,
                    "conflict",
                    f"has {count} partitions, {settings.partitions} are configured; keys would move: "
                    "set FINWATCH_KAFKA_PARTITIONS to the broker's count, or start with new topics",
                )
            )
        else:
            differs = {k: v for k, v in wanted.items() if spec.name in current and current[spec.name].get(k) != v}
            if differs:
                detail = ", ".join(f"{k}={v}" for k, v in differs.items())
                changes.append(TopicChange(spec.name, "alter", detail, tuple(differs.items())))
            else:
                changes.append(TopicChange(spec.name, "keep", f"{count} partitions"))
    return changes


def apply(settings: KafkaSettings, changes: Sequence[TopicChange], admin: AdminClient | None = None) -> None:
    """Carry out `create` and `alter`. Raises BrokerUnavailable, or KafkaException with the broker's own words."""
    admin = admin or admin_client(settings)
    new = [
        NewTopic(c.topic, settings.partitions, settings.replication, config=dict(c.config))
        for c in changes
        if c.action == "create"
    ]
    if new:
        for future in admin.create_topics(new, request_timeout=TIMEOUT).values():
            future.result()
    altered = [
        ConfigResource(
            ResourceType.TOPIC,
            c.topic,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in c.config
            ],
        )
        for c in changes
        if c.action == "alter"
    ]
    if altered:
        for future in admin.incremental_alter_configs(altered, request_timeout=TIMEOUT).values():
            future.result()


def _configuration(admin: AdminClient, topics: list[str]) -> dict[str, dict[str, str]]:
    if not topics:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
    found: dict[str, dict[str, str]] = {}
    answers: dict[Any, Any] = admin.describe_configs(resources, request_timeout=TIMEOUT)
    for resource, future in answers.items():
        found[resource.name] = {name: entry.value for name, entry in future.result().items()}
    return found
