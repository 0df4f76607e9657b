"""Makes labelled bills: a background of honest ones, duplicates of eight kinds, and near misses of eight.

Parameters (``Parameters``) say how many; the constants below say what bills look like. The same seed gives the same
bills. Nothing here was chosen from what a detector can find; what cannot be told from the fields alone is in there too.

A *case* is a set of bills that belong together: an original with its copies (a duplicate), or bills that only look so
(a near miss). A bill's ``case`` is -1 when it belongs to none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from random import Random

from benchmarks.duplicates.errors import mistyped, reformatted

DUPLICATE_KINDS = (
    "exact",
    "reformatted",
    "mistyped",
    "no_reference",
    "alias",
    "split",
    "across",
    "after_credit",
)
NEAR_MISS_KINDS = (
    "recurring",
    "restarted_numbering",
    "credit_and_rebill",
    "split_delivery",
    "instalments",
    "same_amount_other_order",
    "sister_vendor",
    "shared_contract",
)
FIRST_DAY = date(2023, 1, 1)
DAYS = 3 * 365
EPOCH = date(1970, 1, 1)
CURRENCY_SHARE = {"EUR": 0.90, "USD": 0.07, "GBP": 0.03}
VAT_RATES = (21, 21, 21, 6, 0)
RECURRING_SHARE = 0.08  # of the background: rent, leases, subscriptions
ORDER_SHARES = (0.0, 0.3, 0.9)  # of a vendor's bills that name an order
NO_REFERENCE = 0.01  # of all bills whose vendor has references
VENDORS_WITHOUT_REFERENCES = 0.03
VENDORS_WITH_PRICE_LIST = 0.15
VENDORS_THAT_RESTART = 0.5
COPY_LAG_DAYS = (0, 75)  # how long after the original a copy is entered
LEGAL_FORMS = ("BV", "NV", "GmbH", "Ltd", "SA", "SARL", "Inc.", "LLC", "AG", "SpA", "S.A.")
# fmt: off
_WORDS = (
    "north", "south", "east", "west", "blue", "green", "red", "silver", "iron", "stone", "river", "hill", "wood",
    "lake", "sea", "star", "sun", "moon", "field", "bridge", "gate", "tower", "paper", "steel", "glass", "office",
    "print", "clean", "fast", "prime", "alpha", "delta", "nova", "terra", "aqua", "vita", "tech", "logi", "trans",
    "euro", "inter", "poly", "uni", "data", "soft", "net", "power", "energy", "food", "fresh", "farm", "garden",
    "build", "plan", "design", "media", "press", "parts", "tools", "motor", "auto", "rail", "air", "ship",
)
# fmt: on


@dataclass(slots=True)
class Vendor:
    """A vendor record. ``group`` is set for sisters, which share a bank account or a name but are different firms."""

    id: str
    name: str
    vat: str | None
    bank: str | None
    currency: str
    write: Callable[[int, int], str] | None
    restarts: bool
    order_share: float
    prices: tuple[int, ...]
    level: float
    rate: int
    number: int = 0
    year: int = 0
    others: int = 0  # how many bills to others between two to us, at most


@dataclass(slots=True)
class Bill:
    """A bill. Amounts in cents, ``date`` and ``created`` in days since 1970, ``reverses`` the key credited."""

    key: str
    company: str
    type: str
    vendor: str
    reference: str | None
    date: int
    created: int
    amount: int
    net: int
    currency: str
    order: str | None
    reverses: str | None = None
    case: int = -1


@dataclass(slots=True)
class Case:
    """Bills that belong together. ``duplicate`` is False for a near miss."""

    kind: str
    duplicate: bool
    bills: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Parameters:
    """How much of what. Shares are of ``bills``; ``near_misses`` come besides those the background holds anyway."""

    bills: int = 200_000
    seed: int = 1
    duplicates: float = 0.005
    near_misses: float = 0.005
    companies: int = 3
    bills_a_vendor: int = 50


@dataclass(slots=True)
class World:
    """All bills in the order in which they were entered, the vendors' records, and the labels."""

    bills: list[Bill]
    vendors: dict[str, Vendor]
    cases: list[Case]


