"""What the documents stage reads of each event: projections of the Avro records on the entity topics.

Field names are the schemas'. The codec decodes only these columns. Logical types arrive as: time stamps ``int``
microseconds since the epoch UTC, dates ``int`` days since the epoch, amounts ``Decimal``, quantities of lines ``int``
millionths.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from msgspec import Struct


class BillLine(Struct, frozen=True, gc=False):
    """What is read of a bill's line; quantities and amounts in millionths, as they are stored."""

    purchase_line_id: str | None = None
    purchase_order_key: str | None = None
    product_id: str | None = None
    account_id: str | None = None
    unit: str | None = None
    quantity: int | None = None
    price_unit: int | None = None
    subtotal: int | None = None
    total: int | None = None
    tax_ids: list[str] = []


class OrderLine(Struct, frozen=True, gc=False):
    """What is read of an order's line; quantities and amounts in millionths, as they are stored."""

    quantity: int | None = None
    quantity_received: int | None = None
    quantity_billed: int | None = None
    line_id: str = ""
    product_id: str | None = None
    unit: str | None = None
    price_unit: int | None = None
    subtotal: int | None = None
    quantity_base: int | None = None
    total: int | None = None
    tax_ids: list[str] = []
    category_id: str | None = None
    category: str | None = None


class ReceiptLine(Struct, frozen=True, gc=False):
    """What is read of a receipt's line; quantities in millionths, as they are stored, negative for what goes back."""

    purchase_line_id: str | None = None
    unit: str | None = None
    quantity_done: int | None = None
    quantity_expected: int | None = None
    quantity_base: int | None = None
    to_refund: bool | None = None


class ExpenseLine(Struct, frozen=True, gc=False):
    """What is read of an expense of a report; ``total`` in millionths, as it is stored."""

    line_id: str = ""
    label: str | None = None
    total: int | None = None
    date: int | None = None
    vendor_id: str | None = None
    vendor_name: str | None = None


class Event(Struct, frozen=True, gc=False):
    """The header columns of every event.

    The decoder makes events by position, which takes a fifth of the time that keywords take: so fields with defaults
    come last, and a field of a kind of event has one even where its column is never null.
    """

    event_id: str
    document_key: str
    source: str
    entity: str
    record_id: str
    op: str
    timeline: str
    occurred_at: int
    observed_at: int
    company_id: str | None = None
    actor: str | None = None


class _Move(Event, frozen=True):
    """A journal document (Odoo's account.move)."""

    move_type: str | None = None
    state: str | None = None
    payment_state: str | None = None
    reference: str | None = None
    partner_id: str | None = None
    commercial_partner_id: str | None = None
    invoice_date: int | None = None
    due_date: int | None = None
    currency: str | None = None
    amount_total: Decimal | None = None
    origin: str | None = None
    responsible: str | None = None
    reversed_key: str | None = None
    created_by: str | None = None
    created_at: int | None = None
    amount_total_company: Decimal | None = None
    accounting_date: int | None = None


class Bill(_Move, frozen=True):
    """A vendor bill, credit note or receipt."""

    expense_report_key: str | None = None
    amount_untaxed: Decimal | None = None
    bank_account_id: str | None = None
    partner_name: str | None = None
    vendor_name: str | None = None
    vendor_vat: str | None = None
    vendor_address_hash: str | None = None
    bank_account_hash: str | None = None
    lines: list[BillLine] = []


class Invoice(_Move, frozen=True):
    """A customer invoice or credit note."""


class EntryLine(Struct, frozen=True, gc=False):
    """What is read of a journal entry's line; ``amount_currency`` in millionths, as it is stored, debit positive."""

    partner_id: str | None = None
    account_id: str | None = None
    amount_currency: int | None = None


class Entry(_Move, frozen=True):
    """A journal entry."""

    lines: list[EntryLine] = []


class Company(Event, frozen=True):
    """A company's lock dates: up to which day nothing may be posted."""

    fiscalyear_lock_date: int | None = None
    hard_lock_date: int | None = None
    period_lock_date: int | None = None
    purchase_lock_date: int | None = None
    sale_lock_date: int | None = None
    tax_lock_date: int | None = None


class LockException(Event, frozen=True):
    """Leave to post behind a lock date of a company (Odoo 18 and later). Days since the epoch."""

    lock: str | None = None
    lock_date: int | None = None
    company_lock_date: int | None = None
    person: str | None = None
    ends_at: int | None = None
    active: bool | None = None
    created_by: str | None = None
    created_at: int | None = None


class Vendor(Event, frozen=True):
    """A partner: a vendor or a customer."""

    commercial_partner_id: str | None = None
    vat: str | None = None
    supplier_rank: int | None = None
    customer_rank: int | None = None
    payment_term_id: str | None = None
    purchase_warning: str | None = None
    invoice_warning: str | None = None
    created_by: str | None = None
    created_at: int | None = None


