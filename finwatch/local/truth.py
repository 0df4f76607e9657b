"""What the generated company did wrong on purpose, held against what was found. For the demo and for tests.

A *signal* is what a detector says of a set of documents: ``duplicates``, ``stuck.<approval>``, ``sla.<clock>``
(breached), ``warning.<clock>``, ``exception.<type>.<entity>``, ``matching.<rule>``, ``duties.<rule>``. A label
becomes a ``Made``: the documents that a signal should name, and whether the policy counts it and its time has come.
No detector sees any of this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from finwatch.domain.calendar import DAY, day_number, instant
from finwatch.domain.policy import RELATED_TYPES, Duration, Policy
from finwatch.sim.labels import Label, LabelKind
from finwatch.sim.store import Database
from finwatch.sim.store import instant as stored

Keys = frozenset[str]

NOT_DUE = "not due yet"
UNSEEN = "between two looks of the capture"
NO_BLOCKS = "vendors cannot be blocked in this version"
UNDETECTED: Mapping[LabelKind, str] = {
    LabelKind.UNRECONCILED: "bank lines left unreconciled",
}
"""Done wrong on purpose, and no detector looks for it yet."""

NEAR_MISSES: Mapping[LabelKind, str] = {LabelKind.IN_ORDER: "documents that only look like a deviation"}
"""Made to look like something: nothing may be said of it."""

HARMLESS: Mapping[LabelKind, str] = {
    LabelKind.ORDER_CANCELLED: "orders cancelled before anything was received",
    LabelKind.BILL_CANCELLED: "drafts cancelled",
    LabelKind.TRACKING_DISABLED: "bills posted without a trace in the log",
    LabelKind.LATE_COMMIT: "changes committed late",
}
"""Made to test the capture: nothing that a finding should tell."""


DUPLICATES = (
    LabelKind.EXACT_DUPLICATE,
    LabelKind.NORMALISED_DUPLICATE,
    LabelKind.FUZZY_DUPLICATE,
    LabelKind.ALIAS_DUPLICATE,
    LabelKind.SISTER_DUPLICATE,
)
"""Bills that were entered twice."""


class Made(NamedTuple):
    """One deviation: its documents, and why it need not be found (empty: it must be).

    Found although its time has not quite come is right; found although the policy does not count it is not.
    """

    documents: Keys
    excuse: str = ""


@dataclass(frozen=True)
class Kind:
    """A kind of deviation, in words; found when every one of ``signals`` says it. ``also`` may say it besides."""

    words: str
    signals: tuple[str, ...]
    made: Callable[[Truth], Iterator[Made]]
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Compared:
    """A kind of deviation: how often it was made (and had to be found), found, missed, and found where none was made.

    ``excused`` counts what need not be found, by reason.
    """

    words: str
    made: int
    found: int
    missed: tuple[Keys, ...]
    wrong: tuple[Keys, ...]
    excused: Mapping[str, int]


class Truth:
    """The labels of a company and the policy they are judged by.

    ``began`` (aware): when it was first looked at; ``now``: how far its time has come; ``lateness`` (seconds): how far
    deadlines may be behind that.
    """

    def __init__(
        self,
        labels: Sequence[Label],
        db: Database,
        policy: Policy,
        source: str,
        began: datetime,
        now: datetime,
        lateness: float,
    ) -> None:
        self.began = began
        self.labels = labels
        self.policy = policy
        self._db = db
        self._source = source
        self._now = instant(now) - int(lateness * 1_000_000)
        self._calendar = policy.calendar_of(None)

    def of(self, *kinds: LabelKind) -> Iterator[Label]:
        """Labels of some kinds."""
        return (label for label in self.labels if label.kind in kinds)

    def keys(self, entity: str, *ids: int) -> Keys:
        """Document keys of records."""
        return frozenset(f"{self._source}:{entity}:{one}" for one in ids)

    def ordered_by(self, bill: int) -> set[int]:
        """Orders that the lines of a bill bill."""
        found = set()
        for line in self._db.children("account.move", bill, "invoice_line_ids"):
            order_line = self.row("account.move.line", line).get("purchase_line_id")
            if order_line:
                found.add(int(self.row("purchase.order.line", order_line)["order_id"]))
        return found

    def rows(self, model: str) -> Iterable[tuple[int, Mapping[str, Any]]]:
        """All rows of a model, as they are now."""
        return self._db.tables[model].rows.items()

    def row(self, model: str, record_id: int) -> Mapping[str, Any]:
        """A row as it is now; empty when it was deleted."""
        return self._db.tables[model].rows.get(record_id, {})

    def waiting(self, entity: str, label: Label, limit: Duration | None) -> Iterator[Made]:
        """A wait that lasts longer than ``limit``, if it does."""
        assert limit is not None
        due = limit.end(self._calendar, instant(label.at))
        if label.until is None or due < instant(label.until):
            yield Made(self.keys(entity, label.ids[0]), "" if due <= self._now else NOT_DUE)

    def noticed(self, at: datetime) -> str:
        """Why a deletion need not be noticed yet; empty when it must."""
        return NOT_DUE if instant(at) + DAY > self._now else ""

    def clock(self, name: str) -> Duration | None:
        """Target of a clock."""
        return self.policy.clocks[name].target

    def stuck(self, entity: str) -> Duration | None:
        """How long an approval may wait."""
        return self.policy.approvals[entity].stuck_after

    def unpaid(self, entity: str, kind: LabelKind) -> Iterator[Made]:
        """Bills or invoices that were not paid by their due date."""
        for label in self.of(kind):
            due_date = date.fromisoformat(str(self.row("account.move", label.ids[0])["invoice_date_due"]))
            due = self._calendar.end_of_day(day_number(due_date))
            yield Made(self.keys(entity, label.ids[0]), "" if due <= self._now else NOT_DUE)

    def counted(self, name: str, entity: str, model: str, record_id: int) -> str:
        """Why the policy does not count an exception of this document; empty when it does."""
        section = self.policy.exceptions_of(entity)[name]
        amount = self.row(model, record_id).get("amount_total", 0.0)
        small = section.min_amount is not None and amount < section.min_amount
        return f"under {section.min_amount}" if small else ""


def _duplicates(truth: Truth) -> Iterator[Made]:
    for label in truth.of(*DUPLICATES):
        yield Made(truth.keys("bill", *label.ids))
    for label in truth.of(LabelKind.EXPENSE_TOO):
        yield Made(truth.keys("bill", *label.ids) | truth.keys("expense_report", int(label.detail["report"])))


def _with_order(*kinds: LabelKind) -> Callable[[Truth], Iterator[Made]]:
    """A bill and the order that its label names."""
    return lambda truth: (
        Made(truth.keys("bill", label.ids[0]) | truth.keys("purchase_order", int(label.detail["order"])))
        for label in truth.of(*kinds)
    )


def _over_billed(truth: Truth) -> Iterator[Made]:
    """More billed than was ordered: by a copy of a bill, by a bill that asks for more, or by the last of several."""
    kinds = LabelKind.EXACT_DUPLICATE, LabelKind.NORMALISED_DUPLICATE, LabelKind.OVER_BILLED, LabelKind.BILLED_IN_PARTS
    for label in truth.of(*kinds):
        for order in truth.ordered_by(label.ids[0]):
            yield Made(truth.keys("bill", label.ids[0]) | truth.keys("purchase_order", order))


def _paid_after_change(truth: Truth) -> Iterator[Made]:
    """Payments to an account that was changed within the policy's days before."""
    days = timedelta(days=truth.policy.document.duties.bank_change_days)
    for label in truth.of(LabelKind.VENDOR_BANK_CHANGE):
        for record_id, row in truth.rows("account.payment"):
            if row["partner_bank_id"] == label.ids[0] and label.at <= stored(row["create_date"]) <= label.at + days:
                yield Made(truth.keys("payment", record_id) | truth.keys("bank_account", label.ids[0]))


