"""Publishes a policy, and reads back what is published.

The order is the guarantee:

1. The change is written to the compacted policy topic and acknowledged: from here on it is known, with its time.
2. The same record is written to every partition of every input topic of the stages, and acknowledged.

Whoever dies in between runs the command again: the same content is the same change, with the time it was given first,
and a partition that has it already takes no notice. So no partition goes by another start than the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import confluent_kafka as ck
import msgspec
from msgspec import Struct

from finwatch.domain.policy import Policy, parse_content
from finwatch.domain.policy.change import change_record
from finwatch.domain.records import PolicyChange
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.publisher import Publisher
from finwatch.runtime.topics import POLICY, STAGE_INPUTS
from schemas.codec import Decoder, Encoder
from schemas.decode import Bad, Skipped
from schemas.registry import Registry

_RECORD = "finwatch.PolicyChange"
_READ_SECONDS = 20.0


class TopicUnreadable(Exception):
    """The policy topic cannot be read."""

    exit_code = ExitCode.UNAVAILABLE
    what_to_do = "check FINWATCH_KAFKA_BOOTSTRAP, and that `finwatch topics apply` was run"


class Earlier(Exception):
    """The policy would never come into force: one that starts later is published."""

    exit_code = ExitCode.FAILED
    what_to_do = "give it a later effective_from, or none: then it is in force from now on"


class Published(Struct, frozen=True):
    """What a publication did. ``again``: the same change was published before, and was completed now."""

    change: PolicyChange
    partitions: int
    again: bool


def published(config: Mapping[str, Any], registry: Registry) -> dict[str, PolicyChange]:
    """The last published change of each policy, by name. ``config`` is librdkafka's. Raises TopicUnreadable."""
    consumer = ck.Consumer(
        {
            **config,
            "group.id": "finwatch-policy-reader",  # never joined: partitions are assigned by hand
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
    )
    values: list[bytes] = []
    try:
        topic = consumer.list_topics(POLICY, timeout=_READ_SECONDS).topics[POLICY]
        if topic.error is not None:
            raise TopicUnreadable(f"{POLICY} cannot be read: {topic.error.name()}")
        left = set(topic.partitions)
        consumer.assign([ck.TopicPartition(POLICY, number, ck.OFFSET_BEGINNING) for number in left])
        while left:
            messages = consumer.consume(100, _READ_SECONDS)
            if not messages:
                raise TopicUnreadable(f"{POLICY} was not read to its end within {_READ_SECONDS:.0f} s")
            for message in messages:
                error = message.error()
                if error is None:
                    value = message.value()
                    if value is not None:
                        values.append(value)
                elif error.code() == ck.KafkaError._PARTITION_EOF:
                    left.discard(message.partition())
                else:
                    raise TopicUnreadable(f"{POLICY} cannot be read: {error.name()}")
    except ck.KafkaException as error:
        raise TopicUnreadable(f"{POLICY} cannot be read: {error.args[0].name()}") from None
    finally:
        consumer.close()
    found: dict[str, PolicyChange] = {}
    for record in Decoder(registry).decode(values, {_RECORD: PolicyChange}):
        if isinstance(record, Bad | Skipped):
            continue  # whatever else was put there is no policy
        assert isinstance(record, PolicyChange)
        known = found.get(record.policy)
        if known is None or known.published_at <= record.published_at:
            found[record.policy] = record
    return found


def publish(
    policy: Policy,
    publisher: Publisher,
    registry: Registry,
    now: int,
    *,
    known: Mapping[str, PolicyChange],
    before: Policy | None = None,
    partitions: Callable[[str], int],
    author: str | None = None,
    reason: str | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Published:
    """Put a policy in force from the day it names, else from ``now`` (epoch microseconds).

    ``known``: what is published (``published``); ``before``: the policy it follows where none of its name is. Raises
    Earlier before anything is written; PublishFailed, RegistryError and RegistryUnavailable.
    """
    last = known.get(policy.name)
    if last is not None and last.content_hash == policy.content_hash:
        change, again = last, True
    else:
        previous = parse_content(last.content) if last is not None else before
        change, again = change_record(policy, now, previous, None, author, reason), False
        if last is not None and change.effective_at < last.effective_at <= now:
            raise Earlier(f"{last.label} is in force from a later time than this policy names")
    value = Encoder(registry).encoder(PolicyChange, _RECORD)(change)
    publisher.publish(POLICY, policy.name, value)  # 1.
    publisher.flush()
    places = [(topic, number) for topic in STAGE_INPUTS for number in range(partitions(topic))]
    for done, (topic, number) in enumerate(places):  # 2.
        publisher.publish(topic, policy.name, value, number)
        progress(done + 1, len(places))
    publisher.flush()
    return Published(change, len(places), again)


def as_dict(change: PolicyChange) -> dict[str, Any]:
    """A change as plain values, without the policy's whole content."""
    found: dict[str, Any] = msgspec.to_builtins(change)
    del found["content"]
    return found
