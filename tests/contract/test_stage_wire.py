"""Events reach the stages, and their outputs the wire, through the codec as it is."""

from __future__ import annotations

import json
from decimal import Decimal
from io import BytesIO

import fastavro
import msgspec

from finwatch.domain.events import DOCUMENT_PROJECTIONS, RELATION_PROJECTIONS, Bill, BillLine, Event, RelationFact
from finwatch.domain.records import AVRO_NAMES
from finwatch.runtime.topics import FINDING, RELATION
from schemas.codec import Decoder, Encoder
from schemas.registry import EmbeddedRegistry, newest
from tests.unit.agents.world import at, bill, documents, moved, relate

HEADER = {"mode": "window", "correlation_id": "c", "snapshot": False, "changes": []}


def written(event: Event, registry: EmbeddedRegistry) -> bytes:
    """An event as a producer writes it, through fastavro."""
    schema = newest(f"finwatch.{type(event).__name__}")
    stream = BytesIO(b"\x00" + registry.schema_id(schema).to_bytes(4, "big"))
    stream.seek(5)
    record = {**HEADER, **msgspec.structs.asdict(event)}
    if isinstance(event, Bill):
        record["lines"] = [{"line_id": str(n), **msgspec.structs.asdict(line)} for n, line in enumerate(event.lines)]
    fastavro.schemaless_writer(stream, fastavro.parse_schema(json.loads(schema.text)), record)
    return stream.getvalue()


def test_events_and_outputs_go_over_the_wire() -> None:
    registry = EmbeddedRegistry()
    encoder, decoder = Encoder(registry), Decoder(registry)
    line = BillLine("4")
    sent = [
        bill(
            "1", "2026-03-02 10:00", reference="R-100", amount_total=Decimal("5000.123456"), lines=[line], origin=None
        ),
        bill("2", "2026-03-03 10:00", reference="r 100", amount_total=Decimal("5000.123456"), origin=None),
        moved("bill", "2", "2026-03-20 10:00", "posted", "draft", "posted", actor="5"),
    ]
    values = [written(event, registry) for event in sent]
    received = decoder.decode(values, DOCUMENT_PROJECTIONS)
    assert [type(event) for event in received] == [type(event) for event in sent]
    replay, other = documents(), documents()
    replay.feed(received)  # type: ignore[arg-type]
    other.feed(sent)
    replay.heartbeat("odoo", at("2026-04-20 10:00"), "log")
    other.heartbeat("odoo", at("2026-04-20 10:00"), "log")
    assert replay.view.outputs == other.view.outputs
    for output in replay.view.outputs:
        assert encoder.encode(output.record, AVRO_NAMES[type(output.record)])
    facts = decoder.decode(
        [encoder.encode(fact, "finwatch.Relation") for fact in replay.outputs(RELATION)], RELATION_PROJECTIONS
    )
    assert all(isinstance(fact, RelationFact) for fact in facts)
    (finding,) = relate(replay).outputs(FINDING)
    assert encoder.encode(finding, "finwatch.Finding")
    for part in replay.stage.kpis(replay.view, {"odoo": at("2026-04-20 10:00")}):
        assert encoder.encode(part, "finwatch.Kpi")
