"""Exceptions: the closed list of types, and how a policy handles each."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from finwatch.domain.policy.section import Duration, PolicyError, Section, Severity, parse_duration

# The closed list of exception types. A type is born together with the rule that finds it (domain/exceptions.py).
EXCEPTION_TYPES = frozenset(
    {
        "rejected_step",
        "overdue",
        "missing_order",
        "missing_reference",
        "blocked_payment",
        "cancelled_after_posting",
        "deleted_after_posting",
        "reset_to_draft",
        "approval_by_creator",
        "billed_before_receipt",
        "over_billed",
        "over_received",
    }
)
# Of these, the ones that look at the document as it is, not at what happened to it.
CONTENT_TYPES = frozenset(
    {"missing_order", "missing_reference", "blocked_payment", "billed_before_receipt", "over_billed", "over_received"}
)

# Types that show when documents are put side by side, with the entity that they count for. They go by the handling of
# their rule (sections `matching` and `duties`), not by a section of their own here.
RELATED_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "price_above_order": "bill",
        "price_below_order": "bill",
        "over_billed": "bill",
        "over_received": "receipt",
        "billed_before_receipt": "bill",
        "paid_before_receipt": "bill",
        "billed_after_return": "bill",
        "return_not_credited": "receipt",
        "unordered_line": "bill",
        "billed_cancelled_order": "bill",
        "vendor_mismatch": "bill",
        "tax_mismatch": "bill",
        "not_comparable": "bill",
        "bill_of_blocked_vendor": "bill",
    }
)


class ExceptionSection(Section, frozen=True):
    """How an exception type is handled, and for which entities it is looked for.

    ``min_amount``: smaller documents have none (``min_amount_of``: another amount for an entity). It is compared with
    the document's own currency; an approval that was asked for counts at any amount. ``grace``: what the document shows
    counts only when it lasts longer than that; for types that look at the document, not at its history.
    ``service_level``: the time in which an exception is to be resolved.
    """

    owner: str
    severity: Severity
    next_action: str
    entities: list[str]
    finding: bool = False
    min_amount: Decimal | None = None
    min_amount_of: dict[str, Decimal] = {}
    grace: str | None = None
    service_level: str = "5 business days"


def compile_exception(name: str, section: ExceptionSection, path: str) -> Duration | None:
    """Check a type's section and return its grace. Raises PolicyError."""
    if name not in EXCEPTION_TYPES:
        raise PolicyError(path, f"no such type; known: {', '.join(sorted(EXCEPTION_TYPES))}")
    for entity in section.min_amount_of:
        if entity not in section.entities:
            raise PolicyError(f"{path}.min_amount_of", f"{entity!r} is not among its entities")
    parse_duration(section.service_level, f"{path}.service_level")
    if section.grace is None:
        return None
    if name not in CONTENT_TYPES:
        known = ", ".join(sorted(CONTENT_TYPES))
        raise PolicyError(f"{path}.grace", f"only what a document shows can have a grace: {known}")
    return parse_duration(section.grace, f"{path}.grace")
