"""A broker with access lists: what doctor asks for is what the ingress needs, no more and no less."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from finwatch.runtime.config import KafkaSettings
from finwatch.runtime.topics import HINTS
from producers.webhook.hooks import parse_hooks
from producers.webhook.rights import check
from producers.webhook.transactions import IDENTITIES, Lane, Record
from tests.parts.kafka import Kafka

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(180)]
HOOKS = """
hooks:
  approvals:
    kind: signed
    keys: {"1": {env: KEY}}
    event:
      entity: {path: kind, values: {invoice: bill, order: purchase_order}}
      record_id: {path: id}
      activity: {value: approved}
      event_id: {path: event}
  odoo:
    kind: odoo
    token: {env: TOKEN}
"""
TOPICS = ("finance.bill.v1", "finance.purchase_order.v1", HINTS)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    kafka = Kafka(tmp_path_factory.mktemp("secured"), {"ingress": "pass-1"})
    kafka.start()
    yield kafka
    kafka.stop()


def settings(broker: Kafka, bootstrap: str) -> KafkaSettings:
    if bootstrap == broker.bootstrap:
        return KafkaSettings(bootstrap=bootstrap)
    return KafkaSettings(
        bootstrap=bootstrap,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="ingress",
        sasl_password="pass-1",
    )


def checked(broker: Kafka, bootstrap: str) -> dict[str, tuple[str, str, str]]:
    hooks = parse_hooks(HOOKS, "hooks.yaml", {"KEY": "k" * 32, "TOKEN": "t" * 32})
    return {name: (status, found, todo) for name, status, found, todo in check(settings(broker, bootstrap), hooks)}


def allow(broker: Kafka, command: str) -> None:
    """Carry out a command of doctor's with the client library: kafka-acls is a Java program of its own."""
    assert command.startswith(f"run: kafka-acls --bootstrap-server {broker.secured} --add --allow-principal User:")
    [who] = re.findall(r"--allow-principal (\S+)", command)
    pattern = ResourcePatternType.PREFIXED if "--resource-pattern-type prefixed" in command else None
    resources = [(ResourceType.TOPIC, one) for one in re.findall(r"--topic (\S+)", command)]
    resources += [(ResourceType.TRANSACTIONAL_ID, one) for one in re.findall(r"--transactional-id (\S+)", command)]
    acls = [
        AclBinding(kind, name, pattern or ResourcePatternType.LITERAL, who, "*", operation, AclPermissionType.ALLOW)
        for kind, name in resources
        for operation in (AclOperation[one.upper()] for one in re.findall(r"--operation (\S+)", command))
    ]
    assert acls
    admin = broker.admin()
    for future in admin.create_acls(acls).values():
        future.result(30)


def test_what_is_refused_is_named_and_what_doctor_says_is_enough(broker: Kafka) -> None:
    # Where topics are not there, that is said, and not that they are refused.
    told = checked(broker, broker.bootstrap)
    assert told["topics"][0] == "failed" and "topics apply" in told["topics"][2]
    assert told["transactional ids"][0] == "ok"
    for topic in TOPICS:
        broker.topic(topic, exact=True, partitions=1)
    # Whoever no list binds may do all of it.
    assert {status for status, _, _ in checked(broker, broker.bootstrap).values()} == {"ok"}

    told = checked(broker, broker.secured)
    assert {status for status, _, _ in told.values()} == {"failed"}
    assert all(topic in told["topics"][1] for topic in TOPICS)
    assert f"{IDENTITIES}*" in told["transactional ids"][1]
    allow(broker, told["topics"][2])
    told = checked(broker, broker.secured)
    assert (told["topics"][0], told["transactional ids"][0]) == ("ok", "failed")
    allow(broker, told["transactional ids"][2])
    assert {status for status, _, _ in checked(broker, broker.secured).values()} == {"ok"}

    # With just these rights the ingress writes, and learns what became of a commit in doubt.
    lane = Lane(settings(broker, broker.secured).client_config(), f"{IDENTITIES}p1.0", seconds=10)
    assert lane.recover()
    assert lane.begin([Record(HINTS, b"k", b"v")]) == [True]
    assert lane.end().committed
    place = lane._place
    assert place is not None and lane._stands(place) is True
    lane.close()
