"""The rules on duties and misuse, as they declare themselves."""

from __future__ import annotations

from finwatch.domain.rules import Rule, book

DETECTOR = "duties"

RULES = book(
    Rule(
        "conflicting_duties",
        DETECTOR,
        "One person had two duties that must be apart",
        "On one chain of documents (an order, its receipts, its bills and their payment) one person did two things "
        "that the policy keeps apart. The vendor and the account that is paid to belong to the chain: whoever made or "
        "changed one of them within the policy's days before the payment. Reconciliation is the step from in "
        "payment to paid, when the payment is matched with the bank (Odoo's Accounting app; Community has none).",
        ("purchase_order", "receipt", "bill", "payment", "bank_account", "vendor", "transition.actor"),
        (
            "duties.conflicts",
            "duties.same_person",
            "duties.exempt",
            "duties.min_amount",
            "duties.maintenance_days",
        ),
        "The same person {one} and {other}.",
        "Whoever approved an order also released the payment of its bill.",
    ),
    Rule(
        "order_after_bill",
        DETECTOR,
        "The order came after its bill",
        "The order was made, or approved, after the bill for it had been entered, or after the date on the bill.",
        ("purchase_order.created_at", "bill.invoice_date", "bill.created_at", "transition"),
        (),
        "The order was {what} after the bill {came}.",
        "A bill dated 2 March is entered on 3 March; its order is made on 4 March.",
    ),
    Rule(
        "approved_after_payment",
        DETECTOR,
        "The order was approved after its bill had been paid",
        "The decision on the order came after the payment of a bill for it.",
        ("purchase_order", "bill", "transition"),
        (),
        "The order was approved after the bill had been paid.",
        "A bill is paid on Monday, its order is approved on Tuesday.",
    ),
    Rule(
        "bank_account_changed",
        DETECTOR,
        "The number of a vendor's bank account was changed",
        "An account got another number. The number itself is not kept, only a keyed hash.",
        ("bank_account.account_hash", "transition.field"),
        (),
        "Its number was changed.",
        "A controller changes the number of a vendor's account.",
    ),
    Rule(
        "bank_account_added",
        DETECTOR,
        "A vendor got a further bank account",
        "An account was made for a vendor that had one already.",
        ("bank_account.partner_id", "bank_account.created_at"),
        (),
        "It was added to a vendor that had an account already.",
        "A vendor's account is archived and another one made in its place.",
    ),
    Rule(
        "shared_bank_account",
        DETECTOR,
        "Several vendors with one bank account",
        "The accounts of two vendors or more have one number, as their keyed hashes tell. Records with one tax number "
        "are one vendor unless the policy says otherwise, and so are the vendors that it names as sisters. Not told of "
        "customers only, or of accounts that are archived.",
        (
            "bank_account.account_hash",
            "bank_account.active",
            "bank_account.commercial_partner_id",
            "bank_account.vat",
            "bank_account.supplier_rank",
            "bank_account.customer_rank",
        ),
        ("duties.sister_vendors", "duties.one_vat_one_vendor"),
        "{number} vendors are paid to one account.",
        "An account is made for a vendor with the number that another vendor has had for years.",
    ),
    Rule(
        "bank_change_before_payment",
        DETECTOR,
        "A vendor's bank account was changed shortly before a payment to it",
        "The account that was paid to had been changed, or added, within the policy's days before the payment. Grave "
        "when whoever changed it also released the payment, or entered or approved the bill.",
        ("bank_account", "payment", "bill", "transition.actor"),
        ("duties.bank_change_days", "duties.same_person", "duties.exempt"),
        "The account was {what} {when}.",
        "A treasurer changes an account's number and two days later pays to it.",
    ),
    Rule(
        "payment_to_unbilled_account",
        DETECTOR,
        "A payment went to an account that no bill names",
        "The vendor's bills name accounts, and the payment went to another one.",
        ("bill.bank_account_id", "payment.bank_account_id"),
        (),
        "No bill of the vendor names the account that was paid to.",
        "All bills of a vendor name account 1; a payment goes to account 2.",
    ),
    Rule(
        "posted_after_lock",
        DETECTOR,
        "Posted into a period after it had been locked",
        "A bill, invoice or entry is booked on a day that its company had locked before it was posted, whether the "
        "lock stood then, or had been taken away. It was posted when the source's log says so; else when it was made. "
        "The lock of tax returns holds for bills with tax. A lock exception (Odoo 18 and later) that let it past is "
        "named, and it is grave when whoever posted it had granted that exception.",
        (
            "company.fiscalyear_lock_date",
            "bill.accounting_date",
            "invoice",
            "entry",
            "transition.state",
            "lock_exception",
        ),
        ("duties.locks", "duties.lock_days", "duties.same_person", "duties.exempt"),
        "It was posted into a period that had been locked.",
        "September is locked on 8 October; on 12 October an entry of 29 September is posted.",
    ),
    Rule(
        "bill_of_blocked_vendor",
        DETECTOR,
        "A bill of a blocked vendor",
        "A bill that stands was entered while the vendor's record said that its orders or bills are blocked. It is "
        "over when the block is lifted. Odoo has such blocks up to 18.",
        ("vendor.purchase_warning", "vendor.invoice_warning", "bill.created_at"),
        (),
        "It was entered while the vendor was blocked.",
        "A vendor is blocked on Monday; a bill of it is entered on Tuesday and posted.",
    ),
    Rule(
        "journal_entry_by_one_hand",
        DETECTOR,
        "One person made and posted a journal entry",
        "A journal entry that somebody posted by hand (the source's log tells it; what the source posts by itself is "
        "left out, and so are payments) was posted by whoever made it.",
        ("entry.created_by", "entry.amount_total", "transition.actor"),
        ("duties.journal_min_amount", "duties.same_person", "duties.exempt"),
        "One person made and posted the entry.",
        "A controller makes an entry for accruals and posts it; nobody else looks at it.",
    ),
    Rule(
        "write_off_by_one_hand",
        DETECTOR,
        "One person changed a partner's balance by a journal entry",
        "As above, and a line of the entry names a partner: a write-off, or a correction of what is owed. A difference "
        "that is written off when a payment is registered (Odoo books it as a line of the payment's own entry, which "
        "is made and posted at once) counts where the policy names the accounts that such differences are booked on, "
        "with what was written off; without them a payment's entry is not looked at, since its lines do not tell a "
        "difference from a charge or a tax.",
        ("entry.lines", "entry.partner_id", "entry.created_by", "entry.amount_total", "transition.actor"),
        ("duties.write_off_accounts", "duties.journal_min_amount", "duties.same_person", "duties.exempt"),
        "One person made and posted an entry that changes a partner's balance.",
        "A controller writes a vendor's small balance off, and posts the entry as well.",
    ),
    Rule(
        "split_orders",
        DETECTOR,
        "Orders under the limit that come to more than it together",
        "One person ordered from one payee (one vendor, several records with one tax number, or several vendors that "
        "are paid to one account, sisters apart) twice or more within the policy's days, each order below the limit of "
        "the approval and not far from it, together above it; and such orders are not that person's habit.",
        (
            "purchase_order.amount_total",
            "purchase_order.partner_id",
            "purchase_order.vendor_vat",
            "purchase_order.vendor_account_hashes",
            "created_by",
        ),
        (
            "duties.sister_vendors",
            "duties.split_limit",
            "duties.split_days",
            "duties.split_part_percent",
            "duties.split_usual",
            "duties.baseline_days",
        ),
        "{number} orders to one vendor within {days} days come to {percent} of the limit, each is below it.",
        "Two orders of 4,500 on one day to one vendor, with a limit of 5,000.",
    ),
    Rule(
        "repeated_overrides",
        DETECTOR,
        "One person passed the controls by repeatedly",
        "Within the policy's days one person approved what that person had made, so many times.",
        ("transition.actor", "exception"),
        ("duties.overrides", "duties.override_days"),
        "{number} times within {days} days the person approved what was their own.",
        "A manager confirms three own orders above the limit within a week.",
    ),
)
