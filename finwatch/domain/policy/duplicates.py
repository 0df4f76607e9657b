"""What the duplicate detector goes by."""

from __future__ import annotations

from decimal import Decimal

from finwatch.domain.policy.section import PolicyError, Section, Severity


class DuplicatesSection(Section, frozen=True):
    """Settings of the duplicate detector."""

    entities: tuple[str, ...] = ("bill",)
    document_types: tuple[str, ...] = ("in_invoice", "in_receipt", "in_refund")
    ignore_references: list[str] = []
    min_reference_length: int = 3
    block_cap: int = 50
    same_year: bool = True
    amount_tolerance: Decimal = Decimal("0.005")
    date_window_days: int = 5
    entry_window_days: int = 180
    split_window_days: int = 30
    keep_at: float = 0.2
    report_at: float = 0.6
    severity: Severity = "high"
    owner: str = "accounts_payable"
    next_action: str = "Compare the two bills and hold the later one until it is clear."

    def check(self, path: str) -> None:
        """Raise PolicyError for a cap that compares nothing."""
        if self.block_cap < 2:
            raise PolicyError(f"{path}.block_cap", "at least 2")