class PurchaseOrder(Event, frozen=True):
    """A purchase order."""

    state: str | None = None
    partner_id: str | None = None
    commercial_partner_id: str | None = None
    partner_reference: str | None = None
    currency: str | None = None
    amount_total: Decimal | None = None
    receipt_status: str | None = None
    created_by: str | None = None
    created_at: int | None = None
    amount_total_company: Decimal | None = None
    vendor_vat: str | None = None
    currency_rate: float | None = None
    name: str | None = None
    lines: list[OrderLine] = []
    vendor_account_hashes: list[str] = []


class Receipt(Event, frozen=True):
    """A goods receipt."""

    state: str | None = None
    partner_id: str | None = None
    responsible: str | None = None
    created_by: str | None = None
    created_at: int | None = None
    done_at: int | None = None
    purchase_order_key: str | None = None
    lines: list[ReceiptLine] = []


class Payment(Event, frozen=True):
    """A payment."""

    state: str | None = None
    payment_type: str | None = None
    partner_id: str | None = None
    currency: str | None = None
    amount: Decimal | None = None
    amount_total_company: Decimal | None = None
    date: int | None = None
    created_by: str | None = None
    created_at: int | None = None
    bank_account_id: str | None = None
    bill_keys: list[str] = []


class BankAccount(Event, frozen=True):
    """A partner's bank account; never its number."""

    partner_id: str | None = None
    account_hash: str | None = None
    created_by: str | None = None
    created_at: int | None = None
    active: bool | None = None
    commercial_partner_id: str | None = None
    vat: str | None = None
    supplier_rank: int | None = None
    customer_rank: int | None = None


class ExpenseReport(Event, frozen=True):
    """An expense report."""

    state: str | None = None
    payment_state: str | None = None
    employee_id: str | None = None
    responsible: str | None = None
    currency: str | None = None
    amount_total: Decimal | None = None
    created_by: str | None = None
    created_at: int | None = None
    lines: list[ExpenseLine] = []


class Transition(Event, frozen=True):
    """A decision or a change of status: who, when, from what, to what."""

    activity: str = "changed"
    label: str = ""
    field: str | None = None
    old_value: str | None = None
    new_value: str | None = None
    step: str | None = None
    role: str | None = None
    decision: str | None = None
    responsible: str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    review: str | None = None


class ApprovalRequest(Event, frozen=True):
    """A request of Odoo's Approvals app. Its approvers' answers are reviews: see ``Transition.review``."""

    state: str | None = None
    category: str | None = None
    partner_id: str | None = None
    requester: str | None = None
    amount: Decimal | None = None
    created_by: str | None = None
    created_at: int | None = None


class PolicyChange(Struct, frozen=True, gc=False):
    """What both stages read of ``finwatch.PolicyChange``."""

    change_id: str
    policy: str
    label: str
    content_hash: str
    effective_at: int
    published_at: int
    content: str


class Feedback(Struct, frozen=True, gc=False):
    """What a person thinks of a finding (``verdict``: dismissed or reopened), under the document entered last.

    It moves no source's time: somebody looks at an old log today.
    """

    event_id: str
    document_key: str
    source: str
    entity: str
    record_id: str
    occurred_at: int
    finding_id: str
    detector: str
    verdict: str
    reason: str | None = None
    actor: str | None = None


class RelationFact(Struct, frozen=True, gc=False, kw_only=True):
    """What the relations stage reads of ``finwatch.Relation``."""

    relation: str
    relation_key: str
    version: int
    op: str
    document_key: str
    source: str
    entity: str
    company_id: str | None = None
    timeline: str
    occurred_at: int
    observed_at: int
    event_id: str
    reference: str | None = None
    partner_id: str | None = None
    document_type: str | None = None
    state: str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    date: int | None = None
    attributes: str | None = None


DOCUMENT_PROJECTIONS: Mapping[str, type[Struct]] = MappingProxyType(
    {
        "finwatch.Bill": Bill,
        "finwatch.Invoice": Invoice,
        "finwatch.Entry": Entry,
        "finwatch.PurchaseOrder": PurchaseOrder,
        "finwatch.Receipt": Receipt,
        "finwatch.Vendor": Vendor,
        "finwatch.Company": Company,
        "finwatch.LockException": LockException,
        "finwatch.Payment": Payment,
        "finwatch.BankAccount": BankAccount,
        "finwatch.ExpenseReport": ExpenseReport,
        "finwatch.ApprovalRequest": ApprovalRequest,
        "finwatch.Transition": Transition,
        "finwatch.PolicyChange": PolicyChange,
        "finwatch.Feedback": Feedback,
    }
)
RELATION_PROJECTIONS: Mapping[str, type[Struct]] = MappingProxyType(
    {"finwatch.Relation": RelationFact, "finwatch.PolicyChange": PolicyChange}
)
