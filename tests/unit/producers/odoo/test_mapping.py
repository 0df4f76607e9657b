"""Every captured row of 17 and 18 through its mapping, and into its schema."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from producers.odoo import events
from producers.odoo.accounts import AccountHasher
from producers.odoo.errors import Malformed
from producers.odoo.events import Sighting
from producers.odoo.mapping import BY_MODEL, MAPPINGS, moves, receipts
from producers.odoo.mapping.spec import Child, Document, Joined, Mapping, Source
from producers.odoo.records import RecordEncoder
from producers.odoo.values import Row
from schemas.codec import describe
from schemas.registry import EmbeddedRegistry
from tests.unit.producers.odoo.conftest import Captured

AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
# Models of which no rows were captured: see test_uncaptured.py, and test_version19.py for those of 19 only.
UNCAPTURED = frozenset(
    {
        "account.lock_exception",
        "approval.approver",
        "approval.request",
        "documents.document",
        "helpdesk.ticket",
        "ir.actions.server",
        "planning.slot",
        "product.product",
        "queue.job",
        "res.currency.rate",
        "res.groups",
        "sale.order.line",
        "tier.review",
        "uom.uom",
    }
)
# Fields that the captured metadata leaves out: not stored, of an app that was not installed, or not asked for.
LEFT_OUT = {
    "account.account": frozenset({"code"}),  # 18: by company, computed
    "account.move.line": frozenset({"purchase_order_id"}),  # related
    "account.analytic.line": frozenset({"validated"}),  # Enterprise
    "base.automation": frozenset({"action_server_ids", "model_name"}),
    "res.users": frozenset({"company_ids", "create_uid", "groups_id", "partner_id", "share", "write_uid"}),
    "account.payment": frozenset({"reconciled_bill_ids", "reconciled_invoice_ids"}),  # computed
    "stock.picking": frozenset({"purchase_id"}),
}
CAPTURED = [mapping for mapping in MAPPINGS if mapping.model not in UNCAPTURED and mapping.serves(18)]


def read(server: Captured, mapping: Mapping) -> dict[int, Row]:
    """Rows of a model as the reader hands them over: wanted fields only, what is joined beside them."""
    tables = {part.model: {row["id"]: row for row in server.rows(part.model)} for part in mapping.joined}
    rows = {}
    for row in server.rows(mapping.model):
        wanted = {name: row[name] for name in ("id", *mapping.fields.of(server.version)) if name in row}
        for part in mapping.joined:
            via, table = {**row, **wanted}.get(part.via), tables[part.model]
            if not via:
                continue
            for name in part.fields.of(server.version):
                several = "." in part.via
                wanted[f"{part.via}.{name}"] = [table[one][name] for one in via] if several else table[via[0]].get(name)
        rows[row["id"]] = wanted
    return rows


def test_a_deletion_fits_every_schema() -> None:
    encode = RecordEncoder(registry := EmbeddedRegistry())
    source = Source("erp", "fin", 18, AccountHasher(b"k" * 32))
    for mapping in MAPPINGS:
        for entity in mapping.entities:
            digest = events.content_hash(Document(entity, None, {}))
            event = events.deleted_event(source, mapping.model, 7, digest, Sighting("d", "deleted", "wall", AT))
            told = describe(encode(event.record, event.content), registry)
            assert (told["document_key"], told["op"]) == (f"erp:{entity}:7", "d")


def lines_of(server: Captured, mapping: Mapping) -> dict[int, dict[str, list[Row]]]:
    found: dict[int, dict[str, list[Row]]] = {}
    for child in mapping.children:
        if child.model in UNCAPTURED:
            continue
        for row in server.rows(child.model):
            if row[child.parent]:
                found.setdefault(row[child.parent][0], {}).setdefault(child.model, []).append(row)
    return found


def documents(server: Captured, model: str) -> dict[int, Document]:
    mapping = BY_MODEL[model]
    lines = lines_of(server, mapping)
    found = {key: mapping.map(row, lines.get(key, {}), server.source) for key, row in read(server, mapping).items()}
    return {key: document for key, document in found.items() if document is not None}


@pytest.mark.parametrize("mapping", CAPTURED, ids=lambda mapping: mapping.model)
def test_each_row_fits_its_schema(server: Captured, mapping: Mapping) -> None:
    encode = RecordEncoder(registry := EmbeddedRegistry())
    sighting = Sighting("r", "snapshot", "wall", AT)
    found = documents(server, mapping.model)
    assert found
    for key, document in found.items():
        event = events.state_event(
            server.source, mapping.model, key, document, events.content_hash(document), AT, sighting
        )
        told = describe(encode(event.record, event.content), registry)
        assert told["document_key"] == f"erp:{document.entity}:{key}" == event.key
        # Every column of the body is filled by the mapping, if only with null: none is forgotten.
        assert set(event.content) == {name for name in told if not name.startswith("$")} - {"custom"}


def test_the_fields_read_are_the_servers(server: Captured) -> None:
    """What the mapping names exists on the version it is named for, apart from what the metadata leaves out."""
    for mapping in CAPTURED:
        parts: tuple[Mapping | Child | Joined, ...] = (
            mapping,
            *mapping.children,
            *mapping.joined,
            *(one for child in mapping.children for one in child.joined),
        )
        for part in parts:
            if part.model in UNCAPTURED:
                continue
            known = server.meta[part.model]["fields"]
            missing = set(part.fields.of(server.version)) - set(known) - LEFT_OUT.get(part.model, frozenset())
            if server.version == 17:
                # ir.property rows there, not stored
                missing -= {"property_supplier_payment_term_id", "property_payment_term_id", "trust"}
            assert not missing, (part.model, missing)


def test_every_document_is_counted_once(server: Captured) -> None:
    moves_rows = server.rows("account.move")
    of_banks = sum(bool(row["statement_line_id"]) for row in moves_rows)
    found = documents(server, "account.move")
    assert len(found) == len(moves_rows) - of_banks
    assert of_banks == len(server.rows("account.bank.statement.line"))
    counted = Counter(document.entity for document in found.values())
    expected = Counter(moves.entity_of(row["move_type"]) for row in moves_rows if not row["statement_line_id"])
    assert counted == expected


def test_amounts_are_what_the_server_said(server: Captured) -> None:
    rows = {row["id"]: row for row in server.rows("account.move")}
    total = Decimal(0)
    for key, document in documents(server, "account.move").items():
        assert document.body["amount_total"] == Decimal(str(rows[key]["amount_total"]))
        assert document.body["currency"] == rows[key]["currency_id"][1]
        total += document.body["amount_total"]
    assert total == sum(
        (Decimal(str(row["amount_total"])) for row in rows.values() if not row["statement_line_id"]), Decimal(0)
    )


def test_a_bill_has_its_product_lines_and_an_entry_all(server: Captured) -> None:
    by_move: dict[int, list[Row]] = {}
    for row in server.rows("account.move.line"):
        by_move.setdefault(row["move_id"][0], []).append(row)
    for key, document in documents(server, "account.move").items():
        ids = {line["line_id"] for line in document.body["lines"]}
        rows = by_move.get(key, [])
        if document.entity == "entry":
            assert ids == {str(row["id"]) for row in rows}
            assert sum((line["debit"] - line["credit"] for line in document.body["lines"]), Decimal(0)) == 0
        else:
            assert ids == {str(row["id"]) for row in rows if row["display_type"] == "product"}
            assert (
                sum((line["subtotal"] for line in document.body["lines"]), Decimal(0))
                == document.body["amount_untaxed"]
            )


def test_a_draft_has_no_number(server: Captured) -> None:
    """18 gives false, 17 a slash; a draft that was posted keeps its old number."""
    for document in documents(server, "account.move").values():
        assert document.body["name"] not in ("/", "", False)
        if document.body["state"] == "posted":
            assert document.body["name"]


def test_a_payment_has_its_state_in_both_versions(server: Captured) -> None:
    found = documents(server, "account.payment")
    assert {document.body["state"] for document in found.values()} <= (
        {"draft", "posted", "cancel"} if server.version == 17 else {"draft", "in_process", "paid", "canceled"}
    )
    assert all(document.body["state"] and document.company_id for document in found.values())
    assert all(isinstance(document.body["date"], date) for document in found.values())
    assert any(document.body["memo"] for document in found.values())
    if server.version >= 18:
        moves_rows = documents(server, "account.move")
        settled = [key for document in found.values() for key in document.body["bill_keys"]]
        assert settled
        for key in settled:
            _, entity, record_id = key.split(":")
            assert moves_rows[int(record_id)].entity == entity


def test_a_bank_line_has_its_moves_date_and_company(server: Captured) -> None:
    for document in documents(server, "account.bank.statement.line").values():
        assert isinstance(document.body["date"], date)
        assert document.company_id
        assert document.body["entry_id"]


def test_a_run_centuries_ahead_is_never(server: Captured) -> None:
    rows = {row["id"]: row["nextcall"] for row in server.rows("ir.cron")}
    found = {key: document.body["next_run_at"] for key, document in documents(server, "ir.cron").items()}
    assert {key for key, at in found.items() if at is None} == {key for key, at in rows.items() if at > "2300"}


def test_pickings_are_receipts_and_deliveries_by_their_type(server: Captured) -> None:
    rows, mapping = server.rows("stock.picking"), BY_MODEL["stock.picking"]
    lines = lines_of(server, mapping)

    def types(ending: str) -> frozenset[str]:
        named = (row["picking_type_id"] for row in rows)
        return frozenset(str(number) for number, name in named if name.endswith(ending))

    def entities(source: Source) -> dict[int, str]:
        found = {row["id"]: mapping.map(row, lines.get(row["id"], {}), source) for row in rows}
        return {key: document.entity for key, document in found.items() if document is not None}

    receiving, delivering = types(": Receipts"), types(": Delivery Orders")
    assert receiving and delivering
    known = entities(replace(server.source, incoming_types=receiving, outgoing_types=delivering))
    assert known == {
        row["id"]: "receipt" if str(row["picking_type_id"][0]) in receiving else "delivery"
        for row in rows
        if str(row["picking_type_id"][0]) in receiving | delivering
    }
    # Without the types' codes: those with a move that an order line asked for, a part of them.
    guessed = entities(server.source)
    assert set(guessed.values()) == {"receipt", "delivery"}
    assert {key for key, entity in guessed.items() if entity == "receipt"} <= {
        key for key, entity in known.items() if entity == "receipt"
    }


def test_what_goes_back_to_a_vendor_is_a_receipt_with_a_minus(server: Captured) -> None:
    mapping = BY_MODEL["stock.picking"]
    source = replace(server.source, incoming_types=frozenset({"1"}), outgoing_types=frozenset({"2"}))
    order_line = {"purchase_line_id": [7, "P00001"], "product_uom": [1, "Units"], "product_id": [3, "Steel"]}
    amounts = {"product_uom_qty": 4.0, "quantity": 3.0, "product_qty": 48.0, "state": "done"}
    moves = [
        {"id": 21, **order_line, **amounts, "origin_returned_move_id": [11, "x"], "to_refund": True},
        {"id": 22, **order_line, **amounts, "origin_returned_move_id": [12, "x"], "to_refund": False},
        {"id": 23, **order_line, **amounts, "origin_returned_move_id": False, "to_refund": False},
    ]
    row = {"id": 9, "name": "WH/OUT/9", "state": "done", "picking_type_id": [2, "Delivery Orders"],
           "purchase_id": [5, "P00001"], "return_id": [4, "WH/IN/4"], "company_id": [1, "Co"]}  # fmt: skip
    document = mapping.map(row, {"stock.move": moves}, source)
    assert document is not None
    assert document.entity == "receipt"
    assert document.body["purchase_order_key"] == source.key("purchase_order", "5")
    assert document.body["return_key"] == source.key("receipt", "4")
    assert [
        tuple(line.get(name) for name in ("quantity_done", "quantity_expected", "quantity_base", "to_refund"))
        for line in document.body["lines"]
    ] == [(-3, -4, -48, True), (-3, -4, -48, False), (-3, -4, -48, None)]
    alone = mapping.map(row, {}, source)
    assert alone is not None and alone.entity == "receipt", "told without its lines"
    sold = {**row, "purchase_id": False, "sale_id": [6, "S00001"]}
    delivered = mapping.map(sold, {"stock.move": moves[2:]}, source)
    assert delivered is not None and delivered.entity == "delivery"
    received = mapping.map({**row, "picking_type_id": [1, "Receipts"]}, {"stock.move": moves[1:]}, source)
    assert received is not None
    assert [(line["quantity_done"], line.get("to_refund")) for line in received.body["lines"]] == [
        (3, False),
        (3, None),
    ]


def test_no_account_number_is_in_any_record(server: Captured) -> None:
    numbers = {row["acc_number"] for row in server.rows("res.partner.bank")}
    numbers |= {row["sanitized_acc_number"] for row in server.rows("res.partner.bank")}
    assert numbers
    for mapping in CAPTURED:
        said = json.dumps([document.body for document in documents(server, mapping.model).values()], default=str)
        assert not [number for number in numbers if number in said]
    hashes = {document.body["account_hash"] for document in documents(server, "res.partner.bank").values()}
    assert len(hashes) == len({row["sanitized_acc_number"] for row in server.rows("res.partner.bank")})


def test_the_review_flag_means_the_same_in_both_versions(server: Captured) -> None:
    """18 `checked`, 17 the inverse `to_check`."""
    rows = {row["id"]: row for row in server.rows("account.move")}
    for key, document in documents(server, "account.move").items():
        expected = rows[key]["checked"] if server.version >= 18 else not rows[key]["to_check"]
        assert document.body["checked"] is expected


def test_people_are_ids(server: Captured) -> None:
    for mapping in CAPTURED:
        for document in documents(server, mapping.model).values():
            for person in ("created_by", "written_by", "responsible", "buyer", "employee_id"):
                value = document.body.get(person)
                assert value is None or value.isdigit()


def test_an_open_move_has_received_nothing() -> None:
    row = {"id": 1, "product_uom_qty": 5.0, "quantity": 5.0, "state": "assigned"}
    assert receipts.line(row)["quantity_done"] is None
    assert receipts.line(row | {"state": "done"})["quantity_done"] == Decimal("5.0")


def test_the_hash_ignores_who_and_when_and_nothing_else(server: Captured) -> None:
    document = next(iter(documents(server, "purchase.order").values()))

    def with_(**changed: Any) -> bytes:
        return events.content_hash(document._replace(body={**document.body, **changed}))

    assert with_() == with_(written_by="99")
    assert events.entity_of(with_()) == "purchase_order"
    for name, value in document.body.items():
        if name != "written_by":
            other: Any = "something else"
            if isinstance(value, list):
                other = [] if value else ["another"]
            assert with_(**{name: other}) != with_(), name


def test_a_value_of_another_type_names_its_field(server: Captured) -> None:
    row = next(row for row in read(server, BY_MODEL["account.move"]).values() if not row["statement_line_id"])
    with pytest.raises(Malformed, match="amount_total is not a number"):
        BY_MODEL["account.move"].map(row | {"amount_total": "12"}, {}, server.source)