def _two_duties(truth: Truth) -> Iterator[Made]:
    """Bills approved and paid by one hand; payments by whoever keeps the account or the vendor that is paid."""
    for label in truth.of(LabelKind.ONE_HAND):
        yield Made(truth.keys("bill", label.ids[0]))
    days = timedelta(days=truth.policy.document.duties.maintenance_days)
    for label in truth.of(LabelKind.VENDOR_BANK_CHANGE, LabelKind.OWN_VENDOR):
        account = label.ids[0] if label.kind is LabelKind.VENDOR_BANK_CHANGE else int(label.detail["account"])
        if label.detail.get("same_person") == "false":
            continue
        for record_id, row in truth.rows("account.payment"):
            if row["partner_bank_id"] != account or not label.at <= stored(row["create_date"]) <= label.at + days:
                continue
            yield Made(truth.keys("payment", record_id) | truth.keys("bank_account", account))
            if label.kind is LabelKind.OWN_VENDOR:
                yield Made(truth.keys("payment", record_id) | truth.keys("vendor", label.ids[0]))


def _of_blocked(truth: Truth) -> Iterator[Made]:
    """Bills of a vendor that were entered since it was blocked, and stand."""
    since: dict[int, datetime] = {}
    for label in truth.of(LabelKind.BLOCKED_VENDOR):
        vendor = int(label.detail["vendor"])
        since[vendor] = min(since.get(vendor, label.at), label.at)
    for record_id, row in truth.rows("account.move"):
        vendor = int(row.get("commercial_partner_id") or 0)
        if vendor not in since or row["move_type"] not in ("in_invoice", "in_receipt"):
            continue
        if stored(row["create_date"]) < since[vendor] or row["state"] == "cancel":
            continue
        excuse = UNSEEN if row["state"] == "draft" else ""
        if "purchase_warn" not in truth.row("res.partner", vendor):
            excuse = NO_BLOCKS
        yield Made(truth.keys("bill", record_id) | truth.keys("vendor", vendor), excuse)


