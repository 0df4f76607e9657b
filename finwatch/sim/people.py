"""The staff, vendors and customers of the generated company, and the rows every database starts with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from finwatch.sim import actions
from finwatch.sim.captured import add_catalogue_rows
from finwatch.sim.store import Database, Row, stamp
from finwatch.sim.users import User, administrator, capture_account, readonly_accountant


@dataclass(frozen=True, slots=True)
class Person:
    """A member of staff with a user account."""

    uid: int
    partner: int
    employee: int
    lang: str | None


@dataclass
class Vendor:
    """A vendor: partner, bank account, days to pay, and how their references look."""

    partner: int
    account: int
    days: int
    style: int
    next_ref: int

    def reference(self) -> str:
        """The next reference in the vendor's own style."""
        self.next_ref += 1
        n = self.next_ref
        return (f"INV-2026-{n:05d}", f"F/{n:06d}", f"{n:04d}/26", f"RE {n:06d}", f"FACT-{n}")[self.style]


@dataclass(frozen=True)
class Staff:
    """Who works here, by role."""

    buyers: list[Person]
    procurement: list[Person]
    warehouse: list[Person]
    clerks: list[Person]
    controllers: list[Person]
    treasurers: list[Person]
    employees: list[Person]
    managers: list[Person]
    sales: list[Person]
    importer: Person


_FIRST = [
    "Ada",
    "Bram",
    "Cleo",
    "Daan",
    "Els",
    "Finn",
    "Gita",
    "Hugo",
    "Ines",
    "Joost",
    "Kaya",
    "Luuk",
    "Mara",
    "Niek",
    "Olga",
    "Piet",
    "Rosa",
    "Sven",
    "Tess",
    "Umut",
    "Vera",
    "Wim",
    "Yara",
    "Zoë",
]
_LAST = [
    "Bakker",
    "Visser",
    "Smit",
    "Meijer",
    "Mulder",
    "Bos",
    "Vos",
    "Peters",
    "Hendriks",
    "Dekker",
    "Brouwer",
    "Dijkstra",
    "Kok",
    "Jacobs",
    "Dubois",
    "Laurent",
]
_TRADE = [
    "Metaal",
    "Papier",
    "Techniek",
    "Logistiek",
    "Chemie",
    "Bouw",
    "Kantoor",
    "Energie",
    "Verpakking",
    "Software",
    "Druk",
    "Glas",
    "Hout",
    "Textiel",
    "Veiligheid",
]
_ROLES = (
    ("buyers", "buyer", 3),
    ("procurement", "po_manager", 2),
    ("warehouse", "warehouse", 2),
    ("clerks", "ap_clerk", 3),
    ("controllers", "controller", 2),
    ("treasurers", "treasurer", 1),
    ("employees", "employee", 8),
    ("managers", "expense_manager", 2),
    ("sales", "sales", 2),
    ("importer", "importer", 1),
)
PRODUCTS = (
    "Steel profile", "Bearing 6204", "Copy paper A4", "Pallet wrap", "Safety gloves", "LED panel", "Hydraulic hose",
    "Cable tray", "Cleaning agent", "Toner", "Service: maintenance", "Service: transport", "Service: consultancy",
)  # fmt: skip


def iban(random: Random) -> str:
    """A made-up account number in the shape of an IBAN."""
    return f"NL{random.randrange(10, 99)}SIMB{random.randrange(10**9, 10**10)}"


