"""A vendor's bank accounts, and the payments to them: what was changed, by whom, and how soon it was paid to.

Instants in epoch microseconds UTC. No account number is ever known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from msgspec import Struct

from finwatch.domain.calendar import DAY
from finwatch.domain.policy.duties import DutiesSection
from finwatch.domain.verdicts import Said, Verdict, forget_said

KEPT_DAYS = 400
"""Bills and payments older than this, counted from the vendor's latest, are no longer looked at."""


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


class Billing(Struct, array_like=True):
    """What a bill names as the account to pay to, and who entered and approved it."""

    version: int
    live: bool
    account: str | None
    at: int
    hands: dict[str, str]  # duty -> person


class Vendor(Struct, array_like=True):
    """What is known of a vendor, and what was said."""

    accounts: dict[str, Account] = {}
    payments: dict[str, Payment] = {}
    bills: dict[str, Billing] = {}
    said: dict[str, Said] = {}


def forget(vendor: Vendor) -> None:
    """Drop what is too old to matter, so that a row stays flat; what was said of it stands."""
    payments = max((one.at for one in vendor.payments.values()), default=0)
    newest = max((one.at for one in vendor.bills.values()), default=payments)
    newest = max(newest, payments)
    oldest = newest - KEPT_DAYS * DAY
    gone = {key for key, one in vendor.payments.items() if one.at < oldest}
    gone |= {key for key, one in vendor.bills.items() if one.at < oldest}
    for key in gone:
        vendor.payments.pop(key, None)
        vendor.bills.pop(key, None)
    forget_said(vendor.said, gone)


def judge(vendor: Vendor, settings: DutiesSection) -> Iterator[Verdict]:
    """Everything that is said of a vendor's accounts and payments."""
    yield from _accounts(vendor)
    named = {bill.account for bill in vendor.bills.values() if bill.live and bill.account is not None}
    for key, payment in vendor.payments.items():
        if not payment.live or payment.account is None:
            continue
        yield from _soon_after_change(vendor, key, payment, settings)
        if named and payment.account not in named:
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
            )


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
    changes = [("changed", change) for change in account.changes]
    if any(other.made < account.made for other in vendor.accounts.values()):
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
