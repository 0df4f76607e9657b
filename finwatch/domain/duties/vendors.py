"""A vendor's bank accounts, and the payments to them: what was changed, by whom, and how soon it was paid to.

Instants in epoch microseconds UTC. No account number is ever known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from msgspec import Struct

from finwatch.domain.calendar import DAY
from finwatch.domain.duties.words import WORDS
from finwatch.domain.policy.duties import DutiesSection
from finwatch.domain.verdicts import Said, Verdict, forget_said

KEPT_DAYS = 120
"""Bills and payments older than this, counted from the vendor's latest, are no longer looked at."""


LOOKED_DAYS = 5
"""Old ones are looked for when so many days have passed."""


class BankChange(Struct, array_like=True, gc=False):
    """Another number on an account. ``tracked``: told by the source's log, with who did it; else only seen."""

    at: int
    person: str | None
    event_id: str
    tracked: bool = True


class Account(Struct, array_like=True):
    """A bank account. ``made``: when it was created, by ``person``."""

    version: int
    live: bool
    made: int
    person: str | None
    event_id: str
    changes: list[BankChange]


class Payment(Struct, array_like=True):
    """A payment to the vendor. ``account``: document key of the bank account."""

    version: int
    live: bool
    account: str | None
    at: int
    person: str | None
    amount: Decimal | None
    currency: str | None
    company_id: str | None
    bills: list[str]
    event_id: str
    company_amount: Decimal | None = None


class Billing(Struct, array_like=True):
    """What a bill names as the account to pay to, and who entered and approved it."""

    version: int
    live: bool
    account: str | None
    at: int
    hands: dict[str, str]  # duty -> person
    amount: Decimal | None = None
    currency: str | None = None
    company_id: str | None = None
    event_id: str = ""
    company_amount: Decimal | None = None


class Block(Struct, array_like=True, gc=False):
    """A time in which the vendor was blocked; ``until`` 0: it is."""

    since: int
    event_id: str
    until: int = 0
    until_id: str = ""


class Record(Struct, array_like=True):
    """The vendor's own record: who made it (``made``: when), who changed it, when it was blocked."""

    version: int
    live: bool
    made: int
    person: str | None
    event_id: str
    changes: list[BankChange]
    blocks: list[Block]


class Vendor(Struct, array_like=True):
    """What is known of a vendor, and what was said."""

    accounts: dict[str, Account] = {}
    payments: dict[str, Payment] = {}
    bills: dict[str, Billing] = {}
    said: dict[str, Said] = {}
    named: list[str] = []  # accounts that bills named which are no longer looked at

    newest: int = 0  # the latest bill or payment
    looked: int = 0  # what it was when old ones were last dropped
    records: dict[str, Record] = {}
    forgotten: dict[str, Said] = {}  # of documents that are no longer looked at: see forget_said

    def names(self, account: str, but: str = "") -> bool:
        """Whether a bill names an account, ``but`` one bill."""
        return account in self.named or any(
            bill.account == account and bill.live and key != but for key, bill in self.bills.items()
        )

    def names_any(self) -> bool:
        """Whether a bill names any account."""
        return bool(self.named) or any(bill.live and bill.account is not None for bill in self.bills.values())


def forget(vendor: Vendor) -> None:
    """Drop what is too old to matter, so that a row stays flat; what was said of it stands."""
    newest = vendor.newest
    if newest - vendor.looked < LOOKED_DAYS * DAY:
        return
    vendor.looked = newest
    oldest = newest - KEPT_DAYS * DAY
    gone = {key for key, one in vendor.payments.items() if one.at < oldest}
    gone |= {key for key, one in vendor.bills.items() if one.at < oldest}
    for key in gone:
        vendor.payments.pop(key, None)
        bill = vendor.bills.pop(key, None)
        if bill is not None and bill.live and bill.account is not None and bill.account not in vendor.named:
            vendor.named.append(bill.account)
    forget_said(vendor.said, vendor.forgotten, gone)


