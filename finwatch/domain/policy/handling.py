"""How the findings of a rule are handled: who owns them, how grave they are, what to do next."""

from __future__ import annotations

from finwatch.domain.policy.section import Section, Severity


class Handling(Section, frozen=True):
    """Handling of one rule's findings. ``report: false`` turns the rule off.

    Of rules that are on the closed list of exceptions (``RELATED_TYPES``): ``exception: false`` leaves their findings
    out of the backlog and the rates; ``service_level`` is the time in which an exception is to be resolved.
    """

    severity: Severity
    owner: str
    next_action: str
    report: bool = True
    exception: bool = True
    service_level: str = "5 business days"
