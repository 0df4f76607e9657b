"""What the duplicate detector goes by."""

from __future__ import annotations

from decimal import Decimal

from finwatch.domain.policy.section import PolicyError, Section, Severity

_ENTITIES = ("bill", "expense_report", "purchase_order")


class DuplicatesSection(Section, frozen=True):
    """Settings of the duplicate detector.

    ``entities``: bills, and what they are compared with: expenses of employees, and orders, which several bills may
    come to. ``report_at``: the score from which on a finding is made. ``dismissed_points``: what each dismissed finding
    of a vendor takes off the odds of others like it (a logarithm of odds; three count at most); they are still
    reported, but with ``doubtful_severity`` once they would fall below ``report_at``. ``forget_after_days``: how long
    after it was last seen to change a bill is compared with what comes; 0: for ever.
    """

    entities: tuple[str, ...] = ("bill", "expense_report", "purchase_order")
    document_types: tuple[str, ...] = ("in_invoice", "in_receipt", "in_refund")
    ignore_references: list[str] = []
    min_reference_length: int = 3
    block_cap: int = 50
    amount_tolerance: Decimal = Decimal("0.005")
    date_window_days: int = 5
    entry_window_days: int = 180
    split_window_days: int = 30
    forget_after_days: int = 400
    report_at: float = 0.5
    dismissed_points: float = 1.0
    severity: Severity = "high"
    doubtful_severity: Severity = "low"
    owner: str = "accounts_payable"
    next_action: str = "Compare the two bills and hold the later one until it is clear."

    def check(self, path: str) -> None:
        """Raise PolicyError for unknown entities, a cap of nothing, and bills forgotten before copies are due."""
        for i, entity in enumerate(self.entities):
            if entity not in _ENTITIES:
                raise PolicyError(f"{path}.entities[{i}]", f"not compared; known: {', '.join(_ENTITIES)}")
        if self.block_cap < 2:
            raise PolicyError(f"{path}.block_cap", "at least 2")
        if self.forget_after_days and self.forget_after_days < self.entry_window_days:
            raise PolicyError(
                f"{path}.forget_after_days", f"0, or at least entry_window_days ({self.entry_window_days})"
            )
