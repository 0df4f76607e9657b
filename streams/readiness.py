"""What must answer before a worker starts: broker, topics, schema registry. One line a reason, then patience."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import confluent_kafka as ck

from finwatch.runtime.clock import Clock
from finwatch.runtime.config import ConfigError, KafkaSettings
from finwatch.runtime.logging import get_logger
from finwatch.runtime.retry import retrying
from schemas.registry import RegistryUnavailable, SchemaNotRegistered

_ANSWER_SECONDS = 5.0


class NotReady(Exception):
    """A dependency is not there yet; the message says which and what to do."""


class Broker:
    """Asks a broker for topics. Quiet: librdkafka's own lines about refused connections are switched off."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._bootstrap = settings.bootstrap
        self._consumer = ck.Consumer(
            settings.client_config({"group.id": "finwatch-readiness", "enable.auto.commit": False, "log_level": 0})
        )

    def check(self, inputs: Sequence[str], others: Sequence[str]) -> None:
        """Check that all topics exist and that ``inputs`` and ``others[0]`` (the state) have equally many partitions.

        Raises NotReady; ConfigError when the numbers of partitions differ, which no waiting mends.
        """
        try:
            known = self._consumer.list_topics(timeout=_ANSWER_SECONDS).topics
        except ck.KafkaException:
            raise NotReady(
                f"no Kafka broker answers at {self._bootstrap}; start it or set FINWATCH_KAFKA_BOOTSTRAP"
            ) from None
        missing = [name for name in (*inputs, *others) if name not in known or known[name].error is not None]
        if missing:
            shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
            raise NotReady(f"topics are missing: {shown}; run: finwatch topics apply")
        counts = {name: len(known[name].partitions) for name in (*inputs, *others[:1])}
        if len(set(counts.values())) > 1:
            shown = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
            raise ConfigError(f"the inputs and the state of a stage need the same number of partitions: {shown}")

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


def wait_until(ready: Callable[[], None], stop: threading.Event, clock: Clock) -> None:
    """Call ``ready`` until it neither raises NotReady nor finds the registry away; each new reason is logged once.

    Raises GaveUp when ``stop`` is set, ConfigError and RegistryError as they come.
    """
    log = get_logger("stream")
    said = ""

    def attempt() -> None:
        try:
            ready()
        except SchemaNotRegistered as error:
            raise NotReady(str(error)) from None

    def failed(error: Exception, wait: float) -> None:
        nonlocal said
        if str(error) != said:
            said = str(error)
            log.warning("waiting", reason=said)

    retrying(attempt, (NotReady, RegistryUnavailable), stop=stop, on_failure=failed, clock=clock)
    if said:
        log.info("everything answers now")