def touched(
    vendor: Vendor, entity: str, key: str, before: Account | Payment | Billing | Record | None
) -> set[str] | None:
    """Documents of which a new fact can change what is said; None: all of the vendor's.

    ``before``: what was known of the fact's document. An account is all there is to say of a vendor's payments; a bill
    that names another account than before may be what a payment lacked.
    """
    if entity == "payment":
        return {key}
    if entity in ("bank_account", "vendor"):
        return None
    bill = vendor.bills.get(key)
    named_before = before.account if isinstance(before, Billing) and before.live else None
    named = bill.account if bill is not None and bill.live else None
    if named is not None and not vendor.names(named, key):
        return None
    if named_before is not None and named_before != named and not vendor.names(named_before, key):
        return None
    return {key, *(payment for payment, one in vendor.payments.items() if key in one.bills)}


def judge(vendor: Vendor, settings: DutiesSection, only: set[str] | None = None) -> Iterator[Verdict]:
    """Everything that is said of a vendor's accounts and payments; ``only``: of these documents."""
    if only is None:
        yield from _accounts(vendor)
    yield from _blocked(vendor, only)
    for key in vendor.payments if only is None else sorted(only):
        payment = vendor.payments.get(key)
        if payment is None or not payment.live:
            continue
        yield from _maintained(vendor, key, payment, settings)
        if payment.account is None:
            continue
        yield from _soon_after_change(vendor, key, payment, settings)
        if not vendor.names(payment.account) and vendor.names_any():
            yield Verdict(
                "payment_to_unbilled_account",
                (key,),
                [key, payment.account],
                "payment",
                payment.company_id,
                payment.at,
                payment.at,
                ["No bill of the vendor names the account that was paid to."],
                [payment.event_id],
                payment.amount,
                payment.currency,
                company_amount=payment.company_amount,
            )


def _blocked(vendor: Vendor, only: set[str] | None) -> Iterator[Verdict]:
    """Bills that were entered while the vendor was blocked."""
    blocks = [(name, block) for name, record in vendor.records.items() for block in record.blocks]
    if not blocks:
        return
    for key in vendor.bills if only is None else sorted(only & vendor.bills.keys()):
        bill = vendor.bills[key]
        name, block = next(
            ((name, b) for name, b in blocks if b.since <= bill.at and not 0 < b.until <= bill.at), ("", None)
        )
        if block is None or not bill.live:
            continue
        over = block.until != 0
        yield Verdict(
            "bill_of_blocked_vendor",
            (key,),
            [key, name],
            "bill",
            bill.company_id,
            bill.at,
            block.until if over else bill.at,
            ["It was entered while the vendor was blocked."],
            [block.event_id, bill.event_id, *([block.until_id] if over else [])],
            bill.amount,
            bill.currency,
            over,
            company_amount=bill.company_amount,
            entered=bill.at,
        )


def _maintained(vendor: Vendor, key: str, payment: Payment, settings: DutiesSection) -> Iterator[Verdict]:
    """Whoever made or changed the vendor or the account paid to, and had a duty on the payment or its bills too."""
    if settings.min_amount > 0 and (payment.amount is None or abs(payment.amount) < settings.min_amount):
        return
    since = payment.at - settings.maintenance_days * DAY
    account = vendor.accounts.get(payment.account) if payment.account is not None else None
    masters: list[tuple[str, str, BankChange]] = []
    if account is not None and payment.account is not None:
        masters += [("maintain_bank", payment.account, one) for one in _kept(account, since, payment.at)]
    for name, record in vendor.records.items():
        masters += [("maintain_vendor", name, one) for one in _kept(record, since, payment.at)]
    if not masters:
        return
    others = [("release_payment", key, payment.person, payment.event_id)]
    for name in payment.bills:
        bill = vendor.bills.get(name)
        if bill is not None and bill.live:
            others += [(duty, name, person, bill.event_id) for duty, person in sorted(bill.hands.items())]
    for duty, document, change in sorted(masters, key=lambda one: (one[2].at, one[1], one[2].event_id), reverse=True):
        for other, about, person, event_id in others:
            if person is None or not settings.conflicting(duty, other) or not settings.one_hand(change.person, person):
                continue
            documents = [key, document] if about == key else [key, about, document]
            yield Verdict(
                "conflicting_duties",
                (*documents, duty, other),  # the latest change stands for those before it
                documents,
                "payment",
                payment.company_id,
                payment.at,
                payment.at,
                [f"The same person {WORDS[duty]} and {WORDS[other]}."],
                list(dict.fromkeys((change.event_id, event_id, payment.event_id))),
                payment.amount,
                payment.currency,
                company_amount=payment.company_amount,
            )


