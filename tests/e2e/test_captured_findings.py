"""The anomalies that a person finds by hand in rows of real Odoo servers are found; everything else is explained.

What is expected is computed from the captured rows alone, by Odoo's rules, never by the product's code.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from finwatch.domain.policy import Policy, PolicySet
from finwatch.domain.records import Finding
from finwatch.runtime.policies import load_policies, packaged_policy
from tests.parts.captured_findings import EXPLAINED, PAGE, SERVERS, Found, deleted_bill, found_in, render

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
Rows = dict[int, dict[str, Any]]


@cache
def _rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        found: list[dict[str, Any]] = json.load(file)
    return found


@pytest.fixture(params=SERVERS, scope="module")
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def found(server: str, data_dir: Path) -> Found:
    return found_in(server, data_dir, load_policies())


def rows(data_dir: Path, server: str, model: str) -> Rows:
    return {row["id"]: row for row in _rows(data_dir / server / f"{model}.json.gz")}


def standing(found: Found, rule: str) -> dict[frozenset[str], Finding]:
    said = [one for one in found.findings if one.rule == rule and one.status in ("open", "updated")]
    assert len({frozenset(one.document_keys) for one in said}) == len(said)
    return {frozenset(one.document_keys): one for one in said}


def key(server: str, entity: str, record: int) -> str:
    return f"{server}:{entity}:{record}"


def bill_lines(data_dir: Path, server: str) -> list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """(bill, its line, the order line) of every line that bills an order and counts."""
    moves = rows(data_dir, server, "account.move")
    order_lines = rows(data_dir, server, "purchase.order.line")
    return [
        (moves[line["move_id"][0]], line, order_lines[line["purchase_line_id"][0]])
        for line in rows(data_dir, server, "account.move.line").values()
        if line["purchase_line_id"] and moves[line["move_id"][0]]["state"] != "cancel"
    ]


def test_prices_that_differ_from_the_order(server: str, found: Found, data_dir: Path) -> None:
    expected: dict[frozenset[str], float] = defaultdict(float)
    for bill, line, ordered in bill_lines(data_dir, server):
        if line["price_unit"] > ordered["price_unit"]:
            documents = (key(server, "bill", bill["id"]), key(server, "purchase_order", ordered["order_id"][0]))
            expected[frozenset(documents)] += (line["price_unit"] - ordered["price_unit"]) * line["quantity"]
    said = standing(found, "price_above_order")
    assert {k: float(v.amount_at_risk or 0) for k, v in said.items()} == pytest.approx(dict(expected))
    assert expected
    assert not standing(found, "price_below_order")
    assert not standing(found, "not_comparable")


def test_quantities_beyond_the_order(server: str, found: Found, data_dir: Path) -> None:
    billed: dict[int, float] = defaultdict(float)
    bills: dict[int, set[int]] = defaultdict(set)
    orders: dict[int, dict[str, Any]] = {}
    for bill, line, ordered in bill_lines(data_dir, server):
        billed[ordered["id"]] += line["quantity"] * (-1 if bill["move_type"] == "in_refund" else 1)
        bills[ordered["id"]].add(bill["id"])
        orders[ordered["id"]] = ordered
    expected = set()
    for line_id, quantity in billed.items():
        ordered = orders[line_id]
        if quantity > ordered["product_qty"]:
            [bill_id] = bills[line_id]  # each was billed once
            order_key = key(server, "purchase_order", ordered["order_id"][0])
            expected.add(frozenset((key(server, "bill", bill_id), order_key)))
    assert standing(found, "over_billed").keys() == expected
    assert expected
    # Each is in the backlog of exceptions too, once, and late after its service level.
    exceptions = [one for one in found.exceptions if one.type == "over_billed"]
    assert sorted(one.document_key for one in exceptions) == sorted(
        next(k for k in pair if ":bill:" in k) for pair in expected
    )
    assert all(one.status == "open" and one.owner_role and one.due_at for one in exceptions)


def test_bills_that_wait_for_receipts(server: str, found: Found, data_dir: Path) -> None:
    lines = rows(data_dir, server, "purchase.order.line")
    waiting = {
        record
        for record, line in lines.items()
        if line["qty_received_method"] == "stock_moves"
        and min(line["qty_invoiced"], line["product_qty"]) > line["qty_received"]
    }
    expected = {
        frozenset((key(server, "bill", bill["id"]), key(server, "purchase_order", ordered["order_id"][0])))
        for bill, _, ordered in bill_lines(data_dir, server)
        if ordered["id"] in waiting and bill["move_type"] == "in_invoice"
    }
    assert standing(found, "billed_before_receipt").keys() == expected
    assert {lines[record]["order_id"][0] for record in waiting} == {
        int(one.rpartition(":")[2]) for pair in expected for one in pair if ":purchase_order:" in one
    }, "as many orders as by Odoo's own counters"
    assert expected


def tracked(data_dir: Path, server: str, model: str, field: str) -> list[tuple[int, dict[str, Any]]]:
    """(record, tracking row) of each change of a field, without the twins on other records."""
    messages, fields = rows(data_dir, server, "mail.message"), rows(data_dir, server, "ir.model.fields")
    found = []
    for value in rows(data_dir, server, "mail.tracking.value").values():
        message = messages.get(value["mail_message_id"][0]) if value["mail_message_id"] else None
        of = fields.get(value["field_id"][0]) if value["field_id"] else None
        if message and of and message["model"] == model == of["model"] and of["name"] == field:
            found.append((message["res_id"], value))
    return found


def test_bank_accounts_that_were_changed_or_put_in_anothers_place(server: str, found: Found, data_dir: Path) -> None:
    changed = {
        frozenset({key(server, "bank_account", record)})
        for record, _ in tracked(data_dir, server, "res.partner.bank", "acc_number")
    }
    assert standing(found, "bank_account_changed").keys() == changed
    accounts = rows(data_dir, server, "res.partner.bank").values()
    added = {
        frozenset({key(server, "bank_account", one["id"])})
        for one in accounts
        for other in accounts
        if one["partner_id"][0] == other["partner_id"][0] and other["create_date"] < one["create_date"]
    }
    assert standing(found, "bank_account_added").keys() == added
    assert changed
    assert added


def test_orders_that_their_own_buyer_confirmed(server: str, data_dir: Path) -> None:
    """Under the amount from which the shipped policy counts them; a policy that counts all finds each."""
    orders = rows(data_dir, server, "purchase.order")
    last: dict[int, int] = {}
    for record, value in tracked(data_dir, server, "purchase.order", "state"):
        if value["new_value_char"] == "Purchase Order":
            last[record] = value["create_uid"][0]
    expected = {key(server, "purchase_order", r) for r, person in last.items() if person == orders[r]["create_uid"][0]}
    assert expected
    document = packaged_policy("default").document
    section = document.exceptions["approval_by_creator"]
    strict = msgspec.structs.replace(section, min_amount=None, min_amount_of={})
    changed = msgspec.structs.replace(document, exceptions={**document.exceptions, "approval_by_creator": strict})
    said = {
        one.document_key
        for one in found_in(server, data_dir, PolicySet([Policy(changed)])).exceptions
        if one.type == "approval_by_creator" and one.entity == "purchase_order" and one.status == "open"
    }
    assert said == expected
    limit = float(section.min_amount_of["purchase_order"])
    assert all(orders[int(one.rpartition(":")[2])]["amount_total"] < limit for one in expected)


def test_a_once_posted_bill_that_is_deleted(server: str, data_dir: Path) -> None:
    posted = [
        row["id"]
        for row in _rows(data_dir / server / "account.move.json.gz")
        if row["move_type"] == "in_invoice" and row["state"] == "posted" and row["payment_state"] == "not_paid"
    ]
    said = {one.type: one.status for one in deleted_bill(server, data_dir, posted[-1], load_policies())}
    assert said["deleted_after_posting"] == "open"


def test_every_finding_is_explained_and_counted_on_the_page(data_dir: Path) -> None:
    counts = {server: found_in(server, data_dir, load_policies()).counts() for server in SERVERS}
    assert {name for found in counts.values() for name in found} <= EXPLAINED.keys()
    assert PAGE.read_text(encoding="utf-8") == render(counts), "run: python -m tests.parts.captured_findings"