def _overrides(truth: Truth) -> Iterator[Made]:
    """Persons who approved what was their own again and again: all that the last window holds."""
    section = truth.policy.document.duties
    by_person: dict[str, list[tuple[datetime, str]]] = {}
    for kind, entity, model in (
        (LabelKind.SELF_APPROVED, "purchase_order", "purchase.order"),
        (LabelKind.SELF_POSTED, "bill", "account.move"),
    ):
        for label in truth.of(kind):
            if not truth.counted("approval_by_creator", entity, model, label.ids[0]):
                [key] = truth.keys(entity, label.ids[0])
                by_person.setdefault(label.detail["person"], []).append((label.at, key))
    for found in by_person.values():
        since = max(found)[0] - timedelta(days=section.override_days)
        window = [key for at, key in found if at >= since]
        if len(window) >= section.overrides:
            yield Made(frozenset(window))


def _orders_waiting(truth: Truth, limit: Duration | None) -> Iterator[Made]:
    for label in truth.of(LabelKind.SLA_PO_APPROVAL, LabelKind.APPROVAL_AGEING):
        if label.model == "purchase.order":
            yield from truth.waiting("purchase_order", label, limit)


def _bills_waiting(truth: Truth, limit: Duration | None) -> Iterator[Made]:
    for label in truth.of(LabelKind.SLA_BILL_VALIDATION):
        yield from truth.waiting("bill", label, limit)


def _reports_waiting(truth: Truth, limit: Duration | None) -> Iterator[Made]:
    for label in truth.of(LabelKind.APPROVAL_AGEING):
        if label.model in ("hr.expense.sheet", "hr.expense"):
            yield from truth.waiting("expense_report", label, limit)


def _unordered(truth: Truth) -> Iterator[Made]:
    for label in truth.of(LabelKind.BILL_WITHOUT_ORDER):
        excuse = truth.counted("missing_order", "bill", "account.move", label.ids[0])
        if label.detail["reason"] == "expense":
            excuse = "reimbursements"
        yield Made(truth.keys("bill", label.ids[0]), excuse)


def _before_receipt(truth: Truth) -> Iterator[Made]:
    for label in truth.of(LabelKind.BILL_BEFORE_RECEIPT):
        for made in truth.waiting("bill", label, truth.policy.receipt_grace):
            order = truth.keys("purchase_order", int(label.detail["order"]))
            yield Made(made.documents | order, made.excuse)


def _uncredited(truth: Truth) -> Iterator[Made]:
    for label in truth.of(LabelKind.RETURN_NOT_CREDITED):
        for made in truth.waiting("receipt", label, truth.policy.refund_grace):
            order = truth.keys("purchase_order", int(label.detail["order"]))
            yield Made(made.documents | order, made.excuse)


def _reset(truth: Truth) -> Iterator[Made]:
    """Bills set back to draft; one that is deleted two minutes later may be seen or not."""
    for label in truth.of(LabelKind.BILL_RESET):
        yield Made(truth.keys("bill", label.ids[0]))
    for label in truth.of(LabelKind.BILL_DELETED):
        yield Made(truth.keys("bill", label.ids[0]), UNSEEN)


