"""The generated company: reproducible, cheap, and every label true of the rows."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest

from finwatch.sim import Company, Label, LabelKind
from finwatch.sim.store import Row, instant


@cache
def finished(version: str = "18.0") -> Company:
    company = Company(seed=3, version=version)
    company.advance(company.end)
    return company


def rows(company: Company, model: str) -> dict[int, Row]:
    return company.db.tables[model].rows


def labels(company: Company, kind: LabelKind) -> list[Label]:
    found = [label for label in company.labels if label.kind is kind]
    assert found, f"no {kind}"
    return found


def normalised(reference: str) -> str:
    return re.sub(r"[^a-z0-9]", "", reference.lower())


def bills(company: Company) -> dict[int, Row]:
    return {i: r for i, r in rows(company, "account.move").items() if r["move_type"] == "in_invoice"}


def states(company: Company, model: str, record_id: int) -> list[tuple[str, str, int, datetime]]:
    """(old label, new label, user, when) of the tracked state."""
    db, result = company.db, []
    for message in db.children(model, record_id, "message_ids")[::-1]:
        for value in db.children("mail.message", message, "tracking_value_ids"):
            row = rows(company, "mail.tracking.value")[value]
            if rows(company, "ir.model.fields")[row["field_id"]]["name"] == "state":
                result.append(
                    (row["old_value_char"], row["new_value_char"], row["create_uid"], instant(row["create_date"]))
                )
    return result


def snapshot(company: Company) -> dict[str, dict[int, Row]]:
    return {model: dict(table.rows) for model, table in company.db.tables.items()}


def test_the_same_seed_gives_the_same_rows_whatever_the_steps() -> None:
    at_once, in_steps = (Company(seed=5, weeks=1, scale=0.4) for _ in range(2))
    at_once.advance(at_once.end)
    while in_steps.now < in_steps.end:
        in_steps.advance(in_steps.now + timedelta(hours=7, seconds=13))
    in_steps.advance(at_once.now)
    at_once.advance(in_steps.now)
    assert snapshot(at_once) == snapshot(in_steps)
    assert at_once.labels == in_steps.labels
    other = Company(seed=6, weeks=1, scale=0.4)
    other.advance(at_once.now)
    assert snapshot(other) != snapshot(at_once)


def test_four_weeks_cost_little_and_hold_enough() -> None:
    begun = time.process_time()
    company = Company(seed=4)
    company.advance(company.end)
    assert time.process_time() - begun < 5
    moves = rows(company, "account.move").values()
    documents = sum(
        len(rows(company, m)) for m in ("purchase.order", "stock.picking", "account.payment", "hr.expense.sheet")
    )
    documents += sum(1 for r in moves if r["move_type"] != "entry") + len(rows(company, "account.bank.statement.line"))
    assert 1500 <= documents <= 3500


def test_every_kind_of_anomaly_occurs() -> None:
    assert {label.kind for label in finished().labels} == set(LabelKind)


def test_19_lives_through_the_same_with_expenses_by_themselves() -> None:
    """The same cases at the same times; ids of what both versions have are the same."""
    older, newer = finished("18.0"), finished("19.0")
    assert "hr.expense.sheet" not in newer.db.tables
    assert len(rows(newer, "hr.expense")) == len(rows(older, "hr.expense.sheet"))

    def comparable(company: Company) -> list[tuple[Any, ...]]:
        model = {"hr.expense": "hr.expense.sheet"}
        return [(one.kind, model.get(one.model, one.model), one.ids, one.at, one.until) for one in company.labels]

    assert comparable(newer) == comparable(older)
    for expense in rows(newer, "hr.expense").values():
        move = rows(newer, "account.move").get(expense.get("account_move_id") or 0)
        assert (move is not None) == (expense["state"] in ("posted", "paid"))
        if move is not None:
            assert (move["move_type"], move["ref"]) == ("in_receipt", expense["name"])
            assert newer.db.children("account.move", move["id"], "expense_ids") == [expense["id"]]


def test_nothing_happens_before_its_time_or_outside_working_hours() -> None:
    company = Company(seed=3, weeks=1)
    company.advance(company.start + timedelta(days=2))
    newest = max(r["write_date"] for t in company.db.tables.values() for r in t.rows.values() if r.get("write_date"))
    assert instant(newest) <= company.now
    assert company.now == company.start + timedelta(days=2)
    assert company.advance(company.start) == 0  # never backwards
    weekend = [r for r in rows(finished(), "account.move").values() if instant(r["create_date"]).weekday() >= 5]
    assert weekend == []


@pytest.mark.parametrize("version", ["17.0", "18.0"])
def test_duplicates_are_labelled_and_there_are_no_others(version: str) -> None:
    company = finished(version)
    groups: dict[tuple[int, str], list[int]] = defaultdict(list)
    for i, row in bills(company).items():
        if row.get("ref") and not row.get("expense_sheet_id"):
            groups[(row["partner_id"], normalised(row["ref"]))].append(i)
    found = {tuple(sorted(ids)) for ids in groups.values() if len(ids) > 1}
    exact = labels(company, LabelKind.EXACT_DUPLICATE)
    near = labels(company, LabelKind.NORMALISED_DUPLICATE)
    sister = labels(company, LabelKind.SISTER_DUPLICATE)
    assert found == {tuple(sorted(label.ids)) for label in exact + near + sister}
    table = rows(company, "account.move")
    for label in exact + near:
        copy, original = (table[i] for i in label.ids)
        assert (copy["ref"] == original["ref"]) is (label.kind is LabelKind.EXACT_DUPLICATE)
        assert copy["amount_total"] == original["amount_total"]
        assert copy["create_uid"] != original["create_uid"]


def test_copies_with_a_slip_for_another_record_and_for_a_sister_company_are_what_they_say() -> None:
    company = finished()
    table, partners = rows(company, "account.move"), rows(company, "res.partner")
    kinds = (LabelKind.FUZZY_DUPLICATE, LabelKind.ALIAS_DUPLICATE, LabelKind.SISTER_DUPLICATE)
    for kind in kinds:
        assert labels(company, kind)
        for label in labels(company, kind):
            copy, original = (table[i] for i in label.ids)
            assert (copy["amount_total"], copy["invoice_date"]) == (original["amount_total"], original["invoice_date"])
            assert (copy["ref"] != original["ref"]) is (kind is LabelKind.FUZZY_DUPLICATE)
            assert sorted(copy["ref"]) == sorted(original["ref"])
            assert (copy["partner_id"] != original["partner_id"]) is (kind is LabelKind.ALIAS_DUPLICATE)
            assert partners[copy["partner_id"]]["vat"] == partners[original["partner_id"]]["vat"]
            assert (copy["company_id"] != original["company_id"]) is (kind is LabelKind.SISTER_DUPLICATE)
    accounts = rows(company, "res.partner.bank")
    for shared in labels(company, LabelKind.SHARED_ACCOUNT):
        one, other = (accounts[i] for i in shared.ids)
        assert one["sanitized_acc_number"] == other["sanitized_acc_number"]
        assert partners[one["partner_id"]]["vat"] != partners[other["partner_id"]]["vat"]


def test_price_mismatches_are_labelled_and_there_are_no_others() -> None:
    company = finished()
    order_lines = rows(company, "purchase.order.line")
    wrong = {
        line["move_id"]
        for line in rows(company, "account.move.line").values()
        if line.get("purchase_line_id")
        # Prices that differ by a hundredth or a rounding are near misses: nobody's mistake.
        and line["price_unit"] > order_lines[line["purchase_line_id"]]["price_unit"] * 1.011 + 0.01
    }
    assert wrong == {label.ids[0] for label in labels(company, LabelKind.PRICE_MISMATCH)}


def test_bills_without_an_order_are_labelled_and_there_are_no_others() -> None:
    company = finished()
    ordered = {line["move_id"] for line in rows(company, "account.move.line").values() if line.get("purchase_line_id")}
    assert bills(company).keys() - ordered == {
        i for label in labels(company, LabelKind.BILL_WITHOUT_ORDER) for i in label.ids
    }


def test_orders_are_approved_by_another_person_unless_labelled() -> None:
    company = finished()
    own = {label.ids[0] for label in labels(company, LabelKind.SELF_APPROVED)}
    assert own
    for i, row in rows(company, "purchase.order").items():
        log = states(company, "purchase.order", i)
        approvals = [
            entry
            for entry in log
            if entry[0] in ("To Approve", "À approuver") and entry[1] in ("Purchase Order", "Bon de commande")
        ]
        assert all(entry[2] != row["create_uid"] for entry in approvals)
        skipped = row["amount_total"] >= 5000 and row["state"] == "purchase" and not approvals
        assert skipped is (i in own)
    waiting = {i for i, row in rows(company, "purchase.order").items() if row["state"] == "to approve"}
    ageing = {
        i for label in labels(company, LabelKind.APPROVAL_AGEING) if label.model == "purchase.order" for i in label.ids
    }
    assert ageing <= waiting
    recent = waiting - ageing - {label.ids[0] for label in labels(company, LabelKind.SLA_PO_APPROVAL)}
    assert all(
        company.now - instant(rows(company, "purchase.order")[i]["write_date"]) < timedelta(days=5) for i in recent
    )


def test_late_decisions_are_late_and_the_others_are_not() -> None:
    company = finished()
    hours = company.hours
    late_orders = {label.ids[0]: label for label in labels(company, LabelKind.SLA_PO_APPROVAL)}
    seen = Counter[str]()
    for i in rows(company, "purchase.order"):
        log = states(company, "purchase.order", i)
        if len(log) == 2 and log[0][1] in ("To Approve", "À approuver"):
            in_time = log[1][3] <= hours.after(log[0][3], 12)
            assert in_time is (i not in late_orders)
            seen["late" if i in late_orders else "in time"] += 1
            if i in late_orders:
                assert late_orders[i].at == log[0][3]
                assert late_orders[i].until == log[1][3]
    assert seen["late"] > 2
    assert seen["in time"] > 50


def test_bills_are_validated_in_time_unless_labelled() -> None:
    company = finished()
    late = {label.ids[0] for label in labels(company, LabelKind.SLA_BILL_VALIDATION)}
    deviating = late | {
        i
        for kind in (LabelKind.TRACKING_DISABLED, LabelKind.BLOCKED_VENDOR)
        for label in labels(company, kind)
        for i in label.ids
    }
    checked = 0
    for i, row in bills(company).items():
        posted = next(
            (entry for entry in states(company, "account.move", i) if entry[0] in ("Draft", "Brouillon")), None
        )
        if posted and (i in late or i not in deviating):
            in_time = posted[3] <= company.hours.after(instant(row["create_date"]), 12)
            assert in_time is (i not in late), i
            checked += 1
    assert checked > 200


def test_late_payments_are_late_and_the_others_are_not() -> None:
    company = finished()
    late = {label.ids[0] for label in labels(company, LabelKind.SLA_PAYMENT)}
    for payment in rows(company, "account.payment").values():
        for i in payment["invoice_ids"]:
            bill = rows(company, "account.move")[i]
            if bill["move_type"] == "in_invoice" and not bill.get("expense_sheet_id"):
                assert (payment["date"] > bill["invoice_date_due"]) is (i in late)


def test_bank_changes_precede_a_payment_to_the_same_account() -> None:
    company = finished()
    payments = rows(company, "account.payment").values()
    for label in labels(company, LabelKind.VENDOR_BANK_CHANGE):
        bill = int(label.detail["bill"])
        paid: list[Any] = [p for p in payments if bill in p["invoice_ids"]]
        if paid:
            assert paid[0]["partner_bank_id"] == label.ids[0]
            assert timedelta() < instant(paid[0]["create_date"]) - label.at < timedelta(days=7)


def test_books_balance() -> None:
    company = finished()
    sums: dict[int, float] = defaultdict(float)
    for line in rows(company, "account.move.line").values():
        sums[line["move_id"]] += line["balance"]
    assert all(abs(total) < 0.005 for total in sums.values())
    assert sums.keys() == rows(company, "account.move").keys()


def test_printed_numbers_are_unique_at_any_time_and_deleted_ones_come_again() -> None:
    company = finished()
    names = Counter(r["name"] for r in rows(company, "account.move").values() if r["state"] == "posted")
    assert max(names.values()) == 1
    deleted = {label.ids[0]: label.detail["name"] for label in labels(company, LabelKind.BILL_DELETED)}
    assert deleted.keys().isdisjoint(rows(company, "account.move"))


def test_late_commits_appear_only_at_their_commit() -> None:
    company = Company(seed=3)
    reference = finished()
    label = next(lb for lb in reference.labels if lb.kind is LabelKind.LATE_COMMIT and len(lb.ids) > 1)
    assert label.until is not None
    company.advance(label.until - timedelta(seconds=1))
    assert not set(label.ids) & rows(company, "account.move").keys()
    company.advance(label.until)
    row = rows(company, "account.move")[label.ids[0]]
    assert instant(row["write_date"]) == label.at < label.until - timedelta(minutes=3)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        Company(start=datetime(2026, 1, 5))  # noqa: DTZ001 - that is the point
    with pytest.raises(ValueError, match="positive"):
        Company(weeks=0)
    with pytest.raises(ValueError, match=r"17\.0 and 18\.0"):
        Company(version="16.0")
    company = Company(seed=1, weeks=1, scale=0.1, start=datetime(2026, 1, 5, tzinfo=UTC))
    with pytest.raises(ValueError, match="aware"):
        company.advance(datetime(2026, 1, 6))  # noqa: DTZ001 - that is the point
