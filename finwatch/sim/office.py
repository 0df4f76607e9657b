"""What goes on in the generated company beside purchasing and paying: sales, projects and time, leads, rights, crons.

Its stories come after the finance ones and make no journal entries, so those and their labels are the same without it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Any

from finwatch.sim import actions
from finwatch.sim.actions import Line, known, money
from finwatch.sim.hours import WorkingHours
from finwatch.sim.people import PRODUCTS, Person, Staff
from finwatch.sim.store import Database, Transaction, instant, stamp

Story = Generator[datetime, None, None]

DELIVERIES_TYPE = 2
CUSTOMER_LOCATION = 5
_GROUPS = (
    # id, name, full name, roles
    (1, "User", "User types / Internal User", ("employees", "managers", "buyers", "clerks", "warehouse", "sales")),
    (2, "User", "Purchase / User", ("buyers",)),
    (3, "Administrator", "Purchase / Administrator", ("procurement",)),
    (4, "Billing", "Accounting / Billing", ("clerks",)),
    (5, "Accountant", "Accounting / Accountant", ("controllers",)),
    (6, "Validate bank account", "Accounting / Validate bank account", ("treasurers",)),
    (7, "User", "Inventory / User", ("warehouse",)),
    (8, "User: Own Documents Only", "Sales / User: Own Documents Only", ("sales",)),
    (9, "Team Approver", "Expenses / Team Approver", ("managers",)),
)
_CRONS = (
    # id, name, every, unit, from when it fails (share of the weeks; None: never)
    (1, "Mail: Email Queue Manager", 4, "hours", None),
    (2, "Account: Post draft entries with auto_post enabled", 1, "days", None),
    (3, "Purchase reminder", 1, "days", None),
    (4, "Bank feed: fetch transactions", 4, "hours", 0.5),
    (5, "Base: Auto-vacuum internal data", 7, "days", None),
)
_UNITS = {"hours": timedelta(hours=1), "days": timedelta(days=1)}
_PROJECTS = ("Warehouse move", "Webshop", "Maintenance contracts")
_TASKS = ("Plan", "Prepare", "Carry out", "Hand over", "Invoice")
_STAGES = ("New", "In Progress", "Done")


def move_group(tx: Transaction, group: int, member: int) -> None:
    """Put a user into a group on the group's form: the group's stamp moves, the user's does not."""
    name = "users" if tx.db.has("res.groups", "users") else "user_ids"
    users = list(tx.row("res.groups", group).get(name) or ())
    if member not in users:
        tx.write("res.groups", group, {name: [*users, member]})
    for field in ("groups_id", "group_ids", "all_group_ids"):
        if tx.db.has("res.users", field):
            groups = list(tx.row("res.users", member).get(field) or ())
            tx.raw("res.users", member, {field: sorted({*groups, group})})


def create_sale(tx: Transaction, customer: int, lines: list[Line], origin: str | None = None) -> int:
    """A quotation of the acting salesperson."""
    untaxed = money(sum(line.subtotal for line in lines))
    tax = money(untaxed * actions.TAX_RATE)
    currency = int(tx.row("res.company", actions.COMPANY)["currency_id"])
    values = {
        "name": f"S{tx.db.counter('sale.order'):05d}",
        "state": "draft",
        "locked": False,
        "partner_id": customer,
        "partner_invoice_id": customer,
        "partner_shipping_id": customer,
        "user_id": tx.uid,
        "company_id": actions.COMPANY,
        "currency_id": currency,
        "currency_rate": 1.0,
        "date_order": tx.stamp,
        "validity_date": (tx.at + timedelta(days=30)).date().isoformat(),
        "amount_untaxed": untaxed,
        "amount_tax": tax,
        "amount_total": money(untaxed + tax),
        "invoice_status": "no",
        "origin": origin,
    }
    order = tx.create("sale.order", known(tx, "sale.order", values))
    for position, line in enumerate(lines):
        service = line.product is not None and PRODUCTS[line.product - 1].startswith("Service")
        line_values = {
            "order_id": order,
            "product_id": line.product,
            "name": line.name,
            "product_uom_qty": line.quantity,
            "product_uom": 1,
            "product_uom_id": 1,
            "price_unit": line.price,
            "discount": 0.0,
            "price_subtotal": line.subtotal,
            "price_tax": money(line.subtotal * actions.TAX_RATE),
            "price_total": money(line.subtotal * (1 + actions.TAX_RATE)),
            "tax_id": [1],
            "tax_ids": [1],
            "qty_delivered": 0.0,
            "qty_delivered_method": "manual" if service else "stock_move",
            "qty_invoiced": 0.0,
            "qty_to_invoice": 0.0,
            "invoice_status": "no",
            "sequence": 10 + position,
        }
        tx.create("sale.order.line", known(tx, "sale.order.line", line_values))
    return order


