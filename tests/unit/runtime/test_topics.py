"""One list of topics, and a plan that never moves keys."""

import pytest

from finwatch.runtime.topics import (
    DOCUMENT_ENTITIES,
    ENTITIES,
    ENTITY_TOPICS,
    STORED_TOPICS,
    TOPICS,
    WATCHED_ENTITIES,
    WATCHED_TOPICS,
    entity_record,
    entity_topic,
    state_topic,
)


def test_names_are_unique_and_each_entity_has_its_topic() -> None:
    names = [spec.name for spec in TOPICS]
    assert len(set(names)) == len(names)
    assert set(ENTITY_TOPICS) <= set(names)
    assert {entity_topic(entity) for entity in ENTITIES} == set(ENTITY_TOPICS)


def test_a_stage_reads_the_watched_topics_only() -> None:
    from streams.agents.documents import DocumentsStage

    assert set(WATCHED_ENTITIES) < set(ENTITIES)
    assert DocumentsStage.topics == WATCHED_TOPICS


def test_an_entity_keeps_its_place_for_the_capture_remembers_it() -> None:
    assert ENTITIES[:10] == DOCUMENT_ENTITIES == WATCHED_ENTITIES[:10]
    assert ENTITIES[10:13] == ("currency_rate", "unit", "product")
    assert len(ENTITIES) < 256


def test_every_record_named_has_a_schema() -> None:
    from schemas.catalogue import current

    known = set(current())
    for spec in TOPICS:
        assert set(spec.records) <= known, spec.name


def test_state_is_compacted_late_and_kept_out_of_the_store() -> None:
    for stage in ("documents", "relations"):
        spec = next(spec for spec in TOPICS if spec.name == state_topic(stage))
        assert spec.cleanup == "compact"
        assert int(spec.config()["min.compaction.lag.ms"]) >= 3_600_000
        assert spec.name not in STORED_TOPICS


def test_events_are_kept_for_ever_and_two_megabytes_fit() -> None:
    config = next(spec for spec in TOPICS if spec.name == "finance.bill.v1").config()
    assert config["retention.ms"] == "-1"
    assert int(config["max.message.bytes"]) > 2 * 1024 * 1024


def test_an_unknown_entity_is_an_error() -> None:
    with pytest.raises(KeyError):
        entity_record("unicorn")
