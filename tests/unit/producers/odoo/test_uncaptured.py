"""Models of which no rows were captured, through mapping and schema: rows as Odoo's own code has them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from producers.odoo import events
from producers.odoo.accounts import AccountHasher
from producers.odoo.errors import Malformed
from producers.odoo.events import Sighting
from producers.odoo.mapping import BY_MODEL
from producers.odoo.mapping.spec import Document, Source
from producers.odoo.records import RecordEncoder
from schemas.codec import describe
from schemas.registry import EmbeddedRegistry

AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
STAMPS = {
    "create_uid": [2, "Mitchell Admin"],
    "create_date": "2026-11-20 08:00:00",
    "write_uid": [2, "Mitchell Admin"],
    "write_date": "2026-11-21 09:30:00",
}


def source(version: int) -> Source:
    return Source("erp", "fin", version, AccountHasher(b"k" * 32))


def told(model: str, version: int, row: dict[str, Any], lines: dict[str, list[dict[str, Any]]] | None = None) -> Any:
    """The row's record, decoded again; every column of its schema must have been filled."""
    document = BY_MODEL[model].map({"id": 7, **STAMPS, **row}, lines or {}, source(version))
    assert isinstance(document, Document)
    event = events.state_event(
        source(version), model, 7, document, events.content_hash(document), AT, Sighting("r", "snapshot", "wall", AT)
    )
    registry = EmbeddedRegistry()
    found = describe(RecordEncoder(registry)(event.record, event.content), registry)
    assert set(event.content) == {name for name in found if not name.startswith("$")}
    return found


def test_a_rate_keeps_all_its_places() -> None:
    row = {"currency_id": [125, "EUR"], "name": "2026-11-01", "rate": 0.8725347281218943, "company_id": False}
    found = told("res.currency.rate", 18, row)
    assert (found["currency"], found["currency_id"], found["rate"]) == ("EUR", "125", 0.8725347281218943)
    assert (date.fromisoformat(str(found["date"])), found["company_id"]) == (date(2026, 11, 1), None)


@pytest.mark.parametrize(
    ("version", "row", "family", "factor"),
    [
        (17, {"factor": 1 / 12, "category_id": [3, "Unit"]}, "3", 12.0),
        (18, {"factor": 1000.0, "category_id": [2, "Weight"]}, "2", 0.001),
        (19, {"factor": 12.0, "parent_path": "1/7/"}, "1", 12.0),
        (19, {"factor": 1.0, "parent_path": False}, "7", 1.0),
    ],
)
def test_a_unit_says_how_many_reference_units_it_is(version: int, row: Any, family: str, factor: float) -> None:
    found = told("uom.uom", version, {"name": "Dozen", "rounding": 0.01, "active": True, **row})
    assert (found["family_id"], found["factor"]) == (family, factor)


def test_a_unit_without_a_factor_is_refused() -> None:
    with pytest.raises(Malformed, match="factor is zero"):
        told("uom.uom", 18, {"factor": 0.0})


@pytest.mark.parametrize(
    ("version", "row", "kind", "stocked"),
    [
        (17, {"type": "product", "detailed_type": "product"}, "goods", True),
        (17, {"type": "consu", "detailed_type": "consu"}, "goods", False),
        (18, {"type": "consu", "is_storable": True}, "goods", True),
        (18, {"type": "service", "is_storable": False}, "service", False),
        (18, {"type": "consu"}, "goods", None),
    ],
)
def test_what_is_kept_in_stock(version: int, row: Any, kind: str, stocked: bool | None) -> None:
    found = told("product.product", version, {"name": "Desk", "uom_id": [1, "Units"], "company_id": False, **row})
    assert (found["kind"], found["stocked"], found["unit_id"]) == (kind, stocked, "1")


def test_names_of_19_are_read_on_19_only() -> None:
    for version, wanted, unwanted in ((18, "product_uom", "product_uom_id"), (19, "product_uom_id", "product_uom")):
        fields = BY_MODEL["purchase.order"].children[0].fields.of(version)
        assert wanted in fields and unwanted not in fields
    assert "amount_total_cc" in BY_MODEL["purchase.order"].fields.of(20)
    assert "checked" in BY_MODEL["account.move"].fields.of(19)