def _deleted(truth: Truth) -> Iterator[Made]:
    """Bills that were posted and are gone: noticed by the capture's next round, within a day.

    What was gone before the capture began was never seen: Odoo keeps no trace of it.
    """
    for label in truth.of(LabelKind.BILL_DELETED):
        yield Made(truth.keys("bill", label.ids[0]), UNSEEN if label.at < truth.began else truth.noticed(label.at))


def _simple(kind: LabelKind, entity: str) -> Callable[[Truth], Iterator[Made]]:
    return lambda truth: (Made(truth.keys(entity, label.ids[0])) for label in truth.of(kind))


def _together(entity: str, *kinds: LabelKind) -> Callable[[Truth], Iterator[Made]]:
    """All documents of a label in one finding."""
    return lambda truth: (Made(truth.keys(entity, *label.ids)) for label in truth.of(*kinds))


def _by_creator(kind: LabelKind, entity: str, model: str) -> Callable[[Truth], Iterator[Made]]:
    return lambda truth: (
        Made(truth.keys(entity, label.ids[0]), truth.counted("approval_by_creator", entity, model, label.ids[0]))
        for label in truth.of(kind)
    )


KINDS = (
    Kind("bills entered twice", ("duplicates",), _duplicates),
    Kind("bills for more than was ordered", ("matching.over_billed",), _over_billed),
    Kind(
        "bills at another price than ordered",
        ("matching.price_above_order",),
        _with_order(LabelKind.PRICE_MISMATCH),
        ("matching.price_below_order",),
    ),
    Kind(
        "bills paid before the goods came",
        ("matching.paid_before_receipt",),
        _with_order(LabelKind.PAID_BEFORE_RECEIPT),
    ),
    Kind(
        "bills for goods that had gone back",
        ("matching.billed_after_return",),
        _with_order(LabelKind.BILLED_AFTER_RETURN),
    ),
    Kind("goods that went back and were not credited", ("matching.return_not_credited",), _uncredited),
    Kind("bills of another vendor than ordered", ("matching.vendor_mismatch",), _with_order(LabelKind.OTHER_VENDOR)),
    Kind("bills with other taxes than ordered", ("matching.tax_mismatch",), _with_order(LabelKind.OTHER_TAX)),
    Kind(
        "orders made or approved after their bill",
        ("duties.order_after_bill",),
        _with_order(LabelKind.ORDER_AFTER_BILL),
    ),
    Kind("two duties in one hand", ("duties.conflicting_duties",), _two_duties),
    Kind("bills of a blocked vendor", ("duties.bill_of_blocked_vendor",), _of_blocked),
    Kind(
        "journal entries made and posted by one hand",
        ("duties.journal_entry_by_one_hand",),
        _simple(LabelKind.ENTRY_ONE_HAND, "entry"),
    ),
    Kind(
        "entries posted after the lock",
        ("duties.posted_after_lock",),
        _simple(LabelKind.POSTED_AFTER_LOCK, "entry"),
    ),
    Kind(
        "write-offs made and posted by one hand",
        ("duties.write_off_by_one_hand",),
        _simple(LabelKind.WRITE_OFF_ONE_HAND, "entry"),
    ),
    Kind(
        "bank accounts changed",
        ("duties.bank_account_changed",),
        _simple(LabelKind.VENDOR_BANK_CHANGE, "bank_account"),
    ),
    Kind(
        "bank accounts of several vendors",
        ("duties.shared_bank_account",),
        _together("bank_account", LabelKind.SHARED_ACCOUNT),
    ),
    Kind("payments soon after a change of the account", ("duties.bank_change_before_payment",), _paid_after_change),
    Kind(
        "orders split below the limit",
        ("duties.split_orders",),
        _together("purchase_order", LabelKind.SPLIT_ORDERS, LabelKind.SPLIT_OVER_VENDORS),
    ),
    Kind("persons who approve their own again and again", ("duties.repeated_overrides",), _overrides),
    Kind(
        "orders approved late",
        ("sla.order_approval",),
        lambda truth: _orders_waiting(truth, truth.clock("order_approval")),
        ("warning.order_approval",),
    ),
    Kind(
        "order approvals stuck",
        ("stuck.order_approval",),
        lambda truth: _orders_waiting(truth, truth.stuck("purchase_order")),
    ),
    Kind(
        "bills validated late",
        ("sla.bill_validation",),
        lambda truth: _bills_waiting(truth, truth.clock("bill_validation")),
        ("warning.bill_validation",),
    ),
    Kind(
        "bill validations stuck", ("stuck.bill_validation",), lambda truth: _bills_waiting(truth, truth.stuck("bill"))
    ),
    Kind(
        "expense reports decided late",
        ("sla.expense_approval",),
        lambda truth: _reports_waiting(truth, truth.clock("expense_approval")),
        ("warning.expense_approval",),
    ),
    Kind(
        "expense approvals stuck",
        ("stuck.expense_approval",),
        lambda truth: _reports_waiting(truth, truth.stuck("expense_report")),
    ),
    Kind(
        "vendor bills paid late or never",
        ("sla.vendor_payment", "exception.overdue.bill"),
        lambda truth: truth.unpaid("bill", LabelKind.SLA_PAYMENT),
    ),
    Kind(
        "customers paying late",
        ("sla.customer_payment", "exception.overdue.invoice"),
        lambda truth: truth.unpaid("invoice", LabelKind.CUSTOMER_LATE),
    ),
    Kind("bills without an order", ("exception.missing_order.bill",), _unordered),
    Kind("goods billed before receipt", ("matching.billed_before_receipt",), _before_receipt),
    Kind(
        "expense reports refused",
        ("exception.rejected_step.expense_report",),
        _simple(LabelKind.EXPENSE_REFUSED, "expense_report"),
    ),
    Kind("bills reset to draft", ("exception.reset_to_draft.bill",), _reset),
    Kind(
        "bills deleted after posting",
        ("exception.deleted_after_posting.bill",),
        _deleted,
    ),
    Kind(
        "orders approved by their buyer",
        ("exception.approval_by_creator.purchase_order",),
        _by_creator(LabelKind.SELF_APPROVED, "purchase_order", "purchase.order"),
    ),
    Kind(
        "bills posted by their clerk",
        ("exception.approval_by_creator.bill",),
        _by_creator(LabelKind.SELF_POSTED, "bill", "account.move"),
    ),
)
"""Every kind of deviation that a detector looks for, in the words of the demo."""


