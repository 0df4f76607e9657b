"""Words findings of duplicates: what is said of a group of bills, and of a bank account that several vendors use."""

from __future__ import annotations

from finwatch.domain.duplicates.book import DISMISSED, RETRACTED, Said
from finwatch.domain.duplicates.evidence import EXPENSE, Bill
from finwatch.domain.findings import DUPLICATES
from finwatch.domain.identity import parse_document_key
from finwatch.domain.policy import DuplicatesSection
from finwatch.domain.records import Finding

LINE = "#"
"""Between an expense report's document key and its line, in the key of an expense."""
_TITLES = {
    "split": "Several bills are together an earlier one, or an order",
    "after_credit_note": "A bill that was credited came again",
    "vendor_alias": "Two bills of two vendor records look like one",
    "across_companies": "Two bills in two companies look like one",
    "across_types": "A bill and a receipt, or an expense, look like one",
}


def title(rule: str) -> str:
    """What a finding of a rule is called."""
    return _TITLES.get(rule, "Two bills look like one")


def finding(said: Said, settings: DuplicatesSection, policy: str) -> Finding:
    """The finding of a group, the bill entered last first. At risk is that bill's amount; of a split the whole's."""
    standing, bills = said.standing, said.bills
    risk = bills[-1] if standing.rule == "split" else bills[0]
    source, entity, _ = parse_document_key(document_of(bills[0]))
    reasons, latest = list(standing.reasons), 0
    if standing.status == RETRACTED:
        reasons.append("Withdrawn: one of them was cancelled, reversed, deleted or corrected.")
    elif said.dismissal is not None and standing.status == DISMISSED:
        latest = said.dismissal.at
        reasons.append(f"Dismissed by {said.dismissal.by}: {said.dismissal.reason}")
    return Finding(
        said.finding_id,
        said.version,
        standing.status,
        DUPLICATES,
        standing.rule,
        severity(said, settings),
        [document_of(bill) for bill in bills],
        source,
        entity,
        bills[0].company,
        title(standing.rule),
        reasons,
        [bill.event_id for bill in reversed(bills)],
        risk.amount,
        risk.currency,
        standing.score,
        settings.owner,
        settings.next_action,
        policy,
        None,
        None,
        standing.opened,
        max(standing.opened, latest, *(bill.entered_at for bill in bills)),
        None if risk.company_amount is None else abs(risk.company_amount),  # Odoo signs it by the money's direction
    )


def document_of(bill: Bill) -> str:
    """The document key of what was compared: an expense is told apart from the others of its report."""
    return bill.key.partition(LINE)[0] if bill.document_type == EXPENSE else bill.key


def severity(said: Said, settings: DuplicatesSection) -> str:
    """How much it weighs: less, when people dismissed others like it."""
    return settings.doubtful_severity if said.standing.weak else settings.severity
