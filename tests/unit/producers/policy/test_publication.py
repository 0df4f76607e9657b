"""Publishing a policy: on every partition, behind the register, once."""

from __future__ import annotations

import msgspec
import pytest

from finwatch.domain.policy import Policy, parse_policy
from finwatch.domain.records import PolicyChange
from finwatch.runtime.policies import packaged_policy
from finwatch.runtime.topics import POLICY, STAGE_INPUTS
from producers.policy import Earlier, publish
from schemas.codec import Decoder
from schemas.registry import EmbeddedRegistry
from tests.unit.agents.world import at

NOW = at("2026-11-22 10:00")


class Topics:
    """What was published, in order, and where the flushes stand."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str, bytes | None, int | None]] = []
        self.flushes: list[int] = []

    def publish(self, topic: str, key: str, value: bytes | None, partition: int | None = None) -> None:
        self.log.append((topic, key, value, partition))

    def flush(self) -> None:
        self.flushes.append(len(self.log))


def edited(**fields: object) -> Policy:
    raw = msgspec.to_builtins(packaged_policy("default").document, str_keys=True)
    return parse_policy({**raw, "version": "next", **fields})


def test_the_register_first_then_every_partition_of_the_input() -> None:
    topics, registry = Topics(), EmbeddedRegistry()
    done = publish(
        edited(), topics, registry, NOW, known={}, before=packaged_policy("default"), partitions=lambda topic: 3
    )
    assert topics.log[0][:2] == (POLICY, "default")
    assert topics.flushes == [1, 1 + 3 * len(STAGE_INPUTS)]
    assert {(topic, number) for topic, _, _, number in topics.log[1:]} == {
        (topic, number) for topic in STAGE_INPUTS for number in range(3)
    }
    assert len({value for _, _, value, _ in topics.log}) == 1
    (change,) = Decoder(registry).decode([topics.log[0][2]], {"finwatch.PolicyChange": PolicyChange})
    assert change == done.change
    assert done.change.changes == ["version: next, before 2026.1"]
    assert (done.change.effective_at, done.change.published_at) == (NOW, NOW)


def test_the_same_content_again_is_the_same_change() -> None:
    topics, registry, policy = Topics(), EmbeddedRegistry(), edited()
    first = publish(policy, topics, registry, NOW, known={}, partitions=lambda topic: 1)
    again = publish(policy, topics, registry, NOW + 9, known={"default": first.change}, partitions=lambda topic: 1)
    assert again.again
    assert again.change == first.change


def test_a_start_before_the_one_in_force_is_refused_before_anything_is_written() -> None:
    topics, registry = Topics(), EmbeddedRegistry()
    known = {"default": publish(edited(), topics, registry, NOW, known={}, partitions=lambda topic: 1).change}
    said = len(topics.log)
    with pytest.raises(Earlier, match="later time"):
        publish(edited(effective_from="2026-01-01"), topics, registry, NOW + 1, known=known, partitions=lambda topic: 1)
    assert len(topics.log) == said
    later = publish(edited(effective_from="2027-01-01"), topics, registry, NOW + 1, known=known, partitions=lambda t: 1)
    assert later.change.effective_at == at("2026-12-31 23:00"), "midnight in Brussels"
