"""Does the broker let the ingress do what it has to? For `finwatch doctor`."""

from collections.abc import Iterator
from typing import Literal

from confluent_kafka.admin import AclOperation

from finwatch.runtime.admin import admin_client
from finwatch.runtime.broker_rights import refused_on_topics, transactions_allowed
from finwatch.runtime.config import KafkaSettings
from finwatch.runtime.topics import HINTS, entity_topic
from producers.webhook.hooks import Hooks, SignedHook
from producers.webhook.transactions import IDENTITIES

NEEDED = frozenset({AclOperation.WRITE, AclOperation.READ, AclOperation.DESCRIBE})
"""On its topics. It reads only to learn what became of a commit in doubt, with partitions assigned by hand: no right on
a group is needed."""
_PROBE = f"{IDENTITIES}doctor"

Result = tuple[str, Literal["ok", "failed"], str, str]
"""What was looked at, how it is, what was found, what to do."""


def topics_of(hooks: Hooks) -> list[str]:
    """The topics that these hooks write to."""
    found: set[str] = set()
    for hook in hooks.hooks.values():
        if isinstance(hook, SignedHook):
            found.update(entity_topic(entity) for entity in hook.event.entity.outcomes() or ())
        else:
            found.add(HINTS)
    return sorted(found)


def check(settings: KafkaSettings, hooks: Hooks) -> Iterator[Result]:
    """Topics, then transactional ids. Nothing is written. Raises KafkaException when the broker does not answer."""
    topics, who = topics_of(hooks), settings.sasl_username or "NAME"
    command = f"kafka-acls --bootstrap-server {settings.bootstrap} --add --allow-principal User:{who}"
    refused = refused_on_topics(admin_client(settings), topics, NEEDED)
    absent, closed = [one for one, what in refused.items() if not what], [one for one, what in refused.items() if what]
    if absent:
        yield "topics", "failed", f"not there, or not to be seen: {', '.join(absent)}", "run: finwatch topics apply"
    if closed:
        operations = " ".join(f"--operation {one.name.capitalize()}" for one in sorted(NEEDED, key=lambda op: op.name))
        yield (
            "topics",
            "failed",
            "refused: " + "; ".join(f"{', '.join(refused[one])} on {one}" for one in closed),
            f"run: {command} {operations} {' '.join(f'--topic {one}' for one in closed)}",
        )
    if not refused:
        yield "topics", "ok", f"{len(topics)} may be written", ""
    if transactions_allowed(settings.client_config(), _PROBE):
        yield "transactional ids", "ok", f"{IDENTITIES}* may be used", ""
    else:
        yield (
            "transactional ids",
            "failed",
            f"the broker refuses {IDENTITIES}*: every event would be answered 503",
            f"run: {command} --operation Write --operation Describe --transactional-id {IDENTITIES} "
            "--resource-pattern-type prefixed",
        )
