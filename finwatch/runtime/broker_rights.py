"""What a broker with access lists lets this process do, as far as its client library can ask.

Brokers without an authoriser allow everything and say so.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

TIMEOUT = 10.0


def refused_on_topics(
    admin: AdminClient, topics: Iterable[str], wanted: frozenset[AclOperation], timeout: float = TIMEOUT
) -> dict[str, list[str]]:
    """Of each topic that does not allow all of `wanted`: which operations it refuses, in words (`Write`).

    A topic that this process may not even see is named with all of them; one that is not there, with none. Raises
    KafkaException when the broker does not answer.
    """
    names = sorted(set(topics))
    if not names:
        return {}
    asked = admin.describe_topics(TopicCollection(names), include_authorized_operations=True, request_timeout=timeout)
    refused = {}
    for name, answer in asked.items():
        try:
            allowed = answer.result(timeout)
        except KafkaException as error:
            told = error.args[0].code()
            if told not in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART):
                raise
            refused[name] = _in_words(wanted) if told == KafkaError.TOPIC_AUTHORIZATION_FAILED else []
            continue
        if allowed.authorized_operations is None:
            continue  # a broker that does not tell
        if missing := wanted - set(allowed.authorized_operations):
            refused[name] = _in_words(missing)
    return refused


def transactions_allowed(config: Mapping[str, Any], identity: str, timeout: float = TIMEOUT) -> bool:
    """Whether this process may write under the transactional id `identity`.

    It takes the identity to find out, and so ends whoever writes under it: give one that nobody uses. `config`:
    librdkafka's. Raises KafkaException when the broker does not answer.
    """
    producer = Producer({**config, "transactional.id": identity, "log_level": 0})
    try:
        producer.init_transactions(timeout)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            return False
        raise
    return True


def _in_words(operations: Iterable[AclOperation]) -> list[str]:
    return sorted(one.name.capitalize() for one in operations)