def sale_lines(db: Database, order: int) -> list[dict[str, Any]]:
    """Committed lines of an order."""
    rows = db.tables["sale.order.line"].rows
    return [rows[one] for one in db.tables["sale.order.line"].links["order_id"].get(order, ())]


def confirm_sale(tx: Transaction, order: int) -> int | None:
    """Confirm an order; its delivery, None when there is nothing to deliver."""
    tx.write("sale.order", order, {"state": "sale", "date_order": tx.stamp, "invoice_status": "to invoice"})
    goods = []
    for row in sale_lines(tx.db, order):
        tx.write(
            "sale.order.line", row["id"], {"qty_to_invoice": row["product_uom_qty"], "invoice_status": "to invoice"}
        )
        if row["qty_delivered_method"] == "stock_move":
            goods.append(row)
    if not goods:
        return None
    order_row = tx.row("sale.order", order)
    values = {
        "name": f"WH/OUT/{tx.db.counter('stock.picking.out'):05d}",
        "state": "assigned",
        "partner_id": order_row["partner_id"],
        "picking_type_id": DELIVERIES_TYPE,
        "location_id": actions.STOCK_LOCATION,
        "location_dest_id": CUSTOMER_LOCATION,
        "scheduled_date": tx.stamp,
        "date": tx.stamp,
        "origin": order_row["name"],
        "sale_id": order,
        "company_id": actions.COMPANY,
        "priority": "0",
        "move_type": "direct",
    }
    picking = tx.create("stock.picking", known(tx, "stock.picking", values))
    for row in goods:
        move = {
            "picking_id": picking,
            "name": row["name"],
            "product_id": row["product_id"],
            "product_uom_qty": row["product_uom_qty"],
            "product_qty": row["product_uom_qty"],
            "product_uom": 1,
            "quantity": row["product_uom_qty"],
            "state": "assigned",
            "date": tx.stamp,
            "location_id": actions.STOCK_LOCATION,
            "location_dest_id": CUSTOMER_LOCATION,
            "picking_type_id": DELIVERIES_TYPE,
            "sale_line_id": row["id"],
            "company_id": actions.COMPANY,
        }
        tx.create("stock.move", known(tx, "stock.move", move))
    tx.write("sale.order", order, {"delivery_status": "pending"})
    return picking


def deliver(tx: Transaction, picking: int) -> None:
    """`button_validate` of a delivery."""
    order = tx.row("stock.picking", picking)["sale_id"]
    for move in tx.children("stock.picking", picking, "move_ids"):
        row = tx.row("stock.move", move)
        tx.write("stock.move", move, {"state": "done", "picked": True, "date": tx.stamp})
        tx.write("sale.order.line", row["sale_line_id"], {"qty_delivered": row["quantity"]})
    tx.write("stock.picking", picking, {"state": "done", "date_done": tx.stamp, "date": tx.stamp})
    tx.write("sale.order", order, {"delivery_status": "full", "effective_date": tx.stamp})


def invoiced(tx: Transaction, order: int, invoice: int) -> None:
    """Link an invoice, made of the order's lines in their order, to it."""
    of_order = sale_lines(tx.db, order)
    items = [
        one
        for one in tx.children("account.move", invoice, "line_ids")
        if tx.row("account.move.line", one).get("display_type") == "product"
    ]
    for row, item in zip(of_order, items, strict=True):
        tx.raw("account.move.line", item, {"sale_line_ids": [row["id"]]})
        quantity = row["product_uom_qty"]
        tx.write(
            "sale.order.line",
            row["id"],
            {"qty_invoiced": quantity, "qty_to_invoice": 0.0, "invoice_status": "invoiced"},
        )
    tx.write("sale.order", order, {"invoice_status": "invoiced"})