def finding_signal(detector: str, rule: str, level: str | None) -> str | None:
    """Signal of a finding; None for those of exceptions, which are told by the exception itself."""
    if detector == "exceptions":
        return None
    if detector == "approvals":
        return rule.replace("_", ".", 1)
    if detector == "sla":
        return f"{'warning' if (level or '').startswith('warning') else 'sla'}.{rule}"
    if detector in ("matching", "duties"):
        return f"{detector}.{rule}"
    return detector


def exception_signal(kind: str, entity: str) -> str | None:
    """Signal of an exception; None for those that show when documents are put side by side: their finding tells."""
    return None if RELATED_TYPES.get(kind) == entity else f"exception.{kind}.{entity}"


def compare(truth: Truth, said: Iterable[tuple[str, Keys]]) -> list[Compared]:
    """Labels against signals (those that were not retracted). What no kind explains comes last, in words of its own."""
    by_signal: dict[str, set[Keys]] = {}
    for signal, documents in said:
        by_signal.setdefault(signal, set()).add(documents)
    rows = []
    for kind in KINDS:
        told = [by_signal.pop(signal, set()) for signal in kind.signals]
        beside = [by_signal.pop(signal, set()) for signal in kind.also]
        made = dict(kind.made(truth))
        # What the policy does not count may not be found; what is not due yet may be.
        allowed = {documents for documents, excuse in made.items() if excuse in ("", NOT_DUE, UNSEEN)}
        required = {documents for documents, excuse in made.items() if not excuse}
        found = required.intersection(*told)
        rows.append(
            Compared(
                kind.words,
                len(required),
                len(found),
                tuple(sorted(required - found, key=sorted)),
                tuple(sorted(set().union(*told, *beside) - allowed, key=sorted)),
                Counter(excuse for excuse in made.values() if excuse),
            )
        )
    rows += [
        Compared(signal, 0, 0, (), tuple(sorted(documents, key=sorted)), {})
        for signal, documents in sorted(by_signal.items())
    ]
    return rows
