"""What is written in bulk is, byte for byte, what is written by the names of columns."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.odoo import events
from producers.odoo.accounts import AccountHasher
from producers.odoo.contents import encoded
from producers.odoo.errors import Malformed
from producers.odoo.events import Sighting
from producers.odoo.mapping import MAPPINGS, moves
from producers.odoo.mapping.quick import KEPT, Odd, _Amounts, body_node, quick
from producers.odoo.mapping.spec import Mapping, Source
from producers.odoo.records import RecordEncoder
from producers.odoo.telling import ByName, Found, InBulk, Telling, telling
from producers.odoo.tracking import Tracked
from producers.odoo.values import Row
from schemas.encode_contents import compile_contents
from schemas.registry import EmbeddedRegistry
from tests.unit.producers.odoo.conftest import Captured
from tests.unit.producers.odoo.fakes import encode as as_it_is

AT = datetime(2026, 11, 22, 8, 0, 0, 123456, tzinfo=UTC)
SOURCE = Source("erp", "fin", 18, AccountHasher(b"k" * 32))
ENCODE = RecordEncoder(EmbeddedRegistry())
SIGHTINGS = (
    Sighting("r", "snapshot", "wall", AT), Sighting("c", "window", "log", AT), Sighting("u", "late", "wall", AT, 2),
    Sighting("u", "sweep", "wall", AT),
)  # fmt: skip
CHANGES = [{"field": "state", "old": None, "new": '"posted"'}]


def tracked(model: str, record_id: int, field: str, old: str | None, new: str | None) -> Tracked:
    return Tracked(41, "7", model, record_id, field, "Gebucht", old, new, False, AT, "3")


TRACKED = [
    ("state", "draft", "posted"),
    ("state", "draft", "submit"),
    ("amount_total", None, "12.0"),
    ("lines.x", "a", ""),
]


def told(how: Telling, mapping: Mapping, row: Row, lines: MappingOf[str, Any], source: Source) -> Any:
    """All that can be told of a row; or how it is refused."""
    how.begin(source, mapping.model)
    try:
        found = how.find(mapping, row, lines, AT)
    except Malformed as error:
        return str(error)
    except (KeyError, TypeError, AttributeError) as error:  # of rows that no server sends
        return type(error)
    if found is None:
        return None
    digest, said = events.digest(found.entity, found.content), list[Any]()
    for sighting in SIGHTINGS:
        said += [
            how.created(found, sighting),
            how.state(found, digest, sighting, CHANGES if sighting.op == "u" else ()),
        ]
        said += [how.decided(found, tracked(mapping.model, found.record_id, *one), sighting) for one in TRACKED]
    said.append(how.state(found, digest, SIGHTINGS[0], turn=3))
    said.append(how.state(found, digest, SIGHTINGS[1], returned=2))
    said.append(how.state(found, digest, SIGHTINGS[0], returned="e" * 32))
    return found.record_id, found.entity, found.company_id, found.content, said


def alike(mapping: Mapping, row: Row, lines: MappingOf[str, Any], source: Source = SOURCE) -> Any:
    by_name = told(ByName(ENCODE), mapping, row, lines, source)
    assert told(InBulk(ENCODE), mapping, row, lines, source) == by_name
    return by_name


def of_row(server: Captured, mapping: Mapping) -> list[tuple[Row, dict[str, list[Row]]]]:
    lines: dict[int, dict[str, list[Row]]] = {}
    for child in mapping.children:
        for one in server.rows(child.model) if server.has(child.model) else ():
            if one[child.parent]:
                lines.setdefault(one[child.parent][0], {}).setdefault(child.model, []).append(one)
    return [(row, lines.get(row["id"], {})) for row in server.rows(mapping.model)]


def test_rows_of_real_servers(server: Captured) -> None:
    entities = set()
    for mapping in MAPPINGS:
        if not mapping.serves(server.version) or not server.has(mapping.model):
            continue
        rows = of_row(server, mapping)
        for row, lines in rows[:: max(1, len(rows) // 40)]:
            said = alike(mapping, row, lines, server.source)
            entities |= {said[1]} if isinstance(said, tuple) else set()
    assert entities > {"bill", "invoice", "entry", "payment", "vendor"}


def test_moves_are_written_straight_from_their_rows(server: Captured) -> None:
    """Not by way of the mapping as written: that would be right too, and as slow as before."""
    bulk = InBulk(ENCODE)
    bulk.begin(server.source, moves.MAPPING.model)
    found = [bulk.find(moves.MAPPING, row, lines, AT) for row, lines in of_row(server, moves.MAPPING)]
    straight = [one for one in found if one is not None and one.body is not None and one.document is None]
    assert len(straight) >= 0.99 * sum(one is not None for one in found) > 100


ODD = (None, True, 0, 7.5, -0.0, "", "2026-13-01", [], [True, "x"], [7, "Ana"], {})


def test_one_field_at_a_time_made_odd(server: Captured) -> None:
    """The bodies and contents: what stands before them does not come of odd values."""
    by_name, bulk, mapping = ByName(ENCODE), InBulk(ENCODE), moves.MAPPING
    encoders = {entity: compile_contents(body_node(entity), b"") for entity in mapping.entities}

    def holds(row: Row, lines: MappingOf[str, Any]) -> None:
        found: list[Any] = []
        for how in (by_name, bulk):
            how.begin(server.source, mapping.model)
            try:
                one = how.find(mapping, row, lines, AT)
            except (Malformed, KeyError, TypeError, AttributeError) as error:
                found.append((type(error), str(error)))
                continue
            if one is None:
                found.append(None)
                continue
            body = one.body if one.document is None else encoders[one.entity](one.document.body)
            facts = {name: one.facts.get(name) for name in KEPT}
            found.append((one.entity, one.company_id, one.content, body, facts))
        assert found[0] == found[1]

    read = of_row(server, mapping)
    entities = {moves.captured_as(row): (row, lines) for row, lines in read if lines.get(moves.LINE.model)}
    assert entities.keys() >= {"bill", "invoice", "entry"}
    fields, of_line = mapping.fields.of(server.version), moves.LINE.fields.of(server.version)
    for row, lines in entities.values():
        for name in fields:
            for value in ODD:
                holds({**row, name: value}, lines)
        first = lines[moves.LINE.model][0]
        for name in of_line:
            for value in ODD:
                holds(row, {moves.LINE.model: [{**first, name: value}]})


def test_more_lines_than_fit_a_short_list() -> None:
    stamps = {"create_uid": [2, "A"], "create_date": "2026-11-20 08:00:00", "write_uid": False}
    row = {"id": 5, "move_type": "in_invoice", "name": "/", "company_id": [1, "F"], "ref": "r" * 300, **stamps}
    for count in (0, 1, 15, 16, 300):
        lines = [
            {"id": one, "display_type": "product", "name": "é" * one, "price_unit": one / 7, "tax_ids": [3, 1],
             "purchase_order_id": [9, "P9"] if one == 12 else False}
            for one in range(1, count + 1)
        ]  # fmt: skip
        alike(moves.MAPPING, row, {moves.LINE.model: lines})


floats = st.floats(allow_nan=False, allow_infinity=False)
AMOUNTS = st.one_of(
    floats, st.floats(-1e10, 1e10), st.decimals(-(10**10), 10**10, places=2).map(float),
    st.decimals(-10, 10, places=6).map(float), st.integers(-9, 9).map(float),
)  # fmt: skip


@given(AMOUNTS, AMOUNTS)
def test_any_amount(total: float, tax: float) -> None:
    row = {"id": 5, "move_type": "out_invoice", "amount_total": total, "amount_tax": tax}
    alike(moves.MAPPING, row, {})


@given(st.decimals(-(4 * 10**9), 4 * 10**9, places=6, allow_nan=False).map(float))
def test_amounts_of_every_day_take_the_short_way(amount: float) -> None:
    amounts = next(column.type for column in body_node("bill").columns if column.name == "amount_total")
    if 0.0001 <= abs(amount) < 4e9:
        assert _Amounts(amounts)[amount]
    else:
        with pytest.raises(Odd):
            _Amounts(amounts)[amount]


def test_a_function_that_is_no_display_is_not_compiled() -> None:
    def body(row: Row, lines: Any, source: Source) -> dict[str, Any]:
        made = {"name": row["name"]}
        made["state"] = row["state"]
        return made

    def unknown(row: Row, lines: Any, source: Source) -> dict[str, Any]:
        return {"no_such_column": row["name"]}

    with pytest.raises(TypeError, match="dict display"):
        quick("bill", body)
    with pytest.raises(TypeError, match="of its name"):
        quick("bill", unknown)


def test_each_declared_body_compiles_and_says_what_the_mapping_says() -> None:
    row = {"id": 5, "name": "B/1", "amount_total": 12.5}
    for mapping in MAPPINGS:
        for entity, body in mapping.bodies.items():
            made, written = quick(entity, body)(row, {}, SOURCE), body(row, {}, SOURCE)
            assert made.avro == compile_contents(body_node(entity), b"")(written)
            document = moves.Document(entity, None, written)
            assert b"\x92\xc0" + made.content == encoded(document)


def test_bulk_is_for_avro_only() -> None:
    assert isinstance(telling(ENCODE), InBulk)
    assert isinstance(telling(as_it_is), ByName)


def test_a_found_document_says_what_its_headers_take() -> None:
    bulk, row = (
        InBulk(ENCODE),
        {"id": 5, "move_type": "in_refund", "reversed_entry_id": [3, "B/3"], "write_uid": [8, "Z"]},
    )
    bulk.begin(SOURCE, moves.MAPPING.model)
    found = bulk.find(moves.MAPPING, row, {}, AT)
    assert isinstance(found, Found)
    assert (found.facts["reversed_key"], found.facts["written_by"]) == ("erp:bill:3", "8")