def lay_office(db: Database, at: datetime, staff: Staff) -> None:
    """Groups with members, scheduled actions, an automation rule, projects with tasks, all made `at`."""
    base = {"create_date": stamp(at), "write_date": stamp(at), "create_uid": 1, "write_uid": 1}

    def put(model: str, record_id: int, values: Mapping[str, Any]) -> None:
        if model in db.tables:
            fields = db.tables[model].model.fields
            db.tables[model].put({"id": record_id, **{k: v for k, v in values.items() if k in fields}, **base})

    members: dict[int, list[int]] = {}
    for number, name, full_name, roles in _GROUPS:
        people = sorted(person.uid for role in roles for person in getattr(staff, role))
        values = {"name": name, "full_name": full_name, "implied_ids": [1] if number > 1 else [], "share": False}
        put("res.groups", number, {**values, "users": people, "user_ids": people})
        for uid in people:
            members.setdefault(uid, []).append(number)
    users = db.tables["res.users"]
    for uid in list(users.rows):
        groups = sorted({1, *members.get(uid, ())})
        more = {"groups_id": groups, "group_ids": groups, "all_group_ids": groups, "share": False}
        more |= {"company_ids": [actions.COMPANY, actions.SISTER]}
        users.put(users.rows[uid] | {k: v for k, v in more.items() if k in users.model.fields})
    for number, name, every, unit, _ in _CRONS:
        action = {
            "name": name,
            "state": "code",
            "usage": "ir_cron",
            "model_name": "res.partner",
            "code": "model._run()",
        }
        put("ir.actions.server", number, action)
        values = {"cron_name": name, "user_id": 1, "interval_number": every, "interval_type": unit, "priority": 5}
        values |= {"active": True, "ir_actions_server_id": number, "failure_count": 0, "numbercall": -1, "doall": False}
        put("ir.cron", number, {**values, "lastcall": stamp(at), "nextcall": stamp(at + every * _UNITS[unit])})
    rule = {"name": "Tell sales of posted invoices", "model_name": "account.move", "trigger": "on_state_set"}
    put("base.automation", 1, {**rule, "active": True, "action_server_ids": [len(_CRONS) + 1]})
    action = {"name": "Send", "state": "webhook", "usage": "base_automation", "model_name": "account.move"}
    put("ir.actions.server", len(_CRONS) + 1, {**action, "base_automation_id": 1})
    put("stock.location", CUSTOMER_LOCATION, {"name": "Partners/Customers"})
    for number, name in enumerate(_STAGES, start=1):
        put("project.task.type", number, {"name": name})
        put("crm.stage", number, {"name": ("New", "Proposition", "Won")[number - 1]})
    for number, name in enumerate(_PROJECTS, start=1):
        manager = staff.managers[number % len(staff.managers)]
        values = {"name": name, "user_id": manager.uid, "company_id": actions.COMPANY, "active": True}
        more = {"allow_timesheets": True, "allow_billable": number > 1, "allocated_hours": 200.0}
        put("project.project", number, {**values, **more, "date_start": at.date().isoformat()})
        for position, title in enumerate(_TASKS):
            task = {"name": f"{title}: {name}", "project_id": number, "stage_id": 1, "state": "01_in_progress"}
            task |= {"allocated_hours": 40.0, "effective_hours": 0.0, "remaining_hours": 40.0, "priority": "0"}
            task |= {"active": True, "company_id": actions.COMPANY, "user_ids": [staff.employees[position].uid]}
            put("project.task", (number - 1) * len(_TASKS) + position + 1, task)