def _kept(of: Account | Record, since: int, until: int) -> list[BankChange]:
    """Who made it, and who changed it, within a time."""
    if not of.live:
        return []
    found = [one for one in of.changes if since <= one.at <= until and one.person is not None]
    if since <= of.made <= until and of.person is not None:
        found.insert(0, BankChange(of.made, of.person, of.event_id))
    return found


def _accounts(vendor: Vendor) -> Iterator[Verdict]:
    for key, account in vendor.accounts.items():
        for change in account.changes:
            yield Verdict(
                "bank_account_changed",
                (key, change.event_id),
                [key],
                "bank_account",
                None,
                change.at,
                change.at,
                ["Its number was changed."],
                [change.event_id],
            )
        if any(other.made < account.made for other in vendor.accounts.values()):
            yield Verdict(
                "bank_account_added",
                (key,),
                [key],
                "bank_account",
                None,
                account.made,
                account.made,
                ["It was added to a vendor that had an account already."],
                [account.event_id],
            )


def _soon_after_change(vendor: Vendor, key: str, payment: Payment, settings: DutiesSection) -> Iterator[Verdict]:
    assert payment.account is not None
    account = vendor.accounts.get(payment.account)
    if account is None:
        return
    changes = [("changed", change) for change in account.changes] if account.changes else []
    if len(vendor.accounts) > 1 and any(other.made < account.made for other in vendor.accounts.values()):
        changes.append(("added", BankChange(account.made, account.person, account.event_id)))
    window = settings.bank_change_days * DAY
    soon = [(what, c) for what, c in changes if c.at <= payment.at <= c.at + window]
    if not soon:
        return
    what, change = max(soon, key=lambda one: (one[1].at, one[1].event_id))
    duties = _hands(vendor, payment, change.person, settings)
    days = (payment.at - change.at) // DAY
    ago = "on the day of the payment" if days == 0 else f"{days} day{'s' if days > 1 else ''} before the payment"
    reasons = [f"The account was {what} {ago}."]
    reasons += [f"Whoever did it also {duty}." for duty in duties]
    yield Verdict(
        "bank_change_before_payment",
        (key,),
        [key, payment.account],
        "payment",
        payment.company_id,
        payment.at,
        payment.at,
        reasons,
        [change.event_id, payment.event_id],
        payment.amount,
        payment.currency,
        severity="critical" if duties else None,
        company_amount=payment.company_amount,
    )


def _hands(vendor: Vendor, payment: Payment, person: str | None, settings: DutiesSection) -> list[str]:
    """What whoever changed the account also did."""
    if person is None or person in settings.exempt:
        return []
    hand = settings.hand(person)
    found = []
    if payment.person is not None and settings.hand(payment.person) == hand:
        found.append("released the payment")
    bills = [vendor.bills[key] for key in payment.bills if key in vendor.bills]
    for duty, words in (("enter_bill", "entered the bill"), ("approve_bill", "approved the bill")):
        if any(duty in bill.hands and settings.hand(bill.hands[duty]) == hand for bill in bills):
            found.append(words)
    return found
