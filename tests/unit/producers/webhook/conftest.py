"""One ingress for the tests of this folder, on the embedded broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from finwatch.local.broker import MockBroker
from tests.parts.webhook import ENVIRONMENT, Ingress, ingress


@pytest.fixture(scope="session")
def webhook_broker() -> Iterator[MockBroker]:
    """A broker with all topics."""
    with MockBroker() as broker:
        broker.create_topics(3)
        yield broker


@pytest.fixture(scope="session")
def webhook(webhook_broker: MockBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingress]:
    """A running ingress."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        folder = tmp_path_factory.mktemp("webhook")
        with ingress(webhook_broker.bootstrap, folder, read_seconds=1.0, idle_seconds=2.0) as running:
            yield running