class Office:
    """The stories. `now` tells the simulated time at which a step is taken."""

    def __init__(
        self,
        db: Database,
        staff: Staff,
        customers: list[int],
        hours: WorkingHours,
        begin: datetime,
        end: datetime,
        now: Callable[[], datetime],
    ) -> None:
        self._db, self._staff, self._customers = db, staff, customers
        self._hours, self._begin, self._end, self._now = hours, begin, end, now

    def stories(self, weeks: float, scale: float) -> list[Callable[[Random], Story]]:
        """All of them, in a fixed order."""
        made: list[Callable[[Random], Story]] = []
        made += [self._sale] * max(2, round(6 * weeks * scale))
        made += [self._lead] * max(2, round(5 * weeks * scale))
        made += [lambda random, who=person: self._time(random, who) for person in self._staff.employees]  # type: ignore[misc]
        made += [lambda random, n=number: self._cron(random, n) for number in range(len(_CRONS))]  # type: ignore[misc]
        made.append(self._rights)
        return made

    def _as(self, person: Person) -> Transaction:
        return self._db.begin(self._now(), uid=person.uid, lang=person.lang)

    def _sale(self, random: Random) -> Story:
        """An order that is quoted, mostly confirmed, delivered, and not invoiced yet."""
        yield self._hours.draw(random, self._end)
        seller = random.choice(self._staff.sales)
        lines = []
        for _ in range(random.choice((1, 2, 3))):
            product = random.randrange(1, len(PRODUCTS) + 1)
            quantity, price = float(random.randrange(1, 20)), round(random.uniform(10, 200), 2)
            lines.append(Line(product, PRODUCTS[product - 1], quantity, price))
        with self._as(seller) as tx:
            order = create_sale(tx, random.choice(self._customers), lines)
        yield self._hours.after(self._now(), random.uniform(1, 20))
        if random.random() < 0.2:
            with self._as(seller) as tx:
                tx.write("sale.order", order, {"state": "cancel"})
            return
        with self._as(seller) as tx:
            picking = confirm_sale(tx, order)
        if picking is None:
            return
        yield self._hours.after(self._now(), random.uniform(3, 30))
        with self._as(random.choice(self._staff.warehouse)) as tx:
            deliver(tx, picking)

    def _lead(self, random: Random) -> Story:
        yield self._hours.draw(random, self._end)
        seller = random.choice(self._staff.sales)
        values = {
            "name": f"Interest in {random.choice(PRODUCTS).lower()}",
            "type": "opportunity",
            "stage_id": 1,
            "user_id": seller.uid,
            "partner_id": random.choice(self._customers),
            "expected_revenue": float(random.randrange(5, 80) * 100),
            "probability": 20.0,
            "priority": "1",
            "company_id": actions.COMPANY,
        }
        with self._as(seller) as tx:
            values |= {"date_open": tx.stamp, "date_last_stage_update": tx.stamp}
            lead = tx.create("crm.lead", known(tx, "crm.lead", values))
        yield self._hours.after(self._now(), random.uniform(4, 40))
        won = random.random() < 0.5
        with self._as(seller) as tx:
            closed = {"date_closed": tx.stamp, "date_last_stage_update": tx.stamp}
            tx.write("crm.lead", lead, {"probability": 100.0 if won else 0.0, "stage_id": 3 if won else 1, **closed})
            if not won:
                tx.write("crm.lead", lead, {"active": False})

    def _time(self, random: Random, person: Person) -> Story:
        """Time written at the end of most working days."""
        day = 0
        while True:
            day += 1
            evening = self._hours.after(self._begin, 9 * day - random.uniform(0.1, 1))
            if evening >= self._end:
                return
            yield evening
            if random.random() < 0.15:
                continue  # forgotten
            task = random.randrange(1, len(_PROJECTS) * len(_TASKS) + 1)
            spent = random.choice((2.0, 3.5, 4.0, 7.5, 8.0))
            with self._as(person) as tx:
                row = tx.row("project.task", task)
                values = {
                    "date": tx.at.date().isoformat(),
                    "name": row["name"],
                    "unit_amount": spent,
                    "product_uom_id": 1,
                    "employee_id": person.employee,
                    "user_id": person.uid,
                    "project_id": row["project_id"],
                    "task_id": task,
                    "amount": money(-42.0 * spent),
                    "currency_id": 1,
                    "company_id": actions.COMPANY,
                }
                tx.create("account.analytic.line", known(tx, "account.analytic.line", values))
                total = money((row.get("effective_hours") or 0.0) + spent)
                done = total >= row["allocated_hours"]
                changed: dict[str, Any] = {
                    "effective_hours": total,
                    "remaining_hours": money(row["allocated_hours"] - total),
                }
                if done and row["state"] != "1_done":
                    changed |= {"state": "1_done", "stage_id": 3, "date_end": tx.stamp}
                tx.write("project.task", task, known(tx, "project.task", changed))

    def _cron(self, random: Random, number: int) -> Story:
        """Runs of a scheduled action, which Odoo writes by plain SQL; one of them fails from a day on."""
        record, _, every, unit, fails_from = _CRONS[number]
        interval = every * _UNITS[unit]
        fails = self._begin + (self._end - self._begin) * fails_from if fails_from is not None else self._end
        at = self._begin + interval * random.uniform(0.1, 0.9)
        while at < self._end:
            yield at
            at += interval
            with self._db.begin(self._now(), uid=1) as tx:
                values: dict[str, Any] = {"lastcall": tx.stamp, "nextcall": stamp(at)}
                if self._db.has("ir.cron", "failure_count"):
                    row = tx.row("ir.cron", record)
                    failed = self._now() >= fails
                    values["failure_count"] = row["failure_count"] + 1 if failed else 0
                    values["first_failure_date"] = (row.get("first_failure_date") or tx.stamp) if failed else None
                    if values["failure_count"] >= 5 and tx.at - instant(values["first_failure_date"]) >= _WEEK:
                        values["active"] = False  # Odoo gives up
                tx.raw("ir.cron", record, values)
            if values.get("active") is False:
                return

    def _rights(self, random: Random) -> Story:
        """Somebody of purchasing gets rights in accounting, on the group's form."""
        yield self._hours.after(self._begin, random.uniform(60, 100))
        with self._db.begin(self._now(), uid=2) as tx:
            move_group(tx, 4, random.choice(self._staff.buyers).uid)


_WEEK = timedelta(days=7)
