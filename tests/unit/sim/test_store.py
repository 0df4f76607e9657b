"""Transactions of the simulated Odoo: what is visible when, what moves write_date, what tracking says."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import pytest

from finwatch.sim import actions
from finwatch.sim.actions import Line
from finwatch.sim.domain import search
from finwatch.sim.errors import OdooError
from finwatch.sim.people import Staff, Vendor, lay_foundations
from finwatch.sim.store import Database, SerializationFailure
from finwatch.sim.wire import read_rows

START = datetime(2026, 11, 2, 8, 0, 0, 123456, tzinfo=UTC)
DAY = START.date()


class Office:
    """A database with its staff, and bills on demand."""

    def __init__(self, version: str = "18.0") -> None:
        self.db = Database("sim", version, clock=lambda: START)
        self.staff: Staff
        self.vendors: list[Vendor]
        self.staff, self.vendors, _ = lay_foundations(self.db, START - timedelta(days=9), Random(1))

    def bill(self, at: datetime, *, post: bool = False, ref: str = "R1") -> int:
        """A bill of 100 net, created (and posted in a transaction of its own, a second later)."""
        with self.db.begin(at, uid=self.staff.clerks[0].uid) as tx:
            bill = actions.create_move(
                tx, "in_invoice", self.vendors[0].partner, [Line(1, "Steel", 2.0, 50.0)], ref=ref,
                invoice_date=DAY, due=DAY,
            )  # fmt: skip
        if post:
            with self.db.begin(at + timedelta(seconds=1), uid=self.staff.controllers[0].uid) as tx:
                actions.post_move(tx, bill)
        return bill

    def stamps(self) -> dict[tuple[str, int], str]:
        return {
            (m, i): row["write_date"]
            for m, t in self.db.tables.items()
            for i, row in t.rows.items()
            if "write_date" in row
        }

    def tracking(self, model: str, record_id: int) -> list[tuple[str, Any, Any, str]]:
        """(field, old, new, acting person) of a record's log, oldest first."""
        db, result = self.db, []
        for message in db.children(model, record_id, "message_ids")[::-1]:
            for value in db.children("mail.message", message, "tracking_value_ids"):
                row = db.tables["mail.tracking.value"].rows[value]
                field = db.tables["ir.model.fields"].rows[row["field_id"]]["name"]
                old, new = (
                    row.get(f"{s}_value_char") or row.get(f"{s}_value_float") or row.get(f"{s}_value_integer")
                    for s in ("old", "new")
                )
                result.append((field, old, new, db.display_name("res.users", row["create_uid"])))
        return result


@pytest.fixture(params=["17.0", "18.0"])
def office(request: pytest.FixtureRequest) -> Office:
    return Office(request.param)


def test_a_late_commit_is_lost_by_a_plain_watermark(office: Office) -> None:
    """The observed run: T1 starts first and commits last; T2 in between moves the watermark past T1's write_date."""
    at = datetime(2026, 11, 22, 3, 21, 52, 931562, tzinfo=UTC)
    slow, fast = office.bill(START), office.bill(START + timedelta(seconds=9))
    user = office.db.users[2]

    def poll(after: str) -> list[dict[str, Any]]:
        ids = search(office.db, "account.move", [("write_date", ">", after)], order="id")
        return read_rows(office.db, user, "account.move", ids, ["write_date"])

    t1 = office.db.begin(at)
    t1.write("account.move", slow, {"ref": "LATE-COMMIT"})
    with office.db.begin(at + timedelta(seconds=3, microseconds=785062)) as t2:
        t2.write("account.move", fast, {"ref": "FAST"})
    assert poll("2026-11-22 03:21:37.238959") == [{"id": fast, "write_date": "2026-11-22 03:21:56"}]
    t1.commit()
    assert poll("2026-11-22 03:21:56.716624") == []  # missed for ever
    assert office.db.tables["account.move"].rows[slow]["write_date"] == "2026-11-22 03:21:52.931562"
    assert [r["id"] for r in poll("2026-11-22 03:18:56.716624")] == [slow, fast]  # an overlapping window finds it


def test_an_id_watermark_has_the_same_hole(office: Office) -> None:
    order = office.bill(START)
    t1 = office.db.begin(START + timedelta(seconds=5))
    slow = t1.post("account.move", order, body="slow")
    with office.db.begin(START + timedelta(seconds=6)) as t2:
        fast = t2.post("account.move", order, body="fast")
    assert slow < fast
    assert search(office.db, "mail.message", [("id", ">=", slow)], order="id") == [fast]
    t1.commit()
    assert search(office.db, "mail.message", [("id", ">", fast)]) == []
    assert slow in office.db.tables["mail.message"].rows