def make(parameters: Parameters) -> World:
    """Make the bills. Deterministic."""
    return _Maker(parameters).world()


class _Maker:
    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.random = Random(parameters.seed)
        self.vendors: dict[str, Vendor] = {}
        self.cases: list[Case] = []
        self.bills: list[Bill] = []
        self.orders = 0
        self.first = (FIRST_DAY - EPOCH).days

    def world(self) -> World:
        p, random = self.parameters, self.random
        copies = round(p.bills * p.duplicates)
        misses = round(p.bills * p.near_misses)
        background = p.bills - round(copies * 1.34) - round(misses * 1.48)
        firms = [self.vendor() for _ in range(max(20, p.bills // p.bills_a_vendor))]
        for vendor, count in zip(firms, _zipf(len(firms), background, random), strict=True):
            self.honest(vendor, count)
        # Originals: any invoice, whatever its vendor; each in one case at most.
        honest = [bill for bill in self.bills if bill.type == "in_invoice" and bill.case < 0]
        picked = iter(random.sample(honest, min(len(honest), 3 * (copies + misses))))
        for n in range(copies):
            self.duplicate(DUPLICATE_KINDS[n % len(DUPLICATE_KINDS)], picked)
        for n in range(misses):
            self.near_miss(NEAR_MISS_KINDS[n % len(NEAR_MISS_KINDS)], picked)
        random.shuffle(self.bills)
        # A credit note is entered after what it credits, also on the same day.
        self.bills.sort(key=lambda bill: (bill.created, bill.reverses is not None))
        return World(self.bills, self.vendors, self.cases)

    def vendor(self, **fields: object) -> Vendor:
        random = self.random
        number = len(self.vendors) + 1
        restarts = random.random() < VENDORS_THAT_RESTART
        prices: tuple[int, ...] = ()
        if random.random() < VENDORS_WITH_PRICE_LIST:
            prices = tuple(random.randrange(500, 200_000, 5) for _ in range(random.randint(2, 30)))
        vendor = Vendor(
            id=str(number),
            name=f"{self.name()} {random.choice(LEGAL_FORMS)}",
            vat=f"BE{random.randrange(10**9, 2 * 10**9)}" if random.random() < 0.9 else None,
            bank=f"{random.getrandbits(64):016x}" if random.random() < 0.85 else None,
            currency=random.choices(list(CURRENCY_SHARE), list(CURRENCY_SHARE.values()))[0],
            write=None if random.random() < VENDORS_WITHOUT_REFERENCES else _writer(random, restarts),
            restarts=restarts,
            order_share=random.choice(ORDER_SHARES),
            prices=prices,
            level=random.gauss(6.3, 1.0),
            rate=random.choice(VAT_RATES),
            number=random.randrange(0, 50_000) if not restarts else 0,
            others=random.choice((0, 2, 20, 200)),
        )
        for name, value in fields.items():
            setattr(vendor, name, value)
        self.vendors[vendor.id] = vendor
        return vendor

    def name(self) -> str:
        return " ".join(word.capitalize() for word in self.random.sample(_WORDS, 2))

    def next_reference(self, vendor: Vendor, day: int) -> str | None:
        """The vendor's next number; it also bills others in between."""
        year = (EPOCH + timedelta(day)).year
        if vendor.restarts and year != vendor.year:
            vendor.number = 0
        vendor.year = year
        vendor.number += 1 + (self.random.randint(0, vendor.others) if vendor.others else 0)
        return vendor.write(year, vendor.number) if vendor.write else None

    def order(self) -> str:
        self.orders += 1
        return f"P{self.orders:06d}"

    def amount(self, vendor: Vendor) -> int:
        random = self.random
        if vendor.prices:
            return random.choice(vendor.prices)
        cents = max(100, round(100 * random.lognormvariate(vendor.level, 1.1)))
        return max(500, round(cents, -3)) if random.random() < 0.2 else cents

    def add(self, bill: Bill, case: int = -1) -> Bill:
        bill.key = str(len(self.bills) + 1)
        bill.case = case
        self.bills.append(bill)
        if case >= 0:
            self.cases[case].bills.append(bill.key)
        return bill

    def bill(self, vendor: Vendor, day: int, reference: str | None, amount: int, **fields: object) -> Bill:
        random = self.random
        order = self.order() if random.random() < vendor.order_share else None
        company = str(random.randint(1, self.parameters.companies))
        net = round(amount * 100 / (100 + vendor.rate))
        created = day + min(40, round(random.expovariate(1 / 5)))
        found = Bill("", company, "in_invoice", vendor.id, reference, day, created, amount, net, vendor.currency, order)
        for name, value in fields.items():
            setattr(found, name, value)
        return found

    # -- the background --

    def honest(self, vendor: Vendor, count: int) -> None:
        random = self.random
        home = str(random.randint(1, self.parameters.companies))
        series = []
        if random.random() < 3 * RECURRING_SHARE:
            series = self.series(vendor, min(36, max(6, count // 3)), home)
        days = sorted(random.randrange(DAYS) + self.first for _ in range(max(0, count - len(series))))
        for day in days:
            reference = None if random.random() < NO_REFERENCE else self.next_reference(vendor, day)
            company = home if random.random() < 0.8 else str(random.randint(1, self.parameters.companies))
            self.add(self.bill(vendor, day, reference, self.amount(vendor), company=company))

    def series(self, vendor: Vendor, count: int, company: str, case: int = -1) -> list[Bill]:
        """Rent or a subscription: one amount, every month or quarter or four weeks; indexed once a year by some."""
        random = self.random
        habit = random.choice(("running", "running", "period", "none", "constant"))
        constant = _structured(random.randrange(10**10))
        step = random.choice((30.4, 30.4, 30.4, 28, 91.3, 7))
        amount, begin = self.amount(vendor), random.randrange(200)
        indexed = random.random() < 0.5
        order = self.order() if random.random() < 0.3 else None
        number = random.randrange(20, 3000)
        found = []
        for n in range(count):
            day = self.first + begin + round(n * step)
            if day >= self.first + DAYS:
                break
            if indexed and n and n % 12 == 0:
                amount = round(amount * 1.03)
            moment = EPOCH + timedelta(day)
            number += random.randint(1, 40)
            reference = {
                "running": f"C{number:05d}",
                "period": f"RENT {moment.year}-{moment.month:02d}-{moment.day:02d}",
                "none": None,
                "constant": constant,
            }[habit]
            bill = self.bill(vendor, day, reference, amount, company=company, order=order)
            found.append(self.add(bill, case))
        return found

    # -- duplicates --

    def copy(self, original: Bill, **fields: object) -> Bill:
        """The same paper entered again, some time later, with the slips of the second entry."""
        random = self.random
        bill = replace(original, reverses=None)
        bill.created = original.created + random.randint(*COPY_LAG_DAYS)
        slip = random.random()
        moment = EPOCH + timedelta(original.date)
        if slip < 0.04 and moment.day <= 12:
            bill.date = (date(moment.year, moment.day, moment.month) - EPOCH).days
        elif slip < 0.06 and (moment.month, moment.day) != (2, 29):
            bill.date = (moment.replace(year=moment.year + random.choice((-1, 1))) - EPOCH).days
        elif slip < 0.14:
            bill.date = original.date + random.randint(1, 5)
        elif slip < 0.17:
            bill.date = bill.created  # the day of entry in place of the bill's
        if random.random() < 0.3:
            bill.order = None
        if random.random() < 0.03:
            bill.amount = bill.net  # entered without the tax
        elif random.random() < 0.03:
            bill.amount += random.choice((-1, 1, 2))  # rounded otherwise
        for name, value in fields.items():
            setattr(bill, name, value)
        return bill

    def take(self, picked: Iterator[Bill], wanted: Callable[[Bill], bool] = lambda bill: True) -> Bill:
        return next(bill for bill in picked if bill.case < 0 and wanted(bill))

    def open(self, kind: str, duplicate: bool, *bills: Bill) -> int:
        self.cases.append(Case(kind, duplicate, [bill.key for bill in bills]))
        for bill in bills:
            bill.case = len(self.cases) - 1
        return len(self.cases) - 1

    def duplicate(self, kind: str, picked: Iterator[Bill]) -> None:
        random = self.random
        referenced = kind not in ("no_reference", "split")
        original = self.take(picked, lambda b: (b.reference is not None or not referenced) and b.amount > 1000)
        case = self.open(kind, True, original)
        reference = original.reference or ""
        written: str | None
        if kind == "exact":
            self.add(self.copy(original), case)
        elif kind == "reformatted":
            self.add(self.copy(original, reference=reformatted(reference, random)), case)
        elif kind == "mistyped":
            self.add(self.copy(original, reference=mistyped(reference, random)), case)
        elif kind == "no_reference":
            self.add(self.copy(original, reference=random.choice((None, None, None, "n/a", "see attachment"))), case)
        elif kind == "alias":
            written = reference if random.random() < 0.8 else reformatted(reference, random)
            self.add(self.copy(original, vendor=self.alias(self.vendors[original.vendor]).id, reference=written), case)
        elif kind == "split":
            self.split(original, case)
        elif kind == "across":
            if random.random() < 0.5:
                others = [str(n + 1) for n in range(self.parameters.companies) if str(n + 1) != original.company]
                self.add(self.copy(original, company=random.choice(others or ["other"])), case)
            else:
                written = reference if random.random() < 0.6 else None
                self.add(self.copy(original, type="expense", order=None, reference=written), case)
        else:
            note = self.credit(original, case)
            again = self.copy(original)
            again.created = note.created + random.randint(0, 40)
            if random.random() < 0.2:
                again.reference = reformatted(reference, random)
            self.add(again, case)

    def alias(self, vendor: Vendor) -> Vendor:
        """A second record of the same firm, by somebody who did not find the first."""
        random = self.random
        bare = vendor.name.rsplit(" ", 1)[0]
        ways = ["name"] + ["vat"] * 2 * (vendor.vat is not None) + ["bank"] * 2 * (vendor.bank is not None)
        way = random.choice(ways)
        name = random.choice((bare, bare.upper(), f"{bare}, {random.choice(LEGAL_FORMS)}", bare.replace(" ", "-")))
        if way != "name" and random.random() < 0.4:
            name = f"{bare.split(' ')[0]} {random.choice(('Group', 'Billing', 'Services'))}"
        return self.vendor(
            name=name,
            vat=vendor.vat if way == "vat" else None,
            bank=vendor.bank if way == "bank" or random.random() < 0.3 else None,
            currency=vendor.currency,
        )

    def split(self, original: Bill, case: int) -> None:
        """Two to four bills that together are the original, within some days of one another."""
        random = self.random
        parts = random.choice((2, 2, 3, 4))
        rest, sizes = original.amount, []
        for n in range(parts - 1):
            size = original.amount // parts if random.random() < 0.4 else random.randint(1, rest - (parts - n - 1))
            sizes.append(size := min(size, rest - (parts - n - 1)))
            rest -= size
        sizes.append(rest)
        way = random.choices(("suffix", "same", "none", "other"), (0.5, 0.25, 0.15, 0.1))[0]
        if original.reference is None:
            way = "none"
        begin = original.created + random.randint(*COPY_LAG_DAYS)
        keeps_order = random.random() < 0.7
        style = random.choice(("-{n}", "/{n}", "{a}", " {a}", "-{a}"))
        for n, size in enumerate(sizes):
            reference = {
                "suffix": f"{original.reference}{style.format(n=n + 1, a='ABCD'[n])}",
                "same": original.reference,
                "none": None,
                "other": f"D{random.randrange(10**5):05d}",
            }[way]
            bill = replace(original, reference=reference, amount=size, net=size, reverses=None)
            bill.created = begin + random.randint(0, 10)
            bill.date = original.date if random.random() < 0.6 else original.date + random.randint(0, 14)
            bill.order = original.order if keeps_order else None
            self.add(bill, case)

    def credit(self, original: Bill, case: int) -> Bill:
        """The credit note of a bill. Some are entered without naming it."""
        random = self.random
        day = original.created + random.randint(1, 30)
        written = random.choice((f"CN{random.randrange(10**6)}", original.reference))
        note = replace(original, type="in_refund", reference=written, date=day, created=day + random.randint(0, 5))
        note.reverses = original.key if random.random() < 0.8 else None
        return self.add(note, case)

    # -- near misses --

    def near_miss(self, kind: str, picked: Iterator[Bill]) -> None:
        random = self.random
        if kind == "recurring":
            vendor = self.vendor()
            self.series(vendor, random.randint(2, 3), "1", self.open(kind, False))
            return
        restarts = kind == "restarted_numbering"  # then the number must not tell the year
        original = self.take(picked, lambda b: _plain(b) and not (restarts and _tells_year(b)))
        vendor = self.vendors[original.vendor]
        case = self.open(kind, False, original)
        shift = random.randint(0, 4)
        if kind == "restarted_numbering":
            # A year later the vendor is at the same number again; some also bill the same amount.
            again = replace(original, date=original.date + 365 + random.randint(-3, 20))
            again.created = again.date + random.randint(0, 10)
            again.order = self.order() if original.order else None
            if random.random() < 0.6:
                again.amount = self.amount(vendor)
            self.add(again, case)
        elif kind == "credit_and_rebill":
            note = self.credit(original, case)
            written = self.rewritten(original, vendor)
            again = replace(original, reference=written, date=note.date + random.randint(0, 3))
            again.created = note.created + random.randint(0, 6)
            if random.random() < 0.6:
                again.amount = round(original.amount * random.uniform(0.7, 1.1))
            self.add(again, case)
        elif kind == "split_delivery":
            # One order, delivered and billed in parts: running numbers, same day or days apart, parts alike or not.
            original.order = original.order or self.order()
            for n in range(random.choice((1, 1, 2))):
                written = _following(original.reference, n + 1)
                again = replace(original, reference=written, date=original.date + shift * (n + 1))
                again.created = original.created + shift * (n + 1)
                if random.random() < 0.5:
                    again.amount = round(original.amount * random.uniform(0.3, 1.5))
                self.add(again, case)
        elif kind == "instalments":
            # Half in advance, then two quarters: the quarters are together what the first bill was.
            original.order = original.order or self.order()
            half = original.amount // 2
            for n, size in enumerate((half, original.amount - half)):
                again = replace(original, reference=_following(original.reference, 3 * (n + 1) + shift), amount=size)
                again.date = original.date + 14 * (n + 1)
                again.created = original.created + 14 * (n + 1)
                self.add(again, case)
        elif kind == "same_amount_other_order":
            original.order = original.order or self.order()
            again = replace(original, reference=_following(original.reference, 1 + shift), order=self.order())
            again.date = original.date + random.choice((0, 0, 1, 3))
            again.created = again.date + random.randint(0, 10)
            self.add(again, case)
        elif kind == "sister_vendor":
            sister = self.sister(vendor)
            again = replace(original, vendor=sister.id, order=None)
            again.created = original.created + random.randint(0, 10)
            if random.random() < 0.5:
                again.amount = self.amount(sister)  # the same number by chance
                again.date = original.date + random.randint(-60, 60)
            else:
                again.reference = sister.write(2024, random.randrange(1, 5000)) if sister.write else None
            self.add(again, case)
        else:
            # One contract, billed to two of our companies in equal parts on one day.
            other = next(str(n + 1) for n in range(9) if str(n + 1) != original.company)
            again = replace(original, reference=_following(original.reference, 1), company=other)
            again.order = None
            again.created = original.created + random.randint(0, 3)
            self.add(again, case)

    def rewritten(self, original: Bill, vendor: Vendor) -> str:
        """A corrected bill has a number of its own, or the old one with a mark."""
        if self.random.random() < 0.3:
            return f"{original.reference}{self.random.choice(('-R', '/2', ' rev', 'bis', '-C'))}"
        return _following(original.reference, self.random.randint(2, 90))

    def sister(self, vendor: Vendor) -> Vendor:
        """Another firm of the same group: a tax number of its own, and the group's account or name."""
        first = vendor.name.rsplit(" ", 1)[0]
        shares_account = self.random.random() < 0.5
        return self.vendor(
            name=f"{first} {self.random.choice(('Belgium', 'Nederland', 'France', 'Logistics'))} NV"
            if not shares_account or self.random.random() < 0.5
            else vendor.name,
            vat=f"BE{self.random.randrange(10**9, 2 * 10**9)}",
            bank=vendor.bank if shares_account else f"{self.random.getrandbits(64):016x}",
            currency=vendor.currency,
            write=vendor.write,
        )


def _plain(bill: Bill) -> bool:
    """Whether the number after this bill's can be told."""
    return bill.reference is not None and not bill.reference.startswith("RENT") and bill.amount > 1000


def _tells_year(bill: Bill) -> bool:
    return f"{(EPOCH + timedelta(bill.date)).year % 100}" in (bill.reference or "")


def _zipf(vendors: int, bills: int, random: Random) -> list[int]:
    """How many bills each vendor sends: few send many."""
    weights = [1 / (rank + 5) ** 0.8 for rank in range(vendors)]
    random.shuffle(weights)
    total = sum(weights)
    counts = [max(1, int(bills * weight / total)) for weight in weights]
    counts[counts.index(max(counts))] += bills - sum(counts)
    return counts


def _writer(random: Random, restarts: bool) -> Callable[[int, int], str]:
    """How a vendor writes its numbers."""
    prefix = "".join(random.choice("ABCDEFGHIJKLMNOPRSTUVWZ") for _ in range(random.choice((1, 2, 3, 3))))
    customer = random.randrange(100, 99999)
    styles: list[Callable[[int, int], str]] = [
        lambda year, n: f"{prefix}-{year}-{n:05d}",
        lambda year, n: f"{prefix}{year % 100:02d}{n:05d}",
        lambda year, n: f"{year}/{n:04d}",
        lambda year, n: f"{n:04d}/{year % 100:02d}",
        lambda year, n: f"{prefix}/{year}/{n}",
        lambda year, n: _structured(customer * 10**5 + n),
        lambda year, n: _creditor(f"{customer:05d}{n:06d}"),
    ]
    if restarts:
        styles += [lambda year, n: f"{n:03d}", lambda year, n: f"{prefix}{n:04d}"]
    else:
        styles += [lambda year, n: f"{n:08d}", lambda year, n: f"{prefix}{n:06d}", lambda year, n: f"{customer}-{n}"]
    return random.choice(styles)


def _structured(number: int) -> str:
    """A Belgian structured payment reference: ten digits and their remainder by 97."""
    digits = f"{number % 10**10:010d}{(number % 10**10) % 97 or 97:02d}"
    return f"+++{digits[:3]}/{digits[3:7]}/{digits[7:]}+++"


def _creditor(digits: str) -> str:
    """An ISO 11649 creditor reference."""
    return f"RF{98 - int(f'{digits}271500') % 97:02d}{digits}"


def _following(reference: str | None, steps: int) -> str:
    """The number some steps on, in the vendor's own way of writing where its last run of digits tells it."""
    text = reference or "1"
    if text.startswith("+++"):
        digits = "".join(c for c in text if c.isdigit())
        return _structured(int(digits[:10]) + steps)
    if text.startswith("RF") and text[2:].isdigit() and len(text) > 10:
        return _creditor(f"{int(text[4:]) + steps:0{len(text) - 4}d}")
    runs: list[tuple[int, int]] = []
    begin = None
    for n, c in enumerate(f"{text} "):
        if c.isdigit():
            begin = n if begin is None else begin
        elif begin is not None:
            runs.append((begin, n))
            begin = None
    if not runs:
        return f"{text}{steps}"
    begin, end = runs[-1] if len(runs) < 2 or runs[-1][1] - runs[-1][0] > 2 else runs[-2]
    return f"{text[:begin]}{int(text[begin:end]) + steps:0{end - begin}d}{text[end:]}"
