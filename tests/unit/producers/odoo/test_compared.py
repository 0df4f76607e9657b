"""The source's side of a reconciliation: the capture's own mapping, with or without lines, asked for sparingly."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from finwatch.domain.reconciliation import NOT_COMPARED, Reference
from finwatch.runtime.clock import ManualClock
from producers.odoo.accounts import AccountHasher
from producers.odoo.compared import SourceSide, is_records, month
from producers.odoo.errors import Malformed
from producers.odoo.mapping import BY_MODEL, MAPPINGS
from producers.odoo.mapping.spec import Source
from producers.odoo.reader import Reader
from tests.unit.producers.odoo.conftest import Captured
from tests.unit.producers.odoo.fakes import FakeOdoo

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize("model", sorted(BY_MODEL))
def test_lines_decide_nothing_but_the_lines(server: Captured, model: str) -> None:
    """What is compared without lines must not depend on them, or documents would seem to differ."""
    mapping = BY_MODEL[model]
    if model not in server.meta or not mapping.serves(server.version):
        pytest.skip(f"{server.name} has no {model}")
    children: dict[int, dict[str, list[Any]]] = {}
    for child in mapping.children:
        if child.model not in server.meta:
            continue
        for row in server.rows(child.model):
            parent = row.get(child.parent)
            if parent:
                children.setdefault(parent[0], {}).setdefault(child.model, []).append(row)
    pickings = server.rows(model) if model == "stock.picking" else []
    receiving, delivering = (
        frozenset(str(row["picking_type_id"][0]) for row in pickings if row["picking_type_id"][1].endswith(ending))
        for ending in (": Receipts", ": Delivery Orders")
    )
    source = Source("erp", "fin", server.version, AccountHasher(b"k" * 32), receiving, delivering)
    compared = 0
    for row in server.rows(model):
        try:
            whole = mapping.map(row, children.get(row["id"], {}), source)
        except Malformed:
            continue
        bare = mapping.map(row, {}, source)
        if whole is None or bare is None:
            assert whole is bare
            continue
        own = [name for name, value in whole.body.items() if not is_records(name, value)]
        assert {name: whole.body[name] for name in own} == {name: bare.body[name] for name in own}
        assert (whole.entity, whole.company_id) == (bare.entity, bare.company_id)
        compared += 1
    assert compared


def odoo(count: int) -> FakeOdoo:
    found = FakeOdoo(NOW)
    for number in range(1, count + 1):
        found.put(
            "res.partner",
            {"id": number, "name": f"P{number}", "active": True, "supplier_rank": number, "create_uid": [2, "x"],
             "write_uid": [2, "x"], "create_date": "2026-10-01 10:00:00"},
            NOW,
        )  # fmt: skip
    return found


def side(found: FakeOdoo, clock: ManualClock, rate: float = 0, page: int = 10) -> SourceSide:
    reader = Reader(
        found, Source("erp", "fin", 18, AccountHasher(b"k" * 32)), page, (), lambda *_: None, lambda *_: None,
        structlog.get_logger(),
    )  # fmt: skip
    return SourceSide(reader, clock, whole=False, rows_per_second=rate, stop=threading.Event())


def test_parts_leave_no_id_out_and_end_open() -> None:
    parts = list(side(odoo(25), ManualClock(NOW)).parts(BY_MODEL["res.partner"]))
    assert [(part.after, part.last, len(part.items)) for part in parts] == [
        (0, 10, 10),
        (10, 20, 10),
        (20, 25, 5),
        (25, None, 0),
    ]
    [first] = [one for one in parts[0].items.values() if one.reference == Reference("vendor", 1)]
    assert first.period == "2026-10" and first.written_at == NOW
    assert not NOT_COMPARED & first.content.keys()


def test_it_asks_no_faster_than_it_may() -> None:
    clock = ManualClock(NOW)
    list(side(odoo(30), clock, rate=10).parts(BY_MODEL["res.partner"]))
    assert clock.monotonic() == pytest.approx(3.0)


def test_a_row_that_cannot_be_read_is_counted_and_the_others_are_compared() -> None:
    found = odoo(3)
    found.tables["res.partner"][2]["name"] = 17
    of_source = side(found, ManualClock(NOW))
    items = of_source.by_reference(BY_MODEL["res.partner"], [Reference("vendor", number) for number in (1, 2, 3, 9)])
    assert sorted(one.record_id for one in items) == [1, 3]
    assert of_source.malformed == 1


def test_months_end_where_the_next_one_begins() -> None:
    assert [str(day) for day in month("2026-12")] == ["2026-12-01", "2027-01-01"]
    for wrong in ("2026-13", "2026", "x"):
        with pytest.raises(ValueError, match=r"isoformat|month"):
            month(wrong)


def test_every_mapping_is_known_by_its_model() -> None:
    assert [one.model for one in MAPPINGS] == list(BY_MODEL)