def test_one_transaction_shows_one_state_and_one_tracking_row_a_field(office: Office) -> None:
    bill = office.bill(START)
    with office.db.begin(START + timedelta(minutes=1), uid=office.staff.controllers[0].uid) as tx:
        actions.post_move(tx, bill)
        actions.draft_move(tx, bill)
        actions.cancel_move(tx, bill)
    name = office.db.display_name("res.users", office.staff.controllers[0].uid)
    states = [t for t in office.tracking("account.move", bill) if t[0] == "state"]
    assert states == [("state", "Draft", "Cancelled", name)]
    row = office.db.tables["account.move"].rows[bill]
    assert row["state"] == "cancel"
    lines = [
        office.db.tables["account.move.line"].rows[i] for i in office.db.children("account.move", bill, "line_ids")
    ]
    assert {line["write_date"] for line in lines} == {row["write_date"]} == {"2026-11-02 08:01:00.123456"}


def test_creation_is_not_tracked_and_times_are_the_start_of_the_transaction(office: Office) -> None:
    bill = office.bill(START)
    row = office.db.tables["account.move"].rows[bill]
    assert row["create_date"] == row["write_date"] == "2026-11-02 08:00:00.123456"
    assert office.tracking("account.move", bill) == []
    assert office.db.children("account.move", bill, "message_ids") != []


def test_tracking_tells_who_posted_and_the_row_tells_who_paid(office: Office) -> None:
    bill = office.bill(START, post=True)
    payer = office.staff.treasurers[0].uid
    with office.db.begin(START + timedelta(days=1), uid=payer) as tx:
        payment = actions.pay(tx, [bill], date(2026, 11, 3))
    db = office.db
    row = db.tables["account.move"].rows[bill]
    assert (row["payment_state"], row["amount_residual"], row["write_uid"]) == ("paid", 0.0, payer)
    by = {(f, new): who for f, _, new, who in office.tracking("account.move", bill)}
    assert by[("state", "Posted")] == db.display_name("res.users", office.staff.controllers[0].uid)
    assert by[("payment_state", "Paid")] == db.display_name("res.users", payer)
    assert db.tables["account.payment"].rows[payment]["create_uid"] == payer
    assert office.tracking("account.payment", payment) == []


def test_labels_are_written_in_the_acting_persons_language(office: Office) -> None:
    lines = [Line(1, "Steel", 100.0, 60.0)]
    states = []
    for lang in (None, "fr_FR"):
        with office.db.begin(START, uid=office.staff.buyers[0].uid) as tx:
            order = actions.create_order(tx, office.vendors[0].partner, lines, "2026-11-09 10:00:00.000000")
        with office.db.begin(START, uid=office.staff.buyers[0].uid, lang=lang) as tx:
            actions.confirm_order(tx, order)
        states += [(old, new) for field, old, new, _ in office.tracking("purchase.order", order) if field == "state"]
    assert states == [("RFQ", "To Approve"), ("Demande de prix", "À approuver")]


def test_two_step_approval_is_by_amount_and_a_managers_own_skips_it(office: Office) -> None:
    def state_after(price: float, *, manager: bool) -> str:
        with office.db.begin(START, uid=office.staff.buyers[0].uid) as tx:
            order = actions.create_order(
                tx, office.vendors[0].partner, [Line(1, "Steel", 1.0, price)], "2026-11-09 10:00:00.000000"
            )
        with office.db.begin(START) as tx:
            actions.confirm_order(tx, order, manager=manager)
        return str(office.db.tables["purchase.order"].rows[order]["state"])

    assert state_after(100.0, manager=False) == "purchase"
    assert state_after(9000.0, manager=False) == "to approve"
    assert state_after(9000.0, manager=True) == "purchase"


def test_importers_can_switch_tracking_off(office: Office) -> None:
    bill = office.bill(START)
    with office.db.begin(START + timedelta(seconds=1), tracking=False) as tx:
        actions.post_move(tx, bill)
    assert office.db.tables["account.move"].rows[bill]["state"] == "posted"
    assert office.tracking("account.move", bill) == []


