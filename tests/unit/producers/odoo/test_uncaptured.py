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
    assert set(event.content) == {name for name in found if not name.startswith("$")} - {"custom"}
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


def test_a_group_and_a_user() -> None:
    for version, category in ((18, "category_id"), (19, "privilege_id")):
        row = {
            "name": "Billing",
            "full_name": "Accounting / Billing",
            category: [9, "Accounting"],
            "implied_ids": [5, 3],
        }
        found = told("res.groups", version, {**row, "share": False})
        assert (found["full_name"], found["category_id"], found["implied_ids"]) == (
            "Accounting / Billing",
            "9",
            ["3", "5"],
        )
    row = {"name": "Ana", "partner_id": [40, "Ana"], "company_id": [1, "C"], "company_ids": [2, 1], "share": False}
    for version, groups in ((17, "groups_id"), (18, "groups_id"), (19, "all_group_ids")):
        found = told("res.users", version, {**row, groups: [12, 4], "active": True})
        assert (found["group_ids"], found["company_ids"], found["internal"]) == (["4", "12"], ["1", "2"], True)
    assert BY_MODEL["res.users"].stamped is False  # membership written on the group moves no stamp


def test_the_code_of_an_action_is_a_hash() -> None:
    row = {"name": "Pay", "state": "code", "model_name": "account.move", "usage": "ir_cron", "code": "secret = 'x9'"}
    found = told("ir.actions.server", 18, {**row, "groups_id": [3], "base_automation_id": False})
    assert len(found["code_hash"]) == 64 and "x9" not in str(found)
    assert told("ir.actions.server", 18, {**row, "state": "webhook"})["code_hash"] is None
    other = told("ir.actions.server", 18, {**row, "code": "secret = 'x8'"})
    assert other["code_hash"] != found["code_hash"]


def test_leave_to_post_in_a_locked_period() -> None:
    row = {"lock_date_field": "fiscalyear_lock_date", "lock_date": False, "company_lock_date": "2026-10-31"}
    more = {"user_id": [7, "Cleo"], "reason": "late bill", "end_datetime": "2026-11-21 12:00:00", "active": True}
    found = told("account.lock_exception", 18, {**row, **more, "company_id": [1, "C"]})
    assert (found["lock"], found["person"], found["lock_date"]) == ("fiscalyear_lock_date", "7", None)


def test_a_job_without_stamps_says_itself_when_it_was_made() -> None:
    row = {"state": "failed", "model_name": "account.move", "method_name": "action_post", "channel": "root"}
    dates = {"date_created": "2026-11-21 08:00:00", "date_started": "2026-11-21 08:01:00", "date_done": False}
    more = {"priority": 10, "retry": 5, "max_retries": 5, "exc_name": "odoo.exceptions.UserError", "user_id": [3, "B"]}
    found = told("queue.job", 18, {**row, **dates, **more})
    assert (found["state"], found["created_by"], found["error"]) == ("failed", "3", "odoo.exceptions.UserError")
    assert (found["retries"], found["run_order"]) == (5, 10)
    assert "write_date" not in BY_MODEL["queue.job"].fields.of(18)


def test_a_tier_review_and_an_approval_request() -> None:
    row = {"status": "approved", "model": "account.move", "res_id": 31, "reviewer_ids": [9, 8], "done_by": [9, "X"]}
    found = told("tier.review", 18, {**row, "reviewed_date": "2026-11-21 08:00:00", "sequence": 1})
    assert (found["state"], found["about_id"], found["reviewers"], found["decided_by"]) == (
        "approved",
        "31",
        ["8", "9"],
        "9",
    )
    approvers = [{"id": 4, "request_id": [7, "R"], "user_id": [9, "X"], "status": "pending", "required": True}]
    request = {"name": "Laptop", "request_status": "pending", "request_owner_id": [5, "Y"], "amount": 1200.5}
    found = told("approval.request", 18, request, {"approval.approver": approvers})
    assert (found["state"], found["requester"], str(found["amount"])) == ("pending", "5", "1200.500000")
    assert [(one["line_id"], one["person"], one["state"]) for one in found["lines"]] == [("4", "9", "pending")]


def test_a_ticket_a_file_and_a_shift() -> None:
    ticket = {"name": "Printer", "stage_id": [2, "New"], "sla_deadline": "2026-11-22 10:00:00", "sla_fail": False}
    assert told("helpdesk.ticket", 18, {**ticket, "sale_order_id": [4, "S4"]})["sale_order_key"] == "erp:sale_order:4"
    file = {"name": "a.pdf", "type": "binary", "res_model": "account.move", "res_id": 12, "file_size": 900}
    assert told("documents.document", 18, file)["about_id"] == "12"
    assert told("documents.document", 18, {**file, "res_model": False, "res_id": 0})["about_id"] is None
    shift = {"start_datetime": "2026-11-23 08:00:00", "end_datetime": "2026-11-23 16:00:00", "allocated_hours": 8.0}
    assert told("planning.slot", 18, {**shift, "state": "published", "resource_id": [3, "R"]})["resource_id"] == "3"


def test_a_line_of_a_sale_order() -> None:
    for version, unit, taxes in ((18, "product_uom", "tax_id"), (19, "product_uom_id", "tax_ids")):
        line = {"id": 3, "name": "Hours", "product_uom_qty": 10.0, unit: [5, "Hours"], taxes: [2], "price_unit": 90.0}
        more = {"qty_delivered": 4.0, "qty_invoiced": 0.0, "qty_to_invoice": 4.0, "invoice_status": "to invoice"}
        section = {"id": 4, "display_type": "line_section", "name": "Part 1"}
        lines = {"sale.order.line": [{**line, **more}, section]}
        found = told("sale.order", version, {"name": "S7", "state": "sale", "opportunity_id": [8, "Lead"]}, lines)
        assert [(one["line_id"], one["unit_id"], one["tax_ids"]) for one in found["lines"]] == [("3", "5", ["2"])]
        assert found["lead_key"] == "erp:lead:8"
