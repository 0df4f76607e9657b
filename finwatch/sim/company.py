"""A generated trading company whose people work in Odoo for weeks on a simulated clock, with labelled anomalies.

Each business case is a story: a generator that yields the instant of its next step and acts when the clock gets
there. Every story draws from its own seeded random source and ties are broken by the story's number, so the same
seed gives the same database whatever the steps of `advance` are.

What is normal here (labels mark what is not), in hours of work (9 a day): order approval within 9, bill validation
within 9, payment before the due date, expense approval within 13. Late is at least `LATE_HOURS` of work.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator
from datetime import UTC, date, datetime, timedelta
from random import Random

from finwatch.sim import actions, mishaps
from finwatch.sim.actions import Line
from finwatch.sim.hours import WorkingHours
from finwatch.sim.labels import Label, LabelKind
from finwatch.sim.office import Office, confirm_sale, create_sale, deliver, invoiced, lay_office
from finwatch.sim.people import PRODUCTS, Person, Vendor, iban, lay_foundations
from finwatch.sim.store import Database, Transaction, instant

Story = Generator[datetime, None, None]

LATE_HOURS = 40.0
"""An approval or a validation that is late takes at least this many hours of work."""

_ORDERS_PER_WEEK = 100
_REPORTS_PER_WEEK = 40
_INVOICES_PER_WEEK = 28
_UNORDERED_PER_WEEK = 4
_ENTRIES_PER_WEEK = 5
_COPIES_PER_WEEK = 0.5

# Share of the orders that go wrong, by kind; each kind occurs at least once.
_SHARES: dict[LabelKind, float] = {
    LabelKind.EXACT_DUPLICATE: 0.02,
    LabelKind.NORMALISED_DUPLICATE: 0.025,
    LabelKind.APPROVAL_AGEING: 0.015,
    LabelKind.SLA_PO_APPROVAL: 0.02,
    LabelKind.SLA_BILL_VALIDATION: 0.025,
    LabelKind.SLA_PAYMENT: 0.03,
    LabelKind.PRICE_MISMATCH: 0.03,
    LabelKind.OVER_BILLED: 0.015,
    LabelKind.ORDER_AFTER_BILL: 0.025,
    LabelKind.ONE_HAND: 0.03,
    LabelKind.SPLIT_ORDERS: 0.015,
    LabelKind.BILL_BEFORE_RECEIPT: 0.015,
    LabelKind.ORDER_CANCELLED: 0.015,
    LabelKind.BILL_CANCELLED: 0.015,
    LabelKind.BILL_RESET: 0.015,
    LabelKind.BILL_DELETED: 0.01,
    LabelKind.BLOCKED_VENDOR: 0.005,
    LabelKind.VENDOR_BANK_CHANGE: 0.01,
    LabelKind.SELF_APPROVED: 0.015,
    LabelKind.SELF_POSTED: 0.02,
    LabelKind.UNRECONCILED: 0.015,
    LabelKind.LATE_COMMIT: 0.01,
}
_LARGE = frozenset({LabelKind.APPROVAL_AGEING, LabelKind.SLA_PO_APPROVAL, LabelKind.SELF_APPROVED})  # need an approval
# What shows only when the bill is paid: begun early enough, with a vendor who is paid soon.
_TOLD_BY_PAYMENT = frozenset({LabelKind.ONE_HAND, LabelKind.VENDOR_BANK_CHANGE, LabelKind.BILL_BEFORE_RECEIPT})
_TOLD_BY_BILL = frozenset({LabelKind.BLOCKED_VENDOR})  # rare, and shows only when the order is billed: begun early too


class Company:
    """The company and its database.

    `start` (aware) is when the visible weeks begin; a week before it (`warm_up`) fills the database first. `scale`
    multiplies the number of documents: 1.0 gives about 3,000 documents in 4 weeks. Raises ValueError for a naive
    start.
    """

    def __init__(
        self,
        seed: int = 7,
        start: datetime = datetime(2026, 10, 5, tzinfo=UTC),
        weeks: int = 4,
        version: str = "18.0",
        *,
        scale: float = 1.0,
        warm_up: timedelta = timedelta(days=7),
        database: str = "sim",
    ) -> None:
        if start.tzinfo is None:
            raise ValueError("start must be an aware datetime")
        if weeks < 1 or scale <= 0:
            raise ValueError("weeks and scale must be positive")
        self.seed = seed
        self.start = start.astimezone(UTC)
        self.end = self.start + timedelta(weeks=weeks)
        self._now = self.start - warm_up
        self.db = Database(database, version, clock=lambda: self._now)
        self.labels: list[Label] = []
        self.hours = WorkingHours(self._now, (self.end - self._now).days + 200)
        self.staff, self.vendors, self.customers = lay_foundations(
            self.db, self._now - timedelta(days=30), Random(f"{seed}:people")
        )
        lay_office(self.db, self._now - timedelta(days=30), self.staff)
        self._blocked: dict[int, datetime] = {}  # since when, by vendor
        self._ordered: dict[tuple[int, int], datetime] = {}
        self._queue: list[tuple[datetime, int, Story]] = []
        self._stories = 0
        self._plan(weeks + warm_up.days / 7, scale)

    @property
    def now(self) -> datetime:
        """The simulated time, UTC."""
        return self._now

    def advance(self, until: datetime) -> int:
        """Do everything that happens up to `until` (aware, inclusive); returns how many steps were taken.

        Going backwards does nothing. The server's clock stands at `until` afterwards.
        """
        if until.tzinfo is None:
            raise ValueError("until must be an aware datetime")
        steps = 0
        while self._queue and self._queue[0][0] <= until:
            at, number, story = heapq.heappop(self._queue)
            self._now = max(self._now, at)
            steps += 1
            following = next(story, None)
            if following is not None:
                # a step never lies in the past of the step before it
                heapq.heappush(self._queue, (max(following, self._now), number, story))
        self._now = max(self._now, until.astimezone(UTC))
        return steps

    @property
    def next_step(self) -> datetime | None:
        """When something happens next, None when everything has happened."""
        return self._queue[0][0] if self._queue else None

    # Planning

    def _plan(self, weeks: float, scale: float) -> None:
        random = Random(f"{self.seed}:plan")
        orders = max(len(_SHARES) * 2, round(_ORDERS_PER_WEEK * weeks * scale))
        deck: list[LabelKind | None] = []
        for wrong, share in _SHARES.items():
            deck += [wrong] * max(1, round(share * orders))
        deck += [None] * (orders - len(deck))
        random.shuffle(deck)
        for kind in deck:
            self._tell(lambda r, k=kind: self._purchase(r, k))  # type: ignore[misc]
        for number in range(round(_REPORTS_PER_WEEK * weeks * scale)):
            self._tell(lambda r, n=number: self._expense(r, n))  # type: ignore[misc]
        for _ in range(round(_INVOICES_PER_WEEK * weeks * scale)):
            self._tell(self._sale)
        for _ in range(max(1, round(_UNORDERED_PER_WEEK * weeks * scale))):
            self._tell(self._unordered)
        for week in range(max(1, round(weeks))):
            self._tell(lambda r, w=week: self._import(r, w))  # type: ignore[misc]
        office = Office(self.db, self.staff, self.customers, self.hours, self._now, self.end, lambda: self._now)
        for story in office.stories(weeks, scale):  # after the others, so that those draw as they always did
            self._tell(story)
        entries = max(6, round(_ENTRIES_PER_WEEK * weeks * scale))
        for number in range(entries):
            kind = {0: LabelKind.ENTRY_ONE_HAND, 1: LabelKind.WRITE_OFF_ONE_HAND}.get(number % 6)
            self._tell(lambda r, k=kind: self._adjust(r, k))  # type: ignore[misc]
        self._tell(self._own_vendor)
        self._tell(self._close)
        for kind in (LabelKind.FUZZY_DUPLICATE, LabelKind.ALIAS_DUPLICATE, LabelKind.SISTER_DUPLICATE):
            for _ in range(max(1, round(_COPIES_PER_WEEK * weeks * scale))):
                self._tell(lambda r, k=kind: self._twice(r, k))  # type: ignore[misc]
        self._tell(self._share_account)
        for story in mishaps.stories(self, weeks, scale):  # last, as above
            self._tell(story)

    def _tell(self, begin: Callable[[Random], Story]) -> None:
        self._stories += 1
        story = begin(Random(f"{self.seed}:story:{self._stories}"))
        heapq.heappush(self._queue, (next(story), self._stories, story))

    def label(
        self,
        kind: LabelKind,
        model: str,
        ids: tuple[int, ...],
        at: datetime | None = None,
        until: datetime | None = None,
        **detail: str,
    ) -> None:
        """Note what was done on purpose, now unless `at` says when."""
        self.labels.append(Label(kind, model, ids, at or self._now, until, detail))  # fmt: skip

    def acting(self, person: Person, *, tracking: bool = True) -> Transaction:
        """A transaction of somebody, now."""
        return self.db.begin(self._now, uid=person.uid, lang=person.lang, tracking=tracking)

    def today(self) -> date:
        """The day, as the company counts days."""
        return self._now.astimezone(self.hours.zone).date()

    # Stories

    def lines(self, random: Random, large: bool) -> list[Line]:
        """What somebody needs; `large`: it comes to more than an approval's limit."""
        lines = []
        for _ in range(random.choice((1, 1, 2, 3))):
            product = random.randrange(1, len(PRODUCTS) + 1)
            quantity = float(random.randrange(2, 40))
            price = round(random.uniform(4, 90), 2)
            lines.append(Line(product, PRODUCTS[product - 1], quantity, price))
        if large:
            lines.append(Line(1, PRODUCTS[0], float(random.randrange(60, 120)), round(random.uniform(80, 240), 2)))
        return lines

    def _purchase(self, random: Random, kind: LabelKind | None) -> Story:
        """Order, approval, receipt, bill, validation, payment, bank line."""
        if kind is LabelKind.SPLIT_ORDERS:
            yield from self._split(random)
            return
        staff, hours = self.staff, self.hours
        yield hours.draw(
            random, self.end - timedelta(days=12) if kind in _TOLD_BY_PAYMENT | _TOLD_BY_BILL else self.end
        )
        buyer = random.choice(staff.procurement if kind is LabelKind.SELF_APPROVED else staff.buyers)
        large = kind in _LARGE or random.random() < 0.25
        lines = self.lines(random, large)
        vendor = self._vendor(random, buyer, 10 if kind in _TOLD_BY_PAYMENT else None)
        planned = (self._now + timedelta(days=random.randrange(2, 8))).strftime("%Y-%m-%d 10:00:00.000000")
        with self.acting(buyer) as tx:
            order = actions.create_order(tx, vendor.partner, lines, planned)
        yield hours.after(self._now, random.uniform(0.1, 2))
        with self.acting(buyer) as tx:
            actions.confirm_order(tx, order, manager=kind is LabelKind.SELF_APPROVED)
        state = self.db.tables["purchase.order"].rows[order]["state"]
        if kind is LabelKind.SELF_APPROVED:
            self.label(kind, "purchase.order", (order,), person=str(buyer.uid))
        if kind is LabelKind.ORDER_CANCELLED:
            yield hours.after(self._now, random.uniform(1, 12))
            with self.acting(buyer) as tx:
                actions.cancel_order(tx, order)
            self.label(kind, "purchase.order", (order,))
            return
        if state == "to approve":
            if kind is LabelKind.APPROVAL_AGEING:  # nobody ever decides
                self.label(kind, "purchase.order", (order,))
                return
            asked = self._now
            late = kind is LabelKind.SLA_PO_APPROVAL
            decided = hours.after(asked, random.uniform(LATE_HOURS, 70) if late else random.uniform(0.3, 9))
            if late:
                self.label(LabelKind.SLA_PO_APPROVAL, "purchase.order", (order,), asked, decided)
            yield decided
            with self.acting(random.choice(staff.procurement)) as tx:
                actions.approve_order(tx, order)
        early = kind is LabelKind.BILL_BEFORE_RECEIPT
        if not early:
            yield from self.receive_all(random, order)
        yield hours.after(self._now, random.uniform(3, 20))
        yield from self._bill(random, kind, vendor, order)
        if early:
            yield from self.receive_all(random, order)

    def _vendor(self, random: Random, buyer: Person, days: int | None = None) -> Vendor:
        """A vendor of whom this buyer has not ordered within the week: what is needed is ordered at once.

        `days`: paid within so many.
        """
        week = self._now - timedelta(days=7)
        others = [
            v
            for v in self.vendors
            if self._ordered.get((buyer.uid, v.partner), week) <= week and (days is None or v.days <= days)
        ]
        vendor = random.choice(others or self.vendors)
        self._ordered[buyer.uid, vendor.partner] = self._now
        return vendor

    def _split(self, random: Random) -> Story:
        """One purchase as two orders on one day, each just below the limit of the approval."""
        yield self.hours.draw(random, self.end)
        buyer = random.choice(self.staff.buyers)
        vendor = self._vendor(random, buyer)
        planned = (self._now + timedelta(days=5)).strftime("%Y-%m-%d 10:00:00.000000")
        orders = []
        for _ in range(2):
            net = random.uniform(0.8, 0.98) * actions.APPROVAL_THRESHOLD / (1 + actions.TAX_RATE)
            with self.acting(buyer) as tx:
                lines = [Line(1, PRODUCTS[0], 20.0, round(net / 20, 2))]
                orders.append(actions.create_order(tx, vendor.partner, lines, planned))
                actions.confirm_order(tx, orders[-1])
            yield self.hours.after(self._now, random.uniform(0.2, 1.5))
        self.label(LabelKind.SPLIT_ORDERS, "purchase.order", tuple(orders), person=str(buyer.uid))
        for order in orders:
            yield from self.receive_all(random, order)

    def receive_all(self, random: Random, order: int) -> Story:
        """An order's goods come, now and then in two parts."""
        for round_number in range(2):
            pickings = self.db.tables["stock.picking"].rows
            open_ones = [
                i
                for i in self.db.tables["purchase.order"].rows[order].get("picking_ids") or ()
                if pickings[i]["state"] == "assigned"
            ]
            if not open_ones:
                return
            yield self.hours.after(self._now, random.uniform(6, 30))
            share = 0.6 if round_number == 0 and random.random() < 0.12 else 1.0
            with self.acting(random.choice(self.staff.warehouse)) as tx:
                actions.receive(tx, open_ones[0], share)

    def _bill_lines(self, random: Random, order: int, factor: float, more: float = 0.0) -> list[Line]:
        rows = self.db.tables["purchase.order.line"].rows
        return [
            Line(
                rows[i]["product_id"],
                rows[i]["name"],
                rows[i]["product_qty"] + (more if position == 0 else 0.0),
                round(rows[i]["price_unit"] * (factor if position == 0 else 1.0), 2),
                i,
            )
            for position, i in enumerate(self.db.children("purchase.order", order, "order_line"))
        ]

    def _bill(self, random: Random, kind: LabelKind | None, vendor: Vendor, order: int) -> Story:
        staff, hours = self.staff, self.hours
        clerk = random.choice(staff.clerks)
        mismatch = kind is LabelKind.PRICE_MISMATCH
        # A price within what any policy lets pass is no deviation.
        factor = random.uniform(1.08, 1.35) if mismatch else 1.01 if random.random() < 0.03 else 1.0
        more = float(random.randrange(2, 6)) if kind is LabelKind.OVER_BILLED else 0.0
        lines = self._bill_lines(random, order, factor, more)
        ref = vendor.reference()
        ordered = self._ordered_on(order)
        invoice_date = max(ordered, self.today() - timedelta(days=random.randrange(0, 3)))
        if kind is LabelKind.ORDER_AFTER_BILL:
            invoice_date = ordered - timedelta(days=random.randrange(2, 6))
        due = invoice_date + timedelta(days=vendor.days)
        if kind is LabelKind.BLOCKED_VENDOR:
            with self.acting(random.choice(staff.procurement)) as tx:
                tx.write(
                    "res.partner",
                    vendor.partner,
                    {"purchase_warn": "block", "purchase_warn_msg": "Under investigation"},
                )
            self._blocked.setdefault(vendor.partner, self._now)
            yield hours.after(self._now, random.uniform(2, 9))
        origin = self.db.tables["purchase.order"].rows[order]["name"]
        with self.acting(clerk) as tx:
            bill = actions.create_move(
                tx, "in_invoice", vendor.partner, lines, ref=ref, invoice_date=invoice_date, due=due, origin=origin,
                bank_account=vendor.account, term=(7, 10, 14, 21, 30).index(vendor.days) + 1,
            )  # fmt: skip
        arrived = self._now
        if mismatch:
            self.label(
                kind or LabelKind.PRICE_MISMATCH, "account.move", (bill,), order=str(order), factor=f"{factor:.3f}"
            )
        if kind in (LabelKind.OVER_BILLED, LabelKind.ORDER_AFTER_BILL):
            self.label(kind, "account.move", (bill,), order=str(order))
        if vendor.partner in self._blocked:
            self.label(
                LabelKind.BLOCKED_VENDOR,
                "account.move",
                (bill,),
                self._blocked[vendor.partner],
                vendor=str(vendor.partner),
            )
        if kind is LabelKind.BILL_BEFORE_RECEIPT and self._awaits_receipt(order):
            self.label(kind, "account.move", (bill,), order=str(order))
        if kind is LabelKind.BILL_CANCELLED:
            yield hours.after(self._now, random.uniform(1, 8))
            with self.acting(random.choice(staff.controllers)) as tx:
                actions.cancel_move(tx, bill)
            self.label(kind, "account.move", (bill,))
            return
        late = kind is LabelKind.SLA_BILL_VALIDATION
        validated = hours.after(arrived, random.uniform(LATE_HOURS, 65) if late else random.uniform(0.5, 9))
        if late:
            self.label(kind or LabelKind.SLA_BILL_VALIDATION, "account.move", (bill,), arrived, validated)
        yield validated
        validator = clerk if kind is LabelKind.SELF_POSTED else random.choice(staff.controllers)
        if kind is LabelKind.ONE_HAND:
            validator = staff.treasurers[0]
        if kind is LabelKind.LATE_COMMIT:
            tx = self.acting(validator)
            actions.post_move(tx, bill)
            seconds = random.uniform(15, 110)
            self.label(
                kind,
                "account.move",
                (bill,),
                self._now,
                self._now + timedelta(seconds=seconds),
                seconds=f"{seconds:.0f}",
            )
            yield self._now + timedelta(seconds=seconds)
            tx.commit(self._now)
        else:
            with self.acting(validator) as tx:
                actions.post_move(tx, bill)
        if kind is LabelKind.SELF_POSTED:
            self.label(kind, "account.move", (bill,), person=str(clerk.uid))
        if kind is LabelKind.BILL_RESET:
            yield hours.after(self._now, random.uniform(0.5, 6))
            with self.acting(validator) as tx:
                actions.draft_move(tx, bill)
            self.label(kind, "account.move", (bill,))
            yield hours.after(self._now, random.uniform(0.3, 3))
            with self.acting(validator) as tx:
                actions.post_move(tx, bill)
        if kind is LabelKind.BILL_DELETED:  # reset, then deleted: its number comes again
            yield hours.after(self._now, random.uniform(1.5, 4))
            number = str(self.db.tables["account.move"].rows[bill]["name"])
            with self.acting(validator) as tx:
                actions.draft_move(tx, bill)
            yield self._now + timedelta(minutes=2)
            with self.acting(validator) as tx:
                actions.delete_move(tx, bill)
            self.label(kind, "account.move", (bill,), name=number)
            return
        if kind in (LabelKind.EXACT_DUPLICATE, LabelKind.NORMALISED_DUPLICATE):
            yield from self._copy(random, kind, vendor, bill, lines, ref, invoice_date, due, clerk)
        yield from self.settle(random, kind, vendor, bill, due, order)

    def _ordered_on(self, order: int) -> date:
        """The day on which an order was approved, as the company counts days."""
        at = instant(str(self.db.tables["purchase.order"].rows[order]["date_approve"]))
        return at.astimezone(self.hours.zone).date()

    def _awaits_receipt(self, order: int) -> bool:
        return self.db.tables["purchase.order"].rows[order].get("receipt_status") in ("pending", "partial")

    def _copy(
        self,
        random: Random,
        kind: LabelKind,
        vendor: Vendor,
        original: int,
        lines: list[Line],
        ref: str,
        invoice_date: date,
        due: date,
        first_clerk: Person,
    ) -> Story:
        """The same invoice is entered again, by someone else."""
        yield self.hours.after(self._now, random.uniform(2, 25))
        second = random.choice([c for c in self.staff.clerks if c is not first_clerk])
        typed = ref if kind is LabelKind.EXACT_DUPLICATE else disguise(random, ref)
        copies = [Line(line.product, line.name, line.quantity, line.price, line.order_line) for line in lines]
        with self.acting(second) as tx:
            copy = actions.create_move(
                tx, "in_invoice", vendor.partner, copies, ref=typed, invoice_date=invoice_date, due=due,
                bank_account=vendor.account,
            )  # fmt: skip
        self.label(kind, "account.move", (copy, original), reference=typed, original=ref)
        yield self.hours.after(self._now, random.uniform(0.5, 8))
        with self.acting(random.choice(self.staff.controllers)) as tx:
            actions.post_move(tx, copy)  # Odoo warns and lets it through
        # Nobody pays it: one bill was expected.
        self.label(LabelKind.SLA_PAYMENT, "account.move", (copy,), max(self._now, _end_of(due)), reason="copy")

    def settle(
        self, random: Random, kind: LabelKind | None, vendor: Vendor, bill: int, due: date, order: int | None = None
    ) -> Story:
        """A bill is paid before it is due, and the bank's line matched; `order`: whose goods are looked for."""
        staff, hours = self.staff, self.hours
        late = kind is LabelKind.SLA_PAYMENT
        day = due + timedelta(days=random.randrange(5, 12)) if late else due - timedelta(days=random.randrange(1, 4))
        morning = datetime(day.year, day.month, day.day, 9, tzinfo=self.hours.zone).astimezone(UTC)
        when = hours.after(max(self._now, morning), random.uniform(0.1, 5))
        deadline = _end_of(due)
        if not late and when >= deadline:  # a day off lies between: pay at once, which is in time or nearly so
            when = hours.after(self._now, random.uniform(0.1, 2))
        if when >= deadline:  # on purpose, or because the bill was validated too late
            self.label(LabelKind.SLA_PAYMENT, "account.move", (bill,), deadline, when)
        payer = staff.treasurers[0] if kind is LabelKind.ONE_HAND else random.choice(staff.treasurers)
        if kind is LabelKind.VENDOR_BANK_CHANGE:
            yield from self._change_account(random, vendor, bill, payer, max(self._now, when - timedelta(days=2)))
        yield when
        if self.db.tables["account.move"].rows[bill]["state"] != "posted":
            return
        with self.acting(payer) as tx:
            payment = actions.pay(tx, [bill], self.today(), vendor.account)
        if order is not None and self._awaits_receipt(order):
            self.label(LabelKind.PAID_BEFORE_RECEIPT, "account.move", (bill,), order=str(order))
        if kind is LabelKind.ONE_HAND:
            self.label(kind, "account.move", (bill,), person=str(payer.uid))
        row = self.db.tables["account.payment"].rows[payment]
        yield from self._statement(
            random, kind, -row["amount"], f"SEPA {row.get('memo') or ''} {payment}", vendor.partner, inbound=False
        )

    def _statement(
        self, random: Random, kind: LabelKind | None, amount: float, label: str, partner: int, *, inbound: bool
    ) -> Story:
        yield self.hours.after(self._now, random.uniform(6, 14))
        keeper = random.choice(self.staff.controllers)
        with self.acting(keeper) as tx:
            line = actions.bank_line(tx, self.today(), amount, label)
        if kind is LabelKind.UNRECONCILED:
            self.label(kind, "account.bank.statement.line", (line,))
            return
        yield self.hours.after(self._now, random.uniform(0.5, 8))
        with self.acting(keeper) as tx:
            actions.reconcile_bank_line(tx, line, partner, inbound=inbound)

    def _change_account(self, random: Random, vendor: Vendor, bill: int, payer: Person, when: datetime) -> Story:
        """Un-trust, change, trust again: the only way Odoo lets it happen. Half the time by the person who pays."""
        yield when
        same = random.random() < 0.5
        person = payer if same else random.choice(self.staff.controllers)
        number = iban(random)
        with self.acting(person) as tx:
            actions.set_trust(tx, vendor.account, False)
        yield self._now + timedelta(minutes=random.uniform(1, 20))
        with self.acting(person) as tx:
            actions.change_number(tx, vendor.account, number)
        self.label(
            LabelKind.VENDOR_BANK_CHANGE,
            "res.partner.bank",
            (vendor.account,),
            bill=str(bill),
            same_person=str(same).lower(),
        )
        yield self._now + timedelta(minutes=random.uniform(1, 20))
        with self.acting(person) as tx:
            actions.set_trust(tx, vendor.account, True)

    def _expense(self, random: Random, number: int) -> Story:
        """Report, submission, decision, posting, payment; one in twelve is refused, one in twenty waits long."""
        staff = self.staff
        yield self.hours.draw(random, self.end)
        employee = random.choice(staff.employees)
        manager = random.choice(staff.managers)
        items = [
            (random.choice(("Train", "Hotel", "Meal", "Taxi", "Parking")), round(random.uniform(8, 320), 2))
            for _ in range(random.randrange(1, 5))
        ]
        with self.acting(employee) as tx:
            sheet = actions.create_report(
                tx, employee.employee, manager.uid, f"Trip {number + 1:04d}", items, self.today()
            )
        yield from self.decide_report(random, employee, manager, sheet, number)

    def decide_report(self, random: Random, employee: Person, manager: Person, sheet: int, number: int) -> Story:
        """What becomes of an expense report, by its `number`: one in twelve is refused, one in twenty waits long."""
        staff, hours = self.staff, self.hours
        yield hours.after(self._now, random.uniform(0.1, 6))
        with self.acting(employee) as tx:
            actions.submit_report(tx, sheet)
        waits = number % 20 == 7
        decided = hours.after(self._now, random.uniform(LATE_HOURS, 80) if waits else random.uniform(0.5, 13))
        if waits:
            self.label(LabelKind.APPROVAL_AGEING, actions.report_model(self.db), (sheet,), self._now, decided)
        yield decided
        if number % 12 == 5:
            with self.acting(manager) as tx:
                actions.refuse_report(tx, sheet, "receipt is missing")
            self.label(LabelKind.EXPENSE_REFUSED, actions.report_model(self.db), (sheet,))
            return
        with self.acting(manager) as tx:
            actions.approve_report(tx, sheet)
        yield hours.after(self._now, random.uniform(1, 12))
        with self.acting(random.choice(staff.controllers)) as tx:
            bill = actions.post_report(tx, sheet, employee.partner, self.today())
        self.label(LabelKind.BILL_WITHOUT_ORDER, "account.move", (bill,), reason="expense", sheet=str(sheet))
        yield hours.after(self._now, random.uniform(1, 7))
        with self.acting(random.choice(staff.treasurers)) as tx:
            payment = actions.pay(tx, [bill], self.today())
            actions.close_report(tx, sheet)
        amount = self.db.tables["account.payment"].rows[payment]["amount"]
        yield from self._statement(random, None, -amount, f"SEPA EXP {payment}", employee.partner, inbound=False)

    def _sale(self, random: Random) -> Story:
        """Customer invoice, posted, paid through the bank."""
        hours = self.hours
        yield hours.draw(random, self.end)
        seller = random.choice(self.staff.sales)
        customer = random.choice(self.customers)
        today = self.today()
        due = today + timedelta(days=14)
        lines = self.lines(random, False)
        with self.acting(seller) as tx:
            order = create_sale(tx, customer, lines)
        with self.acting(seller) as tx:
            picking = confirm_sale(tx, order)
        if picking is not None:
            with self.acting(self.staff.warehouse[0]) as tx:
                deliver(tx, picking)
        origin = self.db.tables["sale.order"].rows[order]["name"]
        with self.acting(seller) as tx:
            invoice = actions.create_move(
                tx, "out_invoice", customer, lines, ref=None, invoice_date=today, due=due, origin=origin
            )  # fmt: skip
            invoiced(tx, order, invoice)
        yield hours.after(self._now, random.uniform(0.2, 5))
        with self.acting(seller) as tx:
            actions.post_move(tx, invoice)
        when = hours.after(self._now, random.uniform(18, 100))
        if when >= _end_of(due):
            self.label(LabelKind.CUSTOMER_LATE, "account.move", (invoice,), _end_of(due), when)
        yield when
        with self.acting(random.choice(self.staff.controllers)) as tx:
            payment = actions.pay(tx, [invoice], self.today())
        row = self.db.tables["account.payment"].rows[payment]
        yield from self._statement(random, None, row["amount"], f"{payment} IN", customer, inbound=True)

    def _unordered(self, random: Random) -> Story:
        """A bill that nobody ordered; approved and paid like any other."""
        yield self.hours.draw(random, self.end)
        vendor = random.choice(self.vendors)
        today = self.today()
        due = today + timedelta(days=vendor.days)
        with self.acting(random.choice(self.staff.clerks)) as tx:
            bill = actions.create_move(
                tx, "in_invoice", vendor.partner, self.lines(random, random.random() < 0.3), ref=vendor.reference(),
                invoice_date=today, due=due, bank_account=vendor.account,
            )  # fmt: skip
        self.label(LabelKind.BILL_WITHOUT_ORDER, "account.move", (bill,), reason="not ordered")
        if vendor.partner in self._blocked:
            self.label(
                LabelKind.BLOCKED_VENDOR,
                "account.move",
                (bill,),
                self._blocked[vendor.partner],
                vendor=str(vendor.partner),
            )
        yield self.hours.after(self._now, random.uniform(0.5, 9))
        with self.acting(random.choice(self.staff.controllers)) as tx:
            actions.post_move(tx, bill)
        yield from self.settle(random, None, vendor, bill, due)

    def _adjust(self, random: Random, kind: LabelKind | None) -> Story:
        """A journal entry, which somebody else posts; of a kind, whoever made it. One in three corrects a balance."""
        yield self.hours.draw(random, self.end - timedelta(days=1))
        maker = random.choice(self.staff.controllers)
        write_off = kind is LabelKind.WRITE_OFF_ONE_HAND or (kind is None and random.random() < 0.3)
        partner = random.choice(self.vendors).partner if write_off else None
        with self.acting(maker) as tx:
            text = "Small balance" if write_off else "Accrual"
            entry = actions.journal_entry(tx, self.today(), text, round(random.uniform(5, 900), 2), partner)
        yield self.hours.after(self._now, random.uniform(0.5, 6))
        other = random.choice([one for one in self.staff.controllers if one is not maker])
        with self.acting(other if kind is None else maker) as tx:
            actions.post_move(tx, entry)
        if kind is not None:
            self.label(kind, "account.move", (entry,), person=str(maker.uid))

    def _close(self, random: Random) -> Story:
        """Last month is locked; an entry is let past the lock, and for another one the month is opened again."""
        yield self.hours.after(self._now, random.uniform(70, 78))
        one, other = random.sample(self.staff.controllers, 2)
        last = self.today().replace(day=1) - timedelta(days=1)
        with self.acting(one) as tx:
            actions.lock_books(tx, last)
        for opened in (False, True):
            yield self.hours.after(self._now, random.uniform(2, 8))
            with self.acting(one) as tx:
                if opened:
                    actions.lock_books(tx, None)
                entry = actions.journal_entry(tx, last, "Late accrual", round(random.uniform(50, 900), 2))
            yield self.hours.after(self._now, random.uniform(0.3, 2))
            with self.acting(other) as tx:
                actions.post_move(tx, entry, past_lock=True)
            self.label(LabelKind.POSTED_AFTER_LOCK, "account.move", (entry,), opened=str(opened).lower())
        yield self.hours.after(self._now, random.uniform(0.3, 2))
        with self.acting(one) as tx:
            actions.lock_books(tx, last)

    def _own_vendor(self, random: Random) -> Story:
        """Whoever pays makes a vendor with an account, and pays its bill: others enter and approve it."""
        yield self.hours.draw(random, self.end - timedelta(days=12))
        payer = self.staff.treasurers[0]
        with self.acting(payer) as tx:
            name = "Snelle Diensten BV"
            body = {"name": name, "complete_name": name, "active": True, "is_company": True, "type": "contact"}
            more = {
                "supplier_rank": 0,
                "customer_rank": 0,
                "country_id": 1,
                "vat": f"NL{random.randrange(10**8, 10**9)}B01",
            }
            record = tx.create("res.partner", actions.known(tx, "res.partner", body | more))
            tx.raw("res.partner", record, {"commercial_partner_id": record})
            account = actions.create_bank_account(tx, record, iban(random), trusted=True)
        yield self.hours.after(self._now, random.uniform(3, 9))
        vendor = Vendor(record, account, 7, 0, random.randrange(100, 9000))
        today = self.today()
        due = today + timedelta(days=vendor.days)
        lines = [Line(11, PRODUCTS[10], 1.0, round(random.uniform(300, 800), 2))]
        with self.acting(random.choice(self.staff.clerks)) as tx:
            bill = actions.create_move(
                tx, "in_invoice", record, lines, ref=vendor.reference(), invoice_date=today, due=due,
                bank_account=account,
            )  # fmt: skip
        self.label(LabelKind.BILL_WITHOUT_ORDER, "account.move", (bill,), reason="not ordered")
        self.label(LabelKind.OWN_VENDOR, "res.partner", (record,), account=str(account))
        yield self.hours.after(self._now, random.uniform(0.5, 6))
        with self.acting(random.choice(self.staff.controllers)) as tx:
            actions.post_move(tx, bill)
        yield from self.settle(random, None, vendor, bill, due)

    def _twice(self, random: Random, kind: LabelKind) -> Story:
        """A bill is entered again: with a slip, for another record of its vendor, for a sister company.

        It is due in so long a time that no deadline tells of either.
        """
        yield self.hours.draw(random, self.end - timedelta(days=7))
        vendor = random.choice(self.vendors)
        first, second = random.sample(self.staff.clerks, 2)
        today, ref = self.today(), vendor.reference()
        due = today + timedelta(days=60)
        lines = [Line(11, PRODUCTS[10], 1.0, round(random.uniform(310, 790) + 0.37, 2))]

        def entered(by: Person, partner: int, written: str) -> int:
            with self.acting(by) as tx:
                bill = actions.create_move(
                    tx, "in_invoice", partner, [Line(one.product, one.name, one.quantity, one.price) for one in lines],
                    ref=written, invoice_date=today, due=due, bank_account=vendor.account,
                )  # fmt: skip
            self.label(LabelKind.BILL_WITHOUT_ORDER, "account.move", (bill,), reason="not ordered")
            return bill

        original = entered(first, vendor.partner, ref)
        yield self.hours.after(self._now, random.uniform(2, 8))
        with self.acting(random.choice(self.staff.controllers)) as tx:
            actions.post_move(tx, original)
        yield self.hours.after(self._now, random.uniform(4, 12))
        partner, written = vendor.partner, ref
        if kind is LabelKind.FUZZY_DUPLICATE:
            written = slipped(ref)
        elif kind is LabelKind.ALIAS_DUPLICATE:
            partner = self.another_record(second, vendor.partner)
        copy = entered(second, partner, written)
        if kind is LabelKind.SISTER_DUPLICATE:
            with self.acting(second) as tx:
                tx.raw("account.move", copy, {"company_id": actions.SISTER})
        self.label(kind, "account.move", (copy, original), reference=written, original=ref)
        yield self.hours.after(self._now, random.uniform(0.5, 6))
        with self.acting(random.choice(self.staff.controllers)) as tx:
            actions.post_move(tx, copy)

    def another_record(self, by: Person, partner: int, **other: object) -> int:
        """A second record of a vendor, by somebody who did not find the first: without the legal form."""
        row = self.db.tables["res.partner"].rows[partner]
        name = str(row["name"]).rsplit(" ", 1)[0].upper()
        body = {"name": name, "complete_name": name, "active": True, "is_company": True, "type": "contact"}
        more = {"supplier_rank": 1, "customer_rank": 0, "country_id": 1, "vat": row["vat"], **other}
        with self.acting(by) as tx:
            record = tx.create("res.partner", actions.known(tx, "res.partner", body | more))
            tx.raw("res.partner", record, {"commercial_partner_id": record})
        return record

    def _share_account(self, random: Random) -> Story:
        """A vendor is made with the account number of another."""
        yield self.hours.draw(random, self.end - timedelta(days=3))
        theirs = random.choice(self.vendors)
        number = str(self.db.tables["res.partner.bank"].rows[theirs.account]["acc_number"])
        maker = random.choice(self.staff.clerks)
        name, vat = "Spoed Bouw BV", f"NL{random.randrange(10**8, 10**9)}B01"
        record = self.another_record(maker, theirs.partner, vat=vat, name=name, complete_name=name)
        with self.acting(maker) as tx:
            account = actions.create_bank_account(tx, record, number, trusted=False)
        self.label(LabelKind.SHARED_ACCOUNT, "res.partner.bank", (account, theirs.account))

    def _import(self, random: Random, week: int) -> Story:
        """Once a week an importer posts bills of a utility in one long transaction with tracking switched off.

        They are paid together, in time.
        """
        begin = self.hours.intervals[min(len(self.hours.intervals) - 1, week * 5 + 2)][0]
        yield begin + timedelta(minutes=30 * random.random())
        tx = self.acting(self.staff.importer, tracking=False)
        vendor = self.vendors[week % len(self.vendors)]
        today = self.today()
        due = today + timedelta(days=vendor.days)
        bills = []
        for _ in range(5):
            bill = actions.create_move(
                tx, "in_invoice", vendor.partner, self.lines(random, False), ref=vendor.reference(),
                invoice_date=today, due=due, bank_account=vendor.account,
            )  # fmt: skip
            actions.post_move(tx, bill)
            bills.append(bill)
        begun = self._now
        seconds = random.uniform(240, 420)  # longer than any sensible overlap of a polling window
        yield begun + timedelta(seconds=seconds)
        tx.commit(self._now)
        self.label(LabelKind.TRACKING_DISABLED, "account.move", tuple(bills), begun)
        self.label(LabelKind.LATE_COMMIT, "account.move", tuple(bills), begun, self._now, seconds=f"{seconds:.0f}")
        for bill in bills:
            self.label(LabelKind.BILL_WITHOUT_ORDER, "account.move", (bill,), begun, reason="import")
        day = due - timedelta(days=2)
        morning = datetime(day.year, day.month, day.day, 9, tzinfo=self.hours.zone).astimezone(UTC)
        yield self.hours.after(morning, random.uniform(0.1, 5))
        with self.acting(random.choice(self.staff.treasurers)) as tx:
            payment = actions.pay(tx, bills, self.today(), vendor.account)
        amount = self.db.tables["account.payment"].rows[payment]["amount"]
        yield from self._statement(random, None, -amount, f"SEPA IMP {payment}", vendor.partner, inbound=False)


def _end_of(day: date) -> datetime:
    """When a due date has passed."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def slipped(reference: str) -> str:
    """The reference with two neighbouring digits of its number swapped: the last two that differ."""
    end = len(reference) - len("/26") if reference.endswith("/26") else len(reference)
    for n in range(end - 1, 0, -1):
        one, other = reference[n - 1], reference[n]
        if one.isdigit() and other.isdigit() and one != other:
            return f"{reference[: n - 1]}{other}{one}{reference[n + 1 :]}"
    raise ValueError("a reference of one digit")


def disguise(random: Random, reference: str) -> str:
    """The same reference as another person types it: case, spaces, punctuation."""
    variants = {
        reference.lower(),
        reference.replace("-", " ").replace("/", " "),
        reference.replace("-", "").replace("/", "").replace(" ", ""),
        reference.replace("-", "/").replace(" ", "-"),
        f" {reference}",
    } - {reference}
    return random.choice(sorted(variants))
