"""A simulated Odoo with as many posted bills as wanted, whose rows are made when they are read.

A server of a million bills with their lines and their log would need several GB; here a row is a function of its id,
so the simulated server's own code (domains, rights, wire format, HTTP) answers over tables that take no room. Each
bill has four journal items (two products, tax, payment term) and one message of its posting with two tracked values.
The other tables are those of a company that has just been set up.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec

from finwatch.sim import SimulatedOdoo, actions
from finwatch.sim.fields import Model
from finwatch.sim.people import lay_foundations
from finwatch.sim.store import Database, ParentKey, Row, Table, stamp

BEGIN = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
ITEMS = 4
VALUES = 2
KEPT = 20_000


class _Rows(Mapping[int, Row]):
    """Rows 1 to `count`, made on demand; the last few thousand are kept."""

    def __init__(self, count: int, make: Callable[[int], Row]) -> None:
        self._count, self._make = count, make
        self._kept: dict[int, Row] = {}

    def __getitem__(self, record_id: int) -> Row:
        row = self._kept.get(record_id)
        if row is None:
            if not 0 < record_id <= self._count:
                raise KeyError(record_id)
            if len(self._kept) >= KEPT:
                self._kept.clear()
            row = self._kept[record_id] = self._make(record_id)
        return row

    def get(self, record_id: int, default: Any = None) -> Any:
        """As a dict's."""
        try:
            return self[record_id]
        except KeyError:
            return default

    def __contains__(self, record_id: object) -> bool:
        return isinstance(record_id, int) and 0 < record_id <= self._count

    def __iter__(self) -> Iterator[int]:
        return iter(range(1, self._count + 1))

    def __len__(self) -> int:
        return self._count


class _Children:
    """Child ids by parent: `each` of them, in order of the parents."""

    def __init__(self, parents: int, each: int, model: str = "") -> None:
        self._parents, self._each, self._model = parents, each, model

    def get(self, parent: ParentKey, default: Any = ()) -> Any:
        """Ids of a parent's children."""
        if isinstance(parent, tuple):
            model, parent = parent
            if model != self._model:
                return default
        if not 0 < parent <= self._parents:
            return default
        return range((parent - 1) * self._each + 1, parent * self._each + 1)


class _MadeTable(Table):
    """A table of made rows; nothing can be written to it."""

    def __init__(self, model: Model, count: int, make: Callable[[int], Row], links: Mapping[str, _Children]) -> None:
        super().__init__(model)
        self.rows = _Rows(count, make)  # type: ignore[assignment]
        self.ids = range(1, count + 1)  # type: ignore[assignment]
        self.last_id = count
        self.links = {**dict.fromkeys(self.links, _Children(0, 1)), **links}  # type: ignore[dict-item]
        newest = make(count) if count else {}
        self.newest = {name: str(newest.get(name) or "") for name in ("create_date", "write_date")}


