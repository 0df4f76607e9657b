"""`topics apply` on the embedded broker and on a real one: the same plan, idempotent, and it never moves keys."""

import pytest

from finwatch.runtime import admin
from finwatch.runtime.config import KafkaSettings
from finwatch.runtime.topics import TOPICS


def test_embedded_broker_agrees_with_the_list() -> None:
    from finwatch.local.broker import MockBroker

    with MockBroker() as broker:
        broker.create_topics(4)
        settings = KafkaSettings(bootstrap=broker.bootstrap, partitions=4)
        changes = admin.plan(settings, check_configuration=False)
        assert {change.action for change in changes} == {"keep"}
        other = KafkaSettings(bootstrap=broker.bootstrap, partitions=6)
        assert {change.action for change in admin.plan(other, check_configuration=False)} == {"conflict"}


@pytest.mark.broker
def test_real_broker_is_brought_to_agree_and_stays_so(kafka) -> None:  # type: ignore[no-untyped-def]
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=3)
    first = admin.plan(settings)
    assert {c.topic for c in first} == {spec.name for spec in TOPICS}
    try:
        admin.apply(settings, first)
        assert {c.action for c in admin.plan(settings)} == {"keep"}
    finally:
        kafka.delete_topics(*(spec.name for spec in TOPICS))  # the broker is shared, and others make their own


def test_an_absent_broker_is_named_with_advice() -> None:
    client = admin.admin_client(KafkaSettings(bootstrap="127.0.0.1:1"))
    with pytest.raises(admin.BrokerUnavailable, match=r"127\.0\.0\.1:1") as caught:
        admin.cluster_topics(client, "127.0.0.1:1", timeout=1)
    assert "FINWATCH_KAFKA_BOOTSTRAP" in caught.value.what_to_do
