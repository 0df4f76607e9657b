"""Exceptions: rule-based deviations of one document, of a closed list of types, each with a life from open to resolved.

Two kinds of rules. *History* rules look at what happened (a rejection, a reset after posting, an approval by whoever
created the document): they are flags raised and lowered by facts. *Content* rules look at the document as it is now.
One document counts once a type: its exception opens again under the same id with a new version.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from msgspec import Struct

from finwatch.domain.calendar import Calendar
from finwatch.domain.documents import (
    BILLED_BEFORE_RECEIPT,
    NO_ORDER,
    OVER_BILLED,
    OVER_RECEIVED,
    STATE,
    Content,
    Fact,
)
from finwatch.domain.policy import Duration, ExceptionSection, Reaction
from finwatch.domain.rules import Rule, book

DETECTOR = "exceptions"


def _rule(
    name: str, reason: str, meaning: str, inputs: tuple[str, ...], example: str, more: tuple[str, ...] = ()
) -> Rule:
    title = name.replace("_", " ").capitalize()
    return Rule(name, DETECTOR, title, meaning, inputs, (f"exceptions.{name}", *more), reason, example)


RULES: Mapping[str, Rule] = MappingProxyType(
    book(
        _rule(
            "rejected_step",
            "A step was rejected and the document has not been submitted again.",
            "Somebody decided against the document. It is over when it is submitted, approved or cancelled.",
            ("transition",),
            "An expense report is rejected; it is submitted again two days later, which resolves it.",
            ("approvals",),
        ),
        _rule(
            "overdue",
            "Its due time has passed and it is not settled.",
            "The service level that names this exception was breached. It is over when the clock stops.",
            ("bill.due_date", "invoice.due_date", "payment_state", "transition"),
            "A bill is due on 10 March and unpaid at the end of that day.",
            ("clocks",),
        ),
        _rule(
            "missing_order",
            "No line bills a purchase order and no origin is given.",
            "A vendor bill with no link to an order, from the policy's amount on; reimbursements are left out.",
            ("bill.lines.purchase_line_id", "bill.origin", "bill.amount_total"),
            "A bill over 2,000 names no order.",
        ),
        _rule(
            "missing_reference",
            "It is posted without the vendor's reference.",
            "A posted vendor bill whose reference is empty: duplicates of it cannot be found by reference.",
            ("bill.reference", "bill.state"),
            "A bill is posted with an empty reference.",
        ),
        _rule(
            "blocked_payment",
            "Its payment is blocked or was rejected.",
            "A posted bill whose payment state is blocked (Odoo 18), or a rejected payment.",
            ("bill.payment_state", "payment.state"),
            "The payment of a posted bill is blocked.",
        ),
        _rule(
            "cancelled_after_posting",
            "It was cancelled after it had been posted.",
            "The state went from posted, by way of draft or not, to cancelled.",
            ("transition.state",),
            "A posted bill is set back to draft and cancelled.",
        ),
        _rule(
            "deleted_after_posting",
            "It was deleted after it had been posted.",
            "A posted document, or one set back to draft after posting, is gone from the source. Odoo keeps no trace "
            "of it and gives its number to another document.",
            ("bill", "transition.state"),
            "A posted bill is set back to draft and deleted.",
        ),
        _rule(
            "reset_to_draft",
            "It was set back to draft after it had been posted.",
            "The state went from posted to draft. It is over when the document is posted again.",
            ("transition.state",),
            "A posted bill is set back to draft.",
        ),
        _rule(
            "approval_by_creator",
            "Whoever created or submitted it also approved it.",
            "The tracking log says who decided; the record says who created it. An approval that was asked for counts "
            "at any amount, one in a single step from the policy's amount on.",
            ("transition.actor", "created_by", "amount_total"),
            "An order waits for approval, and its own creator approves it.",
            ("approvals",),
        ),
        _rule(
            "billed_before_receipt",
            "More of what was ordered is billed than was received.",
            "An order's own counters, for longer than the grace.",
            ("purchase_order.lines.quantity_received", "purchase_order.lines.quantity_billed"),
            "Of ten pieces none has come and all are billed, for longer than the grace.",
        ),
        _rule(
            "over_billed",
            "More is billed than was ordered.",
            "An order's own counters.",
            ("purchase_order.lines.quantity", "purchase_order.lines.quantity_billed"),
            "Ten pieces are ordered, twelve are billed.",
        ),
        _rule(
            "over_received",
            "More was received than was ordered.",
            "An order's own counters.",
            ("purchase_order.lines.quantity", "purchase_order.lines.quantity_received"),
            "Ten pieces are ordered, twelve come in.",
        ),
    )
)
HISTORY_TYPES = frozenset(
    {
        "rejected_step",
        "overdue",
        "cancelled_after_posting",
        "deleted_after_posting",
        "reset_to_draft",
        "approval_by_creator",
    }
)
NO_PROBLEMS: frozenset[str] = frozenset()
_WITH_PROBLEMS = frozenset({"bill", "payment", "purchase_order"})
_POSTED = frozenset({"posted", "in_process", "paid"})
_CANCELLED = frozenset({"cancel", "canceled"})
_BILLS = frozenset({"in_invoice", "in_receipt", "in_refund"})
_ORDERED = frozenset({"purchase", "done"})


class Flag(Struct, array_like=True, gc=False):
    """A history rule that was met: when, by which event, and what ended it (0 while it lasts)."""

    opened: int
    opened_id: str
    resolved: int = 0
    resolved_id: str = ""
    asked: bool = False  # an approval that somebody had asked for: it counts at any amount


class ExceptionState(Struct, array_like=True):
    """One exception of a document."""

    status: str = ""  # open, resolved, retracted; empty: never published
    opened: int = 0
    opened_id: str = ""
    resolved: int = 0
    resolved_id: str = ""
    version: int = 0
    counted: str = ""
    in_cohort: bool = False
    finding_version: int = 0
    waits: int = 0  # not open yet: the end of its grace; 0 when nothing waits
    waits_id: str = ""  # the event that began the wait


def raise_flags(
    flags: dict[str, Flag], fact: Fact, before: str | None, reaction: Reaction, creator: str | None, asked: bool
) -> bool:
    """Let a fact raise and lower flags. Returns True when one moved.

    ``before``: the document's state before it; ``asked``: an approval was asked for and not decided until now.
    """
    changed = False
    ending = reaction.ending
    if ending == "rejected":
        changed = _raise(flags, "rejected_step", fact)
    elif (ending is not None or reaction.opens) and "rejected_step" in flags:
        changed = _lower(flags, "rejected_step", fact)
    if ending == "approved":
        if fact.actor is not None and fact.actor == creator:
            changed = _raise(flags, "approval_by_creator", fact, asked) or changed
        elif "approval_by_creator" in flags and fact.actor is not None:
            changed = _lower(flags, "approval_by_creator", fact) or changed
    if fact.activity == "deleted" and (before in _POSTED or _lasts(flags, "reset_to_draft")):
        changed = _raise(flags, "deleted_after_posting", fact) or changed
    if fact.field == STATE and fact.after is not None:
        after = fact.after
        if before in _POSTED and after == "draft":
            changed = _raise(flags, "reset_to_draft", fact) or changed
        elif after in _CANCELLED and (before in _POSTED or _lasts(flags, "reset_to_draft")):
            changed = _raise(flags, "cancelled_after_posting", fact) or changed
        elif flags and after in _POSTED:
            changed = _lower(flags, "reset_to_draft", fact) or changed
            changed = _lower(flags, "cancelled_after_posting", fact) or changed
            changed = _lower(flags, "deleted_after_posting", fact) or changed  # it was not gone after all
    return changed


def raise_review_flags(flags: dict[str, Flag], fact: Fact, reaction: Reaction, creator: str | None) -> bool:
    """Let a fact about a review raise and lower flags of its document. Returns True when one moved.

    A rejection stands until the document is asked for anew or decided; another reviewer's approval leaves it.
    """
    if reaction.ending == "rejected":
        return _raise(flags, "rejected_step", fact)
    if reaction.opens and "rejected_step" in flags:
        return _lower(flags, "rejected_step", fact)
    if reaction.ending == "approved" and fact.actor is not None and fact.actor == creator:
        return _raise(flags, "approval_by_creator", fact, True)
    return False


def raise_overdue(flags: dict[str, Flag], name: str, due: int, start_id: str, stopped: int, stop_id: str) -> bool:
    """Raise the flag of a breached clock, and lower it when the clock has ``stopped``. Returns True when it moved."""
    flag = flags.get(name)
    if flag is None or (flag.resolved and flag.opened != due):
        flags[name] = Flag(due, start_id, stopped, stop_id)
        return True
    if stopped and flag.resolved == 0:
        flag.resolved, flag.resolved_id = stopped, stop_id
        return True
    return False


def lower_overdue(flags: dict[str, Flag], name: str, at: int, event_id: str) -> bool:
    """Lower the flag of a clock that started anew. Returns True when it moved."""
    flag = flags.get(name)
    if flag is None or flag.resolved:
        return False
    flag.resolved, flag.resolved_id = at, event_id
    return True


def content_problems(entity: str, content: Content) -> frozenset[str]:
    """The content rules that a document meets now."""
    if entity not in _WITH_PROBLEMS:
        return NO_PROBLEMS
    found = []
    if entity == "bill":
        kind = content.document_type
        if kind in _BILLS and content.state == "posted" and not (content.reference and content.reference.strip()):
            found.append("missing_reference")
        if kind == "in_invoice" and content.state in ("draft", "posted") and NO_ORDER in content.marks:
            found.append("missing_order")
        if content.payment_state == "blocked" and content.state == "posted":
            found.append("blocked_payment")
    elif entity == "payment":
        if content.state == "rejected":
            found.append("blocked_payment")
    elif entity == "purchase_order" and content.marks and content.state in _ORDERED:
        if BILLED_BEFORE_RECEIPT in content.marks:
            found.append("billed_before_receipt")
        if OVER_BILLED in content.marks:
            found.append("over_billed")
        if OVER_RECEIVED in content.marks:
            found.append("over_received")
    return frozenset(found) if found else NO_PROBLEMS


def update(
    states: dict[str, ExceptionState],
    sections: Mapping[str, ExceptionSection],
    flags: Mapping[str, Flag],
    problems: frozenset[str],
    amount: Decimal | None,
    at: int,
    event_id: str,
    graces: Mapping[str, Duration],
    calendar: Calendar,
    now: int,
) -> list[str]:
    """Bring the exceptions in line with the flags and the content. Returns the types that changed.

    ``at`` and ``event_id`` are of the event that showed the content, ``now`` the source's time. A flag that is gone (a
    late event showed that it never was) retracts its exception; a flag that was lowered resolves it. A content rule
    with a grace opens at the end of that, unless it has been mended by then.
    """
    changed: list[str] = []
    if not states and not problems and not flags:
        return changed
    for name, section in sections.items():
        state = states.get(name)
        flag = flags.get(name) if name in HISTORY_TYPES else None
        small = section.min_amount is not None and (amount is None or abs(amount) < section.min_amount)
        if small and flag is not None and not flag.asked:
            flag = None  # as if it had never been raised: what comes late ends in the same
        if name in HISTORY_TYPES:
            met = flag is not None and flag.resolved == 0
        else:
            met = name in problems and not small
        if name in graces:
            if met and (state is None or state.status != "open"):
                if state is None:
                    state = states[name] = ExceptionState()
                if not state.waits:
                    state.waits, state.waits_id = graces[name].end(calendar, at), event_id
                if state.waits > now:
                    continue
            elif not met and state is not None and state.waits:
                if state.waits <= at:  # the grace was over before it was mended
                    state.status, state.opened, state.opened_id = "open", state.waits, state.waits_id
                state.waits = 0
        if met:
            opened, opened_id = (at, event_id) if flag is None else (flag.opened, flag.opened_id)
            if state is None:
                state = states[name] = ExceptionState()
            elif state.status == "open" and (flag is None or state.opened == opened):
                continue
            elif state.waits:
                opened, opened_id, state.waits = state.waits, state.waits_id, 0
            state.status, state.opened, state.opened_id = "open", opened, opened_id
            state.resolved, state.resolved_id = 0, ""
            changed.append(name)
        elif flag is not None and flag.resolved:
            if state is None:
                state = states[name] = ExceptionState()
            elif state.status == "resolved" and (state.opened, state.resolved) == (flag.opened, flag.resolved):
                continue
            state.status, state.opened, state.opened_id = "resolved", flag.opened, flag.opened_id
            state.resolved, state.resolved_id = flag.resolved, flag.resolved_id
            changed.append(name)
        elif state is not None and state.status == "open":
            # A content rule's problem never was one when it ended within its grace and that was told late.
            state.status = "retracted" if name in HISTORY_TYPES or at < state.opened else "resolved"
            state.resolved, state.resolved_id = max(at, state.opened), event_id
            changed.append(name)
        elif state is not None and state.status == "resolved" and name in HISTORY_TYPES and flag is None:
            state.status = "retracted"
            changed.append(name)
    return changed


def _lasts(flags: Mapping[str, Flag], name: str) -> bool:
    flag = flags.get(name)
    return flag is not None and flag.resolved == 0


def _raise(flags: dict[str, Flag], name: str, fact: Fact, asked: bool = False) -> bool:
    if _lasts(flags, name):
        return False
    flags[name] = Flag(fact.at, fact.event_id, asked=asked)
    return True


def _lower(flags: dict[str, Flag], name: str, fact: Fact) -> bool:
    flag = flags.get(name)
    if flag is None or flag.resolved:
        return False
    flag.resolved, flag.resolved_id = fact.at, fact.event_id
    return True
