"""An import through librdkafka: each partition holds its cases in time order, and the end of the log last."""

from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from finwatch.local.broker import MockBroker
from finwatch.runtime.publisher import KafkaPublisher
from producers.eventlog import import_log
from producers.eventlog.mapping import parse_mapping
from schemas.codec import describe
from schemas.registry import EmbeddedRegistry

REGISTRY = EmbeddedRegistry()
MAPPING = """source: log
entity: expense_report
activities: {Submit: {activity: submitted}, Pay: {activity: paid}}
"""
TOPIC = "finance.expense_report.v1"
PARTITIONS = 4


def test_each_partition_is_in_time_order_and_ends_with_the_end(tmp_path: Path) -> None:
    traces = "".join(
        f"<trace><string key='concept:name' value='c{case}'/>"
        + "".join(
            f"<event><string key='concept:name' value='{name}'/>"
            f"<date key='time:timestamp' value='2024-01-{day:02}T00:00:{case % 60:02}Z'/></event>"
            for name, day in (("Submit", 28 - case % 20), ("Pay", 28))
        )
        + "</trace>"
        for case in range(200)
    )
    (tmp_path / "log.xes").write_text(f"<log>{traces}</log>")
    with MockBroker() as broker:
        broker.create_topic(TOPIC, PARTITIONS)
        publisher = KafkaPublisher({"bootstrap.servers": broker.bootstrap})
        summary = import_log(
            [tmp_path / "log.xes"],
            parse_mapping(MAPPING, "m"),
            publisher,
            registry=REGISTRY,
            partitions=lambda topic: PARTITIONS,
        )
        publisher.close()
        consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "t", "enable.auto.commit": False})
        consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
        found: dict[int, list[tuple[str, dict[str, object]]]] = {partition: [] for partition in range(PARTITIONS)}
        while sum(map(len, found.values())) < 400 + PARTITIONS:
            message = consumer.poll(20)
            assert message is not None and message.error() is None, "fewer records than were published"
            key, value, partition = message.key(), message.value(), message.partition()
            assert key is not None and value is not None and partition is not None
            found[partition].append((key.decode(), describe(value, REGISTRY)))
        consumer.close()
    assert summary.events == 400
    homes: dict[str, int] = {}
    for partition, records in found.items():
        *events, (end_key, end) = records
        assert events, "every partition has some of 200 cases"
        assert (end["$schema"], end["final"], end["at"], end_key) == (
            "finwatch.Heartbeat",
            True,
            "2024-01-28T00:00:59Z",
            "log",
        )
        times = [str(event["occurred_at"]) for _, event in events]
        assert times == sorted(times)
        for key, event in events:
            assert key == event["document_key"]
            assert homes.setdefault(key, partition) == partition
    assert len(homes) == 200
