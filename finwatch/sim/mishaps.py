"""What goes wrong between an order, its goods and its bill, each beside what only looks like it and is in order.

Goods go back to the vendor, another vendor bills, a bill bears another tax, an order is billed in parts that come to
too much, an employee claims what the vendor billed, a purchase is split over two vendors with one account. Other
orders are so small that no approval and no limit has a part in them, and bills are due so late that no deadline does.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import datetime, timedelta
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING

from finwatch.sim import actions
from finwatch.sim.actions import Line
from finwatch.sim.labels import LabelKind
from finwatch.sim.people import PRODUCTS, Vendor, iban

if TYPE_CHECKING:
    from finwatch.sim.company import Company

Story = Generator[datetime, None, None]

_PER_WEEK = 0.5
"""Of each kind; and as many that are in order."""
_GRACE = timedelta(days=19)
"""So long before the end goods go back that the credit note is missed by then."""


def stories(company: Company, weeks: float, scale: float) -> Iterator[Callable[[Random], Story]]:
    """All of them, each kind once at least, with what only looks like it."""
    told = _Mishaps(company)
    for _ in range(max(1, round(_PER_WEEK * weeks * scale))):
        yield lambda random: told.goes_back(random, LabelKind.RETURN_NOT_CREDITED)
        yield lambda random: told.goes_back(random, LabelKind.BILLED_AFTER_RETURN)
        for way in ("credited", "billed as kept", "exchanged"):
            yield lambda random, way=way: told.goes_back(random, None, way)  # type: ignore[misc]
        for wrong in (True, False):
            yield lambda random, wrong=wrong: told.other_vendor(random, wrong)  # type: ignore[misc]
            yield lambda random, wrong=wrong: told.other_tax(random, wrong)  # type: ignore[misc]
            yield lambda random, wrong=wrong: told.in_parts(random, wrong)  # type: ignore[misc]
            yield lambda random, wrong=wrong: told.claimed_too(random, wrong)  # type: ignore[misc]
            yield lambda random, wrong=wrong: told.over_two_vendors(random, wrong)  # type: ignore[misc]


class _Mishaps:
    def __init__(self, company: Company) -> None:
        self._company = company

    def goes_back(self, random: Random, kind: LabelKind | None, way: str = "") -> Story:
        """Part of the goods goes back; it is credited, or exchanged, or billed as kept, or it is not."""
        company = self._company
        until = company.end - (_GRACE if kind is LabelKind.RETURN_NOT_CREDITED else timedelta(days=4))
        yield company.hours.draw(random, max(until, company.now + timedelta(days=1)))
        vendor = random.choice(company.vendors)
        order = self._order(random, vendor)
        [receipt] = company.db.tables["purchase.order"].rows[order]["picking_ids"]
        yield company.hours.after(company.now, random.uniform(1, 4))
        with company.acting(random.choice(company.staff.warehouse)) as tx:
            actions.receive(tx, receipt)
        first = kind is not LabelKind.BILLED_AFTER_RETURN and way != "billed as kept"
        bill = 0
        if first:
            bill = yield from self._enter(random, vendor, self._billed(order), order)
            yield from self._post(random, bill)
        yield company.hours.after(company.now, random.uniform(0.5, 3))
        with company.acting(random.choice(company.staff.warehouse)) as tx:
            back = actions.send_back(tx, receipt, 0.5, refund=way != "exchanged")
        moves = [
            company.db.tables["stock.move"].rows[one] for one in company.db.children("stock.picking", back, "move_ids")
        ]
        gone = {move["purchase_line_id"]: move["quantity"] for move in moves}
        if kind is LabelKind.RETURN_NOT_CREDITED:
            company.label(kind, "stock.picking", (back,), order=str(order))
        elif kind is None:
            company.label(LabelKind.IN_ORDER, "stock.picking", (back,), what=way)
        yield company.hours.after(company.now, random.uniform(2, 9))
        if not first:
            kept = gone if kind is None else {}
            bill = yield from self._enter(random, vendor, self._billed(order, but=kept), order)
            if kind is not None:
                company.label(kind, "account.move", (bill,), order=str(order))
            yield from self._post(random, bill)
        elif way == "credited":
            all_of_it = {one.order_line: one.quantity for one in self._billed(order)}
            rest = {line: quantity - gone[line] for line, quantity in all_of_it.items() if line is not None}
            credit = yield from self._enter(random, vendor, self._billed(order, but=rest), order, reverses=bill)
            yield from self._post(random, credit)
        elif way == "exchanged":
            with company.acting(random.choice(company.staff.warehouse)) as tx:
                anew = actions.replace_returned(tx, back)
            assert anew is not None
            yield company.hours.after(company.now, random.uniform(2, 9))
            with company.acting(random.choice(company.staff.warehouse)) as tx:
                actions.receive(tx, anew)

    def other_vendor(self, random: Random, wrong: bool) -> Story:
        """Another vendor bills an order; or the same firm under another record, which is in order."""
        company = self._company
        yield company.hours.draw(random, company.end - timedelta(days=4))
        vendor = random.choice(company.vendors)
        order = self._order(random, vendor)
        yield from company.receive_all(random, order)
        yield company.hours.after(company.now, random.uniform(1, 5))
        biller = random.choice([one for one in company.vendors if one is not vendor])
        if not wrong:
            record = company.another_record(random.choice(company.staff.clerks), vendor.partner)
            biller = Vendor(record, vendor.account, vendor.days, vendor.style, vendor.next_ref + 500)
        bill = yield from self._enter(random, biller, self._billed(order), order)
        company.label(
            LabelKind.OTHER_VENDOR if wrong else LabelKind.IN_ORDER, "account.move", (bill,), order=str(order),
            what="another record of the vendor",
        )  # fmt: skip
        yield from self._post(random, bill)

    def other_tax(self, random: Random, wrong: bool) -> Story:
        """A bill bears another tax than was ordered; or the same tax on a price that is off by a little."""
        company = self._company
        yield company.hours.draw(random, company.end - timedelta(days=4))
        vendor = random.choice(company.vendors)
        order = self._order(random, vendor)
        yield from company.receive_all(random, order)
        yield company.hours.after(company.now, random.uniform(1, 5))
        off = 1.0 if wrong else 1.005
        lines = [
            Line(one.product, one.name, one.quantity, round(one.price * off, 2), one.order_line)
            for one in self._billed(order)
        ]
        tax = actions.LOW_TAX if wrong else actions.TAX
        bill = yield from self._enter(random, vendor, lines, order, tax=tax)
        company.label(
            LabelKind.OTHER_TAX if wrong else LabelKind.IN_ORDER, "account.move", (bill,), order=str(order),
            what="the tax that was ordered on another price",
        )  # fmt: skip
        yield from self._post(random, bill)

    def in_parts(self, random: Random, wrong: bool) -> Story:
        """An order is billed in two parts: together for more than was ordered, or for what was."""
        company = self._company
        yield company.hours.draw(random, company.end - timedelta(days=5))
        vendor = random.choice(company.vendors)
        order = self._order(random, vendor)
        yield from company.receive_all(random, order)
        for part in (0.7, 0.5 if wrong else 0.3):
            yield company.hours.after(company.now, random.uniform(3, 8))
            lines = [
                Line(one.product, one.name, round(one.quantity * part), one.price, one.order_line)
                for one in self._billed(order)
            ]
            bill = yield from self._enter(random, vendor, lines, order)
            if part < 0.7:
                company.label(
                    LabelKind.BILLED_IN_PARTS if wrong else LabelKind.IN_ORDER, "account.move", (bill,),
                    order=str(order), what="an order billed in two parts",
                )  # fmt: skip
            yield from self._post(random, bill)

    def claimed_too(self, random: Random, wrong: bool) -> Story:
        """An employee claims what the vendor billed; or something else of that vendor on that day."""
        company = self._company
        yield company.hours.draw(random, company.end - timedelta(days=4))
        vendor = random.choice(company.vendors)
        lines = [Line(11, PRODUCTS[10], 1.0, round(random.uniform(310, 790) + 0.37, 2))]
        employee = random.choice(company.staff.employees)
        manager = random.choice(company.staff.managers)
        name = str(company.db.tables["res.partner"].rows[vendor.partner]["name"]).rsplit(" ", 1)[0]
        bill = yield from self._enter(random, vendor, lines, None)
        yield from self._post(random, bill)
        total = company.db.tables["account.move"].rows[bill]["amount_total"]
        amount = total if wrong else round(total * random.uniform(0.55, 0.8), 2)
        kind = LabelKind.EXPENSE_TOO if wrong else LabelKind.IN_ORDER
        text = f"Invoice {name}"
        with company.acting(employee) as tx:
            report = actions.create_report(tx, employee.employee, manager.uid, text, [(text, amount)], company.today())
        company.label(kind, "account.move", (bill,), report=str(report), what="an expense of another amount")
        yield from company.decide_report(random, employee, manager, report, 0)

    def over_two_vendors(self, random: Random, wrong: bool) -> Story:
        """A purchase is split over two new vendors that are paid to one account; or they have an account each."""
        company = self._company
        yield company.hours.draw(random, company.end - timedelta(days=4))
        maker, buyer = random.choice(company.staff.clerks), random.choice(company.staff.buyers)
        like = random.choice(company.vendors)
        number = iban(random)
        vendors, accounts = [], []
        for name in ("Bouwmaat Noord BV", "Noordelijke Bouw BV") if wrong else ("Kade Techniek BV", "Delta Staal BV"):
            vat = f"NL{random.randrange(10**8, 10**9)}B01"
            vendors.append(company.another_record(maker, like.partner, vat=vat, name=name, complete_name=name))
            with company.acting(maker) as tx:
                accounts.append(actions.create_bank_account(tx, vendors[-1], number, trusted=False))
            number = number if wrong else iban(random)
        if wrong:
            company.label(LabelKind.SHARED_ACCOUNT, "res.partner.bank", tuple(accounts))
        planned = (company.now + timedelta(days=5)).strftime("%Y-%m-%d 10:00:00.000000")
        orders = []
        for vendor in vendors:
            yield company.hours.after(company.now, random.uniform(0.2, 1.5))
            net = random.uniform(0.8, 0.98) * actions.APPROVAL_THRESHOLD / (1 + actions.TAX_RATE)
            with company.acting(buyer) as tx:
                orders.append(
                    actions.create_order(tx, vendor, [Line(1, PRODUCTS[0], 20.0, round(net / 20, 2))], planned)
                )
                actions.confirm_order(tx, orders[-1])
        company.label(
            LabelKind.SPLIT_OVER_VENDORS if wrong else LabelKind.IN_ORDER, "purchase.order", tuple(orders),
            what="orders of two vendors with an account each",
        )  # fmt: skip

    def _order(self, random: Random, vendor: Vendor) -> int:
        """A small order that is confirmed at once."""
        company = self._company
        lines = [Line(1, PRODUCTS[0], float(random.randrange(10, 30, 10)), round(random.uniform(12, 40) + 0.13, 2))]
        planned = (company.now + timedelta(days=2)).strftime("%Y-%m-%d 10:00:00.000000")
        with company.acting(random.choice(company.staff.buyers)) as tx:
            order = actions.create_order(tx, vendor.partner, lines, planned)
            actions.confirm_order(tx, order)
        return order

    def _billed(self, order: int, but: Mapping[int, float] = MappingProxyType({})) -> list[Line]:
        """The order's lines as they are billed; `but`: so much less of a line."""
        db = self._company.db
        rows = db.tables["purchase.order.line"].rows
        return [
            Line(
                rows[i]["product_id"],
                rows[i]["name"],
                rows[i]["product_qty"] - but.get(i, 0.0),
                rows[i]["price_unit"],
                i,
            )
            for i in db.children("purchase.order", order, "order_line")
        ]

    def _post(self, random: Random, bill: int) -> Story:
        company = self._company
        yield company.hours.after(company.now, random.uniform(0.5, 6))
        with company.acting(random.choice(company.staff.controllers)) as tx:
            actions.post_move(tx, bill)

    def _enter(
        self,
        random: Random,
        vendor: Vendor,
        lines: list[Line],
        order: int | None,
        *,
        reverses: int | None = None,
        tax: int = actions.TAX,
    ) -> Generator[datetime, None, int]:
        """A bill, or a credit note, is entered by a clerk; nobody has posted it yet."""
        company = self._company
        yield company.hours.after(company.now, random.uniform(0.5, 3))
        today = company.today()
        origin = None if order is None else company.db.tables["purchase.order"].rows[order]["name"]
        with company.acting(random.choice(company.staff.clerks)) as tx:
            bill = actions.create_move(
                tx, "in_invoice" if reverses is None else "in_refund", vendor.partner, lines, ref=vendor.reference(),
                invoice_date=today, due=today + timedelta(days=60), origin=origin, bank_account=vendor.account,
                reverses=reverses, tax_id=tax,
            )  # fmt: skip
        if order is None:
            company.label(LabelKind.BILL_WITHOUT_ORDER, "account.move", (bill,), reason="not ordered")
        return bill