def database(bills: int) -> Database:
    """A database named `sim` with `bills` posted bills, Odoo 18; the capture account is `svc_cdc`/`svc_cdc`."""
    db = Database("sim", "18.0")
    staff, vendors, _ = lay_foundations(db, BEGIN - timedelta(days=30), Random(1))
    clerks = [person.uid for person in staff.clerks]
    posted, named = (
        next(one.id for name, one in db.catalogue.tracked["account.move"].items() if name == wanted)
        for wanted in ("state", "name")
    )

    def when(bill: int) -> str:
        return stamp(BEGIN + timedelta(seconds=bill * 20, microseconds=bill * 7919 % 1_000_000))

    def untaxed(bill: int) -> float:
        return round(bill * 37 % 500_000 / 100 + 12.5, 2)

    def move(bill: int) -> Row:
        vendor, at, net = vendors[bill % len(vendors)], when(bill), untaxed(bill)
        tax = round(net * 0.21, 2)
        return {
            "id": bill, "name": f"BILL/2026/{bill:07d}", "move_type": "in_invoice", "state": "posted",
            "payment_state": "not_paid", "ref": f"INV-{bill * 7919 % 1_000_003:06d}", "partner_id": vendor.partner,
            "commercial_partner_id": vendor.partner, "invoice_partner_display_name": f"Vendor {vendor.partner}",
            "invoice_date": at[:10], "invoice_date_due": at[:10], "date": at[:10], "currency_id": 1,
            "amount_untaxed": net, "amount_tax": tax, "amount_total": round(net + tax, 2),
            "amount_residual": round(net + tax, 2), "amount_total_signed": -round(net + tax, 2), "journal_id": 2,
            "invoice_origin": f"P{bill:07d}", "invoice_user_id": clerks[bill % len(clerks)],
            "partner_bank_id": vendor.account, "posted_before": True, "checked": True, "company_id": actions.COMPANY,
            "create_uid": clerks[bill % len(clerks)], "create_date": at, "write_uid": clerks[bill % len(clerks)],
            "write_date": at,
        }  # fmt: skip

    def item(number: int) -> Row:
        bill, place = (number - 1) // ITEMS + 1, (number - 1) % ITEMS
        net, at = untaxed(bill), when(bill)
        tax = round(net * 0.21, 2)
        kind, debit, credit = (
            ("product", round(net / 2, 2), 0.0),
            ("product", round(net - round(net / 2, 2), 2), 0.0),
            ("tax", tax, 0.0),
            ("payment_term", 0.0, round(net + tax, 2)),
        )[place]
        product = number % 7 + 1 if kind == "product" else None
        return {
            "id": number, "move_id": bill, "display_type": kind, "product_id": product,
            "name": f"Item {number % 997}, delivered as ordered", "quantity": float(number % 9 + 1),
            "account_id": actions.EXPENSES if kind == "product" else actions.TAX_PAID, "product_uom_id": 1,
            "price_unit": debit, "price_subtotal": debit, "price_total": round(debit * 1.21, 2), "debit": debit,
            "credit": credit, "partner_id": vendors[bill % len(vendors)].partner, "create_date": at,
            "write_date": at, "create_uid": 3, "write_uid": 3,
        }  # fmt: skip

    def message(bill: int) -> Row:
        at, clerk = when(bill), clerks[bill % len(clerks)]
        return {
            "id": bill, "model": "account.move", "res_id": bill, "date": at[:19] + ".000000", "create_date": at,
            "write_date": at, "create_uid": clerk, "write_uid": clerk, "author_id": vendors[0].partner,
            "message_type": "notification", "body": "",
        }  # fmt: skip

    def value(number: int) -> Row:
        bill, second = (number - 1) // VALUES + 1, (number - 1) % VALUES
        at, clerk = when(bill), clerks[bill % len(clerks)]
        return {
            "id": number, "field_id": named if second else posted, "mail_message_id": bill,
            "old_value_char": "/" if second else "Draft",
            "new_value_char": f"BILL/2026/{bill:07d}" if second else "Posted",
            "create_uid": clerk, "create_date": at, "write_uid": clerk, "write_date": at,
        }  # fmt: skip

    def made(model: str, count: int, make: Callable[[int], Row], links: Mapping[str, _Children]) -> None:
        db.tables[model] = _MadeTable(db.catalogue.models[model], count, make, links)

    made("account.move", bills, move, {})
    made("account.move.line", bills * ITEMS, item, {"move_id": _Children(bills, ITEMS)})
    made("mail.message", bills, message, {"res_id": _Children(bills, 1, "account.move")})
    made("mail.tracking.value", bills * VALUES, value, {"mail_message_id": _Children(bills, VALUES)})
    now = BEGIN + timedelta(seconds=bills * 20 + 3600)
    db.clock = lambda: now
    return db


class CountedOdoo(SimulatedOdoo):
    """Counts what it answers: requests, rows by model, seconds, and how long it waited for the next request while none
    was under way (sending an answer counts as waiting). `POST /benchmark/served` tells.
    """

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self._answered = 0
        self._seconds = self._waited = 0.0
        self._under_way = 0
        self._free_since: float | None = None
        self._sent: Counter[str] = Counter()
        self._counting = threading.Lock()

    def answer(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, str, bytes]:
        """See SimulatedOdoo."""
        if path == "/benchmark/served":
            with self._counting:
                self._free_since = None  # who asks begins or ends a measurement
                told = {
                    "requests": self._answered, "seconds": self._seconds, "waited": self._waited,
                    "rows": dict(self._sent),
                }  # fmt: skip
            return 200, "application/json; charset=utf-8", msgspec.json.encode({"result": told})
        began = time.perf_counter()
        with self._counting:
            if not self._under_way and self._free_since is not None:
                self._waited += began - self._free_since
            self._under_way += 1
        answered = super().answer(path, body, headers)
        ended = time.perf_counter()
        with self._counting:
            self._under_way -= 1
            self._free_since = ended
            self._answered += 1
            self._seconds += ended - began
        return answered

    def _route(self, path: str, params: dict[str, Any]) -> Any:
        result = super()._route(path, params)
        arguments = params.get("args") or []
        if len(arguments) > 4 and arguments[4] == "search_read":
            with self._counting:
                self._sent[arguments[3]] += len(result)
        return result


def serve(bills: int) -> None:
    """Serve in this process: prints the url, serves until standard input ends."""
    done = threading.Event()

    def until_closed() -> None:
        sys.stdin.read()
        done.set()

    threading.Thread(target=until_closed, daemon=True).start()
    with CountedOdoo(database(bills)) as odoo:
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)  # rows that are made and thrown away: so that the server is no brake
        print(odoo.url, flush=True)
        done.wait()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