def test_a_deleted_bill_leaves_nothing_and_its_number_comes_again(office: Office) -> None:
    first = office.bill(START, post=True)
    last = office.bill(START + timedelta(hours=1), post=True)
    number = office.db.tables["account.move"].rows[last]["name"]
    assert number == "BILL/2026/11/0002"
    lines = office.db.children("account.move", last, "line_ids")
    messages = office.db.children("account.move", last, "message_ids")
    with office.db.begin(START + timedelta(hours=2)) as tx, pytest.raises(OdooError, match="posted journal item"):
        actions.delete_move(tx, last)
    with office.db.begin(START + timedelta(hours=2)) as tx:
        actions.draft_move(tx, last)
        actions.delete_move(tx, last)
    db = office.db
    assert last not in db.tables["account.move"].rows
    assert not db.tables["account.move.line"].rows.keys() & lines
    assert not db.tables["mail.message"].rows.keys() & messages
    left = {row["mail_message_id"] for row in db.tables["mail.tracking.value"].rows.values()}
    assert left <= db.tables["mail.message"].rows.keys()
    third = office.bill(START + timedelta(hours=3), post=True)
    assert third > last
    assert db.tables["account.move"].rows[third]["name"] == number
    assert db.tables["account.move"].rows[first]["name"] == "BILL/2026/11/0001"


def test_a_payment_that_is_reset_loses_its_entry_in_18(office: Office) -> None:
    bill = office.bill(START, post=True)
    db = office.db
    with db.begin(START + timedelta(days=1), uid=office.staff.treasurers[0].uid) as tx:
        payment = actions.pay(tx, [bill], DAY)
    entry = db.tables["account.payment"].rows[payment]["move_id"]
    number = db.tables["account.move"].rows[entry]["name"]
    with db.begin(START + timedelta(days=2)) as tx:
        actions.reset_payment(tx, payment)
    row = db.tables["account.move"].rows[bill]
    assert (row["payment_state"], row["amount_residual"], row["amount_residual_signed"]) == ("not_paid", 121.0, -121.0)
    assert not db.tables["account.partial.reconcile"].rows
    if db.major == 17:
        assert db.tables["account.move"].rows[entry]["state"] == "draft"
        return
    assert entry not in db.tables["account.move"].rows
    assert db.tables["account.payment"].rows[payment]["move_id"] is None
    assert [t[:3] for t in office.tracking("account.payment", payment)] == [("state", "Paid", "Draft")]
    with db.begin(START + timedelta(days=3)) as tx:
        again = actions.pay(tx, [bill], DAY)
    assert db.tables["account.payment"].rows[again]["name"] == number


def test_open_transactions_do_not_share_a_number(office: Office) -> None:
    a, b = office.bill(START), office.bill(START)
    t1, t2 = office.db.begin(START), office.db.begin(START)
    actions.post_move(t1, a)
    actions.post_move(t2, b)
    t1.commit()
    t2.commit()
    names = [office.db.tables["account.move"].rows[i]["name"] for i in (a, b)]
    assert names == ["BILL/2026/11/0001", "BILL/2026/11/0002"]


def test_a_rolled_back_number_is_free_again_but_its_id_is_not(office: Office) -> None:
    bill = office.bill(START)
    tx = office.db.begin(START)
    actions.post_move(tx, bill)
    taken = tx.create("account.full.reconcile", {})
    tx.rollback()
    assert office.db.tables["account.move"].rows[bill]["state"] == "draft"
    with office.db.begin(START) as again:
        actions.post_move(again, bill)
        assert again.create("account.full.reconcile", {}) > taken
    assert office.db.tables["account.move"].rows[bill]["name"] == "BILL/2026/11/0001"
    with pytest.raises(RuntimeError, match="has ended"):
        tx.commit()


def test_the_second_writer_of_a_row_fails_and_changes_nothing(office: Office) -> None:
    bill = office.bill(START)
    t1, t2 = office.db.begin(START), office.db.begin(START)
    t1.write("account.move", bill, {"ref": "one"})
    t2.write("account.move", bill, {"ref": "two"})
    t2.write("res.partner", office.vendors[0].partner, {"city": "Gent"})
    t1.commit()
    before = office.db.tables["res.partner"].rows[office.vendors[0].partner].get("city")
    with pytest.raises(SerializationFailure):
        t2.commit()
    assert office.db.tables["account.move"].rows[bill]["ref"] == "one"
    assert office.db.tables["res.partner"].rows[office.vendors[0].partner].get("city") == before


