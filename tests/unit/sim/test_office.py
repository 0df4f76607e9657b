"""What the generated company does beside purchasing: believable, and in the words of each version."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from finwatch.sim import Company

START = datetime(2026, 10, 5, tzinfo=UTC)


@pytest.fixture(scope="module", params=["17.0", "18.0", "19.0"])
def company(request: pytest.FixtureRequest) -> Company:
    made = Company(seed=3, start=START, weeks=2, version=request.param, scale=0.2)
    made.advance(made.end)
    return made


def test_what_is_invoiced_was_ordered_and_delivered(company: Company) -> None:
    orders, lines = company.db.tables["sale.order"].rows, company.db.tables["sale.order.line"].rows
    billed = {
        one for item in company.db.tables["account.move.line"].rows.values() for one in item.get("sale_line_ids") or ()
    }
    assert billed
    for one in billed:
        line = lines[one]
        assert line["qty_invoiced"] == line["product_uom_qty"] and line["invoice_status"] == "invoiced"
        assert line["qty_delivered_method"] == "manual" or line["qty_delivered"] == line["product_uom_qty"]
        assert orders[line["order_id"]]["invoice_status"] == "invoiced"
    assert any(row["invoice_status"] == "to invoice" for row in orders.values())
    assert {row["state"] for row in orders.values()} >= {"draft", "sale"}


def test_time_on_a_task_is_the_sum_of_its_timesheets(company: Company) -> None:
    spent: dict[int, float] = {}
    for row in company.db.tables["account.analytic.line"].rows.values():
        spent[row["task_id"]] = round(spent.get(row["task_id"], 0.0) + row["unit_amount"], 2)
    tasks = company.db.tables["project.task"].rows
    assert len(spent) > 5
    assert {key: tasks[key]["effective_hours"] for key in spent} == spent


def test_a_run_moves_no_stamp_and_a_failing_action_counts(company: Company) -> None:
    crons = company.db.tables["ir.cron"].rows
    assert all(row["lastcall"] > row["write_date"] for row in crons.values() if row["interval_type"] == "hours")
    if company.db.major >= 18:
        failing = [row for row in crons.values() if row["failure_count"]]
        assert len(failing) == 1 and failing[0]["failure_count"] > 5
        assert failing[0]["first_failure_date"] >= "2026-10-"
    else:
        assert all("failure_count" not in row for row in crons.values())


def test_membership_given_on_the_group_moves_the_groups_stamp_only(company: Company) -> None:
    groups, users = company.db.tables["res.groups"].rows, company.db.tables["res.users"].rows
    moved = [row for row in groups.values() if row["write_date"] > row["create_date"]]
    assert len(moved) == 1
    members = moved[0]["users" if company.db.major < 19 else "user_ids"]
    field = "groups_id" if company.db.major < 19 else "all_group_ids"
    buyers = {person.uid for person in company.staff.buyers}
    joined = [uid for uid in members if uid in buyers]
    assert len(joined) == 1
    for uid in members:
        assert moved[0]["id"] in users[uid][field]
        assert users[uid]["write_date"] == users[uid]["create_date"]


def test_the_finance_side_is_the_same_without_it() -> None:
    """Its stories come last: the same seed gives the same labels whatever the office does."""
    one = Company(seed=3, start=START, weeks=1, scale=0.2)
    other = Company(seed=3, start=START, weeks=1, scale=0.2)
    queue = [entry for entry in other._queue if "Office" not in entry[2].__qualname__]  # type: ignore[attr-defined]
    assert len(queue) < len(other._queue)
    other._queue = sorted(queue, key=lambda entry: entry[:2])
    for company in (one, other):
        company.advance(company.end + timedelta(days=60))
    assert sorted(map(repr, one.labels)) == sorted(map(repr, other.labels))
