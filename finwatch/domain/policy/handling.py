"""How the findings of a rule are handled: who owns them, how grave they are, what to do next."""

from __future__ import annotations

from finwatch.domain.policy.section import Section, Severity


class Handling(Section, frozen=True):
    """Handling of one rule's findings. ``report: false`` turns the rule off."""

    severity: Severity
    owner: str
    next_action: str
    report: bool = True