def test_what_moves_write_date_and_what_does_not(office: Office) -> None:
    """Row by row what full-table comparisons on real servers showed."""
    db, partner = office.db, office.vendors[0].partner
    bill = office.bill(START, post=True)
    lines = set(db.children("account.move", bill, "line_ids"))
    with db.begin(START, uid=office.staff.buyers[0].uid) as tx:
        order = actions.create_order(tx, partner, [Line(1, "Steel", 1.0, 10.0)], "2026-11-09 10:00:00.000000")
    order_line = db.children("purchase.order", order, "order_line")[0]
    account = office.vendors[0].account
    move = {("account.move", bill)} | {("account.move.line", i) for i in lines}

    def moved(change: Any) -> set[tuple[str, int]]:
        before = office.stamps()
        with db.begin(START + timedelta(hours=1 + db.commits)) as tx:
            change(tx)
        after = office.stamps()
        return {key for key in before if after.get(key) != before[key]}

    assert (
        moved(lambda tx: tx.write("account.move", bill, {"ref": db.tables["account.move"].rows[bill]["ref"]})) == move
    )
    assert moved(lambda tx: tx.write("account.move", bill, {})) == set()
    assert moved(lambda tx: tx.post("account.move", bill, body="hello")) == set()
    line = min(lines)
    assert moved(lambda tx: tx.write("account.move.line", line, {"name": "x"})) == {
        ("account.move", bill),
        ("account.move.line", line),
    }
    assert moved(lambda tx: tx.write("purchase.order.line", order_line, {"name": "x"})) == {
        ("purchase.order.line", order_line)
    }
    assert moved(lambda tx: tx.write("purchase.order.line", order_line, {"price_unit": 11.0})) == {
        ("purchase.order.line", order_line),
        ("purchase.order", order),
    }
    assert moved(lambda tx: tx.write("res.partner.bank", account, {"sequence": 3})) == {("res.partner.bank", account)}
    assert moved(lambda tx: tx.raw("account.move", bill, {"ref": "by SQL"})) == set()
    paid = moved(lambda tx: actions.pay(tx, [bill], DAY))
    assert paid == move
    rank = db.tables["res.partner"].rows[partner]["supplier_rank"]
    other = office.bill(START)
    assert ("res.partner", partner) not in moved(lambda tx: actions.post_move(tx, other))
    assert db.tables["res.partner"].rows[partner]["supplier_rank"] == rank + 1


def test_a_bank_change_writes_twin_messages_and_a_trusted_account_refuses(office: Office) -> None:
    account, partner = office.vendors[0].account, office.vendors[0].partner
    old = office.db.tables["res.partner.bank"].rows[account]["acc_number"]
    with office.db.begin(START) as tx, pytest.raises(OdooError, match="has been trusted"):
        actions.change_number(tx, account, "NL00SIMB1")
    for step in (
        lambda tx: actions.set_trust(tx, account, False),
        lambda tx: actions.change_number(tx, account, "NL00SIMB1"),
    ):
        with office.db.begin(START, uid=office.staff.controllers[0].uid) as tx:
            step(tx)
    own = [t[:3] for t in office.tracking("res.partner.bank", account)]
    assert own == [("allow_out_payment", 1, 0), ("acc_number", old, "NL00SIMB1")]
    assert [t[:3] for t in office.tracking("res.partner", partner)] == own
    messages = office.db.children("res.partner", partner, "message_ids")
    assert f'data-oe-id="{account}"' in office.db.tables["mail.message"].rows[messages[0]]["body"]


def test_a_bank_line_shares_its_entry_and_reconciling_is_tracked_there(office: Office) -> None:
    with office.db.begin(START) as tx:
        line = actions.bank_line(tx, DAY, -121.0, "SEPA", None)
    db = office.db
    entry = db.tables["account.bank.statement.line"].rows[line]["move_id"]
    assert db.tables["account.move"].rows[entry]["statement_line_id"] == line
    with db.begin(START + timedelta(hours=1)) as tx:
        actions.reconcile_bank_line(tx, line, office.vendors[0].partner, inbound=False)
    assert db.tables["account.bank.statement.line"].rows[line]["is_reconciled"] is True
    assert db.tables["account.move"].rows[entry]["write_date"] == "2026-11-02 09:00:00.123456"
    assert [t[0] for t in office.tracking("account.move", entry)] == ["account_id"]


def test_a_skewed_server_clock_shifts_every_stamp(office: Office) -> None:
    office.db.clock_skew = timedelta(minutes=-7)
    bill = office.bill(START)
    assert office.db.tables["account.move"].rows[bill]["write_date"] == "2026-11-02 07:53:00.123456"
    assert office.db.now() == START - timedelta(minutes=7)


def test_naive_instants_are_refused(office: Office) -> None:
    with pytest.raises(ValueError, match="naive"):
        office.db.begin(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point
