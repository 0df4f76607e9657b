"""Waits at start until the broker has the topics and the registry the schemas that the capture writes."""

import threading

from finwatch.runtime.admin import BrokerUnavailable, admin_client, cluster_topics
from finwatch.runtime.clock import Clock
from finwatch.runtime.config import KafkaSettings
from finwatch.runtime.exits import ExitCode
from finwatch.runtime.logging import get_logger
from finwatch.runtime.retry import retrying
from finwatch.runtime.topics import CAPTURE_STATE, TOPICS
from finwatch.runtime.trouble import Trouble
from schemas.registry import Registry, RegistryUnavailable, SchemaNotRegistered, newest

_ANSWER_SECONDS = 5.0
_WRITTEN = tuple(spec for spec in TOPICS if "finwatch.Heartbeat" in spec.records)


class NotReady(Exception):
    """A part is not set up yet; the message says which and what to do."""

    exit_code = ExitCode.UNAVAILABLE


def check(kafka: KafkaSettings, registry: Registry) -> None:
    """Raises NotReady, BrokerUnavailable, RegistryUnavailable, RegistryError."""
    known = cluster_topics(admin_client(kafka), kafka.bootstrap, _ANSWER_SECONDS)
    missing = [name for name in (*(spec.name for spec in _WRITTEN), CAPTURE_STATE) if name not in known]
    if missing:
        raise NotReady(f"{len(missing)} topics are missing, {missing[0]} first; run: finwatch topics apply")
    for record in sorted({record for spec in _WRITTEN for record in spec.records}):
        try:
            registry.schema_id(newest(record))
        except SchemaNotRegistered as error:
            raise NotReady(str(error)) from None


def wait_until_ready(kafka: KafkaSettings, registry: Registry, stop: threading.Event, clock: Clock) -> None:
    """Repeat `check` with backoff while something is away or not set up; each new reason is logged once.

    Raises GaveUp when `stop` is set, RegistryError as it comes.
    """
    trouble = Trouble(get_logger("capture"))

    def failed(error: Exception, _wait: float) -> None:
        trouble.tell("waiting", reason=str(error), what_to_do=getattr(error, "what_to_do", ""))

    transient = (NotReady, BrokerUnavailable, RegistryUnavailable)
    retrying(lambda: check(kafka, registry), transient, stop=stop, on_failure=failed, clock=clock)
    trouble.over()
