"""The way out: whoever settles does not wait for requests to fill up."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from finwatch.local.broker import MockBroker
from streams import outlet
from streams.outlet import Outlet

LINGER_SECONDS = 2.0
ATTEMPTS = 5


async def settle(out: Outlet) -> float:
    """Send some records; return how long it took to settle them."""
    for number in range(50):
        out.send("out", b"value", b"key %d" % number)
    began = monotonic()
    epoch = out.cut()
    await out.settle(epoch)
    assert epoch.left == 0
    return monotonic() - began


def test_what_is_settled_is_sent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "_PRODUCER", {**outlet._PRODUCER, "linger.ms": int(LINGER_SECONDS * 1000)})
    failed: list[str] = []

    async def quick(bootstrap: str) -> bool:
        out = Outlet({"bootstrap.servers": bootstrap}, lambda why, _code: failed.append(why))
        await settle(out)  # connects
        # librdkafka's threads must get a turn within a few milliseconds: on a busy machine not each time.
        for _ in range(ATTEMPTS):
            if await settle(out) < LINGER_SECONDS / 2:
                return True
        return False

    with MockBroker() as broker:
        broker.create_topic("out", 4)
        assert asyncio.run(quick(broker.bootstrap))
    assert not failed