def lay_foundations(db: Database, at: datetime, random: Random) -> tuple[Staff, list[Vendor], list[int]]:
    """Company, accounts, staff, vendors and customers, all created `at`. Returns (staff, vendors, customers)."""
    base: Row = {"create_date": stamp(at), "write_date": stamp(at), "create_uid": 1, "write_uid": 1}

    def put(model: str, record_id: int, **values: object) -> None:
        if model not in db.tables:
            return  # not in this version
        fields = db.tables[model].model.fields
        db.tables[model].put({"id": record_id, **{k: v for k, v in values.items() if k in fields}, **base})

    add_catalogue_rows(db)
    put(
        "res.currency",
        1,
        name="EUR",
        full_name="Euro",
        symbol="€",
        decimal_places=2,
        rounding=0.01,
        active=True,
        position="after",
    )
    put(
        "res.currency",
        2,
        name="USD",
        full_name="US Dollar",
        symbol="$",
        decimal_places=2,
        rounding=0.01,
        active=True,
        position="before",
    )
    put("res.country", 1, name="Netherlands", code="NL")
    put("res.company", actions.COMPANY, name="Voorbeeld Handel BV", partner_id=1, currency_id=1,
        country_id=1, active=True,
        check_account_audit_trail=False)  # fmt: skip
    put("res.company", actions.SISTER, name="Voorbeeld Diensten BV", partner_id=1, currency_id=1,
        country_id=1, active=True,
        check_account_audit_trail=False)  # fmt: skip
    for record_id, code, name, kind in (
        (1, "INV", "Customer Invoices", "sale"),
        (2, "BILL", "Vendor Bills", "purchase"),
        (3, "MISC", "Miscellaneous Operations", "general"),
        (6, "BNK1", "Bank", "bank"),
    ):
        put("account.journal", record_id, name=name, code=code, type=kind, company_id=actions.COMPANY, active=True)
    for record_id, code, name, kind in (
        (actions.RECEIVABLE, "121000", "Account Receivable", "asset_receivable"),
        (actions.PAYABLE, "211000", "Account Payable", "liability_payable"),
        (actions.EXPENSES, "600000", "Expenses", "expense"),
        (actions.INCOME, "400000", "Product Sales", "income"),
        (actions.TAX_PAID, "131000", "Tax Paid", "asset_current"),
        (actions.TAX_DUE, "251000", "Tax Received", "liability_current"),
        (actions.SUSPENSE, "101402", "Bank Suspense Account", "asset_current"),
        (actions.BANK, "101401", "Bank", "asset_cash"),
        (actions.OUTSTANDING_OUT, "101404", "Outstanding Payments", "asset_current"),
        (actions.OUTSTANDING_IN, "101403", "Outstanding Receipts", "asset_current"),
    ):
        put("account.account", record_id, name=name, code=code, code_store=code, account_type=kind,
            company_id=actions.COMPANY, company_ids=[actions.COMPANY])  # fmt: skip
    for tax, rate in actions.TAX_RATES.items():
        put("account.tax", tax, name=f"{rate:.0%}")
    put("uom.category", 1, name="Unit")
    # Up to 18 a factor is how many of the unit make one reference unit, from 19 on it is the inverse.
    dozen = 12.0 if db.major >= 19 else 1 / 12
    put("uom.uom", 1, name="Units", factor=1.0, rounding=0.01, category_id=1, active=True, parent_path="1/",
        relative_factor=1.0)  # fmt: skip
    put("uom.uom", 2, name="Dozens", factor=dozen, rounding=0.01, category_id=1, active=True, parent_path="1/2/",
        relative_factor=12.0, relative_uom_id=1)  # fmt: skip
    for record_id, (day, rate) in enumerate(((at - timedelta(days=30), 1.0873), (at, 1.0941)), start=1):
        put("res.currency.rate", record_id, name=day.date().isoformat(), rate=rate, currency_id=2,
            company_id=actions.COMPANY)  # fmt: skip
    put("account.payment.method", 1, name="Manual Payment")
    put("account.payment.method", 2, name="Manual Payment")
    put("account.payment.method.line", 1, name="Manual Payment (Bank)")
    put("account.payment.method.line", 2, name="Manual Payment (Bank)")
    put("stock.location", actions.VENDOR_LOCATION, name="Partners/Vendors")
    put("stock.location", actions.STOCK_LOCATION, name="WH/Stock")
    put("stock.picking.type", actions.RECEIPTS_TYPE, name="Voorbeeld Handel: Receipts", code="incoming")
    put("stock.picking.type", actions.DELIVERIES_TYPE, name="Voorbeeld Handel: Delivery Orders", code="outgoing")
    for record_id, name in enumerate(PRODUCTS, start=1):
        service = name.startswith("Service")
        kind = "service" if service else "consu" if db.major >= 18 else "product"
        put("product.product", record_id, name=name, type=kind, detailed_type=kind, is_storable=not service, uom_id=1,
            uom_po_id=1, purchase_method="purchase" if service else "receive", invoice_policy="order",
            active=True)  # fmt: skip
    for record_id, days in enumerate((7, 10, 14, 21, 30), start=1):
        put("account.payment.term", record_id, name=f"{days} Days")
    partners = db.tables["res.partner"]

    def partner(name: str, **values: object) -> int:
        record_id = partners.next_id()
        put("res.partner", record_id, name=name, complete_name=name, commercial_partner_id=record_id, active=True,
            lang="en_US", type="contact", supplier_rank=0, customer_rank=0, country_id=1,
            purchase_warn="no-message", invoice_warn="no-message", **values)  # fmt: skip
        return record_id

    partner("Voorbeeld Handel BV", is_company=True)

    def user(uid: int, login: str, name: str, lang: str | None = None) -> Person:
        record = partner(name, email=f"{login}@voorbeeld.example", is_company=False)
        put("res.users", uid, login=login, name=name, active=True, company_id=actions.COMPANY, partner_id=record,
            company_ids=[actions.COMPANY, actions.SISTER], lang=lang or "en_US", tz="Europe/Amsterdam")  # fmt: skip
        put("hr.employee", uid, name=name, user_id=uid)
        return Person(uid, record, uid, lang)

    user(1, "__system__", "OdooBot")
    user(2, "admin", "Mitchell Admin")
    db.users[2] = administrator(2)
    uid = 3
    roles: dict[str, list[Person]] = {}
    names = [f"{first} {last}" for first in _FIRST for last in _LAST]
    random.shuffle(names)
    for role, login, count in _ROLES:
        roles[role] = []
        for number in range(1, count + 1):
            french = role in ("procurement", "controllers") and number == 2
            person = user(uid, f"{login}{number}", names.pop(), "fr_FR" if french else None)
            roles[role].append(person)
            db.users[uid] = User(uid, f"{login}{number}", f"{login}{number}", lang=person.lang or "en_US", role=login)
            uid += 1
    for account in (capture_account(uid), readonly_accountant(uid + 1)):
        user(account.uid, account.login, {"svc_cdc": "CDC service"}.get(account.login, "Auditor"))
        db.users[account.uid] = account
    vendors = []
    for number in range(60):
        name = f"{_LAST[number % len(_LAST)]} {_TRADE[number % len(_TRADE)]} {('BV', 'NV', 'GmbH', 'VOF')[number % 4]}"
        record = partner(name, is_company=True, vat=f"NL{random.randrange(10**8, 10**9)}B01",
                         email=f"ap{number}@vendor.example",
                         city=random.choice(("Utrecht", "Breda", "Zwolle", "Gent")))  # fmt: skip
        number_of_account = iban(random)
        account_id = db.tables["res.partner.bank"].next_id()
        put("res.partner.bank", account_id, partner_id=record, acc_number=number_of_account,
            sanitized_acc_number=number_of_account, acc_holder_name=name, allow_out_payment=True,
            active=True, sequence=10)  # fmt: skip
        vendors.append(
            Vendor(
                record,
                account_id,
                random.choice((7, 7, 10, 10, 14, 14, 21, 30)),
                number % 5,
                random.randrange(100, 9000),
            )
        )
    customers = [partner(f"Klant {number:02d} {_TRADE[number % len(_TRADE)]}", is_company=True) for number in range(25)]
    importer = roles.pop("importer")[0]
    return Staff(importer=importer, **roles), vendors, customers
