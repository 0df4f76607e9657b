"""Labels of what the generated company did wrong on purpose. Detectors never see them; tests and the demo count by
them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class LabelKind(StrEnum):
    """The kinds of anomaly, one word each."""

    EXACT_DUPLICATE = "exact_duplicate"
    NORMALISED_DUPLICATE = "normalised_duplicate"
    FUZZY_DUPLICATE = "fuzzy_duplicate"
    ALIAS_DUPLICATE = "alias_duplicate"
    SISTER_DUPLICATE = "sister_duplicate"
    SHARED_ACCOUNT = "shared_account"
    APPROVAL_AGEING = "approval_ageing"
    SLA_PO_APPROVAL = "sla_po_approval"
    SLA_BILL_VALIDATION = "sla_bill_validation"
    SLA_PAYMENT = "sla_payment"
    CUSTOMER_LATE = "customer_late"
    PRICE_MISMATCH = "price_mismatch"
    OVER_BILLED = "over_billed"
    PAID_BEFORE_RECEIPT = "paid_before_receipt"
    ORDER_AFTER_BILL = "order_after_bill"
    ONE_HAND = "one_hand"
    SPLIT_ORDERS = "split_orders"
    SPLIT_OVER_VENDORS = "split_over_vendors"
    BILLED_AFTER_RETURN = "billed_after_return"
    RETURN_NOT_CREDITED = "return_not_credited"
    OTHER_VENDOR = "other_vendor"
    OTHER_TAX = "other_tax"
    BILLED_IN_PARTS = "billed_in_parts"
    EXPENSE_TOO = "expense_too"
    IN_ORDER = "in_order"
    BILL_WITHOUT_ORDER = "bill_without_order"
    BILL_BEFORE_RECEIPT = "bill_before_receipt"
    EXPENSE_REFUSED = "expense_refused"
    ORDER_CANCELLED = "order_cancelled"
    BILL_CANCELLED = "bill_cancelled"
    BILL_RESET = "bill_reset"
    BILL_DELETED = "bill_deleted"
    BLOCKED_VENDOR = "blocked_vendor"
    VENDOR_BANK_CHANGE = "vendor_bank_change"
    SELF_APPROVED = "self_approved"
    SELF_POSTED = "self_posted"
    ENTRY_ONE_HAND = "entry_one_hand"
    WRITE_OFF_ONE_HAND = "write_off_one_hand"
    OWN_VENDOR = "own_vendor"
    POSTED_AFTER_LOCK = "posted_after_lock"
    UNRECONCILED = "unreconciled"
    TRACKING_DISABLED = "tracking_disabled"
    LATE_COMMIT = "late_commit"


@dataclass(frozen=True, slots=True)
class Label:
    """One anomaly.

    `ids` are record ids of `model`; for a duplicate the copy comes first, the original last. `at` (UTC) is when it
    began: the submission for an approval, the arrival for a bill, the due date for a payment. `until` (UTC) is when
    the wait ended or will end as planned, None when it never does. `detail` says the rest in words fit for a test's
    message.
    """

    kind: LabelKind
    model: str
    ids: tuple[int, ...]
    at: datetime
    until: datetime | None = None
    detail: dict[str, str] = field(default_factory=dict)
