"""What the rules on duties that must be apart go by."""

from __future__ import annotations

from decimal import Decimal

from finwatch.domain.policy.handling import Handling
from finwatch.domain.policy.matching import check_handling
from finwatch.domain.policy.section import PolicyError, Section

DUTIES = (
    "request_order",
    "approve_order",
    "receive_goods",
    "enter_bill",
    "approve_bill",
    "release_payment",
    "reconcile_payment",
    "maintain_bank",
    "maintain_vendor",
)

_LOCKS = (
    "fiscalyear_lock_date",
    "hard_lock_date",
    "period_lock_date",
    "purchase_lock_date",
    "sale_lock_date",
    "tax_lock_date",
)


def _handling() -> dict[str, Handling]:
    return {
        "conflicting_duties": Handling(
            "high", "internal_control", "Have a second person confirm the documents; part the rights of the two duties."
        ),
        "order_after_bill": Handling(
            "medium", "procurement", "Ask why the order came after its bill; have the purchase approved."
        ),
        "approved_after_payment": Handling(
            "high", "internal_control", "Have the payment confirmed; find out how it passed the approval."
        ),
        "bank_account_changed": Handling(
            "medium", "treasury", "Confirm the number with the vendor, by a contact that was known before."
        ),
        "bank_account_added": Handling(
            "medium", "treasury", "Confirm the account with the vendor, by a contact that was known before."
        ),
        "shared_bank_account": Handling(
            "high", "treasury", "Find out whose account it is; hold payments to it until the vendors have confirmed it."
        ),
        "bank_change_before_payment": Handling(
            "high", "treasury", "Stop the payment until the vendor has confirmed the account."
        ),
        "payment_to_unbilled_account": Handling(
            "high", "treasury", "Find out where the account comes from; stop the payment if that cannot be told."
        ),
        "posted_after_lock": Handling(
            "high", "controller", "Find out who let it past the lock and why; else reverse it into an open period."
        ),
        "bill_of_blocked_vendor": Handling(
            "high",
            "accounts_payable",
            "Hold the bill until whoever blocked the vendor has released it.",
            service_level="2 business days",
        ),
        "journal_entry_by_one_hand": Handling(
            "medium", "controller", "Have a second person look at the entry and its document."
        ),
        "write_off_by_one_hand": Handling(
            "high", "controller", "Have the write-off confirmed by somebody who may; else reverse it."
        ),
        "split_orders": Handling("medium", "head_of_procurement", "Judge the orders as one purchase."),
        "repeated_overrides": Handling(
            "medium", "internal_control", "Speak with the person; look at the rights and at the approval matrix."
        ),
    }


class DutiesSection(Section, frozen=True):
    """Settings of the rules on duties.

    ``conflicts``: pairs of duties that one person must not have on one chain of documents. Who enters a bill or an
    order and approves it as well is an exception of the document (``approval_by_creator``). ``same_person``: accounts
    that are one hand: a delegate and who is stood in for, a person's second account, an import run for somebody.
    ``exempt``: accounts that are nobody's hand.

    ``maintenance_days``: who made or changed a vendor or its account has that duty for so many days after.
    ``locks``: the lock dates of a company that count, ``lock_days``: how many days up to a lock date are watched.
    ``journal_min_amount``: smaller journal entries may be made and posted by one person, and so much may be written off
    with a payment. ``write_off_accounts``: ledger accounts, by record id, on which differences of payments are booked.

    ``sister_vendors``: vendors, by record id or tax number, that may have one bank account: firms of one group, or
    those that one factor collects for. ``one_vat_one_vendor``: vendor records with one tax number are one vendor.

    ``bank_change_days``: a changed or added account is watched that long. ``split_limit``: from this amount an order
    needs an approval, in its own currency (Odoo's double validation); ``split_days``: orders of one requester to one
    vendor within so many days belong together; ``split_part_percent``: a part is at least so much of the limit;
    ``split_usual``: not reported of a requester who made so
    many such parts, to any vendor, in so many days as a rule, counted over ``baseline_days``. ``overrides``: so many
    within ``override_days`` are repeated.
    """

    conflicts: tuple[tuple[str, str], ...] = (
        ("approve_order", "release_payment"),
        ("request_order", "release_payment"),
        ("receive_goods", "release_payment"),
        ("approve_order", "enter_bill"),
        ("receive_goods", "approve_bill"),
        ("enter_bill", "release_payment"),
        ("approve_bill", "release_payment"),
        ("release_payment", "reconcile_payment"),
        ("maintain_bank", "release_payment"),
        ("maintain_vendor", "release_payment"),
        ("maintain_vendor", "approve_bill"),
    )
    same_person: list[list[str]] = []
    exempt: list[str] = []
    min_amount: Decimal = Decimal(0)
    sister_vendors: list[list[str]] = []
    one_vat_one_vendor: bool = True
    bank_change_days: int = 10
    maintenance_days: int = 30
    journal_min_amount: Decimal = Decimal(0)
    write_off_accounts: list[str] = []
    locks: tuple[str, ...] = _LOCKS
    lock_days: int = 400
    split_limit: Decimal | None = Decimal(5000)
    split_days: int = 3
    split_part_percent: Decimal = Decimal(60)
    split_usual: Decimal = Decimal(2)
    baseline_days: int = 90
    overrides: int = 3
    override_days: int = 30
    handling: dict[str, Handling] = {}

    def check(self, path: str) -> None:
        """Raise PolicyError for duties and rules that there are not, and for spans that hold nothing."""
        for i, pair in enumerate(self.conflicts):
            for duty in pair:
                if duty not in DUTIES:
                    raise PolicyError(
                        f"{path}.conflicts[{i}]", f"no duty is named {duty!r}; known: {', '.join(DUTIES)}"
                    )
            if pair[0] == pair[1]:
                raise PolicyError(f"{path}.conflicts[{i}]", "two different duties")
        for name in (
            "bank_change_days",
            "maintenance_days",
            "lock_days",
            "split_days",
            "baseline_days",
            "override_days",
        ):
            if getattr(self, name) < 1:
                raise PolicyError(f"{path}.{name}", "at least a day")
        for i, name in enumerate(self.locks):
            if name not in _LOCKS:
                raise PolicyError(f"{path}.locks[{i}]", f"no such lock date; known: {', '.join(_LOCKS)}")
        if self.journal_min_amount < 0:
            raise PolicyError(f"{path}.journal_min_amount", "not negative")
        if self.overrides < 2:
            raise PolicyError(f"{path}.overrides", "at least 2: one is not repeated")
        if self.split_limit is not None and self.split_limit <= 0:
            raise PolicyError(f"{path}.split_limit", "more than 0, or null for no limit")
        check_handling(self.handling, DUTIES_HANDLING, path)

    def handled(self) -> dict[str, Handling]:
        """Handling of every rule."""
        return {**DUTIES_HANDLING, **self.handling}

    def conflicting(self, one: str, other: str) -> bool:
        """Whether two duties must not be in one hand."""
        return (one, other) in self.conflicts or (other, one) in self.conflicts

    def one_hand(self, one: str | None, other: str | None) -> bool:
        """Whether two accounts are one person's, and that person's hand counts."""
        if one != other and not self.same_person:
            return False  # what nearly every pair is
        if one is None or other is None or one in self.exempt or other in self.exempt:
            return False
        return one == other or self.hand(one) == self.hand(other)

    def hand(self, person: str) -> str:
        """The person behind an account: the first of those that are one."""
        for group in self.same_person:
            if person in group:
                return group[0]
        return person


DUTIES_HANDLING = _handling()
